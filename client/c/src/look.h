/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call knows of its key: looked up in memory, then in the cache.
 */
#pragma once

#include "cache.h"
#include "reading.h"

struct look {
    const void *key; /* a loan */
    size_t key_len;
    uint64_t hash;
    struct fence_mark mark;
    int64_t began_ns;
    int answer, cause, layer;
    struct bytes *value; /* an owner */
    size_t offset;
    struct envelope envelope;
    uint64_t epoch, bucket;
    bool may_store; /* what is loaded after it */
};

/* 1 to 4,096 bytes. */
bool look_is_key(const void *key, size_t key_len);
/* Takes the fence's mark. True: answered, from memory or because it must not be asked for. */
bool look_begin(struct sc_store *s, const void *key, size_t key_len, struct look *l);
/* Asks the cache, within the budget since look_begin(). is_load_next: a load follows a miss. */
void look_ask(struct sc_store *s, struct look *l, bool is_load_next);
/* Takes what a read has found; keeps it in memory. */
void look_take(struct sc_store *s, struct look *l, struct reading *r, struct reading_key *k);
/* What the caller is told: nothing that is stale is still nothing. */
int look_answer(const struct look *l);
/* Moves its value into *ret_value, or gives it back if the answer has none. */
void look_give(struct look *l, int answer, struct sc_value *ret_value);
/* What it is called in memory, and among loads. */
struct memory_key look_memory_key(const struct sc_store *s, const struct look *l);
struct flight_key look_flight_key(const struct sc_store *s, const struct look *l);
/* Counts the answer. */
void look_count(struct sc_store *s, const struct look *l);

/* What is to be stored. */
struct storing {
    struct bytes *value; /* a loan; NULL: negative */
    size_t offset;
    uint32_t ttl_ms; /* fresh */
    uint32_t delta_ms;
};
/* Keeps it in memory and gives it to the I/O thread. SC_OK or SC_SKIPPED, and why. Sets the times
 * in *ret_envelope. */
int look_store(struct sc_store *s, const struct look *l, const struct storing *what, int *ret_cause,
               struct envelope *ret_envelope);

void info_fill(struct sc_info *info, int cause, int layer, int loader_error, int64_t cost_ns,
               const struct envelope *e);
/* Moves a share of bytes from offset on into *ret; NULL: empty. */
void value_fill(struct sc_value *ret, struct bytes *value, size_t offset);
