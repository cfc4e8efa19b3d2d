/* SPDX-License-Identifier: Apache-2.0 */
/* The table of nodes of `sumcache top`: its columns, and which node comes first. */
#pragma once
#include "base/cleanup.h"
#include "daemon/top_canvas.h"
#include "daemon/top_pages.h"

#include <stdbool.h>
#include <stddef.h>

enum top_column {
    TOP_COLUMN_NODE,
    TOP_COLUMN_STATE,
    TOP_COLUMN_SHARE,
    TOP_COLUMN_MEMORY,
    TOP_COLUMN_P99,
    TOP_COLUMN_KEYS,
    TOP_COLUMN_OPS,
    TOP_COLUMN_WHY,
    TOP_COLUMN_COUNT,
};

/* By which column: texts from A on, numbers from the greatest on, states from the worst on; or the
 * other way round. All zeroes: by name. */
struct top_sort {
    enum top_column by;
    bool is_reversed;
};

/* Goes to the next column (1) or the one before (-1), in its own direction. */
void top_sort_step(struct top_sort *s, int by);

/* Puts `rows` (loans, of /api/nodes) into that order; nodes that are equal there, by name. 0 or
 * -ENOMEM, and they are as they were. */
int top_nodes_sort(const json_t **rows, size_t count, const struct top_sort *s) MUST_CHECK;

/* How wide the names are. */
int top_nodes_width(const json_t *const *rows, size_t count);
void top_nodes_put_title(struct top_canvas *c, unsigned look, int width, const struct top_sort *s);
void top_nodes_put_row(struct top_canvas *c, int width, const json_t *node);
