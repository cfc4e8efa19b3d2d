/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of both grammars share. An input is: byte 0 chooses the limits, byte 1 how to
 * cut, the rest is the stream. Fed whole, byte by byte and cut in several ways it must give the
 * same messages and the same error.
 */
#pragma once
#include "../unit/frame_transcript.h"

#include "base/must.h"

static const struct frame_limits FUZZ_LIMITS[] = {
    {.bulk_max = 512 << 20, .elements_max = 1000000, .depth_max = 128, .line_max = FRAME_LINE_MAX},
    {.bulk_max = 16,
     .elements_max = 8,
     .depth_max = 3,
     .line_max = FRAME_LINE_MIN,
     .stranger = true},
};

enum { FUZZ_HEAD = 2 }; /* bytes before the stream */

static inline void check_cut(enum frame_grammar g, const struct frame_limits *limits,
                             const uint8_t *p, size_t len, const struct transcript *whole,
                             struct cuts c)
{
    struct transcript t = transcript_of(g, limits, p, len, &c);
    if (!transcript_eq(whole, &t)) {
        transcript_print("whole", whole);
        transcript_print("cut", &t);
        must(false);
    }
    transcript_free(&t);
}

/* The transcript of data + FUZZ_HEAD, which the caller frees. */
static inline struct transcript fuzz_stream(enum frame_grammar g, const uint8_t *data, size_t size)
{
    const struct frame_limits *limits = &FUZZ_LIMITS[data[0] & 1];
    const uint8_t *p = data + FUZZ_HEAD;
    size_t len = size - FUZZ_HEAD;
    struct transcript whole = transcript_of(g, limits, p, len, &(struct cuts){0});
    struct rng r = {data[1]};
    check_cut(g, limits, p, len, &whole, (struct cuts){.step = 1});
    check_cut(g, limits, p, len, &whole, (struct cuts){.step = 1 + data[1] % 64});
    check_cut(g, limits, p, len, &whole, (struct cuts){.at = data[1]});
    check_cut(g, limits, p, len, &whole, (struct cuts){.rng = &r});
    size_t at = 0;
    for (size_t i = 0; i < whole.count; i++) {
        must(whole.v[i].len > 0 && at + whole.v[i].len <= len);
        at += whole.v[i].len;
    }
    must(at == len || whole.v[whole.count - 1].result == FRAME_BAD);
    return whole;
}
