/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes send: RESP2 and RESP3, strict. A bare LF inside a simple line is let through, as it
 * can't be mistaken for the line's end. Lengths and counts may have leading zeros, no sign.
 */
#include "base/must.h"
#include "resp/frame_private.h"

#include <string.h>

enum {
    DOUBLE_MAX = 64,        /* Envoy's limit; %.17g needs 24 */
    BIG_NUMBER_MAX = 16384, /* Envoy's limit */
    VERBATIM_PREFIX = 4,    /* "txt:" */
    ATTRIBUTES_MAX = 32,    /* in a row before one element: Envoy's limit */
    /* A level of an attribute is marked in `left`, with its place in a row of attributes. */
    LEVEL_IS_ATTRIBUTE = 1 << 30,
    LEVEL_RUN_SHIFT = 24,
    LEVEL_RUN_MASK = 0x3f,
    LEVEL_COUNT_MAX = (1 << 30) - 1,
    LEVEL_ATTRIBUTE_MAX = (1 << 24) - 1, /* names and values in one attribute */
};

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* An element is over, and with it each level of which it was the last. */
static void element_done(struct frame *f)
{
    while (f->depth > 0) {
        uint32_t level = --f->left[f->depth - 1];
        f->state = REPLY_NEXT;
        if ((level & LEVEL_IS_ATTRIBUTE) == 0) {
            if (level > 0)
                return;
            f->depth--;
            continue;
        }
        if ((level & LEVEL_ATTRIBUTE_MAX) == 0) {
            /* The element that the attribute speaks of comes next, in its own level. */
            f->depth--;
            f->attributes = (uint8_t)((level >> LEVEL_RUN_SHIFT) & LEVEL_RUN_MASK);
        }
        return;
    }
    f->state = STATE_DONE;
}

/* Opens an aggregate or attribute of `count` elements (a map's names and values both counted). */
static void level_open(struct frame *f, uint8_t type, uint64_t count)
{
    bool is_attribute = type == '|';
    uint32_t run = is_attribute ? f->attributes + 1U : 0;
    uint32_t max =
        min_u32(f->limits->elements_max, is_attribute ? LEVEL_ATTRIBUTE_MAX : LEVEL_COUNT_MAX);
    f->attributes = 0;
    if (count > max || count + f->elements > f->limits->elements_max) {
        frame_bad(f, ERROR_ELEMENTS);
    } else if (f->depth >= min_u32(f->limits->depth_max, FRAME_DEPTH_MAX)) {
        frame_bad(f, ERROR_DEPTH);
    } else if (run > ATTRIBUTES_MAX) {
        frame_bad(f, ERROR_ATTRIBUTES);
    } else if (count > 0) {
        f->elements += (uint32_t)count;
        f->left[f->depth] = (uint32_t)count;
        if (is_attribute)
            f->left[f->depth] |= LEVEL_IS_ATTRIBUTE | run << LEVEL_RUN_SHIFT;
        f->depth++;
        f->state = REPLY_NEXT;
    } else if (is_attribute) {
        f->attributes = (uint8_t)run;
        f->state = REPLY_NEXT;
    } else {
        element_done(f);
    }
}

static void body_open(struct frame *f, uint8_t type, uint64_t len)
{
    if (len > f->limits->bulk_max) {
        frame_bad(f, ERROR_BULK_MAX);
    } else if (type == '=' && len < VERBATIM_PREFIX) {
        frame_bad(f, ERROR_VERBATIM);
    } else {
        f->offender = type;
        f->value = f->body_left = len + FRAME_TERMINATOR;
        f->state = REPLY_BODY;
    }
}

/* The line of a type that bears a number is over. */
static void number_done(struct frame *f, uint8_t type, uint64_t value, bool negative)
{
    bool is_null = negative && value == 1 && (type == '*' || type == '$');
    if (negative && !is_null && type != ':') {
        frame_bad(f, ERROR_NEGATIVE);
        return;
    }
    if (f->depth == 0 && type != '|') {
        f->number = negative ? (int64_t)(0 - value) : (int64_t)value;
        f->is_null = is_null;
    }
    switch (type) {
    case '$':
    case '!':
    case '=':
        if (!is_null) {
            body_open(f, type, value);
            return;
        }
        break;
    case '*':
    case '~':
    case '>':
        if (!is_null) {
            level_open(f, type, value);
            return;
        }
        break;
    case '%':
    case '|':
        level_open(f, type, value > UINT32_MAX ? UINT64_C(2) * UINT32_MAX : value * 2);
        return;
    default:
        break;
    }
    element_done(f);
}

static void number_byte(struct frame *f, uint8_t c)
{
    uint32_t d = (uint32_t)c - '0';
    uint64_t max = (uint64_t)INT64_MAX + (f->negative ? 1 : 0);
    if (c == '\r') {
        if (f->digits_len == 0)
            frame_bad(f, ERROR_NO_DIGITS);
        else
            f->state = REPLY_NUMBER_LF;
    } else if (c == '-' && f->line_len == 0) {
        f->negative = true;
    } else if (d > 9) {
        frame_bad(f, ERROR_INTEGER);
    } else if (f->value > (max - d) / 10) {
        frame_bad(f, ERROR_OVERFLOW);
    } else {
        f->value = f->value * 10 + d;
        f->digits_len++;
    }
    if (f->line_len++ == f->limits->line_max && f->state == REPLY_NUMBER)
        frame_bad(f, ERROR_LINE_LEN);
}

static const uint8_t *simple_bytes(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    /* The CR may be the byte behind line_max others. */
    size_t n = (size_t)f->limits->line_max - f->line_len + 1;
    if (n > (size_t)(end - p))
        n = (size_t)(end - p);
    const uint8_t *cr = memchr(p, '\r', n);
    if (cr != NULL) {
        f->state = REPLY_LF;
        return cr + 1;
    }
    f->line_len += (uint32_t)n;
    if (f->line_len > f->limits->line_max)
        frame_bad(f, ERROR_LINE_LEN);
    return p + n;
}

/*
 * Where a double is: [+-] digits [. digits] [e [+-] digits], at least one digit before the e, or
 * [+-] inf, or [+-] nan (redis-server 7.0 sends -nan when printf does).
 */
enum double_step {
    DOUBLE_START,
    DOUBLE_SIGNED,
    DOUBLE_WHOLE,    /* may end */
    DOUBLE_DOT,      /* a dot with no digit before it */
    DOUBLE_FRACTION, /* may end */
    DOUBLE_E,
    DOUBLE_E_SIGNED,
    DOUBLE_EXPONENT, /* may end */
    DOUBLE_I,
    DOUBLE_IN,
    DOUBLE_N,
    DOUBLE_NA,
    DOUBLE_WORD, /* may end, nothing may follow */
    DOUBLE_WRONG,
};

static enum double_step double_after_digit(enum double_step s)
{
    switch (s) {
    case DOUBLE_START:
    case DOUBLE_SIGNED:
    case DOUBLE_WHOLE:
        return DOUBLE_WHOLE;
    case DOUBLE_DOT:
    case DOUBLE_FRACTION:
        return DOUBLE_FRACTION;
    case DOUBLE_E:
    case DOUBLE_E_SIGNED:
    case DOUBLE_EXPONENT:
        return DOUBLE_EXPONENT;
    default:
        return DOUBLE_WRONG;
    }
}

static enum double_step double_after(enum double_step s, uint8_t c)
{
    bool first = s == DOUBLE_START || s == DOUBLE_SIGNED;
    switch (c) {
    case '+':
    case '-':
        return s == DOUBLE_START ? DOUBLE_SIGNED : s == DOUBLE_E ? DOUBLE_E_SIGNED : DOUBLE_WRONG;
    case '.':
        return first ? DOUBLE_DOT : s == DOUBLE_WHOLE ? DOUBLE_FRACTION : DOUBLE_WRONG;
    case 'e':
    case 'E':
        return s == DOUBLE_WHOLE || s == DOUBLE_FRACTION ? DOUBLE_E : DOUBLE_WRONG;
    case 'i':
        return first ? DOUBLE_I : DOUBLE_WRONG;
    case 'n':
        return first            ? DOUBLE_N
               : s == DOUBLE_I  ? DOUBLE_IN
               : s == DOUBLE_NA ? DOUBLE_WORD
                                : DOUBLE_WRONG;
    case 'f':
        return s == DOUBLE_IN ? DOUBLE_WORD : DOUBLE_WRONG;
    case 'a':
        return s == DOUBLE_N ? DOUBLE_NA : DOUBLE_WRONG;
    default:
        return c >= '0' && c <= '9' ? double_after_digit(s) : DOUBLE_WRONG;
    }
}

static void double_byte(struct frame *f, uint8_t c)
{
    enum double_step s = f->step;
    bool may_end =
        s == DOUBLE_WHOLE || s == DOUBLE_FRACTION || s == DOUBLE_EXPONENT || s == DOUBLE_WORD;
    if (c == '\r' && may_end) {
        f->state = REPLY_LF;
        return;
    }
    f->step = (uint8_t)double_after(s, c);
    if (f->step == DOUBLE_WRONG || ++f->line_len > DOUBLE_MAX)
        frame_bad(f, ERROR_DOUBLE);
}

static void big_byte(struct frame *f, uint8_t c)
{
    if (c == '\r' && f->digits_len > 0) {
        f->state = REPLY_LF;
        return;
    }
    if (c >= '0' && c <= '9')
        f->digits_len++;
    else if (f->line_len > 0 || (c != '-' && c != '+'))
        frame_bad(f, ERROR_BIG_NUMBER);
    if (++f->line_len > BIG_NUMBER_MAX)
        frame_bad(f, ERROR_BIG_NUMBER);
}

/* The first byte of an element. */
static void element_start(struct frame *f, uint8_t c)
{
    enum frame_state next;
    switch (c) {
    case ':':
    case '$':
    case '*':
    case '!':
    case '=':
    case '%':
    case '~':
    case '>':
    case '|':
        next = REPLY_NUMBER;
        break;
    case '+':
    case '-':
        next = REPLY_SIMPLE;
        break;
    case '_':
        next = REPLY_CR;
        break;
    case '#':
        next = REPLY_BOOL;
        break;
    case ',':
        next = REPLY_DOUBLE;
        break;
    case '(':
        next = REPLY_BIG;
        break;
    default:
        frame_bad(f, ERROR_TYPE);
        return;
    }
    frame_line_start(f, next);
    f->offender = c;
    f->step = DOUBLE_START;
    if (c == '|')
        return;
    f->attributes = 0;
    if (f->depth == 0) {
        f->type = c;
        f->is_null = c == '_';
    }
}

/* The fast path: an element, or the header of an aggregate or bulk string, that lies whole before
 * `end`. NULL: it does not, or is unusual. */
static inline const uint8_t *element_whole(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    uint8_t type = *p;
    uint32_t n;
    const uint8_t *next;
    switch (type) {
    case '$':
    case ':':
    case '*':
    case '%':
    case '~':
        next = number_line_short(p + 1, end, &n);
        if (next == NULL)
            return NULL;
        if (f->depth == 0)
            f->type = type;
        f->attributes = 0;
        number_done(f, type, n, false);
        return next;
    case '+':
    case '-':
        next = end - p > 1 && (size_t)(end - p) <= f->limits->line_max
                   ? memchr(p + 1, '\r', (size_t)(end - p) - 1)
                   : NULL;
        if (next == NULL || end - next < 2 || next[1] != '\n')
            return NULL;
        if (f->depth == 0)
            f->type = type;
        f->attributes = 0;
        element_done(f);
        return next + 2;
    default:
        return NULL;
    }
}

static const uint8_t *reply_body(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    if (f->body_left > FRAME_TERMINATOR) {
        uint64_t n = f->body_left - FRAME_TERMINATOR;
        if (n > (size_t)(end - p))
            n = (size_t)(end - p);
        uint64_t at = f->value - f->body_left;
        if (f->offender == '=' && at < VERBATIM_PREFIX && at + n >= VERBATIM_PREFIX) {
            uint64_t colon = VERBATIM_PREFIX - 1 - at;
            if (p[colon] != ':') {
                frame_bad(f, ERROR_VERBATIM);
                return p + colon + 1;
            }
        }
        f->body_left -= n;
        p += n;
    }
    if (p < end && f->body_left == 2) {
        f->body_left--;
        if (*p++ != '\r') {
            frame_bad(f, ERROR_CR);
            return p;
        }
    }
    if (p < end && f->body_left == 1) {
        f->body_left--;
        if (*p++ != '\n')
            frame_bad(f, ERROR_LF);
        else
            element_done(f);
    }
    return p;
}

static void reply_byte(struct frame *f, uint8_t c)
{
    switch ((enum frame_state)f->state) {
    case REPLY_NUMBER:
        number_byte(f, c);
        break;
    case REPLY_NUMBER_LF:
        if (c != '\n')
            frame_bad(f, ERROR_LF);
        else
            number_done(f, f->offender, f->value, f->negative);
        break;
    case REPLY_BOOL:
        if (c != 't' && c != 'f')
            frame_bad(f, ERROR_BOOL);
        else
            f->state = REPLY_CR;
        if (f->depth == 0)
            f->number = c == 't';
        break;
    case REPLY_DOUBLE:
        double_byte(f, c);
        break;
    case REPLY_BIG:
        big_byte(f, c);
        break;
    case REPLY_CR:
        if (c != '\r')
            frame_bad(f, ERROR_CR);
        else
            f->state = REPLY_LF;
        break;
    case REPLY_LF:
        if (c != '\n')
            frame_bad(f, ERROR_LF);
        else
            element_done(f);
        break;
    default:
        unreachable();
    }
}

const uint8_t *frame_feed_reply(struct frame *f, const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        switch ((enum frame_state)f->state) {
        case STATE_START:
        case REPLY_NEXT: {
            const uint8_t *next = element_whole(f, p, end);
            if (next == NULL)
                element_start(f, *p);
            p = next == NULL ? p + 1 : next;
            break;
        }
        case REPLY_BODY:
            p = reply_body(f, p, end);
            break;
        case REPLY_SIMPLE:
            p = simple_bytes(f, p, end);
            break;
        case STATE_DONE:
        case STATE_BAD:
            return p;
        default:
            reply_byte(f, *p++);
            break;
        }
    }
    return p;
}

/* A whole bulk string or nil at `start`: where it ends; NULL: it is none, or not whole. */
static inline const uint8_t *try_bulk(const uint8_t *start, const uint8_t *end,
                                      const struct frame_limits *limits)
{
    uint32_t n;
    if (end - start < 5 || *start != '$')
        return NULL;
    const uint8_t *body = number_line_short(start + 1, end, &n);
    if (body == NULL)
        return memcmp(start, "$-1\r\n", 5) == 0 ? start + 5 : NULL;
    if (n > limits->bulk_max || (size_t)(end - body) < (size_t)n + FRAME_TERMINATOR ||
        body[n] != '\r' || body[n + 1] != '\n')
        return NULL;
    return body + n + FRAME_TERMINATOR;
}

/* What MGET answers: an array of nothing but those. */
static const uint8_t *try_array(const uint8_t *start, const uint8_t *end,
                                const struct frame_limits *limits)
{
    uint32_t count;
    const uint8_t *p = number_line_short(start + 1, end, &count);
    if (p == NULL || count > limits->elements_max || limits->depth_max == 0)
        return NULL;
    for (; p != NULL && count > 0; count--)
        p = try_bulk(p, end, limits);
    return p;
}

size_t frame_try_reply(const void *bytes, size_t len, const struct frame_limits *limits)
{
    const uint8_t *start = bytes, *end = start + len, *stop = NULL;
    if (len < 5)
        return 0;
    if (*start == '$')
        stop = try_bulk(start, end, limits);
    else if (*start == '*')
        stop = try_array(start, end, limits);
    else if (memcmp(start, "+OK\r\n", 5) == 0)
        stop = start + 5;
    return stop != NULL ? (size_t)(stop - start) : 0;
}
