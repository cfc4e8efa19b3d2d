/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void nothing_is_missed_at_first(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(7, 3);
    assert_non_null(p);
    assert_int_equal(p->node, 7);
    uint64_t since = 99;
    assert_int_equal(pulse_missed(p, &since), 0);
    assert_null(pulse_unref(p));
}

static void misses_add_up_over_workers_from_the_first_silence_on(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(0, 3);
    uint64_t since = 0;
    pulse_miss(p, 0, 1000);
    pulse_miss(p, 0, 1500);
    pulse_miss(p, 2, 900);
    assert_int_equal(pulse_missed(p, &since), 3);
    assert_int_equal(since, 900);
    pulse_unref(p);
}

static void a_byte_for_anybody_ends_the_silence_of_all(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(0, 2);
    uint64_t since = 0;
    pulse_miss(p, 0, 1000);
    pulse_beat(p, 1, 5000);
    assert_int_equal(pulse_missed(p, &since), 1);
    assert_int_equal(since, 5000);
    pulse_unref(p);
}

static void a_byte_forgets_what_the_same_worker_missed(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(0, 1);
    uint64_t since = 0;
    pulse_miss(p, 0, 1000);
    pulse_beat(p, 0, 2000);
    assert_int_equal(pulse_missed(p, &since), 0);
    pulse_miss(p, 0, 3000);
    assert_int_equal(pulse_missed(p, &since), 1);
    assert_int_equal(since, 3000);
    pulse_unref(p);
}

static void the_last_greeting_of_all_workers_counts(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(0, 3);
    assert_int_equal(pulse_last_greeted(p), 0);
    pulse_greeted(p, 1, 2000);
    pulse_greeted(p, 2, 1000);
    assert_int_equal(pulse_last_greeted(p), 2000);
    pulse_greeted(p, 2, 3000);
    assert_int_equal(pulse_last_greeted(p), 3000);
    pulse_unref(p);
}

static void it_lives_as_long_as_its_last_reference(void **state)
{
    (void)state;
    struct pulse *p = pulse_new(4, 1);
    assert_ptr_equal(pulse_ref(p), p);
    pulse_unref(p);
    assert_int_equal(p->node, 4);
    pulse_unref(p);
    assert_null(pulse_ref(NULL));
    assert_null(pulse_unref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missed_at_first),
        cmocka_unit_test(misses_add_up_over_workers_from_the_first_silence_on),
        cmocka_unit_test(a_byte_for_anybody_ends_the_silence_of_all),
        cmocka_unit_test(a_byte_forgets_what_the_same_worker_missed),
        cmocka_unit_test(the_last_greeting_of_all_workers_counts),
        cmocka_unit_test(it_lives_as_long_as_its_last_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
