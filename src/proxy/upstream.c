/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long: connecting, sending and failing turn on one thing, the order of the parts that were sent,
 * and on one state. Replies: upstream_replies.c. What a greeting says, how a large reply goes on,
 * how a large request is sent and what becomes of a write without an answer are in files of their
 * own.
 */
#include "proxy/upstream.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/greeting.h"
#include "proxy/lanes.h"
#include "proxy/outcomes_run.h"
#include "proxy/private.h"
#include "proxy/reply_stream.h"
#include "proxy/settle.h"
#include "proxy/upload.h"
#include "proxy/upstream_internal.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A node that has not given a byte for so many request deadlines, while requests wait, is hung:
     * a slow one would have answered something. */
    SILENT_DEADLINES = 5,
    BACKOFF_DOUBLINGS_MAX = 16,
};

static const char *const STATE_NAMES[] = {
    [UPSTREAM_IDLE] = "idle",         [UPSTREAM_CONNECTING] = "connecting",
    [UPSTREAM_GREETING] = "greeting", [UPSTREAM_READY] = "ready",
    [UPSTREAM_BACKOFF] = "backoff",   [UPSTREAM_CLOSED] = "closed",
};

const char *upstream_state_name(enum upstream_state s)
{
    return STATE_NAMES[s];
}

static void upstream_enter(struct upstream *u, enum upstream_state to)
{
    static const uint8_t FROM[] = {
        /* bit s: may be entered from state s */
        [UPSTREAM_IDLE] = 1 << UPSTREAM_BACKOFF | 1 << UPSTREAM_READY,
        [UPSTREAM_CONNECTING] = 1 << UPSTREAM_IDLE | 1 << UPSTREAM_BACKOFF,
        [UPSTREAM_GREETING] = 1 << UPSTREAM_CONNECTING,
        [UPSTREAM_READY] = 1 << UPSTREAM_GREETING,
        [UPSTREAM_BACKOFF] =
            1 << UPSTREAM_CONNECTING | 1 << UPSTREAM_GREETING | 1 << UPSTREAM_READY,
        [UPSTREAM_CLOSED] = 0xff,
    };
    must(FROM[to] & (1 << u->state));
    struct metrics *m = &u->worker->metrics;
    int change = (to == UPSTREAM_READY) - (u->state == UPSTREAM_READY);
    metric_set(&m->upstreams_ready, metric_get(&m->upstreams_ready) + (uint64_t)change);
    if (u->database > 0)
        metric_set(&m->upstreams_databases, metric_get(&m->upstreams_databases) + (uint64_t)change);
    u->state = (uint8_t)to;
}

/* ---- parts ---- */

void upstream_tell_in_flight(struct upstream *u)
{
    if (u->node->pulse)
        atomic_store_explicit(&u->node->pulse->of[u->worker->index].in_flight, u->node->requests,
                              memory_order_relaxed);
}

static void fail_all(struct upstream *u, struct list *parts, enum failure f)
{
    if (parts == &u->sent)
        u->undecided = &u->sent;
    while (!list_empty(parts)) {
        struct part *p = list_first(parts, struct part, queue);
        list_remove(&p->queue);
        part_fail(u->worker, p, f);
        part_leave(u->worker, p);
    }
    upstream_tell_in_flight(u); /* there may be no more reads or writes that do */
}

enum failure upstream_admits(const struct upstream *u, size_t len)
{
    const struct worker *w = u->worker;
    const struct upstream_node *n = u->node;
    if (n->out)
        return FAILURE_DOWN;
    bool may_wait = u->failures == 0 && u->state != UPSTREAM_CLOSED && n->addr.family != ADDR_NONE;
    if (u->state != UPSTREAM_READY && (!may_wait || upstream_node_is_down(n)))
        return FAILURE_DOWN;
    /* One request is always let through, however long: else it never could be. */
    if (n->requests >= w->node_requests_max ||
        (n->requests > 0 && n->bytes + len > w->node_bytes_max))
        return FAILURE_NODE_LIMIT;
    return FAILURE_NONE;
}

struct buf *upstream_target(struct upstream *u, struct part *p)
{
    return u->state == UPSTREAM_READY ? &u->conn.out : &p->bytes;
}

static void enqueue_sent(struct upstream *u, struct part *p)
{
    if (list_empty(&u->sent)) {
        u->last_byte = worker_now(u->worker);
        uint64_t look_at = u->last_byte + u->worker->settings->stall_timeout;
        if (!timer_is_set(&u->timer) || u->timer.at > look_at)
            timer_set(&u->timer, look_at);
    }
    list_push_tail(&u->sent, &p->queue);
    if (u->undecided == &u->sent)
        u->undecided = &p->queue;
    conn_mark_dirty(&u->conn, &u->worker->dirty_upstreams);
}

void upstream_enqueue(struct upstream *u, struct part *p)
{
    p->upstream = u;
    u->worker->next_deadline = nsec_min(u->worker->next_deadline, p->deadline);
    if (u->state == UPSTREAM_READY) {
        enqueue_sent(u, p);
        return;
    }
    list_push_tail(&u->waiting, &p->queue);
    upstream_start(u);
}

void upstream_give_up(struct part *p)
{
    if (p->upstream->state == UPSTREAM_READY) /* else it is not sent, and will not be */
        settle_later(p->upstream, p);
    if (p->upstream->private)
        private_doom(p->upstream);
}

void upstream_tell_trouble(struct upstream *u, enum trouble what, const char *why)
{
    if (u->worker->control && u->node->pulse)
        control_tell_trouble(u->worker->control, u->node->pulse, what, why);
}

/* No byte has come from the node since this part began to wait, or since the last one came. */
static void note_miss(struct upstream *u, const struct part *p)
{
    if (!u->node->pulse)
        return;
    pulse_miss(u->node->pulse, u->worker->index, p->deadline - part_timeout(p));
}

void upstream_missed(struct upstream *u, const struct part *p)
{
    note_miss(u, p);
    upstream_tell_trouble(u, TROUBLE_MISSED, "");
}

uint64_t upstream_expire(struct upstream *u)
{
    uint64_t now = worker_now(u->worker), next = NSEC_NEVER;
    bool missed = false;
    /* What was not sent is not sent any more: a client that was told of a time-out does not want
     * its command to be executed later. */
    struct part *p;
    while ((p = part_first_timely(&u->waiting)) != NULL) {
        if (p->deadline > now) {
            next = p->deadline;
            break;
        }
        list_remove(&p->queue);
        note_miss(u, p);
        missed = true;
        part_fail(u->worker, p, FAILURE_TIMED_OUT);
        part_leave(u->worker, p);
    }
    /* What was sent keeps its place for the late reply. */
    while (u->undecided != &u->sent) {
        p = list_item(u->undecided, struct part, queue);
        if (!p->late && p->deadline > now) {
            next = nsec_min(next, p->deadline);
            break;
        }
        u->undecided = u->undecided->next;
        if (p->late)
            continue;
        note_miss(u, p);
        missed = true;
        settle_later(u, p);
        part_fail(u->worker, p, FAILURE_TIMED_OUT);
    }
    if (missed)
        upstream_tell_trouble(u, TROUBLE_MISSED, "");
    if (missed && u->private)
        private_doom(u);
    return next;
}

static void send_waiting(struct upstream *u)
{
    while (!list_empty(&u->waiting)) {
        struct part *p = list_first(&u->waiting, struct part, queue);
        list_remove(&p->queue);
        if (!p->request) {
            part_leave(u->worker, p);
            continue;
        }
        buf_move_all(&u->conn.out, &p->bytes);
        if (p->blocks)
            private_waits(p);
        enqueue_sent(u, p);
    }
}

/* ---- connecting and failing ---- */

static uint64_t backoff(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    uint32_t doublings = u->failures > 0 ? u->failures - 1 : 0;
    if (doublings > BACKOFF_DOUBLINGS_MAX)
        doublings = BACKOFF_DOUBLINGS_MAX;
    uint64_t delay = nsec_min(s->backoff_min << doublings, s->backoff_max);
    /* Half to one and a half, so that upstreams do not come in step; and as many times longer as
     * there are workers, so that a node sees one rate of connects however many those are. */
    delay = delay / 2 + rng_below(&u->worker->rng, delay + 1);
    return delay * u->worker->count;
}

static void drop_connection(struct upstream *u)
{
    conn_close(&u->conn);
    buf_clear(&u->in, &u->worker->chunks);
    frame_reset(&u->frame);
    settle_by_ghost(u);
    u->dropping = u->out_of_memory = u->streaming = u->absorbing = u->pressed = u->hung_up =
        u->at_end = false;
    u->upload = NULL;
    u->client_id = 0;
    if (u->paused_for)
        take_ptr(u->paused_for)->paused = NULL;
    timer_clear(&u->timer);
}

void upstream_fail(struct upstream *u, enum failure f, bool blame, const char *why)
{
    struct worker *w = u->worker;
    bool was_ready = u->state == UPSTREAM_READY;
    /* Of a reply that has begun nothing is to be expected a second time. */
    if (was_ready && u->frame.len > 0)
        list_first(&u->sent, struct part, queue)->begun = true;
    drop_connection(u);
    if (u->private)
        private_doom(u);
    /* One that keeps being closed soon after it was ready is not tried in a tight loop. */
    if (!was_ready || worker_now(w) - u->ready_since < w->settings->backoff_min)
        blame = true;
    if (!was_ready)
        metric_add(&w->metrics.upstreams_connect_failed, 1);
    if (blame && u->failures < UINT32_MAX)
        u->failures++;
    upstream_enter(u, UPSTREAM_BACKOFF);
    timer_set(&u->timer, worker_now(w) + (blame ? backoff(u) : 0));
    if (was_ready || u->failures == 1)
        log_event(w->log, LOG_WARN, "upstream-failed",
                  "node=%s worker=%u resp=%u db=%u reason=\"%s\"", u->node->name, w->index,
                  u->proto, u->database, why);
    fail_all(u, &u->sent, f);
    if (blame)
        fail_all(u, &u->waiting, FAILURE_DOWN);
    lanes_changed(u->node);
    w->retry_due = true;
}

void upstream_fail_refused(struct upstream *u, const char *why)
{
    u->node->refused = u->worker->control != NULL; /* first, for what fails may wait for that */
    upstream_fail(u, FAILURE_DOWN, true, why);
    upstream_tell_trouble(u, TROUBLE_REFUSED, why);
}

static void begin_connect(struct upstream *u)
{
    struct worker *w = u->worker;
    upstream_enter(u, UPSTREAM_CONNECTING);
    metric_add(&w->metrics.upstreams_opened, 1);
    struct io *io = w->loop.io;
    int handle = io->ops->connect(io->ctx, &u->node->addr, &w->node_options);
    int err = handle < 0 ? handle : conn_open(&u->conn, handle);
    if (!err && !u->ghost && w->control) {
        u->ghost = malloc(sizeof(*u->ghost));
        if (!u->ghost) {
            conn_close(&u->conn);
            err = -ENOMEM;
        }
    }
    /* A connect that fails at once is dealt with by the timer: who called us may hold a part that
     * must not fail under its hands. */
    u->connect_error = err;
    timer_set(&u->timer, worker_now(w) + (err ? 0 : w->settings->connect_timeout));
}

void upstream_start(struct upstream *u)
{
    if (u->state == UPSTREAM_IDLE && u->node->addr.family != ADDR_NONE)
        begin_connect(u);
}

static void step_connecting(struct upstream *u)
{
    struct io *io = u->worker->loop.io;
    int err = io->ops->connect_result(io->ctx, u->conn.handle);
    if (err == -EAGAIN)
        return;
    if (err) {
        upstream_fail_refused(u, strerror(-err));
        return;
    }
    upstream_enter(u, UPSTREAM_GREETING);
    struct tls_context *tls = u->worker->settings->node_tls;
    if ((tls && tls_start(&u->conn, tls, u->node->name, NULL, &u->worker->node_tls) != 0) ||
        greeting_append(u) != 0) {
        upstream_fail(u, FAILURE_MEMORY, true, "limits.memory");
        return;
    }
    conn_mark_dirty(&u->conn, &u->worker->dirty_upstreams);
}

/* It carries nothing. Those of other databases than the first are given back after a while, for
 * there may be as many more as there are databases. */
static void rest(struct upstream *u)
{
    uint64_t until = u->last_byte + u->worker->settings->database_idle_timeout;
    if (u->database == 0 || u->private) /* of private ones few are kept: private.c */
        return;                         /* the timer is set again with the next request */
    if (worker_now(u->worker) < until) {
        timer_set(&u->timer, until);
        return;
    }
    metric_add(&u->worker->metrics.upstreams_idle_closed, 1);
    drop_connection(u);
    upstream_enter(u, UPSTREAM_IDLE);
}

void upstream_greeted(struct upstream *u, const uint8_t *reply, size_t len)
{
    struct worker *w = u->worker;
    char why[GREETING_WHY_MAX];
    if (!greeting_take(u, reply, len, why)) {
        upstream_fail(u, FAILURE_DOWN, true, why);
        if (u->proto == 2) /* one that has no HELLO serves RESP2 clients all the same */
            upstream_tell_trouble(u, TROUBLE_UNREADY, why);
        return;
    }
    if (u->greetings_left > 0)
        return;
    if (u->failures > 0)
        log_event(w->log, LOG_INFO, "upstream-back", "node=%s worker=%u resp=%u db=%u failed=%u",
                  u->node->name, w->index, u->proto, u->database, u->failures);
    upstream_enter(u, UPSTREAM_READY);
    u->node->refused = false;
    u->failures = 0;
    u->ready_since = u->last_byte = worker_now(w);
    if (u->node->pulse)
        pulse_greeted(u->node->pulse, w->index, io_now(w->loop.io));
    timer_clear(&u->timer);
    rest(u);
    send_waiting(u);
    if (u->bulk)
        lanes_changed(u->node);
    else if (u->private)
        private_answered(u);
    w->retry_due = true;
}

static void step_silence(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    if (list_empty(&u->sent)) {
        rest(u);
        return;
    }
    if (u->paused_for) {
        reply_stream_judge_client(u);
        return;
    }
    if (u->upload && !conn_has_unsent(&u->conn)) {
        upload_judge_client(u);
        return;
    }
    bool inside_reply = u->frame.len > 0;
    if (!inside_reply && list_first(&u->sent, struct part, queue)->blocks)
        return; /* that is what it is for; set again inside its reply */
    uint64_t allowed =
        inside_reply || u->upload ? s->stall_timeout : SILENT_DEADLINES * s->request_timeout;
    const struct part *first = list_first(&u->sent, struct part, queue);
    if (!inside_reply && first->late && first->deadline > u->last_byte + allowed)
        allowed = first->deadline - u->last_byte; /* the node is busy with it */
    if (worker_now(u->worker) < u->last_byte + allowed) {
        /* A reply may begin, and then less is allowed: look again in time for that too. */
        timer_set(&u->timer,
                  nsec_min(u->last_byte + allowed, worker_now(u->worker) + s->stall_timeout));
        return;
    }
    metric_add(inside_reply ? &u->worker->metrics.upstreams_stalled
                            : &u->worker->metrics.upstreams_silent,
               1);
    upstream_fail(u, inside_reply ? FAILURE_CLOSED : FAILURE_TIMED_OUT, true,
                  inside_reply ? "stopped inside a reply"
                  : u->upload  ? "stopped inside a request"
                               : "silent");
}

static void on_time(struct timer *t)
{
    struct upstream *u = container_of(t, struct upstream, timer);
    switch ((enum upstream_state)u->state) {
    case UPSTREAM_CONNECTING:
        upstream_fail(u, FAILURE_DOWN, true,
                      u->connect_error ? strerror(-u->connect_error) : "connect timed out");
        return;
    case UPSTREAM_GREETING:
        upstream_fail(u, FAILURE_DOWN, true, conn_late(&u->conn, "greeting timed out"));
        return;
    case UPSTREAM_READY:
        step_silence(u);
        return;
    case UPSTREAM_BACKOFF:
        /* Of bulk ones, and of those of other databases, only those that somebody waits for. What
         * the others know of the node will be out of date when they are needed. */
        if (u->node->out || u->private ||
            (u->bulk ? !lanes_is_wanted(u) : u->database > 0 && list_empty(&u->waiting))) {
            u->failures = 0;
            upstream_enter(u, UPSTREAM_IDLE);
        } else {
            begin_connect(u);
        }
        return;
    case UPSTREAM_IDLE:
    case UPSTREAM_CLOSED:
        break;
    }
    unreachable();
}

/* ---- events ---- */

static void on_ready(struct source *s, unsigned ready)
{
    struct upstream *u = container_of(s, struct upstream, conn.source);
    if (!conn_is_open(&u->conn))
        return;
    if (u->state == UPSTREAM_CONNECTING) {
        step_connecting(u);
        return;
    }
    if (ready & IO_OUT && u->conn.blocked) {
        u->conn.blocked = false;
        /* By TLS, out.len may be 0 and the node have taken bytes of which the flush tells. */
        if (u->conn.out.len > 0 || u->conn.tls)
            conn_mark_dirty(&u->conn, &u->worker->dirty_upstreams);
    }
    if (ready & IO_HUP)
        u->hung_up = true;
    if (ready & (IO_IN | IO_HUP))
        upstream_read(u);
}

void upstream_resume(struct upstream *u)
{
    must(u->paused_for);
    take_ptr(u->paused_for)->paused = NULL;
    u->last_byte = worker_now(u->worker);
    timer_set(&u->timer, u->last_byte + u->worker->settings->stall_timeout);
    loop_again(&u->worker->loop, &u->conn.source);
}

/* The node took bytes. */
static void sent_bytes(struct upstream *u, size_t n)
{
    metric_add(&u->worker->metrics.bytes_to_nodes, n);
    if (!u->upload)
        return;
    u->last_byte = worker_now(u->worker);
    if (u->upload->request && u->conn.out.len <= STREAM_RESUME)
        client_wake(u->upload->client);
}

int upstream_send_more(struct upstream *u, const void *bytes, size_t len)
{
    size_t taken;
    ssize_t n = conn_send(&u->conn, bytes, len, &taken);
    /* Broken: the flush finds that out too, and deals with it. */
    if (n > 0)
        sent_bytes(u, (size_t)n);
    u->window_bytes += len;
    u->last_byte = worker_now(u->worker);
    if (taken == len)
        return 0;
    conn_mark_dirty(&u->conn, &u->worker->dirty_upstreams);
    return buf_append(&u->conn.out, &u->worker->chunks, (const uint8_t *)bytes + taken,
                      len - taken);
}

void upstream_send_behind(struct upstream *u, struct buf *bytes)
{
    buf_move_all(&u->conn.out, bytes);
    conn_mark_dirty(&u->conn, &u->worker->dirty_upstreams);
}

/* What its client moved since the window began is below limits.client_min_rate. */
bool upstream_client_is_slow(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    uint64_t now = worker_now(u->worker);
    uint64_t elapsed = now - u->window_began;
    if (elapsed < s->stall_timeout)
        return false;
    /* In KiB and µs, so that neither large limits nor long times overflow. */
    bool slow = u->window_bytes / 1024 * (NSEC_S / NSEC_US) <
                s->client_min_rate / 1024 * (elapsed / NSEC_US);
    u->window_began = now;
    u->window_bytes = 0;
    return slow;
}

void upstream_upload_ends(struct upstream *u)
{
    struct part *p = take_ptr(u->upload);
    u->last_byte = worker_now(u->worker);
    p->deadline = u->last_byte + u->worker->settings->request_timeout;
    u->worker->next_deadline = nsec_min(u->worker->next_deadline, p->deadline);
}

void upstream_flush(struct upstream *u)
{
    upstream_tell_in_flight(u);
    ssize_t n = conn_flush(&u->conn);
    if (n > 0)
        sent_bytes(u, (size_t)n);
    if (n >= 0)
        return;
    /* What it answered before it closed is still there to be read; the end comes with that. */
    u->hung_up = true;
    upstream_read(u);
    if (conn_is_open(&u->conn) && !u->paused_for) {
        char why[CONN_WHY_MAX];
        metric_add(&u->worker->metrics.upstreams_closed_by_node, 1);
        upstream_fail(u, FAILURE_CLOSED, false, conn_why(&u->conn, (int)n, why));
    }
}

/* ---- life ---- */

struct upstream *upstream_new(struct worker *w, struct upstream_node *node, uint8_t lane)
{
    struct upstream *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    if (timer_make(&u->timer, &w->loop.timers, on_time) != 0) {
        free(u);
        return NULL;
    }
    conn_init(&u->conn, &w->loop, &w->chunks, on_ready);
    u->worker = w;
    u->node = node;
    u->lane = lane;
    u->proto = lane_proto(lane);
    u->database = lane_database(lane);
    u->state = UPSTREAM_IDLE;
    list_init(&u->waiting);
    list_init(&u->sent);
    list_init(&u->pool);
    u->undecided = &u->sent;
    frame_init(&u->frame, FRAME_REPLY, &w->reply_limits);
    return u;
}

static void bury(struct grave *g)
{
    struct upstream *u = container_of(g, struct upstream, grave);
    free(u->ghost);
    free(u);
}

void upstream_close(struct upstream *u)
{
    struct worker *w = u->worker;
    drop_connection(u);
    upstream_enter(u, UPSTREAM_CLOSED);
    fail_all(u, &u->sent, FAILURE_CLOSED);
    fail_all(u, &u->waiting, FAILURE_DOWN);
    timer_unmake(&u->timer);
    loop_bury(&w->loop, &u->conn.source, &u->grave, bury);
}
