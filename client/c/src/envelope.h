/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a stored value: docs/stored-format.md, "A value". Pure; any thread.
 *
 * What comes from the cache is foreign bytes: whatever is wrong with them makes a miss, and no
 * allocation is larger than what the caller allows.
 */
#pragma once

#include "pack.h"
#include "value.h"

#include <stdbool.h>
#include <stdint.h>

enum { ENVELOPE_HEADER = 40 };

struct envelope {
    int64_t created_ms; /* Unix milliseconds */
    uint32_t soft_ms;   /* after created_ms */
    uint32_t hard_ms;
    uint32_t delta_ms;
    uint64_t epoch;
    uint8_t codec;
    bool negative;
};

enum envelope_result {
    ENVELOPE_OK,
    ENVELOPE_EXPIRED,     /* its time is over */
    ENVELOPE_OTHER_EPOCH, /* of before an invalidation */
    ENVELOPE_FOREIGN,     /* a value, but of a writer that knows more, or of another codec
                             (unless it is negative): it is left alone */
    ENVELOPE_BAD,         /* no value of ours */
};

/*
 * Writes a stored value. Payloads are compressed by the rule, if that makes them smaller.
 * `identity` is the name of the value. Returns NULL if there is no memory.
 */
struct bytes *envelope_encode(const struct envelope *e, const void *identity, size_t identity_len,
                              const void *payload, size_t len, struct pack_rule rule);

/* What a reader expects. */
struct envelope_wanted {
    const void *identity; /* the name of the value, a loan */
    size_t identity_len;
    int64_t now_ms;
    uint8_t codec;
    uint64_t epoch;
    size_t value_max;
};

/*
 * Reads a stored value. ENVELOPE_OK: *ret has the header, *ret_value a payload (nothing if
 * negative) from *ret_offset on, which shares `stored`, or is a new one if it was compressed. Other
 * results leave all untouched.
 */
enum envelope_result envelope_decode(struct bytes *stored, const struct envelope_wanted *w,
                                     struct envelope *ret, struct bytes **ret_value,
                                     size_t *ret_offset);
