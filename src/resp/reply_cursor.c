/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply_cursor.h"

#include <errno.h>

static bool is_one_of(char type, const char *types)
{
    return type != '\0' && strchr(types, type) != NULL;
}

/* With zeros in front as well, which a frame lets through: "007", "-0". */
static int read_number(struct str text, int64_t *ret)
{
    if (str_to_i64(text, ret) == 0)
        return 0;
    bool minus = text.len > 1 && *text.p == '-';
    struct str digits = {text.p + minus, text.len - minus};
    while (digits.len > 1 && *digits.p == '0') {
        digits.p++;
        digits.len--;
    }
    if (minus && *digits.p == '-')
        return -EINVAL;
    int err = str_to_i64(digits, ret);
    if (minus && !err)
        *ret = -*ret;
    return err;
}

int reply_cursor_header(struct reply_cursor *at, char *ret_type, int64_t *ret_number)
{
    const char *eol = at->p < at->end ? memchr(at->p, '\r', (size_t)(at->end - at->p)) : NULL;
    int64_t number = 0;
    if (!eol || eol == at->p || at->end - eol < 2)
        return -EBADMSG;
    struct str text = {at->p + 1, (size_t)(eol - at->p) - 1};
    if (is_one_of(*at->p, ":*$!=%~>|") && read_number(text, &number) != 0)
        return -EBADMSG;
    *ret_type = *at->p;
    *ret_number = number;
    at->p = eol + 2;
    return 0;
}

int reply_cursor_number(struct reply_cursor *at, char type, int64_t *ret)
{
    char found;
    int64_t number;
    int err = reply_cursor_header(at, &found, &number);
    if (err || found != type)
        return -EBADMSG;
    *ret = number;
    return 0;
}

/* The body of a string, and the CR and LF behind it. */
static int read_body(struct reply_cursor *at, int64_t len, struct str *ret)
{
    if (len < 0 || at->end - at->p - 2 < len)
        return -EBADMSG;
    *ret = (struct str){at->p, (size_t)len};
    at->p += len + 2;
    return 0;
}

int reply_cursor_text(struct reply_cursor *at, struct str *ret)
{
    static const struct str KIND = STR("txt:");
    char type;
    int64_t len;
    struct str text;
    int err = reply_cursor_header(at, &type, &len);
    if (err || !is_one_of(type, "$=") || read_body(at, len, &text) != 0)
        return -EBADMSG;
    if (type == '=' && str_begins(text, KIND))
        text = (struct str){text.p + KIND.len, text.len - KIND.len};
    *ret = text;
    return 0;
}

int reply_cursor_pairs(struct reply_cursor *at, int64_t *ret)
{
    char type;
    int64_t count;
    int err = reply_cursor_header(at, &type, &count);
    if (err || count < 0 || !is_one_of(type, "*%") || (type == '*' && count % 2 != 0))
        return -EBADMSG;
    *ret = type == '*' ? count / 2 : count;
    return 0;
}

int reply_cursor_skip(struct reply_cursor *at)
{
    for (int64_t left = 1; left > 0; left--) {
        char type;
        int64_t number;
        struct str body;
        int err = reply_cursor_header(at, &type, &number);
        if (err)
            return err;
        if (type != ':' && number > at->end - at->p) /* each element takes a byte, at least */
            return -EBADMSG;
        if (is_one_of(type, "*~>") && number > 0)
            left += number;
        else if (is_one_of(type, "%|") && number > 0)
            left += 2 * number;
        else if (is_one_of(type, "$!=") && number >= 0 && read_body(at, number, &body) != 0)
            return -EBADMSG;
        left += type == '|'; /* what it speaks of comes behind it */
    }
    return 0;
}
