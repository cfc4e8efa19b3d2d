/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/fanout.h"

#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fanout {
    struct gather gather; /* results in the order in which their first keys stand in the request,
                             each with the number of its keys */
    size_t key_count;
    uint16_t result_of_key[];
};

static struct fanout *fanout_of(const struct request *r)
{
    return container_of(r->gather, struct fanout, gather);
}

static void free_fanout(struct gather *g)
{
    free(container_of(g, struct fanout, gather));
}

static int merge(struct request *r, struct reply_out *o);

static const struct gather_ops OPS = {.merge = merge, .free = free_fanout};

static struct fanout *fanout_new(const uint32_t *node_of_key, size_t key_count, uint32_t node_count)
{
    enum { FEW = 64 }; /* nodes: the usual number needs no memory of its own */
    uint32_t few[FEW + 1], *many = NULL;
    /* Plus one; 0: none. The last is for GATHER_NOBODY. */
    uint32_t *result_of_node = few;
    uint32_t results_max = key_count < node_count + 1 ? (uint32_t)key_count : node_count + 1;
    struct fanout *f = malloc(sizeof(*f) + key_count * sizeof(f->result_of_key[0]));
    if (node_count <= FEW)
        memset(few, 0, (node_count + 1) * sizeof(few[0]));
    else
        result_of_node = many = calloc(node_count + 1, sizeof(*many));
    if (!f || !result_of_node || gather_init(&f->gather, &OPS, results_max) != 0) {
        free(f);
        free(many);
        return NULL;
    }
    f->key_count = key_count;
    for (size_t i = 0; i < key_count; i++) {
        bool nobody = node_of_key[i] == GATHER_NOBODY;
        uint32_t *index = &result_of_node[nobody ? node_count : node_of_key[i]];
        if (*index == 0) {
            (void)gather_add(&f->gather, node_of_key[i]);
            *index = f->gather.count;
        }
        f->result_of_key[i] = (uint16_t)(*index - 1);
        f->gather.results[*index - 1].count++;
    }
    free(many);
    return f;
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
static int append_behind(struct worker *w, struct fanout *f, const struct command *command)
{
    int err = 0;
    for (size_t k = 0; k < f->key_count && !err; k++) {
        struct str key = args_str(&w->args, w->keys.index[k]);
        const struct policy_rule *rule = policy_find(&w->settings->policy, key);
        struct gather_result *result = &f->gather.results[f->result_of_key[k]];
        if (rule && policy_limits_life(rule, command))
            err = policy_append(rule, key, &result->bytes, &w->chunks, &result->behind);
    }
    return err;
}

/* Writes the requests for all nodes. */
static int write_requests(struct worker *w, struct fanout *f, const struct command *command)
{
    const struct args *a = &w->args;
    size_t per_key = w->keys.count > 1 ? w->keys.index[1] - w->keys.index[0] : 1; /* MSET: 2 */
    for (uint32_t i = 0; i < f->gather.count; i++) {
        struct gather_result *result = &f->gather.results[i];
        char header[STR_U64_MAX + 3] = "*";
        size_t n = 1 + str_put_u64(header + 1, 1 + per_key * result->count);
        header[n++] = '\r';
        header[n++] = '\n';
        struct appender to = {&result->bytes, &w->chunks};
        int err = append_piece(&to, header, n);
        if (!err)
            err = args_each_piece(a, 0, append_piece, &to);
        if (err)
            return err;
    }
    for (size_t k = 0; k < f->key_count; k++) {
        struct appender to = {&f->gather.results[f->result_of_key[k]].bytes, &w->chunks};
        for (size_t i = 0; i < per_key; i++) {
            int err = args_each_piece(a, w->keys.index[k] + i, append_piece, &to);
            if (err)
                return err;
        }
    }
    return w->settings->policy.count > 0 ? append_behind(w, f, command) : 0;
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
    if (f) {
        gather_begin(&f->gather, r, false);
        slow_key_add(w, &f->gather.key, w->keys.count);
    }
    if (!f || write_requests(w, f, command) != 0)
        request_fail(r, FAILURE_MEMORY, NULL);
    else
        gather_send(r);
}

/* ---- putting together ---- */

/* The length of the reply element at the front of `b`, or 0: it is not a whole one. */
static size_t element_len(struct worker *w, const struct buf *b)
{
    struct iovec front;
    if (buf_iov(b, 0, &front, 1) > 0) {
        size_t len = frame_try_reply(front.iov_base, front.iov_len, &w->reply_limits);
        if (len > 0)
            return len;
    }
    struct frame frame; /* it lies in several pieces, or is none that the short way knows */
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
    struct fanout *f = fanout_of(r);
    for (uint32_t i = 0; i < f->gather.count; i++) {
        struct gather_result *result = &f->gather.results[i];
        int64_t count;
        if (result->type == 0)
            continue;
        if (take_header(w, &result->bytes, &count) != 0 || count != result->count)
            return -EBADMSG;
    }
    reply_array(o, f->key_count);
    uint64_t hits = 0;
    for (size_t k = 0; k < f->key_count && !o->err; k++) {
        struct gather_result *result = &f->gather.results[f->result_of_key[k]];
        if (result->type == 0) {
            reply_null(o);
            continue;
        }
        size_t len = element_len(w, &result->bytes);
        if (len == 0)
            return -EBADMSG;
        hits += !reply_len_is_nil(len);
        o->err = buf_move(o->to, &result->bytes, &w->chunks, len);
    }
    metric_add(&w->metrics.mget_hits, hits);
    metric_add(&w->metrics.mget_misses, f->key_count - hits);
    return o->err;
}

/* DEL, UNLINK, EXISTS, TOUCH: the sum of the nodes' counts. */
static int merge_sum(struct worker *w, struct request *r, struct reply_out *o)
{
    struct fanout *f = fanout_of(r);
    int64_t sum = 0;
    for (uint32_t i = 0; i < f->gather.count; i++) {
        int64_t value = 0;
        if (f->gather.results[i].type != 0 &&
            take_header(w, &f->gather.results[i].bytes, &value) != 0)
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

static int merge(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct fanout *f = fanout_of(r);
    if (gather_write_error(&f->gather, o))
        return 0;
    for (uint32_t i = 0; i < f->gather.count; i++)
        if (f->gather.results[i].type != 0 && f->gather.results[i].type != type_wanted(r->command))
            return -EBADMSG;
    if (f->gather.failed)
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
