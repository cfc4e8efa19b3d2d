/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes are read into the worker's scratch and made into requests right there. What is left over
 * (the beginning of a request, or requests that have to wait) is kept in c->in:
 *
 *      c->in:  [ seen by the frame: the beginning of one request | not looked at yet ]
 *                                in_fed                            in.len - in_fed
 *
 * The second stretch is empty whenever bytes from the scratch are fed.
 */
#include "proxy/client.h"

#include "base/must.h"
#include "proxy/router.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- may it go on? ---- */

/* See change_proto() in local.c. It waits as long as a request may; then its requests to nodes
 * that still have some of the old ones are answered as timed out: see upstream_would_overtake(). */
static bool waits_for_old_parts(struct client *c)
{
    if (!c->changing_proto)
        return false;
    if (c->parts_out == 0) {
        c->changing_proto = false;
        list_remove(&c->changing_link);
        return false;
    }
    return worker_now(c->worker) < c->changing_until;
}

static bool must_wait(struct client *c)
{
    struct worker *w = c->worker;
    return c->closing || w->draining || waits_for_old_parts(c) ||
           c->pending >= w->settings->client_pending_max ||
           c->conn.out.len + c->held > CLIENT_OUTPUT_PAUSE;
}

void client_wake(struct client *c)
{
    if (!c->conn.source.dead && (c->readable || c->in.len > c->in_fed) && !must_wait(c))
        loop_again(&c->worker->loop, &c->conn.source);
}

/* Nothing is under way and nothing can come: then it ends. */
static void end_if_over(struct client *c)
{
    if (c->conn.source.dead || c->pending > 0 || c->conn.out.len > 0)
        return;
    bool all_taken = c->in.len == c->in_fed;
    if (c->closing || c->worker->draining || (c->eof && all_taken))
        client_close(c);
}

void client_drain(struct client *c)
{
    end_if_over(c);
}

void client_close_after_replies(struct client *c)
{
    c->closing = true;
    conn_mark_dirty(&c->conn, &c->worker->dirty_clients); /* the flush will see to its end */
}

/* ---- replies ---- */

struct reply_out client_reply_begin(struct client *c, struct request **ret_request)
{
    *ret_request = NULL;
    struct reply_out o = {.to = &c->conn.out, .chunks = &c->worker->chunks, .proto = c->proto};
    if (list_empty(&c->requests))
        return o;
    struct request *r = request_new(c, NULL, 0);
    if (!r) {
        o.err = -ENOMEM;
        return o;
    }
    *ret_request = r;
    o.to = &r->reply;
    return o;
}

void client_reply_end(struct client *c, struct request *r, const struct reply_out *o)
{
    if (o->err) {
        failure_count(c->worker, FAILURE_MEMORY);
        client_close(c);
        return;
    }
    if (r)
        request_finish(r);
    else
        conn_mark_dirty(&c->conn, &c->worker->dirty_clients);
}

static void reply_failure(struct client *c, enum failure f)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    failure_count(c->worker, f);
    failure_write(&o, f, NULL);
    client_reply_end(c, r, &o);
}

void client_advance(struct client *c)
{
    struct worker *w = c->worker;
    while (!list_empty(&c->requests)) {
        struct request *r = list_first(&c->requests, struct request, link);
        if (!r->done)
            break;
        c->held -= r->reply.len;
        c->answered_batch = r->batch;
        /* By copy if it is short: many short pieces cost the kernel more than one copy does here.
         */
        if (buf_move(&c->conn.out, &r->reply, &w->chunks, r->reply.len) != 0)
            buf_move_all(&c->conn.out, &r->reply);
        request_free(r);
    }
    if (c->conn.out.len + c->held > w->settings->client_output_max) {
        metric_add(&w->metrics.clients_output_limit, 1);
        log_event(w->log, LOG_WARN, "client-output-limit", "client=%" PRIu64 " owed=%zu", c->id,
                  c->conn.out.len + (size_t)c->held);
        client_close(c);
        return;
    }
    conn_mark_dirty(&c->conn, &w->dirty_clients);
    client_wake(c);
}

void client_flush(struct client *c)
{
    struct worker *w = c->worker;
    ssize_t n = conn_flush(&c->conn);
    if (n < 0) {
        client_close(c);
        return;
    }
    if (n > 0)
        metric_add(&w->metrics.bytes_to_clients, (uint64_t)n);
    if (!c->conn.blocked) {
        list_remove(&c->blocked_link);
    } else if (n > 0 || list_empty(&c->blocked_link)) {
        c->blocked_since = worker_now(w);
        list_remove(&c->blocked_link);
        list_push_tail(&w->blocked, &c->blocked_link);
    }
    end_if_over(c);
    client_wake(c);
}

/* ---- requests ---- */

static void protocol_error(struct client *c, const char *text)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    metric_add(&c->worker->metrics.clients_protocol_error, 1);
    reply_error(&o, "ERR %s", text);
    c->closing = true;
    client_reply_end(c, r, &o);
}

static int take_inline(struct client *c, const struct iovec *iov, size_t count, size_t len)
{
    struct worker *w = c->worker;
    if (count == 1)
        return args_parse_inline(&w->args, (struct str){iov[0].iov_base, len});
    char *line CLEANUP(freep) = malloc(len);
    if (!line)
        return -ENOMEM;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(line + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    return args_parse_inline(&w->args, (struct str){line, len});
}

/* A whole request lies in `iov`, `len` bytes; `from` is c->in or NULL (the scratch). */
static void take_request(struct client *c, const struct iovec *iov, size_t count, size_t len,
                         struct buf *from)
{
    struct worker *w = c->worker;
    if (c->frame.is_inline) {
        int err = take_inline(c, iov, count, len);
        if (err == -EINVAL)
            protocol_error(c, "Protocol error: unbalanced quotes in request");
        else if (err)
            reply_failure(c, FAILURE_MEMORY);
        else if (w->args.count > 0)
            router_route(c, NULL);
        return;
    }
    if (c->frame.number <= 0)
        return; /* an empty command: Redis says nothing to it */
    int err = args_parse(&w->args, iov, count);
    if (!err && c->frame.sloppy) {
        err = args_make_canonical(&w->args);
        from = NULL;
    }
    if (err)
        reply_failure(c, FAILURE_MEMORY);
    else
        router_route(c, from);
}

/* The first `len` bytes of c->in are a request. */
static void take_request_from_in(struct client *c, size_t len)
{
    struct worker *w = c->worker;
    size_t pieces = buf_pieces(&c->in);
    if (pieces > w->iov_room) {
        struct iovec *iov = realloc(w->iov, pieces * sizeof(*iov));
        if (!iov) {
            reply_failure(c, FAILURE_MEMORY);
            buf_consume(&c->in, &w->chunks, len);
            return;
        }
        w->iov = iov;
        w->iov_room = pieces;
    }
    size_t count = (size_t)buf_iov(&c->in, 0, w->iov, (int)pieces);
    size_t left = len;
    for (size_t i = 0; i < count; i++) {
        if (w->iov[i].iov_len > left)
            w->iov[i].iov_len = left;
        left -= w->iov[i].iov_len;
        if (left == 0)
            count = i + 1;
    }
    size_t whole = c->in.len;
    take_request(c, w->iov, count, len, &c->in);
    if (c->conn.source.dead)
        return;
    size_t taken = whole - c->in.len; /* 0, or all of it by reference */
    buf_consume(&c->in, &w->chunks, len - taken);
}

/* What has come of a request does not fit: the rest of it is passed over, then the client is told.
 */
static void discard(struct client *c)
{
    c->discarding = true;
    buf_clear(&c->in, &c->worker->chunks);
    c->in_fed = 0;
}

/* The request that was passed over has ended. A count of 0 calls for no answer, whatever there was
 * no room for. Whether a line was blank is not known any more, so nothing after it could be
 * trusted. */
static void refuse_discarded(struct client *c)
{
    c->discarding = false;
    if (!c->frame.is_inline && c->frame.number <= 0)
        return;
    reply_failure(c, FAILURE_MEMORY);
    if (c->frame.is_inline && !c->conn.source.dead)
        client_close_after_replies(c);
}

static void request_is_complete(struct client *c, const uint8_t *bytes, size_t len)
{
    metric_add(&c->worker->metrics.requests, 1);
    if (c->in_fed > 0 && buf_append_slowly(&c->in, &c->worker->chunks, bytes, len) != 0)
        discard(c);
    if (c->discarding) {
        refuse_discarded(c);
    } else if (c->in_fed == 0) {
        struct iovec iov = {(void *)(uintptr_t)bytes, len};
        take_request(c, &iov, 1, len, NULL);
    } else {
        take_request_from_in(c, c->in.len);
    }
    c->in_fed = 0;
    frame_reset(&c->frame);
}

/* Bytes from the scratch. */
static void feed(struct client *c, const uint8_t *bytes, size_t len)
{
    struct worker *w = c->worker;
    while (len > 0 && !c->conn.source.dead) {
        if (must_wait(c)) {
            if (c->closing)
                return; /* nothing more is taken from it */
            if (c->pending >= w->settings->client_pending_max)
                metric_add(&w->metrics.clients_pending_limit, 1);
            if (buf_append_slowly(&c->in, &w->chunks, bytes, len) != 0) {
                reply_failure(c, FAILURE_MEMORY);
                if (!c->conn.source.dead)
                    client_close_after_replies(c);
            }
            return;
        }
        size_t used = c->frame.len == 0 ? args_try(&w->args, bytes, len, &w->request_limits) : 0;
        if (used > 0) {
            metric_add(&w->metrics.requests, 1);
            router_route(c, NULL);
            bytes += used;
            len -= used;
            continue;
        }
        enum frame_result result = frame_feed(&c->frame, bytes, len, &used);
        if (result == FRAME_BAD) {
            char text[FRAME_ERROR_MAX];
            protocol_error(c, frame_error(&c->frame, text));
            return;
        }
        if (result == FRAME_READY) {
            request_is_complete(c, bytes, used);
        } else if (!c->discarding) {
            if (buf_append_slowly(&c->in, &w->chunks, bytes, used) != 0)
                discard(c);
            else
                c->in_fed += used;
        }
        bytes += used;
        len -= used;
    }
}

/* What was kept in c->in while the client had to wait. */
static void feed_kept(struct client *c)
{
    while (!c->conn.source.dead && c->in.len > c->in_fed && !must_wait(c)) {
        struct iovec piece;
        buf_iov(&c->in, c->in_fed, &piece, 1);
        size_t used;
        enum frame_result result = frame_feed(&c->frame, piece.iov_base, piece.iov_len, &used);
        if (result == FRAME_BAD) {
            char text[FRAME_ERROR_MAX];
            protocol_error(c, frame_error(&c->frame, text));
            return;
        }
        c->in_fed += used;
        if (result == FRAME_MORE)
            continue;
        size_t len = c->in_fed;
        metric_add(&c->worker->metrics.requests, 1);
        take_request_from_in(c, len);
        c->in_fed = 0;
        frame_reset(&c->frame);
    }
}

static void read_client(struct client *c)
{
    struct worker *w = c->worker;
    feed_kept(c);
    if (c->conn.source.dead || c->in.len > c->in_fed || !c->readable || must_wait(c))
        return;
    ssize_t n = conn_read(&c->conn, w->client_scratch, CLIENT_READ_BYTES);
    if (n == -EAGAIN || n == -EINTR) {
        c->readable = false;
        return;
    }
    if (n < 0) {
        client_close(c);
        return;
    }
    if (n == 0) {
        /* It may have closed only its side and still wait for replies. */
        c->readable = false;
        c->eof = true;
        end_if_over(c);
        return;
    }
    /* A short read has emptied the socket, unless its end is in there too. */
    c->readable = n == CLIENT_READ_BYTES || c->hung_up;
    metric_add(&w->metrics.bytes_from_clients, (uint64_t)n);
    c->last_active = worker_now(w);
    if (w->settings->client_idle_timeout > 0) {
        list_remove(&c->idle_link);
        list_push_tail(&w->idle, &c->idle_link);
    }
    c->batch++;
    feed(c, w->client_scratch, (size_t)n);
}

static void on_ready(struct source *s, unsigned ready)
{
    struct client *c = container_of(s, struct client, conn.source);
    if (ready & IO_OUT && c->conn.blocked) {
        c->conn.blocked = false;
        conn_mark_dirty(&c->conn, &c->worker->dirty_clients);
    }
    if (ready & IO_HUP)
        c->hung_up = true;
    if (ready & (IO_IN | IO_HUP)) {
        c->readable = c->readable || !c->eof;
        read_client(c);
        if (!s->dead) {
            end_if_over(c);
            client_wake(c);
        }
    }
}

/* ---- life ---- */

struct client *client_new(struct worker *w, int handle, const struct addr *peer)
{
    struct client *c = pool_take(&w->clients_pool);
    if (!c) {
        w->loop.io->ops->close(w->loop.io->ctx, handle);
        return NULL;
    }
    memset(c, 0, client_bytes());
    conn_init(&c->conn, &w->loop, &w->chunks, on_ready);
    if (conn_open(&c->conn, handle) != 0) {
        pool_give(&w->clients_pool, c);
        return NULL;
    }
    c->worker = w;
    c->peer = *peer;
    c->proto = 2;
    c->on_failure = (uint8_t)w->settings->reads;
    c->id = ++w->last_client_id * w->count + w->index;
    c->last_active = worker_now(w);
    frame_init(&c->frame, FRAME_REQUEST, &w->request_limits);
    list_init(&c->blocked_link);
    list_init(&c->idle_link);
    list_init(&c->changing_link);
    list_init(&c->requests);
    list_push_tail(&w->clients, &c->link);
    if (w->settings->client_idle_timeout > 0)
        list_push_tail(&w->idle, &c->idle_link);
    metric_add(&w->metrics.clients, 1);
    return c;
}

static void bury(struct grave *g)
{
    struct client *c = container_of(g, struct client, grave);
    c->buried = true;
    if (c->parts_out == 0)
        pool_give(&c->worker->clients_pool, c);
}

void client_parts_are_back(struct client *c)
{
    if (c->buried)
        pool_give(&c->worker->clients_pool, c);
    else
        client_wake(c);
}

void client_close(struct client *c)
{
    struct worker *w = c->worker;
    if (c->conn.source.dead)
        return;
    loop_bury(&w->loop, &c->conn.source, &c->grave, bury);
    /* Its parts stay where they are in the upstreams' queues; their replies will be dropped. */
    while (!list_empty(&c->requests))
        request_free(list_first(&c->requests, struct request, link));
    buf_clear(&c->in, &w->chunks);
    conn_close(&c->conn);
    free(take_ptr(c->name));
    list_remove(&c->link);
    list_remove(&c->idle_link);
    list_remove(&c->changing_link);
    list_remove(&c->blocked_link);
    metric_set(&w->metrics.clients, metric_get(&w->metrics.clients) - 1);
    atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
}
