/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX = 32 }; /* bytes of a header: a type, 20 digits, CR and LF */

void reply_reader_init(struct reply_reader *r, struct buf *from, struct chunk_pool *chunks)
{
    *r = (struct reply_reader){.from = from, .chunks = chunks};
}

void reply_reader_fini(struct reply_reader *r)
{
    free(take_ptr(r->gathered));
}

static void pass_on(struct reply_reader *r)
{
    buf_consume(r->from, r->chunks, r->passed);
    r->passed = 0;
    free(take_ptr(r->gathered));
}

/* The header line at the front, without CR and LF; "": there is none. */
static struct str front_line(const struct reply_reader *r, char line[LINE_MAX])
{
    size_t len = r->from->len < LINE_MAX ? r->from->len : LINE_MAX;
    buf_copy_out(r->from, 0, line, len);
    const char *end = len > 0 ? memchr(line, '\r', len) : NULL;
    return (struct str){line, end ? (size_t)(end - line) : 0};
}

int reply_read_number(struct reply_reader *r, char type, int64_t *ret)
{
    char bytes[LINE_MAX];
    pass_on(r);
    struct str line = front_line(r, bytes);
    if (line.len < 2 || line.p[0] != type ||
        str_to_i64((struct str){line.p + 1, line.len - 1}, ret) != 0)
        return -EINVAL;
    buf_consume(r->from, r->chunks, line.len + 2);
    return 0;
}

int reply_read_bulk(struct reply_reader *r, struct str *ret)
{
    char bytes[LINE_MAX];
    pass_on(r);
    if (str_eq(front_line(r, bytes), STR("_"))) {
        buf_consume(r->from, r->chunks, 3);
        return -ENOENT;
    }
    int64_t len;
    int err = reply_read_number(r, '$', &len);
    if (err || len < -1)
        return -EINVAL;
    if (len == -1)
        return -ENOENT;
    size_t size = (size_t)len;
    if (r->from->len < size + 2)
        return -EINVAL;
    struct iovec piece;
    buf_iov(r->from, 0, &piece, 1);
    if (piece.iov_len < size) {
        r->gathered = malloc(size);
        if (!r->gathered)
            return -ENOMEM;
        buf_copy_out(r->from, 0, r->gathered, size);
        piece.iov_base = r->gathered;
    }
    *ret = (struct str){piece.iov_base, size};
    r->passed = size + 2;
    return 0;
}
