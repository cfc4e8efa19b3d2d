/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/node_stats.h"

#include "base/must.h"
#include "proxy/everywhere.h"
#include "proxy/worker_internal.h"
#include "resp/reply_cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64 };

/* One number. MEMORY STATS: `name` in `group` ("db.0"; empty: none). LATENCY HISTOGRAM: of the
 * command `name`, how many calls took at most `bucket` µs at node `node`; bucket -1: how many calls
 * there were. */
struct figure_entry {
    struct str group, name; /* loans of a text */
    int64_t bucket, number;
    double real;
    bool is_real;
    bool written;
    uint32_t node;  /* which of the results */
    uint32_t nodes; /* that have told it */
};

struct stat_table {
    struct figure_entry *v; /* owned */
    size_t count, room;
    char **texts; /* owned, and so are they: what the entries point into */
    uint32_t text_count;
};

static void table_fini(struct stat_table *t)
{
    for (uint32_t i = 0; i < t->text_count; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t->v);
}

static int add(struct stat_table *t, const struct figure_entry *e)
{
    if (t->count == t->room) {
        size_t room = t->room > 0 ? 2 * t->room : FIRST_ROOM;
        struct figure_entry *v = realloc(t->v, room * sizeof(*v));
        if (!v)
            return -ENOMEM;
        t->v = v;
        t->room = room;
    }
    t->v[t->count++] = *e;
    return 0;
}

/* All answers, each by `read`. 0, -ENOMEM, -EBADMSG. */
static int read_all(struct request *r, struct stat_table *t,
                    int (*read)(struct stat_table *t, struct reply_cursor *at, uint32_t node))
{
    const struct gather *g = r->gather;
    t->texts = calloc(g->count, sizeof(*t->texts));
    if (!t->texts)
        return -ENOMEM;
    for (uint32_t i = 0; i < g->count; i++) {
        size_t len = g->results[i].bytes.len;
        char *text = malloc(len + 1);
        if (!text)
            return -ENOMEM;
        t->texts[t->text_count++] = text;
        buf_copy_out(&g->results[i].bytes, 0, text, len);
        struct reply_cursor at = reply_cursor_at((struct str){text, len});
        int err = read(t, &at, i);
        if (err)
            return err;
    }
    return 0;
}

/* ---- MEMORY STATS ---- */

/* What is no sum: a node's share of something, told by each. */
static bool is_mean(const struct figure_entry *e)
{
    static const struct str END = STR("-per-key");
    return e->is_real || (e->name.len >= END.len &&
                          memcmp(e->name.p + e->name.len - END.len, END.p, END.len) == 0);
}

static int add_up(struct stat_table *t, const struct figure_entry *e)
{
    for (size_t i = 0; i < t->count; i++) {
        struct figure_entry *known = &t->v[i];
        if (!str_eq(known->name, e->name) || !str_eq(known->group, e->group) ||
            known->is_real != e->is_real)
            continue;
        known->number += e->number;
        known->real += e->real;
        known->nodes++;
        return 0;
    }
    return add(t, e);
}

/* A number, as RESP2 and RESP3 write it. */
static int read_value(struct reply_cursor *at, struct figure_entry *e)
{
    char text[64];
    struct reply_cursor before = *at;
    char type;
    int err = reply_cursor_header(at, &type, &e->number);
    if (err || type == ':')
        return err;
    e->number = 0;
    e->is_real = true;
    struct str s = {before.p + 1, (size_t)(at->p - before.p) - 3};
    if (type == '$') {
        *at = before;
        err = reply_cursor_text(at, &s);
    } else if (type != ',') {
        err = -EBADMSG;
    }
    if (!err)
        e->real = strtod(str_fill(text, sizeof(text), s), NULL);
    return err;
}

static int read_memory(struct stat_table *t, struct reply_cursor *at, uint32_t node)
{
    int64_t pairs, inner;
    int err = reply_cursor_pairs(at, &pairs);
    (void)node;
    for (; pairs > 0 && !err; pairs--) {
        struct figure_entry e = {.nodes = 1};
        err = reply_cursor_text(at, &e.name);
        struct reply_cursor value = *at;
        if (err || reply_cursor_pairs(&value, &inner) != 0) {
            err = err ? err : read_value(at, &e);
            err = err ? err : add_up(t, &e);
            continue;
        }
        *at = value;
        for (struct str group = e.name; inner > 0 && !err; inner--) {
            e = (struct figure_entry){.group = group, .nodes = 1};
            err = reply_cursor_text(at, &e.name);
            err = err ? err : read_value(at, &e);
            err = err ? err : add_up(t, &e);
        }
    }
    return err;
}

static void write_value(const struct figure_entry *e, struct reply_out *o)
{
    char text[64];
    int64_t nodes = e->nodes;
    if (!e->is_real) {
        reply_int(o, is_mean(e) ? e->number / nodes : e->number);
        return;
    }
    int len = snprintf(text, sizeof(text), "%.17g", e->real / (double)nodes);
    if (o->proto == 2) {
        reply_bulk(o, (struct str){text, (size_t)len});
        return;
    }
    reply_raw(o, ",", 1);
    reply_raw(o, text, (size_t)len);
    reply_raw(o, "\r\n", 2);
}

/* Those of one group, from `first` on. */
static size_t count_group(const struct stat_table *t, size_t first)
{
    size_t count = 0;
    for (size_t i = first; i < t->count; i++)
        count += str_eq(t->v[i].group, t->v[first].group);
    return count;
}

static void write_group(struct stat_table *t, size_t first, struct reply_out *o)
{
    reply_bulk(o, t->v[first].group);
    reply_map(o, count_group(t, first));
    for (size_t i = first; i < t->count; i++) {
        struct figure_entry *e = &t->v[i];
        if (!str_eq(e->group, t->v[first].group))
            continue;
        e->written = true;
        reply_bulk(o, e->name);
        write_value(e, o);
    }
}

static bool begins_group(const struct stat_table *t, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (str_eq(t->v[i].group, t->v[at].group))
            return false;
    return true;
}

static void write_memory(struct stat_table *t, struct reply_out *o)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++)
        count += t->v[i].group.len == 0 || begins_group(t, i);
    reply_map(o, count);
    for (size_t i = 0; i < t->count; i++) {
        const struct figure_entry *e = &t->v[i];
        if (e->written)
            continue;
        if (e->group.len > 0) {
            write_group(t, i, o);
            continue;
        }
        reply_bulk(o, e->name);
        write_value(e, o);
    }
}

/* ---- LATENCY HISTOGRAM ---- */

static int read_buckets(struct stat_table *t, struct reply_cursor *at, struct figure_entry *e)
{
    int64_t pairs;
    int err = reply_cursor_pairs(at, &pairs);
    for (; pairs > 0 && !err; pairs--) {
        err = reply_cursor_number(at, ':', &e->bucket);
        err = err ? err : reply_cursor_number(at, ':', &e->number);
        err = err ? err : add(t, e);
    }
    return err;
}

static int read_histogram(struct stat_table *t, struct reply_cursor *at, uint32_t node)
{
    int64_t pairs, inner;
    int err = reply_cursor_pairs(at, &pairs);
    for (; pairs > 0 && !err; pairs--) {
        struct figure_entry e = {.node = node};
        struct str what;
        err = reply_cursor_text(at, &e.name);
        err = err ? err : reply_cursor_pairs(at, &inner);
        for (; !err && inner > 0; inner--) {
            err = reply_cursor_text(at, &what);
            if (!err && str_eq(what, STR("calls"))) {
                e.bucket = -1;
                err = reply_cursor_number(at, ':', &e.number);
                err = err ? err : add(t, &e);
            } else if (!err) {
                err = read_buckets(t, at, &e);
            }
        }
    }
    return err;
}

/* By command, then by bucket. */
static int compare(const void *a, const void *b)
{
    const struct figure_entry *x = a, *y = b;
    size_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.p, y->name.p, len);
    if (order == 0)
        order = (x->name.len > y->name.len) - (x->name.len < y->name.len);
    return order != 0 ? order : (x->bucket > y->bucket) - (x->bucket < y->bucket);
}

/* [from, to) are of one command: how many different buckets? */
static size_t count_buckets(const struct stat_table *t, size_t from, size_t to)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        count += t->v[i].bucket >= 0 && (i == from || t->v[i - 1].bucket != t->v[i].bucket);
    return count;
}

/*
 * Counts grow along a node's buckets, and it leaves out those where they do not: there it stands at
 * the bucket before. So the sum at a bucket is that of what each node last stood at.
 */
static int write_command(const struct stat_table *t, size_t from, size_t to, uint32_t nodes,
                         struct reply_out *o)
{
    int64_t *at CLEANUP(freep) = calloc(nodes, sizeof(*at));
    int64_t calls = 0, sum = 0;
    size_t i = from;
    if (!at)
        return -ENOMEM;
    for (; i < to && t->v[i].bucket < 0; i++)
        calls += t->v[i].number;
    reply_bulk(o, t->v[from].name);
    reply_map(o, 2);
    reply_bulk(o, STR("calls"));
    reply_int(o, calls);
    reply_bulk(o, STR("histogram_usec"));
    reply_map(o, count_buckets(t, from, to));
    for (; i < to; i++) {
        const struct figure_entry *e = &t->v[i];
        sum += e->number - at[e->node];
        at[e->node] = e->number;
        if (i + 1 < to && t->v[i + 1].bucket == e->bucket)
            continue;
        reply_int(o, e->bucket);
        reply_int(o, sum);
    }
    return o->err;
}

/* Where the next command begins. */
static size_t end_of_command(const struct stat_table *t, size_t from)
{
    size_t to = from + 1;
    while (to < t->count && str_eq(t->v[to].name, t->v[from].name))
        to++;
    return to;
}

static int write_histogram(struct stat_table *t, uint32_t nodes, struct reply_out *o)
{
    size_t commands = 0;
    int err = 0;
    if (t->count > 0)
        qsort(t->v, t->count, sizeof(*t->v), compare);
    for (size_t i = 0; i < t->count; i = end_of_command(t, i))
        commands++;
    reply_map(o, commands);
    for (size_t i = 0; i < t->count && !err; i = end_of_command(t, i))
        err = write_command(t, i, end_of_command(t, i), nodes, o);
    return err;
}

static int merge_tables(struct request *r, struct reply_out *o)
{
    struct stat_table t = {0};
    bool memory = r->command->id == COMMAND_ID_MEMORY_STATS;
    if (everywhere_write_error(r, o))
        return 0;
    int err = read_all(r, &t, memory ? read_memory : read_histogram);
    if (!err && memory)
        write_memory(&t, o);
    else if (!err)
        err = write_histogram(&t, r->gather->count, o);
    table_fini(&t);
    return err ? err : o->err;
}

void node_stats_start(struct client *c, const struct command *command)
{
    static const struct gather_ops OPS = {.merge = merge_tables, .free = everywhere_free};
    must(command->id == COMMAND_ID_MEMORY_STATS || command->id == COMMAND_ID_LATENCY_HISTOGRAM);
    everywhere_ask(c, command, &OPS, NULL, 0);
}
