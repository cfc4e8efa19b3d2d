/* SPDX-License-Identifier: Apache-2.0 */
/* Command and keys → a node, several, an answer from memory, or a refusal. */
#pragma once
#include "proxy/client.h"
#include "proxy/policy.h"

/* A complete request: its bytes lie in w->args; if they came out of `from` (c->in), long ones may
 * be taken from its front by reference instead of being copied. `from` is NULL for the scratch. */
void router_route(struct client *c, struct buf *from);

/* Why nothing can be sent: no node has any slot. *ret_name: the one to blame, or NULL. */
enum failure router_no_node(const struct worker *w, const char **ret_name);

/* Is there a rule that forbids the request because of the key at argument `index`? Counts it, if
 * so. *ret_rule: the one that fits the key, or NULL. */
enum policy_verdict router_judge(struct worker *w, const struct command *command, size_t index,
                                 struct str key, const struct policy_rule **ret_rule);

/* What is to be done with a key. */
enum router_use {
    ROUTER_READS,
    ROUTER_CHANGES,    /* looks at what is there */
    ROUTER_OVERWRITES, /* or removes it, whatever is there */
};
/* May that be sent for a key of a database now, to the owner of its slot in the present view? Notes
 * what it writes, for when slots move. There must be a ring. False: it is on its way to another
 * node, or there is no memory for the note. */
bool router_may_use(struct worker *w, uint8_t database, enum router_use use, struct str key,
                    uint64_t hash);

enum router_begin {
    ROUTER_WAIT,   /* too little has come to tell */
    ROUTER_GATHER, /* it has to be whole before it can be sent */
    ROUTER_UPLOAD, /* c->upload has taken what was in c->in; or the client is closed */
};

/* A long request has begun: c->in, which `iov` shows, is its beginning. If it is for one node, and
 * that can be told by now, it is sent on from now on. */
enum router_begin router_begin(struct client *c, const struct iovec *iov, size_t iov_count);
