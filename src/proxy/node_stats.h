/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of numbers, of all nodes in one: MEMORY STATS, LATENCY HISTOGRAM. */
#pragma once
#include "proxy/client.h"

/* The present request. */
void node_stats_start(struct client *c, const struct command *command);
