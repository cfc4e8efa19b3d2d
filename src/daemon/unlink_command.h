/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache unlink PATTERN`: begins a job at a running proxy and shows how far it is. */
#pragma once
#include <stdio.h>

/* argv[0] is "unlink". What it finds goes to `out`, complaints to `err`. → the exit status. */
int unlink_command(int argc, char **argv, FILE *out, FILE *err);
