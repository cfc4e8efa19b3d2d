/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *json;
    } CASES[] = {
        {"info ready workers=2 nodes=3\n",
         "{\"level\":\"info\",\"event\":\"ready\",\"workers\":\"2\",\"nodes\":\"3\"}\n"},
        {"warn node-ejected node=[::1]:6379 reason=\"timed out, twice\" hold_ms=5\n",
         "{\"level\":\"warn\",\"event\":\"node-ejected\",\"node\":\"[::1]:6379\","
         "\"reason\":\"timed out, twice\",\"hold_ms\":\"5\"}\n"},
        {"info stopped\n", "{\"level\":\"info\",\"event\":\"stopped\"}\n"},
        {"info x some words a=1 more\n",
         "{\"level\":\"info\",\"event\":\"x\",\"a\":\"1\",\"text\":\"some words more\"}\n"},
        {"info x a=\"cut short", "{\"level\":\"info\",\"event\":\"x\",\"a\":\"cut short\"}\n"},
        {"info x a=\"say \"so\" b=\"\" c=\\\n",
         "{\"level\":\"info\",\"event\":\"x\",\"a\":\"say \\\"so\",\"b\":\"\",\"c\":\"\\\\\"}\n"},
        {"info x a=\xc3\xa4\n", "{\"level\":\"info\",\"event\":\"x\",\"a\":\"\\u00c3\\u00a4\"}\n"},
        {"", "{\"level\":\"\",\"event\":\"\"}\n"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char json[LOG_JSON_MAX];
        size_t len = log_to_json(CASES[i].line, strlen(CASES[i].line), json);
        assert_int_equal(len, strlen(CASES[i].json));
        assert_memory_equal(json, CASES[i].json, len);
    }
}

static void the_longest_line_has_an_end(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX], json[LOG_JSON_MAX];
    memset(line, '\xff', sizeof(line));
    size_t len = log_to_json(line, sizeof(line), json);
    assert_true(len < LOG_JSON_MAX);
    assert_memory_equal(json + len - 3, "\"}\n", 3);
    for (size_t i = 0; i + 3 <= sizeof(line); i += 3)
        memcpy(line + i, "a= ", 3);
    len = log_to_json(line, sizeof(line), json);
    assert_memory_equal(json + len - 2, "}\n", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(the_longest_line_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
