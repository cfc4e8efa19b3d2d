/* SPDX-License-Identifier: Apache-2.0 */
/* What a call knows of its key, and the times of what it stores. */
#include "client/c/src/look.h"

#include "client/c/src/clock.h"
#include "world.h"

#include <stdint.h>

static void open_times(struct world *w, uint32_t ttl_ms, uint32_t stale_ms, uint32_t jitter)
{
    struct sc_options c = {.size = sizeof(c), .memory_max = 16 << 20};
    struct sc_store_options o = {
        .size = sizeof(o), .ttl_ms = ttl_ms, .stale_ms = stale_ms, .jitter_percent = jitter};
    world_open(w, &c, &o);
}

static struct envelope store(struct world *w, const char *key, uint32_t ttl_ms, int expected)
{
    struct look l;
    struct envelope e;
    int cause;
    assert_false(look_begin(w->store, key, 1, &l));
    struct bytes *value = bytes_copy("hello", 5);
    struct storing what = {.value = value, .ttl_ms = ttl_ms, .delta_ms = 3};
    assert_int_equal(look_store(w->store, &l, &what, &cause, &e), expected);
    bytes_unref(value);
    return e;
}

static void times_are_shortened_by_one_factor(void **state)
{
    (void)state;
    struct world w;
    open_times(&w, 100000, 100000, 10);
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < 500; i++) {
        char key = (char)(i + 1);
        struct look l;
        struct envelope e;
        int cause;
        (void)look_begin(w.store, &key, 1, &l);
        struct storing what = {.ttl_ms = 100000}; /* negative: not kept in memory */
        (void)look_store(w.store, &l, &what, &cause, &e);
        assert_true(e.soft_ms > 90000 - 1 && e.soft_ms <= 100000);
        assert_true(e.hard_ms >= 2 * e.soft_ms - 2 && e.hard_ms <= 2 * e.soft_ms + 2);
        least = e.soft_ms < least ? e.soft_ms : least;
        most = e.soft_ms > most ? e.soft_ms : most;
    }
    assert_true(least < 91000 && most > 99000);
    world_close(&w);
}

static void times_that_are_not_shortened(void **state)
{
    (void)state;
    struct world w;
    open_times(&w, 5000, 2000, 101);
    struct envelope e = store(&w, "a", 5000, SC_OK);
    assert_int_equal(e.soft_ms, 5000);
    assert_int_equal(e.hard_ms, 7000);
    assert_int_equal(e.delta_ms, 3);
    assert_true(e.created_ms <= clock_wall_ms() && e.created_ms > clock_wall_ms() - 10000);
    e = store(&w, "b", INT32_MAX, SC_OK); /* longer than all that the store knew */
    assert_int_equal(e.soft_ms, INT32_MAX);
    assert_int_equal(e.hard_ms, INT32_MAX);
    assert_int_equal(w.store->hard_max_ms, INT32_MAX);
    world_close(&w);
}

static void the_buckets_of_a_hash_bound_its_times(void **state)
{
    (void)state;
    struct world w;
    struct sc_store_options o = {
        .size = sizeof(o), .group = SC_HASH, .ttl_ms = 60000, .jitter_percent = 101};
    world_open(&w, NULL, &o);
    struct look l;
    struct envelope e;
    int cause;
    (void)look_begin(w.store, "a", 1, &l);
    l.may_store = true;
    struct storing what = {.ttl_ms = 10000000};
    (void)look_store(w.store, &l, &what, &cause, &e);
    assert_int_equal(e.hard_ms, w.store->bucket_ms);
    assert_int_equal(e.soft_ms, w.store->bucket_ms);
    world_close(&w);
}

static void what_is_stored_is_in_memory(void **state)
{
    (void)state;
    struct world w;
    open_times(&w, 5000, 0, 101);
    (void)store(&w, "a", 5000, SC_OK);
    struct look l;
    assert_true(look_begin(w.store, "a", 1, &l));
    assert_int_equal(look_answer(&l), SC_HIT);
    assert_int_equal(l.layer, 1);
    struct sc_value v;
    look_give(&l, SC_HIT, &v);
    assert_int_equal(v.len, 5);
    sc_value_free(&v);
    world_close(&w);
}

static void a_delete_in_between(void **state)
{
    (void)state;
    struct world w;
    open_times(&w, 5000, 0, 101);
    struct look l;
    struct envelope e;
    int cause;
    assert_false(look_begin(w.store, "a", 1, &l));
    atomic_fetch_add(&w.store->fences.slots[l.mark.slot], 1);
    struct bytes *value = bytes_copy("old", 3);
    struct storing what = {.value = value, .ttl_ms = 5000};
    assert_int_equal(look_store(w.store, &l, &what, &cause, &e), SC_SKIPPED);
    assert_int_equal(cause, SC_CAUSE_INVALIDATED);
    bytes_unref(value);
    assert_false(look_begin(w.store, "a", 1, &l)); /* nor in memory */
    atomic_fetch_add(&w.store->fences.pending[l.mark.slot], 1);
    assert_true(look_begin(w.store, "a", 1, &l)); /* it is not even asked for */
    assert_int_equal(l.cause, SC_CAUSE_INVALIDATED);
    atomic_fetch_sub(&w.store->fences.pending[l.mark.slot], 1);
    world_close(&w);
}

static void what_is_too_large_is_not_stored(void **state)
{
    (void)state;
    struct world w;
    struct sc_options c = {.size = sizeof(c), .value_max = 4};
    world_open(&w, &c, NULL);
    struct look l;
    struct envelope e;
    int cause;
    (void)look_begin(w.store, "a", 1, &l);
    struct bytes *value = bytes_copy("hello", 5);
    struct storing what = {.value = value, .ttl_ms = 5000};
    assert_int_equal(look_store(w.store, &l, &what, &cause, &e), SC_SKIPPED);
    assert_int_equal(cause, SC_CAUSE_TOO_LARGE);
    what.offset = 1;
    assert_int_equal(look_store(w.store, &l, &what, &cause, &e), SC_OK);
    bytes_unref(value);
    world_close(&w);
}

static void keys_have_a_length(void **state)
{
    (void)state;
    char key[NAME_KEY_MAX + 1] = {0};
    assert_false(look_is_key(NULL, 1));
    assert_false(look_is_key(key, 0));
    assert_true(look_is_key(key, 1));
    assert_true(look_is_key(key, NAME_KEY_MAX));
    assert_false(look_is_key(key, NAME_KEY_MAX + 1));
}

static void info_of_older_callers(void **state)
{
    (void)state;
    struct sc_info info = {.age_ms = 77};
    info.size = offsetof(struct sc_info, age_ms);
    info_fill(&info, SC_CAUSE_TIMEOUT, 2, -5, 1500000, NULL);
    assert_int_equal(info.cause, SC_CAUSE_TIMEOUT);
    assert_int_equal(info.cost_us, 1500);
    assert_int_equal(info.age_ms, 77); /* he does not know of it */
    info.size = sizeof(info);
    info_fill(&info, SC_CAUSE_NONE, 2, 0, INT64_MAX, NULL);
    assert_int_equal(info.age_ms, -1);
    assert_int_equal(info.cost_us, UINT32_MAX);
    info_fill(NULL, SC_CAUSE_NONE, 2, 0, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_shortened_by_one_factor),
        cmocka_unit_test(times_that_are_not_shortened),
        cmocka_unit_test(the_buckets_of_a_hash_bound_its_times),
        cmocka_unit_test(what_is_stored_is_in_memory),
        cmocka_unit_test(a_delete_in_between),
        cmocka_unit_test(what_is_too_large_is_not_stored),
        cmocka_unit_test(keys_have_a_length),
        cmocka_unit_test(info_of_older_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
