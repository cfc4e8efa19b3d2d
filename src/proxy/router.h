/* SPDX-License-Identifier: Apache-2.0 */
/* Command and keys → a node, several, an answer from memory, or a refusal. */
#pragma once
#include "proxy/client.h"
#include "resp/command.h"

/* A complete request: its bytes lie in w->args; if they came out of `from` (c->in), long ones may
 * be taken from its front by reference instead of being copied. `from` is NULL for the scratch. */
void router_route(struct client *c, struct buf *from);

/* Answers the present request with an error, and spoils the transaction that it stands in. */
void router_refuse(struct client *c, const char *text, ...) __attribute__((format(printf, 2, 3)));

/* The present request fails before it has a part. May close the client. */
void router_fail(struct client *c, const struct command *command, enum failure f);

/* Copies or moves the whole present request to `to`; `from` as above. 0 or -ENOMEM. */
int router_bytes(struct worker *w, struct buf *to, struct buf *from) MUST_CHECK;

/* Finds the keys of the present request, those that patterns pin included, in w->keys, and looks at
 * what policy.rules say of them; what they want to be sent behind it is noted in w->behind. 0;
 * -EINVAL: its arguments make no sense, and a node will say why; -ENOMEM; -ECANCELED: it is
 * refused, and answered. */
int router_find_keys(struct client *c, const struct command *command) MUST_CHECK;
/* Fills w->node_of_key for all of w->keys, and notes what the command writes. → how many different
 * nodes (2 means: more than one), or -ENOMEM; -EBUSY: some of them are moving. Of a read that can
 * be split those go to GATHER_NOBODY. There must be a ring. */
int router_find_nodes(struct client *c, const struct command *command) MUST_CHECK;

/* The node for what has no key of its own, or whose arguments make no sense: any will answer the
 * same, so always the one of the empty key. */
uint32_t router_node_for_keyless(const struct worker *w);

/* Sends the present request to one node, whatever keys it has: `node` is an index into the view.
 * ROUTER_NO_NODE: there is none, and that is answered. */
#define ROUTER_NO_NODE UINT32_MAX
void router_to_node(struct client *c, const struct command *command, uint32_t node,
                    struct buf *from);

/* Why nothing can be sent: no node has any slot. *ret_name: the one to blame, or NULL. */
enum failure router_no_node(const struct worker *w, const char **ret_name);

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
