/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a complete reply of a node, RESP2 or RESP3, element by element, and frees it on the way: a
 * long one never is in memory twice. A frame has found it to be whole; of what kind each element is
 * is judged here.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

struct reply_reader {
    struct buf *from; /* loan: what is still to be read */
    struct chunk_pool *chunks;
    size_t passed;  /* bytes at the front that are the last bulk string's */
    char *gathered; /* owned: one that lies in several chunks */
};

void reply_reader_init(struct reply_reader *r, struct buf *from, struct chunk_pool *chunks);
void reply_reader_fini(struct reply_reader *r);

/* A line like ":12", "*3" or "$5": its number. 0; -EINVAL: it is of another type, or no number. */
int reply_read_number(struct reply_reader *r, char type, int64_t *ret) MUST_CHECK;
/* A bulk string: a loan until the next read. 0; -ENOENT: a nil; -EINVAL: it is of another type;
 * -ENOMEM. */
int reply_read_bulk(struct reply_reader *r, struct str *ret) MUST_CHECK;
