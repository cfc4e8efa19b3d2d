/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *json(const char *text)
{
    json_t *found = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(found);
    return found;
}

static char *frame(struct top_pages *p)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    top_frame_print(p, out);
    fclose(out);
    assert_int_equal(strlen(text), len);
    for (size_t i = 0; i < len; i++)
        assert_true(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
    top_pages_fini(p);
    return text;
}

static void test_the_sum_and_a_row_per_node(void **state)
{
    (void)state;
    struct top_pages p = {
        .summary =
            json("{\"memory_used\": 1536, \"memory_max\": 3145728, \"hits\": 3, \"misses\": 1,"
                 " \"at_ms\": 9000, \"last_second\": {\"requests\": 77, \"p99_us\": 1250}}"),
        .nodes = json("{\"nodes\": [{\"name\": \"a:1\", \"state\": \"out\", \"share\": 0.25,"
                      " \"memory_used\": 1048576, \"keys\": 12, \"reason\": \"silent\"}]}"),
        .events =
            json("{\"events\": [{\"at_ms\": 2000, \"node\": \"old\"},"
                 " {\"at_ms\": 7000, \"node\": \"a:1\", \"from\": \"up\", \"to\": \"out\"}]}"),
    };
    char *text = frame(&p);
    assert_non_null(strstr(text, "memory 1.5 KiB of 3.0 MiB"));
    assert_non_null(strstr(text, "hit ratio 75.0%"));
    assert_non_null(strstr(text, "requests/s 77   p99 1.25 ms"));
    assert_non_null(strstr(text, " 25.0%     1.0 MiB"));
    assert_non_null(strstr(text, "12  silent\n"));
    const char *newest = strstr(text, "     2 s ago  a:1"),
               *oldest = strstr(text, "     7 s ago  old");
    assert_true(newest && oldest && newest < oldest);
    free(text);
}

static void test_what_a_terminal_would_obey_is_escaped(void **state)
{
    (void)state;
    struct top_pages p = {
        .keys = json(
            "{\"hot\": [{\"key\": \"\\u001b]0;x\\u0007\\u0000\\u009b\\u00e2\\u0080\\u00ae\\\\\"},"
            " {\"key\": \"\\u202e\"},"
            " {\"key\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]}"),
    };
    char *text = frame(&p);
    assert_non_null(strstr(text, "\\x1b]0;x\\x07\\x00\\x9b\\xe2\\x80\\xae\\\\ "));
    assert_non_null(strstr(text, "\\xe2\\x80\\xae  "));
    assert_non_null(strstr(text, "aaa... "));
    free(text);
}

static void test_pages_that_hold_something_else(void **state)
{
    (void)state;
    struct top_pages p = {
        .summary = json("[1]"),
        .nodes = json("{\"nodes\": [7, {\"name\": 5, \"share\": \"x\"}]}"),
        .events = json("{\"events\": {\"a\": 1}}"),
        .keys = json("{\"hot\": null}"),
    };
    char *text = frame(&p);
    assert_non_null(strstr(text, "memory 0 B of 0 B"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sum_and_a_row_per_node),
        cmocka_unit_test(test_what_a_terminal_would_obey_is_escaped),
        cmocka_unit_test(test_pages_that_hold_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
