/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/node_logs.h"

#include "base/must.h"
#include "proxy/everywhere.h"
#include "proxy/worker_internal.h"
#include "resp/reply_cursor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SLOWLOG_DEFAULT = 10, SLOWLOG_FIELDS = 6, LATEST_FIELDS = 4, HISTORY_FIELDS = 2 };

/* ---- entries of all nodes ---- */

struct entry {
    int64_t time;          /* s, of the node's clock */
    int64_t id;            /* SLOWLOG: grows at a node */
    int64_t latest, most;  /* ms: LATENCY */
    struct str event;      /* LATENCY LATEST */
    struct str fields;     /* SLOWLOG: all but the last */
    const char *node_name; /* loan: of the view */
    bool has_name;         /* it ends in a client's name, which is the node's here */
};

struct entries {
    struct entry *v; /* owned */
    size_t count, room;
    char **texts; /* owned, and so are they: replies that entries point into */
    size_t text_count;
};

static void entries_fini(struct entries *all)
{
    for (size_t i = 0; i < all->text_count; i++)
        free(all->texts[i]);
    free(all->texts);
    free(all->v);
}

static struct entry *add_entry(struct entries *all)
{
    if (all->count == all->room) {
        enum { FIRST_ROOM = 64 };
        size_t room = all->room > 0 ? 2 * all->room : FIRST_ROOM;
        struct entry *v = realloc(all->v, room * sizeof(*v));
        if (!v)
            return NULL;
        all->v = v;
        all->room = room;
    }
    struct entry *e = &all->v[all->count++];
    *e = (struct entry){0};
    return e;
}

/* [id, time, µs, arguments, client, its name]; servers before 4.0 have no more than four. */
static int read_slow(struct reply_cursor *at, struct entry *e)
{
    int64_t fields;
    int err = reply_cursor_number(at, '*', &fields);
    const char *begin = at->p;
    if (!err)
        err = reply_cursor_number(at, ':', &e->id);
    if (!err)
        err = reply_cursor_number(at, ':', &e->time);
    e->has_name = fields >= SLOWLOG_FIELDS;
    for (int64_t i = 2; i < fields && !err; i++) {
        if (e->has_name && i == SLOWLOG_FIELDS - 1)
            e->fields = (struct str){begin, (size_t)(at->p - begin)};
        err = reply_cursor_skip(at);
    }
    if (!err && !e->has_name)
        e->fields = (struct str){begin, (size_t)(at->p - begin)};
    return err;
}

/* [time, ms] */
static int read_history(struct reply_cursor *at, struct entry *e)
{
    int64_t fields;
    int err = reply_cursor_number(at, '*', &fields);
    if (!err && fields != HISTORY_FIELDS)
        err = -EBADMSG;
    if (!err)
        err = reply_cursor_number(at, ':', &e->time);
    return err ? err : reply_cursor_number(at, ':', &e->latest);
}

/* [event, time, ms, most ms] */
static int read_latest(struct reply_cursor *at, struct entry *e)
{
    int64_t fields;
    int err = reply_cursor_number(at, '*', &fields);
    if (!err && fields != LATEST_FIELDS)
        err = -EBADMSG;
    if (!err)
        err = reply_cursor_text(at, &e->event);
    if (!err)
        err = reply_cursor_number(at, ':', &e->time);
    if (!err)
        err = reply_cursor_number(at, ':', &e->latest);
    return err ? err : reply_cursor_number(at, ':', &e->most);
}

/* 0, -ENOMEM or -EBADMSG. */
static int read_all(struct request *r, struct entries *all,
                    int (*read_entry)(struct reply_cursor *at, struct entry *e))
{
    struct everywhere *e = everywhere_of(r);
    all->texts = calloc(e->gather.count, sizeof(*all->texts));
    if (!all->texts)
        return -ENOMEM;
    for (uint32_t i = 0; i < e->gather.count; i++) {
        const struct gather_result *result = &e->gather.results[i];
        char *text = malloc(result->bytes.len + 1);
        if (!text)
            return -ENOMEM;
        all->texts[all->text_count++] = text;
        buf_copy_out(&result->bytes, 0, text, result->bytes.len);
        struct reply_cursor at = reply_cursor_at((struct str){text, result->bytes.len});
        int64_t count;
        int err = reply_cursor_number(&at, '*', &count);
        for (int64_t k = 0; k < count && !err; k++) {
            struct entry *entry = add_entry(all);
            err = entry ? read_entry(&at, entry) : -ENOMEM;
            if (entry)
                entry->node_name = e->view->nodes[result->node].name;
        }
        if (err)
            return err;
    }
    return 0;
}

/* ---- writing ---- */

static int by_time(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->time != y->time ? (x->time < y->time ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static int newest_first(const void *a, const void *b)
{
    return by_time(b, a);
}

static void write_slow(struct entries *all, int64_t wanted, struct reply_out *o)
{
    size_t count = wanted >= 0 && (uint64_t)wanted < all->count ? (size_t)wanted : all->count;
    if (all->count > 0)
        qsort(all->v, all->count, sizeof(*all->v), newest_first);
    reply_array(o, count);
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = &all->v[i];
        reply_array(o, e->has_name ? SLOWLOG_FIELDS : SLOWLOG_FIELDS - 2);
        reply_raw(o, e->fields.p, e->fields.len);
        if (e->has_name)
            reply_bulk(o, str_of(e->node_name));
    }
}

static void write_history(struct entries *all, struct reply_out *o)
{
    if (all->count > 0)
        qsort(all->v, all->count, sizeof(*all->v), by_time);
    reply_array(o, all->count);
    for (size_t i = 0; i < all->count; i++) {
        reply_array(o, HISTORY_FIELDS);
        reply_int(o, all->v[i].time);
        reply_int(o, all->v[i].latest);
    }
}

/* One entry per event: its last time at any node, and the longest at any. */
static void write_latest(struct entries *all, struct reply_out *o)
{
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct entry *e = &all->v[i], *known = NULL;
        for (size_t k = 0; k < count && !known; k++)
            if (str_eq(all->v[k].event, e->event))
                known = &all->v[k];
        if (!known) {
            all->v[count++] = *e;
            continue;
        }
        if (e->time > known->time) {
            known->time = e->time;
            known->latest = e->latest;
        }
        known->most = e->most > known->most ? e->most : known->most;
    }
    reply_array(o, count);
    for (size_t i = 0; i < count; i++) {
        reply_array(o, LATEST_FIELDS);
        reply_bulk(o, all->v[i].event);
        reply_int(o, all->v[i].time);
        reply_int(o, all->v[i].latest);
        reply_int(o, all->v[i].most);
    }
}

static int merge_logs(struct request *r, struct reply_out *o)
{
    struct entries all = {0};
    bool slow = r->command->id == COMMAND_ID_SLOWLOG_GET;
    bool latest = r->command->id == COMMAND_ID_LATENCY_LATEST;
    if (everywhere_write_error(r, o))
        return 0;
    int err = read_all(r, &all, slow ? read_slow : latest ? read_latest : read_history);
    if (!err && slow)
        write_slow(&all, everywhere_of(r)->wanted, o);
    else if (!err && latest)
        write_latest(&all, o);
    else if (!err)
        write_history(&all, o);
    entries_fini(&all);
    return err ? err : o->err;
}

void node_logs_start(struct client *c, const struct command *command)
{
    static const struct gather_ops OPS = {.merge = merge_logs, .free = everywhere_free};
    struct worker *w = c->worker;
    int64_t wanted = SLOWLOG_DEFAULT;
    switch (command->id) {
    case COMMAND_ID_SLOWLOG_GET:
        if (w->args.count > 2)
            (void)!str_to_i64(args_str(&w->args, 2), &wanted); /* else nodes say what is wrong */
        break;
    case COMMAND_ID_LATENCY_LATEST:
    case COMMAND_ID_LATENCY_HISTORY:
        break;
    default:
        unreachable(); /* a row of the table says ALL_NODES and nobody answers it */
    }
    everywhere_ask(c, command, &OPS, NULL, wanted);
}
