/* SPDX-License-Identifier: Apache-2.0 */
/* Command and keys → a node, several, an answer from memory, or a refusal. */
#pragma once
#include "proxy/client.h"

/* A complete request: its bytes lie in w->args; if they came out of `from` (c->in), long ones may
 * be taken from its front by reference instead of being copied. `from` is NULL for the scratch. */
void router_route(struct client *c, struct buf *from);

/* The same for what is meant for one node, whatever keys it has: `node` is an index into the view.
 * ROUTER_NO_NODE: there is none, and that is answered. */
#define ROUTER_NO_NODE UINT32_MAX
void router_to_node(struct client *c, const struct command *command, uint32_t node,
                    struct buf *from);

/* Why nothing can be sent: no node has any slot. *ret_name: the one to blame, or NULL. */
enum failure router_no_node(const struct worker *w, const char **ret_name);

enum router_begin {
    ROUTER_WAIT,   /* too little has come to tell */
    ROUTER_GATHER, /* it has to be whole before it can be sent */
    ROUTER_UPLOAD, /* c->upload has taken what was in c->in; or the client is closed */
};

/* A long request has begun: c->in, which `iov` shows, is its beginning. If it is for one node, and
 * that can be told by now, it is sent on from now on. */
enum router_begin router_begin(struct client *c, const struct iovec *iov, size_t iov_count);
