/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SETTINGS_MAX = 8 };

/* "save=3600 1;timeout=0" as settings. */
static uint32_t read_settings(const char *text, struct advice_setting to[SETTINGS_MAX])
{
    uint32_t count = 0;
    while (*text) {
        const char *equals = strchr(text, '=');
        size_t len = strcspn(text, ";");
        assert_non_null(equals);
        assert_true(count < SETTINGS_MAX);
        to[count++] = (struct advice_setting){
            {text, (size_t)(equals - text)},
            {equals + 1, len - (size_t)(equals - text) - 1},
        };
        text += len + (text[len] == ';');
    }
    return count;
}

/* "save:wrong timeout:better" of what was found. */
static void print(const struct advice *a, char *to, size_t size)
{
    size_t len = 0;
    to[0] = '\0';
    for (uint32_t i = 0; i < a->count; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%s:%s", i > 0 ? " " : "",
                                a->findings[i].id, advice_level_name(a->findings[i].level));
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *info, *settings, *found;
    } CASES[] = {
        /* Nothing that is known is wrong, or nothing is known. */
        {"", "timeout=0", ""},
        {"garbage\r\n:::\r\nmaxmemory:\r\ndb:\r\ndbx:keys=1\r\n", "timeout=0", "maxmemory:wrong"},
        {"redis_version:7.2.4\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n", "timeout=0",
         ""},
        {"maxmemory:1\r\nmaxmemory_policy:allkeys-lfu\n", "timeout=0", ""},
        /* CONFIG is refused; what INFO says counts all the same. */
        {"aof_enabled:1\r\n", "", "config:note appendonly:wrong"},
        {"redis_version:5.0.14\r\n", "timeout=0", "version:wrong"},
        {"redis_version:10.0.0\r\n", "timeout=0", ""},
        {"cluster_enabled:1\r\n", "timeout=0", "cluster-enabled:wrong"},
        {"loading:1\r\n", "timeout=0", "loading:wrong"},
        {"connected_slaves:2\r\n", "timeout=0", "replicas:better"},
        {"role:slave\r\n", "timeout=0", "replicaof:wrong"},
        /* Memory. */
        {"maxmemory:0\r\n", "timeout=0", "maxmemory:wrong"},
        {"maxmemory:950\r\ntotal_system_memory:1000\r\n", "timeout=0", "maxmemory:wrong"},
        {"maxmemory:800\r\ntotal_system_memory:1000\r\n", "timeout=0", ""},
        {"maxmemory:18446744073709551615\r\ntotal_system_memory:1000\r\n", "timeout=0",
         "maxmemory:wrong"},
        {"maxmemory_policy:noeviction\r\n", "timeout=0", "maxmemory-policy:wrong"},
        {"maxmemory_policy:allkeys-random\r\n", "timeout=0", "maxmemory-policy:better"},
        {"maxmemory_policy:volatile-ttl\r\ndb0:keys=5,expires=5,avg_ttl=1\r\n", "timeout=0",
         "maxmemory-policy:better"},
        {"maxmemory_policy:volatile-ttl\r\ndb0:keys=5,expires=4,avg_ttl=1\r\n", "timeout=0",
         "maxmemory-policy:wrong ttl:note"},
        {"db0:keys=5,expires=5\r\ndb7:keys=1,expires=0\r\n", "timeout=0", "databases:note"},
        {"mem_fragmentation_ratio:1.62\r\nused_memory:200000000\r\n", "activedefrag=no",
         "fragmentation:better"},
        {"mem_fragmentation_ratio:1.42\r\nused_memory:200000000\r\n", "activedefrag=no", ""},
        {"mem_fragmentation_ratio:9.62\r\nused_memory:1000000\r\n", "activedefrag=no", ""},
        {"mem_fragmentation_ratio:2.02\r\nused_memory:200000000\r\n", "activedefrag=yes", ""},
        {"", "lazyfree-lazy-expire=no;lazyfree-lazy-eviction=yes", "lazyfree:note"},
        {"", "disable-thp=no", "huge-pages:better"},
        /* Persistence. */
        {"", "save=", ""},
        {"", "save=3600 1", "save:wrong"},
        {"", "min-replicas-to-write=2", "min-replicas-to-write:wrong"},
        /* Who may reach it. */
        {"redis_version:7.0.15\r\n", "requirepass=;protected-mode=yes;bind=* -::*",
         "protected-mode:wrong"},
        {"redis_version:7.0.15\r\n",
         "requirepass=;protected-mode=yes;bind=", "protected-mode:wrong"},
        {"redis_version:6.2.0\r\n", "requirepass=;protected-mode=yes;bind=10.0.0.1",
         "requirepass:note"},
        {"redis_version:6.2.0\r\n",
         "requirepass=;protected-mode=yes;bind=", "protected-mode:wrong"},
        {"redis_version:7.0.15\r\n", "requirepass=;protected-mode=no;bind=10.0.0.1",
         "requirepass:note"},
        {"redis_version:7.0.15\r\n", "requirepass=;protected-mode=yes;bind=127.0.0.1 -::1",
         "bind:note"},
        {"redis_version:7.0.15\r\n", "requirepass=x;protected-mode=yes;bind=* -::*", ""},
        /* Connections. */
        {"", "timeout=60", "timeout:better"},
        {"", "tcp-keepalive=0", "tcp-keepalive:better"},
        {"", "maxclients=999", "maxclients:better"},
        {"", "maxclients=1000", ""},
        {"", "maxmemory-clients=5%", "maxmemory-clients:better"},
        {"", "maxmemory-clients=0", ""},
        {"", "proto-max-bulk-len=536870912", ""},
        {"", "proto-max-bulk-len=536870911", "proto-max-bulk-len:note"},
        {"rejected_connections:3\r\n", "timeout=0", "rejected-connections:note"},
        {"", "client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60", ""},
        {"", "client-output-buffer-limit=slave 1 1 1 normal 0 1000 10",
         "client-output-buffer-limit:wrong"},
        {"", "client-output-buffer-limit=normal", ""},
        {"", "notify-keyspace-events=KEA;loglevel=debug",
         "notify-keyspace-events:note loglevel:better"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct advice_setting settings[SETTINGS_MAX];
        struct advice a = {0};
        char found[400];
        struct advice_facts f = {.info = str_of(CASES[i].info),
                                 .settings = settings,
                                 .setting_count = read_settings(CASES[i].settings, settings)};
        advice_of_node(&f, &a);
        print(&a, found, sizeof(found));
        if (strcmp(found, CASES[i].found) != 0)
            fail_msg("%s with %s: %s, not %s", CASES[i].info, CASES[i].settings, found,
                     CASES[i].found);
    }
}

static void test_what_it_says(void **state)
{
    (void)state;
    struct advice_setting settings[SETTINGS_MAX];
    struct advice a = {0};
    struct advice_facts f = {.info = STR("maxmemory:100\r\n"),
                             .settings = settings,
                             .setting_count = read_settings("save=1\n\"\x01\xff 1", settings),
                             .sampled = 20,
                             .largest = 1536 * 1024,
                             .largest_key = STR("a\r\nb\x7f")};
    advice_of_node(&f, &a);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.findings[0].what,
                        "snapshots (save \"1?\"?? 1\"): after a restart it has old values again, "
                        "and each fork may double its memory");
    assert_string_equal(a.findings[1].what,
                        "of 20 keys that were looked at, 'a??b?' is the largest: 1.5 MB");
    assert_int_equal(a.counts[ADVICE_WRONG], 1);
    assert_int_equal(a.counts[ADVICE_NOTE], 1);
}

static void test_one_that_refuses_everybody(void **state)
{
    (void)state;
    struct advice a = {0};
    struct advice_facts f = {.is_denied = true};
    advice_of_node(&f, &a);
    assert_int_equal(a.count, 1);
    assert_string_equal(a.findings[0].id, "protected-mode");
}

static void test_all_nodes(void **state)
{
    (void)state;
    static const char GB4[] = "maxmemory:4000000000\r\ntotal_system_memory:8000000000\r\n";
    static const char GB2[] = "maxmemory:2000000000\r\ntotal_system_memory:8000000000\r\n";
    struct advice_facts f[3] = {
        {.name = STR("a:1"), .host = STR("a"), .weight = 1, .info = str_of(GB4)},
        {.name = STR("b:1"), .host = STR("b"), .weight = 1, .info = str_of(GB2)},
        {.name = STR("c:1"), .host = STR("c"), .weight = 1, .info = STR("")},
    };
    char found[400];
    struct advice a = {0};
    advice_of_all(f, 3, &a);
    print(&a, found, sizeof(found));
    assert_string_equal(found, "balance:better");
    assert_string_equal(a.findings[0].what,
                        "b:1 has 1.9 GB for weight 1, a:1 3.7 GB for weight 1: the first is full "
                        "while the other has room");
    f[0].weight = 2;
    f[1].host = f[0].host;
    a = (struct advice){0};
    advice_of_all(f, 3, &a);
    assert_int_equal(a.count, 0); /* 6 of 8 GB */
    f[2] = f[0];
    f[2].host = STR("a");
    f[2].name = STR("a:2");
    f[0].info = f[2].info =
        STR("run_id:x\r\nmaxmemory:4000000000\r\ntotal_system_memory:8000000000");
    a = (struct advice){0};
    advice_of_all(f, 3, &a);
    print(&a, found, sizeof(found));
    assert_string_equal(found, "twins:wrong host-memory:wrong");
    assert_string_equal(a.findings[1].what, "the 3 nodes at a may use 9.3 GB of its 7.5 GB");
    a = (struct advice){0};
    advice_of_all(f, 1, &a);
    print(&a, found, sizeof(found));
    assert_string_equal(found, "one-node:note");
}

static void test_sizes(void **state)
{
    (void)state;
    char text[ADVICE_SIZE_MAX];
    assert_string_equal(advice_print_size(0, text), "0 bytes");
    assert_string_equal(advice_print_size(1023, text), "1023 bytes");
    assert_string_equal(advice_print_size(1536, text), "1.5 kB");
    assert_string_equal(advice_print_size(64 << 20, text), "64 MB");
    assert_string_equal(advice_print_size(UINT64_MAX, text), "17179869184 GB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_what_it_says),
        cmocka_unit_test(test_one_that_refuses_everybody),
        cmocka_unit_test(test_all_nodes),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
