/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed keys: docs/stored-format.md. A struct sc_key is the state of a SHA-256 over the canonical
 * form.
 */
#include "sha256.h"

#include "../include/sumcache.h"

#include <string.h>

_Static_assert(sizeof(struct sha256) <= sizeof(struct sc_key), "the state fits");
_Static_assert(_Alignof(struct sha256) <= _Alignof(struct sc_key), "and is aligned");

static struct sha256 *state_of(struct sc_key *key)
{
    return (struct sha256 *)(void *)key->state;
}

static void add_number(struct sc_key *key, uint64_t number, size_t len)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (unsigned char)(number >> (8 * i));
    }
    sha256_add(state_of(key), bytes, len);
}

static void add_long(struct sc_key *key, char tag, const void *data, size_t len)
{
    sha256_add(state_of(key), &tag, 1);
    add_number(key, len, 4);
    sha256_add(state_of(key), data, len);
}

void sc_key_init(struct sc_key *key, const char *name)
{
    sha256_init(state_of(key));
    sha256_add(state_of(key), "\x01", 1);
    sc_key_text(key, name);
}

void sc_key_null(struct sc_key *key)
{
    sha256_add(state_of(key), "n", 1);
}

void sc_key_bool(struct sc_key *key, int value)
{
    sha256_add(state_of(key), value ? "t" : "f", 1);
}

void sc_key_int(struct sc_key *key, int64_t value)
{
    sha256_add(state_of(key), "i", 1);
    add_number(key, (uint64_t)value, 8);
}

void sc_key_real(struct sc_key *key, double value)
{
    const double whole_max = 9007199254740991.0; /* 2^53 - 1: JavaScript's limit, too */
    if (value >= -whole_max && value <= whole_max && (double)(int64_t)value == value) {
        sc_key_int(key, (int64_t)value);
        return;
    }
    uint64_t bits = 0x7ff8000000000000U;
    if (value == value) { /* no NaN */
        memcpy(&bits, &value, sizeof(bits));
    }
    sha256_add(state_of(key), "d", 1);
    add_number(key, bits, 8);
}

void sc_key_text(struct sc_key *key, const char *text)
{
    add_long(key, 's', text, strlen(text));
}

void sc_key_bytes(struct sc_key *key, const void *data, size_t len)
{
    add_long(key, 'b', data, len);
}

size_t sc_key_finish(const struct sc_key *key, char ret_text[23])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char digest[34];
    sha256_digest((const struct sha256 *)(const void *)key->state, digest);
    digest[16] = digest[17] = 0; /* 16 bytes are 21 characters and a third */
    for (int i = 0; i < 22; i++) {
        int bit = 6 * i;
        unsigned two = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
        ret_text[i] = alphabet[two >> (10 - bit % 8) & 63];
    }
    ret_text[22] = 0;
    return 22;
}
