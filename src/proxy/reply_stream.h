/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large reply is passed on while it comes, so that it never has to be in memory whole.
 *
 * If it is the next one that its client gets, its upstream is read only as fast as the client takes
 * it: an upstream is paused for that reply alone, so a client holds at most one, and two clients
 * can't wait for each other. If others stand behind it, or it is not the next one, it is read on
 * into what the client may be owed (limits.client_output).
 *
 * For upstream.c alone. One thread.
 */
#pragma once
#include "proxy/upstream.h"

/* An incomplete reply has grown: is it one to be passed on? */
bool reply_stream_wants(const struct upstream *u);

/* Passes on what has come of it: u->in, if it has just begun, and `bytes`. False: the upstream is
 * closed. May pause it, and may close its client. */
bool reply_stream_take(struct upstream *u, const uint8_t *bytes, size_t len) MUST_CHECK;

/* The last of it: `bytes` belong to `p`, which has left the queue. */
void reply_stream_end(struct upstream *u, struct part *p, const uint8_t *bytes, size_t len);

/* While it is paused, now and then: a client that holds what others wait for is read for, or
 * closed if it is too slow. Sets the upstream's timer. */
void reply_stream_judge_client(struct upstream *u);
