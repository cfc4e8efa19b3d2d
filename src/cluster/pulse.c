/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/pulse.h"

#include "base/must.h"
#include "base/nsec.h"

#include <stdlib.h>
#include <string.h>

struct pulse *pulse_new(uint32_t node, unsigned worker_count)
{
    size_t size = sizeof(struct pulse) + worker_count * sizeof(struct pulse_worker);
    struct pulse *p = aligned_alloc(PULSE_LINE, size);
    if (!p)
        return NULL;
    memset(p, 0, size);
    atomic_init(&p->refs, 1);
    p->node = node;
    p->worker_count = worker_count;
    return p;
}

struct pulse *pulse_ref(struct pulse *p)
{
    if (p)
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

struct pulse *pulse_unref(struct pulse *p)
{
    if (!p)
        return NULL;
    unsigned was = atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel);
    must(was > 0);
    if (was == 1)
        free(p);
    return NULL;
}

void pulse_miss(struct pulse *p, unsigned worker, uint64_t since)
{
    struct pulse_worker *w = &p->of[worker];
    if (atomic_load_explicit(&w->missed, memory_order_relaxed) == 0)
        atomic_store_explicit(&w->silent_since, since, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->missed, 1, memory_order_relaxed);
}

void pulse_first_byte(const struct pulse *p, struct histogram_sum *to)
{
    for (unsigned i = 0; i < p->worker_count; i++)
        histogram_sum_add(to, &p->of[i].first_byte);
}

uint64_t pulse_last_greeted(const struct pulse *p)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < p->worker_count; i++) {
        uint64_t at = atomic_load_explicit(&p->of[i].greeted, memory_order_relaxed);
        last = at > last ? at : last;
    }
    return last;
}

uint64_t pulse_in_flight(const struct pulse *p)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < p->worker_count; i++)
        sum += atomic_load_explicit(&p->of[i].in_flight, memory_order_relaxed);
    return sum;
}

unsigned pulse_missed(const struct pulse *p, uint64_t *ret_silent_since)
{
    unsigned missed = 0;
    uint64_t last_byte = 0, since = NSEC_NEVER;
    for (unsigned i = 0; i < p->worker_count; i++) {
        const struct pulse_worker *w = &p->of[i];
        uint64_t byte = atomic_load_explicit(&w->last_byte, memory_order_relaxed);
        unsigned here = atomic_load_explicit(&w->missed, memory_order_relaxed);
        if (byte > last_byte)
            last_byte = byte;
        if (here > 0)
            since = nsec_min(since, atomic_load_explicit(&w->silent_since, memory_order_relaxed));
        missed += here;
    }
    if (missed == 0)
        return 0;
    *ret_silent_since = last_byte > since ? last_byte : since;
    return missed;
}
