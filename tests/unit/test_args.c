/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of requests in one piece, in many pieces, inline, and encoded anew. */
#include "base/must.h"
#include "base/rng.h"
#include "resp/args.h"
#include "resp/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs those before it */
#include <cmocka.h>

#define T(literal)                                                                                 \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

/* A writable copy of exactly these bytes, for the sanitizers. */
static struct iovec copy_of(const void *bytes, size_t len)
{
    struct iovec iov = {malloc(len > 0 ? len : 1), len};
    must(iov.iov_base != NULL);
    memcpy(iov.iov_base, bytes, len);
    return iov;
}

/* Appends to a growing block. */
struct sink {
    char *p;
    size_t len;
    size_t room;
    size_t calls;
    size_t fail_at; /* the call that returns 7; 0: none */
};

static int sink_take(void *owner, const void *bytes, size_t len)
{
    struct sink *s = owner;
    if (++s->calls == s->fail_at)
        return 7;
    if (s->len + len >= s->room) {
        s->room = 2 * (s->len + len) + 64;
        s->p = realloc(s->p, s->room);
        must(s->p != NULL);
    }
    memcpy(s->p + s->len, bytes, len);
    s->len += len;
    return 0;
}

static void sink_print(struct sink *s, const char *text)
{
    assert_int_equal(sink_take(s, text, strlen(text)), 0);
}

/* The request that `count` arguments make when a client library writes it. */
static struct sink encode(const struct str *v, size_t count)
{
    struct sink s = {0};
    char head[32];
    snprintf(head, sizeof(head), "*%zu\r\n", count);
    sink_print(&s, head);
    for (size_t i = 0; i < count; i++) {
        snprintf(head, sizeof(head), "$%zu\r\n", v[i].len);
        sink_print(&s, head);
        if (v[i].len > 0)
            assert_int_equal(sink_take(&s, v[i].p, v[i].len), 0);
        sink_print(&s, "\r\n");
    }
    return s;
}

/* That `a` holds these arguments, and gives out their canonical encoding. */
static void check_args(struct args *a, const struct str *v, size_t count)
{
    assert_int_equal(a->count, count);
    size_t bytes = 0;
    for (size_t i = 0; i < a->iov_count; i++)
        bytes += a->iov[i].iov_len;
    assert_int_equal(a->frame_len, bytes);
    for (size_t i = 0; i < count; i++) {
        struct str s = args_str(a, i);
        assert_non_null(s.p);
        assert_int_equal(args_len(a, i), v[i].len);
        assert_true(str_eq(s, v[i]));
        assert_ptr_equal(args_str(a, i).p, s.p); /* gathered once */
        struct sink got = {0}, want = encode(&v[i], 1);
        assert_int_equal(args_each_piece(a, i, sink_take, &got), 0);
        assert_true(str_eq((struct str){got.p, got.len}, (struct str){want.p + 4, want.len - 4}));
        free(got.p);
        free(want.p);
    }
}

static void check_canonical(struct args *a, const struct str *v, size_t count)
{
    struct sink want = encode(v, count);
    assert_int_equal(args_make_canonical(a), 0);
    check_args(a, v, count);
    assert_int_equal(a->iov_count, 1);
    assert_true(str_eq((struct str){a->iov[0].iov_base, a->iov[0].iov_len},
                       (struct str){want.p, want.len}));
    assert_int_equal(args_make_canonical(a), 0);
    check_args(a, v, count);
    free(want.p);
}

struct request_case {
    struct str bytes;
    struct str v[4];
    size_t count;
};

static const struct request_case REQUESTS[] = {
    {T("*1\r\n$4\r\nPING\r\n"), {T("PING")}, 1},
    {T("*2\r\n$3\r\nget\r\n$3\r\nfoo\r\n"), {T("get"), T("foo")}, 2},
    {T("*3\r\n$3\r\nset\r\n$0\r\n\r\n$0\r\n\r\n"), {T("set"), T(""), T("")}, 3},
    {T("*2\r\n$0\r\n\r\n$10\r\n\r\n$3\r\nfoo\0\r\n"), {T(""), T("\r\n$3\r\nfoo\0")}, 2},
    {T("*4\r\n$1\r\na\r\n$2\r\nbb\r\n$3\r\nccc\r\n$12\r\n123456789012\r\n"),
     {T("a"), T("bb"), T("ccc"), T("123456789012")},
     4},
    /* sloppy */
    {T("*2\rx$3\rygetab$3\r\r\r\r\r\n\n"), {T("get"), T("\r\r\r")}, 2},
    {T("*1\r\n$1\r\nx\n\r"), {T("x")}, 1},
};

static void the_name_is_replaced(void **state)
{
    (void)state;
    static const struct str NAMES[] = {T("x"), T(""), T("a-much-longer-name-than-before")};
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
        const struct request_case *c = &REQUESTS[i];
        for (size_t k = 0; k < sizeof(NAMES) / sizeof(NAMES[0]); k++) {
            struct str v[4];
            struct args a;
            memcpy(v, c->v, sizeof(v));
            args_init(&a);
            size_t half = c->bytes.len / 2; /* cut somewhere, often inside an argument */
            struct iovec iov[2] = {copy_of(c->bytes.p, half),
                                   copy_of(c->bytes.p + half, c->bytes.len - half)};
            assert_int_equal(args_parse(&a, iov, 2), 0);
            v[0] = NAMES[k];
            assert_int_equal(args_rename(&a, v[0]), 0);
            check_canonical(&a, v, c->count);
            v[0] = NAMES[(k + 1) % 3]; /* now of bytes that are its own */
            assert_int_equal(args_rename(&a, v[0]), 0);
            check_canonical(&a, v, c->count);
            args_fini(&a);
            free(iov[0].iov_base);
            free(iov[1].iov_base);
        }
    }
}

static void a_head_is_copied(void **state)
{
    (void)state;
    struct args a;
    char to[8];
    char text[] = "*1\r\n$6\r\nabcdef\r\n";
    struct iovec iov[3] = {{text, 10}, {text + 10, 2}, {text + 12, 4}};
    args_init(&a);
    assert_int_equal(args_parse(&a, iov, 3), 0);
    assert_int_equal(args_copy_head(&a, 0, to, sizeof(to)), 6);
    assert_memory_equal(to, "abcdef", 6);
    assert_int_equal(args_copy_head(&a, 0, to, 3), 3);
    assert_memory_equal(to, "abc", 3);
    assert_int_equal(args_copy_head(&a, 0, to, 0), 0);
    args_fini(&a);
}

static void one_piece(void **state)
{
    (void)state;
    struct args a;
    args_init(&a);
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
        const struct request_case *c = &REQUESTS[i];
        struct iovec iov = copy_of(c->bytes.p, c->bytes.len);
        assert_int_equal(args_parse(&a, &iov, 1), 0);
        assert_ptr_equal(a.iov, &iov);
        check_args(&a, c->v, c->count);
        assert_null(a.gathered);
        check_canonical(&a, c->v, c->count);
        free(iov.iov_base);
    }
    args_fini(&a);
}

/* Cut at every two places, with empty pieces between. */
static void three_pieces(void **state)
{
    (void)state;
    struct args a;
    args_init(&a);
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
        const struct request_case *c = &REQUESTS[i];
        for (size_t x = 0; x <= c->bytes.len; x++)
            for (size_t y = x; y <= c->bytes.len; y++) {
                const char *p = c->bytes.p;
                struct iovec iov[] = {copy_of(p, x), copy_of(p, 0), copy_of(p + x, y - x),
                                      copy_of(p + y, c->bytes.len - y), copy_of(p, 0)};
                assert_int_equal(args_parse(&a, iov, 5), 0);
                check_args(&a, c->v, c->count);
                check_canonical(&a, c->v, c->count);
                for (size_t k = 0; k < 5; k++)
                    free(iov[k].iov_base);
            }
    }
    args_fini(&a);
}

static void one_byte_pieces(void **state)
{
    (void)state;
    struct args a;
    args_init(&a);
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
        const struct request_case *c = &REQUESTS[i];
        struct iovec iov[128];
        assert_in_range(c->bytes.len, 1, 128);
        for (size_t k = 0; k < c->bytes.len; k++)
            iov[k] = copy_of(c->bytes.p + k, 1);
        assert_int_equal(args_parse(&a, iov, c->bytes.len), 0);
        check_args(&a, c->v, c->count);
        for (size_t k = 0; k < c->bytes.len; k++)
            free(iov[k].iov_base);
    }
    args_fini(&a);
}

static void a_piece_in_one_call(void **state)
{
    (void)state;
    struct args a;
    args_init(&a);
    char bytes[] = "*2\r\n$3\r\nget\r\n$3\r\nfooxx";
    struct iovec iov = {bytes, sizeof(bytes) - 1};
    assert_int_equal(args_parse(&a, &iov, 1), 0);
    struct sink s = {0};
    assert_int_equal(args_each_piece(&a, 0, sink_take, &s), 0);
    assert_int_equal(s.calls, 1);
    free(s.p);
    s = (struct sink){0};
    assert_int_equal(args_each_piece(&a, 1, sink_take, &s), 0); /* its terminator is not CRLF */
    assert_int_equal(s.calls, 3);
    free(s.p);
    for (size_t fail_at = 1; fail_at <= 3; fail_at++) {
        s = (struct sink){.fail_at = fail_at};
        assert_int_equal(args_each_piece(&a, 1, sink_take, &s), 7);
        assert_int_equal(s.calls, fail_at);
        free(s.p);
    }
    args_fini(&a);
}

static void a_tail_is_a_request_of_its_own(void **state)
{
    (void)state;
    enum { LARGE = 200000 }; /* more than the bytes that are kept from one request to the next */
    char *large = calloc(1, LARGE);
    assert_non_null(large);
    const struct str v[] = {T("command"), T("getkeys"), T("set"), T(""), {large, LARGE}};
    struct sink s = encode(v, 5);
    struct args a, tail;
    args_init(&a);
    for (size_t first = 0; first < 5; first++) {
        struct iovec iov[] = {copy_of(s.p, 30), copy_of(s.p + 30, s.len - 30)};
        assert_int_equal(args_parse(&a, iov, 2), 0);
        assert_int_equal(args_tail(&a, first, &tail), 0);
        free(iov[0].iov_base);
        free(iov[1].iov_base);
        check_args(&tail, v + first, 5 - first);
        check_canonical(&tail, v + first, 5 - first);
        args_fini(&tail);
    }
    args_fini(&a);
    free(s.p);
    free(large);
}

static void memory_is_given_back(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct str *v = calloc(MANY, sizeof(*v));
    assert_non_null(v);
    for (size_t i = 0; i < MANY; i++)
        v[i] = (struct str)T("k");
    struct sink big = encode(v, MANY), small = encode(v, 3);
    struct args a;
    args_init(&a);
    struct iovec iov = {big.p, big.len};
    assert_int_equal(args_parse(&a, &iov, 1), 0);
    assert_int_equal(a.count, MANY);
    assert_int_equal(a.v[MANY - 1].at, big.len - 3);
    assert_true(a.v_room >= MANY);
    iov = (struct iovec){small.p, small.len};
    assert_int_equal(args_parse(&a, &iov, 1), 0);
    check_args(&a, v, 3);
    assert_in_range(a.v_room, 3, 1000);
    /* And kept when it is of a usual size. */
    const struct arg *before = a.v;
    assert_int_equal(args_parse(&a, &iov, 1), 0);
    assert_ptr_equal(a.v, before);
    free(big.p);
    free(small.p);
    free(v);
    args_fini(&a);
}

/* ---- inline ---- */

enum { UNBALANCED = 99 };

static const struct request_case INLINES[] = {
    {T("ping"), {T("ping")}, 1},
    {T("echo hello"), {T("echo"), T("hello")}, 2},
    {T("42"), {T("42")}, 1},
    {T("echo 42"), {T("echo"), T("42")}, 2},
    {T("   ping   "), {T("ping")}, 1},
    {T(""), {{0}}, 0},
    {T("   \t "), {{0}}, 0},
    {T("\r"), {{0}}, 0},
    {T("\"\""), {T("")}, 1},
    {T("\"ping\""), {T("ping")}, 1},
    {T("echo \"hello world\""), {T("echo"), T("hello world")}, 2},
    {T("echo \"\""), {T("echo"), T("")}, 2},
    {T("set \"foo 'bar' baz\" quux"), {T("set"), T("foo 'bar' baz"), T("quux")}, 3},
    {T("   \"echo\"   "), {T("echo")}, 1},
    {T("\"\\\\\\\"\\x01\\n\\r\\t\\b\\a\""), {T("\\\"\x01\n\r\t\b\a")}, 1},
    {T("\"\\xyu\\c\\x0\""), {T("xyucx0")}, 1},
    {T("\"\\xfF\\x00\\xAb\""), {T("\xff\0\xab")}, 1},
    {T("'echo'"), {T("echo")}, 1},
    {T("echo 'hello world'"), {T("echo"), T("hello world")}, 2},
    {T("echo ''"), {T("echo"), T("")}, 2},
    {T("set 'foo \"bar\" baz' quux"), {T("set"), T("foo \"bar\" baz"), T("quux")}, 3},
    {T("'\\''"), {T("'")}, 1},
    {T("'\\x01'"), {T("\\x01")}, 1},
    {T("'\\\\ '"), {T("\\\\ ")}, 1},
    {T("a\\x41\\n"), {T("a\\x41\\n")}, 1},
    {T("foo\"bar baz\""), {T("foobar baz")}, 1},
    {T("foo'bar' x"), {T("foobar"), T("x")}, 2},
    {T("a\tb\rc"), {T("a"), T("b"), T("c")}, 3},
    {T("\va\vb \f"), {T("a\vb")}, 1},
    {T("\"a\"\v\"b\""), {T("a"), T("b")}, 2},
    {T("a\xa0"
       "b"),
     {T("a\xa0"
        "b")},
     1},
    {T("ping\0pong"), {T("ping")}, 1},
    {T("\""), {{0}}, UNBALANCED},
    {T("\"\"\""), {{0}}, UNBALANCED},
    {T("\"foo"), {{0}}, UNBALANCED},
    {T("\" foo"), {{0}}, UNBALANCED},
    {T("\"fo\"o"), {{0}}, UNBALANCED},
    {T("'"), {{0}}, UNBALANCED},
    {T("'\\\\'"), {{0}}, UNBALANCED}, /* the second backslash escapes the quote */
    {T("'''"), {{0}}, UNBALANCED},
    {T("'foo"), {{0}}, UNBALANCED},
    {T("' foo"), {{0}}, UNBALANCED},
    {T("'fo'o"), {{0}}, UNBALANCED},
    {T("\"hello"), {{0}}, UNBALANCED},
    {T("'hello"), {{0}}, UNBALANCED},
    {T("echo \"a\\"), {{0}}, UNBALANCED},
    {T("echo \"a\\\""), {{0}}, UNBALANCED},
    {T("echo 'a\\'"), {{0}}, UNBALANCED},
    {T("echo \"a\0\""), {{0}}, UNBALANCED},
    {T("good \"bad"), {{0}}, UNBALANCED},
};

static void inline_requests(void **state)
{
    (void)state;
    static const char *const ENDS[] = {"", "\n", "\r\n"};
    struct args a;
    args_init(&a);
    for (size_t i = 0; i < 3 * sizeof(INLINES) / sizeof(INLINES[0]); i++) {
        const struct request_case *c = &INLINES[i / 3];
        char line[100];
        memcpy(line, c->bytes.p, c->bytes.len);
        memcpy(line + c->bytes.len, ENDS[i % 3], strlen(ENDS[i % 3]));
        struct iovec iov = copy_of(line, c->bytes.len + strlen(ENDS[i % 3]));
        int status = args_parse_inline(&a, (struct str){iov.iov_base, iov.iov_len});
        free(iov.iov_base); /* the arguments lie in memory of `a` */
        if (status != (c->count == UNBALANCED ? -EINVAL : 0))
            fail_msg("case \"%s\": %d", c->bytes.p, status);
        if (c->count == UNBALANCED || c->count == 0) {
            assert_int_equal(a.count, 0);
            assert_int_equal(a.iov_count, 0);
            continue;
        }
        check_args(&a, c->v, c->count);
        check_canonical(&a, c->v, c->count);
    }
    args_fini(&a);
}

static void long_inline_requests(void **state)
{
    (void)state;
    enum { LEN = 65536 };
    char *line = malloc(LEN);
    assert_non_null(line);
    for (size_t i = 0; i < LEN; i++)
        line[i] = i % 2 == 0 ? 'x' : ' ';
    struct args a;
    args_init(&a);
    assert_int_equal(args_parse_inline(&a, (struct str){line, LEN}), 0);
    assert_int_equal(a.count, LEN / 2);
    assert_int_equal(a.frame_len, 8 + (LEN / 2) * 7); /* "*32768\r\n", then "$1\r\nx\r\n" each */
    assert_true(str_eq(args_str(&a, LEN / 2 - 1), STR("x")));
    memset(line, 'y', LEN);
    assert_int_equal(args_parse_inline(&a, (struct str){line, LEN}), 0);
    assert_int_equal(a.count, 1);
    assert_true(str_eq(args_str(&a, 0), (struct str){line, LEN}));
    free(line);
    args_fini(&a);
}

/* ---- random requests ---- */

enum { ARGS_MAX = 12, PIECES_MAX = 64 };

static size_t cut_randomly(struct rng *r, const struct sink *s, struct iovec iov[PIECES_MAX])
{
    size_t count = 0, at = 0;
    while (at < s->len && count < PIECES_MAX - 1) {
        size_t n = (size_t)rng_below(r, rng_below(r, 3) == 0 ? 200 : 10);
        if (n > s->len - at)
            n = s->len - at;
        iov[count++] = copy_of(s->p + at, n);
        at += n;
    }
    iov[count++] = copy_of(s->p + at, s->len - at);
    return count;
}

static void random_requests(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 7;
    print_message("# seed %" PRIu64 "\n", seed);
    struct rng r = {seed};
    struct args a;
    args_init(&a);
    for (int round = 0; round < 4000; round++) {
        char bodies[ARGS_MAX][300];
        struct str v[ARGS_MAX];
        size_t count = 1 + (size_t)rng_below(&r, ARGS_MAX);
        for (size_t i = 0; i < count; i++) {
            v[i] = (struct str){bodies[i], (size_t)rng_below(&r, rng_below(&r, 4) == 0 ? 300 : 8)};
            for (size_t k = 0; k < v[i].len; k++)
                bodies[i][k] = (char)rng_next(&r);
        }
        struct sink s = encode(v, count);
        struct iovec iov[PIECES_MAX];
        size_t pieces = cut_randomly(&r, &s, iov);
        assert_int_equal(args_parse(&a, iov, pieces), 0);
        check_args(&a, v, count);
        check_canonical(&a, v, count);
        for (size_t i = 0; i < pieces; i++)
            free(iov[i].iov_base);
        free(s.p);
    }
    args_fini(&a);
}

/* ---- the short way ---- */

static void the_short_way_takes_whole_usual_requests_only(void **state)
{
    (void)state;
    static const struct frame_limits LIMITS = {
        .bulk_max = 20, .elements_max = 4, .line_max = FRAME_LINE_MAX};
    static const struct {
        const char *bytes;
        size_t taken;
    } ROWS[] = {
        {"*1\r\n$4\r\nPING\r\n", 14},
        {"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", 14},
        {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 19},
        {"*1\r\n$4\r\nPING\r", 0},
        {"*1\r\n$4\r\nPIN", 0},
        {"*1\r\n$4\r\n", 0},
        {"*1\r\n$4", 0},
        {"*1\r\n", 0},
        {"*1", 0},
        {"*", 0},
        {"PING\r\n", 0},                               /* inline */
        {"*0\r\n$4\r\nPING\r\n", 0},                   /* empty */
        {"*-1\r\n$4\r\nPING\r\n", 0},                  /* empty */
        {"*1\r\n$4\r\nPINGxx", 0},                     /* sloppy */
        {"*1\r\n$04\r\nPING\r\n", 0},                  /* no number to Redis */
        {"*1\r\n+4\r\nPING\r\n", 0},                   /* bad */
        {"*1\r\n$21\r\n123456789012345678901\r\n", 0}, /* over bulk_max */
        {"*5\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
         0}, /* over elements_max */
    };
    struct args a;
    args_init(&a);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        size_t len = strlen(ROWS[i].bytes);
        char *copy = malloc(len); /* exactly, so that ASan sees a read past the end */
        assert_non_null(copy);
        memcpy(copy, ROWS[i].bytes, len);
        assert_int_equal(args_try(&a, copy, len, &LIMITS), ROWS[i].taken);
        if (ROWS[i].taken > 0)
            assert_int_equal(a.frame_len, ROWS[i].taken);
        free(copy);
    }
    args_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_piece),
        cmocka_unit_test(the_name_is_replaced),
        cmocka_unit_test(a_head_is_copied),
        cmocka_unit_test(three_pieces),
        cmocka_unit_test(one_byte_pieces),
        cmocka_unit_test(a_piece_in_one_call),
        cmocka_unit_test(a_tail_is_a_request_of_its_own),
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(inline_requests),
        cmocka_unit_test(long_inline_requests),
        cmocka_unit_test(random_requests),
        cmocka_unit_test(the_short_way_takes_whole_usual_requests_only),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
