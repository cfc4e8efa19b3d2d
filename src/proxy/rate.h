/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket in one number: when the next token is due (ns). So many a second, and as many at
 * once as make a second's worth. Pure.
 */
#pragma once
#include "base/nsec.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Where `due` would be after one more, or 0: there is none left at `now`. `per_second` > 0. */
static inline uint64_t rate_next(uint64_t due, uint64_t now, uint32_t per_second)
{
    uint64_t interval = NSEC_S / per_second;
    if (due < now)
        due = now;
    return due - now + interval > NSEC_S + interval / 2 ? 0 : due + interval;
}

static inline bool rate_take(uint64_t *due, uint64_t now, uint32_t per_second)
{
    uint64_t next = rate_next(*due, now, per_second);
    if (next == 0)
        return false;
    *due = next;
    return true;
}

/* The same of one that several threads take from. */
static inline bool rate_take_shared(atomic_uint_least64_t *due, uint64_t now, uint32_t per_second)
{
    uint64_t was = atomic_load_explicit(due, memory_order_relaxed), next;
    do {
        next = rate_next(was, now, per_second);
        if (next == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(due, &was, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}
