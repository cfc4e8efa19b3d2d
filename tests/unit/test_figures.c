/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/figures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char INFO[] =
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Memory\r\n"
    "used_memory:1048576\r\nused_memory_human:1.00M\r\nused_memory_rss:3\r\n"
    "used_memory_peak:2000000\r\nused_memory_peak_human:1.9M\r\nmaxmemory:9663676416\r\n"
    "maxmemory_policy:allkeys-lfu\r\n\r\n# Stats\r\ntotal_commands_processed:77\r\n"
    "instantaneous_ops_per_sec:12\r\nexpired_keys:4\r\nevicted_keys:5\r\nkeyspace_hits:6\r\n"
    "keyspace_misses:8\r\n\r\n# Keyspace\r\ndb0:keys=10,expires=9,avg_ttl=0\r\n"
    "db1:keys=1000,expires=1000,avg_ttl=0\r\n";

static void all_that_is_shown_is_found(void **state)
{
    (void)state;
    static const uint64_t EXPECTED[FIGURE_COUNT] = {
        [FIGURE_USED_MEMORY] = 1048576,
        [FIGURE_USED_MEMORY_PEAK] = 2000000,
        [FIGURE_USED_MEMORY_RSS] = 3,
        [FIGURE_MAXMEMORY] = UINT64_C(9663676416),
        [FIGURE_COMMANDS] = 77,
        [FIGURE_OPS] = 12,
        [FIGURE_EXPIRED] = 4,
        [FIGURE_EVICTED] = 5,
        [FIGURE_HITS] = 6,
        [FIGURE_MISSES] = 8,
        [FIGURE_KEYS] = 10,
        [FIGURE_EXPIRES] = 9,
        [FIGURE_OF_DATABASES] = 1000, /* of database 1 */
        [FIGURE_OF_DATABASES + 1] = 1000,
        [FIGURE_VERSION] = UINT64_C(7) << 32 | 15,
        [FIGURE_POLICY] = 3,
    };
    uint64_t values[FIGURE_COUNT];
    figures_parse(STR(INFO), values);
    for (int i = 0; i < FIGURE_COUNT; i++)
        assert_int_equal(values[i], EXPECTED[i]);
}

static void what_makes_no_sense_is_nothing(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "",
        "\r\n\r\n",
        ":",
        "maxmemory",
        "maxmemory:",
        "maxmemory:-1",
        "maxmemory:99999999999999999999999999",
        "db0:",
        "db0:keys=",
        "redis_version:",
        "redis_version:x.y.z",
        "redis_version:99999999999",
        "maxmemory_policy:some-day",
    };
    for (size_t t = 0; t < sizeof(TEXTS) / sizeof(TEXTS[0]); t++) {
        uint64_t values[FIGURE_COUNT];
        memset(values, 0xff, sizeof(values));
        figures_parse(str_of(TEXTS[t]), values);
        for (int i = 0; i < FIGURE_COUNT; i++)
            assert_int_equal(values[i], 0);
    }
}

static void versions_compare_by_their_parts(void **state)
{
    (void)state;
    static const char *const ASCENDING[] = {"6.2.19", "7.0.2", "7.0.15", "7.2.0", "8.0.3", "10.0"};
    uint64_t last = 0;
    for (size_t i = 0; i < sizeof(ASCENDING) / sizeof(ASCENDING[0]); i++) {
        char line[64] = "redis_version:", text[FIGURES_VERSION_MAX];
        strcat(line, ASCENDING[i]);
        uint64_t values[FIGURE_COUNT];
        figures_parse(str_of(line), values);
        assert_true(values[FIGURE_VERSION] > last);
        last = values[FIGURE_VERSION];
        assert_memory_equal(figures_print_version(last, text), ASCENDING[i], strlen(ASCENDING[i]));
    }
}

static void policies_have_names(void **state)
{
    (void)state;
    assert_null(figures_policy_name(0));
    assert_string_equal(figures_policy_name(1), "noeviction");
    assert_string_equal(figures_policy_name(8), "volatile-lfu");
    assert_null(figures_policy_name(9));
}

static void what_is_stored_is_read(void **state)
{
    (void)state;
    struct figures f = {0};
    uint64_t values[FIGURE_COUNT] = {[FIGURE_KEYS] = 3};
    figures_store(&f, values, 12345);
    assert_int_equal(metric_get(&f.taken_at), 12345);
    assert_int_equal(metric_get(&f.of[FIGURE_KEYS]), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_shown_is_found),
        cmocka_unit_test(what_makes_no_sense_is_nothing),
        cmocka_unit_test(versions_compare_by_their_parts),
        cmocka_unit_test(policies_have_names),
        cmocka_unit_test(what_is_stored_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
