/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/words.h"

#include <stdio.h>

int words_append(struct buf *to, struct chunk_pool *chunks, const struct str *words, size_t count)
{
    char head[32];
    size_t before = to->len;
    int n = snprintf(head, sizeof(head), "*%zu\r\n", count);
    int err = buf_append(to, chunks, head, (size_t)n);
    for (size_t i = 0; i < count && !err; i++) {
        n = snprintf(head, sizeof(head), "$%zu\r\n", words[i].len);
        err = buf_append(to, chunks, head, (size_t)n);
        if (!err)
            err = buf_append(to, chunks, words[i].p, words[i].len);
        if (!err)
            err = buf_append(to, chunks, "\r\n", 2);
    }
    if (err)
        buf_truncate(to, chunks, before);
    return err;
}
