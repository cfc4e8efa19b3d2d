/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache ring`: which node a key lives on, and what a change of the nodes would move. */
#pragma once
#include <stdio.h>

/*
 * argv[0] is the word "ring", the options follow; `--key -` reads keys from stdin. Results go to
 * `out`; an error is one line on `err`. Returns the exit status: 0, 1 (the system failed: memory,
 * reading, writing) or 2 (bad usage).
 */
int ring_command(int argc, char **argv, FILE *out, FILE *err);
