/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/question.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_asks(const struct question *q, uint32_t commands, const char *bytes)
{
    assert_int_equal(q->commands, commands);
    assert_int_equal(q->len, strlen(bytes));
    assert_memory_equal(q->bytes, bytes, q->len);
}

static void test_words(void **state)
{
    (void)state;
    struct question q = {0};
    const struct str get[] = {STR("GET"), {"a\0b", 3}}, ping[] = {STR("PING")}, empty[] = {STR("")};
    assert_true(question_add(&q, ping, 1));
    assert_asks(&q, 1, "*1\r\n$4\r\nPING\r\n");
    assert_true(question_add(&q, empty, 1));
    assert_asks(&q, 2, "*1\r\n$4\r\nPING\r\n*1\r\n$0\r\n\r\n");
    q = (struct question){0};
    assert_true(question_add(&q, get, 2));
    assert_int_equal(q.len, 22);
    assert_memory_equal(q.bytes, "*2\r\n$3\r\nGET\r\n$3\r\na\0b\r\n", 22);
}

static void test_login(void **state)
{
    (void)state;
    struct question q = {0};
    assert_true(question_add_login(&q, STR("who"), STR("")));
    assert_asks(&q, 0, "");
    assert_true(question_add_login(&q, STR(""), STR("pw")));
    assert_asks(&q, 1, "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n");
    q = (struct question){0};
    assert_true(question_add_login(&q, STR("who"), STR("pw")));
    assert_asks(&q, 1, "*3\r\n$4\r\nAUTH\r\n$3\r\nwho\r\n$2\r\npw\r\n");
}

/* To the last byte, and not one more; what does not fit leaves no trace. */
static void test_the_end_of_its_room(void **state)
{
    (void)state;
    static char bytes[QUESTION_MAX];
    static const struct str PING[] = {STR("PING")};
    enum { AROUND = 4 + 7 + 2 }; /* of one word of four digits */
    struct question q = {0};
    struct str word = {bytes, QUESTION_MAX - AROUND + 1};
    assert_false(question_add(&q, &word, 1));
    assert_asks(&q, 0, "");
    assert_true(question_add(&q, PING, 1));
    word.len = QUESTION_MAX - AROUND;
    assert_false(question_add(&q, &word, 1));
    assert_asks(&q, 1, "*1\r\n$4\r\nPING\r\n");
    q = (struct question){0};
    assert_true(question_add(&q, &word, 1));
    assert_int_equal(q.len, QUESTION_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_the_end_of_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
