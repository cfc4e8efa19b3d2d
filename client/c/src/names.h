/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of keys in the cache: docs/stored-format.md, "Key names". Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    NAME_PART_MAX = 256,                              /* bytes of a namespace or prefix, as given */
    NAME_BASE_MAX = 2 * 3 * NAME_PART_MAX + 1,        /* escaped, with the colon */
    NAME_KEY_MAX = 4096,                              /* bytes of a caller's key */
    NAME_MAX_LEN = NAME_BASE_MAX + NAME_KEY_MAX + 32, /* room for any name */
};

/* Writes NAMESPACE:PREFIX, at most NAME_BASE_MAX bytes; both parts are at most NAME_PART_MAX long.
 */
size_t name_base(char *to, const char *namespace, size_t namespace_len, const char *prefix,
                 size_t prefix_len);
/* Each writes a name made of a base, and returns its length. No 0 at the end. */
size_t name_of_value(char *to, const char *base, size_t base_len, const void *key, size_t key_len);
size_t name_of_generation(char *to, const char *base, size_t base_len);
size_t name_of_bucket(char *to, const char *base, size_t base_len, uint64_t bucket);
size_t name_of_list(char *to, const char *base, size_t base_len);
