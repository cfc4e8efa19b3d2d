/* SPDX-License-Identifier: Apache-2.0 */
/* What the user of `sumcache top` has chosen to see, and what each key changes about it. */
#pragma once
#include "daemon/top_nodes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum top_section {
    TOP_NODES,
    TOP_EVENTS,
    TOP_HOT_KEYS,
    TOP_PREFIXES,
    TOP_SECTION_COUNT,
};

/* A list of which a part is shown. */
struct top_list {
    size_t selected, first; /* first: the row that is shown at the top */
    size_t count, room;     /* rows that there are, and that fit, when it was shown last */
};

enum { TOP_TYPED_MAX = 8 };

struct top_view {
    enum top_section focus;
    struct top_list lists[TOP_SECTION_COUNT];
    struct top_sort sort;
    bool is_paused, shows_help;
    bool is_typing; /* an interval, in seconds, as it is in `typed` */
    char typed[TOP_TYPED_MAX];
    uint64_t interval_ns;
};

/* What is to be done about a key. */
enum top_act {
    TOP_ACT_NONE,
    TOP_ACT_DRAW,
    TOP_ACT_ASK, /* at once; and draw */
    TOP_ACT_END,
};

void top_view_init(struct top_view *v);
/* `key`: of top_keys.h. */
enum top_act top_view_press(struct top_view *v, int key);

/* Before a list is shown: so many rows there are, so many fit. */
void top_list_fit(struct top_list *l, size_t count, size_t room);
