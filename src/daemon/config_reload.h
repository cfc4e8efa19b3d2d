/* SPDX-License-Identifier: Apache-2.0 */
/* Which settings a running program goes over to, and which it keeps until it is started again: the
 * column `reload` of the table of settings (config_rows.h). */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"

enum { CONFIG_KEPT_MAX = 512 };

/* Gives `c`, which was just read, the running value of each setting that needs a restart, and names
 * those in which it differs: "listen,workers"; empty: there are none. 0; -ENOMEM or -EINVAL: `c` is
 * of no use. */
int config_keep(struct config *c, const struct config *running,
                char names[CONFIG_KEPT_MAX]) MUST_CHECK;
