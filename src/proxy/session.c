/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/session.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/local.h"
#include "proxy/private.h"
#include "proxy/router.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"
#include "ring/key_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_ROOM_LEAST = 4 };

/* ---- life ---- */

static struct session *session_of(struct client *c)
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
static void end_if_over(struct client *c)
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

static void end_watch(struct session *s)
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
static void wait_for(struct session *s, struct request *r)
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

static void say(struct client *c, const char *text)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    if (text[0] == '+')
        reply_simple(&o, text + 1);
    else
        reply_error(&o, "%s", text);
    client_reply_end(c, r, &o);
}

static void say_failure(struct client *c, enum failure f, const char *node_name)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    failure_count(c->worker, f);
    failure_write(&o, f, node_name);
    client_reply_end(c, r, &o);
}

static void say_limit(struct client *c)
{
    metric_add(&c->worker->metrics.transactions_limit, 1);
    session_abort(c);
    say(c, "ERR sumcache: limits.transaction_commands or transaction_bytes is reached");
}

/* ---- whose keys they are ---- */

static bool is_owner(const struct worker *w, uint64_t hash, const char *node)
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
static int keys_add_all(struct worker *w, struct session_keys *k)
{
    if (k->count + w->keys.count > w->settings->transaction_commands_max)
        return -E2BIG;
    for (size_t i = 0; i < w->keys.count; i++) {
        struct str key = args_str(&w->args, w->keys.index[i]);
        if (!key.p && args_len(&w->args, w->keys.index[i]) > 0)
            return -ENOMEM;
        uint64_t hash = key_hash(key, w->settings->hash_tags);
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
            !is_owner(w, k->hash[i], node))
            return true;
    }
    return false;
}

/* Do the keys in w->keys belong to the session's node? That is theirs from now on if it had none.
 * 0, -EXDEV, or -ENOMEM. */
static int bind_keys(struct worker *w, struct session *s)
{
    if (!w->view || !w->view->ring)
        return 0; /* EXEC will see */
    for (size_t i = 0; i < w->keys.count; i++) {
        struct str key = args_str(&w->args, w->keys.index[i]);
        if (!key.p && args_len(&w->args, w->keys.index[i]) > 0)
            return -ENOMEM;
        uint64_t hash = key_hash(key, w->settings->hash_tags);
        if (!s->bound) {
            const struct upstream_node *n = w->upstreams.nodes[maglev_lookup(w->view->ring, hash)];
            memcpy(s->node, n->name, sizeof(s->node));
            s->bound = true;
        } else if (!is_owner(w, hash, s->node)) {
            return -EXDEV;
        }
    }
    return 0;
}

static void refuse_crossing(struct client *c)
{
    metric_add(&c->worker->metrics.requests_crossslot, 1);
    session_abort(c);
    say(c, "CROSSSLOT Keys in request don't hash to the same node");
}

/* ---- between MULTI and EXEC ---- */

static void queue_keys(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    const char *refusal = NULL;
    int err = 0;
    if (command->way != COMMAND_LOCAL && command->keys != KEYS_NONE) {
        err = command_find_keys(command, &w->args, &w->keys, &refusal);
        if (err == -ENOTSUP) {
            router_refuse(c, "ERR %s", refusal);
            return;
        }
        /* What makes no sense has no keys; its node will say so. */
        if (!err)
            err = bind_keys(w, s);
        else if (err == -EINVAL)
            err = 0;
    }
    if (err == -EXDEV) {
        refuse_crossing(c);
        return;
    }
    if (!err)
        err = transaction_add(w, s->transaction, command, from);
    if (err == -E2BIG) {
        say_limit(c);
    } else if (err) {
        session_abort(c);
        say_failure(c, FAILURE_MEMORY, NULL);
    } else {
        say(c, "+QUEUED");
    }
}

bool session_takes(struct client *c, const struct command *command, struct buf *from)
{
    if (!c->session->multi)
        return false;
    bool stays = command->id == COMMAND_ID_HELLO || command->id == COMMAND_ID_CLIENT_UNBLOCK;
    switch ((enum command_way)command->way) {
    case COMMAND_REFUSE:
        return false;
    case COMMAND_SESSION:
        if (!stays && command->id != COMMAND_ID_UNWATCH)
            return false;
        break;
    case COMMAND_LOCAL:
        if (command->id == COMMAND_ID_QUIT || command->id == COMMAND_ID_RESET)
            return false;
        break;
    case COMMAND_FORWARD:
    case COMMAND_SPLIT:
        break;
    default:
        stays = true;
        break;
    }
    if (stays) {
        metric_add(&c->worker->metrics.requests_refused, 1);
        router_refuse(c, "ERR sumcache: '%s' is not offered inside MULTI", command->name);
    } else {
        queue_keys(c, command, from);
    }
    return true;
}

static void answer_multi(struct client *c)
{
    struct session *s = session_of(c);
    if (s && s->multi) {
        say(c, "ERR MULTI calls can not be nested");
        return;
    }
    if (s)
        s->transaction = transaction_new();
    if (!s || !s->transaction) {
        end_if_over(c);
        say_failure(c, FAILURE_MEMORY, NULL);
        return;
    }
    s->multi = true;
    say(c, "+OK");
}

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
    end_watch(c->session);
    end_if_over(c);
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
static struct part *new_part(struct request *r, uint32_t node, size_t len)
{
    struct upstream_node *n = r->client->worker->upstreams.nodes[node];
    struct upstream *u = upstream_node_shared(n, r->proto);
    enum failure f = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (!p)
        request_fail(r, f == FAILURE_NONE ? FAILURE_MEMORY : f, n->name);
    return p;
}

/* Sends what is in `bytes`, which is emptied. May fail it. */
static void send_part(struct request *r, struct part *p, struct buf *bytes)
{
    struct client *c = r->client;
    struct upstream *u = p->size == PART_PRIVATE ? NULL : upstream_node_shared(p->node, r->proto);
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

static void forward_private(struct request *r, struct part *p, struct buf *from)
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
    send_part(r, p, &bytes);
}

/* ---- EXEC ---- */

static void send_transaction(struct client *c, struct request *r, struct transaction *t,
                             uint32_t node)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    struct buf bytes = {0};
    struct part *p = new_part(r, node, t->sent.len);
    if (!p)
        return;
    struct upstream_node *n = p->node;
    p->swallow = 1 + t->sent_count;
    p->writes = t->writes;
    p->size = s->watching                             ? PART_PRIVATE
              : t->sent.len > w->settings->bulk_above ? PART_LARGE
                                                      : PART_SMALL;
    if (transaction_write(w, t, &bytes) != 0) {
        p->request = NULL;
        part_free(w, p);
        request_fail(r, FAILURE_MEMORY, n->name);
        return;
    }
    metric_add(&w->metrics.transactions, 1);
    if (t->count == t->sent_count) /* the node's reply is the answer */
        r->transaction = transaction_free(w, t);
    send_part(r, p, &bytes);
}

/* There is something to send. */
static void start_exec(struct client *c, const struct command *command, struct transaction *t)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    struct request *r = request_new(c, command, 1);
    if (!r) {
        transaction_free(w, t);
        client_close(c);
        return;
    }
    r->transaction = t;
    /* What we answer ourselves of it is done with the rest, so what comes behind it waits, too. */
    if (s->watching || t->count > t->sent_count)
        wait_for(s, r);
    uint32_t node = 0;
    const char *blame = NULL;
    enum failure f = transaction_check(w, t, s->bound ? s->node : NULL, &node, &blame);
    if (f == FAILURE_NONE)
        send_transaction(c, r, t, node);
    else
        request_fail(r, f, blame);
}

static void answer_exec(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    if (!s || !s->multi) {
        say(c, "ERR EXEC without MULTI");
        return;
    }
    bool aborted = s->aborted, sends = s->watching || s->transaction->sent_count > 0;
    struct transaction *t = take_ptr(s->transaction);
    s->multi = s->aborted = false;
    if (aborted || s->unwatched) {
        transaction_free(w, t);
        end_watch(s);
        say_failure(c, aborted ? FAILURE_ABORTED : FAILURE_UNWATCHED, NULL);
    } else if (sends) {
        start_exec(c, command, t);
    } else {
        struct request *r = request_new(c, command, 1);
        if (r) {
            r->transaction = t;
            transaction_answer(r);
        } else {
            transaction_free(w, t);
            client_close(c);
        }
    }
    s = c->session; /* it may have ended, and with it the client */
    if (s && !s->current) {
        s->bound = false;
        end_if_over(c);
    }
}

/* ---- WATCH ---- */

/* The keys in w->keys: may they be watched? */
static int add_watched(struct client *c, uint32_t *ret_node)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    uint32_t first = s->watched.count;
    int err = bind_keys(w, s);
    if (!err)
        err = keys_add_all(w, &s->watched);
    for (uint32_t i = first; !err && i < s->watched.count; i++)
        if (view_flags(w->view, s->watched.hash[i]) & (VIEW_PARTING | VIEW_FENCED))
            err = -EBUSY;
    if (err)
        s->watched.count = first;
    else
        *ret_node = maglev_lookup(w->view->ring, s->watched.hash[first]);
    return err;
}

static void answer_watch(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    struct session *s = session_of(c);
    const char *name = NULL;
    uint32_t node = 0;
    if (s && s->multi) {
        say(c, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (s && s->unwatched) { /* nothing more can be gained: EXEC will answer nil */
        say(c, "+OK");
        return;
    }
    if (!w->view || !w->view->ring) {
        enum failure f = router_no_node(w, &name);
        say_failure(c, f, name);
        end_if_over(c);
        return;
    }
    const char *refusal;
    int err = s ? command_find_keys(command, &w->args, &w->keys, &refusal) : -ENOMEM;
    if (!err)
        err = add_watched(c, &node);
    if (!err) {
        s->watching = true;
        struct request *r = request_new(c, command, w->args.count);
        if (!r) {
            client_close(c);
            return;
        }
        wait_for(s, r);
        struct part *p = new_part(r, node, w->args.frame_len);
        if (p)
            forward_private(r, p, from);
        return;
    }
    if (s && !s->watching)
        s->bound = false;
    if (err == -EXDEV)
        refuse_crossing(c);
    else if (err == -E2BIG)
        say_limit(c);
    else
        say_failure(c, err == -EBUSY ? FAILURE_MOVING : FAILURE_MEMORY, NULL);
    end_if_over(c);
}

/* ---- commands that block ---- */

void session_block(struct client *c, const struct command *command, uint32_t node, bool with_keys,
                   uint64_t block_time, struct buf *from)
{
    struct worker *w = c->worker;
    struct session *s = session_of(c);
    int err = s ? 0 : -ENOMEM;
    if (!err && with_keys)
        err = keys_add_all(w, &s->waited);
    if (err) {
        if (s) {
            s->waited.count = 0;
            end_if_over(c);
        }
        if (err == -E2BIG)
            say_limit(c);
        else
            say_failure(c, FAILURE_MEMORY, NULL);
        return;
    }
    struct request *r = request_new(c, command, w->args.count);
    if (!r) {
        client_close(c);
        return;
    }
    memcpy(s->wait_node, w->upstreams.nodes[node]->name, sizeof(s->wait_node));
    wait_for(s, r);
    s->blocking = true;
    metric_add(&w->metrics.clients_blocked, 1);
    pace_client_served(&w->pace); /* it waits for others, not for us */
    struct part *p = new_part(r, node, w->args.frame_len);
    if (!p)
        return;
    p->blocks = true;
    p->block_time = block_time;
    forward_private(r, p, from);
}

static struct client *find_client(struct worker *w, uint64_t id)
{
    list_for_each (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (c->id == id)
            return c;
    }
    return NULL;
}

static void answer_unblock(struct client *c)
{
    struct worker *w = c->worker;
    int64_t id;
    bool kick = false;
    if (w->args.count > 4) {
        say(c, "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT "
               "HELP.");
        return;
    }
    if (w->args.count == 4) {
        kick = str_eq_nocase(args_str(&w->args, 3), STR("error"));
        if (!kick && !str_eq_nocase(args_str(&w->args, 3), STR("timeout"))) {
            say(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (str_to_i64(args_str(&w->args, 2), &id) != 0) {
        say(c, "ERR value is not an integer or out of range");
        return;
    }
    struct client *who = find_client(w, (uint64_t)id);
    bool blocked = who && session_is_blocked(who);
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    reply_int(&o, blocked);
    client_reply_end(c, r, &o);
    if (blocked)
        private_unblock(who->session->current->part, kick);
}

/* ---- the rest ---- */

void session_answer(struct client *c, const struct command *command)
{
    struct session *s = c->session;
    switch (command->id) {
    case COMMAND_ID_MULTI:
        answer_multi(c);
        return;
    case COMMAND_ID_EXEC:
        answer_exec(c, command);
        return;
    case COMMAND_ID_WATCH:
        answer_watch(c, command, NULL);
        return;
    case COMMAND_ID_DISCARD:
        if (!s || !s->multi) {
            say(c, "ERR DISCARD without MULTI");
            return;
        }
        session_discard(c);
        say(c, "+OK");
        return;
    case COMMAND_ID_UNWATCH:
        if (s) {
            end_watch(s);
            end_if_over(c);
        }
        say(c, "+OK");
        return;
    case COMMAND_ID_CLIENT_UNBLOCK:
        answer_unblock(c);
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
    end_watch(c->session);
    end_if_over(c);
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
        struct part *p = s->current->part;
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
        private_unblock(c->session->current->part, false);
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
        end_watch(s);
    else if (s->unwatched)
        release(&s->watch, true);
    end_if_over(c);
}

void session_view_changed(struct worker *w)
{
    /* What is done here may end a session, but no other than the one that is looked at. */
    list_for_each_safe (link, &w->sessions) {
        struct session *s = list_item(link, struct session, link);
        if (s->watching && !s->unwatched && keys_have_moved(w, &s->watched, s->node, true))
            lose_watch(s);
        if (s->blocking && s->current->part &&
            keys_have_moved(w, &s->waited, s->wait_node, s->waited.logged))
            private_unblock(s->current->part, false);
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
