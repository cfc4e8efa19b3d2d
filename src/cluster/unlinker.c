/* SPDX-License-Identifier: Apache-2.0 */
/* UNLINKs on a node's probe, many keys of one database in one. */
#include "base/must.h"
#include "cluster/control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_KEYS = 200,         /* of one UNLINK … */
    BATCH_BYTES = 256 * 1024, /* … so that a node is not held up by it */
};

struct unlink_call {
    struct probe_call call;
    struct unlink_group *group;
};

static void unlinked(struct probe_call *call, const struct probe_reply *r)
{
    struct unlink_call *u CLEANUP(freep) = container_of(call, struct unlink_call, call);
    struct unlink_group *g = u->group;
    must(g->out > 0);
    g->out--;
    if (r && r->type == ':' && r->number > 0)
        g->removed += (uint64_t)r->number;
    /* It never held any of them there. */
    bool refused = r && r->type == '-' && !probe_lacks_database(call, r);
    g->failed = g->failed || !r || refused;
    if (refused) {
        char why[CONTROL_WHY_MAX];
        snprintf(why, sizeof(why), "UNLINK: %.*s", (int)(r->text.len < 80 ? r->text.len : 80),
                 r->text.p);
        g->refused(g, why);
    }
    if (g->out == 0)
        g->done(g);
}

void unlink_begin(struct unlink_batch *b, struct control_node *n, struct unlink_group *group)
{
    *b = (struct unlink_batch){.node = n, .group = group};
    for (unsigned i = 0; i < DATABASES_MAX; i++)
        buf_init(&b->of[i].keys);
}

static void send_one(struct unlink_batch *b, uint8_t database)
{
    struct control *c = b->node->control;
    struct buf *keys = &b->of[database].keys;
    uint32_t count = b->of[database].count;
    if (count == 0)
        return;
    struct unlink_call *u = calloc(1, sizeof(*u));
    struct buf command;
    buf_init(&command);
    char head[48];
    int len = snprintf(head, sizeof(head), "*%u\r\n$6\r\nUNLINK\r\n", count + 1);
    int err = u && !b->failed ? buf_append(&command, &c->chunks, head, (size_t)len) : -ENOMEM;
    if (!err) {
        buf_move_all(&command, keys);
        u->group = b->group;
        u->call = (struct probe_call){.done = unlinked, .database = database};
        err = probe_send(&b->node->probe, &u->call, &command);
    }
    if (err) {
        b->failed = true;
        buf_clear(keys, &c->chunks);
        free(u);
    } else {
        b->group->out++;
        b->sent += count;
    }
    b->of[database].count = 0;
}

void unlink_send(struct unlink_batch *b)
{
    for (unsigned i = 0; i < DATABASES_MAX; i++)
        send_one(b, (uint8_t)i);
}

void unlink_drop(struct unlink_batch *b)
{
    for (unsigned i = 0; i < DATABASES_MAX; i++) {
        buf_clear(&b->of[i].keys, &b->node->control->chunks);
        b->of[i].count = 0;
    }
}

void unlink_add(struct unlink_batch *b, uint8_t database, struct str key)
{
    struct chunk_pool *chunks = &b->node->control->chunks;
    struct buf *keys = &b->of[database].keys;
    char head[32];
    int len = snprintf(head, sizeof(head), "$%zu\r\n", key.len);
    if (buf_append(keys, chunks, head, (size_t)len) != 0 ||
        buf_append(keys, chunks, key.p, key.len) != 0 || buf_append(keys, chunks, "\r\n", 2) != 0)
        b->failed = true;
    if (++b->of[database].count >= BATCH_KEYS || keys->len >= BATCH_BYTES)
        send_one(b, database);
}
