/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the end of a message in a stream of bytes that arrives in pieces of any size. Copies
 * nothing, allocates nothing, looks at each byte at most once, knows nothing of commands.
 *
 * Two grammars:
 *   FRAME_REQUEST  what clients send, judged byte for byte as redis-server 7.0 judges it
 *                  (networking.c, processInlineBuffer and processMultibulkBuffer): the byte after a
 *                  header's CR and the two bytes after a bulk are not looked at, a NUL hides what
 *                  follows it in a line, a count of 0 or less is an empty command, and so on.
 *   FRAME_REPLY    what nodes send, RESP2 and RESP3, strict.
 *
 * The property all tests lean on: feeding a stream whole or cut anywhere gives the same messages,
 * the same results and the same errors.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_grammar { FRAME_REQUEST, FRAME_REPLY };

enum frame_result {
    FRAME_MORE,  /* all given bytes belong to this message, and it goes on */
    FRAME_READY, /* the message is complete */
    FRAME_BAD,   /* it never can be: frame_error() says why */
};

/* Shared by all frames of a worker; must outlive them. */
struct frame_limits {
    uint64_t bulk_max;     /* bytes in one bulk string */
    uint32_t elements_max; /* of one aggregate, and in sum over the whole message */
    uint32_t depth_max;    /* nested aggregates; FRAME_REPLY only. At most FRAME_DEPTH_MAX */
    uint32_t line_max;     /* bytes of an inline request or of a header or simple line; at least
                              FRAME_LINE_MIN, so that every sensible header fits */
    bool stranger;         /* FRAME_REQUEST: who has not said who it is; errors say so */
};

enum {
    FRAME_DEPTH_MAX = 128,
    FRAME_LINE_MAX = 64 * 1024, /* PROTO_INLINE_MAX_SIZE of redis-server */
    FRAME_LINE_MIN = 32,
    FRAME_ERROR_MAX = 128,
};

struct frame {
    const struct frame_limits *limits; /* loan */
    uint8_t grammar;
    uint8_t state; /* private to frame*.c, as are the members at the end */

    /* Told about the message so far. */
    uint64_t len;       /* bytes fed that belong to it */
    uint64_t body_left; /* bytes still to come of the bulk string it is in, its CRLF included */
    uint8_t type;       /* first byte: '*', '$', '+', …; 0 before it. Attributes ('|') are part of
                           the message that follows them, and `type` is that message's */
    bool is_inline;     /* FRAME_REQUEST: a line, to be split by args_parse_inline() */
    bool sloppy;        /* FRAME_REQUEST: valid to Redis, but not what a client library writes (a
                           terminator that is not CRLF). Encode it anew before sending it on */
    bool is_null;       /* FRAME_REPLY, `*-1` `$-1` `_` */
    int64_t number;     /* FRAME_REQUEST: the array's count (≤ 0: an empty command, to be passed
                           over in silence); FRAME_REPLY: the value of ':', '$', '*', '%', '~', '>'
                           and of '#' (0 or 1) headers */

    /* private */
    uint8_t error;
    uint8_t offender;   /* first byte of the header line it is in, or type of the element */
    uint8_t step;       /* where it is in a double */
    uint8_t attributes; /* attributes in a row before the element that comes next */
    bool line_has_nul;
    bool negative;
    bool not_a_number;
    uint32_t line_len;   /* bytes of the line it is in, its CR not counted */
    uint32_t digits_len; /* of the number it is in */
    uint64_t value;      /* that number; inside a bulk string, its bytes: FRAME_REPLY counts the
                            terminator too */
    uint32_t elements;   /* FRAME_REQUEST: arguments to come; FRAME_REPLY: seen in this message */
    uint32_t depth;
    /* FRAME_REPLY only, never touched for requests, and last: who keeps many frames for requests
     * may allocate offsetof(struct frame, left) bytes for each. */
    uint32_t left[FRAME_DEPTH_MAX]; /* elements still to come per open aggregate */
};

/* `limits` is kept. */
void frame_init(struct frame *f, enum frame_grammar grammar, const struct frame_limits *limits);

/* Ready for the next message; grammar and limits stay. */
void frame_reset(struct frame *f);

/*
 * Takes bytes of the stream. *ret_used is how many belong to this message: all of them on MORE,
 * those up to its end on READY (the next message starts there); on BAD how many were looked at.
 * After READY or BAD call frame_reset() before the next feed.
 */
enum frame_result frame_feed(struct frame *f, const void *bytes, size_t len, size_t *ret_used);

/* FRAME_REQUEST, inside an array: how many of its arguments have come whole. */
static inline size_t frame_arguments(const struct frame *f)
{
    return f->number > 0 ? (size_t)f->number - f->elements : 0;
}

/* FRAME_REQUEST, inside a bulk string (body_left > 0): how long that is, its terminator not
 * counted.
 */
static inline uint64_t frame_body(const struct frame *f)
{
    return f->value;
}

/* The short way for what nodes mostly send: if `bytes` begin with a whole bulk string or nil ($),
 * an array of these, or +OK, within `limits`: its length. 0: it is something else, or not whole
 * yet; feed a frame. Not 0 means that a frame would say FRAME_READY at that length, with the first
 * byte as its type. */
size_t frame_try_reply(const void *bytes, size_t len, const struct frame_limits *limits);

/* After FRAME_BAD. For FRAME_REQUEST redis-server's own text without "-ERR " ("Protocol error:
 * expected '$', got 'E'"); for FRAME_REPLY a text for the log. Returns `to`. */
const char *frame_error(const struct frame *f, char to[FRAME_ERROR_MAX]);
