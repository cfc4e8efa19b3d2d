/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the proxy asks of a node for itself, not for a client: who it is (INFO), whose connection
 * this is and which is to end (CLIENT), and, on a connection that has called itself
 * "sumcache-control", to look through its keys and remove some (SCAN, UNLINK, FLUSHALL) and to keep
 * notes under "sumcache:…" (SET, GET, UNLINK).
 *
 * A key that is unlinked so may bear the name any command gave it; that is no command of a client,
 * and not noted as one. On a connection with that name clients' commands are a mistake, and the
 * other way round.
 */
#pragma once
#include "redis_model.h"

/* Executes the request in m->args if it is one of these, and puts the reply into c->out; sets
 * *ret_verb. False: it is another, or was noted as a mistake. */
bool redis_control(struct redis_model *m, struct redis_connection *c, uint64_t now,
                   const char **ret_verb);
