/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache top`: what the page of the admin listener shows, in a terminal. */
#pragma once
#include <stdio.h>

/*
 * argv[0] is the word "top", the options follow. Frames go to `out`; an error is one line on `err`.
 * If standard input and `out` are terminals it is a program of keys and a screen (top_session.h),
 * which takes the signals of the process. Returns the exit status: 0, or 1 (with --once: the proxy
 * cannot be asked; or we cannot write), or 2 (bad usage). Without --once and a screen it only
 * returns if it cannot write.
 */
int top_command(int argc, char **argv, FILE *out, FILE *err);
