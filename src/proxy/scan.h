/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCAN over all nodes, one after the other; see scan_cursor.h. Each call asks one node, with the
 * client's options as they are, and leaves out keys that are not the node's own (owned.h).
 */
#pragma once
#include "proxy/client.h"

void scan_start(struct client *c, const struct command *command);
