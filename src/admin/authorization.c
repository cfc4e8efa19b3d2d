/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/authorization.h"

enum { DECODED_MAX = 1024 };

static bool is_token(struct str s, const uint8_t token_hash[SECRET_HASH_BYTES])
{
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(s, hash);
    return secret_eq(hash, token_hash);
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 (RFC 4648). False: it is none, or too long. */
static bool decode(struct str from, char to[DECODED_MAX], size_t *ret_len)
{
    unsigned bits = 0;
    uint32_t value = 0;
    size_t len = 0;
    while (from.len > 0 && from.p[from.len - 1] == '=')
        from.len--;
    for (size_t i = 0; i < from.len; i++) {
        int digit = digit_of(from.p[i]);
        if (digit < 0 || len == DECODED_MAX)
            return false;
        value = (value << 6 | (uint32_t)digit) & 0xffffff;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        to[len++] = (char)(value >> bits & 0xff);
    }
    *ret_len = len;
    return true;
}

static bool take_scheme(struct str *header, struct str scheme)
{
    if (header->len <= scheme.len || header->p[scheme.len] != ' ' ||
        !str_eq_nocase((struct str){header->p, scheme.len}, scheme))
        return false;
    *header = (struct str){header->p + scheme.len + 1, header->len - scheme.len - 1};
    while (header->len > 0 && header->p[0] == ' ')
        *header = (struct str){header->p + 1, header->len - 1};
    return true;
}

bool authorization_shows(struct str header, const uint8_t token_hash[SECRET_HASH_BYTES])
{
    char decoded[DECODED_MAX];
    size_t len;
    if (take_scheme(&header, STR("bearer")))
        return is_token(header, token_hash);
    if (!take_scheme(&header, STR("basic")) || !decode(header, decoded, &len))
        return false;
    const char *colon = len > 0 ? memchr(decoded, ':', len) : NULL;
    size_t name_len = colon ? (size_t)(colon - decoded) + 1 : len;
    bool shows = colon && is_token((struct str){decoded + name_len, len - name_len}, token_hash);
    secret_wipe(decoded, sizeof(decoded));
    return shows;
}
