/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What frame.c shares with its two grammars, frame_request.c and frame_reply.c. For no other file.
 *
 * Each grammar is a state machine that takes one byte, or one stretch of body, at a time. In front
 * of it stands a fast path which takes what lies whole in the given bytes and is written in the
 * usual way; whatever it does not like it leaves untouched for the state machine, which alone
 * finds errors. That is why a stream gives the same results however it is cut.
 */
#pragma once
#include "resp/frame.h"
#include "resp/number_line.h"

enum frame_state {
    STATE_START,
    STATE_DONE,
    STATE_BAD,
    REQUEST_INLINE,
    REQUEST_COUNT,     /* behind '*' */
    REQUEST_COUNT_LF,  /* behind the CR of that line */
    REQUEST_LENGTH,    /* in a line that should start with '$' */
    REQUEST_LENGTH_LF, /* behind the CR of that line */
    REQUEST_BODY,      /* in a bulk string or its terminator */
    REPLY_NEXT,        /* before an element, inside the message */
    REPLY_NUMBER,      /* behind the type byte of : $ * ! = % ~ > | */
    REPLY_NUMBER_LF,
    REPLY_SIMPLE, /* in a + or - line */
    REPLY_BOOL,   /* behind '#' */
    REPLY_DOUBLE,
    REPLY_BIG,
    REPLY_CR, /* the line must end here */
    REPLY_LF,
    REPLY_BODY,
};

enum frame_fault {
    ERROR_NONE,
    ERROR_BIG_INLINE,
    ERROR_BIG_COUNT,
    ERROR_BIG_LENGTH,
    ERROR_COUNT,
    ERROR_LENGTH,
    ERROR_STRANGER_COUNT,
    ERROR_STRANGER_LENGTH,
    ERROR_NOT_DOLLAR,
    ERROR_TYPE,
    ERROR_LINE_LEN,
    ERROR_INTEGER,
    ERROR_NO_DIGITS,
    ERROR_OVERFLOW,
    ERROR_NEGATIVE,
    ERROR_BULK_MAX,
    ERROR_ELEMENTS,
    ERROR_DEPTH,
    ERROR_ATTRIBUTES,
    ERROR_CR,
    ERROR_LF,
    ERROR_BOOL,
    ERROR_DOUBLE,
    ERROR_BIG_NUMBER,
    ERROR_VERBATIM,
};

enum { FRAME_TERMINATOR = 2 }; /* CR and LF behind a bulk string */

/* Take bytes up to the end of the message, or of what is given; return where they stopped. */
const uint8_t *frame_feed_request(struct frame *f, const uint8_t *p, const uint8_t *end);
const uint8_t *frame_feed_reply(struct frame *f, const uint8_t *p, const uint8_t *end);

static inline void frame_bad(struct frame *f, enum frame_fault error)
{
    f->state = STATE_BAD;
    f->error = (uint8_t)error;
    f->body_left = 0;
}

/* Forgets the line before. */
static inline void frame_line_start(struct frame *f, enum frame_state state)
{
    f->state = (uint8_t)state;
    f->line_has_nul = false;
    f->negative = false;
    f->not_a_number = false;
    f->line_len = 0;
    f->digits_len = 0;
    f->value = 0;
}
