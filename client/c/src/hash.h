/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fast hash for tables of this process. Not for bytes that an enemy may choose without end: a
 * long row of a table is slow, no more.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = seed ^ 0xa0761d6478bd642fU;
    uint64_t word;
    for (size_t left = len; left > 0; left -= left < 8 ? left : 8, p += 8) {
        word = 0;
        memcpy(&word, p, left < 8 ? left : 8);
        h = hash_mix(h ^ word, 0xe7037ed1a0b428dbU);
    }
    return hash_mix(h ^ len, 0x8ebc6af09c88c6e3U);
}
