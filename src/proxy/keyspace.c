/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/keyspace.h"

#include "proxy/all_nodes.h"
#include "proxy/gather.h"
#include "proxy/owned.h"
#include "proxy/worker_internal.h"
#include "resp/reply_read.h"

#include <errno.h>
#include <stdlib.h>

enum { RANDOM_TRIES = 32 }; /* keys drawn that were not their node's own */

struct keyspace {
    struct gather gather;
    struct view *view; /* a reference: that by which nodes are asked */
    bool *empty;       /* owned; RANDOMKEY: by node; NULL: another command */
    unsigned tries;
};

static struct keyspace *keyspace_of(const struct request *r)
{
    return container_of(r->gather, struct keyspace, gather);
}

static void free_keyspace(struct gather *g)
{
    struct keyspace *k = container_of(g, struct keyspace, gather);
    view_unref(k->view);
    free(k->empty);
    free(k);
}

/* NULL: out of memory, and the request is answered. */
static struct keyspace *keyspace_new(struct request *r, const struct gather_ops *ops)
{
    struct worker *w = r->client->worker;
    struct keyspace *k = calloc(1, sizeof(*k));
    if (!k || gather_init(&k->gather, ops, w->view->node_count) != 0) {
        free(k);
        request_fail(r, FAILURE_MEMORY, NULL);
        return NULL;
    }
    k->view = view_ref(w->view);
    k->gather.reply_max = w->settings->fanout_reply_max;
    gather_begin(&k->gather, r, true);
    return k;
}

/* The same request to all nodes. */
static void ask_all(struct request *r, struct keyspace *k, const struct str *words, size_t count)
{
    struct worker *w = r->client->worker;
    for (uint32_t i = 0; i < k->view->node_count; i++) {
        if (!gather_is_asked(&k->view->nodes[i]))
            continue;
        if (gather_add_words(&k->gather, w, i, words, count) != 0) {
            request_fail(r, FAILURE_MEMORY, NULL);
            return;
        }
        k->gather.results[k->gather.count - 1].large = r->command->id == COMMAND_ID_KEYS;
    }
    gather_send(r);
}

/* ---- KEYS ---- */

static int merge_keys(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct keyspace *k = keyspace_of(r);
    if (gather_write_error(&k->gather, o))
        return 0;
    struct buf body;
    buf_init(&body);
    struct reply_out keys = {.to = &body, .chunks = &w->chunks, .proto = r->proto};
    size_t count = 0;
    int err = 0;
    for (uint32_t i = 0; i < k->gather.count && !err; i++) {
        struct gather_result *result = &k->gather.results[i];
        struct reply_reader in CLEANUP(reply_reader_fini);
        struct owned own;
        reply_reader_init(&in, &result->bytes, &w->chunks);
        owned_init(&own, w, k->view, result->node);
        err = owned_pass_on(&own, &in, &keys, &count);
    }
    if (!err)
        reply_array(o, count);
    buf_move_all(o->to, &body);
    return err ? err : o->err;
}

void keyspace_keys(struct client *c, const struct command *command)
{
    static const struct gather_ops OPS = {.merge = merge_keys, .free = free_keyspace};
    struct worker *w = c->worker;
    struct request *r = all_nodes_request(c, command);
    struct keyspace *k = r ? keyspace_new(r, &OPS) : NULL;
    if (!k)
        return;
    gather_set_timeout(&k->gather, w, w->settings->fanout_timeout);
    struct str words[] = {STR("KEYS"), args_str(&w->args, 1)};
    if (words[1].p || args_len(&w->args, 1) == 0)
        ask_all(r, k, words, 2);
    else
        request_fail(r, FAILURE_MEMORY, NULL);
}

/* ---- DBSIZE ---- */

static int merge_dbsize(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct keyspace *k = keyspace_of(r);
    if (gather_write_error(&k->gather, o))
        return 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < k->gather.count; i++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        int64_t keys;
        reply_reader_init(&in, &k->gather.results[i].bytes, &w->chunks);
        if (reply_read_number(&in, ':', &keys) != 0)
            return -EBADMSG;
        sum += keys;
    }
    reply_int(o, sum);
    return o->err;
}

void keyspace_dbsize(struct client *c, const struct command *command)
{
    static const struct gather_ops OPS = {.merge = merge_dbsize, .free = free_keyspace};
    static const struct str WORDS[] = {{"DBSIZE", 6}};
    struct request *r = all_nodes_request(c, command);
    struct keyspace *k = r ? keyspace_new(r, &OPS) : NULL;
    if (k)
        ask_all(r, k, WORDS, 1);
}

/* ---- RANDOMKEY ---- */

/* The owner of a slot that is drawn; if that is empty, the first that is not. UINT32_MAX: all are,
 * or have gone. */
static uint32_t draw_node(struct worker *w, const struct keyspace *k)
{
    const struct view *v = k->view;
    if (!v->ring)
        return UINT32_MAX;
    uint32_t slot = (uint32_t)rng_below(&w->rng, maglev_slots(v->ring));
    uint32_t drawn = maglev_node_of_slot(v->ring, slot);
    for (uint32_t i = 0; i < v->node_count; i++) {
        uint32_t node = (drawn + i) % v->node_count;
        if (gather_is_asked(&v->nodes[node]) && !k->empty[node])
            return node;
    }
    return UINT32_MAX;
}

/* Asks one more node. GATHER_ON, or 0 and there is none: a nil is written. */
static int draw(struct request *r, struct keyspace *k, struct reply_out *o)
{
    static const struct str WORDS[] = {{"RANDOMKEY", 9}};
    struct worker *w = r->client->worker;
    uint32_t node = draw_node(w, k);
    gather_clear(&k->gather, w);
    if (node == UINT32_MAX) {
        reply_null(o);
        return o->err;
    }
    int err = gather_add_words(&k->gather, w, node, WORDS, 1);
    if (err)
        return err;
    gather_send(r);
    return GATHER_ON;
}

/* Goes on by the present view. 0; -ENOMEM. */
static int renew(struct keyspace *k, struct worker *w)
{
    if (w->view == k->view)
        return 0;
    bool *empty = calloc(w->view->node_count + 1, sizeof(*empty));
    if (!empty)
        return -ENOMEM;
    free(k->empty);
    k->empty = empty;
    view_unref(k->view);
    k->view = view_ref(w->view);
    return 0;
}

static int merge_randomkey(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct keyspace *k = keyspace_of(r);
    if (gather_write_error(&k->gather, o))
        return 0;
    struct gather_result *result = &k->gather.results[0];
    struct reply_reader in CLEANUP(reply_reader_fini);
    struct owned own;
    struct str key;
    reply_reader_init(&in, &result->bytes, &w->chunks);
    owned_init(&own, w, k->view, result->node);
    int err = reply_read_bulk(&in, &key);
    if (err && err != -ENOENT)
        return err == -ENOMEM ? -ENOMEM : -EBADMSG;
    if (!err && owned_has(&own, key)) {
        reply_bulk(o, key);
        return o->err;
    }
    if (err)
        k->empty[result->node] = true;
    else if (++k->tries == RANDOM_TRIES) {
        reply_error(o, "ERR sumcache: no key was drawn that its node still owns");
        return o->err;
    }
    err = renew(k, w);
    return err ? err : draw(r, k, o);
}

void keyspace_randomkey(struct client *c, const struct command *command)
{
    static const struct gather_ops OPS = {.merge = merge_randomkey, .free = free_keyspace};
    struct worker *w = c->worker;
    struct request *r = all_nodes_request(c, command);
    struct keyspace *k = r ? keyspace_new(r, &OPS) : NULL;
    if (!k)
        return;
    k->empty = calloc(k->view->node_count, sizeof(*k->empty));
    if (!k->empty) {
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    gather_set_timeout(&k->gather, w, w->settings->request_timeout);
    struct reply_out o = request_reply(r);
    int err = draw(r, k, &o);
    if (err == 0)
        request_finish(r);
    else if (err != GATHER_ON)
        request_fail(r, FAILURE_MEMORY, NULL);
}
