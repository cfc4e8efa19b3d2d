/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes replies, RESP2 or RESP3. Errors stick: write everything, then look at `err` once.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

struct reply_out {
    struct buf *to;            /* loan */
    struct chunk_pool *chunks; /* loan */
    uint8_t proto;             /* 2 or 3 */
    int err;                   /* 0 or -ENOMEM */
};

void reply_raw(struct reply_out *o, const void *bytes, size_t len);
void reply_simple(struct reply_out *o, const char *text);       /* +text */
void reply_int(struct reply_out *o, int64_t value);             /* :value */
void reply_bulk(struct reply_out *o, struct str bytes);         /* $len */
void reply_verbatim_txt(struct reply_out *o, struct str bytes); /* $len; RESP3 =len txt: */
void reply_null(struct reply_out *o);                           /* $-1; RESP3 _ */
void reply_null_array(struct reply_out *o);                     /* *-1; RESP3 _ */
void reply_array(struct reply_out *o, size_t count);            /* *count */
void reply_set(struct reply_out *o, size_t count);              /* *count; RESP3 ~count */
void reply_map(struct reply_out *o, size_t pairs);              /* *2n; RESP3 %n */

/*
 * -text, made as redis-server makes its errors: CR and LF become blanks, those at the end go.
 * `text` begins with the code ("ERR …"). At most REPLY_ERROR_MAX bytes, the rest is cut.
 */
void reply_error(struct reply_out *o, const char *text, ...) __attribute__((format(printf, 2, 3)));
enum { REPLY_ERROR_MAX = 1024 };
