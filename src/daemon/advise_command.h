/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache advise`: asks nodes for their settings, and says which are wrong for a cache. */
#pragma once
#include <stdio.h>

/*
 * argv[0] is the word "advise", the options follow. Results go to `out`; an error is one line on
 * `err`. Returns the exit status: 0 (nothing to be done), 1 (there is) or 2 (bad usage, no nodes
 * known, or a node cannot be asked).
 */
int advise_command(int argc, char **argv, FILE *out, FILE *err);
