/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *escape(char *to, const char *from, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)from[i];
        int is_safe = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                      (c != 0 && strchr("-._~/", c) != NULL);
        if (is_safe) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    return to;
}

size_t name_base(char *to, const char *namespace, size_t namespace_len, const char *prefix,
                 size_t prefix_len)
{
    char *end = escape(to, namespace, namespace_len);
    *end++ = ':';
    end = escape(end, prefix, prefix_len);
    return (size_t)(end - to);
}

size_t name_of_value(char *to, const char *base, size_t base_len, const void *key, size_t key_len)
{
    memcpy(to, base, base_len);
    to[base_len] = to[base_len + 2] = ':';
    to[base_len + 1] = 'k';
    memcpy(to + base_len + 3, key, key_len);
    return base_len + 3 + key_len;
}

static size_t with_kind(char *to, const char *base, size_t base_len, char kind)
{
    memcpy(to, base, base_len);
    to[base_len] = ':';
    to[base_len + 1] = kind;
    return base_len + 2;
}

size_t name_of_generation(char *to, const char *base, size_t base_len)
{
    return with_kind(to, base, base_len, 'g');
}

size_t name_of_list(char *to, const char *base, size_t base_len)
{
    return with_kind(to, base, base_len, 'l');
}

size_t name_of_bucket(char *to, const char *base, size_t base_len, uint64_t bucket)
{
    to[0] = '{';
    memcpy(to + 1, base, base_len);
    int n = snprintf(to + 1 + base_len, 24, "}:h%" PRIu64, bucket);
    return 1 + base_len + (size_t)n;
}
