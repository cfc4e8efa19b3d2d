/* SPDX-License-Identifier: Apache-2.0 */
/* When the breaker opens, and what closes it. */
#include "client/c/src/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { WINDOW = 20, PERCENT = 50 };

static int note(struct breaker *b, int count, bool has_failed)
{
    int opened = 0;
    for (int i = 0; i < count; i++) {
        opened += breaker_note(b, has_failed);
    }
    return opened;
}

static void a_few_calls_prove_nothing(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, WINDOW, PERCENT);
    assert_int_equal(note(&b, BREAKER_CALLS_MIN - 1, true), 0);
    assert_true(breaker_is_closed(&b));
    assert_int_equal(note(&b, 1, true), 1);
    assert_false(breaker_is_closed(&b));
    assert_int_equal(b.opened, 1);
}

static void the_ratio_is_of_the_window(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, WINDOW, PERCENT);
    note(&b, 1000, false);
    assert_int_equal(note(&b, 9, true), 0); /* 9 of 20 */
    assert_int_equal(note(&b, 11, false), 0);
    assert_int_equal(note(&b, 9, true), 0); /* the first nine have left the window by now */
    assert_int_equal(note(&b, 1, true), 1);
    breaker_init(&b, WINDOW, PERCENT);
    for (int i = 0; i < 200; i++) { /* two of three work: never */
        assert_false(breaker_note(&b, i % 3 == 0));
    }
    breaker_init(&b, 5, 100);
    note(&b, 4, true);
    assert_int_equal(note(&b, 1, false), 0);
    assert_int_equal(note(&b, 4, true), 0);
    assert_int_equal(note(&b, 1, true), 1);
    breaker_init(&b, 32, 100); /* all bits of the word */
    assert_int_equal(note(&b, 32, true), 1);
}

static void only_one_call_opens_it(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, WINDOW, PERCENT);
    assert_int_equal(note(&b, 100, true), 1);
    assert_int_equal(b.opened, 1);
}

static void two_probes_in_a_row_close_it(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, WINDOW, PERCENT);
    assert_false(breaker_note_probe(&b, false)); /* of a closed one: says nothing */
    note(&b, WINDOW, true);
    assert_false(breaker_note_probe(&b, true)); /* open as before */
    assert_true(breaker_note_probe(&b, false));
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    assert_false(breaker_is_closed(&b));
    assert_true(breaker_note_probe(&b, true));
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_true(breaker_note_probe(&b, false));
    assert_true(breaker_note_probe(&b, false));
    assert_true(breaker_is_closed(&b));
    /* What was before is forgotten. */
    assert_int_equal(note(&b, BREAKER_CALLS_MIN - 1, true), 0);
    assert_int_equal(note(&b, 1, true), 1);
    assert_int_equal(b.opened, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_calls_prove_nothing),
        cmocka_unit_test(the_ratio_is_of_the_window),
        cmocka_unit_test(only_one_call_opens_it),
        cmocka_unit_test(two_probes_in_a_row_close_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
