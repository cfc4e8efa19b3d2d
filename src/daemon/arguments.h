/* SPDX-License-Identifier: Apache-2.0 */
/* The words behind a subcommand: `--name VALUE`, `--name=VALUE`, `--name`, and operands; behind
 * `--` all are operands. */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum { ARGUMENTS_WHY_MAX = 200 };

struct argument_list {
    const char **values; /* has room for argc */
    size_t count;
};

/* What one of them sets: exactly one of `given`, `value` and `all`. What was not given stays. */
struct argument {
    const char *name;          /* with its dashes; NULL: the operand, which may be given once */
    bool *given;               /* an option without a value */
    const char **value;        /* never empty; the last one counts; a loan: argv */
    struct argument_list *all; /* all of them, in their order; loans too */
};

/* Reads argv[1] and what follows. `-h` is `--help`. 0, or -EINVAL with `why`. */
int arguments_read(const struct argument *rows, size_t count, int argc, char *const argv[],
                   char why[ARGUMENTS_WHY_MAX]) MUST_CHECK;
