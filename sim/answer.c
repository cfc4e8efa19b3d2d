/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <string.h>

enum { DEPTH_MAX = 8, DIGITS_MAX = 18 };

struct reader {
    const uint8_t *bytes;
    size_t len, at, need;
};

/* The line at the reader's place, without its CRLF. */
static enum answer_result take_line(struct reader *r, const char **ret_text, size_t *ret_len)
{
    const uint8_t *from = r->bytes + r->at;
    const uint8_t *lf = memchr(from, '\n', r->len - r->at);
    if (!lf) {
        r->need = r->len + 1;
        return ANSWER_MORE;
    }
    if (lf == from || lf[-1] != '\r')
        return ANSWER_BAD;
    *ret_text = (const char *)from;
    *ret_len = (size_t)(lf - from) - 1;
    r->at += *ret_len + 2;
    return ANSWER_READY;
}

static bool parse_number(const char *text, size_t len, int64_t *ret)
{
    bool minus = len > 0 && text[0] == '-';
    size_t i = minus ? 1 : 0;
    if (len == i || len - i > DIGITS_MAX)
        return false;
    int64_t value = 0;
    for (; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *ret = minus ? -value : value;
    return true;
}

static enum answer_result take_bulk(struct reader *r, struct answer_item *item)
{
    if (item->number == -1) {
        item->null = true;
        return ANSWER_READY;
    }
    if (item->number < 0)
        return ANSWER_BAD;
    size_t body = (size_t)item->number;
    if (r->len - r->at < body + 2) {
        r->need = r->at + body + 2;
        return ANSWER_MORE;
    }
    item->text = (const char *)r->bytes + r->at;
    item->len = body;
    r->at += body;
    if (r->bytes[r->at] != '\r' || r->bytes[r->at + 1] != '\n')
        return ANSWER_BAD;
    r->at += 2;
    return ANSWER_READY;
}

static enum answer_result take_item(struct reader *r, struct answer_item *item, int depth,
                                    struct answer *whole)
{
    if (depth > DEPTH_MAX)
        return ANSWER_BAD;
    if (r->at >= r->len) {
        r->need = r->len + 1;
        return ANSWER_MORE;
    }
    const char *line;
    size_t len;
    *item = (struct answer_item){.type = (char)r->bytes[r->at++]};
    enum answer_result result = take_line(r, &line, &len);
    if (result != ANSWER_READY)
        return result;
    item->text = line;
    item->len = len;
    uint64_t elements = 0;
    switch (item->type) {
    case '+':
    case '-':
        return ANSWER_READY;
    case '_':
        item->null = true;
        return len == 0 ? ANSWER_READY : ANSWER_BAD;
    case ':':
        return parse_number(line, len, &item->number) ? ANSWER_READY : ANSWER_BAD;
    case '$':
        return parse_number(line, len, &item->number) ? take_bulk(r, item) : ANSWER_BAD;
    case '*':
    case '~':
    case '%':
        if (!parse_number(line, len, &item->number) || item->number < -1)
            return ANSWER_BAD;
        item->null = item->number < 0;
        elements = item->null ? 0 : (uint64_t)item->number * (item->type == '%' ? 2 : 1);
        break;
    default:
        return ANSWER_BAD;
    }
    if (depth == 0)
        whole->item_count = (uint32_t)elements;
    for (uint64_t i = 0; i < elements; i++) {
        struct answer_item spare = {0};
        struct answer_item *to = depth == 0 && i < ANSWER_ITEMS_MAX ? &whole->items[i] : &spare;
        result = take_item(r, to, depth + 1, whole);
        if (result != ANSWER_READY)
            return result;
    }
    return ANSWER_READY;
}

enum answer_result answer_parse(const uint8_t *bytes, size_t len, struct answer *ret,
                                size_t *ret_used, size_t *ret_need)
{
    struct reader r = {.bytes = bytes, .len = len};
    ret->item_count = 0;
    enum answer_result result = take_item(&r, &ret->top, 0, ret);
    if (result == ANSWER_READY)
        *ret_used = r.at;
    if (result == ANSWER_MORE)
        *ret_need = r.need;
    return result;
}
