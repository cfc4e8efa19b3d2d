/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of the commands of tags.h. Pure. */
#pragma once
#include "resp/args.h"
#include "resp/command.h"

#include <stddef.h>
#include <stdint.h>

struct tag_expiry {
    const char *command; /* PEXPIRE or PEXPIREAT; "": it stays */
    uint64_t ms;         /* from now, or Unix time */
};

struct tag_args {
    struct str key; /* of SET and GET: loan of the arguments */
    size_t value;   /* argument; 0: none */
    struct tag_expiry expiry;
    size_t first_tag, tag_count; /* arguments */
    size_t first_generation;     /* argument; 0: none are given */
};

/* Reads those of a command whose arity is right. NULL, or the error text, a constant. */
const char *tag_args_read(struct args *a, const struct command *command, struct tag_args *ret);

/* For how many ms from `now_ms` (Unix time) on a value will live; 0: for ever, or no more. */
uint64_t tag_expiry_ms(const struct tag_expiry *e, uint64_t now_ms);
