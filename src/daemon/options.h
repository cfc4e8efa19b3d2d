/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what to do, which file to read, and the flags, which win over the file. */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"

#include <stdio.h>

enum options_action {
    OPTIONS_RUN,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_CHECK_CONFIG,
    OPTIONS_PRINT_CONFIG,
};

enum { OPTIONS_ERROR_MAX = 200 };

struct options_flag; /* a row of the table of flags */

struct options_value {
    const struct options_flag *flag;
    const char *text; /* loan: argv */
};

struct options {
    enum options_action action;
    const char *config_path;      /* loan: argv. NULL: no file */
    struct options_value *values; /* owned; in the order given */
    int value_count;
};

/* Reads the flags; their values are only looked at by options_apply(). 0, -EINVAL with the text of
 * the error, -ENOMEM. Call options_fini() on 0. */
int options_read(struct options *o, int argc, char *const argv[],
                 char error[OPTIONS_ERROR_MAX]) MUST_CHECK;
void options_fini(struct options *o);

/* Sets in `c` what the flags say. 0, or -EINVAL or -ENOMEM with *ret_error. */
int options_apply(const struct options *o, struct config *c,
                  struct config_error *ret_error) MUST_CHECK;

void options_print_help(FILE *out);
