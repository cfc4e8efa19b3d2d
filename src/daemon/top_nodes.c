/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MIN = 5, NAME_MAX = 40, TEXT_COLUMNS = 200 };

enum kind { TEXT, NUMBER, STATE };

/* `width` leaves room for the mark of the column that is sorted by. Names are as wide as they are,
 * and reasons come last. */
static const struct {
    const char *title, *member;
    int width; /* below 0: flush left */
    enum kind kind;
} COLUMNS[TOP_COLUMN_COUNT] = {
    [TOP_COLUMN_NODE] = {"NODE", "name", 0, TEXT},
    [TOP_COLUMN_STATE] = {"STATE", "state", -7, STATE},
    [TOP_COLUMN_SHARE] = {"SHARE", "share", 6, NUMBER},
    [TOP_COLUMN_MEMORY] = {"MEMORY", "memory_used", 10, NUMBER},
    [TOP_COLUMN_P99] = {"P99", "first_byte_p99_us", 10, NUMBER},
    [TOP_COLUMN_KEYS] = {"KEYS", "keys", 9, NUMBER},
    [TOP_COLUMN_OPS] = {"OPS/S", "commands_per_second", 7, NUMBER},
    [TOP_COLUMN_WHY] = {"WHY", "reason", 0, TEXT},
};

/* The worst last. What we do not know may be worse still. */
static const struct {
    char name[8];
    unsigned look;
} STATES[] = {{"up", TOP_GREEN},
              {"new", TOP_YELLOW},
              {"joining", TOP_YELLOW},
              {"leaving", TOP_YELLOW},
              {"out", TOP_RED}};

enum { STATE_COUNT = sizeof(STATES) / sizeof(*STATES) };

static const char *text_of(const json_t *node, enum top_column column)
{
    const char *text = json_string_value(json_object_get(node, COLUMNS[column].member));
    return text ? text : "";
}

static unsigned state_of(const json_t *node)
{
    const char *name = text_of(node, TOP_COLUMN_STATE);
    unsigned i = 0;
    while (i < STATE_COUNT && strcmp(STATES[i].name, name) != 0)
        i++;
    return i;
}

/* ---- order ---- */

void top_sort_step(struct top_sort *s, int by)
{
    s->by = (enum top_column)(((int)s->by + TOP_COLUMN_COUNT + by) % TOP_COLUMN_COUNT);
    s->is_reversed = false;
}

struct row {
    const json_t *node;
    double number;           /* the same for all that are sorted by texts … */
    const char *text, *name; /* … and the other way round */
};

static struct row row_of(const json_t *node, enum top_column by)
{
    struct row r = {node, 0, "", text_of(node, TOP_COLUMN_NODE)};
    if (COLUMNS[by].kind == TEXT)
        r.text = text_of(node, by);
    else if (COLUMNS[by].kind == STATE)
        r.number = state_of(node);
    else
        r.number = top_number(node, COLUMNS[by].member);
    return r;
}

static int compare(const void *a, const void *b, void *sort)
{
    const struct row *x = a, *y = b;
    const struct top_sort *s = sort;
    int order = x->number > y->number ? -1 : x->number < y->number ? 1 : strcmp(x->text, y->text);
    if (s->is_reversed)
        order = -order;
    return order ? order : strcmp(x->name, y->name);
}

int top_nodes_sort(const json_t **rows, size_t count, const struct top_sort *s)
{
    struct row *sorted CLEANUP(freep) = calloc(count ? count : 1, sizeof(*sorted));
    struct top_sort by = *s;
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = row_of(rows[i], by.by);
    qsort_r(sorted, count, sizeof(*sorted), compare, &by);
    for (size_t i = 0; i < count; i++)
        rows[i] = sorted[i].node;
    return 0;
}

/* ---- the table ---- */

int top_nodes_width(const json_t *const *rows, size_t count)
{
    char name[NAME_MAX + 1];
    size_t width = NAME_MIN;
    for (size_t i = 0; i < count && width < NAME_MAX; i++) {
        size_t len = top_text(rows[i], "name", name, sizeof(name));
        width = len > width ? len : width;
    }
    return (int)width;
}

/* Downwards: the greatest first. */
static const char *mark_of(const struct top_sort *s, enum top_column column)
{
    if (s->by != column)
        return "";
    return (COLUMNS[column].kind == TEXT) == s->is_reversed ? "v" : "^";
}

void top_nodes_put_title(struct top_canvas *c, unsigned look, int width, const struct top_sort *s)
{
    for (unsigned i = 0; i < TOP_COLUMN_COUNT; i++) {
        enum top_column column = (enum top_column)i;
        char title[16];
        snprintf(title, sizeof(title), "%s%s", COLUMNS[i].title, mark_of(s, column));
        int columns = column == TOP_COLUMN_NODE ? -width : COLUMNS[i].width;
        top_canvas_put(c, look | (s->by == column ? TOP_BOLD : TOP_PLAIN), "%*s", columns, title);
        top_canvas_put(c, look, column + 1 == TOP_COLUMN_WHY ? "  " : " ");
    }
}

void top_nodes_put_row(struct top_canvas *c, int width, const json_t *node)
{
    char text[TEXT_COLUMNS + 1], memory[TOP_BYTES_MAX];
    unsigned state = state_of(node);
    top_text(node, "name", text, (size_t)width + 1);
    top_canvas_put(c, TOP_PLAIN, "%-*s ", width, text);
    top_text(node, "state", text, 8);
    top_canvas_put(c, state < STATE_COUNT ? STATES[state].look : TOP_PLAIN, "%-7s", text);
    top_canvas_put(c, TOP_PLAIN, " %5.1f%% %10s %7.2f ms %9.0f %7.0f  ",
                   100 * top_number(node, "share"),
                   top_print_bytes(top_number(node, "memory_used"), memory),
                   top_number(node, "first_byte_p99_us") / 1000, top_number(node, "keys"),
                   top_number(node, "commands_per_second"));
    top_text(node, "reason", text, sizeof(text));
    top_canvas_put(c, TOP_PLAIN, "%s", text);
}
