/* SPDX-License-Identifier: Apache-2.0 */
/* When a worker rests: in a crowd that leaves it idle, and at no other time. */
#include "proxy/pace.h"

#include "base/nsec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SHARE = 8 };

static const uint64_t START = 7 * NSEC_S;

/* A period in which `begun` clients begin to wait; `waiting` of them still do at its end. */
static void pass_period(struct pace *p, uint32_t begun, uint32_t waiting, uint64_t *now)
{
    for (uint32_t i = 0; i < begun; i++) {
        pace_client_waits(p);
        if (i >= waiting)
            pace_client_served(p);
    }
    *now += NSEC_MS;
}

static void a_rest_depends_on_the_crowd(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint64_t rest_max;
        uint32_t begun, waiting; /* in one millisecond */
        uint64_t rest;           /* ns; 0: none */
    } CASES[] = {
        {"switched off", 0, 100, 40, 0},
        {"100,000 a second, 40 wait 400 us", 50 * NSEC_US, 100, 40, 50 * NSEC_US},
        {"the same, 32 wait 320 us", 50 * NSEC_US, 100, 32, 40 * NSEC_US},
        {"the least crowd", 50 * NSEC_US, 100, 24, 30 * NSEC_US},
        {"one fewer", 50 * NSEC_US, 100, 23, 0},
        {"60,000 a second: three within the longest rest", 51 * NSEC_US, 60, 40, 51 * NSEC_US},
        {"58,000 a second: fewer than three", 51 * NSEC_US, 58, 40, 0},
        {"15,000 a second", 50 * NSEC_US, 15, 15, 0},
        {"nobody", 50 * NSEC_US, 0, 0, 0},
        {"one client, over and over", 50 * NSEC_US, 1000, 1, 0},
        {"faster than the clock tells", 1000, 1000000, 1000000, 1000},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct pace p;
        uint64_t now = START, rest = 0;
        pace_init(&p, CASES[i].rest_max, SHARE, now);
        pass_period(&p, CASES[i].begun, CASES[i].waiting, &now);
        enum pace_step first = pace_next(&p, now, &rest);
        assert_int_equal(first, CASES[i].rest ? PACE_LOOK : PACE_WAIT);
        pace_polled(&p, false);
        enum pace_step second = pace_next(&p, now, &rest);
        if (second != (CASES[i].rest ? PACE_REST : PACE_WAIT) || rest != CASES[i].rest)
            fail_msg("%s: step %d, %llu ns", CASES[i].what, (int)second, (unsigned long long)rest);
    }
}

static void who_is_busy_does_not_rest(void **state)
{
    (void)state;
    struct pace p;
    uint64_t now = START, rest = 0;
    pace_init(&p, 50 * NSEC_US, SHARE, now);
    pass_period(&p, 100, 50, &now);
    for (int i = 0; i < 100; i++) { /* each look finds something */
        assert_int_equal(pace_next(&p, now, &rest), PACE_LOOK);
        pace_polled(&p, true);
    }
    assert_int_equal(rest, 0);
}

static void after_a_rest_for_nothing_it_waits(void **state)
{
    (void)state;
    struct pace p;
    uint64_t now = START, rest = 0;
    pace_init(&p, 50 * NSEC_US, SHARE, now);
    pass_period(&p, 100, 50, &now);
    assert_int_equal(pace_next(&p, now, &rest), PACE_LOOK);
    pace_polled(&p, false);
    assert_int_equal(pace_next(&p, now, &rest), PACE_REST);
    for (int i = 0; i < 10; i++) {
        pace_polled(&p, false);
        assert_int_equal(pace_next(&p, now, &rest), PACE_WAIT);
    }
    pace_polled(&p, true);
    assert_int_equal(pace_next(&p, now, &rest), PACE_LOOK);
}

static void a_crowd_that_has_gone_is_forgotten(void **state)
{
    (void)state;
    struct pace p;
    uint64_t now = START, rest = 0;
    pace_init(&p, 50 * NSEC_US, SHARE, now);
    pass_period(&p, 100, 50, &now);
    assert_int_equal(pace_next(&p, now, &rest), PACE_LOOK);
    /* Its 50 requests hang at a node: many wait, but nobody comes. */
    pass_period(&p, 1, 1, &now);
    assert_int_equal(pace_next(&p, now, &rest), PACE_WAIT);
    /* Nor is a long silence a gap between two. */
    now += 10 * NSEC_S;
    assert_int_equal(pace_next(&p, now, &rest), PACE_WAIT);
    pass_period(&p, 200, 0, &now);
    assert_int_equal(pace_next(&p, now, &rest), PACE_LOOK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rest_depends_on_the_crowd),
        cmocka_unit_test(who_is_busy_does_not_rest),
        cmocka_unit_test(after_a_rest_for_nothing_it_waits),
        cmocka_unit_test(a_crowd_that_has_gone_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
