/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that concern all nodes (COMMAND_ALL_NODES in the table): who answers which. */
#pragma once
#include "proxy/client.h"

/* The present request (worker.args), whose arity is right. */
void all_nodes_start(struct client *c, const struct command *command);

/* For those who answer them. A request for it, at the end of its client's queue; NULL: there is no
 * node that could be asked, or no memory, and that has been answered. */
struct request *all_nodes_request(struct client *c, const struct command *command);
/* Answers an error; `text` begins with its code. */
void all_nodes_refuse(struct client *c, const char *text);
