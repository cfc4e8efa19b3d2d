/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes have noted, in one order of time: SLOWLOG GET, LATENCY HISTORY, LATENCY LATEST. */
#pragma once
#include "proxy/client.h"

/* The present request. */
void node_logs_start(struct client *c, const struct command *command);
