/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers in a binary heap, for what is rare: upstreams, listeners, draining. What happens per
 * request (deadlines) and per client (idle, stalled) has one constant delay each and lives in FIFO
 * lists of the worker instead.
 *
 * Room for a timer is got when it is made, so that setting one cannot fail.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at;  /* ns, as loop.now */
    size_t place; /* in the heap; TIMER_UNSET: not set */
    struct timers *timers;
    void (*on_time)(struct timer *t);
};

#define TIMER_UNSET SIZE_MAX

struct timers {
    struct timer **heap;
    size_t count; /* set */
    size_t made;  /* made: the heap has room for them */
    size_t room;
};

void timers_init(struct timers *ts);
void timers_fini(struct timers *ts); /* all timers must have been unmade */

int timer_make(struct timer *t, struct timers *ts, void (*on_time)(struct timer *)) MUST_CHECK;
void timer_unmake(struct timer *t);

void timer_set(struct timer *t, uint64_t at); /* moves it if it is set */
void timer_clear(struct timer *t);            /* fine if it is not set */
static inline bool timer_is_set(const struct timer *t)
{
    return t->place != TIMER_UNSET;
}

/* When the earliest timer is due, NSEC_NEVER if none is set. */
uint64_t timers_next(const struct timers *ts);
/* Calls on_time of each timer that is due at `now`; they are cleared before. */
void timers_run(struct timers *ts, uint64_t now);
