/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

_Static_assert((int)SECRET_HASH_BYTES == SHA256_DIGEST_LENGTH, "the hash is SHA-256");

void secret_hash(struct str password, uint8_t ret_hash[SECRET_HASH_BYTES])
{
    (void)SHA256((const unsigned char *)(password.len ? password.p : ""), password.len, ret_hash);
}

bool secret_eq(const uint8_t a[SECRET_HASH_BYTES], const uint8_t b[SECRET_HASH_BYTES])
{
    return CRYPTO_memcmp(a, b, SECRET_HASH_BYTES) == 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int secret_parse(struct str hex, uint8_t ret_hash[SECRET_HASH_BYTES])
{
    uint8_t hash[SECRET_HASH_BYTES];
    if (hex.len != 2 * (size_t)SECRET_HASH_BYTES)
        return -EINVAL;
    for (size_t i = 0; i < SECRET_HASH_BYTES; i++) {
        int high = digit(hex.p[2 * i]), low = digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        hash[i] = (uint8_t)(high * 16 + low);
    }
    memcpy(ret_hash, hash, sizeof(hash));
    return 0;
}

void secret_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}
