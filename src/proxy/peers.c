/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/peers.h"

#include "base/nsec.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 4,
    BITS = 13,
    PLACES = 1 << BITS, /* 0.4 MB in all; ten thousand addresses leave it right within 2 or 3 */
};

struct peers {
    uint64_t seed;
    atomic_uint_least32_t clients[ROWS][PLACES];
    atomic_uint_least64_t due[ROWS][PLACES]; /* ns: when all failures are forgotten */
};

struct peers *peers_new(uint64_t seed)
{
    struct peers *p = calloc(1, sizeof(*p));
    if (p)
        p->seed = seed;
    return p;
}

struct peers *peers_free(struct peers *p)
{
    free(p);
    return NULL;
}

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t v)
{
    v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
    return v ^ (v >> 31);
}

struct places {
    uint32_t of[ROWS];
};

static struct places places_of(const struct peers *p, const struct addr *a)
{
    struct places at;
    uint64_t word;
    memcpy(&word, a->ip, sizeof(word)); /* all of an IPv4 address, half of an IPv6 one */
    uint64_t hash = mix(p->seed ^ mix(word + a->family * UINT64_C(0x9e3779b97f4a7c15)));
    for (unsigned i = 0; i < ROWS; i++)
        at.of[i] = (uint32_t)(hash >> (i * BITS)) & (PLACES - 1);
    return at;
}

bool peers_enter(struct peers *p, const struct addr *a, uint32_t max)
{
    struct places at = places_of(p, a);
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < ROWS; i++) {
        uint32_t n = atomic_fetch_add_explicit(&p->clients[i][at.of[i]], 1, memory_order_relaxed);
        least = n < least ? n : least;
    }
    if (max == 0 || least < max)
        return true;
    peers_leave(p, a);
    return false;
}

void peers_leave(struct peers *p, const struct addr *a)
{
    struct places at = places_of(p, a);
    for (unsigned i = 0; i < ROWS; i++)
        atomic_fetch_sub_explicit(&p->clients[i][at.of[i]], 1, memory_order_relaxed);
}

bool peers_must_wait(struct peers *p, const struct addr *a, uint64_t now, uint32_t per_minute)
{
    if (per_minute == 0)
        return false;
    struct places at = places_of(p, a);
    uint64_t share = 60 * NSEC_S / per_minute;
    for (unsigned i = 0; i < ROWS; i++) {
        uint64_t due = atomic_load_explicit(&p->due[i][at.of[i]], memory_order_relaxed);
        if (due <= now + share * (per_minute - 1))
            return false;
    }
    return true;
}

void peers_failed(struct peers *p, const struct addr *a, uint64_t now, uint32_t per_minute)
{
    if (per_minute == 0)
        return;
    struct places at = places_of(p, a);
    uint64_t share = 60 * NSEC_S / per_minute;
    for (unsigned i = 0; i < ROWS; i++) {
        atomic_uint_least64_t *due = &p->due[i][at.of[i]];
        uint64_t was = atomic_load_explicit(due, memory_order_relaxed), next;
        do {
            next = (was > now ? was : now) + share;
        } while (!atomic_compare_exchange_weak_explicit(due, &was, next, memory_order_relaxed,
                                                        memory_order_relaxed));
    }
}
