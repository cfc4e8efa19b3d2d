/* SPDX-License-Identifier: Apache-2.0 */
#include "io_loop.h"

#include "clock.h"
#include "job_ends.h"
#include "lane.h"
#include "probes.h"

#include <poll.h>
#include <unistd.h>

enum {
    ENDING_MS = 2, /* between looks whether all that was queued has been sent */
    LATE_MS = 20,  /* between looks for calls that have waited for a load too long */
};

static void take_given(struct io *io)
{
    struct queue given;
    queue_init(&given);
    pthread_mutex_lock(&io->lock);
    queue_move(&given, &io->given);
    pthread_mutex_unlock(&io->lock);
    for (struct job *j; (j = queue_take(&given)) != NULL;) {
        io->notices += j->notice != NULL;
        if (j->kind == JOB_BLIND) {
            queue_put(&io->delayed, j);
        } else {
            queue_put(&io->lanes[j->kind == JOB_READ ? LANE_READS : LANE_WRITES].waiting, j);
        }
    }
}

/* Of a store for whose deletes there was no room. There is one such job at a time: see
 * store_blind(). */
static bool stays_blind(struct job *j, int64_t now)
{
    struct sc_store *s = j->store;
    atomic_store(&s->is_blind, 0);
    int64_t until = atomic_load(&s->blind_until_ns);
    int no = 0;
    if (now >= until || !atomic_compare_exchange_strong(&s->is_blind, &no, 1)) {
        return false;
    }
    j->not_before_ns = until;
    return true;
}

/* Deletes that are due again. */
static int64_t tick_delayed(struct io *io, int64_t now)
{
    int64_t next = INT64_MAX;
    struct queue old;
    queue_init(&old);
    queue_move(&old, &io->delayed);
    for (struct job *j; (j = queue_take(&old)) != NULL;) {
        if (now < j->not_before_ns) {
            next = earlier(next, j->not_before_ns);
            queue_put(&io->delayed, j);
        } else if (j->kind == JOB_BLIND && stays_blind(j, now)) {
            next = earlier(next, j->not_before_ns);
            queue_put(&io->delayed, j);
        } else if (j->kind == JOB_BLIND || now >= j->given_up_ns) {
            if (is_del(j)) {
                job_tell(io, j, SC_SKIPPED, SC_CAUSE_TIMEOUT);
            }
            job_release(io, j);
            job_unref(j);
        } else if (io->lanes[LANE_WRITES].state == LANE_IDLE &&
                   now < io->lanes[LANE_WRITES].not_before_ns) {
            next = earlier(next, io->lanes[LANE_WRITES].not_before_ns);
            queue_put(&io->delayed, j);
        } else {
            queue_put(&io->lanes[LANE_WRITES].waiting, j);
        }
    }
    return next;
}

static int64_t tell_late(struct io *io, struct job *first, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct job *j = first; j != NULL; j = j->next) {
        if (j->notice == NULL) {
            continue;
        }
        if (now < j->notice->deadline_ns) {
            next = earlier(next, j->notice->deadline_ns);
        } else {
            job_tell(io, j, SC_SKIPPED, SC_CAUSE_TIMEOUT);
        }
    }
    return next;
}

/* Who asked for a delete is told at his deadline, wherever the job is. */
static int64_t tick_notices(struct io *io, int64_t now)
{
    if (io->notices == 0) {
        return INT64_MAX;
    }
    struct lane *lane = &io->lanes[LANE_WRITES];
    int64_t next = tell_late(io, io->delayed.first, now);
    next = earlier(next, tell_late(io, lane->waiting.first, now));
    next = earlier(next, tell_late(io, lane->sent.first, now));
    return earlier(next, tell_late(io, lane->sending, now));
}

static int64_t tick_late(struct io *io, int64_t now)
{
    struct flights *f = &io->cache->flights;
    pthread_mutex_lock(&f->lock);
    bool is_any = f->waiting_count > 0;
    pthread_mutex_unlock(&f->lock);
    if (!is_any) {
        return INT64_MAX;
    }
    for (struct job *j = flights_take_late(f, now), *next; j != NULL; j = next) {
        next = j->next;
        j->is_alone = true;
        io_complete(io, j);
    }
    return now + (int64_t)LATE_MS * NS_PER_MS;
}

static bool is_done(struct io *io, int64_t now)
{
    pthread_mutex_lock(&io->lock);
    bool is_stopping = io->is_stopping;
    bool is_over = is_stopping && now >= io->stop_by_ns;
    bool is_empty = io->given.first == NULL;
    pthread_mutex_unlock(&io->lock);
    io->is_ending = is_stopping;
    struct lane *w = &io->lanes[LANE_WRITES];
    is_empty = is_empty && w->waiting.first == NULL && w->sending == NULL && w->sent_count == 0 &&
               io->delayed.first == NULL;
    return is_over || (is_stopping && is_empty);
}

void *io_loop(void *arg)
{
    struct io *io = arg;
    while (!is_done(io, clock_ns())) {
        take_given(io);
        int64_t now = clock_ns();
        int64_t next = tick_delayed(io, now);
        probes_start(io, now);
        struct pollfd fds[LANES + 1] = {{.fd = io->wake_fd, .events = POLLIN}};
        for (int i = 0; i < LANES; i++) {
            struct lane *lane = &io->lanes[i];
            next = earlier(next, lane_tick(io, lane, now));
            if (lane->state == LANE_READY) {
                lane_run(io, lane, 0, now); /* what has just been given */
            }
            next = earlier(next, lane_tick(io, lane, now));
            fds[i + 1].fd = lane->conn != NULL ? conn_fd(lane->conn) : -1;
            fds[i + 1].events = lane->state == LANE_CONNECTING
                                    ? POLLOUT
                                    : (short)(POLLIN | (lane->wants_write ? POLLOUT : 0));
        }
        if (!breaker_is_closed(&io->cache->breaker)) {
            next = earlier(next, io->probe_at_ns);
        }
        next = earlier(next, tick_late(io, now));
        next = earlier(next, tick_notices(io, now));
        if (io->is_ending) { /* what it waits for may end in any of the above */
            next = earlier(next, now + (int64_t)ENDING_MS * NS_PER_MS);
        }
        poll(fds, LANES + 1, clock_poll_ms(next, clock_ns()));
        if (fds[0].revents != 0) {
            uint64_t n;
            ssize_t got = read(io->wake_fd, &n, sizeof(n));
            (void)got;
        }
        for (int i = 0; i < LANES; i++) {
            if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0) {
                lane_run(io, &io->lanes[i], fds[i + 1].revents, clock_ns());
            }
        }
    }
    return NULL;
}
