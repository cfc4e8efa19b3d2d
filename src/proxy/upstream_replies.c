/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from a node: cut into replies, each for the oldest part that was sent. */
#include "proxy/gather.h"
#include "proxy/lanes.h"
#include "proxy/node_error.h"
#include "proxy/outcomes_run.h"
#include "proxy/private.h"
#include "proxy/reply_stream.h"
#include "proxy/settle.h"
#include "proxy/upstream_internal.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <string.h>

enum {
    GREETING_MAX = 1024,  /* bytes; without a server's modules */
    SWALLOWED_MAX = 1024, /* bytes of a reply that is not told, so that its error can be counted */
};

static void protocol_error(struct upstream *u, const char *why)
{
    metric_add(&u->worker->metrics.upstreams_protocol_error, 1);
    upstream_fail(u, FAILURE_BAD_REPLY, true, why);
}

/* Without its greeting, which is short, an upstream is of no use: limits.memory does not stop it.
 */
static int append_reply(struct upstream *u, const uint8_t *bytes, size_t len)
{
    struct chunk_pool *chunks = &u->worker->chunks;
    if (u->state == UPSTREAM_GREETING && u->in.len + len <= GREETING_MAX)
        return buf_append_urgent(&u->in, chunks, bytes, len);
    return buf_append_slowly(&u->in, chunks, bytes, len);
}

/* Keeps what has come of an incomplete reply, unless nobody wants it or it does not fit. */
static void keep(struct upstream *u, const uint8_t *bytes, size_t len)
{
    struct part *p = list_empty(&u->sent) ? NULL : list_first(&u->sent, struct part, queue);
    bool gathered = p && p->request && p->request->gather && u->state == UPSTREAM_READY;
    if (gathered && !gather_takes(p->request->gather, len))
        part_fail(u->worker, p, FAILURE_REPLY_LIMIT);
    bool wanted = p && p->request && (!p->request->muted || p->request->gather);
    if (p && !wanted && u->state == UPSTREAM_READY)
        u->dropping = true;
    if (p && p->swallow > 0 && u->in.len + len > SWALLOWED_MAX)
        u->dropping = true;
    /* What has to be gathered though it is long takes no more than its share. */
    if (u->in.len + len > u->worker->settings->bulk_above && !lanes_has_room(u->worker, len))
        u->dropping = u->out_of_memory = true;
    if (!u->dropping && append_reply(u, bytes, len) != 0)
        u->dropping = u->out_of_memory = true;
    if (u->dropping)
        buf_clear(&u->in, &u->worker->chunks);
}

/* A complete greeting: what is in u->in and then `tail`. */
static void take_greeting(struct upstream *u, const uint8_t *tail, size_t len)
{
    uint8_t whole[64]; /* "+PONG" cut in two, or the beginning of whatever it is, for the log */
    size_t head = u->in.len < sizeof(whole) ? u->in.len : sizeof(whole);
    size_t rest = len < sizeof(whole) - head ? len : sizeof(whole) - head;
    buf_copy_out(&u->in, 0, whole, head);
    memcpy(whole + head, tail, rest);
    buf_clear(&u->in, &u->worker->chunks);
    upstream_greeted(u, whole, head + rest);
}

/* Learns from a complete reply. What is streamed was learned when it began. */
static void note_size(struct upstream *u, const struct part *p, uint64_t len, uint8_t type)
{
    struct size_table *sizes = &u->worker->sizes;
    if (u->streaming)
        return;
    if (p->size == PART_UPLOAD && type != '-')
        size_table_learn(sizes, p->size_id, p->guess);
    else if (len > u->worker->settings->bulk_above)
        size_table_learn(sizes, p->size_id, len);
    else if (p->guess > 0)
        size_table_forget(sizes, p->size_id);
}

/* The reply to a command that was sent behind a part. */
static void take_reply_behind(struct upstream *u, struct part *p, const uint8_t *tail, size_t len)
{
    struct worker *w = u->worker;
    char first[2] = ""; /* stays so if the reply was dropped */
    size_t head = u->in.len < sizeof(first) ? u->in.len : sizeof(first);
    buf_copy_out(&u->in, 0, first, head);
    if (!u->dropping && len >= sizeof(first) - head)
        memcpy(first + head, tail, sizeof(first) - head);
    buf_clear(&u->in, &w->chunks);
    u->dropping = u->out_of_memory = false;
    if (first[0] == '-')
        metric_add(&w->metrics.policy_lives_uncut, 1);
    else if (first[1] == '1')
        metric_add(&w->metrics.policy_lives_cut, 1);
    if (--p->behind > 0)
        return;
    list_remove(&p->queue);
    part_leave(w, p);
    if (u->bulk)
        lanes_changed(u->node);
    else if (u->private)
        private_answered(u);
}

/* It is none that anybody waits for: the answer comes behind it. */
static void swallow_reply(struct upstream *u, struct part *p, const uint8_t *tail, size_t len,
                          uint8_t type)
{
    p->swallow--;
    if (type == '-' && node_error_count(&u->worker->metrics, &u->in, tail, len))
        upstream_tell_trouble(u, TROUBLE_UNREADY, "");
    buf_clear(&u->in, &u->worker->chunks);
    u->dropping = u->out_of_memory = false;
}

/* A complete reply: what is in u->in and then `tail`. */
static void take_reply(struct upstream *u, const uint8_t *tail, size_t len, uint8_t type)
{
    struct worker *w = u->worker;
    struct part *p = list_first(&u->sent, struct part, queue);
    if (p->is_tail | p->swallow) { /* neither, nearly always: one look */
        if (p->is_tail)
            take_reply_behind(u, p, tail, len);
        else
            swallow_reply(u, p, tail, len, type);
        return;
    }
    bool was_upload = p == u->upload;
    list_remove(&p->queue);
    settle_now(u, p);
    bool failed = u->out_of_memory;
    u->dropping = u->out_of_memory = false;
    if (type == '-' && node_error_count(&w->metrics, &u->in, tail, len))
        upstream_tell_trouble(u, TROUBLE_UNREADY, "");
    if (p->size_id)
        note_size(u, p, u->in.len + len, type);
    if (u->streaming)
        reply_stream_end(u, p, tail, len);
    else if (failed)
        part_fail(w, p, FAILURE_MEMORY);
    else
        part_answer(w, p, &u->in, tail, len, type);
    if (p->behind > 0 && !was_upload) {
        part_become_tail(p);
        list_push_head(&u->sent, &p->queue);
        return;
    }
    part_leave(w, p);
    if (was_upload) {
        u->upload = NULL;
        lanes_abandon(u); /* answered before its end: what still comes of it has nowhere to go */
    } else if (u->bulk) {
        lanes_changed(u->node);
    } else if (u->private) {
        private_answered(u);
    }
}

/* The first byte of a reply has come: the part has met its deadline. */
static void begin_reply(struct upstream *u)
{
    if (u->state != UPSTREAM_READY)
        return;
    struct part *p = list_first(&u->sent, struct part, queue);
    if (u->undecided == &p->queue && p->swallow == 0)
        u->undecided = u->undecided->next;
    outcomes_begin(u->worker, &u->worker->run, p);
}

/* The rest of a reply comes later, when it is forgotten when this came. */
static void keep_times(struct upstream *u)
{
    struct part *p = list_first(&u->sent, struct part, queue);
    if (p->request && p->swallow == 0)
        outcomes_keep(u->worker, p->request);
}

/* False: the upstream has failed. */
static bool feed(struct upstream *u, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        if (u->state == UPSTREAM_READY && list_empty(&u->sent)) {
            protocol_error(u, "a reply nobody asked for");
            return false;
        }
        bool begins = u->frame.len == 0;
        size_t used = begins && u->state == UPSTREAM_READY
                          ? frame_try_reply(bytes, len, &u->worker->reply_limits)
                          : 0;
        if (used > 0) {
            begin_reply(u);
            take_reply(u, bytes, used, bytes[0]);
            if (!conn_is_open(&u->conn))
                return false;
            bytes += used;
            len -= used;
            continue;
        }
        enum frame_result result = frame_feed(&u->frame, bytes, len, &used);
        if (result == FRAME_BAD) {
            char why[FRAME_ERROR_MAX];
            protocol_error(u, frame_error(&u->frame, why));
            return false;
        }
        if (u->frame.type == '>') {
            protocol_error(u, "a push on a shared upstream");
            return false;
        }
        if (begins)
            begin_reply(u);
        if (result == FRAME_MORE) {
            if (begins && u->state == UPSTREAM_READY)
                keep_times(u);
            /* Gathered or dropped, it is as long: others must not wait behind it. */
            if (u->private && !timer_is_set(&u->timer)) /* it blocked till now */
                timer_set(&u->timer, u->last_byte + u->worker->settings->stall_timeout);
            if (!u->bulk && !u->private && u->state == UPSTREAM_READY &&
                u->frame.body_left > u->worker->settings->bulk_above)
                lanes_promote(u);
            if (reply_stream_wants(u))
                return reply_stream_take(u, bytes, used);
            keep(u, bytes, used);
            return true;
        }
        if (u->state == UPSTREAM_GREETING)
            take_greeting(u, bytes, used);
        else
            take_reply(u, bytes, used, u->frame.type);
        if (!conn_is_open(&u->conn))
            return false; /* it was no good greeting */
        frame_reset(&u->frame);
        bytes += used;
        len -= used;
    }
    return true;
}

void upstream_read(struct upstream *u)
{
    struct worker *w = u->worker;
    while (!u->paused_for) {
        ssize_t n = conn_read(&u->conn, w->upstream_scratch, UPSTREAM_READ_BYTES);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n <= 0) {
            metric_add(&w->metrics.upstreams_closed_by_node, 1);
            bool was_ready = u->state == UPSTREAM_READY;
            u->at_end = n == 0;
            char text[CONN_WHY_MAX];
            const char *why = n == 0 ? "closed by the node" : conn_why(&u->conn, (int)n, text);
            if (was_ready)
                upstream_fail(u, FAILURE_CLOSED, false, why);
            else
                upstream_fail_refused(u, why);
            return;
        }
        metric_add(&w->metrics.bytes_from_nodes, (uint64_t)n);
        u->last_byte = worker_now(w);
        if (u->node->pulse)
            pulse_beat(u->node->pulse, w->index, u->last_byte);
        bool lives = feed(u, w->upstream_scratch, (size_t)n);
        outcomes_read_over(w, &w->run);
        if (!lives)
            return;
        upstream_tell_in_flight(u);
        if (n < UPSTREAM_READ_BYTES && !u->hung_up)
            return;
        if (!u->hung_up) { /* more may be there; others first */
            loop_again(&w->loop, &u->conn.source);
            return;
        }
    }
}
