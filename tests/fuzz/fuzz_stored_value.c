/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what is stored in the cache: a miss, or a value within the limit. The first byte
 * says whether the checksum is made right, without which little would be reached. What was read is
 * written again and read again, to the same.
 */
#include "client/c/src/envelope.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { VALUE_MAX = 4096, NOW_MS = 1700000000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

static void seal(struct bytes *b)
{
    if (b->len >= ENVELOPE_HEADER) {
        uLong crc = crc32_z(0, (const unsigned char *)"name", 4);
        crc = crc32_z(crc, (const unsigned char *)b->data, 4);
        crc = crc32_z(crc, (const unsigned char *)b->data + 8, b->len - 8);
        for (int i = 0; i < 4; i++) {
            b->data[4 + i] = (char)(crc >> (8 * i));
        }
    }
}

static enum envelope_result decode(struct bytes *b, uint8_t codec, uint64_t epoch,
                                   struct envelope *e, struct bytes **value, size_t *offset)
{
    struct envelope_wanted wanted = {.identity = "name",
                                     .identity_len = 4,
                                     .now_ms = NOW_MS,
                                     .codec = codec,
                                     .epoch = epoch,
                                     .value_max = VALUE_MAX};
    return envelope_decode(b, &wanted, e, value, offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct bytes *stored = bytes_copy(bytes + 1, len - 1), *value = NULL, *again = NULL;
    struct envelope e, f;
    size_t offset = 0, again_offset = 0;
    uint64_t epoch = 0;
    if (bytes[0] & 1) {
        seal(stored);
    }
    for (size_t i = 0; (bytes[0] & 2) && len > ENVELOPE_HEADER && i < 8; i++) {
        epoch |= (uint64_t)(unsigned char)stored->data[32 + i] << (8 * i);
    }
    uint8_t codec = len > 4 ? (uint8_t)stored->data[3] : 0;
    if (decode(stored, codec, epoch, &e, &value, &offset) == ENVELOPE_OK) {
        size_t value_len = value->len - offset;
        check(value->len >= offset && value_len <= VALUE_MAX && e.soft_ms <= e.hard_ms);
        check(!e.negative || value_len == 0);
        struct pack_rule rule = {.min = bytes[0] & 4 ? 1 : 0,
                                 .kind = bytes[0] & 8 ? PACK_ZLIB : pack_best()};
        struct bytes *written =
            envelope_encode(&e, "name", 4, value->data + offset, value_len, rule);
        check(decode(written, codec, epoch, &f, &again, &again_offset) == ENVELOPE_OK);
        check(again->len - again_offset == value_len &&
              memcmp(again->data + again_offset, value->data + offset, value_len) == 0);
        check(f.created_ms == e.created_ms && f.hard_ms == e.hard_ms);
        bytes_unref(again);
        bytes_unref(written);
        bytes_unref(value);
    }
    bytes_unref(stored);
    return 0;
}
