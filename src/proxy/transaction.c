/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/transaction.h"

#include "base/must.h"
#include "proxy/local.h"
#include "proxy/router.h"
#include "proxy/rules.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_ROOM_LEAST = 8 };

#define NO_NODE UINT32_MAX

static const char MULTI[] = "*1\r\n$5\r\nMULTI\r\n";
static const char EXEC[] = "*1\r\n$4\r\nEXEC\r\n";

struct transaction *transaction_new(void)
{
    return calloc(1, sizeof(struct transaction));
}

struct transaction *transaction_free(struct worker *w, struct transaction *t)
{
    if (!t)
        return NULL;
    buf_clear(&t->sent, &w->chunks);
    buf_clear(&t->local, &w->chunks);
    free(t->queue);
    free(t);
    return NULL;
}

/* The present request. By copy in small chunks: what is queued may stay for long. 0 or -ENOMEM. */
static int keep(struct worker *w, struct buf *to, struct buf *from)
{
    const struct args *a = &w->args;
    size_t before = to->len;
    if (from && a->frame_len > BUF_COPY_MAX)
        return router_bytes(w, to, from);
    for (size_t i = 0; i < a->iov_count; i++) {
        int err = buf_append_slowly(to, &w->chunks, a->iov[i].iov_base, a->iov[i].iov_len);
        if (err) {
            buf_truncate(to, &w->chunks, before);
            return err;
        }
    }
    return 0;
}

int transaction_add(struct worker *w, struct transaction *t, const struct command *command,
                    struct buf *from)
{
    const struct proxy_settings *s = w->settings;
    size_t len = w->args.frame_len;
    if (t->count >= s->transaction_commands_max ||
        t->sent.len + t->local.len + len > s->transaction_bytes_max)
        return -E2BIG;
    if (t->count == t->room) {
        uint32_t room = t->room > 0 ? 2 * t->room : QUEUE_ROOM_LEAST;
        struct queued *queue = reallocarray(t->queue, room, sizeof(*queue));
        if (!queue)
            return -ENOMEM;
        t->queue = queue;
        t->room = room;
    }
    bool local = command->way == COMMAND_LOCAL;
    int err = keep(w, local ? &t->local : &t->sent, from);
    if (err)
        return err;
    t->queue[t->count++] =
        (struct queued){.command = command, .len = (uint32_t)len, .local = local};
    t->sent_count += !local;
    bool publishes = command->way == COMMAND_PUBSUB;
    t->published += publishes;
    t->writes = t->writes || (!local && !publishes && !(command->flags & COMMAND_READ));
    return 0;
}

/* ---- reading what is queued, one request after the other ---- */

struct reader {
    struct worker *w;
    struct iovec *iov; /* what is left of worker.iov */
    struct iovec rest; /* of the piece in which the present request ends … */
    size_t last;       /* … which is this one */
    bool began;
};

/* 0 or -ENOMEM. `b` must not change meanwhile. */
static int reader_init(struct reader *rd, struct worker *w, const struct buf *b)
{
    size_t pieces = buf_pieces(b);
    if (pieces > w->iov_room) {
        struct iovec *iov = reallocarray(w->iov, pieces, sizeof(*iov));
        if (!iov)
            return -ENOMEM;
        w->iov = iov;
        w->iov_room = pieces;
    }
    buf_iov(b, 0, w->iov, (int)pieces);
    *rd = (struct reader){.w = w, .iov = w->iov};
    return 0;
}

/* The next request, of `len` bytes, is in w->args afterwards. 0 or -ENOMEM. */
static int reader_next(struct reader *rd, size_t len)
{
    if (rd->began) {
        rd->iov += rd->last;
        rd->iov[0] = rd->rest;
        rd->iov += rd->rest.iov_len == 0;
    }
    rd->began = true;
    rd->last = 0;
    while (rd->iov[rd->last].iov_len < len)
        len -= rd->iov[rd->last++].iov_len;
    struct iovec *end = &rd->iov[rd->last];
    rd->rest = (struct iovec){(char *)end->iov_base + len, end->iov_len - len};
    end->iov_len = len;
    return args_parse(&rd->w->args, rd->iov, rd->last + 1);
}

/* ---- at EXEC ---- */

/* The first to name a node decides, where none was known when it was queued. */
static enum failure check_node(const struct worker *w, uint32_t owner, uint32_t *node)
{
    if (owner >= w->upstreams.count)
        return FAILURE_ABORTED;
    if (*node == NO_NODE)
        *node = owner;
    return *node == owner ? FAILURE_NONE : FAILURE_ABORTED;
}

/* Does the channel that the present request publishes to? */
static enum failure check_channel(struct worker *w, uint32_t *node)
{
    struct str name = args_str(&w->args, 1);
    if (!name.p && args_len(&w->args, 1) > 0)
        return FAILURE_MEMORY;
    uint32_t owner =
        pubsub_owner(&w->pubsub, layout_hash(w->settings->layout, name, w->settings->hash_tags));
    return check_node(w, owner, node);
}

/* The present request: do all its keys belong to *node, and may it be sent? */
static enum failure check_one(struct client *c, struct slow_key *all, const struct command *command,
                              uint32_t *node)
{
    struct worker *w = c->worker;
    const char *refusal = NULL;
    if (command->way == COMMAND_PUBSUB)
        return check_channel(w, node);
    if (command->keys == KEYS_NONE)
        return FAILURE_NONE;
    int err = command_find_keys(command, &w->args, &w->keys, &refusal);
    if (err == -EINVAL || (!err && w->keys.count == 0))
        return FAILURE_NONE;
    if (!err)
        slow_key_add(w, all, w->keys.count);
    if (!err && w->settings->policy.count > 0)
        err = rules_note_behind(w, command);
    w->keys.count += err ? 0 : w->keys.pinned; /* as router_find_keys() */
    int different = err ? err : router_find_nodes(c, command);
    if (different == -ENOMEM)
        return FAILURE_MEMORY;
    return different == 1 ? check_node(w, w->node_of_key[0], node) : FAILURE_ABORTED;
}

static bool find_node(const struct worker *w, const char *name, uint32_t *ret_node)
{
    for (uint32_t i = 0; i < w->upstreams.count; i++) {
        if (strcmp(w->upstreams.nodes[i]->name, name) != 0)
            continue;
        *ret_node = i;
        return true;
    }
    return false;
}

enum failure transaction_check(struct client *c, struct transaction *t, const char *node_name,
                               uint32_t *ret_node, const char **ret_blame)
{
    struct worker *w = c->worker;
    struct reader rd;
    if (!w->view || !w->view->ring)
        return router_no_node(w, ret_blame);
    uint32_t node = NO_NODE;
    if (node_name && !find_node(w, node_name, &node))
        return FAILURE_ABORTED;
    if (reader_init(&rd, w, &t->sent) != 0)
        return FAILURE_MEMORY;
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->queue[i].local)
            continue;
        if (reader_next(&rd, t->queue[i].len) != 0)
            return FAILURE_MEMORY;
        enum failure f = check_one(c, &t->key, t->queue[i].command, &node);
        if (f != FAILURE_NONE)
            return f;
    }
    *ret_node = node == NO_NODE ? router_node_for_keyless(w) : node;
    return FAILURE_NONE;
}

int transaction_write(struct worker *w, struct transaction *t, struct buf *to)
{
    int err = buf_append_shared(to, &w->chunks, MULTI, sizeof(MULTI) - 1);
    if (!err && t->sent.len <= BUF_COPY_MAX)
        err = buf_move(to, &t->sent, &w->chunks, t->sent.len);
    else
        buf_move_all(to, &t->sent);
    if (!err)
        err = buf_append_shared(to, &w->chunks, EXEC, sizeof(EXEC) - 1);
    if (err)
        buf_clear(to, &w->chunks);
    return err;
}

/* ---- the answer ---- */

/* The length of the first element in `b`; 0: it is not a whole one. */
static size_t element_len(struct worker *w, const struct buf *b)
{
    struct frame frame;
    frame_init(&frame, FRAME_REPLY, &w->reply_limits);
    size_t at = 0;
    while (at < b->len) {
        struct iovec piece;
        size_t used;
        buf_iov(b, at, &piece, 1);
        enum frame_result result = frame_feed(&frame, piece.iov_base, piece.iov_len, &used);
        at += used;
        if (result == FRAME_READY)
            return at;
        if (result == FRAME_BAD)
            return 0;
    }
    return 0;
}

/* All in their order: those of the node from the front of `reply`. 0, -ENOMEM or -EBADMSG. */
static int write_all(struct request *r, struct buf *reply, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct transaction *t = r->transaction;
    struct reader rd;
    int err = reader_init(&rd, w, &t->local);
    if (err)
        return err;
    reply_array(o, t->count);
    for (uint32_t i = 0; i < t->count && !o->err; i++) {
        const struct queued *q = &t->queue[i];
        if (q->local) {
            err = reader_next(&rd, q->len);
            if (err)
                return err;
            local_write(r->client, q->command, o);
            continue;
        }
        size_t len = element_len(w, reply);
        if (len == 0)
            return -EBADMSG;
        o->err = buf_move(o->to, reply, &w->chunks, len);
    }
    return o->err;
}

static void write_answer(struct request *r, struct buf *reply)
{
    struct worker *w = r->client->worker;
    struct reply_out o = request_reply(r);
    size_t before = o.to->len;
    int err = write_all(r, reply, &o);
    buf_clear(reply, &w->chunks);
    if (!err) {
        r->given = o.to->len - before;
        request_finish(r);
        return;
    }
    buf_truncate(o.to, &w->chunks, before);
    request_fail(r, err == -ENOMEM ? FAILURE_MEMORY : FAILURE_BAD_REPLY, "(of EXEC)");
}

void transaction_answer(struct request *r)
{
    struct buf nothing = {0};
    write_answer(r, &nothing);
}

void transaction_answered(struct request *r, struct buf *head, const void *tail, size_t tail_len,
                          uint8_t type)
{
    struct worker *w = r->client->worker;
    struct buf reply = {0};
    char header[32];
    int64_t count = -1;
    buf_move_all(&reply, head);
    if (buf_append(&reply, &w->chunks, tail, tail_len) != 0) {
        buf_clear(&reply, &w->chunks);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    size_t len = reply.len < sizeof(header) ? reply.len : sizeof(header);
    buf_copy_out(&reply, 0, header, len);
    const char *end = memchr(header, '\r', len);
    if (type != '*' || !end ||
        str_to_i64((struct str){header + 1, (size_t)(end - header - 1)}, &count) != 0 ||
        count != (int64_t)r->transaction->sent_count) { /* nil, or an error: nothing was done */
        struct reply_out o = request_reply(r);
        r->given = reply.len;
        buf_move_all(o.to, &reply);
        request_finish(r);
        return;
    }
    buf_consume(&reply, &w->chunks, (size_t)(end - header) + 2);
    write_answer(r, &reply);
}
