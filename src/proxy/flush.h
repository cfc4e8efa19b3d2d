/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLUSHALL and FLUSHDB: all nodes, or an error. The control plane is asked first, because a node
 * that is not in the ring must not come back with what it holds now (cluster/wiper.c). Sent as
 * ASYNC unless the client says SYNC: the keys are gone as soon, and the node is not deaf meanwhile.
 */
#pragma once
#include "proxy/client.h"

void flush_start(struct client *c, const struct command *command);
