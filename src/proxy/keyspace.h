/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the whole key space: KEYS, DBSIZE, RANDOMKEY. */
#pragma once
#include "proxy/client.h"

/* All keys that match and that their nodes own; an error beyond limits.fan_out_reply. */
void keyspace_keys(struct client *c, const struct command *command);
/* What the nodes hold together, keys included that they do not own any more and that have not been
 * swept yet. */
void keyspace_dbsize(struct client *c, const struct command *command);
/* Of a node that is drawn by its share of the slots; another, if it is empty. */
void keyspace_randomkey(struct client *c, const struct command *command);
