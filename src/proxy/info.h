/* SPDX-License-Identifier: Apache-2.0 */
/* INFO, from memory: what clients look for, the sums of the nodes, and our counters (summed over
 * all workers). */
#pragma once
#include "proxy/client.h"

/* The version whose commands and texts we follow; told by INFO and HELLO as long as no node has
 * told its own. */
#define INFO_REDIS_VERSION "7.0.15"

/* Answers the present request, INFO [section …]. */
void info_write(struct client *c, struct reply_out *o);
