/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that block, and CLIENT UNBLOCK: the present request is one of them. See session.h.
 */
#pragma once
#include "proxy/client.h"

/* Node number `node` may let it wait, for `block_time` ns (NSEC_NEVER: for ever). with_keys: its
 * keys are in w->keys. `from` as in router_route(). */
void blocking_start(struct client *c, const struct command *command, uint32_t node, bool with_keys,
                    uint64_t block_time, struct buf *from);

void blocking_answer_unblock(struct client *c, const struct command *command);
