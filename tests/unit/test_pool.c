/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_ceiling(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, 100, 3, 10);
    void *a = pool_take(&p), *b = pool_take(&p), *c = pool_take(&p);
    assert_true(a && b && c);
    assert_true(a != b && b != c && a != c);
    assert_int_equal(p.in_use, 3);
    assert_null(pool_take(&p));
    assert_int_equal(p.in_use, 3);
    pool_give(&p, b);
    assert_int_equal(p.in_use, 2);
    b = pool_take(&p);
    assert_non_null(b);
    assert_null(pool_take(&p));
    pool_give(&p, a);
    pool_give(&p, b);
    pool_give(&p, c);
    assert_int_equal(p.in_use, 0);
    pool_fini(&p);

    pool_init(&p, 100, 0, 10);
    assert_null(pool_take(&p));
    pool_fini(&p);
}

static void test_spares(void **state)
{
    (void)state;
    enum { OBJECTS = 20, SPARES = 5 };
    void *objects[OBJECTS];
    struct pool p;
    pool_init(&p, 64, OBJECTS, SPARES);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < OBJECTS; i++)
            objects[i] = pool_take(&p);
        assert_int_equal(p.spare_count, 0);
        for (size_t i = 0; i < OBJECTS; i++) {
            pool_give(&p, objects[i]);
            size_t given = i + 1;
            assert_int_equal(p.spare_count,
                             POOL_KEEPS_SPARES ? (given < SPARES ? given : SPARES) : 0);
        }
        assert_int_equal(p.in_use, 0);
    }
    if (POOL_KEEPS_SPARES) { /* the next taker gets what was given back last: it is still in the
                                cache */
        void *a = pool_take(&p);
        pool_give(&p, a);
        assert_ptr_equal(pool_take(&p), a);
        pool_give(&p, a);
    }
    pool_fini(&p);
    assert_int_equal(p.spare_count, 0);
}

/* Objects smaller than the pool's own link still have room for it. */
static void test_small_objects(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, 1, 100, 100);
    assert_int_equal(p.object_size, sizeof(void *));
    char *a = pool_take(&p), *b = pool_take(&p);
    assert_true(a && b);
    *a = 'a';
    *b = 'b';
    pool_give(&p, a);
    assert_int_equal(*b, 'b');
    pool_give(&p, b);
    pool_fini(&p);
}

/* Each object is written all over; nobody else's bytes may change. */
static void test_objects_are_apart(void **state)
{
    (void)state;
    enum { OBJECTS = 64, SIZE = 40 };
    uint8_t *held[OBJECTS] = {NULL};
    struct rng rng = {5};
    struct pool p;
    size_t count = 0;
    pool_init(&p, SIZE, OBJECTS / 2, 7);
    for (int step = 0; step < 20000; step++) {
        size_t i = rng_below(&rng, OBJECTS);
        if (held[i]) {
            for (size_t k = 0; k < SIZE; k++)
                assert_int_equal(held[i][k], i);
            pool_give(&p, held[i]);
            held[i] = NULL;
            count--;
        } else {
            held[i] = pool_take(&p);
            assert_int_equal(held[i] != NULL, count < OBJECTS / 2);
            if (!held[i])
                continue;
            memset(held[i], (int)i, SIZE);
            count++;
        }
        assert_int_equal(p.in_use, count);
        assert_true(p.spare_count <= 7);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        if (held[i])
            pool_give(&p, held[i]);
    pool_fini(&p);
}

static void trimming_follows_the_use(void **state)
{
    (void)state;
    enum { OBJECTS = 20 };
    void *objects[OBJECTS];
    struct pool p;
    pool_init(&p, 64, OBJECTS, OBJECTS);
    for (size_t i = 0; i < OBJECTS; i++)
        objects[i] = pool_take(&p);
    for (size_t i = 5; i < OBJECTS; i++)
        pool_give(&p, objects[i]);
    pool_trim(&p); /* the peak of 20 is remembered once */
    assert_int_equal(p.spare_count, POOL_KEEPS_SPARES ? OBJECTS - 5 : 0);
    void *one = pool_take(&p);
    pool_give(&p, one);
    pool_trim(&p); /* this time it was 6 */
    assert_int_equal(p.spare_count, POOL_KEEPS_SPARES ? 1 : 0);
    for (size_t i = 0; i < 5; i++)
        pool_give(&p, objects[i]);
    pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(trimming_follows_the_use),
        cmocka_unit_test(test_spares),
        cmocka_unit_test(test_small_objects),
        cmocka_unit_test(test_objects_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
