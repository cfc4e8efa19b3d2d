/* SPDX-License-Identifier: Apache-2.0 */
/* What a loader has put becomes an answer; where it failed, an old value takes its place. */
#include "client/c/src/load.h"

#include "client/c/src/clock.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>

enum { RETRY_MS = 50 };

static void open_world(struct world *w)
{
    struct sc_options c = {.size = sizeof(c), .memory_max = 16 << 20};
    struct sc_store_options o = {
        .size = sizeof(o), .ttl_ms = 5000, .stale_ms = 5000, .retry_ms = RETRY_MS};
    world_open(w, &c, &o);
}

static void look(struct world *w, struct look *l)
{
    assert_false(look_begin(w->store, "k", 1, l));
}

static char old_text[] = "old", new_text[] = "new";

static int put_value(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    (void)key;
    (void)key_len;
    return sc_result_set(r, arg, 3);
}

static int put_nothing(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    (void)key;
    (void)key_len;
    (void)r;
    return *(const int *)arg;
}

static int put_none(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    assert_int_equal(put_value(arg, key, key_len, r), 0);
    sc_result_none(r); /* the last word counts */
    return 0;
}

static int put_for_no_time(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    sc_result_ttl(r, 0);
    return put_value(arg, key, key_len, r);
}

static struct load_result run(struct world *w, struct look *l, sc_load_fn load, void *arg)
{
    struct sc_loader loader = {.load = load, .arg = arg};
    struct load_result result;
    int64_t cost_ns;
    load_run(w->store, l, &loader, &result, &cost_ns);
    assert_true(cost_ns >= 0);
    return result;
}

static uint64_t sets(struct world *w)
{
    struct sc_stats s = {.size = sizeof(s)};
    sc_stats_read(w->cache, &s);
    return s.sets;
}

static void answers(void **state)
{
    (void)state;
    struct world w;
    struct look l;
    open_world(&w);
    look(&w, &l);
    struct load_result r = run(&w, &l, put_for_no_time, new_text);
    assert_int_equal(r.answer, SC_LOADED);
    assert_int_equal(r.value->len, 3);
    bytes_unref(r.value);
    r = run(&w, &l, put_none, new_text);
    assert_int_equal(r.answer, SC_NONE);
    assert_null(r.value);
    assert_int_equal(sets(&w), 0); /* none of them is stored */
    r = run(&w, &l, put_value, new_text);
    assert_int_equal(r.answer, SC_LOADED);
    assert_int_equal(sets(&w), 1);
    bytes_unref(r.value);
    world_close(&w);
}

static void a_loader_that_fails(void **state)
{
    (void)state;
    struct world w;
    struct look l;
    int error = 9, none = 0;
    open_world(&w);
    look(&w, &l);
    struct load_result r = run(&w, &l, put_nothing, &error);
    assert_int_equal(r.answer, SC_FAILED);
    assert_int_equal(r.loader_error, 9);
    assert_false(load_is_throttled(w.store, l.hash));
    r = run(&w, &l, put_nothing, &none); /* it says that all is well, and has put nothing */
    assert_int_equal(r.answer, SC_FAILED);
    assert_int_equal(r.loader_error, -ENODATA);
    world_close(&w);
}

static void an_old_value_takes_its_place(void **state)
{
    (void)state;
    struct world w;
    struct look l;
    int error = 9;
    open_world(&w);
    look(&w, &l);
    l.value = bytes_copy("old", 3);
    l.answer = SC_STALE;
    struct load_result r = run(&w, &l, put_nothing, &error);
    assert_int_equal(r.answer, SC_STALE);
    assert_int_equal(r.loader_error, 9);
    assert_ptr_equal(r.value, l.value);
    bytes_unref(r.value);
    assert_true(load_is_throttled(w.store, l.hash));
    assert_false(load_is_throttled(w.store, l.hash + 256)); /* the same row, another key */
    int64_t until = clock_ns() + 2LL * RETRY_MS * NS_PER_MS;
    while (load_is_throttled(w.store, l.hash)) {
        assert_true(clock_ns() < until + 10000LL * NS_PER_MS);
    }
    atomic_fetch_add(&w.store->fences.slots[l.mark.slot], 1); /* but not one that was deleted */
    r = run(&w, &l, put_nothing, &error);
    assert_int_equal(r.answer, SC_FAILED);
    assert_null(r.value);
    bytes_unref(l.value);
    world_close(&w);
}

static void an_old_value_of_memory(void **state)
{
    (void)state;
    struct world w;
    struct look l;
    int error = 9;
    open_world(&w);
    look(&w, &l);
    struct load_result r = run(&w, &l, put_value, old_text);
    bytes_unref(r.value);
    l.value = NULL; /* the cache has nothing */
    r = run(&w, &l, put_nothing, &error);
    assert_int_equal(r.answer, SC_STALE);
    assert_memory_equal(r.value->data, "old", 3);
    bytes_unref(r.value);
    world_close(&w);
}

static void results(void **state)
{
    (void)state;
    struct sc_result r = {0};
    assert_int_equal(sc_result_set(&r, NULL, 1), -EINVAL);
    assert_int_equal(r.error, -EINVAL);
    assert_int_equal(sc_result_set(&r, "a", (size_t)600 << 20), -EINVAL);
    assert_int_equal(sc_result_set(&r, NULL, 0), 0);
    assert_int_equal(r.error, 0);
    char *given = malloc(3);
    assert_non_null(given);
    assert_int_equal(sc_result_give(&r, given, (size_t)600 << 20, free), -EINVAL); /* it is freed */
    assert_null(r.value);
    given = malloc(3);
    assert_int_equal(sc_result_give(&r, given, 3, free), 0);
    assert_ptr_equal(r.value->data, given);
    sc_result_none(&r);
    assert_null(r.value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(a_loader_that_fails),
        cmocka_unit_test(an_old_value_takes_its_place),
        cmocka_unit_test(an_old_value_of_memory),
        cmocka_unit_test(results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
