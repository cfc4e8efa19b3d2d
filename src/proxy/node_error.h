/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that say what is wrong with a node, not with a request: told apart, and counted. */
#pragma once
#include "base/buf.h"
#include "proxy/metrics.h"

#include <stdbool.h>

/* An error reply: `head` and then `tail`. Returns whether the node cannot serve at all, as it says:
 * -LOADING, -BUSY, -MASTERDOWN. */
bool node_error_count(struct metrics *m, const struct buf *head, const void *tail, size_t len);
