/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/nodes_report.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NODE(i, name, state, since, slots, flying, check, reason)                                  \
    "node" i ":name=" name ",state=" state ",since_ms=" since ",slots=" slots ",in_flight=" flying \
    ",check_us=" check ",upstream=ready,reason=" reason "\r\n"

static const char INFO[] =
    "# Server\r\nview_version:99\r\nnode0:name=not.here:1,state=up\r\n\r\n"
    "# Sumcache\r\nworkers:2\r\nview_version:12\r\nnodes:3\r\nring_hash:18446744073709551615\r\n"
    "nodes_out:1\r\nslots_away:21845\r\nslots_fenced:7\r\njournal_keys:42\r\ndns_queries:9\r\n"
    "dns_failing:1\r\nnodes_in_ring:2\r\n" NODE("0", "a:6379", "up", "7260000", "32769", "3", "210",
                                                "well")
        NODE("1", "10.0.0.2:6379", "out", "340", "0", "0", "0",
             "silent for 200 ms  9 \"missed\" \\")
            NODE("2", "c:6379", "leaving", "59999", "32768", "12", "1500000",
                 "") "\r\n# Keyspace\r\nslots_away:1\r\n";

static struct nodes_report read_of(const char *info)
{
    struct nodes_report r;
    assert_int_equal(nodes_report_read(str_of(info), &r), 0);
    return r;
}

static void check_printed(const struct nodes_report *r,
                          void (*print)(const struct nodes_report *, FILE *), const char *expected)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    print(r, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void test_reads(void **state)
{
    (void)state;
    struct nodes_report r = read_of(INFO);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.hidden, 0);
    assert_int_equal(r.view_version, 12);
    assert_true(r.ring_hash == UINT64_MAX);
    assert_int_equal(r.slots_away, 21845);
    assert_int_equal(r.slots_fenced, 7);
    assert_int_equal(r.journal_keys, 42);
    assert_int_equal(r.nodes[0].since_ms, 7260000);
    assert_int_equal(r.nodes[0].slots, 32769);
    assert_int_equal(r.nodes[0].in_flight, 3);
    assert_int_equal(r.nodes[0].check_us, 210);
    assert_true(str_eq(r.nodes[0].upstream, STR("ready")));
    assert_true(str_eq(r.nodes[1].name, STR("10.0.0.2:6379")));
    assert_true(str_eq(r.nodes[1].state, STR("out")));
    assert_true(str_eq(r.nodes[2].reason, STR("")));
    nodes_report_fini(&r);
}

static void test_table(void **state)
{
    (void)state;
    struct nodes_report r = read_of(INFO);
    check_printed(&r, nodes_report_print,
                  "NODE           STATE      SINCE   SHARE  IN FLIGHT     CHECK  REASON\n"
                  "a:6379         up           2 h   50.0%          3   0.21 ms  well\n"
                  "10.0.0.2:6379  out       340 ms    0.0%          0         -  "
                  "silent for 200 ms  9 \"missed\" \\\n"
                  "c:6379         leaving     59 s   50.0%         12   1500 ms  \n"
                  "ring 18446744073709551615, view 12; slots: 21845 away from home, 7 fenced; "
                  "journal: 42 keys; DNS: 1 of the sources cannot be looked up\n");
    nodes_report_fini(&r);
    r = read_of("# Sumcache\nnodes:200\ndns_queries:3\n"); /* an empty table is one too */
    check_printed(&r, nodes_report_print,
                  "NODE  STATE      SINCE   SHARE  IN FLIGHT     CHECK  REASON\n"
                  "ring 0, view 0; slots: 0 away from home, 0 fenced; journal: 0 keys; DNS: well\n"
                  "200 more nodes are not shown: INFO has no room for them\n");
    nodes_report_fini(&r);
}

static void test_since(void **state)
{
    (void)state;
    static const struct {
        const char *ms, *shown;
    } CASES[] = {
        {"0", "   0 ms"},       {"999", " 999 ms"},       {"1000", "    1 s"},
        {"119999", "  119 s"},  {"120000", "  2 min"},    {"7199999", "119 min"},
        {"7200000", "    2 h"}, {"172799999", "   47 h"}, {"172800000", "    2 d"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char info[200], expected[400];
        snprintf(info, sizeof(info), "# Sumcache\nnodes:1\nnode0:name=a,state=up,since_ms=%s",
                 CASES[i].ms);
        snprintf(expected, sizeof(expected),
                 "NODE  STATE      SINCE   SHARE  IN FLIGHT     CHECK  REASON\n"
                 "a     up       %s    0.0%%          0         -  \n"
                 "ring 0, view 0; slots: 0 away from home, 0 fenced; journal: 0 keys; "
                 "DNS: not asked\n",
                 CASES[i].shown);
        struct nodes_report r = read_of(info);
        check_printed(&r, nodes_report_print, expected);
        nodes_report_fini(&r);
    }
}

static void test_json(void **state)
{
    (void)state;
    struct nodes_report r = read_of(INFO);
    check_printed(
        &r, nodes_report_print_json,
        "{\"well\":false,\"ring_hash\":\"18446744073709551615\",\"view_version\":12,"
        "\"slots_away\":21845,\"slots_fenced\":7,\"journal_keys\":42,\"dns_queries\":9,"
        "\"dns_failing\":1,\"nodes_hidden\":0,\"nodes\":["
        "{\"name\":\"a:6379\",\"state\":\"up\",\"since_ms\":7260000,\"slots\":32769,"
        "\"share_percent\":50.001,\"in_flight\":3,\"check_us\":210,\"upstream\":\"ready\","
        "\"reason\":\"well\"},"
        "{\"name\":\"10.0.0.2:6379\",\"state\":\"out\",\"since_ms\":340,\"slots\":0,"
        "\"share_percent\":0.000,\"in_flight\":0,\"check_us\":0,\"upstream\":\"ready\","
        "\"reason\":\"silent for 200 ms  9 \\\"missed\\\" \\\\\"},"
        "{\"name\":\"c:6379\",\"state\":\"leaving\",\"since_ms\":59999,\"slots\":32768,"
        "\"share_percent\":49.999,\"in_flight\":12,\"check_us\":1500000,\"upstream\":\"ready\","
        "\"reason\":\"\"}]}\n");
    nodes_report_fini(&r);
}

static void test_well(void **state)
{
    (void)state;
#define HEAD "# Sumcache\r\n"
    static const struct {
        const char *info;
        bool well;
    } CASES[] = {
        {HEAD, false}, /* no node at all */
        {HEAD "node0:name=a,state=up\r\n", true},
        {HEAD "node0:name=a,state=up\r\nnode1:name=b,state=leaving\r\n", true},
        {HEAD "node0:name=a,state=up\r\nnode1:name=b,state=new\r\n", false},
        {HEAD "node0:name=a,state=out\r\nnode1:name=b,state=up\r\n", false},
        {HEAD "node0:name=a,state=joining\r\n", false},
        {HEAD "node0:name=a\r\n", false},
        {HEAD "nodes:2\r\nnodes_out:0\r\nnode0:name=a,state=up\r\n", true},
        {HEAD "nodes:2\r\nnodes_out:1\r\nnode0:name=a,state=up\r\n", false},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct nodes_report r = read_of(CASES[i].info);
        if (nodes_report_is_well(&r) != CASES[i].well)
            fail_msg("%s", CASES[i].info);
        nodes_report_fini(&r);
    }
}

/* Nothing of this is what a proxy says. */
static void test_odd_input(void **state)
{
    (void)state;
    struct nodes_report r;
    static const char *const NONE[] = {"", "\r\n", "# Server\r\nredis_version:7\r\n",
                                       "nodes:1\r\nnode0:name=a,state=up\r\n", "# Sumcache2\r\n"};
    for (size_t i = 0; i < sizeof(NONE) / sizeof(NONE[0]); i++)
        assert_int_equal(nodes_report_read(str_of(NONE[i]), &r), -EPROTO);
    r = read_of(HEAD
                "nodes:-1\r\nring_hash:18446744073709551616\r\nslots_away:1x\r\nnode:name=x\r\n"
                "nodes_out\r\nnodex:name=x\r\nnode0:\r\nnode1:state=up\r\nnode2:,,=,name\r\n"
                "node3:name=\x1b[2J\"\xff,since_ms=99999999999999999999999,more=1,reason=a=b\r\n");
    assert_int_equal(r.count, 1);
    assert_true(r.ring_hash == 0 && r.slots_away == 0 && r.hidden == 0);
    assert_int_equal(r.nodes[0].since_ms, 0);
    assert_true(str_eq(r.nodes[0].reason, STR("a=b")));
    check_printed(&r, nodes_report_print,
                  "NODE    STATE      SINCE   SHARE  IN FLIGHT     CHECK  REASON\n"
                  "?[2J\"?              0 ms    0.0%          0         -  a=b\n"
                  "ring 0, view 0; slots: 0 away from home, 0 fenced; journal: 0 keys; "
                  "DNS: not asked\n");
    check_printed(&r, nodes_report_print_json,
                  "{\"well\":false,\"ring_hash\":\"0\",\"view_version\":0,\"slots_away\":0,"
                  "\"slots_fenced\":0,\"journal_keys\":0,\"dns_queries\":0,\"dns_failing\":0,"
                  "\"nodes_hidden\":0,\"nodes\":[{\"name\":\"?[2J\\\"?\",\"state\":\"\","
                  "\"since_ms\":0,\"slots\":0,\"share_percent\":0.000,\"in_flight\":0,"
                  "\"check_us\":0,\"upstream\":\"\",\"reason\":\"a=b\"}]}\n");
    nodes_report_fini(&r);
}

static void test_many_nodes(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    char *info = malloc(MANY * 40 + 100), *at = info;
    assert_non_null(info);
    at += sprintf(at, HEAD "nodes:%d\r\n", MANY);
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "node%d:name=n%d,state=up\r\n", i, i);
    struct nodes_report r = read_of(info);
    assert_int_equal(r.count, MANY);
    assert_true(str_eq(r.nodes[MANY - 1].name, STR("n4095")));
    assert_true(nodes_report_is_well(&r));
    nodes_report_fini(&r);
    free(info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),      cmocka_unit_test(test_table),
        cmocka_unit_test(test_since),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_well),       cmocka_unit_test(test_odd_input),
        cmocka_unit_test(test_many_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
