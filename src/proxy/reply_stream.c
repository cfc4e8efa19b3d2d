/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/reply_stream.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/outcomes.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>

enum {
    /* Of a reply that nobody wants any more so much is read and dropped; if more is to come, a new
     * connection is cheaper. */
    DROP_MAX = 1024 * 1024,
    /* How long a client may leave its reply unread while others wait for its upstream. No more than
     * a quarter of what they may wait, so that they need not pay for it. */
    PATIENCE_MS = 25,
    PATIENCE_PART = 4,
};

static uint64_t patience(const struct worker *w)
{
    return nsec_min(PATIENCE_MS * NSEC_MS, w->settings->request_timeout / PATIENCE_PART);
}

bool reply_stream_wants(const struct upstream *u)
{
    if (u->streaming)
        return true;
    if (u->state != UPSTREAM_READY || u->dropping)
        return false;
    const struct part *p = list_first(&u->sent, struct part, queue);
    const struct request *r = p->request;
    return r && !r->gather && !r->muted && !r->transaction && p->swallow == 0 &&
           u->frame.len + u->frame.body_left > u->worker->settings->bulk_above;
}

/* Does another client wait for what comes behind the present reply? */
static bool others_wait(const struct upstream *u)
{
    const struct part *first = list_first(&u->sent, struct part, queue);
    list_for_each (link, &u->sent) {
        const struct part *p = list_item(link, struct part, queue);
        if (p->request && p->client != first->client)
            return true;
    }
    return false;
}

static void begin(struct upstream *u, struct part *p)
{
    struct worker *w = u->worker;
    struct request *r = p->request;
    struct client *c = r->client;
    u->streaming = true;
    metric_add(&w->metrics.replies_streamed, 1);
    r->outcome = r->command->flags & COMMAND_READ ? OUTCOME_HIT : OUTCOME_ANSWERED;
    if (p->size_id)
        size_table_learn(&w->sizes, p->size_id, u->frame.len + u->frame.body_left);
    if (!u->bulk && !u->private)
        lanes_promote(u);
    if (request_is_next(r)) {
        r->given = u->in.len;
        buf_move_all(&c->conn.out, &u->in);
    } else {
        buf_move_all(&r->reply, &u->in);
        request_count_held(r);
    }
}

/* 0, or -ENOMEM: there is no room for it, and its request is to be failed. */
static int give(struct request *r, const uint8_t *bytes, size_t len)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    int err = 0;
    /* What its client does not take, or cannot take yet, is kept within the share of large values.
     */
    bool keeps = !request_is_next(r) || c->conn.out.len > STREAM_PAUSE;
    if (keeps && !lanes_has_room(w, len))
        return -ENOMEM;
    if (request_is_next(r)) {
        r->given += len;
        err = client_pass_on(c, bytes, len);
        if (err)
            r->given -= len;
    } else {
        err = buf_append(&r->reply, &w->chunks, bytes, len);
        request_count_held(r);
    }
    return err;
}

static void pass_on(struct part *p, const uint8_t *bytes, size_t len)
{
    if (!p->request)
        return;
    struct client *c = p->client;
    lanes_release(p, len);
    int err = give(p->request, bytes, len);
    if (c->conn.source.dead)
        return;
    if (err)
        part_fail(c->worker, p, FAILURE_MEMORY);
    else
        client_check_owed(c);
}

static void pause(struct upstream *u, struct client *c)
{
    must(!u->paused_for && !c->paused);
    u->paused_for = c;
    c->paused = u;
    u->window_began = worker_now(u->worker);
    u->window_bytes = 0;
    metric_add(&u->worker->metrics.upstreams_paused, 1);
    timer_set(&u->timer, u->window_began + patience(u->worker));
}

bool reply_stream_take(struct upstream *u, const uint8_t *bytes, size_t len)
{
    struct part *p = list_first(&u->sent, struct part, queue);
    if (!u->streaming)
        begin(u, p);
    pass_on(p, bytes, len);
    struct request *r = p->request;
    if (!r) {
        if (!u->bulk || u->frame.body_left <= DROP_MAX || others_wait(u))
            return true;
        lanes_abandon(u);
        return false;
    }
    struct client *c = r->client;
    if (u->absorbing || !request_is_next(r) || c->conn.out.len <= STREAM_PAUSE)
        return true;
    if ((u->bulk || u->private) && !others_wait(u)) {
        pause(u, c);
    } else if (!u->pressed) { /* its client is closed if it comes to owe too much */
        u->pressed = true;
        metric_add(&u->worker->metrics.replies_absorbed, 1);
    }
    return true;
}

void reply_stream_end(struct upstream *u, struct part *p, const uint8_t *bytes, size_t len)
{
    pass_on(p, bytes, len);
    u->streaming = u->absorbing = u->pressed = false;
    struct request *r = p->request;
    if (!r) {
        metric_add(&u->worker->metrics.late_replies, 1);
        return;
    }
    p->request = NULL;
    r->given += r->reply.len; /* what waits for its turn */
    request_finish(r);
}

void reply_stream_judge_client(struct upstream *u)
{
    struct worker *w = u->worker;
    struct client *c = u->paused_for;
    uint64_t left = u->frame.body_left;
    timer_set(&u->timer, worker_now(w) + patience(w));
    if (!lanes_is_wanted(u))
        return;
    if (client_owed(c) + c->reserved + left <= w->settings->client_output_max &&
        lanes_has_room(w, left)) {
        metric_add(&w->metrics.replies_absorbed, 1);
        lanes_reserve(list_first(&u->sent, struct part, queue), left);
        u->absorbing = true;
        upstream_resume(u);
    } else if (upstream_client_is_slow(u)) {
        metric_add(&w->metrics.clients_too_slow, 1);
        log_event(w->log, LOG_INFO, "client-too-slow", "client=%" PRIu64 " owed=%zu", c->id,
                  (size_t)client_owed(c));
        client_close(c);
    }
}
