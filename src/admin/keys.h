/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What samples of workers come to: hot keys, large values, hit ratios of prefixes, and the last
 * slow requests. The thread of the control plane.
 */
#pragma once
#include "admin/top.h"
#include "proxy/samples.h"

#include <stdint.h>

enum { KEYS_LARGEST_MAX = 32, KEYS_LARGEST_IDLE = 10, KEYS_SLOW_MAX = 128, KEYS_DEPTH_MAX = 8 };

struct keys_large {
    uint64_t hash, bytes;
    bool cut;
    uint8_t idle; /* times that keys_fade() was called since it was seen */
    uint8_t text_len;
    char text[SAMPLE_KEY_MAX];
};

struct keys {
    uint64_t samples; /* that were looked at */
    struct top hot, prefixes;
    uint32_t large_count;
    struct keys_large large[KEYS_LARGEST_MAX]; /* the largest first */
    uint64_t slow_last;                        /* of so many slow requests in all … */
    struct slow_request slow[KEYS_SLOW_MAX];   /* … the last ones */
};

/* `separator` ends a prefix; `depth` 0: there are no prefixes. */
void keys_take(struct keys *k, const struct sample *s, char separator, unsigned depth);
void keys_take_slow(struct keys *k, const struct slow_request *s);
/* What was hot cools. Prefixes do not: they are counted as counters are. */
void keys_fade(struct keys *k);
/* By age: 0 is the newest. NULL: there are not so many. */
const struct slow_request *keys_slow(const struct keys *k, uint32_t age);
/* "user:7:" of "user:7:name" at depth 2, the whole key if it has fewer separators: then *ret_is
 * is false. */
struct str keys_prefix(struct str key, char separator, unsigned depth, bool *ret_is);
