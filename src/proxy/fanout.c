/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/fanout.h"

#include "base/must.h"
#include "proxy/lanes.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one node answered. */
struct result {
    struct buf reply;
    struct part *part;  /* under way; NULL: answered or failed */
    uint32_t node;      /* index in the view; used only while the request is built */
    uint32_t key_count; /* keys it was asked for */
    uint32_t behind;    /* commands that follow the request: policy.h */
    uint8_t type;       /* first byte of the reply; 0: none, the part failed */
};

struct fanout {
    struct buf error; /* the first failure as an error reply; empty: none */
    bool failed;      /* a part failed (its node did, not: its node answered an error) */
    uint32_t result_count;
    uint32_t results_left; /* parts under way */
    size_t key_count;
    struct result *results; /* in the order in which their first keys stand in the request */
    uint16_t *result_of_key;
};

static struct fanout *fanout_new(const uint32_t *node_of_key, size_t key_count, uint32_t node_count)
{
    struct fanout *f = calloc(1, sizeof(*f));
    /* Plus one; 0: none. The last is for FANOUT_NOBODY. */
    uint32_t *result_of_node = calloc(node_count + 1, sizeof(*result_of_node));
    if (f) {
        size_t results_max = key_count < node_count + 1 ? key_count : node_count + 1;
        f->results = calloc(results_max, sizeof(*f->results));
        f->result_of_key = calloc(key_count, sizeof(*f->result_of_key));
    }
    if (!f || !result_of_node || !f->results || !f->result_of_key) {
        if (f) {
            free(f->results);
            free(f->result_of_key);
        }
        free(f);
        free(result_of_node);
        return NULL;
    }
    f->key_count = key_count;
    for (size_t i = 0; i < key_count; i++) {
        bool nobody = node_of_key[i] == FANOUT_NOBODY;
        uint32_t *index = &result_of_node[nobody ? node_count : node_of_key[i]];
        if (*index == 0) {
            f->results[f->result_count].node = node_of_key[i];
            *index = ++f->result_count;
        }
        f->result_of_key[i] = (uint16_t)(*index - 1);
        f->results[*index - 1].key_count++;
    }
    free(result_of_node);
    return f;
}

void fanout_free(struct worker *w, struct fanout *f)
{
    for (uint32_t i = 0; i < f->result_count; i++) {
        buf_clear(&f->results[i].reply, &w->chunks);
        if (f->results[i].part)
            f->results[i].part->request = NULL;
    }
    buf_clear(&f->error, &w->chunks);
    free(f->results);
    free(f->result_of_key);
    free(f);
}

bool fanout_has_answers(const struct fanout *f)
{
    for (uint32_t i = 0; i < f->result_count; i++)
        if (f->results[i].type != 0)
            return true;
    return false;
}

/* ---- taking apart ---- */

struct appender {
    struct buf *to;
    struct chunk_pool *chunks;
};

static int append_piece(void *owner, const void *bytes, size_t len)
{
    struct appender *a = owner;
    return buf_append(a->to, a->chunks, bytes, len);
}

/* What policy.rules want behind the requests. 0 or -ENOMEM. */
static int append_behind(struct worker *w, struct request *r)
{
    struct fanout *f = r->fanout;
    int err = 0;
    for (size_t k = 0; k < f->key_count && !err; k++) {
        struct str key = args_str(&w->args, w->keys.index[k]);
        const struct policy_rule *rule = policy_find(&w->settings->policy, key);
        struct result *result = &f->results[f->result_of_key[k]];
        if (rule && policy_limits_life(rule, r->command))
            err = policy_append(rule, key, &result->reply, &w->chunks, &result->behind);
    }
    return err;
}

/* Writes the requests for all nodes, each into the `reply` of its result, which is free until then.
 */
static int write_requests(struct worker *w, struct request *r)
{
    struct fanout *f = r->fanout;
    const struct args *a = &w->args;
    size_t per_key = w->keys.count > 1 ? w->keys.index[1] - w->keys.index[0] : 1; /* MSET: 2 */
    for (uint32_t i = 0; i < f->result_count; i++) {
        struct result *result = &f->results[i];
        char header[32];
        int n = snprintf(header, sizeof(header), "*%zu\r\n", 1 + per_key * result->key_count);
        struct appender to = {&result->reply, &w->chunks};
        int err = append_piece(&to, header, (size_t)n);
        if (!err)
            err = args_each_piece(a, 0, append_piece, &to);
        if (err)
            return err;
    }
    for (size_t k = 0; k < f->key_count; k++) {
        struct appender to = {&f->results[f->result_of_key[k]].reply, &w->chunks};
        for (size_t i = 0; i < per_key; i++) {
            int err = args_each_piece(a, w->keys.index[k] + i, append_piece, &to);
            if (err)
                return err;
        }
    }
    return w->settings->policy.count > 0 ? append_behind(w, r) : 0;
}

static void finish(struct request *r);

static void start_part(struct request *r, uint32_t index)
{
    struct worker *w = r->client->worker;
    struct result *result = &r->fanout->results[index];
    if (result->node == FANOUT_NOBODY) {
        buf_clear(&result->reply, &w->chunks);
        fanout_part_failed(r, index, FAILURE_MOVING, NULL);
        return;
    }
    struct upstream_node *node = w->upstreams.nodes[result->node];
    struct upstream *u = upstream_node_shared(node, r->proto);
    struct buf bytes = result->reply;
    buf_init(&result->reply);
    size_t len = bytes.len;
    enum failure failure = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = failure == FAILURE_NONE ? part_new(r, node, index) : NULL;
    if (!p) {
        buf_clear(&bytes, &w->chunks);
        fanout_part_failed(r, index, failure == FAILURE_NONE ? FAILURE_MEMORY : failure,
                           node->name);
        return;
    }
    result->part = p;
    p->writes = !(r->command->flags & COMMAND_READ);
    p->behind = result->behind;
    part_enter(p, len);
    p->size = len > w->settings->bulk_above ? PART_LARGE : PART_SMALL;
    if (lanes_is_plain(r->client, p->size) && (!p->writes || settle_allows(u))) {
        buf_move_all(upstream_target(u, p), &bytes);
        upstream_enqueue(u, p);
    } else {
        buf_move_all(&p->bytes, &bytes);
        lanes_place(p);
    }
}

void fanout_start(struct client *c, const struct command *command, const uint32_t *node_of_key)
{
    struct worker *w = c->worker;
    struct request *r = request_new(c, command, w->args.count);
    if (!r) {
        client_close(c);
        return;
    }
    if (w->args.frame_len > w->settings->split_request_max) {
        metric_add(&w->metrics.requests_split_limit, 1);
        struct reply_out o = request_reply(r);
        reply_error(&o, "ERR sumcache: request is longer than limits.max_split_request");
        if (o.err)
            client_close(c);
        else
            request_finish(r);
        return;
    }
    metric_add(&w->metrics.requests_split, 1);
    struct fanout *f = fanout_new(node_of_key, w->keys.count, w->upstreams.count);
    r->fanout = f;
    if (!f || write_requests(w, r) != 0) {
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    /* One more than there are, so that the request cannot finish while parts are being started. */
    f->results_left = f->result_count + 1;
    for (uint32_t i = 0; i < f->result_count; i++)
        start_part(r, i);
    if (--f->results_left == 0)
        finish(r);
}

/* ---- putting together ---- */

void fanout_part_answered(struct request *r, uint32_t index, struct buf *head, const void *tail,
                          size_t tail_len, uint8_t type)
{
    struct worker *w = r->client->worker;
    struct fanout *f = r->fanout;
    struct result *result = &f->results[index];
    result->part = NULL;
    buf_move_all(&result->reply, head);
    if (buf_append_shared(&result->reply, &w->chunks, tail, tail_len) != 0) {
        buf_clear(&result->reply, &w->chunks);
        fanout_part_failed(r, index, FAILURE_MEMORY, NULL);
        return;
    }
    result->type = type;
    if (--f->results_left == 0)
        finish(r);
}

void fanout_part_failed(struct request *r, uint32_t index, enum failure failure,
                        const char *node_name)
{
    struct worker *w = r->client->worker;
    struct fanout *f = r->fanout;
    must(f->results[index].type == 0);
    f->results[index].part = NULL;
    failure_count(w, failure);
    f->failed = true;
    r->client->hurry = true;
    /* Memory is our own fault and is told, whatever the failures of nodes may be turned into. */
    if (f->error.len == 0 && (!request_may_miss(r, failure) || r->command->miss == MISS_NEVER)) {
        struct reply_out o = {.to = &f->error, .chunks = &w->chunks, .proto = r->proto};
        failure_write(&o, failure, node_name);
    }
    if (--f->results_left == 0)
        finish(r);
}

/* The length of the reply element at the front of `b`, or 0: it is not a whole one. */
static size_t element_len(struct worker *w, const struct buf *b)
{
    struct frame frame;
    frame_init(&frame, FRAME_REPLY, &w->reply_limits);
    size_t at = 0;
    while (at < b->len) {
        struct iovec piece;
        buf_iov(b, at, &piece, 1);
        size_t used;
        enum frame_result result = frame_feed(&frame, piece.iov_base, piece.iov_len, &used);
        at += used;
        if (result == FRAME_READY)
            return at;
        if (result == FRAME_BAD)
            return 0;
    }
    return 0;
}

/* Reads the header line at the front of `b` ("*3\r\n", ":12\r\n") and takes it off. 0 or -EINVAL.
 */
static int take_header(struct worker *w, struct buf *b, int64_t *ret_value)
{
    char line[32];
    size_t len = b->len < sizeof(line) ? b->len : sizeof(line);
    buf_copy_out(b, 0, line, len);
    const char *end = memchr(line, '\r', len);
    if (!end || str_to_i64((struct str){line + 1, (size_t)(end - line - 1)}, ret_value) != 0)
        return -EINVAL;
    buf_consume(b, &w->chunks, (size_t)(end - line) + 2);
    return 0;
}

/* MGET: the nodes' arrays, element by element in the order of the keys. */
static int merge_arrays(struct worker *w, struct request *r, struct reply_out *o)
{
    struct fanout *f = r->fanout;
    for (uint32_t i = 0; i < f->result_count; i++) {
        struct result *result = &f->results[i];
        int64_t count;
        if (result->type == 0)
            continue;
        if (take_header(w, &result->reply, &count) != 0 || count != result->key_count)
            return -EBADMSG;
    }
    reply_array(o, f->key_count);
    for (size_t k = 0; k < f->key_count && !o->err; k++) {
        struct result *result = &f->results[f->result_of_key[k]];
        if (result->type == 0) {
            reply_null(o);
            continue;
        }
        size_t len = element_len(w, &result->reply);
        if (len == 0)
            return -EBADMSG;
        o->err = buf_move(o->to, &result->reply, &w->chunks, len);
    }
    return o->err;
}

/* DEL, UNLINK, EXISTS, TOUCH: the sum of the nodes' counts. */
static int merge_sum(struct worker *w, struct request *r, struct reply_out *o)
{
    struct fanout *f = r->fanout;
    int64_t sum = 0;
    for (uint32_t i = 0; i < f->result_count; i++) {
        int64_t value = 0;
        if (f->results[i].type != 0 && take_header(w, &f->results[i].reply, &value) != 0)
            return -EBADMSG;
        sum += value;
    }
    reply_int(o, sum);
    return o->err;
}

static uint8_t type_wanted(const struct command *c)
{
    switch (c->id) {
    case COMMAND_ID_MGET:
        return '*';
    case COMMAND_ID_MSET:
        return '+';
    default:
        return ':';
    }
}

/* 0: no node answered an error. 1: one did, and *o has it. */
static int pass_on_error(struct fanout *f, struct reply_out *o)
{
    for (uint32_t i = 0; i < f->result_count; i++) {
        struct result *result = &f->results[i];
        if (result->type != '-' && result->type != '!')
            continue;
        buf_move_all(o->to, &result->reply);
        return 1;
    }
    return 0;
}

static int merge(struct worker *w, struct request *r, struct reply_out *o)
{
    struct fanout *f = r->fanout;
    if (f->error.len > 0) {
        buf_move_all(o->to, &f->error);
        return 0;
    }
    if (pass_on_error(f, o))
        return 0;
    for (uint32_t i = 0; i < f->result_count; i++)
        if (f->results[i].type != 0 && f->results[i].type != type_wanted(r->command))
            return -EBADMSG;
    if (f->failed)
        metric_add(&w->metrics.requests_masked, 1);
    switch (r->command->id) {
    case COMMAND_ID_MGET:
        return merge_arrays(w, r, o);
    case COMMAND_ID_MSET:
        reply_simple(o, "OK");
        return o->err;
    default:
        return merge_sum(w, r, o);
    }
}

static void finish(struct request *r)
{
    struct worker *w = r->client->worker;
    struct reply_out o = request_reply(r);
    size_t before = o.to->len;
    int err = merge(w, r, &o);
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
    request_finish(r);
}
