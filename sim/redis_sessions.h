/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection to a model node may be in the middle of: MULTI, WATCH, and BLPOP, which here
 * takes the whole value of a string key away. The rest as redis-server does it.
 */
#pragma once
#include "redis_model.h"

/* The request in m->args belongs here, or is queued: true, and there is a reply, or its connection
 * waits. `execute` does the same for a request that was queued. */
bool redis_sessions_take(struct redis_model *m, struct redis_connection *c, uint64_t now,
                         void (*execute)(struct redis_model *m, struct redis_connection *c,
                                         uint64_t now));
/* Something was executed: who waits for a key that is there now gets it. */
void redis_sessions_serve(struct redis_model *m);
/* Ends those whose time is over. */
void redis_sessions_expire(struct redis_model *m, uint64_t now);
/* Ends the wait of the connection with this id, as CLIENT UNBLOCK does. False: it does not wait. */
bool redis_sessions_unblock(struct redis_model *m, uint64_t id, bool kick);
/* A key is written. */
void redis_sessions_touch(struct redis_model *m, const struct check_key *key);
