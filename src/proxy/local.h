/* SPDX-License-Identifier: Apache-2.0 */
/* Commands answered from memory: handshakes, PING, INFO and the like. They work with no node up. */
#pragma once
#include "proxy/client.h"

/* Answers the present request (worker.args), whose arity is right. */
void local_answer(struct client *c, const struct command *command);
/* The same, written to `o`: for the answer of an EXEC. Of QUIT, RESET and HELLO only for their own.
 */
void local_write(struct client *c, const struct command *command, struct reply_out *o);
