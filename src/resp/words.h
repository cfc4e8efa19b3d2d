/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of our own to nodes, given as words. */
#pragma once
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stddef.h>

/* Appends one command to `to`, as an array of bulk strings. 0, or -ENOMEM and `to` is as before. */
int words_append(struct buf *to, struct chunk_pool *chunks, const struct str *words,
                 size_t count) MUST_CHECK;
