/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBSUB CHANNELS, NUMSUB and so on: what the nodes know of all proxies' subscribers. A channel is
 * the affair of its owner in the ring, whatever others still hold of it; patterns are on all nodes.
 */
#pragma once
#include "proxy/client.h"

/* The present request, with its arity right. */
void channels_start(struct client *c, const struct command *command);
