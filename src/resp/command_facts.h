/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a command to those who ask (COMMAND DOCS …), and needed by nobody to route it. */
#pragma once
#include "resp/command.h"

struct command_facts {
    const char *group; /* "string", "sorted-set", … */
    const char *since; /* "7.4.0"; of Valkey alone: "valkey 9.0.0" */
    /* What is done to the first key, and to all others: "RW access update", as in key specs. */
    const char *first_key, *other_keys;
};

/* Constants, never NULL; all texts are empty for commands of our own and of modules. */
const struct command_facts *command_facts(const struct command *c);
