/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_canvas.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int within(int n, int max)
{
    return n < 1 ? 1 : n > max ? max : n;
}

int top_canvas_init(struct top_canvas *c, int columns, int rows)
{
    *c = (struct top_canvas){.columns = within(columns, TOP_COLUMNS_MAX),
                             .rows = within(rows, TOP_ROWS_MAX)};
    size_t count = (size_t)c->columns * (size_t)c->rows;
    c->cells = malloc(count);
    c->looks = calloc(count, 1);
    if (!c->cells || !c->looks) {
        top_canvas_fini(c);
        return -ENOMEM;
    }
    memset(c->cells, ' ', count);
    return 0;
}

void top_canvas_fini(struct top_canvas *c)
{
    free(c->cells);
    free(c->looks);
    *c = (struct top_canvas){0};
}

void top_canvas_at(struct top_canvas *c, int row, int column)
{
    c->row = row;
    c->column = column;
}

void top_canvas_put(struct top_canvas *c, unsigned look, const char *format, ...)
{
    char text[TOP_COLUMNS_MAX + 1];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    for (const char *p = text; *p; p++, c->column++) {
        if (c->row < 0 || c->row >= c->rows || c->column < 0 || c->column >= c->columns)
            continue;
        size_t at = (size_t)c->row * (size_t)c->columns + (size_t)c->column;
        c->cells[at] = *p >= 0x20 && *p < 0x7f ? *p : '?';
        c->looks[at] = (uint8_t)look;
    }
}

void top_canvas_mark(struct top_canvas *c, int row, unsigned look)
{
    for (int i = 0; row >= 0 && row < c->rows && i < c->columns; i++)
        c->looks[(size_t)row * (size_t)c->columns + (size_t)i] |= (uint8_t)look;
}

static void print_look(unsigned look, struct text *out)
{
    text_add(out, "\033[0%s%s%s%s%sm", look & TOP_BOLD ? ";1" : "", look & TOP_REVERSED ? ";7" : "",
             look & TOP_GREEN ? ";32" : "", look & TOP_RED ? ";31" : "",
             look & TOP_YELLOW ? ";33" : "");
}

/* Up to the last cell that can be seen. The rest is erased, unless there is none: behind the last
 * column the cursor stands on it, and would erase it. */
static void print_row(const struct top_canvas *c, int row, unsigned shown, struct text *out)
{
    const char *cells = c->cells + (size_t)row * (size_t)c->columns;
    const uint8_t *looks = c->looks + (size_t)row * (size_t)c->columns;
    int end = c->columns;
    while (end > 0 && cells[end - 1] == ' ' && !(looks[end - 1] & TOP_REVERSED))
        end--;
    unsigned look = TOP_PLAIN;
    for (int at = 0; at < end;) {
        int to = at + 1;
        while (to < end && looks[to] == looks[at])
            to++;
        if ((looks[at] & shown) != look) {
            look = looks[at] & shown;
            print_look(look, out);
        }
        text_add(out, "%.*s", to - at, cells + at);
        at = to;
    }
    if (look != TOP_PLAIN)
        text_add(out, "\033[m");
    if (end < c->columns)
        text_add(out, "\033[K");
}

/* Each row is gone to by its number: if the window has just become smaller, nothing scrolls. */
void top_canvas_print(const struct top_canvas *c, bool colours, struct text *out)
{
    unsigned shown = colours ? ~0u : TOP_BOLD | TOP_REVERSED;
    text_add(out, "\033[m\033[H");
    for (int row = 0; row < c->rows; row++) {
        if (row > 0)
            text_add(out, "\033[%d;1H", row + 1);
        print_row(c, row, shown, out);
    }
}
