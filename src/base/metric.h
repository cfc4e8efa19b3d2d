/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters that one thread writes and any may read (docs/decisions/0002): a relaxed load and store,
 * which costs what a plain increment costs.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_info {
    const char *name, *text;
    enum metric_kind kind;
    uint32_t offset; /* of the member in its struct */
};

static inline void metric_add(atomic_uint_least64_t *m, uint64_t by)
{
    uint64_t was = atomic_load_explicit(m, memory_order_relaxed);
    atomic_store_explicit(m, was + by, memory_order_relaxed);
}

static inline void metric_set(atomic_uint_least64_t *m, uint64_t value)
{
    atomic_store_explicit(m, value, memory_order_relaxed);
}

static inline uint64_t metric_get(const atomic_uint_least64_t *m)
{
    return atomic_load_explicit(m, memory_order_relaxed);
}
