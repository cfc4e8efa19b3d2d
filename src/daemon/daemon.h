/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the parts together and runs them until a signal says stop. */
#pragma once
#include "daemon/config.h"

#include <stdio.h>

enum daemon_status {
    DAEMON_OK = 0,
    DAEMON_FAILED = 1, /* at run time */
    DAEMON_USAGE = 2,  /* wrong flags or settings */
};

/* `config` has passed config_check(). Text for people goes to `out`, an error to `err` as one line;
 * events are logged to standard error. Returns the exit status; a second stop signal ends the
 * process without returning. Main thread only. */
enum daemon_status daemon_run(const struct config *config, FILE *out, FILE *err);
