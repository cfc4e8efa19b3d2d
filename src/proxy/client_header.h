/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client behind a TCP balancer: what the balancer says first, by the PROXY protocol, is who it
 * is, to limits, logs and CLIENT LIST. It is asked of the addresses of proxy_protocol.from, of all
 * connections that come from there, and of no others: else any client could say who it is.
 */
#pragma once
#include "proxy/client.h"

#include <stdbool.h>
#include <stddef.h>

/* Does it come from a balancer? */
bool client_header_is_due(const struct client *c);
void client_header_begin(struct client *c);

/* Bytes of it. True: the header has ended, the client's address is known, and what came behind it
 * lies in c->in. False: it goes on, or the client is closed. */
bool client_header_take(struct client *c, const void *bytes, size_t len);

/* Closes those of whom none has come in time. */
void client_header_expire(struct worker *w);
