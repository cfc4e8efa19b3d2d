/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/request.h"

#include "base/must.h"
#include "proxy/fanout.h"
#include "proxy/worker_internal.h"

#include <string.h>

struct request *request_new(struct client *c, const struct command *command, uint64_t arg_count)
{
    struct request *r = pool_take(&c->worker->requests_pool);
    if (!r)
        return NULL;
    *r = (struct request){.client = c,
                          .command = command,
                          .arg_count = arg_count,
                          .batch = c->batch,
                          .proto = c->proto,
                          .on_failure = c->on_failure};
    list_push_tail(&c->requests, &r->link);
    c->pending++;
    return r;
}

void request_free(struct request *r)
{
    struct client *c = r->client;
    list_remove(&r->link);
    c->pending--;
    if (r->part)
        r->part->request = NULL;
    if (r->fanout)
        fanout_free(c->worker, r->fanout);
    buf_clear(&r->reply, &c->worker->chunks);
    pool_give(&c->worker->requests_pool, r);
}

static bool is_next_owed(const struct request *r)
{
    return r->client->requests.next == &r->link;
}

struct reply_out request_reply(struct request *r)
{
    return (struct reply_out){.to = is_next_owed(r) ? &r->client->conn.out : &r->reply,
                              .chunks = &r->client->worker->chunks,
                              .proto = r->proto};
}

void request_finish(struct request *r)
{
    must(!r->done);
    r->done = true;
    r->client->held += r->reply.len;
    client_advance(r->client);
}

bool request_may_miss(const struct request *r, enum failure f)
{
    return r->on_failure == ON_FAILURE_MISS && r->command->miss != MISS_NEVER &&
           f != FAILURE_MEMORY;
}

void request_write_miss(const struct request *r, struct reply_out *o)
{
    uint64_t each = r->arg_count > 2 ? r->arg_count - 2 : 0;
    if (r->command->id == COMMAND_ID_MGET) {
        reply_array(o, r->arg_count - 1);
        for (uint64_t i = 1; i < r->arg_count && !o->err; i++)
            reply_null(o);
        return;
    }
    switch ((enum command_miss)r->command->miss) {
    case MISS_NIL:
        reply_null(o);
        return;
    case MISS_ZERO:
        reply_int(o, 0);
        return;
    case MISS_MINUS_TWO:
        reply_int(o, -2);
        return;
    case MISS_EMPTY:
        reply_bulk(o, STR(""));
        return;
    case MISS_ARRAY:
        reply_array(o, 0);
        return;
    case MISS_SET:
        reply_set(o, 0);
        return;
    case MISS_MAP:
        reply_map(o, 0);
        return;
    case MISS_NIL_ARRAY:
        reply_null_array(o);
        return;
    case MISS_NIL_EACH:
        reply_array(o, each);
        for (uint64_t i = 0; i < each && !o->err; i++)
            reply_null(o);
        return;
    case MISS_NILS_EACH:
        reply_array(o, each);
        for (uint64_t i = 0; i < each && !o->err; i++)
            reply_null_array(o);
        return;
    case MISS_ZERO_EACH:
        reply_array(o, each);
        for (uint64_t i = 0; i < each && !o->err; i++)
            reply_int(o, 0);
        return;
    case MISS_NONE_TYPE:
        reply_simple(o, "none");
        return;
    case MISS_SCAN:
        reply_array(o, 2);
        reply_bulk(o, STR("0"));
        reply_array(o, 0);
        return;
    case MISS_NEVER:
        break;
    }
    unreachable();
}

void failure_write(struct reply_out *o, enum failure f, const char *node_name)
{
    switch (f) {
    case FAILURE_TIMED_OUT:
        reply_error(o, "ERR sumcache: node %s timed out", node_name);
        return;
    case FAILURE_DOWN:
        reply_error(o, "ERR sumcache: node %s is down", node_name);
        return;
    case FAILURE_CLOSED:
        reply_error(o, "ERR sumcache: node %s closed the connection", node_name);
        return;
    case FAILURE_BAD_REPLY:
        reply_error(o, "ERR sumcache: node %s sent a bad reply", node_name);
        return;
    case FAILURE_NODE_LIMIT:
        reply_error(
            o, "ERR sumcache: node %s has too much in flight (limits.node_requests, node_bytes)",
            node_name);
        return;
    case FAILURE_NO_NODE:
        reply_error(o, "ERR sumcache: no node is known");
        return;
    case FAILURE_MEMORY:
        reply_error(o, "ERR sumcache: out of buffer memory (limits.memory)");
        return;
    case FAILURE_NONE:
        break;
    }
    unreachable();
}

void failure_count(struct worker *w, enum failure f)
{
    struct metrics *m = &w->metrics;
    switch (f) {
    case FAILURE_TIMED_OUT:
        metric_add(&m->requests_timed_out, 1);
        return;
    case FAILURE_DOWN:
    case FAILURE_NO_NODE:
        metric_add(&m->requests_node_down, 1);
        return;
    case FAILURE_CLOSED:
    case FAILURE_BAD_REPLY:
        metric_add(&m->requests_node_closed, 1);
        return;
    case FAILURE_NODE_LIMIT:
        metric_add(&m->requests_node_limit, 1);
        return;
    case FAILURE_MEMORY:
        metric_add(&m->memory_limit_hits, 1);
        return;
    case FAILURE_NONE:
        break;
    }
    unreachable();
}

void request_fail(struct request *r, enum failure f, const char *node_name)
{
    struct worker *w = r->client->worker;
    failure_count(w, f);
    r->client->hurry = true;
    struct reply_out o = request_reply(r);
    size_t before = o.to->len;
    if (request_may_miss(r, f)) {
        metric_add(&w->metrics.requests_masked, 1);
        request_write_miss(r, &o);
        if (o.err) { /* a miss of many elements may not fit; an error does */
            buf_truncate(o.to, o.chunks, before);
            o.err = 0;
            failure_write(&o, f, node_name);
        }
    } else {
        failure_write(&o, f, node_name);
    }
    if (o.err) {
        buf_truncate(o.to, o.chunks, before);
        client_close(r->client);
        return;
    }
    request_finish(r);
}

struct part *part_new(struct request *r, struct upstream *u, uint32_t index)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    struct part *p = pool_take(&w->parts_pool);
    if (!p)
        return NULL;
    *p = (struct part){.request = r,
                       .client = c,
                       .upstream = u,
                       .deadline = worker_now(w) + w->settings->request_timeout,
                       .index = index};
    list_init(&p->queue);
    c->parts_out++;
    return p;
}

void part_free(struct worker *w, struct part *p)
{
    struct client *c = p->client;
    must(!p->request);
    list_remove(&p->queue);
    buf_clear(&p->bytes, &w->chunks);
    pool_give(&w->parts_pool, p);
    if (--c->parts_out == 0)
        client_parts_are_back(c);
}

void part_answer(struct worker *w, struct part *p, struct buf *head, const void *tail,
                 size_t tail_len, uint8_t type)
{
    struct request *r = p->request;
    if (!r) {
        metric_add(&w->metrics.late_replies, 1);
        buf_clear(head, &w->chunks);
        return;
    }
    p->request = NULL;
    r->part = NULL;
    if (r->fanout) {
        fanout_part_answered(r, p->index, head, tail, tail_len, type);
        return;
    }
    struct reply_out o = request_reply(r);
    int err;
    if (head->len == 0) {
        err = buf_append_shared(o.to, &w->chunks, tail, tail_len);
    } else {
        err = buf_append(head, &w->chunks, tail, tail_len);
        if (!err)
            buf_move_all(o.to, head);
        else
            buf_clear(head, &w->chunks);
    }
    if (err)
        request_fail(r, FAILURE_MEMORY, NULL);
    else
        request_finish(r);
}

void part_fail(struct worker *w, struct part *p, enum failure f)
{
    (void)w;
    struct request *r = p->request;
    if (!r)
        return;
    p->request = NULL;
    r->part = NULL;
    if (r->fanout)
        fanout_part_failed(r, p->index, f, p->upstream->node->name);
    else
        request_fail(r, f, p->upstream->node->name);
}
