/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/outcomes.h"

#include "resp/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_reply_tells_hits_from_misses(void **state)
{
    (void)state;
    static const struct {
        const char *command, *reply;
        enum outcome outcome;
    } CASES[] = {
        {"get", "$5\r\nhello\r\n", OUTCOME_HIT},
        {"get", "$0\r\n\r\n", OUTCOME_HIT},
        {"get", "$-1\r\n", OUTCOME_MISS},
        {"get", "_\r\n", OUTCOME_MISS},
        {"get", "-WRONGTYPE Operation\r\n", OUTCOME_NODE_ERROR},
        {"get", "!5\r\nERR x\r\n", OUTCOME_NODE_ERROR},
        {"exists", ":0\r\n", OUTCOME_MISS},
        {"exists", ":1\r\n", OUTCOME_HIT},
        {"ttl", ":-2\r\n", OUTCOME_MISS},
        {"ttl", ":-1\r\n", OUTCOME_HIT},
        {"getrange", "$0\r\n\r\n", OUTCOME_MISS},
        {"hgetall", "*0\r\n", OUTCOME_MISS},
        {"hgetall", "%0\r\n", OUTCOME_MISS},
        {"hgetall", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", OUTCOME_HIT},
        {"lrange", "*0\r\n", OUTCOME_MISS},
        {"smembers", "~0\r\n", OUTCOME_MISS},
        {"type", "+none\r\n", OUTCOME_MISS},
        {"type", "+string\r\n", OUTCOME_HIT},
        {"mget", "*1\r\n$-1\r\n", OUTCOME_ANSWERED},
        {"hmget", "*1\r\n$-1\r\n", OUTCOME_ANSWERED},
        {"set", "+OK\r\n", OUTCOME_ANSWERED},
        {"set", "$-1\r\n", OUTCOME_ANSWERED},
        {"set", "-OOM command not allowed\r\n", OUTCOME_NODE_ERROR},
        {"get", "$", OUTCOME_HIT}, /* of a long one only the beginning is seen */
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct command *c = command_find_name(str_of(CASES[i].command));
        assert_non_null(c);
        enum outcome outcome = outcome_of_reply(c, str_of(CASES[i].reply));
        if (outcome != CASES[i].outcome)
            fail_msg("%s %s: %s, not %s", CASES[i].command, CASES[i].reply, outcome_name(outcome),
                     outcome_name(CASES[i].outcome));
    }
}

static void commands_have_classes(void **state)
{
    (void)state;
    assert_int_equal(outcome_class_of(command_find_name(STR("get"))), OUTCOME_READS);
    assert_int_equal(outcome_class_of(command_find_name(STR("getdel"))), OUTCOME_WRITES);
    assert_int_equal(outcome_class_of(command_find_name(STR("ping"))), OUTCOME_OTHERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_tells_hits_from_misses),
        cmocka_unit_test(commands_have_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
