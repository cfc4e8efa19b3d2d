/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_canvas.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_bytes(const struct top_canvas *c, bool colours, const char *expected)
{
    struct text out = {0};
    top_canvas_print(c, colours, &out);
    assert_false(out.failed);
    text_add(&out, "%c", 0);
    assert_string_equal(out.bytes, expected);
    text_fini(&out);
}

static void test_bytes(void **state)
{
    (void)state;
    struct top_canvas c;
    assert_int_equal(top_canvas_init(&c, 5, 3), 0);
    top_canvas_put(&c, TOP_PLAIN, "ab");
    top_canvas_put(&c, TOP_RED | TOP_BOLD, "c%d", 7);
    top_canvas_at(&c, 1, 0);
    top_canvas_put(&c, TOP_PLAIN, "full!"); /* nothing is erased: the cursor stands on the `!` */
    assert_bytes(&c, true, "\033[m\033[Hab\033[0;1;31mc7\033[m\033[K\033[2;1Hfull!\033[3;1H\033[K");
    assert_bytes(&c, false, "\033[m\033[Hab\033[0;1mc7\033[m\033[K\033[2;1Hfull!\033[3;1H\033[K");
    top_canvas_mark(&c, 2, TOP_REVERSED);
    assert_bytes(&c, false,
                 "\033[m\033[Hab\033[0;1mc7\033[m\033[K\033[2;1Hfull!\033[3;1H\033[0;7m     "
                 "\033[m");
    top_canvas_fini(&c);
}

static void test_what_is_outside_is_left_out(void **state)
{
    (void)state;
    struct top_canvas c;
    assert_int_equal(top_canvas_init(&c, 4, 1), 0);
    top_canvas_at(&c, 0, -2);
    top_canvas_put(&c, TOP_PLAIN, "12345678");
    top_canvas_at(&c, 1, 0);
    top_canvas_put(&c, TOP_PLAIN, "x");
    top_canvas_at(&c, -1, 0);
    top_canvas_put(&c, TOP_PLAIN, "x");
    top_canvas_mark(&c, 1, TOP_BOLD);
    top_canvas_mark(&c, -1, TOP_BOLD);
    assert_bytes(&c, true, "\033[m\033[H3456");
    top_canvas_fini(&c);
    assert_int_equal(top_canvas_init(&c, 0, -5), 0);
    top_canvas_put(&c, TOP_PLAIN, "x");
    assert_bytes(&c, true, "\033[m\033[Hx");
    top_canvas_fini(&c);
    assert_int_equal(top_canvas_init(&c, INT_MAX, INT_MAX), 0);
    assert_int_equal(c.columns, TOP_COLUMNS_MAX);
    assert_int_equal(c.rows, TOP_ROWS_MAX);
    top_canvas_mark(&c, 0, TOP_REVERSED); /* a row of the greatest width can be printed */
    struct text out = {0};
    top_canvas_print(&c, true, &out);
    assert_false(out.failed);
    text_fini(&out);
    top_canvas_fini(&c);
}

static void test_nothing_commands_the_terminal(void **state)
{
    (void)state;
    struct top_canvas c;
    assert_int_equal(top_canvas_init(&c, 8, 1), 0);
    top_canvas_put(&c, TOP_PLAIN, "%s", "\033[2J\n\xc3\xa9");
    assert_bytes(&c, true, "\033[m\033[H?[2J???\033[K");
    top_canvas_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_what_is_outside_is_left_out),
        cmocka_unit_test(test_nothing_commands_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
