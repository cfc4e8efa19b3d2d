/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A screen of `sumcache top` before it is shown: cells of printable ASCII. What would be outside is
 * left out, and what is no printable ASCII becomes a question mark, so no text can wrap a line or
 * command the terminal.
 */
#pragma once
#include "base/cleanup.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum { TOP_COLUMNS_MAX = 1000, TOP_ROWS_MAX = 1000 };

/* Looks of a cell, to be combined; of colours one. */
enum {
    TOP_PLAIN = 0,
    TOP_BOLD = 1,
    TOP_REVERSED = 2,
    TOP_GREEN = 4,
    TOP_RED = 8,
    TOP_YELLOW = 16,
};

struct top_canvas {
    int columns, rows;
    int row, column; /* where the next text goes */
    char *cells;     /* columns * rows; owned */
    uint8_t *looks;  /* the same */
};

/* Blank cells; a size beyond the maxima is cut to them, one below 1 is taken for 1. 0 or -ENOMEM.
 */
int top_canvas_init(struct top_canvas *c, int columns, int rows) MUST_CHECK;
void top_canvas_fini(struct top_canvas *c);

/* May be outside. */
void top_canvas_at(struct top_canvas *c, int row, int column);
/* The text is at most TOP_COLUMNS_MAX bytes; what is longer is cut. */
void top_canvas_put(struct top_canvas *c, unsigned look, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds to the looks of all cells of a row. */
void top_canvas_mark(struct top_canvas *c, int row, unsigned look);

/* The bytes that bring it onto a terminal of at least this size whatever is there now, without
 * clearing what is only written again. */
void top_canvas_print(const struct top_canvas *c, bool colours, struct text *out);
