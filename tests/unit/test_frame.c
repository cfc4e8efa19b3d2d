/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame parser. Every case of every table is fed whole, in pieces of 1, 2, 3 and 7 bytes and in
 * two parts at every cut, and must come out the same.
 */
#include "frame_transcript.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka needs those two, and these two, before it */
#include <cmocka.h>

static const struct frame_limits LIMITS = {
    .bulk_max = 512 << 20,
    .elements_max = 1000000,
    .depth_max = 128,
    .line_max = FRAME_LINE_MAX,
};

struct text {
    const char *p;
    size_t len;
};
#define T(literal)                                                                                 \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static void check_same(enum frame_grammar g, const struct frame_limits *limits, struct text bytes,
                       const struct transcript *whole, struct cuts c)
{
    struct transcript t = transcript_of(g, limits, bytes.p, bytes.len, &c);
    if (!transcript_eq(whole, &t)) {
        transcript_print("whole", whole);
        transcript_print("cut", &t);
        fail_msg("step %zu at %zu of \"%.60s\"", c.step, c.at, bytes.p);
    }
    transcript_free(&t);
}

/* The transcript of the whole stream, once it is known to be the same for cut ones. */
static struct transcript feed(enum frame_grammar g, const struct frame_limits *limits,
                              struct text bytes)
{
    static const size_t STEPS[] = {1, 2, 3, 7};
    struct transcript whole = transcript_of(g, limits, bytes.p, bytes.len, &(struct cuts){0});
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++)
        check_same(g, limits, bytes, &whole, (struct cuts){.step = STEPS[i]});
    for (size_t at = 1; at < bytes.len && bytes.len < 1000; at++)
        check_same(g, limits, bytes, &whole, (struct cuts){.at = at});
    if (g == FRAME_REPLY)
        check_tried_replies(limits, (const uint8_t *)bytes.p, bytes.len, &whole);
    return whole;
}

/* ---- requests ---- */

struct request_case {
    struct text bytes;
    size_t ready; /* messages that become complete */
    const char *error;
    enum { TIDY, SLOPPY } sloppy; /* of the last */
    int64_t number;               /* of the last */
};

#define ECHO_FOO  "*2\r\n$4\r\necho\r\n$3\r\nfoo\r\n"
#define ERR(text) ("Protocol error: " text)

static const struct request_case REQUESTS[] = {
    {T(ECHO_FOO), 1, NULL, TIDY, 2},
    {T(ECHO_FOO ECHO_FOO ECHO_FOO), 3, NULL, TIDY, 2},
    {T("*2\r\n$4\r\necho\r\n$0\r\n\r\n"), 1, NULL, TIDY, 2},
    {T("*1\r\n$12\r\n\r\n$3\r\nfoo\r\n\0\r\n"), 1, NULL, TIDY, 1},
    {T("*1\r\n$4\r\nping\r"), 0, NULL, TIDY, 1},
    {T("*1\r\n$4\r\npi"), 0, NULL, TIDY, 1},
    {T("*1\r\n$4"), 0, NULL, TIDY, 1},
    {T("*1\r"), 0, NULL, TIDY, 0},
    /* empty commands */
    {T("*0\r\n"), 1, NULL, TIDY, 0},
    {T("*-1\r\n"), 1, NULL, TIDY, -1},
    {T("*-9223372036854775808\r\n"), 1, NULL, TIDY, INT64_MIN},
    {T("*0\r\n*-5\r\n" ECHO_FOO), 3, NULL, TIDY, 2},
    {T("*0\r"), 0, NULL, TIDY, 0},
    {T("*0\rx"), 1, NULL, SLOPPY, 0},
    /* what is not looked at */
    {T("*1\rx$4\r\nping\r\n"), 1, NULL, SLOPPY, 1},
    {T("*1\r\n$4\rxping\r\n"), 1, NULL, SLOPPY, 1},
    {T("*1\r\r$4\r\rping\r\n"), 1, NULL, SLOPPY, 1},
    {T("*1\r\n$4\r\npingxx"), 1, NULL, SLOPPY, 1},
    {T("*1\r\n$4\r\nping\rx"), 1, NULL, SLOPPY, 1},
    {T("*1\r\n$4\r\nping\n\n"), 1, NULL, SLOPPY, 1},
    {T("*2\r\n$4\r\necho\0\0$3\r\nfoo\r\n"), 1, NULL, SLOPPY, 2},
    {T("*2\r\n$4\r\nechoab$3\r\nfoo\r\n" ECHO_FOO), 2, NULL, TIDY, 2},
    /* counts */
    {T("*\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*\r"), 0, NULL, TIDY, 0},
    {T("*-\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*-0\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*00\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*01\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*+1\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("* 1\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*1 \r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*1\n\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*1x\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*foo\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*1-\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*1000000\r\n"), 0, NULL, TIDY, 1000000},
    {T("*1000001\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*9223372036854775807\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*9223372036854775808\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*-9223372036854775809\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*18446744073709551617\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*9999999999999999999999999\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*-9999999999999999999999999\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
    {T("*9999999999999999999999999\r"), 0, NULL, TIDY, 0},
    /* lengths */
    {T("*1\r\n$-1\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$-1\r"), 0, NULL, TIDY, 1},
    {T("*1\r\n$\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$01\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$-0\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$1a\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$536870912\r\n"), 0, NULL, TIDY, 1},
    {T("*1\r\n$536870913\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*1\r\n$99999999999999999999999\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
    {T("*2\r\n$4\r\necho\r\n$-2\r\n"), 0, ERR("invalid bulk length"), TIDY, 2},
    /* not a bulk string: only told when the line has its CR and a byte behind it */
    {T("*1\r\nECHO\r\n"), 0, ERR("expected '$', got 'E'"), TIDY, 1},
    {T("*1\r\nECHO\r"), 0, NULL, TIDY, 1},
    {T("*1\r\nECHO\n\n\n"), 0, NULL, TIDY, 1},
    {T("*1\r\n:1\r\n"), 0, ERR("expected '$', got ':'"), TIDY, 1},
    {T("*1\r\n*1\r\n"), 0, ERR("expected '$', got '*'"), TIDY, 1},
    {T("*1\r\n\r\n"), 0, ERR("expected '$', got ' '"), TIDY, 1},
    {T("*1\r\n\nx\r\n"), 0, ERR("expected '$', got ' '"), TIDY, 1},
    {T("*1\r\n\rx"), 0, ERR("expected '$', got ' '"), SLOPPY, 1},
    {T("*1\r\n\xff\r\n"), 0, ERR("expected '$', got '\xff'"), TIDY, 1},
    {T("*1\r\n\x01\r\n"), 0, ERR("expected '$', got '\x01'"), TIDY, 1},
    {T("*2\r\n$4\r\nechox\r\n$3\r\nfoo\r\n"), 0, ERR("expected '$', got ' '"), SLOPPY, 2},
    /* a NUL hides the end of its line */
    {T("*1\r\n\0\r\n"), 0, NULL, TIDY, 1},
    {T("*\0001\r\n"), 0, NULL, TIDY, 0},
    {T("*1\r\n$\0004\r\nping\r\n"), 0, NULL, TIDY, 1},
    {T("\0PING\r\n"), 0, NULL, TIDY, 0},
    {T("PI\0NG\r\nPING\r\n"), 0, NULL, TIDY, 0},
    /* inline */
    {T("PING\r\n"), 1, NULL, TIDY, 0},
    {T("PING\n"), 1, NULL, TIDY, 0},
    {T("\n"), 1, NULL, TIDY, 0},
    {T("\r\n"), 1, NULL, TIDY, 0},
    {T("\r\r\n"), 1, NULL, TIDY, 0},
    {T("   ping   \r\n"), 1, NULL, TIDY, 0},
    {T("$4\r\nping\r\n"), 2, NULL, TIDY, 0},
    {T(" *1\r\n$4\r\nping\r\n"), 3, NULL, TIDY, 0},
    {T("PING\r"), 0, NULL, TIDY, 0},
    {T("\"unbalanced\n"), 1, NULL, TIDY, 0},
    {T(ECHO_FOO "set baz \"foo bar\"\r\n*1\r\n$4\r\nping\r\n"), 3, NULL, TIDY, 1},
};

static void check_request(const struct frame_limits *limits, const struct request_case *c)
{
    struct transcript t = feed(FRAME_REQUEST, limits, c->bytes);
    size_t ready = 0;
    uint64_t len = 0;
    for (size_t i = 0; i < t.count; i++) {
        ready += t.v[i].result == FRAME_READY;
        len += t.v[i].len;
    }
    const struct outcome *last = &t.v[t.count - 1];
    bool ok =
        ready == c->ready && last->sloppy == (c->sloppy == SLOPPY) && last->number == c->number;
    if (c->error != NULL)
        ok = ok && last->result == FRAME_BAD && strcmp(last->error, c->error) == 0;
    else
        ok = ok && last->result != FRAME_BAD && len == c->bytes.len;
    if (!ok) {
        transcript_print("request", &t);
        fail_msg("case \"%.60s\"", c->bytes.p);
    }
    transcript_free(&t);
}

static void requests_are_judged_as_redis_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++)
        check_request(&LIMITS, &REQUESTS[i]);
}

static void requests_tell_whether_they_are_inline(void **state)
{
    (void)state;
    struct transcript t = feed(FRAME_REQUEST, &LIMITS, (struct text)T(ECHO_FOO "ping\n*0\r\n\n"));
    static const struct outcome EXPECT[] = {
        {.len = 23, .type = '*', .is_inline = false},
        {.len = 5, .type = 'p', .is_inline = true},
        {.len = 4, .type = '*', .is_inline = false},
        {.len = 1, .type = '\n', .is_inline = true},
    };
    assert_int_equal(t.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(t.v[i].len, EXPECT[i].len);
        assert_int_equal(t.v[i].type, EXPECT[i].type);
        assert_int_equal(t.v[i].is_inline, EXPECT[i].is_inline);
        assert_int_equal(t.v[i].result, FRAME_READY);
    }
    transcript_free(&t);
}

/* Lines around the limit: `before`, filled up to `content` bytes with `fill`, then `after`. */
struct long_case {
    enum frame_grammar grammar;
    const char *before;
    size_t content; /* bytes of the last line without its end */
    char fill;
    struct text after;
    enum frame_result result;
    const char *error;
};

enum { MAX = FRAME_LINE_MAX };

static const struct long_case LONG_LINES[] = {
    {FRAME_REQUEST, "", MAX, 'x', T("\n"), FRAME_READY, NULL},
    {FRAME_REQUEST, "", MAX - 1, 'x', T("\r\n"), FRAME_READY, NULL},
    {FRAME_REQUEST, "", MAX, 'x', T(""), FRAME_MORE, NULL},
    {FRAME_REQUEST, "", MAX + 1, 'x', T(""), FRAME_BAD, ERR("too big inline request")},
    {FRAME_REQUEST, "", MAX + 1, 'x', T("\n"), FRAME_BAD, ERR("too big inline request")},
    {FRAME_REQUEST, "", MAX, 'x', T("\r\n"), FRAME_BAD, ERR("too big inline request")},
    {FRAME_REQUEST, "", MAX, '\0', T(""), FRAME_MORE, NULL},
    {FRAME_REQUEST, "", MAX, '\0', T("\n"), FRAME_BAD, ERR("too big inline request")},
    {FRAME_REQUEST, "*", MAX, '1', T(""), FRAME_MORE, NULL},
    {FRAME_REQUEST, "*", MAX, '1', T("\r"), FRAME_MORE, NULL},
    {FRAME_REQUEST, "*", MAX, '1', T("\r\n"), FRAME_BAD, ERR("invalid multibulk length")},
    {FRAME_REQUEST, "*", MAX + 1, '1', T(""), FRAME_BAD, ERR("too big mbulk count string")},
    {FRAME_REQUEST, "*", MAX, '\0', T("\r\n"), FRAME_BAD, ERR("too big mbulk count string")},
    {FRAME_REQUEST, "*1\r\n$", MAX, '1', T("\r"), FRAME_MORE, NULL},
    {FRAME_REQUEST, "*1\r\n$", MAX, '1', T("\r\n"), FRAME_BAD, ERR("invalid bulk length")},
    {FRAME_REQUEST, "*1\r\n$", MAX + 1, '1', T(""), FRAME_BAD, ERR("too big bulk count string")},
    {FRAME_REQUEST, "*1\r\n", MAX, 'E', T("\r\n"), FRAME_BAD, ERR("expected '$', got 'E'")},
    {FRAME_REQUEST, "*1\r\n", MAX + 1, 'E', T("\r\n"), FRAME_BAD, ERR("too big bulk count string")},
    {FRAME_REQUEST, "*1\r\n", MAX, '\0', T("\r"), FRAME_BAD, ERR("too big bulk count string")},
    {FRAME_REPLY, "+", MAX + 1, 'x', T("\r\n"), FRAME_READY, NULL},
    {FRAME_REPLY, "+", MAX + 2, 'x', T("\r\n"), FRAME_BAD, "line too long"},
    {FRAME_REPLY, "+", MAX + 1, 'x', T(""), FRAME_MORE, NULL},
    {FRAME_REPLY, "-", MAX + 2, 'x', T(""), FRAME_BAD, "line too long"},
    {FRAME_REPLY, ":", MAX + 1, '0', T("\r\n"), FRAME_READY, NULL},
    {FRAME_REPLY, ":", MAX + 2, '0', T("\r\n"), FRAME_BAD, "line too long"},
    {FRAME_REPLY, "(", 1 + 16384, '7', T("\r\n"), FRAME_READY, NULL},
    {FRAME_REPLY, "(", 1 + 16385, '7', T("\r\n"), FRAME_BAD, "invalid big number"},
    {FRAME_REPLY, ",", 1 + 64, '7', T("\r\n"), FRAME_READY, NULL},
    {FRAME_REPLY, ",", 1 + 65, '7', T("\r\n"), FRAME_BAD, "invalid double"},
};

static void long_lines_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(LONG_LINES) / sizeof(LONG_LINES[0]); i++) {
        const struct long_case *c = &LONG_LINES[i];
        size_t before = strlen(c->before);
        const char *lf = strrchr(c->before, '\n');
        size_t have = lf != NULL ? strlen(lf + 1) : before; /* bytes of the last line */
        size_t len = before + c->content - have + c->after.len;
        char *bytes = malloc(len + 1);
        assert_non_null(bytes);
        memcpy(bytes, c->before, before);
        memset(bytes + before, c->fill, c->content - have);
        memcpy(bytes + len - c->after.len, c->after.p, c->after.len);
        struct transcript t = feed(c->grammar, &LIMITS, (struct text){bytes, len});
        if (t.count != 1 || t.v[0].result != c->result ||
            (c->error != NULL && strcmp(t.v[0].error, c->error) != 0)) {
            transcript_print("long", &t);
            fail_msg("case %zu", i);
        }
        transcript_free(&t);
        free(bytes);
    }
}

/* ---- replies ---- */

struct reply_case {
    struct text bytes; /* one message */
    char type;
    int64_t number;
    bool is_null;
};

static const struct reply_case REPLIES[] = {
    {T("$-1\r\n"), '$', -1, true},
    {T("*-1\r\n"), '*', -1, true},
    {T("_\r\n"), '_', 0, true},
    {T("-error\r\n"), '-', 0, false},
    {T("+simple string\r\n"), '+', 0, false},
    {T("+\r\n"), '+', 0, false},
    {T("+a\nb\r\n"), '+', 0, false},
    {T("+a\0b\r\n"), '+', 0, false},
    {T("$11\r\nbulk string\r\n"), '$', 11, false},
    {T("$0\r\n\r\n"), '$', 0, false},
    {T("$2\r\n\r\n\r\n"), '$', 2, false},
    {T(":9223372036854775807\r\n"), ':', INT64_MAX, false},
    {T(":-1\r\n"), ':', -1, false},
    {T(":-9223372036854775808\r\n"), ':', INT64_MIN, false},
    {T(":-0\r\n"), ':', 0, false},
    {T(":0\r\n"), ':', 0, false},
    {T(":007\r\n"), ':', 7, false},
    {T(":123456789\r\n"), ':', 123456789, false},
    {T(":1234567890\r\n"), ':', 1234567890, false},
    {T("*0\r\n"), '*', 0, false},
    {T("*2\r\n$5\r\nhello\r\n:-5\r\n"), '*', 2, false},
    {T("*2\r\n*3\r\n$5\r\nhello\r\n:0\r\n$-1\r\n$5\r\nworld\r\n"), '*', 2, false},
    {T("*3\r\n*0\r\n*-1\r\n*1\r\n*1\r\n*0\r\n"), '*', 3, false},
    {T("#t\r\n"), '#', 1, false},
    {T("#f\r\n"), '#', 0, false},
    {T(",3.14\r\n"), ',', 0, false},
    {T(",-1.5\r\n"), ',', 0, false},
    {T(",inf\r\n"), ',', 0, false},
    {T(",-inf\r\n"), ',', 0, false},
    {T(",nan\r\n"), ',', 0, false},
    {T(",-nan\r\n"), ',', 0, false},
    {T(",3.140\r\n"), ',', 0, false},
    {T(",+1e2\r\n"), ',', 0, false},
    {T(",.5\r\n"), ',', 0, false},
    {T(",1.2300\r\n"), ',', 0, false},
    {T(",10\r\n"), ',', 0, false},
    {T(",1.7976931348623157e+308\r\n"), ',', 0, false},
    {T(",5E-324\r\n"), ',', 0, false},
    {T("(3492890328409238509324850943850943825024385\r\n"), '(', 0, false},
    {T("(+12345\r\n"), '(', 0, false},
    {T("(-12345\r\n"), '(', 0, false},
    {T("!12\r\nSYNTAX error\r\n"), '!', 12, false},
    {T("!0\r\n\r\n"), '!', 0, false},
    {T("=15\r\ntxt:Some string\r\n"), '=', 15, false},
    {T("=4\r\nmkd:\r\n"), '=', 4, false},
    {T("%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n"), '%', 2, false},
    {T("%0\r\n"), '%', 0, false},
    {T("~3\r\n+a\r\n+b\r\n+c\r\n"), '~', 3, false},
    {T("~0\r\n"), '~', 0, false},
    {T(">3\r\n$7\r\nmessage\r\n$5\r\nhello\r\n$5\r\nworld\r\n"), '>', 3, false},
    {T("*1\r\n>1\r\n+x\r\n"), '*', 1, false},
    /* attributes belong to what follows them */
    {T("|1\r\n+key\r\n+val\r\n+OK\r\n"), '+', 0, false},
    {T("*2\r\n|1\r\n+k\r\n+v\r\n:42\r\n:99\r\n"), '*', 2, false},
    {T("*1\r\n|1\r\n+k\r\n+v\r\n:42\r\n"), '*', 1, false},
    {T("|0\r\n$3\r\nfoo\r\n"), '$', 3, false},
    {T("|0\r\n|0\r\n$-1\r\n"), '$', -1, true},
    {T("|0\r\n*0\r\n"), '*', 0, false},
    {T("|1\r\n+k\r\n%2\r\n+b\r\n#t\r\n+d\r\n,3.14\r\n:7\r\n"), ':', 7, false},
    {T("|1\r\n|1\r\n+a\r\n+b\r\n+k\r\n|0\r\n+v\r\n|1\r\n+k\r\n*1\r\n+v\r\n+OK\r\n"), '+', 0, false},
    {T("%1\r\n|1\r\n+a\r\n+b\r\n+k\r\n%1\r\n+a\r\n_\r\n"), '%', 1, false},
};

static void replies_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(REPLIES) / sizeof(REPLIES[0]); i++) {
        const struct reply_case *c = &REPLIES[i];
        /* Twice, so that the end of the first must be right. */
        char twice[400];
        assert_in_range(c->bytes.len * 2, 1, sizeof(twice));
        memcpy(twice, c->bytes.p, c->bytes.len);
        memcpy(twice + c->bytes.len, c->bytes.p, c->bytes.len);
        struct transcript t = feed(FRAME_REPLY, &LIMITS, (struct text){twice, c->bytes.len * 2});
        bool ok = t.count == 2;
        for (size_t k = 0; ok && k < 2; k++)
            ok = t.v[k].result == FRAME_READY && t.v[k].len == c->bytes.len &&
                 t.v[k].type == c->type && t.v[k].number == c->number &&
                 t.v[k].is_null == c->is_null && t.v[k].body_left == 0;
        if (!ok) {
            transcript_print("reply", &t);
            fail_msg("case \"%s\"", c->bytes.p);
        }
        transcript_free(&t);
    }
}

struct bad_case {
    struct text bytes;
    const char *error;
    size_t len; /* bytes up to and with the offending one; 0: all */
};

static const struct bad_case BAD_REPLIES[] = {
    {T("^"), "unknown type byte", 0},
    {T("\r\n"), "unknown type byte", 1},
    {T("PING\r\n"), "unknown type byte", 1},
    {T("*1\r\nECHO\r\n"), "unknown type byte", 5},
    {T("+OK\r\n\0"), "unknown type byte", 1},
    {T(":-a"), "invalid character in an integer", 0},
    {T(":1-\r\n"), "invalid character in an integer", 3},
    {T(":--1\r\n"), "invalid character in an integer", 3},
    {T(":+1\r\n"), "invalid character in an integer", 2},
    {T(": 1\r\n"), "invalid character in an integer", 2},
    {T(":1\n"), "invalid character in an integer", 0},
    {T("$?\r\n"), "invalid character in an integer", 2},
    {T(":-123\ra"), "expected LF", 0},
    {T("+x\ra"), "expected LF", 0},
    {T("+x\r\r\n"), "expected LF", 4},
    {T("$1\r\nab"), "expected CR", 0},
    {T("$1\r\na\n"), "expected CR", 0},
    {T("$1\r\na\ra"), "expected LF", 0},
    {T("$0\r\nab"), "expected CR", 5},
    {T("$1\ra"), "expected LF", 0},
    {T(":\r\n"), "integer without digits", 2},
    {T(":-\r\n"), "integer without digits", 3},
    {T("*\r\n"), "integer without digits", 2},
    {T("$\r\n"), "integer without digits", 2},
    {T("%\r\n"), "integer without digits", 2},
    {T("~\r\n"), "integer without digits", 2},
    {T(">\r\n"), "integer without digits", 2},
    {T("!\r\n"), "integer without digits", 2},
    {T("=\r\n"), "integer without digits", 2},
    {T("|\r\n"), "integer without digits", 2},
    {T("$-2\r\n"), "negative length or count", 0},
    {T("$-0\r\n"), "negative length or count", 0},
    {T("!-1\r\n"), "negative length or count", 0},
    {T("=-1\r\n"), "negative length or count", 0},
    {T("*-2\r\n"), "negative length or count", 0},
    {T("%-1\r\n"), "negative length or count", 0},
    {T("~-1\r\n"), "negative length or count", 0},
    {T(">-1\r\n"), "negative length or count", 0},
    {T("|-1\r\n"), "negative length or count", 0},
    {T("*9999999999999999999999999\r\n"), "integer out of range", 20},
    {T("$9999999999999999999999999\r\n"), "integer out of range", 20},
    {T("%9999999999999999999999999\r\n"), "integer out of range", 20},
    {T("~9999999999999999999999999\r\n"), "integer out of range", 20},
    {T(":9223372036854775808\r\n"), "integer out of range", 20},
    {T(":-9223372036854775809\r\n"), "integer out of range", 21},
    {T("$536870913\r\n"), "bulk string too long", 0},
    {T("!536870913\r\n"), "bulk string too long", 0},
    {T("=536870913\r\n"), "bulk string too long", 0},
    {T("*1000001\r\n"), "too many elements", 0},
    {T("~1000001\r\n"), "too many elements", 0},
    {T(">1000001\r\n"), "too many elements", 0},
    {T("%500001\r\n"), "too many elements", 0},
    {T("|500001\r\n"), "too many elements", 0},
    {T("%9223372036854775807\r\n"), "too many elements", 0},
    {T("*9223372036854775807\r\n"), "too many elements", 0},
    {T("*200000\r\n*200000\r\n*200000\r\n*200000\r\n%100001\r\n"), "too many elements", 0},
    {T("*999999\r\n|1\r\n"), "too many elements", 0},
    {T("#x\r\n"), "invalid boolean", 2},
    {T("#\r\n"), "invalid boolean", 2},
    {T("#tt\r\n"), "expected CR", 3},
    {T("_x\r\n"), "expected CR", 2},
    {T("_\rx"), "expected LF", 0},
    {T(",abc\r\n"), "invalid double", 2},
    {T(",\r\n"), "invalid double", 2},
    {T(",+\r\n"), "invalid double", 3},
    {T(",.\r\n"), "invalid double", 3},
    {T(",1e\r\n"), "invalid double", 4},
    {T(",1e+\r\n"), "invalid double", 5},
    {T(",e1\r\n"), "invalid double", 2},
    {T(",1.2.3\r\n"), "invalid double", 5},
    {T(",1e2.3\r\n"), "invalid double", 5},
    {T(",1-\r\n"), "invalid double", 3},
    {T(",in\r\n"), "invalid double", 4},
    {T(",infx\r\n"), "invalid double", 5},
    {T(",na\r\n"), "invalid double", 4},
    {T(",1inf\r\n"), "invalid double", 3},
    {T(", 1\r\n"), "invalid double", 2},
    {T("(123abc\r\n"), "invalid big number", 5},
    {T("(\r\n"), "invalid big number", 2},
    {T("(-\r\n"), "invalid big number", 3},
    {T("(+\r\n"), "invalid big number", 3},
    {T("(--1\r\n"), "invalid big number", 3},
    {T("(1.5\r\n"), "invalid big number", 3},
    {T("=8\r\ntxthello\r\n"), "verbatim string without a format", 8},
    {T("=3\r\ntxt\r\n"), "verbatim string without a format", 4},
    {T("=0\r\n\r\n"), "verbatim string without a format", 4},
};

static void bad_replies_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BAD_REPLIES) / sizeof(BAD_REPLIES[0]); i++) {
        const struct bad_case *c = &BAD_REPLIES[i];
        struct transcript t = feed(FRAME_REPLY, &LIMITS, c->bytes);
        const struct outcome *last = &t.v[t.count - 1];
        size_t len = c->len != 0 ? c->len : c->bytes.len;
        if (last->result != FRAME_BAD || strcmp(last->error, c->error) != 0 || last->len != len) {
            transcript_print("bad", &t);
            fail_msg("case \"%s\", not \"%s\" at %zu", c->bytes.p, c->error, len);
        }
        transcript_free(&t);
    }
}

/* `count` times `unit`, then `after`: what comes of the last message. */
static struct outcome repeated(const struct frame_limits *limits, const char *unit, size_t count,
                               const char *after)
{
    char *bytes = malloc(count * strlen(unit) + strlen(after) + 1);
    assert_non_null(bytes);
    char *to = bytes;
    for (size_t i = 0; i < count; i++)
        to = stpcpy(to, unit);
    to = stpcpy(to, after);
    struct transcript t = feed(FRAME_REPLY, limits, (struct text){bytes, (size_t)(to - bytes)});
    assert_int_equal(t.count, 1);
    struct outcome o = t.v[0];
    transcript_free(&t);
    free(bytes);
    return o;
}

static void depth_is_limited(void **state)
{
    (void)state;
    /* A root and 127 nested in it. */
    assert_int_equal(repeated(&LIMITS, "*1\r\n", 128, ":1\r\n").result, FRAME_READY);
    struct outcome o = repeated(&LIMITS, "*1\r\n", 129, ":1\r\n");
    assert_int_equal(o.result, FRAME_BAD);
    assert_string_equal(o.error, "nested too deeply");
    assert_int_equal(o.len, 129 * 4);
    assert_string_equal(repeated(&LIMITS, "*1\r\n", 128, "*0\r\n").error, "nested too deeply");
    assert_int_equal(repeated(&LIMITS, "*1\r\n", 128, "*-1\r\n").result, FRAME_READY);
    struct frame_limits small = LIMITS;
    small.depth_max = 2;
    assert_int_equal(repeated(&small, "~1\r\n", 2, "_\r\n").result, FRAME_READY);
    assert_int_equal(repeated(&small, "%1\r\n+a\r\n", 3, "_\r\n").result, FRAME_BAD);
    assert_int_equal(repeated(&small, "*1\r\n", 2, "|1\r\n+a\r\n+b\r\n_\r\n").result, FRAME_BAD);
    /* An attribute that is over holds no level. */
    assert_int_equal(repeated(&small, "|1\r\n+a\r\n*1\r\n+b\r\n", 9, "*1\r\n*1\r\n_\r\n").result,
                     FRAME_READY);
}

static void attributes_in_a_row_are_limited(void **state)
{
    (void)state;
    static const char *const UNITS[] = {"|0\r\n", "|1\r\n+k\r\n+v\r\n", "|1\r\n|0\r\n+k\r\n*0\r\n"};
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        assert_int_equal(repeated(&LIMITS, UNITS[i], 32, "+OK\r\n").result, FRAME_READY);
        struct outcome o = repeated(&LIMITS, UNITS[i], 33, "+OK\r\n");
        assert_int_equal(o.result, FRAME_BAD);
        assert_string_equal(o.error, "too many attributes in a row");
        assert_int_equal(o.len, 32 * strlen(UNITS[i]) + 4);
    }
    /* Each element may have its own. */
    char many[1024] = "*50\r\n";
    for (int i = 0; i < 50; i++)
        strcat(many, "|0\r\n|0\r\n:1\r\n");
    assert_int_equal(repeated(&LIMITS, many, 1, "").result, FRAME_READY);
    /* Nor does a null, or an aggregate, let a row go on. */
    char nulls[1024] = "*40\r\n";
    for (int i = 0; i < 40; i++)
        strcat(nulls, i % 2 == 0 ? "|0\r\n*-1\r\n" : "|0\r\n*1\r\n|0\r\n_\r\n");
    assert_int_equal(repeated(&LIMITS, nulls, 1, "").result, FRAME_READY);
}

static void body_left_tells_what_is_to_come(void **state)
{
    (void)state;
    static const struct text HEADS[] = {T("*2\r\n$3\r\nset\r\n$100000\r\nabc"),
                                        T("*2\r\n$3\r\nset\r\n$100000\r\nabc")};
    for (int g = FRAME_REQUEST; g <= FRAME_REPLY; g++) {
        struct frame f;
        size_t used;
        frame_init(&f, (enum frame_grammar)g, &LIMITS);
        assert_int_equal(frame_feed(&f, HEADS[g].p, HEADS[g].len, &used), FRAME_MORE);
        assert_int_equal(used, HEADS[g].len);
        assert_int_equal(f.body_left, 100000 + 2 - 3);
        char *rest = calloc(1, 100001);
        assert_non_null(rest);
        assert_int_equal(frame_feed(&f, rest, 0, &used), FRAME_MORE);
        rest[99997] = '\r';
        rest[99998] = '\n';
        assert_int_equal(frame_feed(&f, rest, 100001, &used), FRAME_READY);
        assert_int_equal(used, 99999);
        assert_int_equal(f.body_left, 0);
        assert_false(f.sloppy);
        free(rest);
    }
}

static void limits_are_ours(void **state)
{
    (void)state;
    static const struct frame_limits SMALL = {
        .bulk_max = 8, .elements_max = 3, .depth_max = 2, .line_max = FRAME_LINE_MIN};
    static const struct request_case CASES[] = {
        {T("*3\r\n$8\r\n12345678\r\n$0\r\n\r\n$1\r\nx\r\n"), 1, NULL, TIDY, 3},
        {T("*4\r\n"), 0, ERR("invalid multibulk length"), TIDY, 0},
        {T("*1\r\n$9\r\n"), 0, ERR("invalid bulk length"), TIDY, 1},
        {T("123456789 123456789 123456789 12\n"), 1, NULL, TIDY, 0},
        {T("123456789 123456789 123456789 123\n"), 0, ERR("too big inline request"), TIDY, 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        check_request(&SMALL, &CASES[i]);
}

/* ---- random streams ---- */

static const char *const REQUEST_BITS[] = {
    "*1\r\n$4\r\nping\r\n",
    ECHO_FOO,
    "*3\r\n",
    "*0\r\n",
    "*-1\r\n",
    "*2\r\n$3\r\nget\r\n",
    "$",
    "*",
    "\r",
    "\n",
    "\r\n",
    "0",
    "1",
    "12",
    "-1",
    "$3\r\n",
    "$0\r\n\r\n",
    "abc\r\n",
    "ping\r\n",
    "echo \"a b\"\n",
    "$1\r\nx\r\n",
    "$1\r\nxyz",
    "*1\rx$1\ryzz\n",
    "$10\r\n0123456789\r\n",
};
static const char *const REPLY_BITS[] = {
    "+OK\r\n",    ":1\r\n",        ":-5\r\n",         "$3\r\nfoo\r\n",
    "$-1\r\n",    "*-1\r\n",       "*2\r\n",          "*0\r\n",
    "%1\r\n",     "~1\r\n",        ">2\r\n",          "|1\r\n",
    "|0\r\n",     "_\r\n",         "#t\r\n",          ",1.5\r\n",
    "(12\r\n",    "!3\r\nerr\r\n", "=5\r\ntxt:x\r\n", "$10\r\n0123456789\r\n",
    "-ERR x\r\n", "*1\r\n",        "*1\r\n",          ":100000000000\r\n",
    "%0\r\n",     "$0\r\n\r\n",
};

static size_t random_stream(struct rng *r, enum frame_grammar g, char *to, size_t room)
{
    const char *const *bits = g == FRAME_REQUEST ? REQUEST_BITS : REPLY_BITS;
    size_t count = g == FRAME_REQUEST ? sizeof(REQUEST_BITS) / sizeof(REQUEST_BITS[0])
                                      : sizeof(REPLY_BITS) / sizeof(REPLY_BITS[0]);
    size_t len = 0, wanted = rng_below(r, room - 64);
    while (len < wanted) {
        const char *bit = bits[rng_below(r, count)];
        memcpy(to + len, bit, strlen(bit));
        len += strlen(bit);
        if (rng_below(r, 64) == 0)
            to[len++] = (char)rng_next(r);
    }
    if (len > 0 && rng_below(r, 4) == 0)
        to[rng_below(r, len)] = (char)rng_next(r);
    return len;
}

static void random_streams_are_the_same_however_cut(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 20240607;
    print_message("# seed %" PRIu64 "\n", seed);
    struct rng r = {seed};
    size_t ready = 0, bad = 0;
    for (int round = 0; round < 6000; round++) {
        enum frame_grammar g = round % 2 == 0 ? FRAME_REQUEST : FRAME_REPLY;
        struct frame_limits limits = LIMITS;
        if (round % 3 == 0)
            limits =
                (struct frame_limits){8 + rng_below(&r, 8), 3 + (uint32_t)rng_below(&r, 50),
                                      1 + (uint32_t)rng_below(&r, 4),
                                      FRAME_LINE_MIN + (uint32_t)rng_below(&r, 64), round % 2 == 0};
        char bytes[600];
        struct text text = {bytes, random_stream(&r, g, bytes, sizeof(bytes))};
        struct transcript whole = transcript_of(g, &limits, text.p, text.len, &(struct cuts){0});
        check_same(g, &limits, text, &whole, (struct cuts){.step = 1});
        for (int i = 0; i < 4; i++)
            check_same(g, &limits, text, &whole, (struct cuts){.rng = &r});
        for (size_t i = 0; i < whole.count; i++) {
            ready += whole.v[i].result == FRAME_READY;
            bad += whole.v[i].result == FRAME_BAD;
        }
        transcript_free(&whole);
    }
    /* Else the streams would prove nothing. */
    assert_true(ready > 6000 && bad > 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_judged_as_redis_does),
        cmocka_unit_test(requests_tell_whether_they_are_inline),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(replies_are_found),
        cmocka_unit_test(bad_replies_are_refused),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(attributes_in_a_row_are_limited),
        cmocka_unit_test(body_left_tells_what_is_to_come),
        cmocka_unit_test(limits_are_ours),
        cmocka_unit_test(random_streams_are_the_same_however_cut),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
