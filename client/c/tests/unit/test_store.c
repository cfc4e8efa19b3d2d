/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a store, and deletes that have nobody to confirm them. */
#include "client/c/src/store.h"

#include "client/c/src/cache.h"
#include "world.h"

#include <errno.h>
#include <string.h>

static void options_that_make_no_sense(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    char longest[NAME_PART_MAX + 2];
    memset(longest, 'n', sizeof(longest));
    longest[NAME_PART_MAX + 1] = 0;
    struct sc_store_options good = {.size = sizeof(good)}, bad[10];
    for (int i = 0; i < 10; i++) {
        bad[i] = good;
    }
    bad[0].prefix = longest;
    bad[1].namespace_ = longest;
    bad[2].group = (enum sc_group)4;
    bad[3].group = (enum sc_group) - 1;
    bad[4].ttl_ms = 1U << 31;
    bad[5].stale_ms = INT32_MAX;
    bad[6].jitter_percent = 102;
    bad[7].early_percent = 10001;
    bad[8].compression = (enum sc_compression)2;
    bad[9].size = 4;
    struct sc_store *s;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(sc_store_open(w.cache, &bad[i], &s), -EINVAL);
    }
    good.prefix = longest + 1;
    assert_int_equal(sc_store_open(w.cache, &good, &s), 0);
    sc_store_close(s);
    sc_store_close(NULL);
    world_close(&w);
}

static void defaults(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    assert_int_equal(w.store->ttl_ms, 60000);
    assert_int_equal(w.store->hard_ms, 60000);
    assert_int_equal(w.store->jitter_percent, 10);
    assert_int_equal(w.store->pack.min, 0);
    assert_int_equal(w.store->pack.kind, pack_best());
    /* A program that was compiled before there was a choice. */
    struct sc_store_options o = {.size = offsetof(struct sc_store_options, compression),
                                 .compress_min = 100,
                                 .compression = SC_ZLIB};
    struct sc_store *s;
    assert_int_equal(sc_store_open(w.cache, &o, &s), 0);
    assert_int_equal(s->pack.kind, pack_best());
    sc_store_close(s);
    o.size = sizeof(o);
    assert_int_equal(sc_store_open(w.cache, &o, &s), 0);
    assert_int_equal(s->pack.kind, PACK_ZLIB);
    sc_store_close(s);
    world_close(&w);
}

static void a_delete_that_nobody_confirms(void **state)
{
    (void)state;
    struct world w;
    struct sc_value v;
    struct sc_info info = {.size = sizeof(info)};
    struct sc_options o = {.size = sizeof(o), .budget_ms = 20, .memory_max = 1 << 20};
    world_open(&w, &o, NULL);
    assert_int_equal(sc_set(w.store, "k", 1, "old", 3, 0, NULL), SC_OK);
    assert_int_equal(sc_get(w.store, "k", 1, &v, NULL), SC_HIT); /* of memory */
    sc_value_free(&v);
    assert_int_equal(sc_del(w.store, "k", 1, &info), SC_SKIPPED);
    assert_int_equal(sc_get(w.store, "k", 1, &v, &info), SC_MISS);
    assert_int_equal(info.cause, SC_CAUSE_INVALIDATED);
    struct sc_stats s = {.size = sizeof(s)};
    sc_stats_read(w.cache, &s);
    assert_int_equal(s.dels_pending, 1);
    assert_int_equal(sc_clear(w.store, NULL), -EINVAL); /* it is no group */
    world_close(&w);
}

static void arguments_that_make_no_sense(void **state)
{
    (void)state;
    struct world w;
    struct sc_value v;
    struct sc_item item = {.key = "k", .key_len = 0};
    world_open(&w, NULL, NULL);
    assert_int_equal(sc_get(w.store, "", 0, &v, NULL), -EINVAL);
    assert_int_equal(sc_get(w.store, "k", 1, NULL, NULL), -EINVAL);
    assert_int_equal(sc_set(w.store, "k", 1, NULL, 1, 0, NULL), -EINVAL);
    assert_int_equal(sc_set(w.store, "k", 1, "v", 1, 1U << 31, NULL), -EINVAL);
    assert_int_equal(sc_del(w.store, NULL, 1, NULL), -EINVAL);
    assert_int_equal(sc_get_many(w.store, &item, 1, NULL), -EINVAL);
    assert_int_equal(sc_set_many(w.store, &item, 1, 0, NULL), -EINVAL);
    assert_int_equal(sc_get_many(w.store, NULL, 0, NULL), 0);
    assert_int_equal(sc_set_many(w.store, NULL, 0, 0, NULL), 0);
    assert_int_equal(sc_fetch(w.store, "k", 1, NULL, &v, NULL), -EINVAL);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_make_no_sense),
        cmocka_unit_test(defaults),
        cmocka_unit_test(a_delete_that_nobody_confirms),
        cmocka_unit_test(arguments_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
