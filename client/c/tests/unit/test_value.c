/* SPDX-License-Identifier: Apache-2.0 */
/* Shared bytes: given back once, by the last. */
#include "client/c/src/value.h"

#include "sumcache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int ended;

static void end(void *data)
{
    (void)data;
    ended++;
}

static void the_last_one_gives_it_back(void **state)
{
    (void)state;
    static char text[] = "hello";
    ended = 0;
    struct bytes *b = bytes_take(text, 5, end);
    assert_ptr_equal(bytes_ref(b), b);
    assert_null(bytes_unref(b));
    assert_int_equal(ended, 0);
    assert_null(bytes_unref(b));
    assert_int_equal(ended, 1);
    assert_null(bytes_unref(NULL));
    assert_null(bytes_unref(bytes_take(text, 5, NULL))); /* nobody ends it: it is static */
}

static void a_copy_is_one(void **state)
{
    (void)state;
    char text[] = "hello";
    struct bytes *b = bytes_copy(text, 5);
    text[0] = 'j';
    assert_memory_equal(b->data, "hello", 5);
    bytes_unref(b);
    b = bytes_copy(NULL, 0);
    assert_int_equal(b->len, 0);
    bytes_unref(b);
}

static void values_are_shares(void **state)
{
    (void)state;
    ended = 0;
    struct bytes *b = bytes_take((char[]){"hello"}, 5, end);
    struct sc_value one = {.data = b->data + 1, .len = 4, .owner = b}, two;
    sc_value_share(&one, &two);
    sc_value_free(&one);
    assert_null(one.data);
    assert_memory_equal(two.data, "ello", 4);
    sc_value_free(&one); /* empty already */
    assert_int_equal(ended, 0);
    sc_value_free(&two);
    assert_int_equal(ended, 1);
    sc_value_share(&one, &two);
    assert_null(two.owner);
    sc_value_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one_gives_it_back),
        cmocka_unit_test(a_copy_is_one),
        cmocka_unit_test(values_are_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
