/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cases for what a buf promises about memory, and a random walk of all operations over several bufs
 * of one small pool, compared with plain arrays of bytes.
 */
#include "base/buf.h"

#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    ROOM = CHUNK_BYTES - 64, /* surely less than a chunk holds, and nearly all of it */
    IOV_MAX_HERE = 4096,
};

static void check_text(const struct buf *b, const char *expected)
{
    char text[256];
    assert_int_equal(b->len, strlen(expected));
    buf_copy_out(b, 0, text, b->len);
    assert_memory_equal(text, expected, b->len);
}

/* Nothing is held any more, the idle shared chunk excepted. */
static void check_balanced(struct chunk_pool *p)
{
    assert_int_equal(chunk_pool_bytes(p), 0);
    assert_int_equal(p->slices.in_use, 0);
    assert_int_equal(p->chunks.in_use, p->shared ? 1 : 0);
    chunk_pool_fini(p);
    assert_int_equal(p->chunks.in_use, 0);
}

static void test_empty(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf a, b;
    struct iovec iov[1];
    chunk_pool_init(&p, 1 << 20, 0);
    buf_init(&a);
    buf_init(&b);
    assert_int_equal(buf_append(&a, &p, "", 0), 0);
    assert_int_equal(buf_append_shared(&a, &p, NULL, 0), 0);
    assert_int_equal(buf_append_urgent(&a, &p, NULL, 0), 0);
    assert_int_equal(buf_move(&a, &b, &p, 0), 0);
    buf_move_all(&a, &b);
    buf_consume(&a, &p, 0);
    buf_truncate(&a, &p, 0);
    buf_truncate(&a, &p, 10);
    buf_clear(&a, &p);
    buf_copy_out(&a, 0, NULL, 0);
    assert_int_equal(buf_iov(&a, 0, iov, 1), 0);
    assert_int_equal(buf_pieces(&a), 0);
    assert_int_equal(a.len, 0);
    assert_int_equal(p.chunks.in_use, 0);
    check_balanced(&p);
}

/* Many bufs with few bytes each: one chunk for all of them. */
static void test_shared_chunk(void **state)
{
    (void)state;
    enum { BUFS = 500 };
    static struct buf bufs[BUFS];
    struct chunk_pool p;
    chunk_pool_init(&p, 1 << 20, 0);
    for (size_t i = 0; i < BUFS; i++) {
        char text[16];
        buf_init(&bufs[i]);
        snprintf(text, sizeof(text), "n%zu", i);
        assert_int_equal(buf_append_shared(&bufs[i], &p, text, strlen(text)), 0);
    }
    assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
    /* A second helping goes behind the others' bytes, and harms none of them. */
    for (size_t i = 0; i < BUFS; i++)
        assert_int_equal(buf_append_shared(&bufs[i], &p, "+more", 5), 0);
    assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
    for (size_t i = 0; i < BUFS; i++) {
        char text[16];
        snprintf(text, sizeof(text), "n%zu+more", i);
        check_text(&bufs[i], text);
        buf_clear(&bufs[i], &p);
    }
    check_balanced(&p);
}

/* One buf in ever so many appends: they join into one piece per chunk. */
static void test_appends_join(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf b;
    chunk_pool_init(&p, 1 << 20, 0);
    buf_init(&b);
    for (int i = 0; i < ROOM / 8; i++)
        assert_int_equal(buf_append(&b, &p, "12345678", 8), 0);
    assert_int_equal(buf_pieces(&b), 1);
    assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
    for (int i = 0; i < ROOM / 8; i++)
        assert_int_equal(buf_append(&b, &p, "12345678", 8), 0);
    assert_int_equal(buf_pieces(&b), 2);
    buf_clear(&b, &p);
    check_balanced(&p);
}

/* Above BUF_COPY_MAX the moved bytes stay where they are, up to it they are copied. */
static void test_move_by_reference(void **state)
{
    (void)state;
    static char bytes[10000];
    struct chunk_pool p;
    struct buf from, to;
    struct iovec before, after;
    chunk_pool_init(&p, 1 << 20, 0);
    buf_init(&from);
    buf_init(&to);
    assert_int_equal(buf_append(&from, &p, bytes, sizeof(bytes)), 0);
    assert_int_equal(buf_iov(&from, 0, &before, 1), 1);
    assert_int_equal(buf_move(&to, &from, &p, BUF_COPY_MAX + 1), 0);
    assert_int_equal(buf_iov(&to, 0, &after, 1), 1);
    assert_ptr_equal(after.iov_base, before.iov_base);
    assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
    assert_int_equal(buf_move(&to, &from, &p, BUF_COPY_MAX), 0);
    assert_int_equal(chunk_pool_bytes(&p), 2 * CHUNK_BYTES);
    assert_int_equal(to.len, 2 * BUF_COPY_MAX + 1);
    assert_int_equal(from.len, sizeof(bytes) - 2 * BUF_COPY_MAX - 1);
    /* The bytes of the other holder live on when one is gone. */
    buf_clear(&from, &p);
    assert_int_equal(buf_iov(&to, 0, &after, 1), 1);
    assert_ptr_equal(after.iov_base, before.iov_base);
    buf_move_all(&from, &to);
    assert_int_equal(to.len, 0);
    assert_int_equal(from.len, 2 * BUF_COPY_MAX + 1);
    buf_clear(&from, &p);
    check_balanced(&p);
}

static void test_limit_and_reserve(void **state)
{
    (void)state;
    static char bytes[5 * CHUNK_BYTES];
    struct chunk_pool p;
    struct buf b, c;
    chunk_pool_init(&p, 3 * CHUNK_BYTES - 5, CHUNK_BYTES); /* rounded up: 3 and 1 */
    buf_init(&b);
    buf_init(&c);
    assert_int_equal(buf_append(&b, &p, "kept", 4), 0);
    assert_int_equal(buf_append(&b, &p, bytes, sizeof(bytes)), -ENOMEM);
    check_text(&b, "kept");
    assert_int_equal(p.limit_hits, 1);
    assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
    assert_int_equal(buf_append(&b, &p, bytes, 2 * ROOM), 0);
    assert_int_equal(chunk_pool_bytes(&p), 3 * CHUNK_BYTES);
    assert_int_equal(buf_append(&c, &p, "x", 1), -ENOMEM);
    assert_int_equal(buf_append_shared(&c, &p, "x", 1), -ENOMEM);
    assert_int_equal(p.limit_hits, 3);
    assert_int_equal(c.len, 0);
    assert_int_equal(buf_append_urgent(&c, &p, "-ERR", 4), 0);
    assert_int_equal(chunk_pool_bytes(&p), 4 * CHUNK_BYTES);
    assert_int_equal(buf_append_urgent(&c, &p, bytes, CHUNK_BYTES), -ENOMEM);
    check_text(&c, "-ERR");
    assert_int_equal(p.limit_hits, 3); /* only ordinary appends are counted */
    buf_clear(&b, &p);
    buf_clear(&c, &p);
    check_balanced(&p);
}

/* The shared chunk outlives its bytes. That must not take room from others at the limit, or a pool
 * of one chunk would never serve anyone again. */
static void test_idle_shared_chunk_is_free(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf b, c;
    chunk_pool_init(&p, CHUNK_BYTES, 0);
    buf_init(&b);
    buf_init(&c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(buf_append_shared(&b, &p, "shared", 6), 0);
        assert_int_equal(buf_append(&c, &p, "own", 3), -ENOMEM);
        buf_clear(&b, &p);
        assert_int_equal(chunk_pool_bytes(&p), 0);
        assert_int_equal(buf_append(&c, &p, "own", 3), 0);
        assert_int_equal(chunk_pool_bytes(&p), CHUNK_BYTES);
        assert_int_equal(buf_append_shared(&b, &p, "shared", 6), -ENOMEM);
        assert_int_equal(buf_append_urgent(&b, &p, "urgent", 6), -ENOMEM);
        check_text(&c, "own");
        buf_clear(&c, &p);
    }
    check_balanced(&p);
}

/* Nor may ordinary bytes take the place in it that an urgent append found in the reserve. */
static void test_idle_shared_chunk_in_the_reserve(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf b, c;
    chunk_pool_init(&p, CHUNK_BYTES, CHUNK_BYTES);
    buf_init(&b);
    buf_init(&c);
    assert_int_equal(buf_append(&b, &p, "own", 3), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(buf_append_urgent(&c, &p, "urgent", 6), 0);
        assert_int_equal(chunk_pool_bytes(&p), 2 * CHUNK_BYTES);
        buf_clear(&c, &p);
        assert_int_equal(buf_append_shared(&c, &p, "shared", 6), -ENOMEM);
        assert_int_equal(buf_append(&c, &p, "own", 3), -ENOMEM);
        assert_int_equal(p.limit_hits, 2 * (i + 1));
        check_text(&b, "own");
    }
    buf_clear(&b, &p);
    assert_int_equal(buf_append_shared(&c, &p, "shared", 6), 0);
    check_text(&c, "shared");
    buf_clear(&c, &p);
    check_balanced(&p);
}

/* "No limit" may be said as the largest number. */
static void test_huge_limit(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf b;
    chunk_pool_init(&p, SIZE_MAX, SIZE_MAX);
    buf_init(&b);
    assert_int_equal(buf_append(&b, &p, "x", 1), 0);
    assert_int_equal(buf_append_urgent(&b, &p, "y", 1), 0);
    check_text(&b, "xy");
    buf_clear(&b, &p);
    check_balanced(&p);
}

static void test_iov(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf b, other;
    struct iovec iov[8];
    chunk_pool_init(&p, 1 << 20, 0);
    buf_init(&b);
    buf_init(&other);
    for (int i = 0; i < 4; i++) { /* what stands between keeps the pieces apart */
        assert_int_equal(buf_append_shared(&b, &p, "abcd", 4), 0);
        assert_int_equal(buf_append_shared(&other, &p, "-", 1), 0);
    }
    assert_int_equal(buf_pieces(&b), 4);
    assert_int_equal(buf_iov(&b, 0, iov, 8), 4);
    assert_int_equal(buf_iov(&b, 0, iov, 3), 3);
    assert_int_equal(buf_iov(&b, 0, iov, 0), 0);
    assert_int_equal(buf_iov(&b, 5, iov, 8), 3);
    assert_int_equal(iov[0].iov_len, 3);
    assert_memory_equal(iov[0].iov_base, "bcd", 3);
    assert_int_equal(iov[2].iov_len, 4);
    assert_int_equal(buf_iov(&b, 4, iov, 1), 1);
    assert_int_equal(iov[0].iov_len, 4);
    assert_int_equal(buf_iov(&b, 15, iov, 8), 1);
    assert_memory_equal(iov[0].iov_base, "d", 1);
    assert_int_equal(buf_iov(&b, 16, iov, 8), 0);
    assert_int_equal(buf_iov(&b, 99, iov, 8), 0);
    buf_clear(&b, &p);
    buf_clear(&other, &p);
    check_balanced(&p);
}

enum { BUFS = 6, LIMIT = 12, RESERVE = 3, MODEL_MAX = (LIMIT + RESERVE) * CHUNK_BYTES };

/* A buf and what it should hold. */
struct pair {
    struct buf buf;
    uint8_t *bytes; /* room for MODEL_MAX, which is all that the pool can hold */
    size_t len;
};

struct walk {
    struct rng rng;
    struct chunk_pool pool;
    struct pair pairs[BUFS];
    uint64_t seed;
    int step;
    unsigned appended, refused, moved;
};

static void check_pair(struct walk *w, struct pair *m)
{
    static struct iovec iov[IOV_MAX_HERE];
    static uint8_t copy[MODEL_MAX];
    if (m->buf.len != m->len)
        fail_msg("seed %llu, step %d: %zu bytes instead of %zu", (unsigned long long)w->seed,
                 w->step, m->buf.len, m->len);
    size_t skip = m->len > 0 ? rng_below(&w->rng, m->len) : 0;
    size_t take = rng_below(&w->rng, m->len - skip + 1);
    buf_copy_out(&m->buf, skip, copy, take);
    if (memcmp(copy, m->bytes + skip, take) != 0)
        fail_msg("seed %llu, step %d: other bytes", (unsigned long long)w->seed, w->step);
    size_t at = rng_below(&w->rng, 2) ? skip : 0;
    int count = buf_iov(&m->buf, at, iov, IOV_MAX_HERE);
    if (at == 0 && count < IOV_MAX_HERE)
        assert_int_equal(count, buf_pieces(&m->buf));
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len == 0 || at + iov[i].iov_len > m->len ||
            memcmp(iov[i].iov_base, m->bytes + at, iov[i].iov_len) != 0)
            fail_msg("seed %llu, step %d: wrong iovec", (unsigned long long)w->seed, w->step);
        at += iov[i].iov_len;
    }
    if (count < IOV_MAX_HERE)
        assert_int_equal(at, m->len);
}

/* Lengths around every boundary that the code knows, and any between. */
static size_t draw_len(struct rng *rng)
{
    static const size_t EDGES[] = {
        0, 1, BUF_COPY_MAX, CHUNK_BYTES / 2, CHUNK_BYTES, 2 * CHUNK_BYTES};
    switch (rng_below(rng, 4)) {
    case 0: {
        size_t edge = EDGES[rng_below(rng, sizeof(EDGES) / sizeof(EDGES[0]))];
        size_t off = rng_below(rng, 40);
        return edge + 3 > off ? edge + 3 - off : 0;
    }
    case 1:
        return rng_below(rng, 3 * CHUNK_BYTES);
    case 2:
        return rng_below(rng, 3000);
    default:
        return rng_below(rng, 60);
    }
}

/* Refused rightly? Only if what is in use and what is needed at most are more than allowed. */
static void check_refusal(const struct walk *w, size_t len, size_t allowed)
{
    size_t needed = (len + ROOM - 1) / ROOM;
    if (chunk_pool_bytes(&w->pool) / CHUNK_BYTES + needed <= allowed)
        fail_msg("seed %llu, step %d: refused %zu bytes with %zu of %zu chunks in use",
                 (unsigned long long)w->seed, w->step, len,
                 chunk_pool_bytes(&w->pool) / CHUNK_BYTES, allowed);
}

static void walk_append(struct walk *w, struct pair *m, uint64_t how)
{
    static uint8_t bytes[4 * CHUNK_BYTES];
    size_t len = draw_len(&w->rng);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = rng_next(&w->rng);
        memcpy(bytes + i, &v, 8);
    }
    int err;
    uint64_t hits = w->pool.limit_hits;
    if (how == 0)
        err = buf_append(&m->buf, &w->pool, bytes, len);
    else if (how == 1)
        err = buf_append_shared(&m->buf, &w->pool, bytes, len);
    else
        err = buf_append_urgent(&m->buf, &w->pool, bytes, len);
    assert_int_equal(w->pool.limit_hits - hits, err && how != 2);
    if (err) {
        assert_int_equal(err, -ENOMEM);
        check_refusal(w, len, how == 2 ? LIMIT + RESERVE : LIMIT);
        w->refused++;
        return;
    }
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
    w->appended++;
}

static void walk_move(struct walk *w, struct pair *to, struct pair *from, bool all)
{
    size_t len = from->len;
    if (all) {
        buf_move_all(&to->buf, &from->buf);
    } else {
        size_t drawn = draw_len(&w->rng);
        len = drawn < len ? drawn : len;
        int err = buf_move(&to->buf, &from->buf, &w->pool, len);
        if (err) {
            assert_int_equal(err, -ENOMEM);
            assert_true(len <= BUF_COPY_MAX); /* a reference needs no chunk */
            check_refusal(w, len, LIMIT);
            return;
        }
    }
    memcpy(to->bytes + to->len, from->bytes, len);
    to->len += len;
    from->len -= len;
    memmove(from->bytes, from->bytes + len, from->len);
    w->moved++;
}

static void walk_step(struct walk *w)
{
    struct pair *m = &w->pairs[rng_below(&w->rng, BUFS)];
    struct pair *other = &w->pairs[rng_below(&w->rng, BUFS)];
    size_t len = m->len > 0 ? rng_below(&w->rng, m->len + 1) : 0;
    uint64_t op = rng_below(&w->rng, 20);
    if (op < 9) {
        walk_append(w, m, op % 3);
    } else if (op < 13) {
        if (m != other)
            walk_move(w, m, other, op == 9);
    } else if (op < 16) {
        buf_consume(&m->buf, &w->pool, len);
        m->len -= len;
        memmove(m->bytes, m->bytes + len, m->len);
    } else if (op < 19) {
        buf_truncate(&m->buf, &w->pool, len);
        m->len = len;
    } else {
        buf_clear(&m->buf, &w->pool);
        m->len = 0;
    }
    check_pair(w, m);
    check_pair(w, other);
    assert_true(w->pool.chunks.in_use <= LIMIT + RESERVE);
}

static void walk(uint64_t seed, int steps, unsigned *ret_refused)
{
    struct walk w = {.rng = {seed}, .seed = seed};
    chunk_pool_init(&w.pool, LIMIT * CHUNK_BYTES, RESERVE * CHUNK_BYTES);
    for (size_t i = 0; i < BUFS; i++) {
        buf_init(&w.pairs[i].buf);
        w.pairs[i].bytes = malloc(MODEL_MAX);
        assert_non_null(w.pairs[i].bytes);
    }
    for (w.step = 0; w.step < steps; w.step++) {
        walk_step(&w);
        if (w.step % 64 == 0) /* an operation on one buf leaves all others as they are */
            for (size_t i = 0; i < BUFS; i++)
                check_pair(&w, &w.pairs[i]);
    }
    for (size_t i = 0; i < BUFS; i++) {
        check_pair(&w, &w.pairs[i]);
        if (i % 2)
            buf_clear(&w.pairs[i].buf, &w.pool);
        else
            buf_consume(&w.pairs[i].buf, &w.pool, w.pairs[i].buf.len);
        assert_null(w.pairs[i].buf.head);
        assert_null(w.pairs[i].buf.tail);
        free(w.pairs[i].bytes);
    }
    check_balanced(&w.pool);
    assert_true(w.appended > 0 && w.moved > 0);
    *ret_refused += w.refused;
}

/* TEST_SEED=n in the environment walks that seed alone, and longer. */
static void test_random_walk(void **state)
{
    (void)state;
    const char *wish = getenv("TEST_SEED");
    unsigned refused = 0;
    if (wish) {
        print_message("# seed %s\n", wish);
        walk(strtoull(wish, NULL, 10), 20000, &refused);
        return;
    }
    print_message("# seeds 1 to 40\n");
    for (uint64_t seed = 1; seed <= 40; seed++)
        walk(seed, 1000, &refused);
    assert_true(refused > 100); /* or the limits were never tried */
}

static void what_grows_slowly_takes_little(void **state)
{
    (void)state;
    enum { LEN = 40000 };
    static uint8_t bytes[LEN], got[LEN];
    struct chunk_pool p;
    struct buf b;
    chunk_pool_init(&p, 10 * CHUNK_BYTES, 0);
    buf_init(&b);
    for (size_t i = 0; i < LEN; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
        assert_int_equal(buf_append_slowly(&b, &p, &bytes[i], 1), 0);
        assert_int_equal(b.len, i + 1);
        assert_true(chunk_pool_bytes(&p) <= 256 + 5 * (i + 1));
    }
    buf_copy_out(&b, 0, got, LEN);
    assert_memory_equal(got, bytes, LEN);
    buf_clear(&b, &p);
    assert_int_equal(chunk_pool_bytes(&p), 0);
    static const struct {
        size_t len, taken;
    } ROWS[] = {{1, 256}, {200, 256}, {250, 1024}, {1000, 1024}, {4000, 4096}, {5000, CHUNK_BYTES}};
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        assert_int_equal(buf_append_slowly(&b, &p, bytes, ROWS[i].len), 0);
        assert_int_equal(chunk_pool_bytes(&p), ROWS[i].taken);
        buf_clear(&b, &p);
    }
    assert_int_equal(chunk_pool_has_spares(&p), POOL_KEEPS_SPARES);
    chunk_pool_trim(&p); /* what the last interval needed stays … */
    chunk_pool_trim(&p); /* … and goes, as this one needed nothing */
    assert_false(chunk_pool_has_spares(&p));
    /* A limit that is not met is not exceeded by small chunks either. */
    for (int i = 0; i < 9; i++)
        assert_int_equal(buf_append(&b, &p, bytes, CHUNK_BYTES - 100), 0);
    struct buf c;
    buf_init(&c);
    size_t taken = 0;
    while (buf_append_slowly(&c, &p, bytes, 100) == 0)
        taken += 100;
    assert_true(taken > 4000 && chunk_pool_bytes(&p) <= 10 * CHUNK_BYTES);
    assert_true(p.limit_hits > 0);
    buf_clear(&b, &p);
    buf_clear(&c, &p);
    chunk_pool_fini(&p);
}

static void test_share(void **state)
{
    (void)state;
    struct chunk_pool p;
    struct buf from, to[3];
    uint8_t *bytes = malloc(3 * ROOM);
    assert_non_null(bytes);
    chunk_pool_init(&p, 4 * CHUNK_BYTES, 0);
    buf_init(&from);
    for (size_t i = 0; i < 3 * ROOM; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(buf_append(&from, &p, bytes, 3 * ROOM), 0);
    size_t held = chunk_pool_bytes(&p);
    /* Many hold it, and it counts once. */
    for (int i = 0; i < 3; i++) {
        buf_init(&to[i]);
        assert_int_equal(buf_append_shared(&to[i], &p, "x", i > 0), 0);
        assert_int_equal(buf_share(&to[i], &from, &p, (size_t)i * ROOM), 0);
        assert_int_equal(to[i].len, (size_t)(i > 0) + (3 - (size_t)i) * ROOM);
    }
    assert_int_equal(chunk_pool_bytes(&p), held + CHUNK_BYTES); /* the x's */
    buf_clear(&from, &p);
    for (int i = 0; i < 3; i++) {
        size_t skip = (size_t)i * ROOM, at = i > 0;
        uint8_t *out = malloc(to[i].len);
        assert_non_null(out);
        buf_copy_out(&to[i], at, out, to[i].len - at);
        assert_memory_equal(out, bytes + skip, to[i].len - at);
        free(out);
    }
    /* Nothing of nothing, and nothing behind the end. */
    assert_int_equal(buf_share(&from, &from, &p, 0), 0);
    assert_int_equal(buf_share(&from, &to[2], &p, to[2].len), 0);
    assert_int_equal(from.len, 0);
    for (int i = 0; i < 3; i++)
        buf_clear(&to[i], &p);
    free(bytes);
    check_balanced(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_shared_chunk),
        cmocka_unit_test(test_appends_join),
        cmocka_unit_test(test_move_by_reference),
        cmocka_unit_test(test_limit_and_reserve),
        cmocka_unit_test(test_idle_shared_chunk_is_free),
        cmocka_unit_test(test_idle_shared_chunk_in_the_reserve),
        cmocka_unit_test(test_huge_limit),
        cmocka_unit_test(test_iov),
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(what_grows_slowly_takes_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
