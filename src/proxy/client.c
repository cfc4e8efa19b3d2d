/* SPDX-License-Identifier: Apache-2.0 */
/* A client's life, its replies, and whether it may go on. What it asks: client_requests.c. */
#include "proxy/client.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/client_header.h"
#include "proxy/client_internal.h"
#include "proxy/client_tls.h"
#include "proxy/guard.h"
#include "proxy/lanes.h"
#include "proxy/peers.h"
#include "proxy/retry.h"
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

bool client_must_wait(const struct client *c)
{
    const struct worker *w = c->worker;
    if (c->upload)
        return upload_is_blocked(c);
    if (c->closing || c->waits || c->postponed || w->draining ||
        c->pending >= w->settings->client_pending_max)
        return true;
    return client_owed(c) > CLIENT_OUTPUT_PAUSE && !writes_first(c);
}

bool client_must_stop(const struct client *c)
{
    return client_must_wait(c) || client_owed(c) > c->may_owe;
}

void client_wake(struct client *c)
{
    if (!c->conn.source.dead && (c->readable || c->in.len > c->in_fed) && !client_must_wait(c))
        loop_again(&c->worker->loop, &c->conn.source);
}

void client_end_if_over(struct client *c)
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
    client_end_if_over(c);
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

void client_reply_failure(struct client *c, enum failure f)
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
    client_end_if_over(c);
    client_wake(c);
}

/* ---- events ---- */

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
        client_read(c);
        /* Who waits in a command that blocks is not read: that it has gone is all there is to know.
         */
        if (!s->dead && c->hung_up && session_is_blocked(c))
            client_close(c);
        if (!s->dead) {
            client_end_if_over(c);
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
