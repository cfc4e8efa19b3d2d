/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/nsec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

char *str_fill(char *to, size_t size, struct str s)
{
    size_t len = s.len < size ? s.len : size - 1;
    if (len > 0)
        memcpy(to, s.p, len);
    to[len] = '\0';
    return to;
}

struct str str_cut(struct str *text, char end)
{
    const char *at = text->len > 0 ? memchr(text->p, end, text->len) : NULL;
    struct str first = {text->p, at ? (size_t)(at - text->p) : text->len};
    size_t used = first.len + (at != NULL);
    if (used > 0)
        *text = (struct str){text->p + used, text->len - used};
    return first;
}

struct str str_cut_line(struct str *text)
{
    struct str line = str_cut(text, '\n');
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    return line;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

int str_to_i64(struct str s, int64_t *ret)
{
    bool negative = s.len > 0 && s.p[0] == '-';
    size_t i = negative ? 1 : 0;
    if (s.len == i || s.len - i > 19)
        return -EINVAL;
    if (s.p[i] == '0' && (s.len > i + 1 || negative))
        return -EINVAL;
    uint64_t v = 0; /* 19 digits fit */
    for (; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -EINVAL;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit DURATION_UNITS[] = {
    {"ns", 1},     {"us", NSEC_US},    {"ms", NSEC_MS},
    {"s", NSEC_S}, {"m", 60 * NSEC_S}, {"h", 3600 * NSEC_S},
};

static const struct unit SIZE_UNITS[] = {
    {"", 1}, {"b", 1}, {"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"tb", UINT64_C(1) << 40},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int with_unit(struct str s, const struct unit *units, size_t count, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t v = 0;
    for (; digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[digits] - '0'), &v))
            return -ERANGE;
    if (digits == 0)
        return -EINVAL;
    struct str unit = {s.p + digits, s.len - digits};
    if (v == 0 && unit.len == 0) {
        *ret = 0;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (!str_eq_nocase(unit, str_of(units[i].name)))
            continue;
        uint64_t product;
        if (__builtin_mul_overflow(v, units[i].factor, &product))
            return -ERANGE;
        *ret = product;
        return 0;
    }
    return -EINVAL;
}

int str_to_duration_ns(struct str s, uint64_t *ret_ns)
{
    return with_unit(s, DURATION_UNITS, COUNT(DURATION_UNITS), ret_ns);
}

int str_to_size(struct str s, uint64_t *ret_bytes)
{
    return with_unit(s, SIZE_UNITS, COUNT(SIZE_UNITS), ret_bytes);
}

static char *print_with_unit(uint64_t v, const struct unit *units, size_t count, char *to,
                             size_t size)
{
    const struct unit *best = &units[0];
    for (size_t i = 1; i < count; i++)
        if (v != 0 && units[i].factor > best->factor && v % units[i].factor == 0)
            best = &units[i];
    snprintf(to, size, "%" PRIu64 "%s", v / best->factor, v == 0 ? "" : best->name);
    return to;
}

char *str_from_duration_ns(uint64_t ns, char *to, size_t size)
{
    return print_with_unit(ns, DURATION_UNITS, COUNT(DURATION_UNITS), to, size);
}

char *str_from_size(uint64_t bytes, char *to, size_t size)
{
    return print_with_unit(bytes, SIZE_UNITS, COUNT(SIZE_UNITS), to, size);
}
