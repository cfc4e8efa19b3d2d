/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a complete reply of a node that lies in one piece, RESP2 or RESP3, without copying. A frame
 * has found it to be whole; of what kind each element is is judged here.
 */
#pragma once
#include "base/str.h"

#include <stdint.h>

struct reply_cursor {
    const char *p, *end;
};

static inline struct reply_cursor reply_cursor_at(struct str reply)
{
    return (struct reply_cursor){reply.p, reply.p + reply.len};
}

/* Each moves on behind what it has read. 0; -EBADMSG: there is something else. */

/* A header line: its type, and its number (0 for a type that has none). */
int reply_cursor_header(struct reply_cursor *at, char *ret_type, int64_t *ret_number) MUST_CHECK;
/* A line of that type: its number. */
int reply_cursor_number(struct reply_cursor *at, char type, int64_t *ret) MUST_CHECK;
/* A bulk or verbatim string, the latter without its "txt:". */
int reply_cursor_text(struct reply_cursor *at, struct str *ret) MUST_CHECK;
/* An array of names and values, or a RESP3 map: how many pairs. */
int reply_cursor_pairs(struct reply_cursor *at, int64_t *ret) MUST_CHECK;
/* One element, with all that is in it. */
int reply_cursor_skip(struct reply_cursor *at) MUST_CHECK;
