/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct thing {
    struct table_link link;
    unsigned number;
    bool is_in;
};

static bool is_thing(const struct table_link *link, const void *key)
{
    return container_of((struct table_link *)(uintptr_t)link, struct thing, link)->number ==
           *(const unsigned *)key;
}

static struct thing *find(const struct table *t, uint64_t hash, unsigned number)
{
    struct table_link *link = table_find(t, hash, is_thing, &number);
    return link ? container_of(link, struct thing, link) : NULL;
}

static void an_empty_one_finds_nothing_and_holds_no_memory(void **state)
{
    (void)state;
    struct table t = {0};
    assert_null(find(&t, 7, 7));
    struct thing a = {.number = 7};
    assert_int_equal(table_add(&t, &a.link, 7), 0);
    assert_ptr_equal(find(&t, 7, 7), &a);
    table_remove(&t, &a.link);
    assert_null(find(&t, 7, 7));
    assert_null(t.slots);
    assert_int_equal(t.count, 0);
}

static void equal_hashes_are_told_apart(void **state)
{
    (void)state;
    struct table t = {0};
    struct thing things[100];
    for (unsigned i = 0; i < 100; i++) {
        things[i] = (struct thing){.number = i};
        assert_int_equal(table_add(&t, &things[i].link, 42), 0);
    }
    for (unsigned i = 0; i < 100; i++)
        assert_ptr_equal(find(&t, 42, i), &things[i]);
    assert_null(find(&t, 43, 1));
    for (unsigned i = 0; i < 100; i += 2)
        table_remove(&t, &things[i].link);
    for (unsigned i = 0; i < 100; i++)
        assert_ptr_equal(find(&t, 42, i), i % 2 ? &things[i] : NULL);
    for (unsigned i = 1; i < 100; i += 2)
        table_remove(&t, &things[i].link);
}

static void a_random_walk(void **state)
{
    enum { THINGS = 500, STEPS = 50000 };
    (void)state;
    struct table t = {0};
    static struct thing things[THINGS];
    struct rng rng = {1};
    size_t count = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned n = (unsigned)rng_below(&rng, THINGS);
        uint64_t hash = n / 2 * UINT64_C(0x100000001); /* pairs, and poor ones */
        struct thing *a = &things[n];
        assert_ptr_equal(find(&t, hash, n), a->is_in ? a : NULL);
        if (a->is_in) {
            table_remove(&t, &a->link);
            count--;
        } else {
            a->number = n;
            assert_int_equal(table_add(&t, &a->link, hash), 0);
            count++;
        }
        a->is_in = !a->is_in;
        assert_int_equal(t.count, count);
    }
    for (unsigned n = 0; n < THINGS; n++)
        if (things[n].is_in)
            table_remove(&t, &things[n].link);
    assert_null(t.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_finds_nothing_and_holds_no_memory),
        cmocka_unit_test(equal_hashes_are_told_apart),
        cmocka_unit_test(a_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
