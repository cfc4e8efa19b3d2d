/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/channels.h"

#include "base/must.h"
#include "proxy/all_nodes.h"
#include "proxy/gather.h"
#include "proxy/worker_internal.h"
#include "resp/reply_read.h"
#include "ring/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct channels {
    struct gather gather;
    struct view *view; /* a reference: that by which nodes are asked */
    size_t named;      /* NUMSUB: channels that were asked for */
};

static struct channels *channels_of(const struct request *r)
{
    return container_of(r->gather, struct channels, gather);
}

static void free_channels(struct gather *g)
{
    struct channels *n = container_of(g, struct channels, gather);
    view_unref(n->view);
    free(n);
}

static bool is_owner(const struct request *r, uint32_t node, struct str name)
{
    const struct view *v = channels_of(r)->view;
    const struct proxy_settings *s = r->client->worker->settings;
    return v->ring && maglev_lookup(v->ring, layout_hash(s->layout, name, s->hash_tags)) == node;
}

/* ---- CHANNELS ---- */

/* Passes on the channels of one node that are its own. */
static int pass_on(const struct request *r, struct gather_result *result, struct reply_out *to,
                   size_t *count)
{
    struct reply_reader in CLEANUP(reply_reader_fini);
    int64_t left;
    reply_reader_init(&in, &result->bytes, &r->client->worker->chunks);
    if (reply_read_number(&in, '*', &left) != 0)
        return -EBADMSG;
    for (; left > 0 && !to->err; left--) {
        struct str name;
        int err = reply_read_bulk(&in, &name);
        if (err)
            return err == -ENOMEM ? -ENOMEM : -EBADMSG;
        if (!is_owner(r, result->node, name))
            continue;
        reply_bulk(to, name);
        (*count)++;
    }
    return to->err;
}

static int merge_channels(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct channels *n = channels_of(r);
    if (gather_write_error(&n->gather, o))
        return 0;
    struct buf body;
    buf_init(&body);
    struct reply_out names = {.to = &body, .chunks = &w->chunks, .proto = r->proto};
    size_t count = 0;
    int err = 0;
    for (uint32_t i = 0; i < n->gather.count && !err; i++)
        err = pass_on(r, &n->gather.results[i], &names, &count);
    if (!err)
        reply_array(o, count);
    buf_move_all(o->to, &body);
    return err ? err : o->err;
}

/* ---- NUMSUB ---- */

/* One channel, of which each node tells in its turn: the owner's number counts. */
static int merge_one(const struct request *r, struct reply_reader *in, struct reply_out *o)
{
    const struct gather *g = &channels_of(r)->gather;
    int64_t count = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        struct str name;
        int64_t subscribers;
        int err = reply_read_bulk(&in[i], &name);
        if (err)
            return err == -ENOMEM ? -ENOMEM : -EBADMSG;
        bool owner = is_owner(r, g->results[i].node, name);
        if (i == 0)
            reply_bulk(o, name);
        if (reply_read_number(&in[i], ':', &subscribers) != 0)
            return -EBADMSG;
        if (owner)
            count = subscribers;
    }
    reply_int(o, count);
    return o->err;
}

static int merge_numbers(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct channels *n = channels_of(r);
    if (gather_write_error(&n->gather, o))
        return 0;
    struct reply_reader *in = calloc(n->gather.count + 1, sizeof(*in));
    int err = in ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < n->gather.count && !err; i++) {
        int64_t elements;
        reply_reader_init(&in[i], &n->gather.results[i].bytes, &w->chunks);
        if (reply_read_number(&in[i], '*', &elements) != 0 ||
            (uint64_t)elements != 2 * (uint64_t)n->named)
            err = -EBADMSG;
    }
    if (!err)
        reply_array(o, 2 * n->named);
    for (size_t i = 0; i < n->named && !err; i++)
        err = merge_one(r, in, o);
    for (uint32_t i = 0; in && i < n->gather.count; i++)
        if (in[i].from)
            reply_reader_fini(&in[i]);
    free(in);
    return err ? err : o->err;
}

/* ---- NUMPAT ---- */

/* Each node has all patterns, so the most that one has is how many there are. */
static int merge_numpat(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct channels *n = channels_of(r);
    if (gather_write_error(&n->gather, o))
        return 0;
    int64_t most = 0;
    for (uint32_t i = 0; i < n->gather.count; i++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        int64_t count;
        reply_reader_init(&in, &n->gather.results[i].bytes, &w->chunks);
        if (reply_read_number(&in, ':', &count) != 0)
            return -EBADMSG;
        if (count > most)
            most = count;
    }
    reply_int(o, most);
    return o->err;
}

/* ---- asking ---- */

static const struct gather_ops *ops_of(const struct command *command)
{
    static const struct gather_ops CHANNELS = {.merge = merge_channels, .free = free_channels},
                                   NUMBERS = {.merge = merge_numbers, .free = free_channels},
                                   NUMPAT = {.merge = merge_numpat, .free = free_channels};
    switch (command->id) {
    case COMMAND_ID_PUBSUB_CHANNELS:
    case COMMAND_ID_PUBSUB_SHARDCHANNELS:
        return &CHANNELS;
    case COMMAND_ID_PUBSUB_NUMSUB:
    case COMMAND_ID_PUBSUB_SHARDNUMSUB:
        return &NUMBERS;
    case COMMAND_ID_PUBSUB_NUMPAT:
        return &NUMPAT;
    default:
        unreachable(); /* a row of the table says PUBSUB and nobody answers it */
    }
}

/* The present request's words. NULL: out of memory. To be freed. */
static struct str *take_words(struct worker *w)
{
    struct str *words = calloc(w->args.count, sizeof(*words));
    for (size_t i = 0; words && i < w->args.count; i++) {
        words[i] = args_str(&w->args, i);
        if (words[i].p || args_len(&w->args, i) == 0)
            continue;
        free(words);
        return NULL;
    }
    return words;
}

/* 0 or -ENOMEM. */
static int ask_all(struct worker *w, struct channels *n, bool large)
{
    struct str *words CLEANUP(freep) = take_words(w);
    int err = words ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < n->view->node_count && !err; i++) {
        if (!gather_is_asked(&n->view->nodes[i]))
            continue;
        err = gather_add_words(&n->gather, w, i, words, w->args.count);
        if (!err)
            n->gather.results[n->gather.count - 1].large = large;
    }
    return err;
}

void channels_start(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    const struct gather_ops *ops = ops_of(command);
    bool lists = ops->merge == merge_channels;
    if (lists && w->args.count > 3) { /* its arity in the table is an open one, as Redis has it */
        struct str sub = args_str(&w->args, 1);
        char text[REPLY_ERROR_MAX];
        snprintf(text, sizeof(text),
                 "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
                 (int)sub.len, sub.p);
        all_nodes_refuse(c, text);
        return;
    }
    if (w->args.frame_len > w->settings->split_request_max) {
        metric_add(&w->metrics.requests_split_limit, 1);
        all_nodes_refuse(c, "ERR sumcache: request is longer than limits.max_split_request");
        return;
    }
    struct request *r = all_nodes_request(c, command);
    struct channels *n = r ? calloc(1, sizeof(*n)) : NULL;
    if (!r)
        return;
    if (!n || gather_init(&n->gather, ops, w->view->node_count) != 0) {
        free(n);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    n->view = view_ref(w->view);
    n->named = w->args.count - 2;
    n->gather.reply_max = w->settings->fanout_reply_max;
    gather_begin(&n->gather, r, false);
    if (ask_all(w, n, lists) == 0)
        gather_send(r);
    else
        request_fail(r, FAILURE_MEMORY, NULL);
}
