/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include "base/must.h"
#include "base/nsec.h"
#include "os/process.h"
#include "proxy/client_header.h"
#include "proxy/client_tls.h"
#include "proxy/lanes.h"
#include "proxy/new_settings.h"
#include "proxy/retire.h"
#include "proxy/retry.h"
#include "proxy/session.h"
#include "proxy/upload.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Above limits.memory, for what must get through: errors, handshakes. */
    CHUNK_RESERVE_BYTES = 1024 * 1024,
    POOL_SPARE_MAX = 4096,
    SLOW_TURN_MS = 50,
    TRIM_MS = 1000,
    SCRATCH_KEPT = 4096, /* entries: 64 KiB of pieces, 16 KiB of nodes */
};

/* ---- accepting ---- */

struct socket_message {
    struct message message;
    int handle;
    bool tls;
    struct addr peer;
};

static void take_socket(struct worker *w, int handle, const struct addr *peer, bool tls)
{
    if (w->draining) {
        w->loop.io->ops->close(w->loop.io->ctx, handle);
    } else if (client_new(w, handle, peer, tls)) {
        return;
    }
    atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
}

static void deliver_socket(struct message *m, void *receiver)
{
    struct socket_message *s = container_of(m, struct socket_message, message);
    take_socket(receiver, s->handle, &s->peer, s->tls);
    free(s);
}

/* SO_REUSEPORT deals connections out by hash, so a few long-lived ones land unevenly. The worker
 * with the fewest gets it; this one if it has no more than that. */
static struct worker *least_loaded(struct worker *w)
{
    struct worker *least = w;
    unsigned fewest = atomic_load_explicit(&w->load, memory_order_relaxed) - 1; /* less this one */
    for (unsigned i = 0; i < w->all_count; i++) {
        unsigned load = atomic_load_explicit(&w->all[i]->load, memory_order_relaxed);
        if (load < fewest) {
            fewest = load;
            least = w->all[i];
        }
    }
    return least;
}

static bool hand_over(struct worker *w, struct worker *to, int handle, const struct addr *peer,
                      bool tls)
{
    struct socket_message *s = malloc(sizeof(*s));
    if (!s)
        return false;
    *s = (struct socket_message){
        .message.deliver = deliver_socket, .handle = handle, .tls = tls, .peer = *peer};
    metric_add(&w->metrics.clients_handed_over, 1);
    atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
    mailbox_post(&to->mailbox, &s->message);
    return true;
}

static bool is_over_full(const struct worker *w)
{
    uint64_t clients = 0;
    for (unsigned i = 0; i < w->all_count; i++)
        clients += atomic_load_explicit(&w->all[i]->load, memory_order_seq_cst);
    return clients > w->settings->clients_max;
}

static void on_accept(void *owner, const struct listener *at, int handle, const struct addr *peer)
{
    struct worker *w = owner;
    struct io *io = w->loop.io;
    metric_add(&w->metrics.clients_accepted, 1);
    /* Counted first and looked at then: so two workers never both take the last place. */
    atomic_fetch_add_explicit(&w->load, 1, memory_order_seq_cst);
    if (is_over_full(w)) {
        atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
        static const char TEXT[] = "-ERR max number of clients reached\r\n";
        struct iovec iov = {(void *)(uintptr_t)TEXT, sizeof(TEXT) - 1};
        if (!at->tls)                                        /* to whom this would be noise */
            (void)io->ops->writev(io->ctx, handle, &iov, 1); /* as redis-server: if it fits */
        io->ops->close(io->ctx, handle);
        metric_add(&w->metrics.clients_refused, 1);
        return;
    }
    struct worker *to = least_loaded(w);
    if (to == w || !hand_over(w, to, handle, peer, at->tls))
        take_socket(w, handle, peer, at->tls);
}

static void on_pause(void *owner, int err)
{
    struct worker *w = owner;
    metric_add(&w->metrics.accept_pauses, 1);
    log_event(w->log, LOG_WARN, "accept-paused", "worker=%u reason=\"%s\"", w->index,
              strerror(-err));
}

static const struct listener_events LISTENER_EVENTS = {.on_accept = on_accept,
                                                       .on_pause = on_pause};

int worker_listen(struct worker *w, int handle, const struct addr *at, bool tls)
{
    must(!tls || w->settings->client_tls);
    if (w->listener_count == WORKER_LISTENERS_MAX) {
        if (handle >= 0)
            w->loop.io->ops->close(w->loop.io->ctx, handle);
        return -E2BIG;
    }
    struct listener *l = &w->listeners[w->listener_count];
    int err = listener_open(l, &w->loop, handle, at, &w->client_options, &LISTENER_EVENTS, w);
    if (err)
        return err;
    l->tls = tls;
    w->listener_count++;
    return 0;
}

unsigned worker_listeners(const struct worker *w, int *to, unsigned max)
{
    unsigned count = w->listener_count < max ? w->listener_count : max;
    for (unsigned i = 0; i < count; i++)
        to[i] = w->listeners[i].handle;
    return count;
}

/* ---- messages ---- */

struct view_message {
    struct message message;
    struct view *view;               /* one reference */
    struct control_adopted *adopted; /* owned: the answer, made beforehand so that it can't fail */
};

/* What was written under this view is known before anybody hears that the next one is adopted. */
static void tell_written(struct worker *w)
{
    if (w->written)
        control_tell_written(w->control, take_ptr(w->written));
}

static void deliver_view(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    struct view_message *v = container_of(m, struct view_message, message);
    int err = upstream_set_adopt(&w->upstreams, v->view);
    if (err) { /* the old view goes on to hold */
        log_event(w->log, LOG_ERROR, "view-refused", "worker=%u version=%" PRIu64 " reason=\"%s\"",
                  w->index, v->view->version, strerror(-err));
    } else {
        tell_written(w);
        struct view *old = w->view;
        w->view = view_ref(v->view);
        pubsub_adopt(&w->pubsub, old);
        view_unref(old);
        w->retry_due = true;
        session_view_changed(w);
        upload_view_changed(w);
    }
    if (v->adopted) {
        v->adopted->worker = w->index;
        v->adopted->version = v->view->version;
        v->adopted->refused = err != 0;
        control_tell_adopted(w->control, v->adopted);
    }
    view_unref(v->view);
    free(v);
}

int worker_post_view(struct worker *w, struct view *v)
{
    struct view_message *m = malloc(sizeof(*m));
    struct control_adopted *adopted = w->control ? malloc(sizeof(*adopted)) : NULL;
    if (!m || (w->control && !adopted)) {
        free(m);
        free(adopted);
        return -ENOMEM;
    }
    *m = (struct view_message){
        .message.deliver = deliver_view, .view = view_ref(v), .adopted = adopted};
    mailbox_post(&w->mailbox, &m->message);
    return 0;
}

static void on_blocked_time(struct timer *t)
{
    client_wake_blocked(container_of(t, struct worker, blocked_timer));
}

static void on_pause_time(struct timer *t)
{
    client_pause_over(container_of(t, struct worker, pause_timer));
}

static bool has_spares(const struct worker *w)
{
    return chunk_pool_has_spares(&w->chunks) || w->clients_pool.spare_count > 0 ||
           w->requests_pool.spare_count > 0 || w->parts_pool.spare_count > 0;
}

static void on_trim_time(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, trim_timer);
    chunk_pool_trim(&w->chunks);
    pool_trim(&w->clients_pool);
    pool_trim(&w->requests_pool);
    pool_trim(&w->parts_pool);
    /* Scratch that a huge request made large; nothing of it is used between two requests. */
    if (w->iov_room > SCRATCH_KEPT) {
        free(take_ptr(w->iov));
        w->iov_room = 0;
    }
    if (w->node_of_key_room > SCRATCH_KEPT) {
        free(take_ptr(w->node_of_key));
        w->node_of_key_room = 0;
    }
    if (has_spares(w))
        timer_set(t, worker_now(w) + TRIM_MS * NSEC_MS);
    else /* the last time, until there is traffic again */
        process_give_back_memory();
}

struct settings_message {
    struct message message;
    const struct proxy_settings *settings; /* loan; NULL: they stay */
    void (*done)(void *owner);
    void *owner;
};

static void deliver_settings(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    struct settings_message *s = container_of(m, struct settings_message, message);
    if (s->settings && !w->ending)
        settings_adopt(w, s->settings);
    s->done(s->owner);
    free(s);
}

int worker_post_settings(struct worker *w, const struct proxy_settings *settings,
                         void (*done)(void *owner), void *owner)
{
    struct settings_message *m = malloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct settings_message){
        .message.deliver = deliver_settings, .settings = settings, .done = done, .owner = owner};
    mailbox_post(&w->mailbox, &m->message);
    return 0;
}

/* ---- a turn ---- */

static void expire_deadlines(struct worker *w)
{
    /* Kept low by parts that have been answered long since; then this finds the real one. */
    if (w->next_deadline > worker_now(w))
        return;
    w->next_deadline = NSEC_NEVER; /* lowered by what is sent because of what fails */
    uint64_t next = nsec_min(upstream_set_expire(&w->upstreams), retry_expire(w));
    w->next_deadline = nsec_min(w->next_deadline, next);
}

static void close_stalled(struct worker *w)
{
    while (!list_empty(&w->blocked)) {
        struct client *c = list_first(&w->blocked, struct client, blocked_link);
        if (c->blocked_since + w->settings->client_stall_timeout > worker_now(w))
            return;
        metric_add(&w->metrics.clients_stalled, 1);
        log_event(w->log, LOG_INFO, "client-stalled", "client=%" PRIu64 " owed=%zu", c->id,
                  c->conn.out.len);
        client_close(c);
    }
}

static void close_idle(struct worker *w)
{
    while (!list_empty(&w->idle)) {
        struct client *c = list_first(&w->idle, struct client, idle_link);
        if (c->last_active + w->settings->client_idle_timeout > worker_now(w))
            return;
        /* Who waits for us is not idle. */
        if (c->pending > 0 || conn_has_unsent(&c->conn) || subscriber_is_one(c)) {
            c->last_active = worker_now(w);
            list_remove(&c->idle_link);
            list_push_tail(&w->idle, &c->idle_link);
            continue;
        }
        metric_add(&w->metrics.clients_idle_closed, 1);
        client_close(c);
    }
}

/* When the first of the FIFO lists has something to do. */
static uint64_t next_due(const struct worker *w)
{
    /* A flush, which comes after lanes_run(), may have freed what somebody waits for. */
    if (!list_empty(&w->reviewed) || !list_empty(&w->changed_nodes) || pubsub_is_due(&w->pubsub) ||
        (w->retry_due && !list_empty(&w->retries)))
        return worker_now(w);
    uint64_t due = w->next_deadline;
    due = nsec_min(due, w->gathered_at);
    if (!list_empty(&w->blocked))
        due = nsec_min(due, list_first(&w->blocked, struct client, blocked_link)->blocked_since +
                                w->settings->client_stall_timeout);
    if (!list_empty(&w->headers))
        due = nsec_min(due, list_first(&w->headers, struct client, header_link)->since +
                                w->settings->header_timeout);
    if (w->handshakes_count > 0)
        due = nsec_min(due, client_tls_due(w));
    if (!list_empty(&w->idle))
        due = nsec_min(due, list_first(&w->idle, struct client, idle_link)->last_active +
                                w->settings->client_idle_timeout);
    return due;
}

/*
 * A client that sent several requests at once, a pipeline, gets the replies from several nodes, one
 * soon after the other. A write is the dearest thing a proxy does, so the first of them wait for
 * the rest: for timeouts.gather_replies at most, and not if the client is owed much already or a
 * node did not answer. A client whose requests came one by one does not wait. With pipelines of 16
 * over three nodes that makes 1.2 writes per batch out of 1.7, and 10 to 15 % less CPU per request.
 */
static bool gathers(struct client *c, bool over_turns)
{
    uint64_t now = worker_now(c->worker);
    uint64_t gather_time = c->worker->settings->gather_time;
    if (gather_time == 0 || list_empty(&c->requests) || c->hurry || c->conn.out.len >= CHUNK_BYTES)
        return false;
    if (list_first(&c->requests, struct request, link)->batch != c->answered_batch)
        return false;
    if (c->gathering_since == 0)
        c->gathering_since = now;
    return !over_turns || now - c->gathering_since < gather_time;
}

static void flush_clients(struct worker *w, bool over_turns)
{
    struct list later;
    list_init(&later);
    w->gathered_at = NSEC_NEVER;
    while (!list_empty(&w->dirty_clients)) {
        struct client *c = list_first(&w->dirty_clients, struct client, conn.dirty);
        list_remove(&c->conn.dirty);
        if (gathers(c, over_turns)) {
            list_push_tail(&later, &c->conn.dirty);
            w->gathered_at =
                nsec_min(w->gathered_at, c->gathering_since + w->settings->gather_time);
            continue;
        }
        c->gathering_since = 0;
        c->hurry = false;
        client_flush(c);
    }
    list_append_all(&w->dirty_clients, &later);
}

static void flush_upstreams(struct worker *w)
{
    while (!list_empty(&w->dirty_upstreams)) {
        struct upstream *u = list_first(&w->dirty_upstreams, struct upstream, conn.dirty);
        list_remove(&u->conn.dirty);
        upstream_flush(u);
    }
}

static int poll_and_answer(struct worker *w, uint64_t until)
{
    int called = loop_poll(&w->loop, until);
    mailbox_empty(&w->mailbox, w);
    /* After the events, so that what has come in time counts, even if this thread was late. */
    expire_deadlines(w);
    close_stalled(w);
    close_idle(w);
    if (!list_empty(&w->headers))
        client_header_expire(w);
    if (w->handshakes_count > 0)
        client_tls_expire(w);
    if (w->retry_due)
        retry_run(w);
    lanes_run(w);
    if (pubsub_is_due(&w->pubsub))
        pubsub_run(&w->pubsub);
    outcomes_turn_over(w, &w->run); /* before the time changes */
    return called;
}

/* The poll that waits; when requests are dense, it is made to find more of them: see pace.h. */
static int wait_and_answer(struct worker *w, uint64_t until)
{
    uint64_t rest = 0;
    enum pace_step step = pace_next(&w->pace, worker_now(w), &rest);
    if (step == PACE_LOOK)
        until = 0;
    else if (step == PACE_REST && loop_rest(&w->loop, rest, until))
        metric_add(&w->metrics.rests, 1);
    int called = poll_and_answer(w, until);
    pace_polled(&w->pace, called > 0);
    return called;
}

bool worker_turn(struct worker *w, uint64_t max_wait_ns)
{
    uint64_t until = next_due(w);
    if (max_wait_ns != NSEC_NEVER)
        until = nsec_min(until, worker_now(w) + max_wait_ns);
    int called = wait_and_answer(w, until);
    uint64_t begin = worker_now(w);
    flush_clients(w, false);
    /* Clients that got their replies just now may have sent the next request already, and nodes the
     * rest of what a client waits for. Looking once more before the rest is written makes for fewer
     * and longer writes: -5 to -12 % CPU. */
    if (called > 0 && (!list_empty(&w->dirty_upstreams) || !list_empty(&w->dirty_clients)))
        (void)poll_and_answer(w, 0); /* a second nothing would be no news */
    flush_clients(w, true);
    flush_upstreams(w);
    tell_written(w);
    outcomes_turn_over(w, &w->run);
    loop_end_turn(&w->loop);

    if (!timer_is_set(&w->trim_timer) && chunk_pool_has_spares(&w->chunks))
        timer_set(&w->trim_timer, worker_now(w) + TRIM_MS * NSEC_MS);
    metric_add(&w->metrics.turns, 1);
    metric_set(&w->metrics.buffer_bytes, chunk_pool_bytes(&w->chunks));
    uint64_t took = io_now(w->loop.io) - begin;
    histogram_add(&w->outcomes.turn, took, 1);
    if (took > SLOW_TURN_MS * NSEC_MS)
        metric_add(&w->metrics.turns_slow, 1);
    return !(w->draining && (w->ended || list_empty(&w->clients)));
}

/* ---- life ---- */

static void fill_reports(struct worker *w)
{
    struct tls_report report = {.handshakes = &w->metrics.tls_handshakes,
                                .failures = &w->metrics.tls_handshakes_failed,
                                .connections = &w->metrics.tls_connections};
    w->node_tls = w->client_tls = report;
    w->client_tls.opened = client_tls_opened;
    w->client_tls.failed = client_tls_failed;
}

int worker_new(const struct worker_config *config, struct io *io, struct worker **ret_worker)
{
    must(config->count > 0 && config->index < config->count);
    struct worker *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->settings = config->settings;
    w->log = config->log;
    w->control = config->control;
    w->peers = config->peers;
    w->index = config->index;
    w->count = config->count;
    w->client_scratch = malloc(CLIENT_READ_BYTES);
    w->upstream_scratch = malloc(UPSTREAM_READ_BYTES);
    loop_init(&w->loop, io);
    if (!w->client_scratch || !w->upstream_scratch || retire_init(w) != 0 ||
        timer_make(&w->trim_timer, &w->loop.timers, on_trim_time) != 0 ||
        timer_make(&w->blocked_timer, &w->loop.timers, on_blocked_time) != 0 ||
        timer_make(&w->pause_timer, &w->loop.timers, on_pause_time) != 0 ||
        pubsub_init(&w->pubsub, w) != 0) {
        free(w->client_scratch);
        free(w->upstream_scratch);
        loop_fini(&w->loop);
        free(w);
        return -ENOMEM;
    }
    settings_fill_limits(w);
    fill_reports(w);
    mailbox_init(&w->mailbox, io);
    w->rng.state = io->ops->random(io->ctx);
    w->started = worker_now(w);
    chunk_pool_init(&w->chunks, w->settings->memory_max / w->count, CHUNK_RESERVE_BYTES);
    pool_init(&w->clients_pool, client_bytes(), SIZE_MAX, POOL_SPARE_MAX);
    pool_init(&w->requests_pool, sizeof(struct request), SIZE_MAX, POOL_SPARE_MAX);
    pool_init(&w->parts_pool, sizeof(struct part), SIZE_MAX, POOL_SPARE_MAX);
    args_init(&w->args);
    upstream_set_init(&w->upstreams, w);
    pace_init(&w->pace, w->settings->gather_window, w->settings->gather_share, worker_now(w));
    list_init(&w->clients);
    list_init(&w->idle);
    list_init(&w->blocked);
    list_init(&w->headers);
    list_init(&w->handshakes);
    list_init(&w->reviewed);
    list_init(&w->sessions);
    list_init(&w->changed_nodes);
    list_init(&w->retries);
    list_init(&w->early);
    list_init(&w->roll_calls);
    w->next_deadline = NSEC_NEVER;
    w->gathered_at = NSEC_NEVER;
    outcomes_run_init(&w->run);
    w->samples.left = 1;
    list_init(&w->dirty_clients);
    list_init(&w->dirty_upstreams);
    *ret_worker = w;
    return 0;
}

void worker_meet(struct worker *w, struct worker *const *all, unsigned count)
{
    w->all = all;
    w->all_count = count;
}

struct worker *worker_free(struct worker *w)
{
    if (!w)
        return NULL;
    w->ending = true;
    w->draining = true; /* a socket or view still in the mailbox is taken and dropped */
    mailbox_empty(&w->mailbox, w);
    list_for_each_safe (link, &w->clients)
        client_close(list_item(link, struct client, link));
    upstream_set_fini(&w->upstreams);
    pubsub_fini(&w->pubsub);
    retry_drop(w);
    written_free(w->written);
    retire_fini(w);
    timer_unmake(&w->trim_timer);
    timer_unmake(&w->blocked_timer);
    timer_unmake(&w->pause_timer);
    loop_fini(&w->loop);
    view_unref(w->view);
    args_fini(&w->args);
    command_keys_fini(&w->keys);
    size_table_fini(&w->sizes);
    free(w->iov);
    free(w->node_of_key);
    free(w->client_scratch);
    free(w->upstream_scratch);
    pool_fini(&w->clients_pool);
    pool_fini(&w->requests_pool);
    pool_fini(&w->parts_pool);
    buf_clear(&w->behind, &w->chunks);
    chunk_pool_fini(&w->chunks);
    free(w);
    return NULL;
}

const struct metrics *worker_metrics(const struct worker *w)
{
    return &w->metrics;
}

struct samples *worker_samples(struct worker *w)
{
    return &w->samples;
}

const struct outcomes *worker_outcomes(const struct worker *w)
{
    return &w->outcomes;
}

struct worker_debt worker_debt(const struct worker *w)
{
    struct worker_debt d = {.clients = w->clients_pool.in_use,
                            .requests = w->requests_pool.in_use,
                            .parts = w->parts_pool.in_use,
                            .chunk_bytes = chunk_pool_bytes(&w->chunks),
                            .reserved = w->reserved,
                            .topics = w->pubsub.topics.count};
    for (uint32_t i = 0; i < w->upstreams.count; i++) {
        d.upstream_queue += w->upstreams.nodes[i]->requests;
        list_for_each (link, &w->upstreams.nodes[i]->busy)
            d.owned_upstreams += list_item(link, struct upstream, pool)->owner != NULL;
    }
    list_for_each (link, &w->sessions)
        d.sessions++;
    return d;
}
