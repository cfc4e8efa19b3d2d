/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache import`: the configuration of another proxy → ours. */
#pragma once
#include <stdio.h>

/*
 * argv[0] is the word "import", the options follow. Our YAML goes to `out`, what there is to say
 * about it to `err`, a line each. Returns the exit status: 0 it is written, 1 it cannot be turned
 * into ours, 2 bad usage or no such file.
 */
int import_command(int argc, char **argv, FILE *out, FILE *err);
