/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks, random numbers, and small arithmetic. Deadlines are points of the monotonic clock
 * in nanoseconds; what is stored has the time of day in milliseconds.
 */
#pragma once

#include <stdint.h>
#include <time.h>

enum { NS_PER_MS = 1000000 };

static inline int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Unix milliseconds. */
static inline int64_t clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / NS_PER_MS;
}

/* The same a few milliseconds late, for a fifth of the price: for the memory layer. */
static inline int64_t clock_wall_ms_coarse(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / NS_PER_MS;
}

/* For poll(): whole milliseconds until a deadline, rounded up, never below 0. */
static inline int clock_poll_ms(int64_t deadline_ns, int64_t now_ns)
{
    int64_t left = deadline_ns - now_ns;
    if (left <= 0) {
        return 0;
    }
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > 1000000000 ? 1000000000 : (int)left;
}
