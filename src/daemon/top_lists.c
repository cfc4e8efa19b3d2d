/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_lists.h"

#include <stdlib.h>

enum {
    TEXT_COLUMNS = 300, /* a key of 64 bytes, each escaped, and more */
    KEY_MIN = 16,
    KEY_MAX = 256,
    KEY_REST = 33, /* columns behind a key */
    NODE_COLUMNS = 24,
};

const char *top_section_name(enum top_section section)
{
    static const char *const NAMES[TOP_SECTION_COUNT] = {"nodes", "events", "hot keys", "prefixes"};
    return NAMES[section];
}

static const json_t *array_of(enum top_section section, const struct top_pages *pages)
{
    switch (section) {
    case TOP_NODES:
        return json_object_get(pages->nodes, "nodes");
    case TOP_EVENTS:
        return json_object_get(pages->events, "events");
    case TOP_HOT_KEYS:
        return json_object_get(pages->keys, "hot");
    default:
        return json_object_get(pages->keys, "prefixes");
    }
}

static int key_width(int columns)
{
    int width = columns - KEY_REST;
    return width < KEY_MIN ? KEY_MIN : width > KEY_MAX ? KEY_MAX : width;
}

void top_rows_init(struct top_rows *r, enum top_section section, const struct top_pages *pages,
                   const struct top_sort *sort, int columns)
{
    const json_t *array = array_of(section, pages);
    size_t count = json_array_size(array);
    *r = (struct top_rows){.section = section,
                           .now_ms = top_number(pages->summary, "at_ms"),
                           .width = key_width(columns),
                           .of = calloc(count ? count : 1, sizeof(*r->of))};
    if (!r->of)
        return;
    r->count = count;
    for (size_t i = 0; i < count; i++) /* of events the newest first */
        r->of[i] = json_array_get(array, section == TOP_EVENTS ? count - 1 - i : i);
    if (section != TOP_NODES)
        return;
    if (top_nodes_sort(r->of, count, sort) != 0)
        r->count = 0;
    r->width = top_nodes_width(r->of, r->count);
}

void top_rows_fini(struct top_rows *r)
{
    free(r->of);
    *r = (struct top_rows){0};
}

void top_rows_put_title(const struct top_rows *r, struct top_canvas *c, unsigned look,
                        const struct top_sort *sort)
{
    if (r->section == TOP_NODES)
        top_nodes_put_title(c, look, r->width, sort);
    else if (r->section == TOP_EVENTS)
        top_canvas_put(c, look, "LAST EVENTS");
    else
        top_canvas_put(c, look, "%-*s %10s %9s %10s", r->width,
                       r->section == TOP_HOT_KEYS ? "HOT KEYS" : "PREFIXES", "SAMPLES", "HITS",
                       "BYTES");
}

static void put_event(const struct top_rows *r, struct top_canvas *c, const json_t *event)
{
    char node[NODE_COLUMNS + 1], from[16], to[16], why[TEXT_COLUMNS];
    top_text(event, "node", node, sizeof(node));
    top_text(event, "from", from, sizeof(from));
    top_text(event, "to", to, sizeof(to));
    top_text(event, "reason", why, sizeof(why));
    top_canvas_put(c, TOP_PLAIN, "%6.0f s ago  %-*s %s -> %s  %s",
                   (r->now_ms - top_number(event, "at_ms")) / 1000, NODE_COLUMNS, node, from, to,
                   why);
}

static void put_key(const struct top_rows *r, struct top_canvas *c, const json_t *key)
{
    char text[TEXT_COLUMNS];
    double hits = top_number(key, "hits");
    top_text(key, "key", text, (size_t)r->width + 1);
    top_canvas_put(c, TOP_PLAIN, "%-*s %10.0f %8.1f%% %10.0f", r->width, text,
                   top_number(key, "count"), top_percent(hits, hits + top_number(key, "misses")),
                   top_number(key, "bytes"));
}

void top_rows_put(const struct top_rows *r, struct top_canvas *c, size_t row)
{
    if (r->section == TOP_NODES)
        top_nodes_put_row(c, r->width, r->of[row]);
    else if (r->section == TOP_EVENTS)
        put_event(r, c, r->of[row]);
    else
        put_key(r, c, r->of[row]);
}
