/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_limit.h"

#include "base/nsec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void so_many_in_a_second(void **state)
{
    (void)state;
    static struct log_limit l = {.per_second = 3};
    uint64_t lost, now = 100 * NSEC_S;
    for (int i = 0; i < 3; i++) {
        assert_true(log_limit_allows(&l, STR("a"), now + i, &lost));
        assert_int_equal(lost, 0);
    }
    for (int i = 0; i < 5; i++)
        assert_false(log_limit_allows(&l, STR("a"), now + NSEC_S - 1, &lost));
    assert_true(log_limit_allows(&l, STR("b"), now, &lost));
    assert_true(log_limit_allows(&l, STR("a"), now + NSEC_S, &lost));
    assert_int_equal(lost, 5);
    assert_true(log_limit_allows(&l, STR("a"), now + NSEC_S, &lost));
    assert_int_equal(lost, 0);
}

static void without_room_or_limit_nothing_is_lost(void **state)
{
    (void)state;
    static struct log_limit none, l = {.per_second = 1};
    uint64_t lost;
    for (int i = 0; i < 10; i++)
        assert_true(log_limit_allows(&none, STR("a"), 1, &lost));
    for (unsigned i = 0; i < LOG_LIMIT_EVENTS + 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "e%u", i);
        assert_true(log_limit_allows(&l, str_of(name), 1, &lost));
        assert_int_equal(log_limit_allows(&l, str_of(name), 1, &lost), i >= LOG_LIMIT_EVENTS);
    }
}

static void which_event_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *line, *event;
    } CASES[] = {
        {"warn node-ejected node=x\n", "node-ejected"},
        {"info stopped\n", "stopped"},
        {"debug view version=1\n", ""},
        {"info", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct str event = log_limit_event_of(CASES[i].line, strlen(CASES[i].line));
        assert_true(str_eq(event, str_of(CASES[i].event)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_in_a_second),
        cmocka_unit_test(without_room_or_limit_nothing_is_lost),
        cmocka_unit_test(which_event_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
