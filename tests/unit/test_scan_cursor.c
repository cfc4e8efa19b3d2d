/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/scan_cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void what_is_told_is_read_back(void **state)
{
    (void)state;
    const struct scan_cursor cases[] = {
        {0, 0}, {0, 1}, {1, 0}, {(1U << 18) - 1, (UINT64_C(1) << 35) - 1}, {77777, 12345678901}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t number = scan_cursor_number(cases[i]);
        assert_true(number < UINT64_C(1) << 53);
        char text[24];
        int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
        struct scan_cursor back;
        assert_int_equal(scan_cursor_parse((struct str){text, (size_t)len}, &back), 0);
        assert_int_equal(back.place, cases[i].place);
        assert_int_equal(back.node, cases[i].node);
    }
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    struct scan_cursor c;
    const char *const bad[] = {
        "x", "1x", " 1", "-1", "9007199254740992", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(scan_cursor_parse(str_of(bad[i]), &c), -EINVAL);
    const char *const good[] = {"", "0", "+7", "007", "9007199254740991"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(scan_cursor_parse(str_of(good[i]), &c), 0);
}

static void a_node_may_not_have_a_cursor_that_does_not_fit(void **state)
{
    (void)state;
    uint64_t cursor = 0;
    assert_int_equal(scan_cursor_parse_node(STR("34359738367"), &cursor), 0);
    assert_int_equal(cursor, (UINT64_C(1) << 35) - 1);
    assert_int_equal(scan_cursor_parse_node(STR("34359738368"), &cursor), -EINVAL);
    assert_int_equal(scan_cursor_parse_node(STR(""), &cursor), -EINVAL);
    assert_int_equal(scan_cursor_parse_node(STR("-1"), &cursor), -EINVAL);
}

static void a_place_depends_on_the_name_alone(void **state)
{
    (void)state;
    /* A cursor that one version of the proxy gave is another's after an upgrade. */
    assert_int_equal(scan_cursor_place(STR("10.0.0.1:6379")),
                     scan_cursor_place(STR("10.0.0.1:6379")));
    assert_true(scan_cursor_place(STR("10.0.0.1:6379")) < 1U << SCAN_CURSOR_PLACE_BITS);
    assert_int_equal(scan_cursor_place(STR("a:6379")), 0x2aa39);
}

/* redis-server's dictScan(): the next cursor of a table of `size` buckets. */
static uint64_t next(uint64_t v, uint64_t size)
{
    uint64_t mask = size - 1, bit = size >> 1;
    v &= mask;
    while (bit && (v & bit)) {
        v &= ~bit;
        bit >>= 1;
    }
    return bit ? v | bit : 0;
}

/* Two tables of different sizes by one cursor: every bucket of both is seen, and it ends. */
static void the_lesser_cursor_skips_nothing(void **state)
{
    (void)state;
    enum { SMALL = 8, LARGE = 64 };
    bool small[SMALL] = {false}, large[LARGE] = {false};
    uint64_t cursor = 0;
    int steps = 0;
    do {
        uint64_t a = cursor, b = cursor;
        small[a % SMALL] = true;
        a = next(a, SMALL);
        for (int i = 0; i < 3; i++) {
            large[b % LARGE] = true;
            b = next(b, LARGE);
            if (b == 0)
                break;
        }
        cursor = scan_cursor_lesser(a, b);
        assert_true(++steps < 200);
    } while (cursor != 0);
    for (int i = 0; i < SMALL; i++)
        assert_true(small[i]);
    for (int i = 0; i < LARGE; i++)
        assert_true(large[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told_is_read_back),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_node_may_not_have_a_cursor_that_does_not_fit),
        cmocka_unit_test(a_place_depends_on_the_name_alone),
        cmocka_unit_test(the_lesser_cursor_skips_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
