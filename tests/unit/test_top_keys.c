/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Feeds all bytes; the keys are those that are listed, up to a 0. */
static void assert_keys(struct top_keys *k, const char *bytes, size_t len, const int *keys)
{
    for (size_t i = 0; i < len; i++) {
        int key = top_keys_feed(k, bytes[i]);
        if (key == TOP_KEY_NONE)
            continue;
        assert_int_equal(key, *keys);
        keys++;
    }
    assert_int_equal(*keys, 0);
}

#define KEYS(k, bytes, ...) assert_keys(k, bytes, sizeof(bytes) - 1, (const int[]){__VA_ARGS__, 0})

static void test_keys(void **state)
{
    (void)state;
    struct top_keys k = {0};
    KEYS(&k, "qG? +", 'q', 'G', '?', ' ', '+');
    KEYS(&k, "\t\r\n\x7f\b\x03", TOP_KEY_TAB, TOP_KEY_ENTER, TOP_KEY_ENTER, TOP_KEY_BACKSPACE,
         TOP_KEY_BACKSPACE, TOP_KEY_INTERRUPT);
    KEYS(&k, "\033[A\033[B\033OA\033OB", TOP_KEY_UP, TOP_KEY_DOWN, TOP_KEY_UP, TOP_KEY_DOWN);
    KEYS(&k, "\033[5~\033[6~", TOP_KEY_PAGE_UP, TOP_KEY_PAGE_DOWN);
    KEYS(&k, "\033[H\033OH\033[1~\033[7~", TOP_KEY_HOME, TOP_KEY_HOME, TOP_KEY_HOME, TOP_KEY_HOME);
    KEYS(&k, "\033[F\033OF\033[4~\033[8~", TOP_KEY_END, TOP_KEY_END, TOP_KEY_END, TOP_KEY_END);
    KEYS(&k, "\033[Z\033OP\033[11~\033[[A\033[21~", TOP_KEY_BACK_TAB, 'h', 'h', 'h', 'q');
    assert_false(k.is_inside);
}

static void test_what_is_no_key_of_ours(void **state)
{
    (void)state;
    struct top_keys k = {0};
    KEYS(&k, "\033[1;5Cq", TOP_KEY_OTHER, 'q'); /* Ctrl and Right */
    KEYS(&k, "\033qq", TOP_KEY_OTHER, 'q');     /* Alt and q */
    KEYS(&k, "\xc3\xa9", TOP_KEY_OTHER, TOP_KEY_OTHER);
    KEYS(&k, "\033[\033[A", TOP_KEY_UP); /* one that was cut off */
    KEYS(&k, "\033[1\x03", TOP_KEY_INTERRUPT);
    char longest[200] = "\033[";
    memset(longest + 2, '1', sizeof(longest) - 2); /* it ends some time */
    for (size_t i = 0; i < sizeof(longest); i++)
        top_keys_feed(&k, longest[i]);
    KEYS(&k, "q", 'q');
}

static void test_escape_and_pieces(void **state)
{
    (void)state;
    struct top_keys k = {0};
    assert_int_equal(top_keys_end(&k), TOP_KEY_NONE);
    assert_int_equal(top_keys_feed(&k, '\033'), TOP_KEY_NONE);
    assert_true(k.is_inside);
    assert_int_equal(top_keys_end(&k), TOP_KEY_ESCAPE);
    assert_false(k.is_inside);
    KEYS(&k, "\033\033", TOP_KEY_ESCAPE);
    KEYS(&k, "[", 0);
    assert_true(k.is_inside);
    KEYS(&k, "A", TOP_KEY_UP);
    KEYS(&k, "\033[", 0);
    assert_int_equal(top_keys_end(&k), TOP_KEY_NONE);
    KEYS(&k, "A", 'A');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_what_is_no_key_of_ours),
        cmocka_unit_test(test_escape_and_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
