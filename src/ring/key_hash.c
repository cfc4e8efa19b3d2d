/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MurmurHash2 in its 64-bit form (Austin Appleby's MurmurHash64A), written from its definition.
 * Blocks are loaded as little endian on every machine, so that all of them agree on the slots.
 */
#include "ring/key_hash.h"

#include <endian.h>

/* libstdc++'s std::hash<std::string> and with it Envoy's redis_proxy use this seed. */
static const uint64_t KEY_SEED = UINT64_C(0xc70f6907);
static const uint64_t MULTIPLIER = UINT64_C(0xc6a4a7935bd1e995);

static uint64_t fold(uint64_t v)
{
    return v ^ (v >> 47);
}

/* Up to 8 bytes from any alignment; missing ones count as 0. */
static uint64_t load(const char *p, size_t len)
{
    uint64_t v = 0;
    memcpy(&v, p, len);
    return le64toh(v);
}

uint64_t murmur2_64(struct str bytes, uint64_t seed)
{
    uint64_t hash = seed ^ (bytes.len * MULTIPLIER);
    size_t whole = bytes.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t block = load(bytes.p + i, 8);
        hash ^= fold(block * MULTIPLIER) * MULTIPLIER;
        hash *= MULTIPLIER;
    }
    if (whole < bytes.len) {
        hash ^= load(bytes.p + whole, bytes.len - whole);
        hash *= MULTIPLIER;
    }
    return fold(fold(hash) * MULTIPLIER);
}

struct str key_tag(struct str key)
{
    const char *open = key.len > 0 ? memchr(key.p, '{', key.len) : NULL;
    if (!open)
        return key;
    const char *tag = open + 1;
    const char *close = memchr(tag, '}', key.len - (size_t)(tag - key.p));
    if (!close || close == tag)
        return key;
    return (struct str){tag, (size_t)(close - tag)};
}

uint64_t key_hash(struct str key, bool hash_tags)
{
    return murmur2_64(hash_tags ? key_tag(key) : key, KEY_SEED);
}
