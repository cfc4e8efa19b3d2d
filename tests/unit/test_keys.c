/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct keys));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void take(struct keys *k, uint64_t hash, const char *key, uint64_t bytes,
                 enum outcome outcome)
{
    struct sample s = {.hash = hash, .bytes = bytes, .outcome = (uint8_t)outcome};
    s.key_len = (uint8_t)strlen(key);
    memcpy(s.key, key, s.key_len);
    keys_take(k, &s, ':', 1);
}

static void prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        unsigned depth;
        const char *prefix;
        bool is;
    } CASES[] = {
        {"user:7:name", 1, "user:", true},
        {"user:7:name", 2, "user:7:", true},
        {"user:7:name", 3, "user:7:name", false},
        {"plain", 1, "plain", false},
        {":x", 1, ":", true},
        {"", 1, "", false},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool is;
        struct str p = keys_prefix(str_of(CASES[i].key), ':', CASES[i].depth, &is);
        assert_int_equal(is, CASES[i].is);
        assert_true(str_eq(p, str_of(CASES[i].prefix)));
    }
}

static void reads_are_counted_by_prefix(void **state)
{
    struct keys *k = *state;
    take(k, 1, "user:1", 10, OUTCOME_HIT);
    take(k, 2, "user:2", 10, OUTCOME_MISS);
    take(k, 3, "user:3", 10, OUTCOME_FAILOVER_MISS);
    take(k, 4, "user:4", 10, OUTCOME_ANSWERED);
    take(k, 5, "plain", 10, OUTCOME_HIT);
    assert_int_equal(k->prefixes.count, 1);
    assert_int_equal(k->prefixes.of[0].count, 4);
    assert_int_equal(k->prefixes.of[0].hits, 1);
    assert_int_equal(k->prefixes.of[0].misses, 2);
    assert_int_equal(k->hot.count, 5);
    assert_int_equal(k->samples, 5);
}

static void the_largest_stay_while_they_are_seen(void **state)
{
    struct keys *k = *state;
    char key[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        take(k, i, key, (i * 37) % 100, OUTCOME_HIT);
    }
    assert_int_equal(k->large_count, KEYS_LARGEST_MAX);
    for (uint32_t i = 0; i < KEYS_LARGEST_MAX; i++)
        assert_int_equal(k->large[i].bytes, 99 - i);
    uint64_t second = k->large[1].hash;
    take(k, second, "grown", 5000, OUTCOME_HIT);
    assert_int_equal(k->large[0].hash, second);
    assert_int_equal(k->large[0].bytes, 5000);
    for (unsigned i = 0; i < KEYS_LARGEST_IDLE; i++)
        keys_fade(k);
    assert_int_equal(k->large_count, KEYS_LARGEST_MAX);
    take(k, second, "grown", 10, OUTCOME_HIT);
    keys_fade(k);
    assert_int_equal(k->large_count, 1);
    assert_int_equal(k->large[0].hash, second);
}

static void the_last_slow_requests_are_kept(void **state)
{
    struct keys *k = *state;
    assert_null(keys_slow(k, 0));
    for (uint64_t i = 1; i <= KEYS_SLOW_MAX + 5; i++)
        keys_take_slow(k, &(struct slow_request){.total_us = i});
    assert_int_equal(keys_slow(k, 0)->total_us, KEYS_SLOW_MAX + 5);
    assert_int_equal(keys_slow(k, KEYS_SLOW_MAX - 1)->total_us, 6);
    assert_null(keys_slow(k, KEYS_SLOW_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),
        cmocka_unit_test_setup_teardown(reads_are_counted_by_prefix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_largest_stay_while_they_are_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_slow_requests_are_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
