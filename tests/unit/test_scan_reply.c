/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/scan_reply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void keys_come_one_by_one(void **state)
{
    (void)state;
    struct scan_reply r;
    struct str key;
    struct str whole =
        STR("*2\r\n$20\r\n18446744073709551615\r\n*3\r\n$1\r\na\r\n$0\r\n\r\n$4\r\n\r\n$1\r\n");
    assert_int_equal(scan_reply_begin(whole, &r), 0);
    assert_true(r.cursor == UINT64_MAX);
    assert_int_equal(r.keys, 3);
    assert_int_equal(scan_reply_next(&r, &key), 0);
    assert_int_equal(key.len, 1);
    assert_memory_equal(key.p, "a", 1);
    assert_int_equal(scan_reply_next(&r, &key), 0);
    assert_int_equal(key.len, 0);
    assert_int_equal(scan_reply_next(&r, &key), 0);
    assert_int_equal(key.len, 4);
    assert_memory_equal(key.p, "\r\n$1", 4);
    assert_int_equal(r.keys, 0);
}

static void no_keys_and_the_last_cursor(void **state)
{
    (void)state;
    struct scan_reply r = {.cursor = 7};
    assert_int_equal(scan_reply_begin(STR("*2\r\n$1\r\n0\r\n*0\r\n"), &r), 0);
    assert_int_equal(r.cursor, 0);
    assert_int_equal(r.keys, 0);
}

static void what_is_no_reply_to_scan(void **state)
{
    (void)state;
    static const char *const WRONG[] = {
        "",
        "*",
        "*0\r\n",
        "*-1\r\n",
        "*1\r\n$1\r\n0\r\n",
        "*3\r\n$1\r\n0\r\n*0\r\n",
        "*2\r\n:0\r\n*0\r\n",
        "*2\r\n$2\r\n0x\r\n*0\r\n",
        "*2\r\n$0\r\n\r\n*0\r\n",
        "*2\r\n$20\r\n18446744073709551616\r\n*0\r\n",
        "*2\r\n$1\r\n0\r\n$0\r\n\r\n",
        "*2\r\n$1\r\n0\r\n*-1\r\n",
        "*2\r\n$99999\r\n0\r\n",
    };
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        struct scan_reply r = {.cursor = 7};
        if (scan_reply_begin(str_of(WRONG[i]), &r) != -EBADMSG || r.cursor != 7)
            fail_msg("%zu: taken", i);
    }
}

static void a_key_that_is_none(void **state)
{
    (void)state;
    static const char *const WRONG[] = {
        "*2\r\n$1\r\n0\r\n*1\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n:5\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$5\r\nabc\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$18446744073709551615\r\nabc\r\n",
    };
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        struct scan_reply r;
        struct str key;
        assert_int_equal(scan_reply_begin(str_of(WRONG[i]), &r), 0);
        if (scan_reply_next(&r, &key) != -EBADMSG)
            fail_msg("%zu: taken", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_one_by_one),
        cmocka_unit_test(no_keys_and_the_last_cursor),
        cmocka_unit_test(what_is_no_reply_to_scan),
        cmocka_unit_test(a_key_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
