/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an upstream says before anything else, all at once: AUTH if there is a password, SELECT
 * if its database is not the first, PING (RESP2) or HELLO 3 (RESP3), and CLIENT ID, so that its
 * connection can be named later.
 */
#pragma once
#include "proxy/upstream_set.h"

enum { GREETING_WHY_MAX = 80 };

/* AUTH alone, if that node wants it: then one more is in *left. 0 or -ENOMEM. */
int greeting_append_auth(const struct upstream_node *n, struct buf *to, uint8_t *left) MUST_CHECK;
/* "unexpected greeting: " and what can be shown of it. */
void greeting_complain(const uint8_t *reply, size_t len, char why[GREETING_WHY_MAX]);

/* Appends it to u->conn.out, and counts the replies in u->greetings_left. 0 or -ENOMEM. */
int greeting_append(struct upstream *u) MUST_CHECK;

/* One of the replies, or its first bytes; u->frame knows its type. False: it is not what it should
 * be (-LOADING, -NOAUTH, a server without HELLO: it may be well later); `why` says so. */
bool greeting_take(struct upstream *u, const uint8_t *reply, size_t len,
                   char why[GREETING_WHY_MAX]);
