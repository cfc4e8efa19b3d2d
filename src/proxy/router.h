/* SPDX-License-Identifier: Apache-2.0 */
/* Command and keys → a node, several, an answer from memory, or a refusal. */
#pragma once
#include "proxy/client.h"

/* A complete request: its bytes lie in w->args; if they came out of `from` (c->in), long ones may
 * be taken from its front by reference instead of being copied. `from` is NULL for the scratch. */
void router_route(struct client *c, struct buf *from);
