/* SPDX-License-Identifier: Apache-2.0 */
/* Single keys of other proxies' files. Whole files are in tests/integration/test_import.py. */
#include "import/import.h"

#include "import/draft.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* %s of the templates is what a case is about. */
static const char POOL[] = "p: { redis: true, timeout: 400, listen: 127.0.0.1:1, %s }";
static const char FILTER[] =
    "static_resources: { listeners: [{ address: { socket_address: { address: 127.0.0.1, "
    "port_value: 1 } }, filter_chains: [{ filters: [{ name: redis_proxy, typed_config: { "
    "stat_prefix: x, cluster: c, settings: { %s } } }] }] }], clusters: [{ name: c, lb_policy: "
    "MAGLEV, hosts: [{ socket_address: { address: 10.0.0.1, port_value: 6379 } }] }] }";
static const char CLUSTER[] =
    "static_resources: { listeners: [{ address: { socket_address: { address: 127.0.0.1, "
    "port_value: 1 } }, filter_chains: [{ filters: [{ name: redis_proxy, typed_config: { "
    "stat_prefix: x, cluster: c } }] }] }], clusters: [{ name: c, lb_policy: MAGLEV, %s }] }";
static const char HOST[] =
    "static_resources: { listeners: [{ address: { socket_address: { address: 127.0.0.1, "
    "port_value: 1 } }, filter_chains: [{ filters: [{ name: redis_proxy, typed_config: { "
    "stat_prefix: x, cluster: c } }] }] }], clusters: [{ name: c, lb_policy: MAGLEV, %s, hosts: [{ "
    "socket_address: { address: 10.0.0.1, port_value: 6379 } }] }] }";

#define ONE_HOST                                                                                   \
    "load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address: { "                    \
    "socket_address: { address: "

static const struct {
    const char *frame, *text;
    const char *yaml; /* a part of what it comes to; NULL: it is refused */
    const char *said; /* a part of what is said; NULL: nothing is */
} CASES[] = {
    {POOL, "servers: ['a:1:1']", "static:\n    - \"a:1\"\n", NULL},
    {POOL, "servers: ['a:1:1']", "ring:\n  kind: ketama\n  hash: fnv1a_64\n  hash_tags: off\n",
     NULL},
    {POOL, "servers: ['a:1:1 x', 'b:2:3 y']", "- \"a:1 name=x\"\n    - \"b:2 weight=3 name=y\"\n",
     NULL},
    {POOL, "servers: ['a:11211:1', 'b:11211:2 y']",
     "- \"a:11211 name=a\"\n    - \"b:11211 weight=2 name=y\"\n", NULL},
    {POOL, "servers: ['a:1:600', 'b:1:300']", "\"a:1 weight=2\"\n    - \"b:1\"", "divided by 300"},
    {POOL, "servers: ['a:1:599', 'b:1:300']", NULL, "nor their proportions"},
    {POOL, "distribution: modula, servers: ['a:1:600', 'b:1:300']", NULL, "weights above 256"},
    {POOL, "servers: ['a:1:0']", NULL, "expected HOST:PORT:WEIGHT"},
    {POOL, "servers: ['a:1']", NULL, "expected HOST:PORT:WEIGHT"},
    {POOL, "servers: ['a:1:1 ']", NULL, "expected HOST:PORT:WEIGHT"},
    {POOL, "servers: [{ a: 1 }]", NULL, "expected HOST:PORT:WEIGHT"},
    {POOL, "servers: []", NULL, "servers: there is none"},
    {POOL, "hash: murmur", NULL, "servers: there is none"},
    {POOL, "hash: murmur, servers: ['a:1:1']", "hash: murmur\n", NULL},
    {POOL, "hash: rcrc32, servers: ['a:1:1']", NULL, "hash: 'rcrc32' is not known"},
    {POOL, "servers: ['a:1:1 caf\xc3\xa9']", NULL, "printable ASCII"},
    {POOL, "tcpkeepalive: false, servers: ['a:1:1']", "tcp_keepalive: 0\n", NULL},
    {POOL, "client_connections: 0, servers: ['a:1:1']", "", NULL},
    {POOL, "client_connections: -1, servers: ['a:1:1']", "", "expected a number from 0"},
    {POOL, "server_retry_timeout: 120000, servers: ['a:1:1']", "hold_min: 2m\n  hold_max: 2m\n",
     "server_retry_timeout: kept"},
    {POOL, "server_failure_limit: 0, servers: ['a:1:1']", "eject_misses: 1\n",
     "server_failure_limit"},
    {POOL, "hash_tag: '', servers: ['a:1:1']", "hash_tags: off\n", NULL},
    {POOL, "timeouts: 5, servers: ['a:1:1']", "", "unknown key 'timeouts' in a pool"},
    {"p: { redis: false, timeout: 1, servers: ['a:1:1'] }%s", "", NULL, "memcached"},
    {"p: { redis: true, timeout: 90000, listen: x:7, servers: ['a:1:1'] }%s", "",
     "- \"127.0.0.1:7\"\n", "timeouts.request is 1m, for it takes no 90s"},
    {"p: 5%s", "", NULL, "expected an Envoy bootstrap"},

    {FILTER, "op_timeout: 0.1s", "request: 100ms\n", "op_timeout: kept"},
    {FILTER, "opTimeout: 5s", "request: 5s\n", "op_timeout: kept"},
    {FILTER, "op_timeout: 0.000000001s", "request: 1ms\n", "for it takes no"},
    {FILTER, "op_timeout: 100ms", "", "expected a duration such as 0.25s, not '100ms'"},
    {FILTER, "op_timeout: 5", "", "expected a duration"},
    {FILTER, "op_timeout: .s", "", "expected a duration"},
    {FILTER, "enable_hashtagging: true", "hash_tags: on\n", NULL},
    {FILTER, "enable_hashtagging: false", "hash_tags: off\n", NULL},
    {FILTER, "read_policy: MASTER, enable_redirection: false", "", NULL},
    {FILTER, "no_such: 1", "", "unknown key 'no_such' in settings"},

    {HOST, "type: STATIC", "static:\n    - \"10.0.0.1:6379\"\n", NULL},
    {HOST, "type: EDS", NULL, "type: EDS: hosts come from elsewhere"},
    {HOST, "cluster_type: { name: envoy.clusters.redis }", NULL, "a Redis Cluster knows itself"},
    {HOST, "maglev_lb_config: { table_size: 65537 }", "", NULL},
    {HOST, "maglev_lb_config: { table_size: 9973 }", "", "most keys are missed once"},
    {HOST, "common_lb_config: { healthy_panic_threshold: { value: 30.0 } }", "max_ejected: 70\n",
     "healthy_panic_threshold: kept"},
    {HOST,
     "outlier_detection: { max_ejection_percent: 20 }, common_lb_config: { "
     "healthy_panic_threshold: { value: 0 } }",
     "max_ejected: 20\n", "healthy_panic_threshold: kept"},
    {HOST, "dns_lookup_family: V6_ONLY", "family: v6\n", NULL},
    {HOST, "dns_lookup_family: ALL", "", "dns_lookup_family: ALL is not kept"},
    {HOST, "dns_failure_refresh_rate: { base_interval: 2s }", "retry_min: 2s\n  retry_max: 20s\n",
     NULL},
    {HOST,
     "typed_extension_protocol_options: { envoy.filters.network.redis_proxy: { auth_password: { "
     "inline_string: hidden } } }",
     "password_file: \"sumcache.password\"\n", "write the password into the file"},
    {HOST, "health_checks: [{ healthy_threshold: 0 }]", "healthy: 1\n", NULL},
    {HOST, "health_checks: { interval: 1s }", "interval: 1s\n", NULL},
    {HOST, "health_checks: 7", "", "expected a block of keys"},

    {CLUSTER, ONE_HOST "10.0.0.1, port_value: 7 } } }, load_balancing_weight: 5 }] }] }",
     "- \"10.0.0.1:7 weight=5\"\n", NULL},
    {CLUSTER, ONE_HOST "10.0.0.1, port_value: 7 } } }, load_balancing_weight: 257 }] }] }", NULL,
     "1 to 256 can be kept"},
    {CLUSTER, "type: STRICT_DNS, " ONE_HOST "redis, port_value: 7 } } } }] }] }",
     "dns:\n    - \"redis:7\"\n", NULL},
    {CLUSTER, "type: STRICT_DNS, " ONE_HOST "10.0.0.1, port_value: 7 } } } }] }] }",
     "static:\n    - \"10.0.0.1:7\"\n", NULL},
    {CLUSTER, "type: LOGICAL_DNS, " ONE_HOST "redis, port_value: 7 } } } }] }] }",
     "static:\n    - \"redis:7\"\n", NULL},
    {CLUSTER,
     "type: STRICT_DNS, common_lb_config: { consistent_hashing_lb_config: { "
     "use_hostname_for_hashing: "
     "true } }, " ONE_HOST "redis, port_value: 7 } } } }] }] }",
     "static:\n    - \"redis:7 name=redis\"\n", "use_hostname_for_hashing: kept"},
    {CLUSTER,
     ONE_HOST "10.0.0.1, port_value: 7 } } }, metadata: { filter_metadata: { envoy.lb: { "
              "hash_key: k } } } }] }] }",
     "- \"10.0.0.1:7 name=k\"\n", NULL},
    {CLUSTER, ONE_HOST "10.0.0.1, port_value: 70000 } } } }] }] }", NULL, "a host: expected"},
    {CLUSTER, ONE_HOST "'a b', port_value: 7 } } } }] }] }", NULL, "a host: expected"},
    {CLUSTER, "type: STATIC", NULL, "the cluster has no hosts"},
    {"static_resources: { listeners: [] }%s", "", NULL, "there is no redis_proxy filter"},
    {"dynamic_resources: {}%s", "", NULL, "there is no redis_proxy filter"},
    {"static_resources: { listeners: { filter_chains: { filters: { name: redis_proxy, config: { "
     "cluster: d } } } } }%s",
     "", NULL, "has no cluster 'd'"},
};

static bool any_note_has(const struct import_result *r, const char *text)
{
    for (size_t i = 0; i < r->note_count; i++)
        if (strstr(r->notes[i].text, text))
            return true;
    return false;
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        char text[2000];
        struct import_result r;
        const char *slot = strstr(CASES[i].frame, "%s");
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(slot - CASES[i].frame), CASES[i].frame,
                 CASES[i].text, slot + 2);
        assert_int_equal(import_config(str_of(text), NULL, &r), 0);
        if (!r.yaml != !CASES[i].yaml || (r.yaml && !strstr(r.yaml, CASES[i].yaml)))
            fail_msg("<%s>: comes to\n%s", text, r.yaml ? r.yaml : r.notes[r.note_count - 1].text);
        if (CASES[i].said ? !any_note_has(&r, CASES[i].said) : r.note_count > 0)
            fail_msg("<%s>: %s", text, r.note_count > 0 ? r.notes[0].text : "nothing is said");
        import_result_fini(&r);
    }
}

static void test_places(void **state)
{
    (void)state;
    struct import_result r;
    assert_int_equal(import_config(STR("p:\n  servers: ['a:1:1']\n  preconnect: true\n  odd: 1\n"
                                       "  redis: true\n  timeout: x\n"),
                                   NULL, &r),
                     0);
    assert_int_equal(r.note_count, 3);
    assert_int_equal(r.notes[0].line, 3);
    assert_int_equal(r.notes[0].column, 3);
    assert_non_null(strstr(r.notes[0].text, "preconnect: not kept"));
    assert_int_equal(r.notes[1].line, 4);
    assert_non_null(strstr(r.notes[1].text, "unknown key 'odd'"));
    assert_int_equal(r.notes[2].line, 6);
    assert_int_equal(r.notes[2].column, 12);
    import_result_fini(&r);
}

/* The reason is last, whatever place it has. */
static void test_the_reason_is_last(void **state)
{
    (void)state;
    struct import_result r;
    assert_int_equal(
        import_config(STR("p:\n  distribution: random\n  redis: true\n  backlog: 5\n"), NULL, &r),
        0);
    assert_null(r.yaml);
    assert_true(r.note_count >= 2);
    assert_non_null(strstr(r.notes[r.note_count - 1].text, "'random' does not say"));
    import_result_fini(&r);
}

static void test_choosing(void **state)
{
    (void)state;
    static const char TEXT[] =
        "a: { redis: true, servers: ['x:1:1'] }\nb: { redis: true, servers: ['y:1:1'] }";
    struct import_result r;
    assert_int_equal(import_config(str_of(TEXT), "b", &r), 0);
    assert_non_null(strstr(r.yaml, "\"y:1\""));
    assert_true(any_note_has(&r, "other pools are passed over"));
    import_result_fini(&r);
    assert_int_equal(import_config(str_of(TEXT), NULL, &r), 0);
    assert_null(r.yaml);
    assert_true(any_note_has(&r, "--pool: a, b"));
    import_result_fini(&r);
}

/* Circles and bombs of aliases end soon; what is too deep is refused before it is built. */
static void test_aliases(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "&a p: { redis: true, servers: &b ['x:1:1', *b] }",
        "&r { static_resources: *r, listeners: *r, filter_chains: *r, filters: *r }",
        "static_resources: &s { listeners: &l [{ filter_chains: &c [{ filters: &f [{ name: "
        "redis_proxy, config: { cluster: c, prefix_routes: { routes: *f } } }, *s, *l] }, *c] }, "
        "*l], "
        "clusters: [&k { name: c, hosts: *l, load_assignment: { endpoints: *l } }] }",
    };
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        struct import_result r;
        assert_int_equal(import_config(str_of(TEXTS[i]), NULL, &r), 0);
        assert_null(r.yaml);
        import_result_fini(&r);
    }
    size_t len = 200000;
    char *deep = malloc(len);
    assert_non_null(deep);
    memset(deep, '[', len);
    struct import_result r;
    assert_int_equal(import_config((struct str){deep, len}, NULL, &r), 0);
    assert_non_null(strstr(r.notes[0].text, "nested deeper"));
    import_result_fini(&r);
    free(deep);
}

static void test_keys_of_json(void **state)
{
    (void)state;
    assert_true(draft_key_eq(STR("loadAssignment"), "load_assignment"));
    assert_true(draft_key_eq(STR("load_assignment"), "load_assignment"));
    assert_false(draft_key_eq(STR("load_assignments"), "load_assignment"));
    assert_false(draft_key_eq(STR("load"), "load_assignment"));
    assert_true(draft_key_eq(STR("consecutive5xx"), "consecutive_5xx"));
    assert_false(draft_key_eq(STR(""), "name"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_places),
        cmocka_unit_test(test_choosing), cmocka_unit_test(test_the_reason_is_last),
        cmocka_unit_test(test_aliases),  cmocka_unit_test(test_keys_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
