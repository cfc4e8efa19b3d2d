/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each written from its published definition, and then bent to what twemproxy makes of it: where it
 * reads a plain `char`, bytes from 128 on are negative numbers there. tests/vectors/twemproxy.txt
 * has what a running twemproxy does.
 */
#include "ring/hash32.h"

#include "base/must.h"
#include "ring/md5.h"

#include <endian.h>

/* A byte as a signed char widened to 32 bits. */
static uint32_t widened(char c)
{
    return (uint32_t)(int32_t)(signed char)c;
}

static uint32_t byte(char c)
{
    return (uint8_t)c;
}

/* Little endian; `len` bytes of it, missing ones count as 0. */
static uint32_t load(const char *p, size_t len)
{
    uint32_t v = 0;
    memcpy(&v, p, len);
    return le32toh(v);
}

static uint32_t rotate(uint32_t v, unsigned bits)
{
    return v << bits | v >> (32 - bits);
}

static uint32_t one_at_a_time(struct str s)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < s.len; i++) {
        hash += widened(s.p[i]);
        hash += hash << 10;
        hash ^= hash >> 6;
    }
    hash += hash << 3;
    hash ^= hash >> 11;
    return hash + (hash << 15);
}

static uint32_t by_md5(struct str s)
{
    uint8_t digest[16];
    md5(s, digest);
    return load((const char *)digest, 4);
}

/* CCITT's polynomial. The remainder is not cut to 16 bits between two bytes. */
static uint32_t crc16(struct str s)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint32_t term = ((crc >> 8 ^ byte(s.p[i])) & 0xff) << 8;
        for (int bit = 0; bit < 8; bit++)
            term = (term & 0x8000 ? term << 1 ^ 0x1021 : term << 1) & 0xffff;
        crc = crc << 8 ^ term;
    }
    return crc;
}

static uint32_t crc32_of(struct str s)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= byte(s.p[i]);
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
    }
    return ~crc;
}

static uint32_t fnv1(struct str s, uint32_t hash, uint32_t prime)
{
    for (size_t i = 0; i < s.len; i++)
        hash = hash * prime ^ widened(s.p[i]);
    return hash;
}

static uint32_t fnv1a(struct str s, uint32_t hash, uint32_t prime)
{
    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ widened(s.p[i])) * prime;
    return hash;
}

/* Paul Hsieh's SuperFastHash, begun with 0 and not with the length. */
static uint32_t hsieh(struct str s)
{
    uint32_t hash = 0;
    size_t whole = s.len & ~(size_t)3;
    if (s.len == 0)
        return 0;
    for (size_t i = 0; i < whole; i += 4) {
        hash += load(s.p + i, 2);
        hash = hash << 16 ^ load(s.p + i + 2, 2) << 11 ^ hash;
        hash += hash >> 11;
    }
    const char *rest = s.p + whole;
    switch (s.len - whole) {
    case 3:
        hash += load(rest, 2);
        hash ^= hash << 16;
        hash ^= widened(rest[2]) << 18;
        hash += hash >> 11;
        break;
    case 2:
        hash += load(rest, 2);
        hash ^= hash << 11;
        hash += hash >> 17;
        break;
    case 1:
        hash += byte(rest[0]);
        hash ^= hash << 10;
        hash += hash >> 1;
        break;
    default:
        break;
    }
    hash ^= hash << 3;
    hash += hash >> 5;
    hash ^= hash << 4;
    hash += hash >> 17;
    hash ^= hash << 25;
    return hash + (hash >> 6);
}

/* MurmurHash2 of 32 bits. */
static uint32_t murmur(struct str s)
{
    static const uint32_t M = 0x5bd1e995;
    uint32_t len = (uint32_t)s.len;
    uint32_t hash = UINT32_C(0xdeadbeef) * len ^ len;
    size_t whole = s.len & ~(size_t)3;
    for (size_t i = 0; i < whole; i += 4) {
        uint32_t k = load(s.p + i, 4) * M;
        k = (k ^ k >> 24) * M;
        hash = hash * M ^ k;
    }
    if (whole < s.len)
        hash = (hash ^ load(s.p + whole, s.len - whole)) * M;
    hash = (hash ^ hash >> 13) * M;
    return hash ^ hash >> 15;
}

/* Bob Jenkins' lookup3 ("hashlittle"). */
static uint32_t jenkins(struct str s)
{
    static const uint32_t BEGIN = 13;
    static const uint8_t MIX[6] = {4, 6, 8, 16, 19, 4}, LAST[7] = {14, 11, 25, 16, 4, 14, 24};
    uint32_t v[3];
    v[0] = v[1] = v[2] = UINT32_C(0xdeadbeef) + (uint32_t)s.len + BEGIN;
    if (s.len == 0)
        return v[2];
    for (; s.len > 12; s = (struct str){s.p + 12, s.len - 12}) {
        for (int i = 0; i < 3; i++)
            v[i] += load(s.p + (size_t)i * 4, 4);
        for (int i = 0; i < 6;
             i++) { /* a, b, c in turn: the one before it comes off and is mixed in */
            uint32_t *a = &v[i % 3], *b = &v[(i + 1) % 3], *c = &v[(i + 2) % 3];
            *a -= *c;
            *a ^= rotate(*c, MIX[i]);
            *c += *b;
        }
    }
    for (size_t i = 0; i < 3 && i * 4 < s.len; i++)
        v[i] += load(s.p + i * 4, s.len - i * 4 < 4 ? s.len - i * 4 : 4);
    for (int i = 0; i < 7; i++) {
        uint32_t *to = &v[(i + 2) % 3], from = v[(i + 1) % 3];
        *to ^= from;
        *to -= rotate(from, LAST[i]);
    }
    return v[2];
}

uint32_t hash32(enum hash32_kind kind, struct str s)
{
    /* The low halves of the 64-bit constants do: a product's low half depends on low halves alone.
     */
    static const uint32_t INIT64 = 0x84222325, PRIME64 = 0x1b3;
    static const uint32_t INIT32 = 0x811c9dc5, PRIME32 = 0x01000193;
    switch (kind) {
    case HASH32_ONE_AT_A_TIME:
        return one_at_a_time(s);
    case HASH32_MD5:
        return by_md5(s);
    case HASH32_CRC16:
        return crc16(s);
    case HASH32_CRC32:
        return crc32_of(s) >> 16 & 0x7fff;
    case HASH32_CRC32A:
        return crc32_of(s);
    case HASH32_FNV1_64:
        return fnv1(s, INIT64, PRIME64);
    case HASH32_FNV1A_64:
        return fnv1a(s, INIT64, PRIME64);
    case HASH32_FNV1_32:
        return fnv1(s, INIT32, PRIME32);
    case HASH32_FNV1A_32:
        return fnv1a(s, INIT32, PRIME32);
    case HASH32_HSIEH:
        return hsieh(s);
    case HASH32_MURMUR:
        return murmur(s);
    case HASH32_JENKINS:
        return jenkins(s);
    case HASH32_KINDS:
        break;
    }
    unreachable();
}

enum hash32_kind hash32_find(struct str name)
{
    static const char *const NAMES[HASH32_KINDS] = {
        [HASH32_ONE_AT_A_TIME] = "one_at_a_time",
        [HASH32_MD5] = "md5",
        [HASH32_CRC16] = "crc16",
        [HASH32_CRC32] = "crc32",
        [HASH32_CRC32A] = "crc32a",
        [HASH32_FNV1_64] = "fnv1_64",
        [HASH32_FNV1A_64] = "fnv1a_64",
        [HASH32_FNV1_32] = "fnv1_32",
        [HASH32_FNV1A_32] = "fnv1a_32",
        [HASH32_HSIEH] = "hsieh",
        [HASH32_MURMUR] = "murmur",
        [HASH32_JENKINS] = "jenkins",
    };
    unsigned kind = 0;
    while (kind < HASH32_KINDS && !str_eq(str_of(NAMES[kind]), name))
        kind++;
    return (enum hash32_kind)kind;
}
