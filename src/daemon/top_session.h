/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache top` for somebody at a terminal: the screen, the keys, and the clock that has the proxy
 * asked. */
#pragma once
#include "daemon/top_asker.h"

#include <stdio.h>

struct top_session_config {
    const char *address; /* as the user wrote it */
    top_ask *ask;        /* called in another thread */
    void *owner;
    FILE *out;
};

/* Returns when the user, or a signal, ends it, the terminal being as it was: 0; or -errno: the
 * terminal cannot be had, or there is no memory for a screen. If the proxy is being asked at that
 * moment and does not answer, the process ends here, with status 0. */
int top_session_run(const struct top_session_config *config) MUST_CHECK;
