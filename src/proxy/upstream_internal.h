/* SPDX-License-Identifier: Apache-2.0 */
/* Between upstream.c and upstream_replies.c. */
#pragma once
#include "cluster/control.h"
#include "proxy/upstream.h"

/* Reads what has come, until there is no more, its turn is over, or it has failed. */
void upstream_read(struct upstream *u);

/* The greeting's answer, its beginning at least. */
void upstream_greeted(struct upstream *u, const uint8_t *reply, size_t len);
/* The connection is of no use any more; what was sent on it fails by `f`. `blame`: the node itself
 * is not well, as far as we can see; else it may be tried again at once. `why` is for people. */
void upstream_fail(struct upstream *u, enum failure f, bool blame, const char *why);
/* It never became READY, because nobody is there. (Of one that is only late nothing is told: the
 * deadlines that are missed are, if anybody waits.) */
void upstream_fail_refused(struct upstream *u, const char *why);

/* The control plane hears how many parts are under way … */
void upstream_tell_in_flight(struct upstream *u);
/* … and of what went wrong. */
void upstream_tell_trouble(struct upstream *u, enum trouble what, const char *why);
