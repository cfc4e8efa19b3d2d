/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams from clients (see fuzz_streams.h). Besides holds for each request in them:
 *  - the arguments are the same in one piece and in many;
 *  - encoded anew it has the same arguments, is not sloppy, and is encoded as itself;
 *  - args_try() takes it whole, if it is as client libraries write it, or not at all.
 */
#include "fuzz_streams.h"

#include "resp/args.h"

#include <errno.h>

enum { PIECES_MAX = 256 };

/* Cuts a message into at most PIECES_MAX pieces of `step` bytes, the last longer. */
static size_t cut(const uint8_t *p, size_t len, size_t step, struct iovec iov[PIECES_MAX])
{
    size_t count = 0, at = 0;
    while (at < len) {
        size_t n = len - at > step && count < PIECES_MAX - 1 ? step : len - at;
        iov[count].iov_base = malloc(n);
        iov[count].iov_len = n;
        must(iov[count].iov_base != NULL);
        memcpy(iov[count++].iov_base, p + at, n);
        at += n;
    }
    return count;
}

static void check_same_args(struct args *a, struct args *b)
{
    must(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        struct str x = args_str(a, i), y = args_str(b, i);
        must(x.p != NULL && y.p != NULL && str_eq(x, y));
    }
}

/* Encodes `a` anew and parses that. */
static void check_canonical(struct args *a)
{
    struct args again;
    struct frame f;
    size_t used;
    /* An inline request may have more arguments than the limits let an array have. */
    static const struct frame_limits WIDE = {
        .bulk_max = 1 << 30, .elements_max = 1 << 30, .depth_max = 1, .line_max = FRAME_LINE_MAX};
    must(args_make_canonical(a) == 0 && a->iov_count == 1);
    frame_init(&f, FRAME_REQUEST, &WIDE);
    must(frame_feed(&f, a->iov[0].iov_base, a->iov[0].iov_len, &used) == FRAME_READY);
    must(used == a->iov[0].iov_len && used == a->frame_len && !f.sloppy && !f.is_inline);
    must(f.number == (int64_t)a->count);
    args_init(&again);
    struct iovec iov = a->iov[0];
    must(args_parse(&again, &iov, 1) == 0);
    check_same_args(a, &again);
    struct iovec before = iov;
    must(args_make_canonical(&again) == 0);
    must(again.iov[0].iov_len == before.iov_len &&
         memcmp(again.iov[0].iov_base, before.iov_base, before.iov_len) == 0);
    args_fini(&again);
}

static void check_request(const struct outcome *o, const uint8_t *p, size_t step)
{
    struct args a, b;
    struct iovec whole, pieces[PIECES_MAX];
    size_t count = 0;
    args_init(&a);
    args_init(&b);
    must(cut(p, o->len, o->len, &whole) == 1);
    if (o->is_inline) {
        int status = args_parse_inline(&a, (struct str){whole.iov_base, whole.iov_len});
        must(status == 0 || (status == -EINVAL && a.count == 0));
    } else {
        must(args_parse(&a, &whole, 1) == 0);
        count = cut(p, o->len, step, pieces);
        must(args_parse(&b, pieces, count) == 0);
        must(a.count == (size_t)o->number && a.frame_len == o->len && b.frame_len == o->len);
        check_same_args(&a, &b);
        must(args_make_canonical(&b) == 0);
        check_same_args(&a, &b);
    }
    if (a.count > 0)
        check_canonical(&a);
    args_fini(&a);
    args_fini(&b);
    free(whole.iov_base);
    for (size_t i = 0; i < count; i++)
        free(pieces[i].iov_base);
}

/* The short way and the frame agree about the message that begins at `p`. */
static void check_tried(const struct outcome *o, const uint8_t *p, size_t len,
                        const struct frame_limits *limits)
{
    struct args a, b;
    args_init(&a);
    args_init(&b);
    size_t tried = args_try(&a, p, len, limits);
    bool usual = o->result == FRAME_READY && !o->is_inline && !o->sloppy && o->number > 0;
    if (tried > 0) {
        must(usual && tried == o->len && a.frame_len == tried);
        struct iovec iov = {(void *)(uintptr_t)p, tried};
        must(args_parse(&b, &iov, 1) == 0);
        check_same_args(&a, &b);
    } else {
        must(!usual || o->number > 32);
    }
    args_fini(&a);
    args_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= FUZZ_HEAD)
        return 0;
    struct transcript t = fuzz_stream(FRAME_REQUEST, data, size);
    const uint8_t *p = data + FUZZ_HEAD;
    const struct frame_limits *limits = &FUZZ_LIMITS[data[0] & 1];
    for (size_t i = 0; i < t.count; p += t.v[i].len, i++) {
        check_tried(&t.v[i], p, (size_t)(data + size - p), limits);
        if (t.v[i].result == FRAME_READY && (t.v[i].is_inline || t.v[i].number > 0))
            check_request(&t.v[i], p, 1 + data[1] % 64);
    }
    transcript_free(&t);
    return 0;
}
