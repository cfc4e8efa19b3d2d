/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/print_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(struct str s, const char *want)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    print_json_string(s, f);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, want);
    free(text);
}

static void a_string_stays_one(void **state)
{
    (void)state;
    expect(STR(""), "\"\"");
    expect(STR("10.0.0.1:6379"), "\"10.0.0.1:6379\"");
    expect(STR("a\"b\\c"), "\"a\\\"b\\\\c\"");
    expect(STR("\x1b[0m\n\x7f\xc3\xa4\0z"), "\"?[0m????"
                                            "?z\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_string_stays_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
