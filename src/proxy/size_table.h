/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which replies were large the last time: a small table that forgets. It says on which lane a
 * request goes, so a wrong guess costs a little time and nothing else.
 *
 * Direct-mapped: an entry is 24 bits of the key's hash and the logarithm of a size; a newer one
 * takes the place of an older. No memory before the first large reply. One thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SIZE_TABLE_ENTRIES = 64 * 1024 }; /* 256 KiB: what a worker of a cache of images needs */

struct size_table {
    uint32_t *entries; /* owned; NULL: nothing was ever learned */
};

void size_table_fini(struct size_table *t);

/* `id` is a hash of what was asked: command and key. Without memory nothing is learned. */
void size_table_learn(struct size_table *t, uint64_t id, uint64_t bytes);
void size_table_forget(struct size_table *t, uint64_t id);

/* At least as many bytes as were learned, less than twice as many; 0: not known to be large. */
uint64_t size_table_find(const struct size_table *t, uint64_t id);

/* The id of a command for a key: HGETALL and HLEN of one key differ in size. */
static inline uint64_t size_table_id(uint64_t key_hash, unsigned command_id)
{
    /* Two odd constants with bits everywhere; the first is 2^64 / golden ratio. */
    return (key_hash + command_id * UINT64_C(0xd6e8feb86659fd93)) * UINT64_C(0x9e3779b97f4a7c15);
}
