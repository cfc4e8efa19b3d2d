/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply_cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void what_is_there_is_read(void **state)
{
    (void)state;
    struct reply_cursor at = reply_cursor_at(
        STR("*3\r\n:-7\r\n$3\r\nabc\r\n=7\r\ntxt:xyz\r\n%2\r\n*4\r\n_\r\n,1.5\r\n+OK\r\n"));
    int64_t number;
    struct str text;
    char type;
    assert_int_equal(reply_cursor_number(&at, '*', &number), 0);
    assert_int_equal(number, 3);
    assert_int_equal(reply_cursor_number(&at, ':', &number), 0);
    assert_int_equal(number, -7);
    assert_int_equal(reply_cursor_text(&at, &text), 0);
    assert_true(str_eq(text, STR("abc")));
    assert_int_equal(reply_cursor_text(&at, &text), 0);
    assert_true(str_eq(text, STR("xyz")));
    assert_int_equal(reply_cursor_pairs(&at, &number), 0);
    assert_int_equal(number, 2);
    assert_int_equal(reply_cursor_pairs(&at, &number), 0);
    assert_int_equal(number, 2);
    static const char TYPES[] = "_,+";
    for (const char *t = TYPES; *t; t++) {
        assert_int_equal(reply_cursor_header(&at, &type, &number), 0);
        assert_int_equal(type, *t);
    }
    assert_ptr_equal(at.p, at.end);
}

static void all_of_an_element_is_skipped(void **state)
{
    (void)state;
    static const char *const ELEMENTS[] = {
        ":1\r\n",
        ":9223372036854775807\r\n",
        "*2\r\n:123456\r\n$1\r\nx\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*0\r\n",
        "*-1\r\n",
        "_\r\n",
        "*2\r\n:1\r\n$1\r\nx\r\n",
        "*1\r\n*1\r\n*1\r\n:1\r\n",
        "%1\r\n$1\r\nk\r\n~2\r\n:1\r\n:2\r\n",
        "$4\r\n\r\n\r\n\r\n",
        "-ERR no\r\n",
        "!6\r\nERR\r\n\r\r\n",
        ">2\r\n+message\r\n:5\r\n",
        "|1\r\n+ttl\r\n:5\r\n$1\r\nx\r\n",
        "$002\r\nhi\r\n",
    };
    for (size_t i = 0; i < sizeof(ELEMENTS) / sizeof(ELEMENTS[0]); i++) {
        char text[128];
        strcpy(text, ELEMENTS[i]);
        strcat(text, ":9\r\n");
        struct reply_cursor at = reply_cursor_at(str_of(text));
        int64_t number;
        assert_int_equal(reply_cursor_skip(&at), 0);
        assert_int_equal(reply_cursor_number(&at, ':', &number), 0);
        assert_int_equal(number, 9);
    }
}

/* Whatever a node says, cut anywhere: an error, and no byte behind the end is looked at. */
static void what_is_cut_short_is_an_error(void **state)
{
    (void)state;
    static const char WHOLE[] =
        "*3\r\n$3\r\nabc\r\n%1\r\n:1\r\n=5\r\ntxt:x\r\n*2\r\n:1\r\n$2\r\nhi\r\n";
    for (size_t len = 0; len < sizeof(WHOLE) - 1; len++) {
        char *bytes = malloc(len + 1); /* exactly so long: the sanitizer sees a step too far */
        memcpy(bytes, WHOLE, len);
        char *exact = realloc(bytes, len > 0 ? len : 1);
        struct reply_cursor at = reply_cursor_at((struct str){exact, len});
        assert_int_equal(reply_cursor_skip(&at), -EBADMSG);
        free(exact);
    }
    static const char *const BAD[] = {"",
                                      "\r\n",
                                      ":\r\n",
                                      ":x\r\n",
                                      "$5\r\nabc\r\n",
                                      "*99999999999\r\n",
                                      "$99999999999\r\n",
                                      "%9223372036854775807\r\n",
                                      "*9223372036854775807\r\n:1\r\n"};
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct reply_cursor at = reply_cursor_at(str_of(BAD[i]));
        assert_int_equal(reply_cursor_skip(&at), -EBADMSG);
    }
    struct reply_cursor at = reply_cursor_at(STR("*3\r\n"));
    int64_t pairs;
    assert_int_equal(reply_cursor_pairs(&at, &pairs), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_read),
        cmocka_unit_test(all_of_an_element_is_skipped),
        cmocka_unit_test(what_is_cut_short_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
