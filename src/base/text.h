/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows up to TEXT_MAX. One thread. */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum { TEXT_MAX = 32 * 1024 * 1024 }; /* the metrics of 4096 nodes come to about 15 MB */

struct text {
    char *bytes; /* owned */
    size_t len, room;
    bool failed; /* out of memory, or longer than TEXT_MAX: it is of no use */
};

void text_fini(struct text *t);
/* What one call adds is at most 1023 bytes, or the text has failed. */
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/*
 * Both with the quotes. Bytes that are no printable ASCII: in JSON as \u00XX, so that two different
 * keys look different; in a label as \xXX, and the backslash too. JSON escapes '<', '>' and '&' as
 * well, for whoever puts it into a page.
 */
void text_add_json(struct text *t, struct str s);
void text_add_label(struct text *t, struct str s);
