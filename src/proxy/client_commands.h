/* SPDX-License-Identifier: Apache-2.0 */
/* CLIENT and its subcommands: about the one who asks, and about the clients of all workers. */
#pragma once
#include "proxy/client.h"

/* Is it one that takes more than an answer: of other workers, or none at all? Not for MULTI. */
bool client_commands_asks(const struct command *command);

/* The present request, if it is one that is not answered at once, or not at all (LIST, KILL, PAUSE,
 * UNPAUSE, REPLY). False: it is another. */
bool client_commands_take(struct client *c, const struct command *command);

/* Answers any other CLIENT subcommand. */
void client_commands_answer(struct client *c, const struct command *command, struct reply_out *o);

/* An empty name takes it away. False: it is none, and the error is written. */
bool client_set_name(struct client *c, struct str name, struct reply_out *o);
