/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache reload`: makes a running proxy read its settings anew, and tells what came of it. */
#pragma once
#include <stdio.h>

/* argv[0] is "reload". What came of it goes to `out`, complaints to `err`. → the exit status. */
int reload_command(int argc, char **argv, FILE *out, FILE *err);
/* The same for `sumcache upgrade`. */
int upgrade_command(int argc, char **argv, FILE *out, FILE *err);
