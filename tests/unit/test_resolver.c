/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Logs, metrics and people tell results apart by these. */
static void test_each_result_has_its_own_text(void **state)
{
    (void)state;
    for (int a = 0; a < RESOLVER_RESULT_COUNT; a++) {
        assert_true(strlen(resolver_result_text((enum resolver_result)a)) > 0);
        const char *name = resolver_result_name((enum resolver_result)a);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(name, resolver_result_name((enum resolver_result)b));
            assert_string_not_equal(resolver_result_text((enum resolver_result)a),
                                    resolver_result_text((enum resolver_result)b));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_result_has_its_own_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
