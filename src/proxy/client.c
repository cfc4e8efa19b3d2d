/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long: one object, of which each part has the state of the others in mind.
 *
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
#include "base/nsec.h"
#include "proxy/client_header.h"
#include "proxy/client_tls.h"
#include "proxy/guard.h"
#include "proxy/lanes.h"
#include "proxy/peers.h"
#include "proxy/retry.h"
#include "proxy/router.h"
#include "proxy/session.h"
#include "proxy/upload.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WRITES_FIRST_MS = 10 }; /* without taking a byte: longer than a round trip and a turn */

/* ---- may it go on? ---- */

/* It takes nothing: it may be one that writes a whole pipeline before it reads (redis-py does), and
 * will not read before we have. It is read on, as long as what it is owed has room. */
static bool writes_first(const struct client *c)
{
    const struct worker *w = c->worker;
    return c->conn.blocked && !list_empty(&c->blocked_link) &&
           worker_now(w) >= c->blocked_since + WRITES_FIRST_MS * NSEC_MS &&
           client_owed(c) <= w->settings->client_output_max / 2 &&
           lanes_has_room(w, CLIENT_OUTPUT_PAUSE);
}

static bool must_wait(const struct client *c)
{
    const struct worker *w = c->worker;
    if (c->upload)
        return upload_is_blocked(c);
    if (c->closing || c->waits || c->postponed || w->draining ||
        c->pending >= w->settings->client_pending_max)
        return true;
    return client_owed(c) > CLIENT_OUTPUT_PAUSE && !writes_first(c);
}

/* … or enough has been written to it for once: others first. */
static bool must_stop(const struct client *c)
{
    return must_wait(c) || client_owed(c) > c->may_owe;
}

void client_wake(struct client *c)
{
    if (!c->conn.source.dead && (c->readable || c->in.len > c->in_fed) && !must_wait(c))
        loop_again(&c->worker->loop, &c->conn.source);
}

/* Nothing is under way and nothing can come: then it ends. */
static void end_if_over(struct client *c)
{
    if (c->conn.source.dead || c->pending > 0 || conn_has_unsent(&c->conn))
        return;
    bool all_taken = c->in.len == c->in_fed;
    if (c->closing || c->worker->draining || (c->eof && all_taken))
        client_finish(c);
}

bool client_is_at_rest(const struct client *c)
{
    return !c->conn.source.dead && c->pending == 0 && c->in.len == 0 &&
           !conn_has_unsent(&c->conn) && !c->session && !c->subscriber && !c->upload &&
           !c->readable && !c->header_due && !c->tls_due;
}

void client_drain(struct client *c)
{
    session_drain(c);
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
    if (list_empty(&c->requests) && c->mute == CLIENT_MUTE_NONE)
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

/* Why the present request is dropped. */
enum discard { DISCARD_NOT, DISCARD_MEMORY, DISCARD_TOO_LONG };

static void reply_failure(struct client *c, enum failure f)
{
    struct request *r;
    bool inside = session_gathers(c);
    struct reply_out o = client_reply_begin(c, &r);
    failure_count(c->worker, f);
    failure_write(&o, f, NULL);
    client_reply_end(c, r, &o);
    /* What could not be read may have been the EXEC, and who believes it is done must not have all
     * that follows queued. */
    if (inside && !c->conn.source.dead)
        client_close_after_replies(c);
}

void client_check_owed(struct client *c)
{
    struct worker *w = c->worker;
    if (client_owed(c) <= w->settings->client_output_max)
        return;
    metric_add(&w->metrics.clients_output_limit, 1);
    log_event(w->log, LOG_WARN, "client-output-limit", "client=%" PRIu64 " owed=%" PRIu64, c->id,
              client_owed(c));
    client_close(c);
}

/* The request that has become the next: what has come of its reply can go. */
static void next_may_be_streaming(struct request *r)
{
    if (r->uploading || r->muted || r->reply.len == 0)
        return;
    r->given += r->reply.len;
    buf_move_all(&r->client->conn.out, &r->reply);
    request_count_held(r);
    r->client->hurry = true;
}

/* What a request kept until its turn goes out. */
static void take_reply(struct client *c, struct request *r)
{
    struct chunk_pool *chunks = &c->worker->chunks;
    if (r->muted)
        buf_clear(&r->reply, chunks);
    /* By copy if it is short: many short pieces cost the kernel more than one copy does here. */
    if (buf_move(&c->conn.out, &r->reply, chunks, r->reply.len) != 0)
        buf_move_all(&c->conn.out, &r->reply);
}

void client_advance(struct client *c)
{
    struct worker *w = c->worker;
    while (!list_empty(&c->requests)) {
        struct request *r = list_first(&c->requests, struct request, link);
        if (!r->done)
            break;
        c->answered_batch = r->batch;
        if (r->reply.len > 0) /* else it was the next, and wrote to `out` itself */
            take_reply(c, r);
        request_free(r);
    }
    if (!list_empty(&c->requests))
        next_may_be_streaming(list_first(&c->requests, struct request, link));
    if (c->held_parts > 0)
        lanes_review(c);
    client_check_owed(c);
    if (c->conn.source.dead)
        return;
    conn_mark_dirty(&c->conn, &w->dirty_clients);
    client_wake(c);
}

/* It took `n` bytes. */
static void sent_bytes(struct client *c, size_t n)
{
    struct worker *w = c->worker;
    if (n > 0)
        metric_add(&w->metrics.bytes_to_clients, n);
    if (!c->conn.blocked) {
        list_remove(&c->blocked_link);
    } else if (n > 0 || list_empty(&c->blocked_link)) {
        c->blocked_since = worker_now(w);
        list_remove(&c->blocked_link);
        list_push_tail(&w->blocked, &c->blocked_link);
        if (!timer_is_set(&w->blocked_timer))
            timer_set(&w->blocked_timer, worker_now(w) + WRITES_FIRST_MS * NSEC_MS);
    }
}

void client_wake_blocked(struct worker *w)
{
    list_for_each (link, &w->blocked)
        client_wake(list_item(link, struct client, blocked_link));
    if (!list_empty(&w->blocked))
        timer_set(&w->blocked_timer, worker_now(w) + WRITES_FIRST_MS * NSEC_MS);
}

int client_pass_on(struct client *c, const void *bytes, size_t len)
{
    struct worker *w = c->worker;
    size_t taken;
    ssize_t n = conn_send(&c->conn, bytes, len, &taken);
    if (n < 0) {
        client_close(c);
        return 0;
    }
    sent_bytes(c, (size_t)n);
    c->hurry = true;
    conn_mark_dirty(&c->conn, &w->dirty_clients);
    if (taken == len)
        return 0;
    int err = buf_append(&c->conn.out, &w->chunks, (const uint8_t *)bytes + taken, len - taken);
    if (err && taken > 0) {
        failure_count(w, FAILURE_MEMORY);
        metric_add(&w->metrics.clients_reply_cut, 1);
        client_close(c);
    }
    return err;
}

void client_flush(struct client *c)
{
    ssize_t n = conn_flush(&c->conn);
    if (n < 0) {
        client_close(c);
        return;
    }
    sent_bytes(c, (size_t)n);
    if (c->paused) {
        c->paused->window_bytes += (uint64_t)n;
        if (c->conn.out.len <= STREAM_RESUME)
            upstream_resume(c->paused);
    }
    if (c->held_parts > 0 && c->conn.out.len <= STREAM_RESUME)
        lanes_review(c);
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
        reply_failure(c, FAILURE_MEMORY);
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
        reply_failure(c, FAILURE_MEMORY);
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
    reply_failure(c, FAILURE_MEMORY);
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
        if (!c->upload && must_stop(c)) {
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
    while (!c->conn.source.dead && c->in.len > c->in_fed && !must_stop(c)) {
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
    end_if_over(c);
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

static void read_client(struct client *c)
{
    struct worker *w = c->worker;
    if (c->header_due && !read_header(c))
        return;
    c->may_owe = client_owed(c) + CLIENT_OUTPUT_PAUSE;
    feed_kept(c);
    if (c->conn.source.dead || c->in.len > c->in_fed || !c->readable || must_wait(c))
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
        /* Who waits in a command that blocks is not read: that it has gone is all there is to know.
         */
        if (!s->dead && c->hung_up && session_is_blocked(c))
            client_close(c);
        if (!s->dead) {
            end_if_over(c);
            client_wake(c);
        }
    }
}

/* ---- life ---- */

/* Counts it for its address, now that this is known. Whoever is one too many is told as
 * redis-server tells it, and closed. */
void client_enter(struct client *c)
{
    struct worker *w = c->worker;
    if (c->tls_due && !client_tls_begin(c))
        return;
    if (!w->peers || c->peer.family == ADDR_NONE || c->peer.family == ADDR_UNIX)
        return;
    c->counted = peers_enter(w->peers, &c->peer, w->settings->address_clients_max);
    if (c->counted)
        return;
    metric_add(&w->metrics.clients_address_limit, 1);
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    reply_error(&o, "ERR max number of clients reached");
    client_reply_end(c, r, &o);
    if (!c->conn.source.dead)
        client_close_after_replies(c);
}

struct client *client_new(struct worker *w, int handle, const struct addr *peer, bool tls)
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
    c->tls_due = tls;
    c->proto = 2;
    c->on_failure = (uint8_t)w->settings->reads;
    c->id = ++w->last_client_id * w->count + w->index;
    c->since = c->last_active = worker_now(w);
    frame_init(&c->frame, FRAME_REQUEST, &w->request_limits);
    guard_begin(c);
    list_init(&c->blocked_link);
    list_init(&c->header_link);
    list_init(&c->handshake_link);
    list_init(&c->idle_link);
    list_init(&c->review_link);
    list_init(&c->requests);
    list_init(&c->parts);
    list_push_tail(&w->clients, &c->link);
    if (w->settings->client_idle_timeout > 0)
        list_push_tail(&w->idle, &c->idle_link);
    metric_add(&w->metrics.clients, 1);
    if (client_header_is_due(c))
        client_header_begin(c);
    else
        client_enter(c);
    return c;
}

static void bury(struct grave *g)
{
    struct client *c = container_of(g, struct client, grave);
    c->buried = true;
    if (list_empty(&c->parts))
        pool_give(&c->worker->clients_pool, c);
}

void client_last_part_left(struct client *c)
{
    must(c->buried);
    pool_give(&c->worker->clients_pool, c);
}

/* Its parts on upstreams stay where they are, their replies will be dropped; those that still wait
 * to be sent are not. */
static void drop_parts(struct client *c)
{
    session_drop(c);
    if (c->upload)
        upload_abort(c);
    while (!list_empty(&c->requests))
        request_free(list_first(&c->requests, struct request, link));
    list_for_each_safe (link, &c->parts) {
        struct part *p = list_item(link, struct part, of_client);
        if (!p->node)
            retry_abandon(p);
        else if (!p->upstream && !list_empty(&p->queue))
            part_leave(c->worker, p);
    }
    if (c->paused)
        upstream_resume(c->paused);
}

static void leave(struct client *c, void (*end)(struct conn *))
{
    struct worker *w = c->worker;
    if (c->conn.source.dead)
        return;
    loop_bury(&w->loop, &c->conn.source, &c->grave, bury);
    if (c->counted)
        peers_leave(w->peers, &c->peer);
    client_tls_leave(c);
    drop_parts(c);
    subscriber_free(c);
    buf_clear(&c->in, &w->chunks);
    end(&c->conn);
    free(take_ptr(c->name));
    free(take_ptr(c->lib_name));
    free(take_ptr(c->lib_ver));
    list_remove(&c->link);
    list_remove(&c->idle_link);
    list_remove(&c->header_link);
    list_remove(&c->review_link);
    list_remove(&c->blocked_link);
    metric_set(&w->metrics.clients, metric_get(&w->metrics.clients) - 1);
    atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
}

void client_close(struct client *c)
{
    leave(c, conn_close);
}

void client_finish(struct client *c)
{
    leave(c, conn_finish);
}
