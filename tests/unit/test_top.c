/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void add(struct top *t, unsigned number)
{
    char text[16];
    snprintf(text, sizeof(text), "key%u", number);
    (void)top_add(t, number, str_of(text), false);
}

static void the_frequent_stay(void **state)
{
    (void)state;
    static struct top t;
    t.count = 0;
    /* Keys 0 to 9 come 100 times each, between 10,000 that come once. */
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; k < 10; k++)
            add(&t, k);
        for (unsigned k = 0; k < 100; k++)
            add(&t, 1000 + 100 * i + k);
    }
    uint32_t order[TOP_MAX];
    top_order(&t, order);
    assert_int_equal(t.count, TOP_MAX);
    bool seen[10] = {false};
    for (unsigned i = 0; i < 10; i++) {
        const struct top_entry *e = &t.of[order[i]];
        assert_in_range(e->hash, 0, 9);
        assert_in_range(e->count - e->over, 1, 100);
        assert_true(e->count >= 100);
        seen[e->hash] = true;
    }
    for (unsigned i = 0; i < 10; i++)
        assert_true(seen[i]);
}

static void it_fades(void **state)
{
    (void)state;
    static struct top t;
    t.count = 0;
    add(&t, 1);
    for (unsigned i = 0; i < 4; i++)
        add(&t, 2);
    top_fade(&t);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.of[0].hash, 2);
    assert_int_equal(t.of[0].count, 2);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    static struct top t;
    char text[TOP_TEXT_MAX + 1] = {0};
    t.count = 0;
    struct top_entry *e = top_add(&t, 1, (struct str){text, sizeof(text)}, false);
    assert_int_equal(e->text_len, TOP_TEXT_MAX);
    assert_true(e->cut);
    e = top_add(&t, 2, (struct str){text, TOP_TEXT_MAX}, false);
    assert_false(e->cut);
}

static void equal_counts_are_in_the_order_of_texts(void **state)
{
    (void)state;
    static struct top t;
    uint32_t order[TOP_MAX];
    t.count = 0;
    add(&t, 3);
    add(&t, 10);
    add(&t, 1);
    add(&t, 3);
    top_order(&t, order);
    assert_int_equal(t.of[order[0]].hash, 3);
    assert_int_equal(t.of[order[1]].hash, 1);
    assert_int_equal(t.of[order[2]].hash, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frequent_stay),
        cmocka_unit_test(it_fades),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(equal_counts_are_in_the_order_of_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
