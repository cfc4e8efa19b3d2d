/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/multi.h"

#include "proxy/client_commands.h"
#include "proxy/databases.h"
#include "proxy/lanes.h"
#include "proxy/router.h"
#include "proxy/rules.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <string.h>

/* ---- whose keys they are ---- */

/* Is this the session's node? It is from now on if it had none. 0 or -EXDEV. */
static int bind_node(struct worker *w, struct session *s, uint32_t node)
{
    const char *name = w->upstreams.nodes[node]->name;
    if (s->bound)
        return strcmp(name, s->node) == 0 ? 0 : -EXDEV;
    memcpy(s->node, name, sizeof(s->node));
    s->bound = true;
    return 0;
}

/* Do the keys in w->keys belong to the session's node? 0, -EXDEV, or -ENOMEM. */
static int bind_keys(struct worker *w, struct session *s)
{
    if (!w->view || !w->view->ring)
        return 0; /* EXEC will see */
    for (size_t i = 0; i < w->keys.count; i++) {
        struct str key = args_str(&w->args, w->keys.index[i]);
        if (!key.p && args_len(&w->args, w->keys.index[i]) > 0)
            return -ENOMEM;
        uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
        int err = bind_node(w, s, maglev_lookup(w->view->ring, hash));
        if (err)
            return err;
    }
    return 0;
}

/* The same for the channel that the present request publishes to. */
static int bind_channel(struct worker *w, struct session *s)
{
    struct str name = args_str(&w->args, 1);
    if (!name.p && args_len(&w->args, 1) > 0)
        return -ENOMEM;
    if (!w->view || !w->view->ring)
        return 0; /* EXEC will see */
    return bind_node(
        w, s,
        pubsub_owner(&w->pubsub, layout_hash(w->settings->layout, name, w->settings->hash_tags)));
}

static void refuse_crossing(struct client *c)
{
    metric_add(&c->worker->metrics.requests_crossslot, 1);
    session_abort(c);
    session_say(c, "CROSSSLOT Keys in request don't hash to the same node");
}

/* ---- between MULTI and EXEC ---- */

static void queue_keys(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    int err = 0;
    if (command->way == COMMAND_PUBSUB) {
        err = bind_channel(w, s);
    } else if (command->way != COMMAND_LOCAL && command->keys != KEYS_NONE) {
        err = router_find_keys(c, command);
        rules_forget_behind(w); /* it is noted anew at EXEC */
        if (err == -ECANCELED)
            return;
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
        session_say_limit(c);
    } else if (err) {
        session_abort(c);
        session_say_failure(c, FAILURE_MEMORY, NULL);
    } else {
        session_say(c, "+QUEUED");
    }
}

bool multi_takes(struct client *c, const struct command *command, struct buf *from)
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
        /* A transaction is one part, and each database has upstreams of its own. */
        stays = stays || client_commands_asks(command) || databases_changes(c, command);
        break;
    case COMMAND_FORWARD:
    case COMMAND_SPLIT:
        break;
    case COMMAND_PUBSUB: /* a confirmation is no element of an answer */
        stays = command->id != COMMAND_ID_PUBLISH && command->id != COMMAND_ID_SPUBLISH;
        break;
    case COMMAND_TAGS:
    case COMMAND_ALL_NODES:
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

void multi_answer(struct client *c)
{
    struct session *s = session_open(c);
    if (s && s->multi) {
        session_say(c, "ERR MULTI calls can not be nested");
        return;
    }
    if (s)
        s->transaction = transaction_new();
    if (!s || !s->transaction) {
        session_end_if_over(c);
        session_say_failure(c, FAILURE_MEMORY, NULL);
        return;
    }
    s->multi = true;
    session_say(c, "+OK");
}

/* ---- EXEC ---- */

static void send_transaction(struct client *c, struct request *r, struct transaction *t,
                             uint32_t node)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    struct buf bytes = {0};
    struct part *p = session_new_part(r, node, t->sent.len);
    if (!p) {
        rules_forget_behind(w);
        return;
    }
    struct upstream_node *n = p->node;
    p->swallow = 1 + t->sent_count;
    p->writes = t->writes;
    p->noted = true;
    p->key = t->key;
    p->size = s->watching                             ? PART_PRIVATE
              : t->sent.len > w->settings->bulk_above ? PART_LARGE
                                                      : PART_SMALL;
    if (transaction_write(w, t, &bytes) != 0) {
        rules_forget_behind(w);
        p->request = NULL;
        part_free(w, p);
        request_fail(r, FAILURE_MEMORY, n->name);
        return;
    }
    p->behind = w->behind_count;
    buf_move_all(&bytes, &w->behind);
    w->behind_count = 0;
    metric_add(&w->metrics.transactions, 1);
    metric_add(&w->metrics.messages_published, t->published);
    if (t->count == t->sent_count) /* the node's reply is the answer */
        r->transaction = transaction_free(w, t);
    session_send(r, p, &bytes);
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
        session_wait_for(s, r);
    uint32_t node = 0;
    const char *blame = NULL;
    enum failure f = transaction_check(c, t, s->bound ? s->node : NULL, &node, &blame);
    if (f == FAILURE_NONE) {
        send_transaction(c, r, t, node);
    } else {
        rules_forget_behind(w);
        request_fail(r, f, blame);
    }
}

void multi_answer_exec(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct session *s = c->session;
    if (!s || !s->multi) {
        session_say(c, "ERR EXEC without MULTI");
        return;
    }
    bool aborted = s->aborted, sends = s->watching || s->transaction->sent_count > 0;
    struct transaction *t = take_ptr(s->transaction);
    s->multi = s->aborted = false;
    if (aborted || s->unwatched) {
        transaction_free(w, t);
        session_end_watch(s);
        session_say_failure(c, aborted ? FAILURE_ABORTED : FAILURE_UNWATCHED, NULL);
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
        session_end_if_over(c);
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
        err = session_add_keys(w, &s->watched);
    for (uint32_t i = first; !err && i < s->watched.count; i++)
        if (view_flags(w->view, s->watched.hash[i]) & (VIEW_PARTING | VIEW_FENCED))
            err = -EBUSY;
    if (err)
        s->watched.count = first;
    else
        *ret_node = maglev_lookup(w->view->ring, s->watched.hash[first]);
    return err;
}

void multi_answer_watch(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct session *s = session_open(c);
    const char *name = NULL;
    uint32_t node = 0;
    if (s && s->multi) {
        session_say(c, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (s && s->unwatched) { /* nothing more can be gained: EXEC will answer nil */
        session_say(c, "+OK");
        return;
    }
    if (!w->view || !w->view->ring) {
        enum failure f = router_no_node(w, &name);
        session_say_failure(c, f, name);
        session_end_if_over(c);
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
        session_wait_for(s, r);
        struct part *p = session_new_part(r, node, w->args.frame_len);
        if (!p)
            return;
        slow_key_note_found(w, p, w->keys.count);
        session_forward(r, p, NULL);
        return;
    }
    if (s && !s->watching)
        s->bound = false;
    if (err == -EXDEV)
        refuse_crossing(c);
    else if (err == -E2BIG)
        session_say_limit(c);
    else
        session_say_failure(c, err == -EBUSY ? FAILURE_MOVING : FAILURE_MEMORY, NULL);
    session_end_if_over(c);
}
