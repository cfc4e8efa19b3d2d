/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory layer: values by store and key, bounded in bytes, in 16 shards with a lock each. What
 * is thrown out first is what has not been asked for since it last came to be looked at (second
 * chance). Any thread.
 */
#pragma once

#include "envelope.h"
#include "fence.h"
#include "value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory;

/* What is kept under a key. `value` is a share. */
struct memory_value {
    struct bytes *value;
    size_t offset; /* where the payload begins in it */
    struct envelope envelope;
    int64_t until_ms; /* Unix: up to then it may be taken without asking the cache */
};

/* What it is kept under. `key` is a loan. */
struct memory_key {
    uint64_t store, hash;
    const void *key;
    size_t key_len;
};

struct memory_stats {
    uint64_t bytes, values, evicted, hits;
};

/* NULL: no memory. */
struct memory *memory_new(size_t bytes_max);
/* NULL is fine. Returns NULL. */
struct memory *memory_free(struct memory *m);
/* False: not there. *ret->value is a new share, to be given back. Old values are found, too. */
bool memory_get(struct memory *m, const struct memory_key *k, unsigned clears, int64_t now_ms,
                bool is_old_wanted, struct memory_value *ret);
/* Keeps a share of v->value, if `mark` still holds and it is not too large. */
void memory_put(struct memory *m, const struct memory_key *k, const struct memory_value *v,
                const struct fence_mark *mark);
void memory_del(struct memory *m, const struct memory_key *k);
void memory_stats_read(struct memory *m, struct memory_stats *ret);
