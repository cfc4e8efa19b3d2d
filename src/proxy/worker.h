/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: a thread's worth of proxy. It owns its listeners, clients, upstreams, buffers, timers
 * and counters, and reads one immutable view. It has no thread of its own: whoever runs it (daemon:
 * a thread each; sim: one loop for all) calls worker_turn() again and again.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cluster/view.h"
#include "os/io.h"
#include "proxy/metrics.h"
#include "proxy/outcomes.h"
#include "proxy/samples.h"
#include "proxy/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker; /* opaque outside proxy/ */

struct control; /* cluster/control.h */

struct worker_config {
    const struct proxy_settings *settings; /* loan: outlives the worker, or is replaced by
                                              worker_post_settings() */
    struct log *log;                       /* loan: outlives the worker */
    unsigned index, count;                 /* this worker's place among all */
    struct peers *peers;     /* loan, one of all workers: see peers.h. NULL: nothing is counted */
    struct control *control; /* loan: outlives the worker; what it sees of nodes and which views it
                                has adopted is told to it. NULL: to nobody */
};

/* `io` is a loan that outlives the worker. -ENOMEM. The caller owns *ret_worker. */
int worker_new(const struct worker_config *config, struct io *io,
               struct worker **ret_worker) MUST_CHECK;

/* Closes what is open. No other thread may still use it. NULL is fine; always returns NULL. */
struct worker *worker_free(struct worker *w);

/* Opens a listening socket of this worker's own, or takes `handle`, which listens already: one that
 * workers cannot share by its port, as a Unix socket, or one of another process; -1: it is opened.
 * `tls`: TLS is spoken there, by settings.client_tls. What it accepts goes to the worker with the
 * fewest clients. 0, or -errno, and the handle is closed: -E2BIG, it has too many. Before the first
 * turn. */
int worker_listen(struct worker *w, int handle, const struct addr *at, bool tls) MUST_CHECK;

/* Its listening sockets: loans, until it drains or retires. Returns how many, at most `max`. */
unsigned worker_listeners(const struct worker *w, int *to, unsigned max);

/* Tells a worker of all workers (itself included): an accepted socket may be handed to another,
 * INFO sums the counters of all. `all` is a loan that outlives them. Before the first turn. */
void worker_meet(struct worker *w, struct worker *const *all, unsigned count);

/* One round: waits for events (at most max_wait_ns), handles them, sends what is to be sent, buries
 * the dead. False: it has drained and there is nothing left to do. */
bool worker_turn(struct worker *w, uint64_t max_wait_ns);

/* From any thread. The view comes into force between two turns; takes a reference of its own. */
int worker_post_view(struct worker *w, struct view *v) MUST_CHECK; /* 0 or -ENOMEM */
/* From any thread. The settings come into force between two turns. Then `done` is called on the
 * worker's thread, and nothing there points to the old ones any more: their owner may free them.
 * `settings` is a loan as in worker_config; NULL: all stays as it is, and `done` tells that the
 * worker turns. 0 or -ENOMEM. */
int worker_post_settings(struct worker *w, const struct proxy_settings *settings,
                         void (*done)(void *owner), void *owner) MUST_CHECK;
/* From any thread. Stop accepting, finish what is in flight, at most for drain_timeout. */
int worker_post_drain(struct worker *w) MUST_CHECK; /* 0 or -ENOMEM */
/* From any thread. Another process accepts in its place: it stops, and goes on to serve the clients
 * that it has. In the second half of drain_timeout those with nothing under way are closed, some at
 * a time; then it drains. */
int worker_post_retire(struct worker *w) MUST_CHECK; /* 0 or -ENOMEM */

/* Any thread may read; each counter is exact, the set is not of one instant. */
const struct metrics *worker_metrics(const struct worker *w);
const struct outcomes *worker_outcomes(const struct worker *w); /* the same of these */
/* For their one reader. */
struct samples *worker_samples(struct worker *w);

/* What must be 0 or empty once all clients have gone and all replies have come (sim and tests). */
struct worker_debt {
    size_t clients, requests, parts, chunk_bytes, upstream_queue;
    size_t sessions, owned_upstreams;
    uint64_t reserved; /* bytes, for replies on their way */
    size_t topics;     /* that somebody subscribed to */
};
struct worker_debt worker_debt(const struct worker *w);
