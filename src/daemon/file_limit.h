/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "base/cleanup.h"
#include "daemon/config_load.h"

/* Makes room for as many open files as the settings may need. -EPERM: the hard limit is too low,
 * other -errno; with one line of what is wrong. Main thread. */
int file_limit_raise(const struct config *c, unsigned worker_count,
                     char error[CONFIG_LOAD_ERROR_MAX]) MUST_CHECK;
