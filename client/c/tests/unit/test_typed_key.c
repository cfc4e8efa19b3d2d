/* SPDX-License-Identifier: Apache-2.0 */
/* Typed keys: no two lists of arguments collide. That all libraries make the same: test_format.py.
 */
#include "sumcache.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct text {
    char text[23];
};

static struct text finish(struct sc_key *key)
{
    struct text t = {""};
    sc_key_finish(key, t.text);
    assert_int_equal(strlen(t.text), 22);
    return t;
}

static void what_is_one_number_is_one_key(void **state)
{
    (void)state;
    struct sc_key a, b;
    sc_key_init(&a, "f"), sc_key_int(&a, 7);
    sc_key_init(&b, "f"), sc_key_real(&b, 7.0);
    assert_string_equal(finish(&a).text, finish(&b).text);
    sc_key_init(&a, "f"), sc_key_real(&a, -0.0);
    sc_key_init(&b, "f"), sc_key_int(&b, 0);
    assert_string_equal(finish(&a).text, finish(&b).text);
    sc_key_init(&a, "f"), sc_key_real(&a, (double)NAN);
    sc_key_init(&b, "f"), sc_key_real(&b, -(double)NAN);
    assert_string_equal(finish(&a).text, finish(&b).text);
}

static void other_lists_are_other_keys(void **state)
{
    (void)state;
    struct sc_key k[8];
    struct text t[8];
    for (int i = 0; i < 8; i++) {
        sc_key_init(&k[i], i == 7 ? "g" : "f");
    }
    sc_key_text(&k[0], "7"), sc_key_text(&k[0], "fr");
    sc_key_text(&k[1], "7f"), sc_key_text(&k[1], "r");
    sc_key_int(&k[2], 7), sc_key_text(&k[2], "fr");
    sc_key_bytes(&k[3], "7", 1), sc_key_text(&k[3], "fr");
    sc_key_bool(&k[4], 1);
    sc_key_int(&k[5], 1);
    /* k[6]: no argument */
    for (int i = 0; i < 8; i++) {
        t[i] = finish(&k[i]);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(t[i].text, t[j].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_one_number_is_one_key),
        cmocka_unit_test(other_lists_are_other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
