/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's pulse: what workers see of it as they go, for each other and for the control thread to
 * look at. Each worker writes a cache line of its own, so telling costs a store; only `unsettled`
 * is common, and it changes only in trouble.
 *
 * Counted like a view, for it lives as long as a view that names its node.
 */
#pragma once
#include "base/cleanup.h"
#include "base/histogram.h"
#include "cluster/figures.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PULSE_LINE = 64 }; /* bytes that one store takes away from other cores */

struct pulse_worker {
    alignas(PULSE_LINE) atomic_uint_least64_t last_byte; /* ns: when the node last gave a byte */
    /* ns: since when requests have waited without a byte; told with `missed`. */
    atomic_uint_least64_t silent_since;
    /* ns: when one of its upstreams last became ready; 0: none did. */
    atomic_uint_least64_t greeted;
    atomic_uint_least32_t missed;    /* deadlines, since the last byte */
    atomic_uint_least32_t in_flight; /* requests, some time ago */
    /* From when a request might be sent to the first byte of its reply; lines of their own. */
    alignas(PULSE_LINE) struct histogram first_byte;
};

struct pulse {
    atomic_uint refs;
    uint32_t node; /* its number in the control plane */
    unsigned worker_count;
    /*
     * Writes that were answered without the node (a time-out, a lost connection) and that it may
     * yet execute. While there are any, a write to this node is only sent behind them.
     */
    atomic_uint unsettled;
    atomic_uint_least64_t check_ns; /* what the last check took */
    struct figures figures;         /* what it last said of itself */
    struct pulse_worker of[];       /* by worker */
};

/* The caller owns one reference. NULL: out of memory. */
struct pulse *pulse_new(uint32_t node, unsigned worker_count);
struct pulse *pulse_ref(struct pulse *p);   /* NULL is fine */
struct pulse *pulse_unref(struct pulse *p); /* NULL is fine; always returns NULL */

/* Worker `worker` got bytes from the node. */
static inline void pulse_beat(struct pulse *p, unsigned worker, uint64_t now)
{
    struct pulse_worker *w = &p->of[worker];
    atomic_store_explicit(&w->last_byte, now, memory_order_relaxed);
    if (atomic_load_explicit(&w->missed, memory_order_relaxed) != 0)
        atomic_store_explicit(&w->missed, 0, memory_order_relaxed);
}

/* An upstream of worker `worker` is ready, `now` (ns, read by now and not when the turn began). It
 * may be the first one to another process than before. */
static inline void pulse_greeted(struct pulse *p, unsigned worker, uint64_t now)
{
    atomic_store_explicit(&p->of[worker].greeted, now, memory_order_relaxed);
}

/* When an upstream of any worker last became ready; 0: never. */
uint64_t pulse_last_greeted(const struct pulse *p);

/* A deadline of worker `worker` has passed; requests have waited since `since` without a byte. */
void pulse_miss(struct pulse *p, unsigned worker, uint64_t since);

/* Adds the first_byte of all workers to `to`. */
void pulse_first_byte(const struct pulse *p, struct histogram_sum *to);

/* Requests under way, as far as workers have told lately. */
uint64_t pulse_in_flight(const struct pulse *p);

/* Deadlines missed since the node last gave a byte to anyone, and since when it has been silent
 * while requests wait. 0: none. */
unsigned pulse_missed(const struct pulse *p, uint64_t *ret_silent_since);
