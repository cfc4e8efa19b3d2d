/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/size_table.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void nothing_is_known_at_first(void **state)
{
    (void)state;
    struct size_table t = {0};
    assert_int_equal(size_table_find(&t, 42), 0);
    size_table_forget(&t, 42);
    assert_null(t.entries);
    size_table_fini(&t);
}

static void a_size_is_found_again_rounded_up(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes, found;
    } CASES[] = {{1, 2},
                 {65536, 65536},
                 {65537, 131072},
                 {5 << 20, 8 << 20},
                 {UINT64_C(512) << 20, UINT64_C(512) << 20},
                 {UINT64_MAX, UINT64_C(1) << 63}};
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct size_table t = {0};
        uint64_t id = size_table_id(UINT64_C(0x123456789abcdef0) * (i + 1), 7);
        size_table_learn(&t, id, CASES[i].bytes);
        assert_int_equal(size_table_find(&t, id), CASES[i].found);
        size_table_forget(&t, id);
        assert_int_equal(size_table_find(&t, id), 0);
        size_table_fini(&t);
    }
}

static void commands_on_one_key_are_told_apart(void **state)
{
    (void)state;
    struct size_table t = {0};
    for (uint64_t hash = 0; hash < 1000; hash++) {
        size_table_learn(&t, size_table_id(hash, 1), 100000);
        assert_int_equal(size_table_find(&t, size_table_id(hash, 2)), 0);
        assert_int_not_equal(size_table_find(&t, size_table_id(hash, 1)), 0);
    }
    size_table_fini(&t);
}

static void a_newer_one_takes_the_place_of_an_older(void **state)
{
    (void)state;
    struct size_table t = {0};
    uint64_t one = UINT64_C(0xaaaaaa) << 40 | UINT64_C(77) << 24;
    uint64_t other = UINT64_C(0xbbbbbb) << 40 | UINT64_C(77) << 24;
    size_table_learn(&t, one, 100000);
    size_table_learn(&t, other, 5000000);
    assert_int_equal(size_table_find(&t, one), 0);
    assert_int_equal(size_table_find(&t, other), 8 << 20);
    size_table_forget(&t, one); /* not its own entry: stays */
    assert_int_equal(size_table_find(&t, other), 8 << 20);
    size_table_fini(&t);
}

static void many_keys_are_kept(void **state)
{
    (void)state;
    struct size_table t = {0};
    unsigned found = 0;
    for (uint64_t i = 0; i < 10000; i++)
        size_table_learn(&t, size_table_id(i * UINT64_C(0xd6e8feb86659fd93), 3), 100000);
    for (uint64_t i = 0; i < 10000; i++)
        found += size_table_find(&t, size_table_id(i * UINT64_C(0xd6e8feb86659fd93), 3)) > 0;
    /* 10,000 in 65,536 places: about 7 % share one. */
    assert_in_range(found, 9000, 10000);
    size_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(a_size_is_found_again_rounded_up),
        cmocka_unit_test(commands_on_one_key_are_told_apart),
        cmocka_unit_test(a_newer_one_takes_the_place_of_an_older),
        cmocka_unit_test(many_keys_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
