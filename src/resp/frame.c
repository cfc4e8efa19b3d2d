/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ends of messages: see frame.h, and frame_private.h for how it works.
 * No state is shared: one frame is used by one thread at a time.
 */
#include "resp/frame.h"

#include "base/must.h"
#include "resp/frame_private.h"

#include <stdio.h>

void frame_init(struct frame *f, enum frame_grammar grammar, const struct frame_limits *limits)
{
    must(limits->line_max >= FRAME_LINE_MIN);
    f->limits = limits;
    f->grammar = (uint8_t)grammar;
    frame_reset(f);
}

void frame_reset(struct frame *f)
{
    f->state = STATE_START;
    f->len = 0;
    f->body_left = 0;
    f->type = 0;
    f->is_inline = false;
    f->sloppy = false;
    f->is_null = false;
    f->number = 0;
    f->error = ERROR_NONE;
    f->attributes = 0;
    f->elements = 0;
    f->depth = 0;
}

enum frame_result frame_feed(struct frame *f, const void *bytes, size_t len, size_t *ret_used)
{
    const uint8_t *start = bytes, *stop = start;
    must(f->state != STATE_DONE);
    if (len > 0)
        stop = f->grammar == FRAME_REQUEST ? frame_feed_request(f, start, start + len)
                                           : frame_feed_reply(f, start, start + len);
    *ret_used = (size_t)(stop - start);
    f->len += (size_t)(stop - start);
    return f->state == STATE_DONE ? FRAME_READY : f->state == STATE_BAD ? FRAME_BAD : FRAME_MORE;
}

static const char *const ERROR_TEXTS[] = {
    [ERROR_NONE] = "no error",
    [ERROR_BIG_INLINE] = "Protocol error: too big inline request",
    [ERROR_BIG_COUNT] = "Protocol error: too big mbulk count string",
    [ERROR_BIG_LENGTH] = "Protocol error: too big bulk count string",
    [ERROR_COUNT] = "Protocol error: invalid multibulk length",
    [ERROR_LENGTH] = "Protocol error: invalid bulk length",
    [ERROR_STRANGER_COUNT] = "Protocol error: unauthenticated multibulk length",
    [ERROR_STRANGER_LENGTH] = "Protocol error: unauthenticated bulk length",
    [ERROR_NOT_DOLLAR] = "Protocol error: expected '$', got '%c'",
    [ERROR_TYPE] = "unknown type byte",
    [ERROR_LINE_LEN] = "line too long",
    [ERROR_INTEGER] = "invalid character in an integer",
    [ERROR_NO_DIGITS] = "integer without digits",
    [ERROR_OVERFLOW] = "integer out of range",
    [ERROR_NEGATIVE] = "negative length or count",
    [ERROR_BULK_MAX] = "bulk string too long",
    [ERROR_ELEMENTS] = "too many elements",
    [ERROR_DEPTH] = "nested too deeply",
    [ERROR_ATTRIBUTES] = "too many attributes in a row",
    [ERROR_CR] = "expected CR",
    [ERROR_LF] = "expected LF",
    [ERROR_BOOL] = "invalid boolean",
    [ERROR_DOUBLE] = "invalid double",
    [ERROR_BIG_NUMBER] = "invalid big number",
    [ERROR_VERBATIM] = "verbatim string without a format",
};

const char *frame_error(const struct frame *f, char to[FRAME_ERROR_MAX])
{
    if (f->error == ERROR_NOT_DOLLAR) {
        /* redis-server turns line ends inside an error into blanks. The byte can't be a NUL: that
         * would have hidden the CR without which there is no such error. */
        char c = (char)(f->offender == '\r' || f->offender == '\n' ? ' ' : f->offender);
        snprintf(to, FRAME_ERROR_MAX, "Protocol error: expected '$', got '%c'", c);
    } else {
        snprintf(to, FRAME_ERROR_MAX, "%s", ERROR_TEXTS[f->error]);
    }
    return to;
}
