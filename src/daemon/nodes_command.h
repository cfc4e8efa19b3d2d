/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache nodes`: asks a running proxy how its nodes are. */
#pragma once
#include <stdio.h>

/*
 * argv[0] is the word "nodes", the options follow. Results go to `out`; an error is one line on
 * `err`. Returns the exit status: 0 (all nodes are up), 1 (some are not) or 2 (the proxy cannot be
 * asked, or bad usage). With --watch it asks every second and only returns if it cannot write.
 */
int nodes_command(int argc, char **argv, FILE *out, FILE *err);
