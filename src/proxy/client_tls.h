/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS handshake of a client, which is bounded in number (limits.tls_handshakes) and in time
 * (timeouts.connect). Behind it a client is one as any other. The worker's thread.
 */
#pragma once
#include "proxy/client.h"

#include <stdbool.h>

/* It has come by a listener that speaks TLS. What lies in c->in already is the beginning of that.
 * False: it has been closed. */
bool client_tls_begin(struct client *c);
/* It is closed: its handshake is not waited for any more, if it was. */
void client_tls_leave(struct client *c);

/* As worker.client_tls reports them. */
void client_tls_opened(struct conn *conn);
void client_tls_failed(struct conn *conn, const char *why);

/* When the first handshake has lasted too long (ns; NSEC_NEVER: none is under way). */
uint64_t client_tls_due(const struct worker *w);
/* Closes those that have. */
void client_tls_expire(struct worker *w);
