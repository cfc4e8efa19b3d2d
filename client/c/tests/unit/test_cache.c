/* SPDX-License-Identifier: Apache-2.0 */
/* Options, causes, counters, and what is told to the log function. */
#include "client/c/src/cache.h"

#include "world.h"

#include <errno.h>
#include <string.h>

static void options_that_make_no_sense(void **state)
{
    (void)state;
    struct sc_options good = {.size = sizeof(good)}, bad[12];
    struct sc_cache *c;
    for (int i = 0; i < 12; i++) {
        bad[i] = good;
    }
    bad[0].size = 0;
    bad[1].size = 5000;
    bad[2].budget_ms = 3600001;
    bad[3].connections_max = 65537;
    bad[4].queue_max = (1 << 20) + 1;
    bad[5].value_max = ((size_t)512 << 20) + 1;
    bad[6].breaker_window = 33;
    bad[7].breaker_window = 4;
    bad[8].breaker_percent = 101;
    bad[9].breaker_probe_ms = 60001;
    bad[10].user = "somebody without a password";
    bad[11].address = "127.0.0.1:0";
    for (int i = 0; i < 12; i++) {
        assert_int_equal(sc_open(&bad[i], &c), -EINVAL);
    }
    assert_int_equal(sc_open(&good, NULL), -EINVAL);
    sc_close(NULL, 0);
}

static void structs_of_other_versions(void **state)
{
    (void)state;
    struct {
        size_t size;
        int a, b;
    } mine, his = {.size = sizeof(size_t) + sizeof(int), .a = 1, .b = 2};
    assert_true(options_read(&mine, sizeof(mine), &his)); /* older: he does not know b */
    assert_int_equal(mine.a, 1);
    assert_int_equal(mine.b, 0);
    his.size = sizeof(his);
    assert_false(
        options_read(&mine, sizeof(size_t) + sizeof(int), &his)); /* newer, and it matters */
    his.b = 0;
    assert_true(options_read(&mine, sizeof(size_t) + sizeof(int), &his));
}

static void causes(void **state)
{
    (void)state;
    static const struct {
        int error;
        enum sc_cause cause;
    } cases[] = {{0, SC_CAUSE_NONE},
                 {-ETIMEDOUT, SC_CAUSE_TIMEOUT},
                 {-ECONNREFUSED, SC_CAUSE_CONNECT},
                 {-ECONNRESET, SC_CAUSE_CLOSED},
                 {-EMSGSIZE, SC_CAUSE_TOO_LARGE},
                 {-EACCES, SC_CAUSE_SERVER},
                 {-EBUSY, SC_CAUSE_BUSY},
                 {-ENOMEM, SC_CAUSE_BUSY},
                 {-EPROTO, SC_CAUSE_PROTOCOL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(cause_of(cases[i].error), cases[i].cause);
    }
    for (int i = 0; i <= SC_CAUSE_LOADER; i++) {
        assert_string_not_equal(sc_cause_name(i), "unknown");
    }
    assert_string_equal(sc_cause_name(-1), "unknown");
    assert_string_equal(sc_cause_name(SC_CAUSE_LOADER + 1), "unknown");
    assert_string_equal(sc_error_text(SC_LOADED), "ok");
    assert_string_equal(sc_error_text(-ENOMEM), "no memory");
    assert_string_equal(sc_error_text(-12345), "unknown error");
}

static void only_failures_of_the_server_open_the_breaker(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        cache_note(w.cache, SC_CAUSE_BUSY);
        cache_note(w.cache, SC_CAUSE_ABSENT);
        cache_note(w.cache, SC_CAUSE_DECODE);
        cache_note(w.cache, SC_CAUSE_TOO_LARGE);
    }
    assert_true(breaker_is_closed(&w.cache->breaker));
    for (int i = 0; i < 20; i++) {
        cache_note(w.cache, SC_CAUSE_TIMEOUT);
    }
    assert_false(breaker_is_closed(&w.cache->breaker));
    struct sc_stats s = {.size = sizeof(s)};
    sc_stats_read(w.cache, &s);
    assert_int_equal(s.timeouts, 20);
    assert_int_equal(s.breaker_opened, 1);
    world_close(&w);
}

static void costs(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    struct sc_stats s = {.size = sizeof(s)};
    sc_stats_read(w.cache, &s);
    assert_int_equal(s.cost_us_p50, 0);
    for (int i = 0; i < 98; i++) {
        cache_note_cost(w.cache, 100 * 1000);
    }
    cache_note_cost(w.cache, 50000LL * 1000);
    cache_note_cost(w.cache, INT64_MAX);
    sc_stats_read(w.cache, &s);
    assert_in_range(s.cost_us_p50, 101, 125);
    assert_in_range(s.cost_us_p99, 50001, 62500);
    s.size = offsetof(struct sc_stats, cost_us_p50); /* an older caller */
    s.cost_us_p50 = 7;
    sc_stats_read(w.cache, &s);
    assert_int_equal(s.cost_us_p50, 7);
    world_close(&w);
}

static void take_line(void *arg, const char *text)
{
    assert_true(strlen(text) < 256);
    (*(int *)arg)++;
}

static void the_log_is_bounded(void **state)
{
    (void)state;
    struct world w;
    int lines = 0;
    struct sc_options o = {.size = sizeof(o), .log = take_line, .log_arg = &lines};
    world_open(&w, &o, NULL);
    for (int i = 0; i < 1000; i++) {
        cache_log(w.cache, "%0300d", i);
    }
    assert_in_range(lines, 10, 20); /* a minute may have ended just now */
    world_close(&w);
}

static void random_numbers_differ(void **state)
{
    (void)state;
    struct world one, two;
    world_open(&one, NULL, NULL);
    world_open(&two, NULL, NULL);
    uint64_t a = cache_random(one.cache), b = cache_random(one.cache), c = cache_random(two.cache);
    assert_true(a != 0 && b != 0 && c != 0 && a != b && a != c);
    world_close(&one);
    world_close(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_make_no_sense),
        cmocka_unit_test(structs_of_other_versions),
        cmocka_unit_test(causes),
        cmocka_unit_test(only_failures_of_the_server_open_the_breaker),
        cmocka_unit_test(costs),
        cmocka_unit_test(the_log_is_bounded),
        cmocka_unit_test(random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
