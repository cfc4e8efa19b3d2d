/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as the command line gives them: the file, and the flags, which win over it. At the
 * start and for each reload; reads the file, so it may block. */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"
#include "daemon/options.h"

enum { CONFIG_LOAD_ERROR_MAX = CONFIG_ERROR_MAX + 300 };

/* `c` is config_init()ed; config_fini() is its owner's in any case. With `whole` it is checked as
 * a whole too: what is only printed may well be a beginning that lacks its nodes. 0, or -errno and
 * one line that says what is wrong and where: "FILE:LINE:COLUMN: …". */
int config_load(const struct options *o, bool whole, struct config *c,
                char error[CONFIG_LOAD_ERROR_MAX]) MUST_CHECK;

/* The same line of an error that a later config_check() has found in what was read. */
void config_load_say(const struct options *o, const struct config_error *e,
                     char error[CONFIG_LOAD_ERROR_MAX]);
