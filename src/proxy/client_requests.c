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
#include "proxy/client_header.h"
#include "proxy/client_internal.h"
#include "proxy/lanes.h"
#include "proxy/router.h"
#include "proxy/session.h"
#include "proxy/upload.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Why the present request is dropped. */
enum discard { DISCARD_NOT, DISCARD_MEMORY, DISCARD_TOO_LONG };

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
            client_reply_failure(c, FAILURE_MEMORY);
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
        client_reply_failure(c, FAILURE_MEMORY);
    else
        router_route(c, from);
}

/* Fills w->iov with c->in. → how many, or -ENOMEM */
static ssize_t pieces_of_in(struct client *c)
{
    struct worker *w = c->worker;
    size_t pieces = buf_pieces(&c->in);
    if (pieces > w->iov_room) {
        struct iovec *iov = realloc(w->iov, pieces * sizeof(*iov));
        if (!iov)
            return -ENOMEM;
        w->iov = iov;
        w->iov_room = pieces;
    }
    return buf_iov(&c->in, 0, w->iov, (int)pieces);
}

/* The first `len` bytes of c->in are a request. */
static void take_request_from_in(struct client *c, size_t len)
{
    struct worker *w = c->worker;
    ssize_t pieces = pieces_of_in(c);
    if (pieces < 0) {
        client_reply_failure(c, FAILURE_MEMORY);
        buf_consume(&c->in, &w->chunks, len);
        return;
    }
    size_t count = (size_t)pieces;
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
    if (c->conn.source.dead || c->postponed)
        return;
    size_t taken = whole - c->in.len; /* 0, or all of it by reference */
    buf_consume(&c->in, &w->chunks, len - taken);
}

/* What has come of a request does not fit: the rest of it is passed over, then the client is told.
 */
static void discard(struct client *c, enum discard why)
{
    c->discarding = (uint8_t)why;
    buf_clear(&c->in, &c->worker->chunks);
    c->in_fed = 0;
}

/* c->in is the beginning of a request that goes on. If it is long, it is sent on from now on, or
 * has to be gathered, within limits. */
static void look_at_beginning(struct client *c)
{
    struct worker *w = c->worker;
    uint64_t len = c->frame.len + c->frame.body_left; /* at least */
    if (len <= w->settings->bulk_above)
        return;
    if (!c->gathering && !c->frame.is_inline && !c->frame.sloppy) {
        ssize_t pieces = pieces_of_in(c);
        if (pieces < 0) {
            discard(c, DISCARD_MEMORY);
            return;
        }
        enum router_begin what = router_begin(c, w->iov, (size_t)pieces);
        if (c->postponed)
            return; /* looked at again when it goes on */
        if (what == ROUTER_UPLOAD) {
            c->in_fed = 0;
            return;
        }
        c->gathering = what == ROUTER_GATHER;
    }
    /* A line never is long, and one that was dropped would cost the connection. */
    if (len > w->settings->split_request_max && !c->frame.is_inline)
        discard(c, DISCARD_TOO_LONG);
    else if (!lanes_has_room(w, c->frame.body_left))
        discard(c, DISCARD_MEMORY);
}

static void refuse_too_long(struct client *c)
{
    struct request *r;
    session_abort(c);
    struct reply_out o = client_reply_begin(c, &r);
    metric_add(&c->worker->metrics.requests_split_limit, 1);
    reply_error(&o, "ERR sumcache: request is longer than limits.max_split_request");
    client_reply_end(c, r, &o);
}

/* The request that was passed over has ended. A count of 0 calls for no answer, whatever there was
 * no room for. Whether a line was blank is not known any more, so nothing after it could be
 * trusted. */
static void refuse_discarded(struct client *c)
{
    enum discard why = c->discarding;
    c->discarding = DISCARD_NOT;
    if (!c->frame.is_inline && c->frame.number <= 0)
        return;
    if (why == DISCARD_TOO_LONG)
        refuse_too_long(c);
    else
        client_reply_failure(c, FAILURE_MEMORY);
    if (c->frame.is_inline && !c->conn.source.dead)
        client_close_after_replies(c);
}

static void next_frame(struct client *c)
{
    c->gathering = false;
    frame_reset(&c->frame);
}

/* It has been looked at, and waits: it counts when it is taken, and stays in c->in or comes there.
 */
static void postpone(struct client *c, const uint8_t *bytes, size_t len)
{
    struct worker *w = c->worker;
    metric_set(&w->metrics.requests, metric_get(&w->metrics.requests) - 1);
    if (len == 0 || buf_append_slowly(&c->in, &w->chunks, bytes, len) == 0)
        return;
    client_reply_failure(c, FAILURE_MEMORY);
    if (!c->conn.source.dead)
        client_close_after_replies(c);
}

static void request_is_complete(struct client *c, const uint8_t *bytes, size_t len)
{
    metric_add(&c->worker->metrics.requests, 1);
    if (c->in_fed > 0 && buf_append_slowly(&c->in, &c->worker->chunks, bytes, len) != 0)
        discard(c, DISCARD_MEMORY);
    if (c->discarding) {
        refuse_discarded(c);
    } else if (c->in_fed == 0) {
        struct iovec iov = {(void *)(uintptr_t)bytes, len};
        take_request(c, &iov, 1, len, NULL);
        if (c->postponed)
            postpone(c, bytes, len);
    } else {
        take_request_from_in(c, c->in.len);
        if (c->postponed)
            postpone(c, NULL, 0);
    }
    c->in_fed = 0;
    next_frame(c);
}

/* `used` bytes of an upload. */
static void take_upload(struct client *c, const uint8_t *bytes, size_t used, bool is_end)
{
    upload_take(c, bytes, used);
    if (!is_end)
        return;
    next_frame(c);
    upload_end(c);
}

static void frame_is_bad(struct client *c)
{
    char text[FRAME_ERROR_MAX];
    if (c->upload)
        upload_abort(c);
    protocol_error(c, frame_error(&c->frame, text));
}

/* Bytes from the scratch. */
static void feed(struct client *c, const uint8_t *bytes, size_t len)
{
    struct worker *w = c->worker;
    while (len > 0 && !c->conn.source.dead) {
        if (!c->upload && client_must_stop(c)) {
            if (c->closing)
                return; /* nothing more is taken from it */
            if (c->pending >= w->settings->client_pending_max)
                metric_add(&w->metrics.clients_pending_limit, 1);
            if (buf_append_slowly(&c->in, &w->chunks, bytes, len) != 0) {
                client_reply_failure(c, FAILURE_MEMORY);
                if (!c->conn.source.dead)
                    client_close_after_replies(c);
            }
            return;
        }
        size_t used = c->frame.len == 0 ? args_try(&w->args, bytes, len, c->frame.limits) : 0;
        if (used > 0) {
            metric_add(&w->metrics.requests, 1);
            router_route(c, NULL);
            if (c->postponed)
                postpone(c, bytes, used);
            bytes += used;
            len -= used;
            continue;
        }
        enum frame_result result = frame_feed(&c->frame, bytes, len, &used);
        if (result == FRAME_BAD) {
            frame_is_bad(c);
            return;
        }
        if (c->upload) {
            take_upload(c, bytes, used, result == FRAME_READY);
        } else if (result == FRAME_READY) {
            request_is_complete(c, bytes, used);
        } else if (!c->discarding) {
            if (buf_append_slowly(&c->in, &w->chunks, bytes, used) != 0) {
                discard(c, DISCARD_MEMORY);
            } else {
                c->in_fed += used;
                look_at_beginning(c);
            }
        }
        bytes += used;
        len -= used;
    }
}

/* What was kept in c->in while the client had to wait. */
static void feed_kept(struct client *c)
{
    while (!c->conn.source.dead && c->in.len > c->in_fed && !client_must_stop(c)) {
        struct iovec piece;
        buf_iov(&c->in, c->in_fed, &piece, 1);
        size_t used;
        enum frame_result result = frame_feed(&c->frame, piece.iov_base, piece.iov_len, &used);
        if (result == FRAME_BAD) {
            frame_is_bad(c);
            return;
        }
        c->in_fed += used;
        if (result == FRAME_MORE) {
            if (c->in.len == c->in_fed)
                look_at_beginning(c);
            continue;
        }
        size_t len = c->in_fed;
        metric_add(&c->worker->metrics.requests, 1);
        take_request_from_in(c, len);
        if (c->postponed)
            postpone(c, NULL, 0);
        c->in_fed = 0;
        next_frame(c);
    }
}

/* The first bytes are there, and the end is not: there will be no end. */
static void end_of_input(struct client *c)
{
    c->readable = false;
    c->eof = true;
    if (c->upload)
        upload_abort(c);
    /* It may have closed only its side and still wait for replies. */
    client_end_if_over(c);
}

/* True: it has come. What came behind it lies in c->in. */
static bool read_header(struct client *c)
{
    struct worker *w = c->worker;
    ssize_t n = conn_read(&c->conn, w->client_scratch, CLIENT_READ_BYTES);
    if (n == -EAGAIN || n == -EINTR) {
        c->readable = false;
        return false;
    }
    if (n == 0)
        end_of_input(c);
    else if (n < 0)
        client_close(c);
    if (n <= 0)
        return false;
    c->readable = n == CLIENT_READ_BYTES || c->hung_up;
    c->last_active = worker_now(w);
    return client_header_take(c, w->client_scratch, (size_t)n);
}

void client_read(struct client *c)
{
    struct worker *w = c->worker;
    if (c->header_due && !read_header(c))
        return;
    c->may_owe = client_owed(c) + CLIENT_OUTPUT_PAUSE;
    feed_kept(c);
    if (c->conn.source.dead || c->in.len > c->in_fed || !c->readable || client_must_wait(c))
        return;
    /* Long reads for long requests: nobody else uses that scratch between two events. */
    uint8_t *to = c->upload ? w->upstream_scratch : w->client_scratch;
    size_t size = c->upload ? UPSTREAM_READ_BYTES : CLIENT_READ_BYTES;
    ssize_t n = conn_read(&c->conn, to, size);
    if (n == -EAGAIN || n == -EINTR) {
        c->readable = false;
        return;
    }
    if (n < 0) {
        client_close(c);
        return;
    }
    if (n == 0) {
        end_of_input(c);
        return;
    }
    /* A short read has emptied the socket, unless its end is in there too. */
    c->readable = (size_t)n == size || c->hung_up;
    metric_add(&w->metrics.bytes_from_clients, (uint64_t)n);
    c->last_active = worker_now(w);
    if (w->settings->client_idle_timeout > 0) {
        list_remove(&c->idle_link);
        list_push_tail(&w->idle, &c->idle_link);
    }
    c->batch++;
    feed(c, to, (size_t)n);
}
