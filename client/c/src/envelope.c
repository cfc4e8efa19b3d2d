/* SPDX-License-Identifier: Apache-2.0 */
#include "envelope.h"

#include <string.h>
#include <zlib.h>

enum {
    MAGIC = 0xC5,
    VERSION = 1,
    FLAGS_PACKED = 3, /* enum pack_kind */
    FLAG_NEGATIVE = 4,
    FUTURE_MAX_MS = 60000, /* clocks of machines differ by less, or their values are misses */
};

static uint64_t get(const char *p, size_t len)
{
    uint64_t number = 0;
    for (size_t i = len; i-- > 0;) {
        number = number << 8 | (unsigned char)p[i];
    }
    return number;
}

static void put(char *p, uint64_t number, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        p[i] = (char)(number >> (8 * i));
    }
}

static uint32_t checksum(const void *identity, size_t identity_len, const char *stored, size_t len)
{
    uLong crc = crc32_z(0, identity, identity_len);
    crc = crc32_z(crc, (const unsigned char *)stored, 4);
    return (uint32_t)crc32_z(crc, (const unsigned char *)stored + 8, len - 8);
}

struct bytes *envelope_encode(const struct envelope *e, const void *identity, size_t identity_len,
                              const void *payload, size_t len, struct pack_rule rule)
{
    unsigned flags = e->negative ? FLAG_NEGATIVE : 0;
    struct bytes *b = NULL;
    if (e->negative) {
        len = 0;
    }
    if (rule.min > 0 && len >= rule.min) {
        b = pack(rule.kind, payload, len, ENVELOPE_HEADER);
        flags |= b != NULL ? rule.kind : PACK_NONE;
    }
    if (b == NULL) {
        b = bytes_new(ENVELOPE_HEADER + len);
        if (b == NULL) {
            return NULL;
        }
        if (len > 0) {
            memcpy(b->data + ENVELOPE_HEADER, payload, len);
        }
    }
    char *p = b->data;
    put(p, MAGIC, 1);
    put(p + 1, VERSION, 1);
    put(p + 2, flags, 1);
    put(p + 3, e->codec, 1);
    put(p + 8, (uint64_t)e->created_ms, 8);
    put(p + 16, e->soft_ms, 4);
    put(p + 20, e->hard_ms, 4);
    put(p + 24, e->delta_ms, 4);
    put(p + 28, len, 4);
    put(p + 32, e->epoch, 8);
    put(p + 4, checksum(identity, identity_len, p, b->len), 4);
    return b;
}

enum envelope_result envelope_decode(struct bytes *stored, const struct envelope_wanted *w,
                                     struct envelope *ret, struct bytes **ret_value,
                                     size_t *ret_offset)
{
    const char *p = stored->data;
    size_t len = stored->len;
    if (len < ENVELOPE_HEADER || get(p, 1) != MAGIC) {
        return ENVELOPE_BAD;
    }
    unsigned flags = (unsigned char)p[2];
    enum pack_kind kind = (enum pack_kind)(flags & FLAGS_PACKED);
    if (get(p + 1, 1) != VERSION || (flags & ~(unsigned)(FLAGS_PACKED | FLAG_NEGATIVE)) != 0 ||
        !pack_is_known(kind)) {
        return ENVELOPE_FOREIGN;
    }
    size_t payload_len = len - ENVELOPE_HEADER;
    uint64_t created = get(p + 8, 8);
    uint32_t soft = (uint32_t)get(p + 16, 4);
    uint32_t hard = (uint32_t)get(p + 20, 4);
    size_t size = get(p + 28, 4);
    bool negative = (flags & FLAG_NEGATIVE) != 0;
    if (size > w->value_max || hard < soft || (negative && (size > 0 || payload_len > 0)) ||
        payload_len > UINT32_MAX || (kind == PACK_NONE && size != payload_len)) {
        return ENVELOPE_BAD;
    }
    if (w->now_ms < 0 || created > (uint64_t)w->now_ms + FUTURE_MAX_MS ||
        get(p + 4, 4) != checksum(w->identity, w->identity_len, p, len)) {
        return ENVELOPE_BAD;
    }
    if (get(p + 3, 1) != w->codec && !negative) {
        return ENVELOPE_FOREIGN;
    }
    if (get(p + 32, 8) != w->epoch) {
        return ENVELOPE_OTHER_EPOCH;
    }
    if ((uint64_t)w->now_ms >= created + hard) {
        return ENVELOPE_EXPIRED;
    }
    struct bytes *value = stored;
    size_t offset = ENVELOPE_HEADER;
    if (kind != PACK_NONE) {
        value = unpack(kind, p + ENVELOPE_HEADER, payload_len, size);
        offset = 0;
        if (value == NULL) {
            return ENVELOPE_BAD;
        }
    } else {
        bytes_ref(stored);
    }
    *ret = (struct envelope){.created_ms = (int64_t)created,
                             .soft_ms = soft,
                             .hard_ms = hard,
                             .delta_ms = (uint32_t)get(p + 24, 4),
                             .epoch = w->epoch,
                             .codec = w->codec,
                             .negative = negative};
    *ret_value = value;
    *ret_offset = offset;
    return ENVELOPE_OK;
}
