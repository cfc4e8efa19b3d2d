/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of payloads: zlib, which every library reads, and zstd where the build has it. Pure;
 * any thread.
 *
 * What is to be unpacked is foreign bytes: no more than what they are said to be is allocated,
 * whatever they would become.
 */
#pragma once

#include "value.h"

#include <stdbool.h>

/* By the number that stands in a stored value. */
enum pack_kind { PACK_NONE = 0, PACK_ZLIB = 1, PACK_ZSTD = 2 };

/* What a writer does. */
struct pack_rule {
    size_t min; /* bytes from which on it packs; 0: never */
    enum pack_kind kind;
};

/* Does this build know it? */
bool pack_is_known(enum pack_kind kind);
/* The better one of those that it knows. */
enum pack_kind pack_best(void);
/* The payload behind `head` bytes of room, packed; NULL if that is not smaller, or fails. `kind` is
 * known, and not PACK_NONE. */
struct bytes *pack(enum pack_kind kind, const void *payload, size_t len, size_t head);
/* Exactly `size` bytes out of all of `len`; NULL if that is not what is in them, or there is no
 * memory. `kind` is known, and not PACK_NONE. */
struct bytes *unpack(enum pack_kind kind, const void *packed, size_t len, size_t size);
