/* SPDX-License-Identifier: Apache-2.0 */
/* The memory layer: bounded in bytes, and emptied by fences and by time. */
#include "client/c/src/memory.h"

#include "client/c/src/hash.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 1000000, SMALL = 64 << 10, LARGE = 16 << 20, THREADS = 4, ROUNDS = 5000 };

static struct fences fences;

static struct memory_key key_of(uint64_t store, const char *key)
{
    size_t len = strlen(key);
    return (struct memory_key){
        .store = store, .hash = hash_bytes(key, len, store), .key = key, .key_len = len};
}

static struct fence_mark mark_of(const struct memory_key *k)
{
    return fence_take(&fences, k->hash);
}

static void put(struct memory *m, const char *key, size_t len, const struct fence_mark *mark)
{
    struct memory_key k = key_of(1, key);
    struct fence_mark now = mark_of(&k);
    struct memory_value v = {.value = bytes_new(len),
                             .envelope = {.created_ms = NOW, .soft_ms = 500, .hard_ms = 1000},
                             .until_ms = NOW + 100};
    assert_non_null(v.value);
    memset(v.value->data, key[0], len);
    memory_put(m, &k, &v, mark != NULL ? mark : &now);
    bytes_unref(v.value);
}

static bool has_at(struct memory *m, uint64_t store, const char *key, int64_t now, bool is_old)
{
    struct memory_key k = key_of(store, key);
    struct memory_value v;
    if (!memory_get(m, &k, atomic_load(&fences.all), now, is_old, &v)) {
        return false;
    }
    assert_int_equal(v.value->len > 0 ? v.value->data[0] : key[0], key[0]);
    bytes_unref(v.value);
    return true;
}

static bool has(struct memory *m, const char *key)
{
    return has_at(m, 1, key, NOW, false);
}

static void keys_are_told_apart(void **state)
{
    (void)state;
    struct memory *m = memory_new(LARGE);
    put(m, "a", 10, NULL);
    assert_true(has(m, "a"));
    assert_false(has(m, "b"));
    assert_false(has_at(m, 2, "a", NOW, false)); /* of another store */
    struct memory_key a = key_of(1, "a"), b = a;
    b.key = "b"; /* the same hash */
    struct memory_value v;
    assert_false(memory_get(m, &b, 0, NOW, false, &v));
    memory_del(m, &b);
    assert_true(has(m, "a"));
    memory_del(m, &a);
    memory_del(m, &a);
    assert_false(has(m, "a"));
    memory_free(m);
    assert_null(memory_free(NULL));
}

static void time_takes_values_out(void **state)
{
    (void)state;
    struct memory *m = memory_new(LARGE);
    put(m, "a", 10, NULL);
    assert_true(has_at(m, 1, "a", NOW + 99, false));
    assert_false(has_at(m, 1, "a", NOW + 100, false)); /* memory_ttl_ms */
    assert_true(has_at(m, 1, "a", NOW + 100, true));   /* stale if error */
    assert_true(has_at(m, 1, "a", NOW + 999, true));
    assert_false(has_at(m, 1, "a", NOW + 1000, true));
    struct memory_stats s;
    memory_stats_read(m, &s);
    assert_int_equal(s.values, 0);
    assert_int_equal(s.bytes, 0);
    memory_free(m);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    struct memory *m = memory_new(SMALL);
    struct memory_stats s;
    char key[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        put(m, key, (size_t)(i % 200), NULL);
        memory_stats_read(m, &s);
        assert_true(s.bytes <= SMALL);
    }
    assert_true(s.values > 20 && s.evicted + s.values == 10000);
    put(m, "large", SMALL / 16, NULL); /* a shard's all: it would throw out everything */
    assert_false(has(m, "large"));
    memory_free(m);
}

/* Keys that lie in one shard. */
static void name_of_shard_zero(int n, char key[32])
{
    for (int i = 0, found = -1; found < n; i++) {
        snprintf(key, 32, "%d", i);
        found += key_of(1, key).hash >> 60 == 0;
    }
}

static void what_is_used_stays(void **state)
{
    (void)state;
    struct memory *m = memory_new(SMALL);
    char hot[32], key[32];
    name_of_shard_zero(0, hot);
    put(m, hot, 100, NULL);
    for (int i = 1; i < 200; i++) {
        assert_true(has(m, hot));
        name_of_shard_zero(i, key);
        put(m, key, 100, NULL);
    }
    name_of_shard_zero(1, key);
    assert_false(has(m, key));
    memory_free(m);
}

static void a_value_of_before_a_delete_is_not_kept(void **state)
{
    (void)state;
    struct memory *m = memory_new(LARGE);
    struct memory_key k = key_of(1, "a");
    struct fence_mark before = mark_of(&k);
    atomic_fetch_add(&fences.slots[before.slot], 1);
    put(m, "a", 10, &before);
    assert_false(has(m, "a"));
    put(m, "a", 10, NULL);
    put(m, "b", 10, NULL);
    atomic_fetch_add(&fences.all, 1); /* a clear: nothing of before is found, nothing is walked */
    assert_false(has(m, "a"));
    assert_false(has(m, "b"));
    memory_free(m);
}

static void putting_replaces(void **state)
{
    (void)state;
    struct memory *m = memory_new(LARGE);
    struct memory_stats before, after;
    put(m, "a", 100, NULL);
    memory_stats_read(m, &before);
    for (int i = 0; i < 100; i++) {
        put(m, "a", 100, NULL);
    }
    memory_stats_read(m, &after);
    assert_int_equal(after.bytes, before.bytes);
    assert_int_equal(after.values, 1);
    assert_int_equal(after.evicted, 0);
    memory_free(m);
}

static void *hammer(void *arg)
{
    struct memory *m = arg;
    char key[32];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof(key), "%d", i % 97);
        struct memory_key k = key_of(1, key);
        if (i % 5 == 0) {
            memory_del(m, &k);
        } else if (i % 2 == 0) {
            put(m, key, 200, NULL);
        } else {
            (void)has(m, key);
        }
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    struct memory *m = memory_new(SMALL);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, m), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct memory_stats s;
    memory_stats_read(m, &s);
    assert_true(s.bytes <= SMALL && s.values <= 97);
    memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_told_apart),
        cmocka_unit_test(time_takes_values_out),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(what_is_used_stays),
        cmocka_unit_test(a_value_of_before_a_delete_is_not_kept),
        cmocka_unit_test(putting_replaces),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
