/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void it_grows(void **state)
{
    (void)state;
    struct text t = {0};
    for (unsigned i = 0; i < 10000; i++)
        text_add(&t, "%04u,", i);
    assert_false(t.failed);
    assert_int_equal(t.len, 50000);
    assert_memory_equal(t.bytes + 5 * 9999, "9999,", 5);
    text_fini(&t);
}

static void a_line_too_long_fails_the_whole(void **state)
{
    (void)state;
    struct text t = {0};
    text_add(&t, "%1023d", 1);
    assert_false(t.failed);
    text_add(&t, "%1024d", 1);
    assert_true(t.failed);
    text_fini(&t);
}

static void quoted(void **state)
{
    (void)state;
    struct text t = {0};
    text_add_json(&t, STR("a\"\\\n\0\xff</script>&"));
    text_add_label(&t, STR("a\"\\\n\xff<"));
    static const char WANTED[] = "\"a\\\"\\\\\\u000a\\u0000\\u00ff\\u003c/script\\u003e\\u0026\""
                                 "\"a\\\"\\\\x5c\\\\x0a\\\\xff<\"";
    assert_int_equal(t.len, sizeof(WANTED) - 1);
    assert_memory_equal(t.bytes, WANTED, t.len);
    text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows),
        cmocka_unit_test(a_line_too_long_fails_the_whole),
        cmocka_unit_test(quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
