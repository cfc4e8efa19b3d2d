/* SPDX-License-Identifier: Apache-2.0 */
#include "net/timer.h"

#include "base/nsec.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { TIMERS = 200 };

struct recorder {
    struct timer timer;
    uint64_t at; /* what the model says; NSEC_NEVER: not set */
};

static struct recorder *fired_list[TIMERS * 4];
static size_t fired_count;

static void on_time(struct timer *t)
{
    struct recorder *r = container_of(t, struct recorder, timer);
    assert_false(timer_is_set(t));
    fired_list[fired_count++] = r;
}

static void timers_fire_in_order_and_once(void **state)
{
    (void)state;
    struct rng rng = {.state = 42};
    struct timers ts;
    struct recorder r[TIMERS];
    timers_init(&ts);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_make(&r[i].timer, &ts, on_time), 0);
        r[i].at = NSEC_NEVER;
    }
    uint64_t now = 0;
    for (int round = 0; round < 2000; round++) {
        struct recorder *one = &r[rng_below(&rng, TIMERS)];
        switch (rng_below(&rng, 4)) {
        case 0:
            timer_clear(&one->timer);
            one->at = NSEC_NEVER;
            break;
        default:
            one->at = now + rng_below(&rng, 1000);
            timer_set(&one->timer, one->at);
            break;
        }
        uint64_t next = NSEC_NEVER;
        for (size_t i = 0; i < TIMERS; i++)
            next = nsec_min(next, r[i].at);
        assert_int_equal(timers_next(&ts), next);
        if (rng_below(&rng, 8) != 0)
            continue;
        now += rng_below(&rng, 300);
        fired_count = 0;
        timers_run(&ts, now);
        uint64_t last = 0;
        for (size_t i = 0; i < fired_count; i++) {
            assert_true(fired_list[i]->at >= last && fired_list[i]->at <= now);
            last = fired_list[i]->at;
            fired_list[i]->at = NSEC_NEVER;
        }
        for (size_t i = 0; i < TIMERS; i++)
            assert_true(r[i].at == NSEC_NEVER || r[i].at > now);
    }
    for (size_t i = 0; i < TIMERS; i++)
        timer_unmake(&r[i].timer);
    timers_fini(&ts);
}

static void on_time_again(struct timer *t)
{
    fired_count++;
    if (fired_count < 3)
        timer_set(t, t->at + 10);
}

static void a_timer_may_set_itself_again(void **state)
{
    (void)state;
    struct timers ts;
    struct timer t;
    timers_init(&ts);
    assert_int_equal(timer_make(&t, &ts, on_time_again), 0);
    fired_count = 0;
    timer_set(&t, 5);
    timers_run(&ts, 4);
    assert_int_equal(fired_count, 0);
    timers_run(&ts, 5);
    assert_int_equal(fired_count, 1);
    timers_run(&ts, 1000);
    assert_int_equal(fired_count, 3);
    assert_int_equal(timers_next(&ts), NSEC_NEVER);
    timer_unmake(&t);
    timers_fini(&ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_once),
        cmocka_unit_test(a_timer_may_set_itself_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
