/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients send, judged as redis-server 7.0 judges it. The reading of its source behind this:
 *  - It looks for the end of a line with strchr(), which a NUL stops; such a line never ends, and
 *    is refused when it has grown past the limit.
 *  - A header line ends at its CR. It is judged when one more byte is there, whatever that is.
 *  - What a bulk string ends with is not looked at.
 * All of this is kept, for a client that works with Redis must work here, and noted in `sloppy`,
 * for a node must get what it can't misunderstand.
 */
#include "resp/frame_private.h"

#include <string.h>

enum { NUMBER_TEXT_MAX = 20 }; /* the longest number redis-server reads: a sign and 19 digits */

/* One more byte of a number that redis-server's string2ll shall like. */
static void request_digit(struct frame *f, uint8_t c)
{
    uint32_t d = (uint32_t)c - '0';
    if (f->not_a_number)
        return;
    if (f->digits_len == NUMBER_TEXT_MAX)
        f->not_a_number = true;
    else if (f->digits_len == 0 && c == '-')
        f->negative = true;
    else if (d > 9 || (f->value == 0 && f->digits_len > (f->negative ? 1 : 0)))
        f->not_a_number = true; /* no digit, or one behind a leading zero */
    else if (__builtin_mul_overflow(f->value, 10, &f->value) ||
             __builtin_add_overflow(f->value, d, &f->value))
        f->not_a_number = true;
    f->digits_len++;
}

/* The whole number. False: string2ll would refuse it. */
static bool request_number(const struct frame *f, int64_t *ret)
{
    if (f->not_a_number || f->digits_len == 0 || (f->negative && f->value == 0) ||
        f->value > (uint64_t)INT64_MAX + (f->negative ? 1 : 0))
        return false;
    *ret = f->negative ? (int64_t)(0 - f->value) : (int64_t)f->value;
    return true;
}

/* The line behind '*' is over, and so is the byte after its CR. */
static void request_count(struct frame *f)
{
    int64_t n;
    bool is_number = request_number(f, &n);
    if (!is_number || n > (int64_t)f->limits->elements_max) {
        bool stranger = is_number && f->limits->stranger && n <= INT32_MAX;
        frame_bad(f, stranger ? ERROR_STRANGER_COUNT : ERROR_COUNT);
        return;
    }
    f->number = n;
    if (n <= 0) {
        f->state = STATE_DONE;
        return;
    }
    f->elements = (uint32_t)n;
    frame_line_start(f, REQUEST_LENGTH);
}

/* The same for the line of a bulk string. */
static void request_length(struct frame *f)
{
    int64_t n;
    if (f->offender != '$') {
        frame_bad(f, ERROR_NOT_DOLLAR);
    } else if (!request_number(f, &n) || n < 0 || (uint64_t)n > f->limits->bulk_max) {
        bool stranger =
            f->limits->stranger && !f->not_a_number && !f->negative && f->digits_len > 0;
        frame_bad(f, stranger ? ERROR_STRANGER_LENGTH : ERROR_LENGTH);
    } else {
        f->body_left = (uint64_t)n + FRAME_TERMINATOR;
        f->state = REQUEST_BODY;
    }
}

static void request_line_byte(struct frame *f, uint8_t c, enum frame_state behind_cr,
                              enum frame_fault too_big)
{
    /* redis-server looks for the CR with strchr(): a NUL ends its search. */
    if (c == '\r' && !f->line_has_nul) {
        if (f->line_len == 0)
            f->offender = c;
        f->state = (uint8_t)behind_cr;
        return;
    }
    if (c == 0)
        f->line_has_nul = true;
    if (f->line_len == 0)
        f->offender = c;
    else
        request_digit(f, c);
    if (++f->line_len > f->limits->line_max)
        frame_bad(f, too_big);
}

static const uint8_t *request_body(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    if (f->body_left > FRAME_TERMINATOR) {
        uint64_t n = f->body_left - FRAME_TERMINATOR;
        if (n > (size_t)(end - p))
            n = (size_t)(end - p);
        f->body_left -= n;
        p += n;
    }
    for (; p < end && f->body_left > 0 && f->body_left <= FRAME_TERMINATOR; p++, f->body_left--)
        if (*p != (f->body_left == 2 ? '\r' : '\n'))
            f->sloppy = true;
    if (f->body_left == 0) {
        if (--f->elements == 0)
            f->state = STATE_DONE;
        else
            frame_line_start(f, REQUEST_LENGTH);
    }
    return p;
}

/* The fast path: all bulk strings that lie before `end`, and the header of one that does not. */
static const uint8_t *request_bulks(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    uint32_t left = f->elements;
    bool sloppy = false;
    do {
        uint32_t n;
        const uint8_t *body = p < end && *p == '$' ? number_line_short(p + 1, end, &n) : NULL;
        if (body == NULL || n > f->limits->bulk_max)
            break;
        if ((size_t)(end - body) < (size_t)n + FRAME_TERMINATOR) {
            f->value = n;
            f->body_left = (uint64_t)n + FRAME_TERMINATOR;
            f->state = REQUEST_BODY;
            p = body;
            break;
        }
        sloppy |= body[n] != '\r' || body[n + 1] != '\n';
        p = body + n + FRAME_TERMINATOR;
    } while (--left > 0);
    f->elements = left;
    f->sloppy |= sloppy;
    if (left == 0)
        f->state = STATE_DONE;
    return p;
}

/* Up to the LF, unless a NUL hides it. */
static const uint8_t *request_inline(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    /* The LF may be the byte behind line_max others. */
    size_t n = (size_t)f->limits->line_max - f->line_len + 1;
    if (n > (size_t)(end - p))
        n = (size_t)(end - p);
    const uint8_t *lf = f->line_has_nul ? NULL : memchr(p, '\n', n);
    size_t text = lf != NULL ? (size_t)(lf - p) : n;
    if (!f->line_has_nul && memchr(p, 0, text) != NULL)
        f->line_has_nul = true;
    if (lf != NULL && !f->line_has_nul) {
        f->state = STATE_DONE;
        return lf + 1;
    }
    f->line_len += (uint32_t)n;
    if (f->line_len > f->limits->line_max)
        frame_bad(f, ERROR_BIG_INLINE);
    return p + n;
}

static const uint8_t *request_start(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    f->type = *p;
    if (*p != '*') {
        f->is_inline = true;
        frame_line_start(f, REQUEST_INLINE);
        return p;
    }
    uint32_t n;
    const uint8_t *next = number_line_short(p + 1, end, &n);
    if (next != NULL && n > 0 && n <= f->limits->elements_max) {
        f->number = n;
        f->elements = n;
        frame_line_start(f, REQUEST_LENGTH);
        return next;
    }
    frame_line_start(f, REQUEST_COUNT);
    request_line_byte(f, *p, REQUEST_COUNT_LF, ERROR_BIG_COUNT);
    return p + 1;
}

/* At the start of a bulk string, or in its header line if that came in pieces. */
static const uint8_t *request_arguments(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *next = f->line_len == 0 ? request_bulks(f, p, end) : p;
    if (next != p)
        return next;
    request_line_byte(f, *p, REQUEST_LENGTH_LF, ERROR_BIG_LENGTH);
    return p + 1;
}

const uint8_t *frame_feed_request(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        switch ((enum frame_state)f->state) {
        case STATE_START:
            p = request_start(f, p, end);
            break;
        case REQUEST_INLINE:
            p = request_inline(f, p, end);
            break;
        case REQUEST_COUNT:
            request_line_byte(f, *p++, REQUEST_COUNT_LF, ERROR_BIG_COUNT);
            break;
        case REQUEST_COUNT_LF:
            f->sloppy |= *p++ != '\n';
            request_count(f);
            break;
        case REQUEST_LENGTH:
            p = request_arguments(f, p, end);
            break;
        case REQUEST_LENGTH_LF:
            f->sloppy |= *p++ != '\n';
            request_length(f);
            break;
        case REQUEST_BODY:
            p = request_body(f, p, end);
            break;
        default:
            return p;
        }
    }
    return p;
}
