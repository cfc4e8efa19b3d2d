/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: what a client is in the middle of, from one request to the next. It queues behind
 * MULTI, watches keys, or waits in a command that blocks. A client in no such state has none
 * (client.session is NULL), so that all others pay one comparison.
 *
 * While a WATCH, an EXEC with watched keys or a command that blocks is under way, its client is not
 * read: what it sent behind waits, as on redis-server. So a session has at most one request
 * (`current`) whose upstream is private (private.h).
 *
 * Owner changes: with each view that a worker adopts session_view_changed() looks at the keys.
 * What is watched and moves makes EXEC nil; who waits for a key that moves is unblocked; a
 * transaction whose keys have moved is answered EXECABORT (transaction.c). One thread, as all of a
 * worker.
 */
#pragma once
#include "cluster/view.h"
#include "proxy/client.h"
#include "proxy/transaction.h"
#include "proxy/upstream.h"

/* Keys that a new view may concern, by their hashes, all of one node. */
struct session_keys {
    uint64_t *hash; /* owned */
    uint32_t count, room;
    bool logged; /* one of them was not at home when it was added */
};

struct session {
    struct client *client; /* owner */
    struct list link;      /* in worker.sessions */
    bool multi;            /* between MULTI and EXEC */
    bool aborted;          /* … and EXEC will answer EXECABORT */
    bool watching;
    bool unwatched; /* … and EXEC will answer nil, for what is watched may have changed unseen */
    bool blocking;  /* `current` is a command that blocks */
    bool bound;     /* its node is known */
    char node[VIEW_NODE_NAME_MAX];       /* the owner of what is queued or watched */
    char wait_node[VIEW_NODE_NAME_MAX];  /* of what `current` waits for */
    struct transaction *transaction;     /* owned; NULL: not between MULTI and EXEC */
    struct session_keys watched, waited; /* of WATCH; of `current`, if it blocks */
    struct request *current;             /* its client is not read before this is answered */
    struct upstream *watch, *block;      /* its own for now; NULL: none yet, or lost */
};

/* ---- for the router ---- */

/* MULTI, EXEC, DISCARD, WATCH, UNWATCH, CLIENT UNBLOCK: the present request. */
void session_answer(struct client *c, const struct command *command);
/* A request was refused: so is the EXEC that it stands before, if any. */
void session_abort(struct client *c);
/* EXEC itself was refused. */
void session_discard(struct client *c);
/* Is a long request to be queued whole? */
bool session_gathers(const struct client *c);

/* ---- for the rest of the client's life ---- */

void session_reset(struct client *c);         /* RESET */
void session_proto_changes(struct client *c); /* what is watched is watched in the other version */
void session_drop(struct client *c);          /* its client has gone, and its requests will */
void session_drain(struct client *c);         /* the worker drains: who waits is answered */
static inline bool session_is_blocked(const struct client *c)
{
    return c->session && c->session->blocking;
}
/* Commands queued behind MULTI; -1: it is in none. */
int64_t session_queued(const struct client *c);

/* `r` is about to fail; is done. Only of a client that has a session. */
void session_request_fails(struct request *r);
void session_request_done(struct request *r);

/* The worker has adopted a view. */
void session_view_changed(struct worker *w);

/* ---- for private.c ---- */

/* The upstream that this part has to take. NULL: any, but for EXEC: its own is lost. */
struct upstream *session_upstream(const struct client *c, const struct part *p);
void session_take_upstream(struct client *c, const struct part *p, struct upstream *u);
/* It is lost, or will be closed. */
void session_upstream_lost(struct client *c, struct upstream *u);

/* ---- for multi.c and blocking.c ---- */

/* Its session, or a new one. NULL: out of memory. */
struct session *session_open(struct client *c);
/* Frees it if its client is in the middle of nothing; it may have none. */
void session_end_if_over(struct client *c);
void session_end_watch(struct session *s);
/* Its client is not read before `r` is answered. */
void session_wait_for(struct session *s, struct request *r);

/* Answers the present request: "+QUEUED", or an error. May close the client. */
void session_say(struct client *c, const char *text);
void session_say_failure(struct client *c, enum failure f, const char *node_name);
/* … with limits.transaction_commands or transaction_bytes. */
void session_say_limit(struct client *c);

/* Is that node the owner of the key with this hash? */
bool session_is_owner(const struct worker *w, uint64_t hash, const char *node);
/* Adds the keys in w->keys. 0, -ENOMEM, or -E2BIG: limits.transaction_commands. */
int session_add_keys(struct worker *w, struct session_keys *k) MUST_CHECK;

/* A part of `r`, of about `len` bytes, for this node; not in it yet. NULL: the request has failed.
 */
struct part *session_new_part(struct request *r, uint32_t node, size_t len);
/* Sends what is in `bytes`, which is emptied. May fail it. */
void session_send(struct request *r, struct part *p, struct buf *bytes);
/* Sends the present request itself on a private upstream. May fail it. */
void session_forward(struct request *r, struct part *p, struct buf *from);
