/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct str: bytes that somebody else owns (a loan), with their length; no NUL at the end is
 * promised and NUL bytes may be inside. Passed by value.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p; /* may be NULL only if len is 0 */
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *c_string)
{
    return (struct str){c_string, strlen(c_string)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool str_begins(struct str s, struct str with)
{
    return s.len >= with.len && (with.len == 0 || memcmp(s.p, with.p, with.len) == 0);
}

/* Takes what comes before `end` off the front of *text, and `end` itself; all of it, if there is no
 * `end`. */
struct str str_cut(struct str *text, char end);
/* The same of a line, without its LF or CR LF. */
struct str str_cut_line(struct str *text);

/* Copies it, cut to size - 1 bytes, and a NUL behind it. Returns `to`. */
char *str_fill(char *to, size_t size, struct str s);

/* ASCII letters only, whatever the locale. */
bool str_eq_nocase(struct str a, struct str b);

/*
 * The whole of `s` as a decimal number, judged as Redis's string2ll does: an optional '-', no
 * '+', no leading zero (but "0"), no blanks, inside int64. 0 or -EINVAL; *ret is only set on 0.
 */
int str_to_i64(struct str s, int64_t *ret) MUST_CHECK;

/* Writes the decimal digits of a number, and no NUL; returns how many: at most STR_U64_MAX. */
enum { STR_U64_MAX = 20 };
static inline size_t str_put_u64(char *to, uint64_t value)
{
    size_t len = 1;
    for (uint64_t rest = value; rest > 9; rest /= 10)
        len++;
    for (size_t i = len; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return len;
}

/* "100ms", "5s", "2m", "1h", "750us"; "0" needs no unit. 0, -EINVAL (text), -ERANGE (overflow). */
int str_to_duration_ns(struct str s, uint64_t *ret_ns) MUST_CHECK;

/* "512", "64kb", "5mb", "9gb" (1024-based, as in redis.conf). 0, -EINVAL, -ERANGE. */
int str_to_size(struct str s, uint64_t *ret_bytes) MUST_CHECK;

/* The shortest text that the two above read back. `size` ≥ 24. Returns `to`. */
char *str_from_duration_ns(uint64_t ns, char *to, size_t size);
char *str_from_size(uint64_t bytes, char *to, size_t size);
