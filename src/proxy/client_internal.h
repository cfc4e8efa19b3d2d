/* SPDX-License-Identifier: Apache-2.0 */
/* Between client.c and client_requests.c. */
#pragma once
#include "proxy/client.h"

/* Reads what has come, a scratch at most, and lets requests begin. The client may be closed then.
 */
void client_read(struct client *c);

/* Is there a reason not to take a request from it now? */
bool client_must_wait(const struct client *c);
/* … or has enough been written to it for once: others first? */
bool client_must_stop(const struct client *c);
/* The answer to a request that could not be read. */
void client_reply_failure(struct client *c, enum failure f);
/* Where nothing is under way and nothing can come, it ends. */
void client_end_if_over(struct client *c);
