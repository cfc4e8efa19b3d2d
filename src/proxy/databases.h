/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that name another database than the one that their client has selected: MOVE, and COPY
 * with DB. A key has one node in all databases, so they are that node's affair alone. All on the
 * worker's thread, of the request in w->args, whose arity is right.
 */
#pragma once
#include "proxy/client.h"

/* Are the databases that it names such as clients may use? False: it is refused, and answered. Of
 * what is no number the node will tell. w->keys are its keys. */
bool databases_admit(struct client *c, const struct command *command);

/* Is it a SELECT of another database that there is? */
bool databases_changes(const struct client *c, const struct command *command);

/* In which it writes; its client's, if it names no other. It was admitted. */
uint8_t databases_target(const struct client *c, const struct command *command);
