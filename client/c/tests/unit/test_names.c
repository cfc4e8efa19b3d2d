/* SPDX-License-Identifier: Apache-2.0 */
/* Names of keys: no two stores share one. Those of docs/stored-format.md are in test_format.py. */
#include "client/c/src/names.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static size_t base_of(char *to, const char *namespace, const char *prefix)
{
    return name_base(to, namespace, strlen(namespace), prefix, strlen(prefix));
}

static void what_is_not_safe_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *namespace, *prefix, *base;
    } cases[] = {
        {"", "", ":"},
        {"shop", "users/v2", "shop:users/v2"},
        {"a:b", "c", "a%3Ab:c"},
        {"a", "b:c", "a:b%3Ac"},
        {"{x}", "100%", "%7Bx%7D:100%25"},
        {"a-b_c.d~e", "\xff", "a-b_c.d~e:%FF"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char base[NAME_BASE_MAX + 1];
        base[base_of(base, cases[i].namespace, cases[i].prefix)] = 0;
        assert_string_equal(base, cases[i].base);
    }
}

static void the_longest_names_have_room(void **state)
{
    (void)state;
    static char base[NAME_BASE_MAX], name[NAME_MAX_LEN];
    char part[NAME_PART_MAX], key[NAME_KEY_MAX];
    memset(part, ':', sizeof(part));
    memset(key, 'k', sizeof(key));
    size_t len = name_base(base, part, sizeof(part), part, sizeof(part));
    assert_int_equal(len, NAME_BASE_MAX);
    assert_true(name_of_value(name, base, len, key, sizeof(key)) <= NAME_MAX_LEN);
    assert_true(name_of_bucket(name, base, len, UINT64_MAX) <= NAME_MAX_LEN);
}

static void kinds_of_names_differ(void **state)
{
    (void)state;
    char base[NAME_BASE_MAX], names[4][NAME_MAX_LEN];
    size_t base_len = base_of(base, "n", "p"), lens[4];
    lens[0] = name_of_value(names[0], base, base_len, "g", 1);
    lens[1] = name_of_generation(names[1], base, base_len);
    lens[2] = name_of_bucket(names[2], base, base_len, 29);
    lens[3] = name_of_list(names[3], base, base_len);
    static const char *const expected[] = {"n:p:k:g", "n:p:g", "{n:p}:h29", "n:p:l"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lens[i], strlen(expected[i]));
        assert_memory_equal(names[i], expected[i], lens[i]);
    }
    /* A key is any bytes, and is not escaped. */
    lens[0] = name_of_value(names[0], base, base_len, "\0:", 2);
    assert_int_equal(lens[0], 8);
    assert_memory_equal(names[0], "n:p:k:\0:", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_safe_is_escaped),
        cmocka_unit_test(the_longest_names_have_room),
        cmocka_unit_test(kinds_of_names_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
