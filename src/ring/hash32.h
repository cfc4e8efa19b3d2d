/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hashes of keys that twemproxy knows, bit for bit as it computes them on a machine where char
 * is signed and words are little endian (x86-64, and what its users have). Some are not what their
 * names say: fnv1a_64 counts in 32 bits, crc16 keeps its carry, crc32 gives 15 bits.
 */
#pragma once
#include "base/str.h"

#include <stdint.h>

/* In the order of the names in daemon/config_rows.c. */
enum hash32_kind {
    HASH32_ONE_AT_A_TIME,
    HASH32_MD5,
    HASH32_CRC16,
    HASH32_CRC32,
    HASH32_CRC32A,
    HASH32_FNV1_64,
    HASH32_FNV1A_64,
    HASH32_FNV1_32,
    HASH32_FNV1A_32,
    HASH32_HSIEH,
    HASH32_MURMUR,
    HASH32_JENKINS,
    HASH32_KINDS,
};

uint32_t hash32(enum hash32_kind kind, struct str bytes);

/* By twemproxy's name for it; HASH32_KINDS: there is none of that name. */
enum hash32_kind hash32_find(struct str name);
