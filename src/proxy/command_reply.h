/* SPDX-License-Identifier: Apache-2.0 */
/* COMMAND and its subcommands: what the table and the operator's rules say, as Redis would. */
#pragma once
#include "proxy/client.h"
#include "resp/reply.h"

/* Answers the present request (worker.args), which is COMMAND or one of its subcommands. */
void command_reply(struct client *c, const struct command *command, struct reply_out *o);
