/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The breaker: when too many of the last calls have failed, nobody asks the cache any more until
 * probes of the I/O thread have been answered. A probe asks for a key that failed, on a connection
 * of its own: a caller never pays for one.
 *
 *   closed ──(ratio of the window)──► open ──(a probe is answered)──► half open
 *     ▲                                ▲◄──(a probe fails)──────────────┤
 *     └─────────(a second probe is answered)────────────────────────────┘
 *
 * Any thread, no locks; only the I/O thread says how probes went.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

enum { BREAKER_CALLS_MIN = 5 /* that it has seen before it may open */ };

struct breaker {
    atomic_int state;
    _Atomic uint64_t history; /* low half: one bit per call, 1 failed; high half: calls seen */
    unsigned window, percent;
    atomic_uint_fast64_t opened;
};

void breaker_init(struct breaker *b, unsigned window, unsigned percent);
static inline bool breaker_is_closed(const struct breaker *b)
{
    return atomic_load_explicit(&b->state, memory_order_acquire) == BREAKER_CLOSED;
}
/* How a call went. True: this one has opened it, and its caller wakes the I/O thread. */
bool breaker_note(struct breaker *b, bool has_failed);
/* How a probe went. True: the state has changed. */
bool breaker_note_probe(struct breaker *b, bool has_failed);
