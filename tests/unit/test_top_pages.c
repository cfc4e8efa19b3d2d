/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_texts_are_cut_and_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t size;
        const char *shown;
    } cases[] = {
        {"{\"a\": \"abcdef\"}", 7, "abcdef"},
        {"{\"a\": \"abcdef\"}", 6, "ab..."},
        {"{\"a\": \"abcdef\"}", 4, "..."},
        {"{\"a\": \"\"}", 4, ""},
        {"{\"a\": 7}", 4, ""},
        {"{}", 4, ""},
        {"[]", 4, ""},
        {"{\"a\": \"\\u001b[2J\\u009b\"}", 40, "\\x1b[2J\\x9b"},
        {"{\"a\": \"\\u001b[2J\"}", 8, "\\x1b[2J"},
        {"{\"a\": \"\\u001b\\u001b\"}", 8, "\\x1b..."},
        {"{\"a\": \"\\u001b\\u001b\"}", 7, "..."},
        {"{\"a\": \"a\\u0000b\\\\\\u202e\"}", 40, "a\\x00b\\\\\\xe2\\x80\\xae"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char to[64];
        json_t *o = json_loads(cases[i].json, JSON_ALLOW_NUL, NULL);
        assert_non_null(o);
        memset(to, '!', sizeof(to));
        assert_int_equal(top_text(o, "a", to, cases[i].size), strlen(cases[i].shown));
        assert_string_equal(to, cases[i].shown);
        for (size_t j = cases[i].size; j < sizeof(to); j++)
            assert_int_equal(to[j], '!');
        json_decref(o);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    char text[TOP_BYTES_MAX];
    json_t *o = json_loads("{\"a\": 7, \"b\": 0.5, \"c\": \"x\"}", 0, NULL);
    assert_true(top_number(o, "a") == 7 && top_number(o, "b") == 0.5);
    assert_true(top_number(o, "c") == 0 && top_number(o, "d") == 0 && top_number(NULL, "a") == 0);
    json_decref(o);
    assert_true(top_percent(1, 4) == 25 && top_percent(1, 0) == 0);
    assert_string_equal(top_print_bytes(1023, text), "1023 B");
    assert_string_equal(top_print_bytes(1536, text), "1.5 KiB");
    assert_string_equal(top_print_bytes(5.0 * 1024 * 1024 * 1024, text), "5.0 GiB");
    assert_true(strlen(top_print_bytes(1e308, text)) > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_cut_and_escaped),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
