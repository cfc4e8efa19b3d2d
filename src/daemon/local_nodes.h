/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `--local N`: redis-server children with the settings of a cache (no persistence, maxmemory,
 * allkeys-lru), each on a free port of 127.0.0.1. They die with us, even if we are killed; one that
 * dies by itself is started again on its port, so that its place in the ring stays.
 *
 * Main thread only: children are bound to the thread that started them.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOCAL_NODES_ERROR_MAX = 300 };

struct local_nodes; /* opaque */

/* Starts `count` children of `memory` bytes each; does not wait for them. `log` is a loan. 0, or
 * -errno with the text of the error. The caller owns *ret_nodes. */
int local_nodes_start(unsigned count, uint64_t memory, struct log *log,
                      struct local_nodes **ret_nodes, char error[LOCAL_NODES_ERROR_MAX]) MUST_CHECK;

/* Looks after them: notices which answer, which have died, and starts those again when their pause
 * is over. Takes some ms at most. Returns when (process_now_ns()) it wants to be called again, at
 * the latest; also call it when a child may have died. */
uint64_t local_nodes_step(struct local_nodes *l);

/* Has every child answered since it was started? */
bool local_nodes_are_ready(const struct local_nodes *l);

/* From now on each keeps its port. Before this a child whose port was taken by somebody else in the
 * moment before it could bind it gets another one. */
void local_nodes_settle(struct local_nodes *l);

unsigned local_nodes_count(const struct local_nodes *l);
const struct addr *local_nodes_addr(const struct local_nodes *l, unsigned index);

/* SIGTERM, after a second SIGKILL (`at_once`: SIGKILL), waits for their end and leaves nothing of
 * them. NULL is fine; always returns NULL. */
struct local_nodes *local_nodes_stop(struct local_nodes *l, bool at_once);
