/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits MGET, MSET, DEL, UNLINK, EXISTS and TOUCH per node (not per key) and merges the replies.
 */
#pragma once
#include "proxy/gather.h"

/* The present request (worker.args, its keys in worker.keys) concerns several nodes; of a key that
 * nobody is to be asked for, GATHER_NOBODY. */
void fanout_start(struct client *c, const struct command *command, const uint32_t *node_of_key);
