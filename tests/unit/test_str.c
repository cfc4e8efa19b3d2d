/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/nsec.h"
#include "base/rng.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A copy of exactly `text`'s size without a NUL, so that a sanitizer sees a read past the end. */
static struct str exact(struct str text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.p, text.len);
    return (struct str){copy, text.len};
}

static void drop(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

static void test_begins(void **state)
{
    (void)state;
    assert_true(str_begins(STR("node1"), STR("node")));
    assert_true(str_begins(STR("node"), STR("node")));
    assert_false(str_begins(STR("nod"), STR("node")));
    assert_false(str_begins(STR("nude1"), STR("node")));
    assert_true(str_begins(STR("x"), (struct str){0}));
    assert_true(str_begins((struct str){0}, (struct str){0}));
    assert_false(str_begins((struct str){0}, STR("x")));
}

static void assert_cut(struct str got, const char *want)
{
    assert_true(str_eq(got, str_of(want)));
}

static void test_cut(void **state)
{
    (void)state;
    struct str whole = exact(STR("a,,bc")), text = whole;
    assert_cut(str_cut(&text, ','), "a");
    assert_cut(str_cut(&text, ','), "");
    assert_cut(str_cut(&text, ','), "bc");
    assert_cut(text, "");
    assert_cut(str_cut(&text, ','), "");
    drop(whole);
    text = (struct str){0};
    assert_cut(str_cut(&text, ','), "");
    assert_cut(str_cut_line(&text), "");
}

static void test_cut_line(void **state)
{
    (void)state;
    struct str whole = exact(STR("a\r\n\nb\rc\nd\r")), text = whole;
    assert_cut(str_cut_line(&text), "a");
    assert_cut(str_cut_line(&text), "");
    assert_cut(str_cut_line(&text), "b\rc");
    assert_cut(str_cut_line(&text), "d");
    assert_cut(text, "");
    drop(whole);
}

static void test_eq(void **state)
{
    (void)state;
    static const struct {
        struct str a, b;
        bool eq, eq_nocase;
    } CASES[] = {
        {{"get", 3}, {"get", 3}, true, true},     {{"get", 3}, {"GeT", 3}, false, true},
        {{"get", 3}, {"gets", 4}, false, false},  {{"", 0}, {NULL, 0}, true, true},
        {{NULL, 0}, {NULL, 0}, true, true},       {{"", 0}, {"a", 1}, false, false},
        {{"a\0b", 3}, {"a\0c", 3}, false, false}, {{"a\0b", 3}, {"A\0B", 3}, false, true},
        {{"@[`{", 4}, {"`{@[", 4}, false, false}, /* the neighbours of the letters */
        {{"\xc4", 1}, {"\xe4", 1}, false, false}, /* a letter pair of Latin-1 is not ASCII */
        {{"AZaz", 4}, {"azAZ", 4}, false, true},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        assert_int_equal(str_eq(CASES[i].a, CASES[i].b), CASES[i].eq);
        assert_int_equal(str_eq(CASES[i].b, CASES[i].a), CASES[i].eq);
        assert_int_equal(str_eq_nocase(CASES[i].a, CASES[i].b), CASES[i].eq_nocase);
        assert_int_equal(str_eq_nocase(CASES[i].b, CASES[i].a), CASES[i].eq_nocase);
    }
    assert_true(str_eq(STR("abc"), str_of("abc")));
    assert_int_equal(STR("a\0b").len, 3);
}

/* Every pair of single bytes: equal but for case only if they are the same ASCII letter. */
static void test_eq_nocase_all_bytes(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool letter = (a >= 'a' && a <= 'z') || (a >= 'A' && a <= 'Z');
            bool expected = a == b || (letter && (a ^ b) == 0x20);
            assert_int_equal(str_eq_nocase((struct str){&x, 1}, (struct str){&y, 1}), expected);
        }
    }
}

static void test_i64(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        int err;
        int64_t out;
    } CASES[] = {
        {{"0", 1}, 0, 0},
        {{"1", 1}, 0, 1},
        {{"-1", 2}, 0, -1},
        {{"10", 2}, 0, 10},
        {{"-907", 4}, 0, -907},
        {{"9223372036854775807", 19}, 0, INT64_MAX},
        {{"-9223372036854775808", 20}, 0, INT64_MIN},
        {{"-9223372036854775807", 20}, 0, -INT64_MAX},
        {{"9223372036854775808", 19}, -EINVAL, 0},
        {{"-9223372036854775809", 20}, -EINVAL, 0},
        {{"9999999999999999999", 19}, -EINVAL, 0},
        {{"-9999999999999999999", 20}, -EINVAL, 0},
        {{"18446744073709551616", 20}, -EINVAL, 0}, /* 2^64: wraps to 0 */
        {{"18446744073709551617", 20}, -EINVAL, 0},
        {{"100000000000000000000000", 24}, -EINVAL, 0},
        {{"", 0}, -EINVAL, 0},
        {{"-", 1}, -EINVAL, 0},
        {{"--1", 3}, -EINVAL, 0},
        {{"+1", 2}, -EINVAL, 0},
        {{"-0", 2}, -EINVAL, 0},
        {{"00", 2}, -EINVAL, 0},
        {{"01", 2}, -EINVAL, 0},
        {{"-01", 3}, -EINVAL, 0},
        {{" 1", 2}, -EINVAL, 0},
        {{"1 ", 2}, -EINVAL, 0},
        {{"1\n", 2}, -EINVAL, 0},
        {{"1\0", 2}, -EINVAL, 0},
        {{"\0", 1}, -EINVAL, 0},
        {{"1.0", 3}, -EINVAL, 0},
        {{"1e3", 3}, -EINVAL, 0},
        {{"0x1", 3}, -EINVAL, 0},
        {{"a", 1}, -EINVAL, 0},
        {{"1/", 2}, -EINVAL, 0}, /* the neighbours of the digits */
        {{"1:", 2}, -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        int64_t v = 4711;
        struct str in = exact(CASES[i].in);
        int err = str_to_i64(in, &v);
        drop(in);
        if (err != CASES[i].err || v != (err ? 4711 : CASES[i].out))
            fail_msg("'%s': %d, %" PRId64, CASES[i].in.p, err, v);
    }
    int64_t v = 4711;
    assert_int_equal(str_to_i64((struct str){NULL, 0}, &v), -EINVAL);
}

static void test_i64_round_trip(void **state)
{
    (void)state;
    struct rng rng = {1};
    for (int i = 0; i < 20000; i++) {
        int64_t v = (int64_t)(rng_next(&rng) >> rng_below(&rng, 64)), back;
        if (rng_below(&rng, 2))
            v = v == INT64_MIN ? v : -v;
        char text[24];
        snprintf(text, sizeof(text), "%" PRId64, v);
        assert_int_equal(str_to_i64(str_of(text), &back), 0);
        assert_true(back == v);
    }
}

struct unit_case {
    const char *in;
    int err;
    uint64_t out;
};

static void check_units(const struct unit_case *cases, size_t count,
                        int (*parse)(struct str, uint64_t *))
{
    for (size_t i = 0; i < count; i++) {
        uint64_t v = 4711;
        struct str in = exact(str_of(cases[i].in));
        int err = parse(in, &v);
        drop(in);
        if (err != cases[i].err || v != (err ? 4711 : cases[i].out))
            fail_msg("'%s': %d, %" PRIu64, cases[i].in, err, v);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct unit_case CASES[] = {
        {"0", 0, 0},
        {"0s", 0, 0},
        {"0ms", 0, 0},
        {"1ns", 0, 1},
        {"750us", 0, 750 * NSEC_US},
        {"100ms", 0, 100 * NSEC_MS},
        {"5s", 0, 5 * NSEC_S},
        {"5S", 0, 5 * NSEC_S},
        {"2m", 0, 120 * NSEC_S},
        {"1h", 0, 3600 * NSEC_S},
        {"007s", 0, 7 * NSEC_S},
        {"18446744073709551615ns", 0, UINT64_MAX},
        {"18446744073709551616ns", -ERANGE, 0},
        {"18446744073s", 0, 18446744073 * NSEC_S},
        {"18446744074s", -ERANGE, 0},
        {"5124095h", 0, 5124095 * (3600 * NSEC_S)},
        {"5124096h", -ERANGE, 0},
        {"99999999999999999999999s", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"5", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-5s", -EINVAL, 0},
        {"+5s", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {" 5s", -EINVAL, 0},
        {"5s ", -EINVAL, 0},
        {"5sec", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"1m30s", -EINVAL, 0},
        {"5d", -EINVAL, 0},
        {"5kb", -EINVAL, 0},
        {"0x", -EINVAL, 0},
        {"18446744074x", -EINVAL, 0},
    };
    check_units(CASES, COUNT(CASES), str_to_duration_ns);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct unit_case CASES[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"512b", 0, 512},
        {"64kb", 0, 64 << 10},
        {"64KB", 0, 64 << 10},
        {"5mb", 0, 5 << 20},
        {"9gb", 0, UINT64_C(9) << 30},
        {"2tb", 0, UINT64_C(2) << 40},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"18014398509481983kb", 0, UINT64_C(18014398509481983) << 10},
        {"18014398509481984kb", -ERANGE, 0},
        {"16777215tb", 0, UINT64_C(16777215) << 40},
        {"16777216tb", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"kb", -EINVAL, 0},
        {"5k", -EINVAL, 0},
        {"5kib", -EINVAL, 0},
        {"5 kb", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"-1kb", -EINVAL, 0},
        {"1.5gb", -EINVAL, 0},
        {"5ms", -EINVAL, 0},
        {"1_000", -EINVAL, 0},
    };
    check_units(CASES, COUNT(CASES), str_to_size);
    uint64_t v;
    assert_int_equal(str_to_size((struct str){"5\0kb", 4}, &v), -EINVAL);
    assert_int_equal(str_to_size((struct str){NULL, 0}, &v), -EINVAL);
}

static void test_print(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        const char *duration, *size;
    } CASES[] = {
        {0, "0", "0"},
        {1, "1ns", "1"},
        {1000, "1us", "1000"},
        {1024, "1024ns", "1kb"},
        {1500, "1500ns", "1500"},
        {90 * NSEC_S, "90s", "87890625kb"},
        {120 * NSEC_S, "2m", "117187500kb"},
        {3600 * NSEC_S, "1h", NULL},
        {5 << 20, "5242880ns", "5mb"},
        {UINT64_C(9) << 30, NULL, "9gb"},
        {UINT64_C(3) << 40, NULL, "3tb"},
        {UINT64_MAX, "18446744073709551615ns", "18446744073709551615"},
    };
    char text[24];
    for (size_t i = 0; i < COUNT(CASES); i++) {
        if (CASES[i].duration) {
            assert_ptr_equal(str_from_duration_ns(CASES[i].v, text, sizeof(text)), text);
            assert_string_equal(text, CASES[i].duration);
        }
        if (CASES[i].size) {
            assert_ptr_equal(str_from_size(CASES[i].v, text, sizeof(text)), text);
            assert_string_equal(text, CASES[i].size);
        }
    }
}

static void test_unit_round_trip(void **state)
{
    (void)state;
    static const uint64_t FACTORS[] = {1,       1000,    NSEC_MS, NSEC_S,       60 * NSEC_S,
                                       1 << 10, 1 << 20, 1 << 30, 3600 * NSEC_S};
    struct rng rng = {2};
    for (int i = 0; i < 20000; i++) {
        char text[24];
        uint64_t back, v = rng_next(&rng) >> rng_below(&rng, 64);
        v = v / FACTORS[rng_below(&rng, COUNT(FACTORS))] * FACTORS[rng_below(&rng, COUNT(FACTORS))];
        str_from_duration_ns(v, text, sizeof(text));
        assert_int_equal(str_to_duration_ns(str_of(text), &back), 0);
        assert_true(back == v);
        str_from_size(v, text, sizeof(text));
        assert_int_equal(str_to_size(str_of(text), &back), 0);
        assert_true(back == v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_line),
        cmocka_unit_test(test_eq),
        cmocka_unit_test(test_eq_nocase_all_bytes),
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_i64_round_trip),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_unit_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
