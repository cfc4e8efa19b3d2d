/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/request.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/gather.h"
#include "proxy/lanes.h"
#include "proxy/outcomes_run.h"
#include "proxy/retry.h"
#include "proxy/roll_call.h"
#include "proxy/samples.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_REPLY = 64 }; /* bytes; no longer than an error would be */

struct request *request_new(struct client *c, const struct command *command, uint64_t arg_count)
{
    struct request *r = pool_take(&c->worker->requests_pool);
    if (!r)
        return NULL;
    *r = (struct request){.client = c,
                          .command = command,
                          .came = worker_now(c->worker),
                          .arg_count = arg_count,
                          .batch = c->batch,
                          .proto = c->proto,
                          .lane = c->lane,
                          .on_failure = c->on_failure};
    if (c->mute != CLIENT_MUTE_NONE) {
        r->muted = true;
        if (c->mute == CLIENT_MUTE_NEXT)
            c->mute = CLIENT_MUTE_NONE;
    }
    list_push_tail(&c->requests, &r->link);
    if (c->pending++ == 0)
        pace_client_waits(&c->worker->pace);
    return r;
}

/* What a request for one key has none of. */
static void free_extras(struct request *r)
{
    struct client *c = r->client;
    if (r->tells)
        subscriber_request_left(c);
    if (r->gather)
        gather_free(r);
    if (r->roll_call)
        roll_call_drop(r->roll_call);
    if (r->transaction)
        transaction_free(c->worker, r->transaction);
}

void request_free(struct request *r)
{
    struct client *c = r->client;
    list_remove(&r->link);
    if (--c->pending == 0)
        pace_client_served(&c->worker->pace);
    c->held -= r->held;
    if (r->part)
        r->part->request = NULL;
    if (r->sample)
        samples_end(c->worker, r);
    if ((uintptr_t)r->gather | (uintptr_t)r->roll_call | (uintptr_t)r->transaction | r->tells)
        free_extras(r);
    buf_clear(&r->reply, &c->worker->chunks);
    pool_give(&c->worker->requests_pool, r);
}

bool request_is_next(const struct request *r)
{
    return r->client->requests.next == &r->link && !(r->uploading | r->muted);
}

struct reply_out request_reply(struct request *r)
{
    return (struct reply_out){.to = request_is_next(r) ? &r->client->conn.out : &r->reply,
                              .chunks = &r->client->worker->chunks,
                              .proto = r->proto};
}

void request_finish(struct request *r)
{
    must(!r->done);
    request_count_held(r);
    if (r->uploading) {
        r->answered = true;
        r->part = NULL;
        client_wake(r->client); /* what it still sends has nowhere to go, so nothing to wait for */
        return;
    }
    r->done = true;
    struct worker *w = r->client->worker;
    outcomes_end(w, &w->run, r);
    r->part = NULL;
    if (r->client->session)
        session_request_done(r);
    client_advance(r->client);
}

void request_uploaded(struct request *r)
{
    r->uploading = false;
    r->came = worker_now(r->client->worker);
    if (r->answered)
        request_finish(r);
}

void request_count_held(struct request *r)
{
    r->client->held += r->reply.len - r->held;
    r->held = r->reply.len;
}

/* Takes back what there is of a reply. False: some of it has been sent. */
static bool take_back(struct request *r)
{
    struct client *c = r->client;
    buf_clear(&r->reply, &c->worker->chunks);
    request_count_held(r);
    if (r->given > c->conn.out.len)
        return false;
    buf_truncate(&c->conn.out, &c->worker->chunks, c->conn.out.len - r->given);
    r->given = 0;
    return true;
}

bool request_may_miss(const struct request *r, enum failure f)
{
    return r->on_failure == ON_FAILURE_MISS && r->command->miss != MISS_NEVER &&
           f != FAILURE_MEMORY && f != FAILURE_SLOW_BODY && f != FAILURE_REPLY_LIMIT &&
           f != FAILURE_PRIVATE && f != FAILURE_KICKED;
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
    case MISS_RANK:
        if (r->arg_count > 3)
            reply_null_array(o);
        else
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
    case MISS_GONE_EACH:
        each = r->arg_count > 4 ? r->arg_count - 4 : 0;
        reply_array(o, each);
        for (uint64_t i = 0; i < each && !o->err; i++)
            reply_int(o, -2);
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
    case FAILURE_ALL_OUT:
        reply_error(o, "ERR sumcache: no node is up");
        return;
    case FAILURE_MEMORY:
        reply_error(o, "ERR sumcache: out of buffer memory (limits.memory)");
        return;
    case FAILURE_SLOW_BODY:
        reply_error(o, "ERR sumcache: the request came too slowly (timeouts.client_stall, "
                       "limits.client_min_rate)");
        return;
    case FAILURE_MOVING:
        reply_error(o, "ERR sumcache: the key is moving to another node");
        return;
    case FAILURE_NODES_CHANGE:
        reply_error(o, "ERR sumcache: the nodes are changing; try again");
        return;
    case FAILURE_REPLY_LIMIT:
        reply_error(o, "ERR sumcache: the reply is longer than limits.fan_out_reply");
        return;
    case FAILURE_PRIVATE:
        reply_error(o, "ERR sumcache: too many clients watch or wait (limits.private)");
        return;
    case FAILURE_ABORTED:
        reply_error(o, "EXECABORT Transaction discarded because of previous errors.");
        return;
    case FAILURE_UNWATCHED:
    case FAILURE_UNBLOCKED:
        reply_null_array(o);
        return;
    case FAILURE_KICKED:
        reply_error(o, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
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
    case FAILURE_NODES_CHANGE:
        metric_add(&m->requests_timed_out, 1);
        return;
    case FAILURE_DOWN:
    case FAILURE_NO_NODE:
    case FAILURE_ALL_OUT:
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
    case FAILURE_SLOW_BODY:
        metric_add(&m->requests_too_slow, 1);
        return;
    case FAILURE_MOVING:
        metric_add(&m->requests_moving, 1);
        return;
    case FAILURE_REPLY_LIMIT:
        metric_add(&m->requests_reply_limit, 1);
        return;
    case FAILURE_PRIVATE:
        metric_add(&m->private_refused, 1);
        return;
    case FAILURE_ABORTED:
        metric_add(&m->transactions_aborted, 1);
        return;
    case FAILURE_UNWATCHED:
        metric_add(&m->transactions_unwatched, 1);
        return;
    case FAILURE_UNBLOCKED:
    case FAILURE_KICKED:
        return; /* counted where it was decided */
    case FAILURE_NONE:
        break;
    }
    unreachable();
}

void request_fail(struct request *r, enum failure f, const char *node_name)
{
    struct worker *w = r->client->worker;
    failure_count(w, f);
    if (r->client->session)
        session_request_fails(r);
    if (!take_back(r)) {
        metric_add(&w->metrics.clients_reply_cut, 1);
        client_close(r->client);
        return;
    }
    r->client->hurry = true;
    struct reply_out o = request_reply(r);
    size_t before = o.to->len;
    r->outcome = OUTCOME_FAILED;
    if (request_may_miss(r, f)) {
        r->outcome = OUTCOME_FAILOVER_MISS;
        metric_add(&w->metrics.requests_masked, 1);
        request_write_miss(r, &o);
        if (o.err) { /* a miss of many elements may not fit; an error does */
            buf_truncate(o.to, o.chunks, before);
            o.err = 0;
            r->outcome = OUTCOME_FAILED;
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
    r->given = o.to->len - before;
    request_finish(r);
}

struct part *part_new(struct request *r, struct upstream_node *n, uint32_t index)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    struct part *p = pool_take(&w->parts_pool);
    if (!p)
        return NULL;
    memset(p, 0, offsetof(struct part, block_time)); /* what follows is only looked at if it is set
                                                      */
    p->request = r;
    p->client = c;
    p->node = n;
    p->deadline = worker_now(w) + w->settings->request_timeout;
    p->index = index;
    p->lane = r->lane;
    list_init(&p->queue);
    list_push_tail(&c->parts, &p->of_client);
    return p;
}

struct part *part_new_quiet(struct client *c, struct upstream_node *n, uint8_t proto)
{
    struct request nobody = {.client = c, .proto = proto};
    struct part *p = part_new(&nobody, n, 0);
    if (!p)
        return NULL;
    p->request = NULL;
    p->quiet = true;
    return p;
}

void part_set_early(struct part *p)
{
    struct worker *w = p->client->worker;
    if (p->early)
        return;
    p->early = true;
    list_push_tail(&w->early, &p->early_link);
    w->next_deadline = nsec_min(w->next_deadline, p->deadline);
}

struct part *part_first_timely(const struct list *parts)
{
    list_for_each (link, parts) {
        struct part *p = list_item(link, struct part, queue);
        if (!p->late)
            return p;
    }
    return NULL;
}

uint64_t part_timeout(const struct part *p)
{
    const struct proxy_settings *s = p->client->worker->settings;
    return p->late ? s->fanout_timeout : s->request_timeout;
}

void part_enter(struct part *p, size_t len)
{
    p->len = len;
    p->node->requests++;
    p->node->bytes += len;
}

/* It is no longer counted against its node. */
static void leave_node(struct part *p)
{
    must(p->node->requests > 0 && p->node->bytes >= p->len);
    p->node->requests--;
    p->node->bytes -= p->len;
}

void part_become_tail(struct part *p)
{
    must(!p->request && p->behind > 0);
    leave_node(p);
    p->is_tail = true;
    p->blocks = false;
    p->writes = false; /* a life that is cut late cuts no newer value short: NX, and LT */
}

void part_leave(struct worker *w, struct part *p)
{
    if (!p->is_tail)
        leave_node(p);
    p->request = NULL;
    part_free(w, p);
}

void part_free(struct worker *w, struct part *p)
{
    struct client *c = p->client;
    must(!p->request);
    list_remove(&p->queue);
    list_remove(&p->of_client);
    if (p->early)
        list_remove(&p->early_link);
    buf_clear(&p->bytes, &w->chunks);
    if (p->behind_bytes) {
        buf_clear(p->behind_bytes, &w->chunks);
        free(p->behind_bytes);
    }
    if (p->reserved > 0)
        lanes_release(p, p->reserved);
    if (p->apart)
        c->apart--;
    if (p->held)
        c->held_parts--;
    pool_give(&w->parts_pool, p);
    if (c->held_parts > 0)
        lanes_review(c);
    if (c->buried && list_empty(&c->parts))
        client_last_part_left(c);
}

/* What came in several reads shows its first byte only, which is no miss's; nor are its keys
 * counted. */
static __attribute__((noinline)) enum outcome
other_outcome(struct worker *w, const struct request *r, const struct buf *head, const void *tail,
              size_t tail_len, uint8_t type)
{
    if (head->len > 0)
        return outcome_of_reply(r->command, (struct str){(const char *)&type, 1});
    if (type == '*' && r->command->id == COMMAND_ID_MGET)
        outcomes_note_mget(w, (struct str){tail, tail_len});
    return outcome_of_reply(r->command, (struct str){tail, tail_len});
}

void part_answer(struct worker *w, struct part *p, struct buf *head, const void *tail,
                 size_t tail_len, uint8_t type)
{
    struct request *r = p->request;
    if (!r) {
        metric_add(&w->metrics.late_replies, !p->quiet);
        buf_clear(head, &w->chunks);
        return;
    }
    p->request = NULL;
    if (r->gather) {
        outcomes_keep(w, r);
        gather_part_answered(r, p->index, head, tail, tail_len, type);
        return;
    }
    if (r->transaction) {
        transaction_answered(r, head, tail, tail_len, type);
        return;
    }
    struct reply_out o = request_reply(r);
    size_t len = head->len + tail_len;
    int err;
    r->outcome = (uint8_t)(type == '$' && r->command->miss == MISS_NIL /* most are */
                               ? outcome_of_bulk(len)
                               : other_outcome(w, r, head, tail, tail_len, type));
    if (head->len == 0 && tail_len >= CLIENT_PASS_ON_MIN && request_is_next(r)) {
        struct client *c = r->client;
        err = client_pass_on(c, tail, tail_len);
        if (c->conn.source.dead)
            return;
    } else if (head->len == 0) {
        err = buf_append_shared(o.to, &w->chunks, tail, tail_len);
        if (err && tail_len <= SHORT_REPLY) /* "+OK": what was done is told, if at all possible */
            err = buf_append_urgent(o.to, &w->chunks, tail, tail_len);
    } else {
        err = buf_append(head, &w->chunks, tail, tail_len);
        if (!err)
            buf_move_all(o.to, head);
        else
            buf_clear(head, &w->chunks);
    }
    if (err) {
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    r->given += len;
    request_finish(r);
}

void part_fail(struct worker *w, struct part *p, enum failure f)
{
    struct request *r = p->request;
    if (!r || retry_take(w, p, f))
        return;
    p->request = NULL;
    if (p->unblocked && f != FAILURE_KICKED)
        f = FAILURE_UNBLOCKED;
    if (r->gather)
        gather_part_failed(r, p->index, f, p->node->name);
    else
        request_fail(r, f, p->node->name);
}
