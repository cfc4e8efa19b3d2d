/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two objects that all the rest hangs on.
 *
 * A cache outlives its stores, a store the jobs of the I/O thread that speak of it: those hold a
 * share. What a call needs beyond them lives on its stack.
 */
#pragma once

#include "address.h"
#include "breaker.h"
#include "fence.h"
#include "flights.h"
#include "hash.h"
#include "io.h"
#include "memory.h"
#include "names.h"
#include "pack.h"
#include "pool.h"

#include "../include/sumcache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Counters of struct sc_stats that are counted as they happen. */
enum counter {
    COUNT_HITS,
    COUNT_STALE,
    COUNT_NEGATIVE,
    COUNT_MISSES,
    COUNT_LOADS,
    COUNT_LOADS_FAILED,
    COUNT_LOADS_SHARED,
    COUNT_LOADS_REFRESHED,
    COUNT_SETS,
    COUNT_SETS_SHED,
    COUNT_DELS,
    COUNT_DELS_REPEATED,
    COUNT_TIMEOUTS,
    COUNT_CONNECT_ERRORS,
    COUNT_CLOSED,
    COUNT_PROTOCOL_ERRORS,
    COUNT_SERVER_ERRORS,
    COUNT_DECODE_ERRORS,
    COUNT_BREAKER_SKIPPED,
    COUNT_CONNECTIONS,
    COUNT_BYTES_IN,
    COUNT_BYTES_OUT,
    COUNTERS
};

enum { COST_ROWS = 128 /* of the histogram: four for each power of two of microseconds */ };

struct sc_cache {
    int64_t budget_ns;
    size_t value_max, queue_bytes_max;
    uint32_t queue_max, memory_ttl_ms, probe_ms;
    size_t memory_max;
    unsigned connections_max;
    sc_log_fn log;
    void *log_arg;

    struct address_book *book;
    struct greeting greeting;
    struct pool pool;
    struct breaker breaker;
    struct memory *memory; /* NULL: none */
    struct flights flights;
    struct io *io;
    /* What the server does not know: asked again ten minutes later (monotonic ns). */
    _Atomic int64_t no_hsetex_until_ns, no_hpexpire_until_ns;
    struct refresher *refresher; /* NULL until it is needed */
    pthread_mutex_t refresher_lock;

    pthread_mutex_t stores_lock;
    struct sc_store *stores; /* that are open */
    _Atomic uint64_t random, store_ids;
    _Atomic int64_t log_minute; /* lines to the log function are counted by the minute */
    atomic_uint log_lines;
    _Atomic uint64_t counters[COUNTERS];
    _Atomic uint64_t costs[COST_ROWS];

    /* A page that is zero in the child of a fork: [0] is 1 in the process that opened or re-opened
     * the cache, [1] is taken by the thread of the child that re-opens it. */
    atomic_uint *alive;
};

struct sc_store {
    struct sc_cache *cache;
    struct sc_store *next_open;
    atomic_uint shares;
    uint64_t id;
    enum sc_group group;
    uint32_t ttl_ms, hard_ms, negative_ttl_ms, jitter_percent, load_wait_ms, retry_ms;
    uint32_t early_percent;
    struct pack_rule pack;
    uint8_t codec;
    uint64_t bucket_ms; /* of SC_HASH */
    /* The longest hard time of what this process has stored. */
    _Atomic uint32_t hard_max_ms;
    /* More deletes than fit wait for the cache: up to then nothing of it is read (JOB_BLIND). */
    _Atomic int64_t blind_until_ns;
    atomic_int is_blind;
    struct fences fences;
    /* Loads that failed with a stale value at hand: not again before that (monotonic ms; low bits
     * of the hash). By hash: two keys that share a row only wait a little longer. */
    _Atomic uint64_t retry_at[256];
    size_t base_len;
    char base[NAME_BASE_MAX + 1];
};

static inline void count(struct sc_cache *c, enum counter what, uint64_t n)
{
    atomic_fetch_add_explicit(&c->counters[what], n, memory_order_relaxed);
}

static inline uint64_t store_hash(const struct sc_store *s, const void *key, size_t key_len)
{
    return hash_bytes(key, key_len, s->id * 0x9E3779B97F4A7C15U);
}

struct sc_store *store_ref(struct sc_store *s);
void store_unref(struct sc_store *s);
/* Up to when a delete made now matters: all that is stored has expired by then. */
int64_t store_given_up_ns(struct sc_store *s);
/* Nothing of it is read until all that is stored has expired. */
void store_blind(struct sc_store *s);
/* Reads a struct of the caller that begins with its size: what he does not know yet stays 0. False:
 * no size, or fields that this library does not know. */
bool options_read(void *to, size_t size, const void *from);
/* 64 random bits, never 0. Any thread. */
uint64_t cache_random(struct sc_cache *c);
/* One line to the log function. Any thread. */
void cache_log(struct sc_cache *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In the child of a fork: makes new what cannot be shared. First thing in each call. */
void cache_reopen(struct sc_cache *c);
static inline void cache_check_process(struct sc_cache *c)
{
    if (__builtin_expect(atomic_load_explicit(&c->alive[0], memory_order_acquire) == 0, 0)) {
        cache_reopen(c);
    }
}
/* Counts how a call went, and tells the breaker. */
void cache_note(struct sc_cache *c, int cause);
/* Into the histogram of what calls cost. */
void cache_note_cost(struct sc_cache *c, int64_t cost_ns);
/* Of a reason of conn.h or pool.h. */
enum sc_cause cause_of(int error);
