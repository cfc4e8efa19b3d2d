/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords: kept as hashes, compared in a time that tells nothing of them. Pure. */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECRET_HASH_BYTES = 32 };

/* SHA-256, as Redis keeps passwords: fast, so what is kept by it has to be long and random. */
void secret_hash(struct str password, uint8_t ret_hash[SECRET_HASH_BYTES]);
/* Takes as long whether they differ in the first byte or not at all. */
bool secret_eq(const uint8_t a[SECRET_HASH_BYTES], const uint8_t b[SECRET_HASH_BYTES]);
/* 64 hexadecimal digits. 0 or -EINVAL. */
int secret_parse(struct str hex, uint8_t ret_hash[SECRET_HASH_BYTES]) MUST_CHECK;
/* Overwrites it, however clever the compiler. */
void secret_wipe(void *bytes, size_t len);
