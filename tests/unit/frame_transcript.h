/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a frame says about a stream, message by message, so that streams cut in different ways can
 * be compared. Each piece is fed from a block of memory of exactly its size, for the sanitizers.
 */
#pragma once
#include "base/must.h"
#include "base/rng.h"
#include "resp/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How to cut a stream. */
struct cuts {
    size_t step;     /* pieces of this many bytes; 0: not */
    size_t at;       /* two pieces, cut here; 0: not */
    struct rng *rng; /* pieces of random sizes; NULL: not */
};

struct outcome {
    enum frame_result result;
    uint64_t len;
    uint64_t body_left;
    int64_t number;
    uint8_t type;
    bool is_inline, sloppy, is_null;
    char error[FRAME_ERROR_MAX];
};

struct transcript {
    struct outcome
        *v; /* the last is FRAME_BAD or FRAME_MORE, unless the stream ends with a READY */
    size_t count;
};

static inline void transcript_free(struct transcript *t)
{
    free(t->v);
}

static inline void transcript_add(struct transcript *t, const struct frame *f,
                                  enum frame_result result)
{
    t->v = realloc(t->v, (t->count + 1) * sizeof(*t->v));
    must(t->v != NULL);
    struct outcome *o = &t->v[t->count++];
    memset(o, 0, sizeof(*o)); /* outcomes are compared as bytes */
    o->result = result;
    o->len = f->len;
    o->type = f->type;
    o->is_inline = f->is_inline;
    o->sloppy = f->sloppy;
    o->is_null = f->is_null;
    o->number = f->number;
    o->body_left = f->body_left;
    if (result == FRAME_BAD) {
        char text[FRAME_ERROR_MAX];
        strcpy(o->error, frame_error(f, text));
    }
}

static inline size_t cuts_next(const struct cuts *c, size_t done, size_t len)
{
    size_t n = len - done;
    if (c->step > 0)
        n = c->step;
    else if (c->at > done)
        n = c->at - done;
    else if (c->rng != NULL)
        n = 1 + (size_t)rng_below(c->rng, rng_below(c->rng, 4) == 0 ? 4096 : 12);
    return n < len - done ? n : len - done;
}

/* The caller frees the transcript. */
static inline struct transcript transcript_of(enum frame_grammar grammar,
                                              const struct frame_limits *limits, const void *bytes,
                                              size_t len, const struct cuts *c)
{
    struct transcript t = {0};
    struct frame f;
    enum frame_result result = FRAME_MORE;
    frame_init(&f, grammar, limits);
    for (size_t done = 0; done < len && result != FRAME_BAD;) {
        size_t n = cuts_next(c, done, len);
        char *piece = malloc(n);
        must(piece != NULL);
        memcpy(piece, (const char *)bytes + done, n);
        for (size_t at = 0; at < n && result != FRAME_BAD;) {
            size_t used;
            uint64_t before = f.len;
            result = frame_feed(&f, piece + at, n - at, &used);
            must(used <= n - at && f.len == before + used);
            must(result != FRAME_MORE || used == n - at);
            at += used;
            if (result == FRAME_READY) {
                transcript_add(&t, &f, result);
                frame_reset(&f);
            }
        }
        free(piece);
        done += n;
    }
    if (result == FRAME_BAD) {
        size_t used = 1;
        transcript_add(&t, &f, result);
        must(frame_feed(&f, "x", 1, &used) == FRAME_BAD && used == 0); /* it stays so */
    } else if (f.len > 0) {
        transcript_add(&t, &f, FRAME_MORE);
    }
    return t;
}

static inline bool transcript_eq(const struct transcript *a, const struct transcript *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->v, b->v, a->count * sizeof(*a->v)) == 0);
}

static inline void transcript_print(const char *name, const struct transcript *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct outcome *o = &t->v[i];
        fprintf(stderr,
                "%s %zu: result=%d len=%" PRIu64 " left=%" PRIu64 " type=%d inline=%d sloppy=%d "
                "null=%d number=%" PRId64 " %s\n",
                name, i, (int)o->result, o->len, o->body_left, o->type, o->is_inline, o->sloppy,
                o->is_null, o->number, o->error);
    }
}

/* frame_try_reply() agrees with what a frame said of each message in the stream. */
static inline void check_tried_replies(const struct frame_limits *limits, const uint8_t *p,
                                       size_t len, const struct transcript *whole)
{
    for (size_t i = 0, at = 0; i < whole->count; at += whole->v[i].len, i++) {
        const struct outcome *o = &whole->v[i];
        size_t tried = frame_try_reply(p + at, len - at, limits);
        must(tried == 0 || (o->result == FRAME_READY && o->len == tried && o->type == p[at]));
        /* It does take bulk strings; those whose length has a leading zero it leaves to the frame.
         */
        must(tried > 0 || o->result != FRAME_READY || o->type != '$' || p[at] != '$' ||
             o->is_null || p[at + 1] == '0');
    }
}
