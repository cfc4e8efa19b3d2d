/* SPDX-License-Identifier: Apache-2.0 */
#include "breaker.h"

void breaker_init(struct breaker *b, unsigned window, unsigned percent)
{
    atomic_init(&b->state, BREAKER_CLOSED);
    atomic_init(&b->history, 0);
    atomic_init(&b->opened, 0);
    b->window = window;
    b->percent = percent;
}

bool breaker_note(struct breaker *b, bool has_failed)
{
    uint64_t mask = (UINT64_C(1) << b->window) - 1;
    uint64_t old = atomic_load_explicit(&b->history, memory_order_relaxed);
    uint64_t calls, failed, now;
    do {
        calls = old >> 32;
        failed = old & UINT32_MAX;
        if (!has_failed && calls == b->window && failed == 0) {
            return false; /* all is well, as before: nothing to write */
        }
        failed = (failed << 1 | has_failed) & mask;
        calls += calls < b->window;
        now = calls << 32 | failed;
    } while (!atomic_compare_exchange_weak(&b->history, &old, now));
    unsigned failures = (unsigned)__builtin_popcountll(failed);
    if (!has_failed || calls < BREAKER_CALLS_MIN || failures * 100 < calls * b->percent) {
        return false;
    }
    int closed = BREAKER_CLOSED;
    if (!atomic_compare_exchange_strong(&b->state, &closed, BREAKER_OPEN)) {
        return false;
    }
    atomic_fetch_add(&b->opened, 1);
    return true;
}

bool breaker_note_probe(struct breaker *b, bool has_failed)
{
    int old = atomic_load(&b->state);
    if (old == BREAKER_CLOSED) {
        return false;
    }
    int next = has_failed ? BREAKER_OPEN : old == BREAKER_OPEN ? BREAKER_HALF_OPEN : BREAKER_CLOSED;
    if (next == BREAKER_CLOSED) {
        atomic_store(&b->history, 0);
    }
    atomic_store_explicit(&b->state, next, memory_order_release);
    return next != old;
}
