/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr_range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void ranges(void **state)
{
    static const struct {
        const char *range, *printed, *address;
        bool has;
    } CASES[] = {
        {"10.0.0.0/8", "10.0.0.0/8", "10.255.1.2:1", true},
        {"10.0.0.0/8", "10.0.0.0/8", "11.0.0.0:1", false},
        {"10.1.128.0/17", "10.1.128.0/17", "10.1.128.1:1", true},
        {"10.1.128.0/17", "10.1.128.0/17", "10.1.127.255:1", false},
        {"1.2.3.4", "1.2.3.4/32", "1.2.3.4:9", true},
        {"1.2.3.4", "1.2.3.4/32", "1.2.3.5:9", false},
        {"0.0.0.0/0", "0.0.0.0/0", "9.9.9.9:1", true},
        {"0.0.0.0/0", "0.0.0.0/0", "[::1]:1", false},
        {"2001:db8::/32", "2001:db8::/32", "[2001:db8:1::1]:1", true},
        {"::1", "::1/128", "[::1]:7", true},
        {"::1", "::1/128", "[::2]:7", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct addr_range r;
        struct addr a;
        char text[ADDR_TEXT_MAX];
        assert_int_equal(addr_range_parse(str_of(CASES[i].range), &r), 0);
        assert_string_equal(addr_range_print(&r, text), CASES[i].printed);
        assert_int_equal(addr_parse(str_of(CASES[i].address), 0, &a), 0);
        assert_int_equal(addr_range_has(&r, &a), CASES[i].has);
    }
}

static void what_is_no_range(void **state)
{
    static const char *const WRONG[] = {"",           "10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/",
                                        "10.0.0.0/x", "1.2.3.4:5",   "[::1]",       "::1/129",
                                        "host",       "1.2.3/8",     "10.0.0.0/-1", "/8"};
    struct addr_range r;
    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(addr_range_parse(str_of(WRONG[i]), &r), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(what_is_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
