/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/scan.h"

#include "proxy/all_nodes.h"
#include "proxy/gather.h"
#include "proxy/owned.h"
#include "proxy/scan_cursor.h"
#include "proxy/worker_internal.h"
#include "resp/reply_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct scan {
    struct gather gather;  /* of the nodes at one place: mostly one */
    struct view *view;     /* a reference: that by which they are asked */
    struct scan_cursor at; /* what they are asked for */
};

static struct scan *scan_of(const struct request *r)
{
    return container_of(r->gather, struct scan, gather);
}

static void free_scan(struct gather *g)
{
    struct scan *s = container_of(g, struct scan, gather);
    view_unref(s->view);
    free(s);
}

/* ---- places ---- */

static uint32_t place_of(const struct view_node *n)
{
    return scan_cursor_place(str_of(n->name));
}

/* The first place from `from` on at which there is a node, and how many there are. False: none. */
static bool find_place(const struct view *v, uint32_t from, uint32_t *ret_place,
                       uint32_t *ret_count)
{
    uint32_t count = 0, best = UINT32_MAX;
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (!gather_is_asked(&v->nodes[i]))
            continue;
        uint32_t place = place_of(&v->nodes[i]);
        if (place < from || place > best)
            continue;
        count = place == best ? count + 1 : 1;
        best = place;
    }
    *ret_place = best;
    *ret_count = count;
    return count > 0;
}

/* ---- asking ---- */

static int append_piece(void *owner, const void *bytes, size_t len)
{
    struct reply_out *o = owner;
    reply_raw(o, bytes, len);
    return o->err;
}

/* The client's request with another cursor. 0 or -ENOMEM. */
static int write_request(struct worker *w, struct gather_result *result, uint64_t cursor)
{
    const struct args *a = &w->args;
    struct reply_out o = {.to = &result->bytes, .chunks = &w->chunks, .proto = 2};
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, cursor);
    reply_array(&o, a->count);
    for (size_t i = 0; i < a->count && !o.err; i++) {
        if (i == 1)
            reply_bulk(&o, (struct str){text, (size_t)len});
        else
            (void)args_each_piece(a, i, append_piece, &o);
    }
    return o.err;
}

static void write_scanned(struct reply_out *o, struct scan_cursor next, size_t count)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, scan_cursor_number(next));
    reply_array(o, 2);
    reply_bulk(o, (struct str){text, (size_t)len});
    reply_array(o, count);
}

/* ---- answering ---- */

/* "*2 $cursor *keys" of one node. 0, -EBADMSG or -ENOMEM. */
static int take_scanned(struct worker *w, struct scan *s, struct gather_result *result,
                        struct reply_out *keys, size_t *count, uint64_t *ret_cursor)
{
    struct reply_reader in CLEANUP(reply_reader_fini);
    struct owned own;
    struct str cursor;
    int64_t two;
    reply_reader_init(&in, &result->bytes, &w->chunks);
    owned_init(&own, w, s->view, result->node);
    if (reply_read_number(&in, '*', &two) != 0 || two != 2 || reply_read_bulk(&in, &cursor) != 0 ||
        scan_cursor_parse_node(cursor, ret_cursor) != 0)
        return -EBADMSG;
    return owned_pass_on(&own, &in, keys, count);
}

static int merge(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct scan *s = scan_of(r);
    if (gather_write_error(&s->gather, o))
        return 0;
    struct buf body;
    buf_init(&body);
    struct reply_out keys = {.to = &body, .chunks = &w->chunks, .proto = r->proto};
    size_t count = 0;
    uint64_t next = 0;
    int err = 0;
    for (uint32_t i = 0; i < s->gather.count && !err; i++) {
        uint64_t cursor = 0;
        err = take_scanned(w, s, &s->gather.results[i], &keys, &count, &cursor);
        next = scan_cursor_lesser(next, cursor);
    }
    struct scan_cursor at = {s->at.place, next};
    uint32_t others;
    if (next == 0 && !(w->view && find_place(w->view, s->at.place + 1, &at.place, &others)))
        at.place = 0; /* the end */
    if (!err)
        write_scanned(o, at, count);
    buf_move_all(o->to, &body);
    return err ? err : o->err;
}

static const struct gather_ops OPS = {.merge = merge, .free = free_scan};

/* Asks all nodes at its place. 0 or -ENOMEM. */
static int ask(struct request *r, struct scan *s)
{
    struct worker *w = r->client->worker;
    for (uint32_t i = 0; i < s->view->node_count; i++) {
        const struct view_node *n = &s->view->nodes[i];
        if (!gather_is_asked(n) || place_of(n) != s->at.place)
            continue;
        int err = write_request(w, gather_add(&s->gather, i), s->at.node);
        if (err)
            return err;
    }
    gather_send(r);
    return 0;
}

void scan_start(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct scan_cursor at;
    struct str text = args_str(&w->args, 1);
    bool gathered = text.p || args_len(&w->args, 1) == 0; /* else it is far too long */
    if (!gathered || scan_cursor_parse(text, &at) != 0) {
        all_nodes_refuse(c, "ERR invalid cursor");
        return;
    }
    struct request *r = all_nodes_request(c, command);
    if (!r)
        return;
    uint32_t place, count;
    if (!find_place(w->view, at.place, &place, &count)) { /* the last ones have gone */
        struct reply_out o = request_reply(r);
        write_scanned(&o, (struct scan_cursor){0}, 0);
        if (o.err)
            client_close(c);
        else
            request_finish(r);
        return;
    }
    if (place != at.place)
        at = (struct scan_cursor){place, 0};
    struct scan *s = calloc(1, sizeof(*s));
    if (!s || gather_init(&s->gather, &OPS, count) != 0) {
        free(s);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    s->view = view_ref(w->view);
    s->at = at;
    s->gather.reply_max = w->settings->fanout_reply_max;
    gather_begin(&s->gather, r, true);
    gather_set_timeout(&s->gather, w, w->settings->fanout_timeout);
    if (ask(r, s) != 0)
        request_fail(r, FAILURE_MEMORY, NULL);
}
