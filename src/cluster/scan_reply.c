/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/scan_reply.h"

#include "base/must.h"

#include <errno.h>

/* Only digits, within 64 bits; a cursor may have its highest bit set. */
static int read_number(struct str s, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.len == 0)
        return -EBADMSG;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return -EBADMSG;
        value = value * 10 + digit;
    }
    *ret = value;
    return 0;
}

static int take_line(struct str *s, char type, uint64_t *ret)
{
    const char *eol = s->len > 3 && s->p[0] == type ? memchr(s->p, '\r', s->len) : NULL;
    if (!eol || (size_t)(eol - s->p) + 2 > s->len ||
        read_number((struct str){s->p + 1, (size_t)(eol - s->p - 1)}, ret) != 0)
        return -EBADMSG;
    size_t used = (size_t)(eol - s->p) + 2;
    *s = (struct str){s->p + used, s->len - used};
    return 0;
}

static int take_bulk(struct str *s, struct str *ret)
{
    uint64_t len;
    if (take_line(s, '$', &len) != 0 || s->len < 2 || len > s->len - 2)
        return -EBADMSG;
    *ret = (struct str){s->p, (size_t)len};
    *s = (struct str){s->p + len + 2, s->len - (size_t)len - 2};
    return 0;
}

int scan_reply_begin(struct str whole, struct scan_reply *ret_reply)
{
    struct scan_reply r = {.behind = whole};
    struct str cursor;
    uint64_t two;
    if (take_line(&r.behind, '*', &two) != 0 || two != 2 || take_bulk(&r.behind, &cursor) != 0 ||
        read_number(cursor, &r.cursor) != 0 || take_line(&r.behind, '*', &r.keys) != 0)
        return -EBADMSG;
    *ret_reply = r;
    return 0;
}

int scan_reply_next(struct scan_reply *r, struct str *ret_key)
{
    must(r->keys > 0);
    if (take_bulk(&r->behind, ret_key) != 0)
        return -EBADMSG;
    r->keys--;
    return 0;
}
