/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/session.h"

#include "base/must.h"
#include "proxy/blocking.h"
#include "proxy/lanes.h"
#include "proxy/multi.h"
#include "proxy/private.h"
#include "proxy/router.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_ROOM_LEAST = 4 };

/* ---- life ---- */

struct session *session_open(struct client *c)
{
    if (c->session)
        return c->session;
    struct session *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->client = c;
    list_push_tail(&c->worker->sessions, &s->link);
    c->session = s;
    return s;
}

/* It is in the middle of nothing any more. */
void session_end_if_over(struct client *c)
{
    struct session *s = c->session;
    if (!s || s->multi || s->watching || s->current)
        return;
    c->session = NULL;
    list_remove(&s->link);
    must(!s->watch && !s->block && !s->transaction);
    free(s->watched.hash);
    free(s->waited.hash);
    free(s);
}

static void release(struct upstream **u, bool watches)
{
    if (*u)
        private_release(take_ptr(*u), watches);
}

void session_end_watch(struct session *s)
{
    release(&s->watch, true);
    s->watching = s->unwatched = false;
    s->watched.count = 0;
    s->bound = s->bound && s->multi;
}

static void end_multi(struct session *s)
{
    s->transaction = transaction_free(s->client->worker, s->transaction);
    s->multi = s->aborted = false;
    s->bound = s->bound && s->watching;
}

/* Its client waits for the answer to `r`. */
void session_wait_for(struct session *s, struct request *r)
{
    must(!s->current);
    s->current = r;
    s->client->waits = true;
}

static void stop_waiting(struct session *s)
{
    struct worker *w = s->client->worker;
    s->current = NULL;
    s->client->waits = false;
    if (!s->blocking)
        return;
    s->blocking = false;
    s->waited.count = 0;
    pace_client_waits(&w->pace); /* until the request is freed */
    metric_set(&w->metrics.clients_blocked, metric_get(&w->metrics.clients_blocked) - 1);
}

/* ---- answers ---- */

void session_say(struct client *c, const char *text)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    if (text[0] == '+')
        reply_simple(&o, text + 1);
    else
        reply_error(&o, "%s", text);
    client_reply_end(c, r, &o);
}

void session_say_failure(struct client *c, enum failure f, const char *node_name)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    failure_count(c->worker, f);
    failure_write(&o, f, node_name);
    client_reply_end(c, r, &o);
}

void session_say_limit(struct client *c)
{
    metric_add(&c->worker->metrics.transactions_limit, 1);
    session_abort(c);
    session_say(c, "ERR sumcache: limits.transaction_commands or transaction_bytes is reached");
}

/* ---- whose keys they are ---- */

bool session_is_owner(const struct worker *w, uint64_t hash, const char *node)
{
    return w->view && w->view->ring &&
           strcmp(w->upstreams.nodes[maglev_lookup(w->view->ring, hash)]->name, node) == 0;
}

static int keys_add(struct session_keys *k, uint64_t hash)
{
    if (k->count == k->room) {
        uint32_t room = k->room > 0 ? 2 * k->room : KEYS_ROOM_LEAST;
        uint64_t *hashes = reallocarray(k->hash, room, sizeof(*hashes));
        if (!hashes)
            return -ENOMEM;
        k->hash = hashes;
        k->room = room;
    }
    k->hash[k->count++] = hash;
    return 0;
}

/* The keys in w->keys. 0, -ENOMEM, or -E2BIG: limits.transaction_commands. */
int session_add_keys(struct worker *w, struct session_keys *k)
{
    if (k->count + w->keys.count > w->settings->transaction_commands_max)
        return -E2BIG;
    for (size_t i = 0; i < w->keys.count; i++) {
        struct str key = args_str(&w->args, w->keys.index[i]);
        if (!key.p && args_len(&w->args, w->keys.index[i]) > 0)
            return -ENOMEM;
        uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
        int err = keys_add(k, hash);
        if (err)
            return err;
        k->logged = k->logged || view_flags(w->view, hash) & VIEW_LOGGED;
    }
    return 0;
}

/* The owner of a key is not what it was, or will not be for long. */
static bool keys_have_moved(const struct worker *w, const struct session_keys *k, const char *node,
                            bool may_be_logged)
{
    for (uint32_t i = 0; i < k->count; i++) {
        uint8_t flags = w->view ? view_flags(w->view, k->hash[i]) : 0;
        if (flags & (VIEW_PARTING | VIEW_FENCED) || (flags & VIEW_LOGGED && !may_be_logged) ||
            !session_is_owner(w, k->hash[i], node))
            return true;
    }
    return false;
}

/* ---- between MULTI and EXEC ---- */

void session_abort(struct client *c)
{
    if (c->session && c->session->multi)
        c->session->aborted = true;
}

void session_discard(struct client *c)
{
    if (!c->session || !c->session->multi)
        return;
    end_multi(c->session);
    session_end_watch(c->session);
    session_end_if_over(c);
}

bool session_gathers(const struct client *c)
{
    return c->session && c->session->multi;
}

int64_t session_queued(const struct client *c)
{
    return session_gathers(c) ? (int64_t)c->session->transaction->count : -1;
}

/* ---- to a node ---- */

/* A part of `r` for this node, not in it yet. NULL: the request has failed. */
struct part *session_new_part(struct request *r, uint32_t node, size_t len)
{
    struct upstream_node *n = r->client->worker->upstreams.nodes[node];
    struct upstream *u = upstream_node_shared(n, r->lane);
    enum failure f = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (!p)
        request_fail(r, f == FAILURE_NONE ? FAILURE_MEMORY : f, n->name);
    return p;
}

/* Sends what is in `bytes`, which is emptied. May fail it. */
void session_send(struct request *r, struct part *p, struct buf *bytes)
{
    struct client *c = r->client;
    struct upstream *u = p->size == PART_PRIVATE ? NULL : upstream_node_shared(p->node, r->lane);
    size_t len = bytes->len;
    bool plain = u && lanes_is_plain(c, p->size) && (!p->writes || settle_allows(u));
    buf_move_all(plain ? upstream_target(u, p) : &p->bytes, bytes);
    r->part = p;
    part_enter(p, len);
    if (plain)
        upstream_enqueue(u, p);
    else
        lanes_place(p);
}

void session_forward(struct request *r, struct part *p, struct buf *from)
{
    struct worker *w = r->client->worker;
    struct buf bytes = {0};
    p->size = PART_PRIVATE;
    p->writes = !(r->command->flags & COMMAND_READ) && r->command->id != COMMAND_ID_WATCH;
    if (router_bytes(w, &bytes, from) != 0) {
        struct upstream_node *n = p->node;
        p->request = NULL;
        part_free(w, p);
        request_fail(r, FAILURE_MEMORY, n->name);
        return;
    }
    p->behind = w->behind_count;
    buf_move_all(&bytes, &w->behind);
    w->behind_count = 0;
    session_send(r, p, &bytes);
}

/* ---- the rest ---- */

void session_answer(struct client *c, const struct command *command)
{
    struct session *s = c->session;
    switch (command->id) {
    case COMMAND_ID_MULTI:
        multi_answer(c);
        return;
    case COMMAND_ID_EXEC:
        multi_answer_exec(c, command);
        return;
    case COMMAND_ID_WATCH:
        multi_answer_watch(c, command);
        return;
    case COMMAND_ID_DISCARD:
        if (!s || !s->multi) {
            session_say(c, "ERR DISCARD without MULTI");
            return;
        }
        session_discard(c);
        session_say(c, "+OK");
        return;
    case COMMAND_ID_UNWATCH:
        if (s) {
            session_end_watch(s);
            session_end_if_over(c);
        }
        session_say(c, "+OK");
        return;
    case COMMAND_ID_CLIENT_UNBLOCK:
        blocking_answer_unblock(c, command);
        return;
    default:
        unreachable(); /* a row of the table says SESSION and nobody answers it */
    }
}

void session_reset(struct client *c)
{
    if (!c->session)
        return;
    end_multi(c->session);
    session_end_watch(c->session);
    session_end_if_over(c);
}

static void lose_watch(struct session *s)
{
    s->unwatched = true;
    if (!s->current)
        release(&s->watch, true);
}

void session_proto_changes(struct client *c)
{
    if (c->session && c->session->watching)
        lose_watch(c->session);
}

void session_drop(struct client *c)
{
    struct session *s = c->session;
    if (!s)
        return;
    if (s->blocking) {
        struct part *p = request_part(s->current);
        if (p) {
            s->current->part = NULL;
            p->request = NULL;
            private_unblock(p, false);
        }
        release(&s->block, false);
    }
    if (s->current)
        stop_waiting(s);
    session_reset(c);
}

void session_drain(struct client *c)
{
    if (session_is_blocked(c))
        private_unblock(request_part(c->session->current), false);
}

void session_request_fails(struct request *r)
{
    struct session *s = r->client->session;
    if (s->current == r && r->command->id == COMMAND_ID_WATCH)
        s->unwatched = true;
}

void session_request_done(struct request *r)
{
    struct client *c = r->client;
    struct session *s = c->session;
    if (s->current != r)
        return;
    bool blocked = s->blocking;
    stop_waiting(s);
    if (blocked)
        release(&s->block, false);
    else if (r->command->id == COMMAND_ID_EXEC)
        session_end_watch(s);
    else if (s->unwatched)
        release(&s->watch, true);
    session_end_if_over(c);
}

void session_view_changed(struct worker *w)
{
    /* What is done here may end a session, but no other than the one that is looked at. */
    list_for_each_safe (link, &w->sessions) {
        struct session *s = list_item(link, struct session, link);
        if (s->watching && !s->unwatched && keys_have_moved(w, &s->watched, s->node, true))
            lose_watch(s);
        struct part *p = s->blocking ? request_part(s->current) : NULL;
        if (p && keys_have_moved(w, &s->waited, s->wait_node, s->waited.logged))
            private_unblock(p, false);
    }
}

/* ---- upstreams ---- */

struct upstream *session_upstream(const struct client *c, const struct part *p)
{
    must(c->session && c->session->current == p->request);
    return p->blocks ? c->session->block : c->session->watch;
}

void session_take_upstream(struct client *c, const struct part *p, struct upstream *u)
{
    struct session *s = c->session;
    if (p->blocks)
        s->block = u;
    else
        s->watch = u;
}

void session_upstream_lost(struct client *c, struct upstream *u)
{
    struct session *s = c->session;
    if (s->block == u)
        s->block = NULL;
    if (s->watch != u)
        return;
    s->watch = NULL;
    s->unwatched = true;
}
