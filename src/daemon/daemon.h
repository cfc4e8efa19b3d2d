/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the parts together and runs them until a signal says stop. */
#pragma once
#include "daemon/options.h"

#include <stdio.h>

enum daemon_status {
    DAEMON_OK = 0,
    DAEMON_FAILED = 1, /* at run time */
    DAEMON_USAGE = 2,  /* wrong flags or settings */
};

/* `config` is what config_load() made of `options`, which are read again for each reload; what it
 * owns is taken. Text for people goes to `out`, an error to `err` as one line;
 * events are logged to standard error. Returns the exit status; a second stop signal ends the
 * process without returning. Main thread only. */
enum daemon_status daemon_run(struct config *config, const struct options *options, FILE *out,
                              FILE *err);
