/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upload: a long request that is sent on while its client still sends it, so that it never has
 * to be in memory whole. It has a bulk upstream for itself; the client is read only as fast as the
 * node takes it. router_begin() starts one; client.upload is its request.
 *
 * If its part fails, the rest of it is read and dropped, and the answer waits for its end: a client
 * in the middle of a request expects none. For client.c, lanes.c and upstream.c. One thread.
 */
#pragma once
#include "proxy/client.h"
#include "proxy/upstream.h"

/* More of it. May fail it, never its client. */
void upload_take(struct client *c, const uint8_t *bytes, size_t len);
/* That was all of it. */
void upload_end(struct client *c);
/* There will be no more of it, and no answer: the client has gone, or spoke nonsense. */
void upload_abort(struct client *c);

/* Another view is in force. One whose key belongs to another node by now fails: done where it was
 * begun, however late its client ends it, it would be an old value there. */
void upload_view_changed(struct worker *w);

/* Must its client not be read, because what it sends could not go on? */
bool upload_is_blocked(const struct client *c);

/* An upstream has begun to carry one: its clock starts. */
void upload_start_clock(struct upstream *u);

/* Now and then, while the node has taken all there is: a client that is too slow loses its
 * upstream. Sets the upstream's timer. */
void upload_judge_client(struct upstream *u);
