/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/gather.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int gather_init(struct gather *g, const struct gather_ops *ops, uint32_t room)
{
    *g = (struct gather){.ops = ops, .room = room};
    g->results = calloc(room > 0 ? room : 1, sizeof(*g->results));
    return g->results ? 0 : -ENOMEM;
}

int gather_make_room(struct gather *g, uint32_t room)
{
    must(g->count == 0);
    if (room <= g->room)
        return 0;
    struct gather_result *results = calloc(room, sizeof(*results));
    if (!results)
        return -ENOMEM;
    free(g->results);
    g->results = results;
    g->room = room;
    return 0;
}

void gather_begin(struct gather *g, struct request *r, bool alone)
{
    r->gather = g;
    g->request_bytes = r->client->worker->args.frame_len;
    g->alone = alone;
    if (alone)
        r->client->waits = true;
}

void gather_set_timeout(struct gather *g, const struct worker *w, uint64_t timeout)
{
    g->deadline = worker_now(w) + timeout;
}

void gather_clear(struct gather *g, struct worker *w)
{
    for (uint32_t i = 0; i < g->count; i++) {
        buf_clear(&g->results[i].bytes, &w->chunks);
        if (g->results[i].part)
            g->results[i].part->request = NULL;
        g->results[i] = (struct gather_result){0};
    }
    buf_clear(&g->error, &w->chunks);
    g->count = 0;
    g->failed = false;
    g->reply_bytes = 0;
}

void gather_free(struct request *r)
{
    struct gather *g = take_ptr(r->gather);
    gather_clear(g, r->client->worker);
    free(take_ptr(g->results));
    if (g->alone)
        r->client->waits = false;
    g->ops->free(g);
}

/* ---- asking ---- */

struct gather_result *gather_add(struct gather *g, uint32_t node)
{
    must(g->count < g->room);
    struct gather_result *result = &g->results[g->count++];
    result->node = node;
    return result;
}

int gather_add_words(struct gather *g, struct worker *w, uint32_t node, const struct str *words,
                     size_t count)
{
    struct gather_result *result = gather_add(g, node);
    struct reply_out o = {.to = &result->bytes, .chunks = &w->chunks, .proto = 2};
    reply_array(&o, count);
    for (size_t i = 0; i < count; i++)
        reply_bulk(&o, words[i]);
    return o.err;
}

/* A deadline that is not in the order of its upstream's queue is looked after apart. */
static void set_deadline(struct part *p, uint64_t deadline)
{
    if (deadline == 0 || deadline == p->deadline)
        return;
    p->late = deadline > p->deadline;
    p->deadline = deadline;
    part_set_early(p);
}

static void start_part(struct request *r, uint32_t index)
{
    struct worker *w = r->client->worker;
    struct gather_result *result = &r->gather->results[index];
    if (result->node == GATHER_NOBODY) {
        buf_clear(&result->bytes, &w->chunks);
        gather_part_failed(r, index, FAILURE_MOVING, NULL);
        return;
    }
    struct upstream_node *node = w->upstreams.nodes[result->node];
    struct upstream *u = upstream_node_shared(node, r->lane);
    struct buf bytes = result->bytes;
    buf_init(&result->bytes);
    size_t len = bytes.len;
    enum failure failure = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = failure == FAILURE_NONE ? part_new(r, node, index) : NULL;
    if (!p) {
        buf_clear(&bytes, &w->chunks);
        gather_part_failed(r, index, failure == FAILURE_NONE ? FAILURE_MEMORY : failure,
                           node->name);
        return;
    }
    result->part = p;
    p->writes = !(r->command->flags & COMMAND_READ) && !r->gather->harmless;
    p->behind = result->behind;
    part_enter(p, len);
    set_deadline(p, r->gather->deadline);
    p->size = result->large || len > w->settings->bulk_above ? PART_LARGE : PART_SMALL;
    if (lanes_is_plain(r->client, p->size) && (!p->writes || settle_allows(u))) {
        buf_move_all(upstream_target(u, p), &bytes);
        upstream_enqueue(u, p);
    } else {
        buf_move_all(&p->bytes, &bytes);
        lanes_place(p);
    }
}

static void finish(struct request *r);

void gather_send(struct request *r)
{
    struct gather *g = r->gather;
    /* One more than there are, so that the round cannot end while parts are being started. */
    g->left = g->count + 1;
    for (uint32_t i = 0; i < g->count; i++)
        start_part(r, i);
    if (--g->left == 0)
        finish(r);
}

/* ---- the answers ---- */

static void one_less(struct request *r)
{
    if (--r->gather->left == 0)
        finish(r);
}

bool gather_takes(struct gather *g, size_t len)
{
    g->reply_bytes += len;
    return g->reply_max == 0 || g->reply_bytes <= g->reply_max;
}

void gather_part_answered(struct request *r, uint32_t index, struct buf *head, const void *tail,
                          size_t tail_len, uint8_t type)
{
    struct worker *w = r->client->worker;
    struct gather *g = r->gather;
    struct gather_result *result = &g->results[index];
    result->part = NULL;
    g->answered = true;
    buf_move_all(&result->bytes, head);
    enum failure failure = gather_takes(g, tail_len) ? FAILURE_NONE : FAILURE_REPLY_LIMIT;
    if (failure == FAILURE_NONE &&
        buf_append_shared(&result->bytes, &w->chunks, tail, tail_len) != 0)
        failure = FAILURE_MEMORY;
    if (failure != FAILURE_NONE) {
        buf_clear(&result->bytes, &w->chunks);
        gather_part_failed(r, index, failure, NULL);
        return;
    }
    result->type = type;
    one_less(r);
}

void gather_part_failed(struct request *r, uint32_t index, enum failure failure,
                        const char *node_name)
{
    struct worker *w = r->client->worker;
    struct gather *g = r->gather;
    must(g->results[index].type == 0);
    g->results[index].part = NULL;
    failure_count(w, failure);
    g->failed = true;
    r->client->hurry = true;
    /* Memory is our own fault and is told, whatever the failures of nodes may be turned into. */
    if (g->error.len == 0 && (!request_may_miss(r, failure) || r->command->miss == MISS_NEVER)) {
        struct reply_out o = {.to = &g->error, .chunks = &w->chunks, .proto = r->proto};
        failure_write(&o, failure, node_name);
    }
    one_less(r);
}

bool gather_write_error(struct gather *g, struct reply_out *o)
{
    if (g->error.len > 0) {
        buf_move_all(o->to, &g->error);
        return true;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        struct gather_result *result = &g->results[i];
        if (result->type != '-' && result->type != '!')
            continue;
        buf_move_all(o->to, &result->bytes);
        return true;
    }
    return false;
}

static void finish(struct request *r)
{
    struct worker *w = r->client->worker;
    struct reply_out o = request_reply(r);
    size_t before = o.to->len;
    int err = r->gather->ops->merge(r, &o);
    if (err == GATHER_ON)
        return;
    if (err) {
        buf_truncate(o.to, &w->chunks, before);
        o.err = 0;
        enum failure failure = err == -ENOMEM ? FAILURE_MEMORY : FAILURE_BAD_REPLY;
        failure_count(w, failure);
        failure_write(&o, failure, "(of several)");
        if (o.err) {
            client_close(r->client);
            return;
        }
    }
    r->given = o.to->len - before;
    request_finish(r);
}
