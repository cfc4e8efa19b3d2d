/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that are to be sent, as parts of one writev. Small ones are made by hiredis's formatter;
 * a large value is not copied: it is a part of its own.
 */
#pragma once

#include "value.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

enum { COMMANDS_INLINE = 8 };

struct commands {
    struct iovec *parts; /* inline_parts, or allocated */
    char **texts;        /* that end with it; in the same way */
    int part_count, text_count, room;
    size_t bytes;
    bool has_failed; /* no memory: nothing is to be sent */
    struct iovec inline_parts[COMMANDS_INLINE];
    char *inline_texts[COMMANDS_INLINE];
};

struct argument {
    const void *data;
    size_t len;
};

#define ARGUMENT(text) ((struct argument){(text), sizeof(text) - 1})

void commands_init(struct commands *c);
/* Whatever has been sent of it. */
void commands_fini(struct commands *c);
/* Adds a request. The arguments need not outlive the call, but for large ones: they are not copied.
 */
void commands_add(struct commands *c, const struct argument *arguments, int count);
