/* SPDX-License-Identifier: Apache-2.0 */
/* UNLINKs on a node's probe, many keys in one. */
#include "base/must.h"
#include "cluster/control_internal.h"

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
    struct unlink_call *u = container_of(call, struct unlink_call, call);
    struct unlink_group *g = u->group;
    free(u);
    must(g->out > 0);
    g->out--;
    if (r && r->type == ':' && r->number > 0)
        g->removed += (uint64_t)r->number;
    g->failed = g->failed || !r || r->type == '-';
    if (r && r->type == '-') {
        char why[CONTROL_WHY_MAX];
        snprintf(why, sizeof(why), "UNLINK: %.*s", (int)(r->text.len < 80 ? r->text.len : 80),
                 r->text.p);
        g->refused(g, why);
    }
    if (g->out == 0)
        g->done(g);
}

void unlink_send(struct unlink_batch *b)
{
    struct control *c = b->node->control;
    if (b->count == 0)
        return;
    struct unlink_call *u = calloc(1, sizeof(*u));
    struct buf command;
    buf_init(&command);
    char head[48];
    int len = snprintf(head, sizeof(head), "*%u\r\n$6\r\nUNLINK\r\n", b->count + 1);
    if (!u || b->failed || buf_append(&command, &c->chunks, head, (size_t)len) != 0) {
        b->failed = true;
        buf_clear(&b->keys, &c->chunks);
        free(u);
    } else {
        buf_move_all(&command, &b->keys);
        u->group = b->group;
        u->call.done = unlinked;
        if (probe_send(&b->node->probe, &u->call, &command) != 0)
            unreachable(); /* it is ready, and the bytes are there */
        b->group->out++;
        b->sent += b->count;
    }
    b->count = 0;
}

void unlink_add(struct unlink_batch *b, struct str key)
{
    struct chunk_pool *chunks = &b->node->control->chunks;
    char head[32];
    int len = snprintf(head, sizeof(head), "$%zu\r\n", key.len);
    if (buf_append(&b->keys, chunks, head, (size_t)len) != 0 ||
        buf_append(&b->keys, chunks, key.p, key.len) != 0 ||
        buf_append(&b->keys, chunks, "\r\n", 2) != 0)
        b->failed = true;
    if (++b->count >= BATCH_KEYS || b->keys.len >= BATCH_BYTES)
        unlink_send(b);
}
