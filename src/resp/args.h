/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of one complete request, wherever its bytes lie: in one piece or in many.
 * One struct args serves a worker for one request at a time and keeps its memory for the next.
 *
 * Argument bodies are looked at only on demand: a 5 MB value is never gathered, a key is.
 */
#pragma once
#include "base/cleanup.h"
#include "base/must.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct arg {
    uint32_t piece; /* index into args.iov */
    size_t at;      /* offset of the first byte in that piece */
    size_t len;     /* bytes; may go on in the next pieces */
};

struct args {
    const struct iovec *iov; /* loan: the request's bytes, until the next args_parse() */
    size_t iov_count;
    size_t frame_len; /* bytes of the whole request */
    struct arg *v;
    size_t count;
    /* private */
    size_t v_room;
    void *gathered; /* copies of arguments that lie in several pieces; freed at the next parse */
    char *inline_bytes;
    struct iovec inline_iov;
    struct iovec tried; /* what args_try() found */
};

void args_init(struct args *a);
void args_fini(struct args *a);

/* `iov` holds exactly one request that frame_feed() called READY, not inline, with number > 0.
 * 0, or -ENOMEM. */
int args_parse(struct args *a, const struct iovec *iov, size_t iov_count) MUST_CHECK;

/* As args_parse() for the first `count` arguments of a request that goes on behind `iov`; they have
 * come whole, as frame_arguments() told. a->frame_len is the bytes in `iov`. 0 or -ENOMEM. */
int args_parse_begin(struct args *a, const struct iovec *iov, size_t iov_count,
                     size_t count) MUST_CHECK;

/*
 * The short way for what clients mostly send: if `bytes` begin with a whole request, written as
 * client libraries write it and within `limits`, parses it as args_parse() would and gives its
 * length. 0: it is something else, or not whole yet; let a frame judge. Not 0 means that the frame
 * would say READY, not sloppy, at that length.
 */
struct frame_limits;
size_t args_try(struct args *a, const void *bytes, size_t len, const struct frame_limits *limits);

/*
 * The same for an inline request: splits `line` (its LF included or not) as redis-server's
 * sdssplitargs() does. The arguments then lie in memory of `a`, encoded as an array of bulk strings
 * in a->iov. 0 (a->count may be 0: a blank line), -EINVAL: unbalanced quotes, -ENOMEM.
 */
int args_parse_inline(struct args *a, struct str line) MUST_CHECK;

/* Encodes a sloppy request anew; afterwards a->iov is the canonical form. 0 or -ENOMEM. */
int args_make_canonical(struct args *a) MUST_CHECK;

/* Encodes the request anew with another argument 0; all of it is copied. 0 or -ENOMEM. */
int args_rename(struct args *a, struct str name) MUST_CHECK;

/* The argument in one piece: a loan until the next parse. Gathers if it must; memory then is as
 * large as the argument, so ask for keys and option words only. p is NULL on -ENOMEM. */
struct str args_gather(struct args *a, size_t index); /* args_str() of one that is in several */
static inline struct str args_str(struct args *a, size_t index)
{
    must(index < a->count);
    const struct arg *v = &a->v[index];
    const struct iovec *iov = &a->iov[v->piece];
    return iov->iov_len - v->at >= v->len
               ? (struct str){(const char *)iov->iov_base + v->at, v->len}
               : args_gather(a, index);
}

/* Copies the first bytes of an argument, at most `max`, however long it is and wherever they lie;
 * returns how many. */
size_t args_copy_head(const struct args *a, size_t index, char *to, size_t max);

static inline size_t args_len(const struct args *a, size_t index)
{
    return a->v[index].len;
}

/* The arguments from `first` on as a request of their own, with its own memory: for requests that
 * carry another (COMMAND GETKEYS). `first` must be below a->count. 0 or -ENOMEM; args_fini(). */
int args_tail(const struct args *a, size_t first, struct args *ret_tail) MUST_CHECK;

/* The pieces of the whole encoded argument, `$len` header and terminator included; calls
 * `take(owner, bytes, len)` for each until it returns non-zero, which is then returned. Always the
 * canonical form, also of a sloppy request. The bytes are a loan for the time of the call. */
int args_each_piece(const struct args *a, size_t index,
                    int (*take)(void *owner, const void *bytes, size_t len), void *owner);
