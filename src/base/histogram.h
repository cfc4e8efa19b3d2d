/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long things took: counts in buckets whose bounds double, from 16 µs to 8.6 s. One thread
 * writes, any may read (metric.h). Adding is a shift, a count of leading zeros and two additions.
 */
#pragma once
#include "base/metric.h"

enum {
    HISTOGRAM_FIRST_BITS = 14, /* the first bucket ends at 2^14 ns */
    HISTOGRAM_BUCKETS = 21,    /* the last one has no end */
};

struct histogram {
    atomic_uint_least64_t count[HISTOGRAM_BUCKETS];
    atomic_uint_least64_t sum_ns;
};

/* The same as plain numbers, to be summed and computed with. */
struct histogram_sum {
    uint64_t count[HISTOGRAM_BUCKETS], sum_ns;
};

static inline unsigned histogram_bucket(uint64_t ns)
{
    unsigned at = 63 - (unsigned)__builtin_clzll(ns >> (HISTOGRAM_FIRST_BITS - 1) | 1);
    return at < HISTOGRAM_BUCKETS ? at : HISTOGRAM_BUCKETS - 1;
}

/* `count` things that took as long. */
static inline void histogram_add(struct histogram *h, uint64_t ns, uint64_t count)
{
    metric_add(&h->count[histogram_bucket(ns)], count);
    metric_add(&h->sum_ns, ns * count);
}

/* Where a bucket ends (ns); not of the last one. */
static inline uint64_t histogram_bound(unsigned bucket)
{
    return UINT64_C(1) << (HISTOGRAM_FIRST_BITS + bucket);
}

/* Adds what `h` has to `to`. */
void histogram_sum_add(struct histogram_sum *to, const struct histogram *h);
/* now - before, bucket by bucket; what has become less (who was counted has gone) counts as 0. */
struct histogram_sum histogram_sum_since(const struct histogram_sum *now,
                                         const struct histogram_sum *before);
uint64_t histogram_sum_count(const struct histogram_sum *s);
/* ns that `permille` of 1000 did not exceed, by a straight line inside its bucket; 0: none came. */
uint64_t histogram_sum_quantile(const struct histogram_sum *s, unsigned permille);
