/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of many texts come most often, in a fixed room: space-saving (Metwally, Agrawal, El Abbadi
 * 2005). Whatever came more often than all / TOP_MAX times is in it; a count is too high by `over`
 * at most. Pure.
 */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { TOP_MAX = 128, TOP_TEXT_MAX = 64 };

struct top_entry {
    uint64_t hash; /* what it is known by */
    uint64_t count, over;
    uint64_t hits, misses; /* since it came in last; for its owner to count */
    uint64_t bytes;        /* the longest that was seen; the same */
    bool cut;              /* the text is longer */
    uint8_t text_len;
    char text[TOP_TEXT_MAX];
};

struct top {
    uint32_t count;
    struct top_entry of[TOP_MAX]; /* in no order */
};

/* It came once more. Texts longer than TOP_TEXT_MAX are cut. Returns its entry. */
struct top_entry *top_add(struct top *t, uint64_t hash, struct str text, bool cut);
/* Halves all counts, so that what was hot long ago cools; those that come to 0 leave. */
void top_fade(struct top *t);
/* Fills `order` with the indexes of entries, the most frequent first, equal ones by their text. */
void top_order(const struct top *t, uint32_t order[TOP_MAX]);
