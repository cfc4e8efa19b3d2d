/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery on a virtual DNS: what answers, failures and time make of the members. Time is the
 * world's; a seed decides latencies, the order of answers and the jitter.
 *
 * Long: one story after the other, on one world.
 */
#include "cluster/discovery.h"

#include "base/nsec.h"
#include "resolver_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { TEXT_MAX = 400, LOG_MAX = 1 << 16 };

struct world {
    struct trace trace;
    struct io_sim *sim;
    struct io *io;
    struct loop loop;
    struct resolver_sim *dns;
    struct resolver *resolver;
    struct discovery *d;
    unsigned changes;
    bool in_call;
    struct log log;
    char text[LOG_MAX];
};

static const struct lookup_settings DEFAULTS = {
    .family = LOOKUP_AUTO,
    .refresh_min = NSEC_S,
    .refresh_max = 30 * NSEC_S,
    .refresh = 5 * NSEC_S,
    .retry_min = 500 * NSEC_MS,
    .retry_max = 10 * NSEC_S,
};

static void sink(void *owner, const char *line, size_t len)
{
    struct world *x = owner;
    size_t used = strlen(x->text);
    if (used + len < sizeof(x->text))
        memcpy(x->text + used, line, len);
}

static void on_changed(void *owner)
{
    struct world *x = owner;
    assert_false(x->in_call);
    x->changes++;
}

static struct world *world_new(uint64_t seed)
{
    struct world *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    trace_init(&x->trace, NULL, false);
    x->sim = io_sim_new(seed, &x->trace);
    x->io = io_sim_host(x->sim);
    loop_init(&x->loop, x->io);
    x->dns = resolver_sim_new(x->sim);
    x->resolver = resolver_sim_resolver_new(x->dns, &x->loop);
    x->log.sink = sink;
    x->log.owner = x;
    atomic_init(&x->log.level, LOG_DEBUG);
    return x;
}

static void world_free(struct world *x)
{
    x->in_call = true;
    discovery_free(x->d);
    assert_int_equal(resolver_sim_under_way(x->dns), 0);
    resolver_sim_resolver_free(x->resolver);
    resolver_sim_free(x->dns);
    loop_fini(&x->loop);
    io_sim_free(x->sim);
    trace_fini(&x->trace);
    free(x);
}

static int discover_with(struct world *x, const struct lookup_settings *settings,
                         const struct discovery_source *sources, uint32_t count)
{
    const struct discovery_config config = {sources, count, *settings};
    const struct discovery_events events = {on_changed};
    x->in_call = true;
    int err = discovery_new(&config, x->resolver, &x->loop, &x->log, &events, x, &x->d);
    x->in_call = false;
    return err;
}

static void discover(struct world *x, const struct discovery_source *sources, uint32_t count)
{
    assert_int_equal(discover_with(x, &DEFAULTS, sources, count), 0);
}

#define DISCOVER(x, ...)                                                                           \
    do {                                                                                           \
        const struct discovery_source sources_[] = {__VA_ARGS__};                                  \
        discover((x), sources_, COUNT(sources_));                                                  \
    } while (0)

static void run(struct world *x, uint64_t ns)
{
    uint64_t end = io_sim_now(x->sim) + ns;
    for (;;) {
        while (io_sim_can_run(x->sim, io_sim_host_number(x->io))) {
            loop_poll(&x->loop, NSEC_NEVER);
            loop_end_turn(&x->loop);
        }
        if (io_sim_now(x->sim) >= end)
            return;
        io_sim_advance(x->sim, end);
    }
}

/* "name@address*weight …": without what is the name itself and a weight of 1; '-' behind the gone.
 */
static const char *members(const struct world *x)
{
    static _Thread_local char text[TEXT_MAX];
    uint32_t count;
    size_t len = 0;
    const struct member *m = discovery_members(x->d, &count);
    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++, m++) {
        char addr[ADDR_TEXT_MAX], weight[16] = "";
        addr_print(&m->addr, addr);
        if (m->weight != 1)
            snprintf(weight, sizeof(weight), "*%u", (unsigned)m->weight);
        bool same = strcmp(addr, m->name) == 0;
        len +=
            (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s%s%s%s", i ? " " : "", m->name,
                             same ? "" : "@", same ? "" : addr, weight, m->gone_since ? "-" : "");
        assert_true(len < sizeof(text));
    }
    return text;
}

static unsigned lines_with(const struct world *x, const char *part)
{
    unsigned count = 0;
    for (const char *at = x->text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static struct discovery_stats stats_of(const struct world *x, uint32_t source)
{
    struct discovery_stats s;
    discovery_source_stats(x->d, source, &s);
    return s;
}

/* Lets time pass until the name has been asked for once more; how long that took, to 1 ms. */
static uint64_t until_asked(struct world *x, const char *name, enum resolver_question what)
{
    unsigned asked = resolver_sim_asked(x->dns, name, what);
    uint64_t start = io_sim_now(x->sim);
    while (resolver_sim_asked(x->dns, name, what) == asked) {
        assert_true(io_sim_now(x->sim) - start < 1000 * NSEC_S);
        run(x, NSEC_MS);
    }
    return io_sim_now(x->sim) - start;
}

static void assert_about(uint64_t ns, uint64_t expected)
{
    /* A tenth of jitter, the latency of the answer, and the millisecond of the look. */
    if (ns < expected - expected / 10 - 10 * NSEC_MS ||
        ns > expected + expected / 10 + 10 * NSEC_MS)
        fail_msg("%llu ms, expected about %llu ms", (unsigned long long)(ns / NSEC_MS),
                 (unsigned long long)(expected / NSEC_MS));
}

/* ---- what becomes a member ---- */

static void test_numeric_static_members_are_there_at_once(void **state)
{
    (void)state;
    struct world *x = world_new(1);
    DISCOVER(x, {DISCOVERY_STATIC, "10.0.0.2:6379", 3, NULL},
             {DISCOVERY_STATIC, "10.0.0.1:6379", 1, NULL}, {DISCOVERY_STATIC, "[::1]:7", 1, NULL});
    assert_string_equal(members(x), "10.0.0.1:6379 10.0.0.2:6379*3 [::1]:7");
    assert_int_equal(stats_of(x, 0).state, DISCOVERY_FIXED);
    run(x, 100 * NSEC_S);
    assert_int_equal(x->changes, 0);
    assert_int_equal(stats_of(x, 0).lookups.queries, 0);
    world_free(x);
}

static void test_a_host_name_keeps_its_identity_and_its_last_address(void **state)
{
    (void)state;
    struct world *x = world_new(2);
    resolver_sim_set_addresses(x->dns, "Redis-0", RESOLVER_A, "10.0.0.7", 1);
    DISCOVER(x, {DISCOVERY_STATIC, "Redis-0:6379", 2, NULL});
    assert_string_equal(members(x), "Redis-0:6379@unresolved*2");
    assert_int_equal(stats_of(x, 0).state, DISCOVERY_WAITING);
    run(x, 100 * NSEC_MS);
    assert_string_equal(members(x), "Redis-0:6379@10.0.0.7:6379*2");
    assert_int_equal(x->changes, 1);
    assert_int_equal(stats_of(x, 0).state, DISCOVERY_GOOD);
    resolver_sim_fail(x->dns, "Redis-0", RESOLVER_A, RESOLVER_SERVER_FAILURE);
    run(x, 60 * NSEC_S);
    assert_string_equal(members(x), "Redis-0:6379@10.0.0.7:6379*2");
    /* Of several addresses it keeps the one it has. */
    resolver_sim_set_addresses(x->dns, "Redis-0", RESOLVER_A, "10.0.0.1 10.0.0.7 10.0.0.9", 1);
    run(x, 60 * NSEC_S);
    assert_int_equal(x->changes, 1);
    resolver_sim_set_addresses(x->dns, "Redis-0", RESOLVER_A, "10.0.0.9 10.0.0.1", 1);
    run(x, 60 * NSEC_S);
    assert_string_equal(members(x), "Redis-0:6379@10.0.0.1:6379*2");
    assert_int_equal(x->changes, 2);
    world_free(x);
}

static void test_each_address_of_a_name_is_a_member(void **state)
{
    (void)state;
    struct world *x = world_new(3);
    resolver_sim_set_addresses(x->dns, "redis", RESOLVER_A, "10.0.0.3 10.0.0.1 10.0.0.2", 5);
    resolver_sim_set_addresses(x->dns, "six", RESOLVER_AAAA, "2001:db8::1 ::1", 5);
    DISCOVER(x, {DISCOVERY_DNS, "redis:6379", 0, NULL}, {DISCOVERY_DNS, "six:7", 0, NULL},
             {DISCOVERY_DNS, "10.0.0.9:1", 0, NULL});
    assert_string_equal(members(x), "10.0.0.9:1");
    run(x, NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:6379 10.0.0.2:6379 10.0.0.3:6379 10.0.0.9:1 "
                                    "[2001:db8::1]:7 [::1]:7");
    assert_int_equal(stats_of(x, 0).members, 3);
    assert_int_equal(stats_of(x, 2).state, DISCOVERY_FIXED);
    world_free(x);
}

static const struct {
    enum lookup_family family;
    const char *v4, *v6;
    enum resolver_result v4_fails;
    const char *members;
} FAMILIES[] = {
    {LOOKUP_AUTO, "10.0.0.1", "::1", RESOLVER_OK, "10.0.0.1:1"},
    {LOOKUP_AUTO, "10.0.0.1", NULL, RESOLVER_OK, "10.0.0.1:1"},
    {LOOKUP_AUTO, NULL, "::1", RESOLVER_OK, "[::1]:1"},
    {LOOKUP_AUTO, "", "::1", RESOLVER_OK, "[::1]:1"},
    {LOOKUP_AUTO, NULL, "::1", RESOLVER_NXDOMAIN, "[::1]:1"},
    {LOOKUP_AUTO, "10.0.0.1", "::1", RESOLVER_TIMED_OUT, ""}, /* a lost packet says nothing */
    {LOOKUP_AUTO, "10.0.0.1", "::1", RESOLVER_SERVER_FAILURE, ""},
    {LOOKUP_V4, "10.0.0.1", "::1", RESOLVER_OK, "10.0.0.1:1"},
    {LOOKUP_V4, NULL, "::1", RESOLVER_OK, ""},
    {LOOKUP_V6, "10.0.0.1", "::1", RESOLVER_OK, "[::1]:1"},
    {LOOKUP_V6, "10.0.0.1", NULL, RESOLVER_OK, ""},
};

static void test_one_family_for_one_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(FAMILIES); i++) {
        struct world *x = world_new(i);
        struct lookup_settings settings = DEFAULTS;
        settings.family = FAMILIES[i].family;
        if (FAMILIES[i].v4)
            resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, FAMILIES[i].v4, 1);
        if (FAMILIES[i].v6)
            resolver_sim_set_addresses(x->dns, "n", RESOLVER_AAAA, FAMILIES[i].v6, 1);
        if (FAMILIES[i].v4_fails != RESOLVER_OK)
            resolver_sim_fail(x->dns, "n", RESOLVER_A, FAMILIES[i].v4_fails);
        const struct discovery_source source = {DISCOVERY_DNS, "n:1", 0, NULL};
        assert_int_equal(discover_with(x, &settings, &source, 1), 0);
        run(x, 20 * NSEC_S);
        if (strcmp(members(x), FAMILIES[i].members) != 0)
            fail_msg("case %zu: %s", i, members(x));
        world_free(x);
    }
}

static const struct resolver_service SERVICES[] = {
    {.target = "Redis-2.cache.svc", .port = 6379, .priority = 10, .weight = 0, .ttl = 5},
    {.target = "redis-1.cache.svc", .port = 6379, .priority = 10, .weight = 60, .ttl = 5},
    {.target = "redis-1.cache.svc", .port = 6379, .priority = 10, .weight = 50, .ttl = 5},
    {.target = "redis-1.cache.svc", .port = 6380, .priority = 10, .weight = 1, .ttl = 5},
    {.target = "spare.cache.svc", .port = 6379, .priority = 20, .weight = 60, .ttl = 5},
    {.target = "", .port = 6379, .priority = 1, .weight = 60, .ttl = 5},
    {.target = "no-port.cache.svc", .port = 0, .priority = 10, .weight = 60, .ttl = 5},
};

static void test_each_srv_target_is_a_member(void **state)
{
    (void)state;
    struct world *x = world_new(4);
    resolver_sim_set_services(x->dns, "_redis._tcp.cache", SERVICES, COUNT(SERVICES));
    resolver_sim_set_addresses(x->dns, "redis-1.cache.svc", RESOLVER_A, "10.0.0.1", 1);
    DISCOVER(x, {DISCOVERY_SRV, "_redis._tcp.cache", 0, NULL});
    run(x, 400 * NSEC_MS);
    assert_string_equal(members(x), "redis-1.cache.svc:6379@10.0.0.1:6379*60 "
                                    "redis-1.cache.svc:6380@10.0.0.1:6380 "
                                    "redis-2.cache.svc:6379@unresolved");
    assert_int_equal(resolver_sim_asked(x->dns, "spare.cache.svc", RESOLVER_A), 0);
    assert_int_equal(stats_of(x, 0).lookups.failures[RESOLVER_NXDOMAIN], 1);
    /* A new address moves no key. */
    resolver_sim_set_addresses(x->dns, "redis-1.cache.svc", RESOLVER_A, "10.0.0.8", 1);
    resolver_sim_set_addresses(x->dns, "redis-2.cache.svc", RESOLVER_AAAA, "::2", 1);
    run(x, 20 * NSEC_S);
    assert_string_equal(members(x), "redis-1.cache.svc:6379@10.0.0.8:6379*60 "
                                    "redis-1.cache.svc:6380@10.0.0.8:6380 "
                                    "redis-2.cache.svc:6379@[::2]:6379");
    world_free(x);
}

static void test_large_srv_weights_are_scaled(void **state)
{
    (void)state;
    struct world *x = world_new(5);
    const struct resolver_service services[] = {
        {.target = "a", .port = 1, .weight = 65535, .ttl = 5},
        {.target = "b", .port = 1, .weight = 32768, .ttl = 5},
        {.target = "c", .port = 1, .weight = 1, .ttl = 5},
    };
    resolver_sim_set_services(x->dns, "s", services, COUNT(services));
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    run(x, NSEC_S);
    assert_string_equal(members(x), "a:1@unresolved*256 b:1@unresolved*128 c:1@unresolved");
    world_free(x);
}

static void test_an_srv_answer_of_no_use_is_a_failure(void **state)
{
    (void)state;
    struct world *x = world_new(6);
    const struct resolver_service good = {.target = "a", .port = 1, .weight = 1, .ttl = 1};
    const struct resolver_service none = {.target = "", .port = 1, .ttl = 1};
    const struct resolver_service bad = {.target = "a", .port = 0, .ttl = 1};
    resolver_sim_set_services(x->dns, "s", &good, 1);
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    run(x, NSEC_S / 2);
    resolver_sim_set_services(x->dns, "s", &none, 1);
    run(x, 2 * NSEC_S);
    assert_int_equal(stats_of(x, 0).state, DISCOVERY_FAILING);
    assert_true(stats_of(x, 0).lookups.failures[RESOLVER_NO_DATA] > 0);
    resolver_sim_set_services(x->dns, "s", &bad, 1);
    run(x, 20 * NSEC_S);
    assert_true(stats_of(x, 0).lookups.failures[RESOLVER_MALFORMED] > 0);
    assert_string_equal(members(x), "a:1@unresolved");
    world_free(x);
}

static void test_of_one_identity_from_two_sources_the_first_counts(void **state)
{
    (void)state;
    struct world *x = world_new(7);
    resolver_sim_set_addresses(x->dns, "redis", RESOLVER_A, "10.0.0.1 10.0.0.2", 1);
    resolver_sim_set_addresses(x->dns, "other", RESOLVER_A, "10.0.0.2 10.0.0.3", 1);
    DISCOVER(x, {DISCOVERY_STATIC, "10.0.0.1:1", 7, NULL}, {DISCOVERY_DNS, "redis:1", 0, NULL},
             {DISCOVERY_DNS, "other:1", 0, NULL});
    run(x, NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1*7 10.0.0.2:1 10.0.0.3:1");
    run(x, 60 * NSEC_S);
    assert_int_equal(lines_with(x, "debug node-twice node=10.0.0.1:1 source=redis:1 counts=10.0."),
                     1);
    /* Gone from one of them it is still present. */
    resolver_sim_set_addresses(x->dns, "redis", RESOLVER_A, "10.0.0.4", 1);
    run(x, 5 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1*7 10.0.0.2:1 10.0.0.3:1 10.0.0.4:1");
    assert_false(discovery_drop(x->d, "10.0.0.2:1"));
    resolver_sim_set_addresses(x->dns, "other", RESOLVER_A, "10.0.0.3", 1);
    run(x, 5 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1*7 10.0.0.2:1- 10.0.0.3:1 10.0.0.4:1");
    assert_true(discovery_drop(x->d, "10.0.0.2:1"));
    assert_string_equal(members(x), "10.0.0.1:1*7 10.0.0.3:1 10.0.0.4:1");
    world_free(x);
}

/* ---- when it asks ---- */

static void test_the_next_question_follows_the_ttl(void **state)
{
    (void)state;
    static const struct {
        uint32_t ttl;
        uint64_t ms;
    } cases[] = {{1, 1000}, {7, 7000}, {30, 30000}, {31, 30000}, {86400, 30000}, {0, 5000}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world *x = world_new(i);
        resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1", cases[i].ttl);
        DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
        uint64_t least = NSEC_NEVER, most = 0;
        until_asked(x, "n", RESOLVER_A);
        for (int k = 0; k < 20; k++) {
            uint64_t ns = until_asked(x, "n", RESOLVER_A);
            assert_about(ns, cases[i].ms * NSEC_MS);
            least = nsec_min(least, ns);
            most = ns > most ? ns : most;
        }
        assert_true(most - least > cases[i].ms * NSEC_MS / 20); /* jitter */
        world_free(x);
    }
}

static void test_bounds_of_a_ttl_are_settings(void **state)
{
    (void)state;
    struct world *x = world_new(9);
    struct lookup_settings settings = DEFAULTS;
    settings.refresh_min = 3 * NSEC_S;
    settings.refresh_max = 4 * NSEC_S;
    settings.refresh = NSEC_S;
    const struct discovery_source sources[] = {{DISCOVERY_DNS, "low:1", 0, NULL},
                                               {DISCOVERY_DNS, "high:1", 0, NULL}};
    resolver_sim_set_addresses(x->dns, "low", RESOLVER_A, "10.0.0.1", 0);
    resolver_sim_set_addresses(x->dns, "high", RESOLVER_A, "10.0.0.2", 9);
    assert_int_equal(discover_with(x, &settings, sources, 2), 0);
    until_asked(x, "low", RESOLVER_A);
    assert_about(until_asked(x, "low", RESOLVER_A), 3 * NSEC_S);
    until_asked(x, "high", RESOLVER_A);
    assert_about(until_asked(x, "high", RESOLVER_A), 4 * NSEC_S);
    world_free(x);
}

static void test_pauses_after_failures_double(void **state)
{
    (void)state;
    static const uint64_t pauses_ms[] = {500, 1000, 2000, 4000, 8000, 10000, 10000};
    struct world *x = world_new(10);
    resolver_sim_fail(x->dns, "n", RESOLVER_A, RESOLVER_SERVER_FAILURE);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
    until_asked(x, "n", RESOLVER_A);
    for (size_t i = 0; i < COUNT(pauses_ms); i++)
        assert_about(until_asked(x, "n", RESOLVER_A), pauses_ms[i] * NSEC_MS);
    /* One success, and the next failure begins with the shortest pause. */
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1", 3);
    until_asked(x, "n", RESOLVER_A);
    run(x, 100 * NSEC_MS);
    resolver_sim_fail(x->dns, "n", RESOLVER_A, RESOLVER_REFUSED);
    until_asked(x, "n", RESOLVER_A);
    assert_about(until_asked(x, "n", RESOLVER_A), 500 * NSEC_MS);
    world_free(x);
}

static void test_not_all_questions_at_once(void **state)
{
    (void)state;
    enum { TARGETS = 500 };
    struct world *x = world_new(11);
    struct resolver_service *services = calloc(TARGETS, sizeof(*services));
    assert_non_null(services);
    for (unsigned i = 0; i < TARGETS; i++) {
        services[i] = (struct resolver_service){.port = 1, .weight = 1, .ttl = 30};
        snprintf(services[i].target, sizeof(services[i].target), "t%u", i);
        resolver_sim_set_addresses(x->dns, services[i].target, RESOLVER_A, "10.0.0.1", 30);
    }
    resolver_sim_set_services(x->dns, "s", services, TARGETS);
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    unsigned most = 0;
    for (int i = 0; i < 1000; i++) {
        run(x, NSEC_MS);
        unsigned under_way = resolver_sim_under_way(x->dns);
        most = under_way > most ? under_way : most;
    }
    assert_int_equal(most, LOOKUPS_ASKING_MAX);
    uint32_t count;
    const struct member *m = discovery_members(x->d, &count);
    assert_int_equal(count, TARGETS);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(m[i].addr.family, ADDR_V4);
    free(services);
    /* Freed in the middle of the next round, it asks nothing more. */
    resolver_sim_set_latency(x->dns, NSEC_S, NSEC_S);
    for (int i = 0; i < 400 && resolver_sim_under_way(x->dns) < LOOKUPS_ASKING_MAX; i++)
        run(x, 100 * NSEC_MS);
    assert_int_equal(resolver_sim_under_way(x->dns), LOOKUPS_ASKING_MAX);
    run(x, 200 * NSEC_MS); /* some wait for their turn */
    uint64_t queries = stats_of(x, 0).lookups.queries;
    unsigned asked = 0;
    discovery_free(x->d);
    x->d = NULL;
    for (unsigned i = 0; i < TARGETS; i++) {
        char name[20];
        snprintf(name, sizeof(name), "t%u", i);
        asked += resolver_sim_asked(x->dns, name, RESOLVER_A);
    }
    assert_int_equal(asked + resolver_sim_asked(x->dns, "s", RESOLVER_SRV), queries);
    world_free(x);
}

/* ---- failures ---- */

static void test_after_any_failure_the_last_good_set_stays(void **state)
{
    (void)state;
    for (int why = RESOLVER_NXDOMAIN; why < RESOLVER_RESULT_COUNT; why++) {
        struct world *x = world_new((uint64_t)why);
        resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1 10.0.0.2", 1);
        DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
        run(x, 500 * NSEC_MS);
        struct discovery_stats before = stats_of(x, 0);
        assert_int_equal(before.state, DISCOVERY_GOOD);
        assert_int_equal(before.lookups.last_failure, RESOLVER_OK);
        assert_true(before.lookups.last_success > 0);
        resolver_sim_fail(x->dns, "n", RESOLVER_A, (enum resolver_result)why);
        resolver_sim_fail(x->dns, "n", RESOLVER_AAAA, (enum resolver_result)why);
        run(x, 60 * NSEC_S);
        struct discovery_stats s = stats_of(x, 0);
        assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1");
        assert_int_equal(x->changes, 1);
        assert_int_equal(s.state, DISCOVERY_FAILING);
        assert_int_equal(s.lookups.last_failure, why);
        assert_int_equal(s.lookups.last_success, before.lookups.last_success);
        for (int k = 0; k < RESOLVER_RESULT_COUNT; k++)
            assert_int_equal(s.lookups.failures[k] > 5, k == why);
        /* Logged when it begins, with its reason, and when it is over. */
        assert_int_equal(lines_with(x, "warn resolve-failed name=n:1 asked=n reason="), 1);
        assert_int_equal(lines_with(x, "info resolve-recovered"), 0);
        assert_non_null(strstr(x->text, resolver_result_text((enum resolver_result)why)));
        resolver_sim_fail(x->dns, "n", RESOLVER_A, RESOLVER_OK);
        run(x, 60 * NSEC_S);
        assert_int_equal(lines_with(x, "info resolve-recovered name=n:1"), 1);
        assert_int_equal(lines_with(x, "warn resolve-failed"), 1);
        assert_int_equal(stats_of(x, 0).state, DISCOVERY_GOOD);
        assert_int_equal(x->changes, 1);
        world_free(x);
    }
}

static void test_an_empty_answer_is_a_failure(void **state)
{
    (void)state;
    struct world *x = world_new(12);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1", 1);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
    run(x, 500 * NSEC_MS);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "", 1);
    run(x, 60 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1");
    assert_true(stats_of(x, 0).lookups.failures[RESOLVER_NO_DATA] > 5);
    world_free(x);
}

static void test_a_resolver_dead_from_the_start_hurts_nobody_else(void **state)
{
    (void)state;
    struct world *x = world_new(13);
    resolver_sim_fail(x->dns, "n", RESOLVER_A, RESOLVER_TIMED_OUT);
    resolver_sim_fail(x->dns, "s", RESOLVER_SRV, RESOLVER_UNREACHABLE);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL}, {DISCOVERY_SRV, "s", 0, NULL},
             {DISCOVERY_STATIC, "10.0.0.1:1", 1, NULL});
    run(x, 600 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1");
    assert_int_equal(x->changes, 0);
    assert_int_equal(stats_of(x, 0).members, 0);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.2", 1);
    run(x, 15 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1");
    world_free(x);
}

/* ---- change ---- */

static void test_a_shuffled_answer_changes_nothing(void **state)
{
    (void)state;
    struct world *x = world_new(14);
    const struct resolver_service services[] = {
        {.target = "a", .port = 1, .weight = 1, .ttl = 1},
        {.target = "a", .port = 1, .weight = 5, .ttl = 1},
        {.target = "b", .port = 1, .weight = 2, .ttl = 1},
        {.target = "c", .port = 1, .weight = 3, .ttl = 1},
    };
    resolver_sim_set_services(x->dns, "s", services, COUNT(services));
    resolver_sim_set_addresses(x->dns, "a", RESOLVER_A, "10.1.0.1 10.1.0.2 10.1.0.3", 1);
    resolver_sim_set_addresses(x->dns, "b", RESOLVER_A, "10.1.0.4", 1);
    resolver_sim_set_addresses(x->dns, "c", RESOLVER_A, "10.1.0.5", 1);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", 1);
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL}, {DISCOVERY_DNS, "n:1", 0, NULL});
    run(x, 900 * NSEC_MS);
    unsigned changes = x->changes;
    run(x, 200 * NSEC_S);
    assert_int_equal(x->changes, changes);
    assert_true(stats_of(x, 0).lookups.queries > 100);
    world_free(x);
}

static void test_what_an_answer_lacks_is_gone_until_it_is_dropped(void **state)
{
    (void)state;
    struct world *x = world_new(15);
    uint32_t count;
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1 10.0.0.2 10.0.0.3", 1);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
    run(x, 500 * NSEC_MS);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1", 1);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1- 10.0.0.3:1-");
    assert_int_equal(x->changes, 2);
    uint64_t since = discovery_members(x->d, &count)[1].gone_since;
    assert_in_range(since, io_sim_now(x->sim) - 2 * NSEC_S, io_sim_now(x->sim));
    run(x, 100 * NSEC_S); /* it is the owner's to say how long */
    assert_int_equal(discovery_members(x->d, &count)[1].gone_since, since);
    assert_int_equal(stats_of(x, 0).members, 1);
    assert_int_equal(stats_of(x, 0).gone, 2);
    /* One comes back, the other one is dropped. */
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1 10.0.0.2", 1);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1-");
    assert_int_equal(x->changes, 3);
    assert_false(discovery_drop(x->d, "10.0.0.2:1"));
    assert_false(discovery_drop(x->d, "10.0.0.9:1"));
    assert_true(discovery_drop(x->d, "10.0.0.3:1"));
    assert_false(discovery_drop(x->d, "10.0.0.3:1"));
    assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1");
    run(x, 10 * NSEC_S);
    assert_int_equal(x->changes, 3); /* the owner knows what it has dropped */
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.1 10.0.0.2 10.0.0.3", 1);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1");
    world_free(x);
}

static void test_a_gone_srv_target_keeps_its_address_and_is_not_asked_for(void **state)
{
    (void)state;
    struct world *x = world_new(16);
    const struct resolver_service services[] = {
        {.target = "a", .port = 1, .weight = 1, .ttl = 1},
        {.target = "b", .port = 1, .weight = 1, .ttl = 1},
    };
    resolver_sim_set_services(x->dns, "s", services, 2);
    resolver_sim_set_addresses(x->dns, "a", RESOLVER_A, "10.0.0.1", 1);
    resolver_sim_set_addresses(x->dns, "b", RESOLVER_A, "10.0.0.2", 1);
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    run(x, 500 * NSEC_MS);
    resolver_sim_set_services(x->dns, "s", services, 1);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "a:1@10.0.0.1:1 b:1@10.0.0.2:1-");
    unsigned asked = resolver_sim_asked(x->dns, "b", RESOLVER_A);
    run(x, 20 * NSEC_S);
    assert_int_equal(resolver_sim_asked(x->dns, "b", RESOLVER_A), asked);
    resolver_sim_set_addresses(x->dns, "b", RESOLVER_A, "10.0.0.3", 1);
    resolver_sim_set_services(x->dns, "s", services, 2);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "a:1@10.0.0.1:1 b:1@10.0.0.3:1");
    /* Dropped while it is asked for, as its lookup may be at any moment. */
    resolver_sim_set_latency(x->dns, NSEC_S, NSEC_S);
    resolver_sim_set_services(x->dns, "s", services, 1);
    run(x, 4 * NSEC_S);
    assert_true(discovery_drop(x->d, "b:1"));
    run(x, 4 * NSEC_S);
    assert_string_equal(members(x), "a:1@10.0.0.1:1");
    world_free(x);
}

static void test_a_new_weight_is_a_change(void **state)
{
    (void)state;
    struct world *x = world_new(17);
    struct resolver_service service = {.target = "a", .port = 1, .weight = 1, .ttl = 1};
    resolver_sim_set_services(x->dns, "s", &service, 1);
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    run(x, 500 * NSEC_MS);
    assert_int_equal(x->changes, 1);
    service.weight = 9;
    resolver_sim_set_services(x->dns, "s", &service, 1);
    run(x, 2 * NSEC_S);
    assert_string_equal(members(x), "a:1@unresolved*9");
    assert_int_equal(x->changes, 2);
    world_free(x);
}

static void test_changes_that_come_together_are_told_together(void **state)
{
    (void)state;
    struct world *x = world_new(18);
    struct resolver_service services[50];
    for (unsigned i = 0; i < COUNT(services); i++) {
        services[i] = (struct resolver_service){.port = 1, .weight = 1, .ttl = 30};
        snprintf(services[i].target, sizeof(services[i].target), "t%u", i);
        resolver_sim_set_addresses(x->dns, services[i].target, RESOLVER_A, "10.0.0.1", 30);
    }
    resolver_sim_set_services(x->dns, "s", services, COUNT(services));
    DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL});
    run(x, 500 * NSEC_MS);
    /* The targets, their addresses; latencies are up to 5 ms, which is how long one waits. */
    assert_in_range(x->changes, 1, 4);
    world_free(x);
}

/* ---- limits ---- */

/* "10.A.B.C …", `count` of them from number `first` on. The caller frees it. */
static char *many_addresses(unsigned first, unsigned count)
{
    char *text = malloc(count * 16 + 1), *at = text;
    assert_non_null(text);
    *at = '\0';
    for (unsigned i = first; i < first + count; i++)
        at += sprintf(at, "10.%u.%u.%u ", i >> 16, (i >> 8) & 255, i & 255);
    return text;
}

static void test_no_more_members_than_a_ring_holds(void **state)
{
    (void)state;
    struct world *x = world_new(19);
    uint32_t count;
    char *some = many_addresses(0, 3000), *more = many_addresses(2000, 3000);
    atomic_store(&x->log.level, LOG_INFO); /* a line for each node would fill it */
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, some, 1);
    resolver_sim_set_addresses(x->dns, "m", RESOLVER_A, "10.0.0.1", 1);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL}, {DISCOVERY_DNS, "m:1", 0, NULL},
             {DISCOVERY_STATIC, "zzz:1", 1, NULL});
    run(x, 500 * NSEC_MS);
    discovery_members(x->d, &count);
    assert_int_equal(count, 3001);
    assert_int_equal(discovery_refused(x->d), 0);
    resolver_sim_set_addresses(x->dns, "m", RESOLVER_A, more, 1);
    run(x, 3 * NSEC_S);
    const struct member *m = discovery_members(x->d, &count);
    assert_int_equal(count, DISCOVERY_MEMBERS_MAX);
    for (uint32_t i = 1; i < count; i++)
        assert_true(strcmp(m[i - 1].name, m[i].name) < 0);
    /* 2,000 of "m" are new, and "10.0.0.1" is gone from it but not from "n": 5,001 are offered.
     * Those of the first source are all taken; what is left of the last ones is not. */
    assert_int_equal(discovery_refused(x->d), 5001 - DISCOVERY_MEMBERS_MAX);
    assert_int_equal(lines_with(x, "warn members-limit"), 1);
    assert_string_equal(m[0].name, "10.0.0.0:1");
    /* Members that are gone make room first. */
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, "10.0.0.0", 1);
    run(x, 3 * NSEC_S);
    m = discovery_members(x->d, &count);
    assert_int_equal(count, DISCOVERY_MEMBERS_MAX);
    uint32_t present = 0;
    for (uint32_t i = 0; i < count; i++)
        present += m[i].gone_since == 0;
    assert_int_equal(present, 1 + 3000 + 1);
    free(some);
    free(more);
    world_free(x);
}

/* An owner that never drops anything cannot be fed for ever. */
static void test_what_is_gone_is_bounded(void **state)
{
    (void)state;
    struct world *x = world_new(20);
    uint32_t count;
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
    for (unsigned round = 0; round < 20; round++) {
        char *text = many_addresses(round * 1000, 1000);
        resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, text, 1);
        run(x, 12 * NSEC_S);
        free(text);
    }
    const struct member *m = discovery_members(x->d, &count);
    assert_int_equal(count, DISCOVERY_MEMBERS_MAX);
    assert_int_equal(stats_of(x, 0).members, 1000);
    assert_int_equal(stats_of(x, 0).gone, DISCOVERY_MEMBERS_MAX - 1000);
    uint64_t oldest = NSEC_NEVER; /* the longest gone were forgotten */
    for (uint32_t i = 0; i < count; i++)
        oldest = m[i].gone_since ? nsec_min(oldest, m[i].gone_since) : oldest;
    assert_true(oldest > io_sim_now(x->sim) - 60 * NSEC_S);
    assert_int_equal(discovery_refused(x->d), 0);
    world_free(x);
}

static void test_an_answer_above_the_limit_is_cut(void **state)
{
    (void)state;
    struct world *x = world_new(21);
    uint32_t count;
    char *text = many_addresses(0, DISCOVERY_MEMBERS_MAX + 10);
    atomic_store(&x->log.level, LOG_INFO);
    resolver_sim_set_addresses(x->dns, "n", RESOLVER_A, text, 1);
    DISCOVER(x, {DISCOVERY_DNS, "n:1", 0, NULL});
    run(x, 30 * NSEC_S);
    discovery_members(x->d, &count);
    assert_int_equal(count, DISCOVERY_MEMBERS_MAX);
    assert_int_equal(x->changes, 1); /* the same ones each time, whatever the order */
    assert_true(discovery_refused(x->d) >= 10);
    assert_int_equal(lines_with(x, "warn members-limit refused=10"), 1);
    free(text);
    world_free(x);
}

static void test_names_of_no_known_form_are_refused(void **state)
{
    (void)state;
    static const struct discovery_source cases[] = {
        {DISCOVERY_STATIC, "a", 1, NULL},
        {DISCOVERY_STATIC, "a b:1", 1, NULL},
        {DISCOVERY_STATIC, "a:1", 0, NULL},
        {DISCOVERY_STATIC, "a:1", DISCOVERY_WEIGHT_MAX + 1, NULL},
        {DISCOVERY_STATIC, "", 1, NULL},
        {DISCOVERY_DNS, "a", 0, NULL},
        {DISCOVERY_DNS, "a:99999", 0, NULL},
        {DISCOVERY_SRV, "_redis._tcp.a:1", 0, NULL},
        {DISCOVERY_SRV, "_redis tcp", 0, NULL},
        {DISCOVERY_SRV, "", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world *x = world_new(i);
        const struct discovery_source sources[] = {{DISCOVERY_DNS, "good:1", 0, NULL}, cases[i]};
        assert_int_equal(discover_with(x, &DEFAULTS, sources, 2), -EINVAL);
        world_free(x);
    }
}

static void test_it_can_be_freed_with_questions_out(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 20; ms++) {
        struct world *x = world_new(ms);
        resolver_sim_set_services(x->dns, "s", SERVICES, COUNT(SERVICES));
        resolver_sim_set_addresses(x->dns, "redis-1.cache.svc", RESOLVER_A, "10.0.0.1", 1);
        DISCOVER(x, {DISCOVERY_SRV, "s", 0, NULL},
                 {DISCOVERY_STATIC, "redis-1.cache.svc:1", 1, NULL},
                 {DISCOVERY_DNS, "n:1", 0, NULL});
        run(x, ms * NSEC_MS);
        world_free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric_static_members_are_there_at_once),
        cmocka_unit_test(test_a_host_name_keeps_its_identity_and_its_last_address),
        cmocka_unit_test(test_each_address_of_a_name_is_a_member),
        cmocka_unit_test(test_one_family_for_one_name),
        cmocka_unit_test(test_each_srv_target_is_a_member),
        cmocka_unit_test(test_large_srv_weights_are_scaled),
        cmocka_unit_test(test_an_srv_answer_of_no_use_is_a_failure),
        cmocka_unit_test(test_of_one_identity_from_two_sources_the_first_counts),
        cmocka_unit_test(test_the_next_question_follows_the_ttl),
        cmocka_unit_test(test_bounds_of_a_ttl_are_settings),
        cmocka_unit_test(test_pauses_after_failures_double),
        cmocka_unit_test(test_not_all_questions_at_once),
        cmocka_unit_test(test_after_any_failure_the_last_good_set_stays),
        cmocka_unit_test(test_an_empty_answer_is_a_failure),
        cmocka_unit_test(test_a_resolver_dead_from_the_start_hurts_nobody_else),
        cmocka_unit_test(test_a_shuffled_answer_changes_nothing),
        cmocka_unit_test(test_what_an_answer_lacks_is_gone_until_it_is_dropped),
        cmocka_unit_test(test_a_gone_srv_target_keeps_its_address_and_is_not_asked_for),
        cmocka_unit_test(test_a_new_weight_is_a_change),
        cmocka_unit_test(test_changes_that_come_together_are_told_together),
        cmocka_unit_test(test_no_more_members_than_a_ring_holds),
        cmocka_unit_test(test_what_is_gone_is_bounded),
        cmocka_unit_test(test_an_answer_above_the_limit_is_cut),
        cmocka_unit_test(test_names_of_no_known_form_are_refused),
        cmocka_unit_test(test_it_can_be_freed_with_questions_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
