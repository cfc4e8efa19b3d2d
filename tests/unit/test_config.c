/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include "base/nsec.h"
#include "daemon/config_rows.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct config_row *row_of(const char *setting)
{
    char name[CONFIG_TEXT_MAX];
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++)
        if (strcmp(config_row_name(&CONFIG_ROWS[i], name), setting) == 0)
            return &CONFIG_ROWS[i];
    fail_msg("no setting %s", setting);
    return NULL;
}

/* The whole configuration as text; the caller frees it. */
static char *printed(const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    config_print(c, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void expect_reads_back(const struct config *c)
{
    struct config again;
    struct config_error error;
    char *text = printed(c);
    config_init(&again);
    if (config_read(&again, str_of(text), &error) != 0)
        fail_msg("%u:%u: %s in\n%s", error.line, error.column, error.text, text);
    assert_int_equal(again.listen_count, c->listen_count);
    for (uint32_t i = 0; i < c->listen_count; i++)
        assert_true(addr_eq(&again.listen[i], &c->listen[i]));
    assert_int_equal(again.node_count, c->node_count);
    for (uint32_t i = 0; i < c->node_count; i++) {
        assert_string_equal(again.nodes[i].name, c->nodes[i].name);
        assert_true(addr_eq(&again.nodes[i].addr, &c->nodes[i].addr));
    }
    char *text_again = printed(&again); /* holds every other setting to the last digit */
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    config_fini(&again);
}

static void test_defaults_read_back(void **state)
{
    (void)state;
    struct config c;
    config_init(&c);
    expect_reads_back(&c);
    assert_false(config_is_given(&c, "listen"));
    config_fini(&c);
}

/* Texts that are right, one setting of each and its value afterwards. */
static const struct {
    const char *yaml, *setting, *value;
} RIGHT[] = {
    {"", "workers", "auto"},
    {"# only a comment\n", "workers", "auto"},
    {"--- \n...\n", "workers", "auto"},
    {"{}", "log_level", "info"},
    {"timeouts:\n", "timeouts.request", "100ms"},
    {"timeouts:\n  # request: 5s\nworkers: 2\n", "workers", "2"},
    {"workers: auto", "workers", "auto"},
    {"workers: \"3\"", "workers", "3"},
    {"log_level: debug", "log_level", "debug"},
    {"ring: { hash_tags: off }", "ring.hash_tags", "off"},
    {"ring: {hash_tags: on}", "ring.hash_tags", "on"},
    {"timeouts: { request: 1500us }", "timeouts.request", "1500us"},
    {"timeouts: { request: 1000ms }", "timeouts.request", "1s"},
    {"timeouts: { client_idle: 0 }", "timeouts.client_idle", "0"},
    {"timeouts: { client_idle: 1h }", "timeouts.client_idle", "1h"},
    {"timeouts: { drain: 0 }", "timeouts.drain", "0"},
    {"on_failure: { reads: error, writes: error }", "on_failure.reads", "error"},
    {"on_failure: { reads: miss }", "on_failure.reads", "miss"},
    {"limits: { memory: 9gb }", "limits.memory", "9gb"},
    {"limits: { memory: 1048577 }", "limits.memory", "1048577"},
    {"limits: { max_value: 512MB }", "limits.max_value", "512mb"},
    {"limits: { clients: 20000 }", "limits.clients", "20000"},
    {"local: { nodes: 3, memory: 128mb }", "local.memory", "128mb"},
    {"local: { nodes: 0 }", "local.nodes", "0"},
    {"timeouts: { backoff_min: &t 70ms, backoff_max: *t }", "timeouts.backoff_max", "70ms"},
    {"nodes: { family: v6, dns: redis.cache.svc }", "nodes.family", "v6"},
    {"nodes: { grace: 1h, srv: _redis._tcp.cache }", "nodes.grace", "1h"},
    {"nodes: { dns: [a, b:7], srv: [_a._tcp.x, _b._tcp.x] }", "nodes.grace", "10s"},
    {"nodes: { static: [a weight=3, 'b:7   weight=256', c weight=1] }", "nodes.family", "auto"},
    {"nodes: { static: [a name=x weight=3, 'b weight=2  name=a:6379', '[::1] name=[z]#'] }",
     "ring.kind", "maglev"},
    {"ring: { kind: ketama }", "ring.hash", "fnv1a_64"},
    {"ring: { kind: modula, hash: jenkins }", "ring.hash", "jenkins"},
    {"dns: { servers: 127.0.0.1, timeout: 500ms }", "dns.timeout", "500ms"},
    {"policy: { rules: ['a:* deny', 'a:bb* default_ttl=1h  max_ttl=24h max_value=1mb', '* "
     "max_ttl=90s'] }",
     "workers", "auto"},
    {"dns: { servers: ['[::1]:5353', 10.0.0.1], refresh: 1m }", "dns.refresh", "1m"},
    {"commands: { allow: all, deny: [object, 'client|list'] }", "workers", "auto"},
    {"commands: { rename: {flushall: wipe, GET: 'x#:'}, allow: flushall }", "workers", "auto"},
    {"commands: { unknown: {json.get: 1, json.mset: 1  -1 3} }", "workers", "auto"},
    {"admin: { listen: 9379 }", "admin.listen", "9379"},
    {"admin: { listen: '[::1]:9379' }", "admin.listen", "\"[::1]:9379\""},
    {"admin: { listen: 127.0.0.1:9379, prefix_separator: '#' }", "admin.prefix_separator", "\"#\""},
    {"admin: { prefix_separator: '-', token_file: '/a/b:%c&d' }", "admin.prefix_separator",
     "\"-\""},
    {"commands:\n  rename:\n  unknown: {}\n", "workers", "auto"},
};

static void test_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(RIGHT); i++) {
        struct config c;
        struct config_error error;
        char value[CONFIG_TEXT_MAX];
        config_init(&c);
        if (config_read(&c, str_of(RIGHT[i].yaml), &error) != 0)
            fail_msg("%s: %s", RIGHT[i].yaml, error.text);
        config_row_value(row_of(RIGHT[i].setting), &c, value);
        if (strcmp(value, RIGHT[i].value) != 0)
            fail_msg("%s: %s is %s", RIGHT[i].yaml, RIGHT[i].setting, value);
        expect_reads_back(&c);
        config_fini(&c);
    }
}

/* Texts that are wrong, the place that is named, and a part of what is said. */
static const struct {
    const char *yaml;
    unsigned line, column;
    const char *says;
} WRONG[] = {
    {"timeout: 5", 1, 1, "unknown key 'timeout'; known here: listen, nodes, protected_mode"},
    {"workers: 2\nworkers: 3", 2, 1, "workers is given twice"},
    {"timeouts: {}\nring: {}\ntimeouts: {}", 3, 1, "timeouts is given twice"},
    {"timeouts:\n  request: 1s\n  stall: 1s\n  request: 2s", 4, 3,
     "timeouts.request is given twice"},
    {"timeouts:\n  requests: 1s", 2, 3,
     "unknown key 'timeouts.requests'; known here: connect, req"},
    {"ring: { <<: {hash_tags: on} }", 1, 9, "unknown key 'ring.<<'"},
    {"x\001: 1", 1, 1, "not valid YAML"},
    {"? [a]\n: 1", 1, 3, "expected the name of a setting, not a list"},
    {"ring: { [a]: 1 }", 1, 9, "expected the name of a setting, not a list"},
    {"timeouts: { request: 100 }", 1, 22, "expected a duration with its unit"},
    {"timeouts: { request: }", 1, 22,
     "expected a duration with its unit (us, ms, s, m, h), not ''"},
    {"timeouts: { request: -1s }", 1, 22, "expected a duration"},
    {"timeouts: { request: 1.5s }", 1, 22, "expected a duration"},
    {"timeouts: { request: 0 }", 1, 22, "expected 1ms to 1m, not '0'"},
    {"timeouts: { request: 61s }", 1, 22, "expected 1ms to 1m, not '61s'"},
    {"timeouts: { request: 99999999999h }", 1, 22, "expected 1ms to 1m"},
    {"timeouts: { request: [1s] }", 1, 22, "timeouts.request: expected a single value, not a list"},
    {"timeouts: { request: {a: 1s} }", 1, 22, "not a block of settings"},
    {"timeouts: 5s", 1, 11, "timeouts: expected a block of settings, not a single value"},
    {"timeouts: [5s]", 1, 11, "timeouts: expected a block of settings, not a list"},
    {"timeouts: \"\"", 1, 11, "timeouts: expected a block of settings, not a single value"},
    {"limits: { memory: 1 gb }", 1, 19, "expected a size"},
    {"limits: { memory: 12 }", 1, 19, "expected 1mb to 64tb, not '12'"},
    {"limits: { clients: 0 }", 1, 20, "expected 1 to 1000000, not '0'"},
    {"limits: { clients: -1 }", 1, 20, "expected 1 to 1000000, not '-1'"},
    {"limits: { clients: 4294967297 }", 1, 20, "expected 1 to 1000000"},
    {"limits: { clients: 1e3 }", 1, 20, "expected a number"},
    {"limits: { clients: auto }", 1, 20, "expected a number"},
    {"limits: { clients: !!int 5 }", 1, 20, "tags"},
    {"workers: many", 1, 10, "expected auto or a number, not 'many'"},
    {"workers: 0", 1, 10, "expected auto or 1 to 256, not '0'"},
    {"workers: \"a\\0b\\e\"", 1, 10, "not 'a?b?'"},
    {"log_level: loud", 1, 12, "expected debug | info | warn | error, not 'loud'"},
    {"log_level: Info", 1, 12, "expected debug"},
    {"ring: { hash_tags: yes }", 1, 20, "expected on or off, not 'yes'"},
    {"on_failure: { writes: miss }", 1, 23, "on_failure.writes: expected error, not 'miss'"},
    {"listen: 127.0.0.1:6379", 1, 9, "listen: expected a list"},
    {"listen:", 1, 8, "listen: expected a list such as [a:6379, b:6379], not nothing"},
    {"listen: []", 1, 9, "listen: expected at least one"},
    {"listen: [localhost:6379]", 1, 10, "expected PORT, ADDRESS, ADDRESS:PORT"},
    {"listen: [\"\"]", 1, 10, "expected PORT"},
    {"listen: [0]", 1, 10, "expected a port from 1 to 65535"},
    {"listen: [65536]", 1, 10, "expected a port from 1 to 65535"},
    {"listen: ['127.0.0.1:0']", 1, 10, "expected PORT"},
    {"listen: [6379,\n  '127.0.0.1:6379']", 2, 3, "not listed twice"},
    {"listen: [[6379]]", 1, 10, "not a list"},
    {"nodes: [a]", 1, 8, "nodes: expected a block of settings, not a list"},
    {"nodes: { static: a }", 1, 18, "nodes.static: expected a list"},
    {"nodes: { static: [a, b:1,\n A:6379] }", 2, 2,
     "a node that is not listed twice, not 'A:6379'"},
    {"nodes: { static: ['[::1]:1', '[0:0::1]:1'] }", 1, 30, "not listed twice"},
    {"nodes: { static: [a:b] }", 1, 19, "expected HOST or HOST:PORT"},
    {"nodes: { static: ['a:0'] }", 1, 19, "expected HOST or HOST:PORT"},
    {"nodes: { static: ['a b'] }", 1, 19, "expected HOST or HOST:PORT"},
    {"nodes: { static: ['a:1:2'] }", 1, 19, "expected HOST or HOST:PORT"},
    {"nodes: { static: [''] }", 1, 19, "expected HOST or HOST:PORT"},
    {"nodes: &x { static: [*x] }", 1, 8, "not a block of settings"},
    {"&x a: *x", 1, 1, "unknown key 'a'"},
    {"nodes: { static: &x [*x] }", 1, 18, "expected HOST:PORT, not a list"},
    {"&x { nodes: *x }", 1, 6, "unknown key 'nodes.nodes'"},
    {"nodes: { static: [a weight=0] }", 1, 19, "and behind it perhaps weight=1 to 256"},
    {"nodes: { static: [a weight=257] }", 1, 19, "not 'a weight=257'"},
    {"nodes: { static: ['a weight='] }", 1, 19, "expected HOST"},
    {"nodes: { static: [a weight=2 b] }", 1, 19, "expected HOST"},
    {"nodes: { static: [a heavy=2] }", 1, 19, "expected HOST"},
    {"nodes: { static: [a, a weight=2] }", 1, 22, "not listed twice"},
    {"nodes: { static: [a name=x, b name=x] }", 1, 29, "not listed twice"},
    {"nodes: { static: [a, 'b name=a:6379'] }", 1, 22, "not listed twice"},
    {"nodes: { static: [a name=x name=y] }", 1, 19, "expected HOST"},
    {"nodes: { static: [a weight=2 weight=2] }", 1, 19, "expected HOST"},
    {"nodes: { static: [a name=] }", 1, 19, "expected HOST"},
    {"nodes: { static: ['a name=x,y'] }", 1, 19, "expected HOST"},
    {"nodes: { static: ['a '] }", 1, 19, "expected HOST"},
    {"ring: { kind: rendezvous }", 1, 15, "expected maglev | ketama | modula"},
    {"ring: { hash: sha1 }", 1, 15, "expected one_at_a_time | md5"},
    {"nodes: { dns: 10.0.0.1 }", 1, 15, "nodes.dns: expected NAME or NAME:PORT; addresses are"},
    {"nodes: { dns: ['[::1]:6379'] }", 1, 16, "expected NAME or NAME:PORT"},
    {"nodes: { dns: [a weight=2] }", 1, 16, "expected NAME or NAME:PORT"},
    {"nodes: { dns: [a, b,\n A:6379] }", 2, 2, "a name that is not listed twice"},
    {"nodes: { dns: }", 1, 15, "nodes.dns: expected a list such as"},
    {"nodes: { dns: {a: 1} }", 1, 15, "not a block of settings"},
    {"nodes: { srv: '_redis._tcp.x:1' }", 1, 15, "expected a name of SRV records"},
    {"nodes: { srv: [10.0.0.1] }", 1, 16, "expected a name of SRV records"},
    {"nodes: { srv: [a, A] }", 1, 19, "not listed twice"},
    {"nodes: { family: both }", 1, 18, "expected auto | v4 | v6, not 'both'"},
    {"nodes: { grace: 2h }", 1, 17, "expected 0 or 1ms to 1h"},
    {"policy: { rules: [shows] }", 1, 19, "expected PREFIX* and behind it default_ttl=, max_ttl="},
    {"policy: { rules: ['s*'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s*t* deny'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s* deny deny'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s* max_ttl=0'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s* max_ttl=5'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s* max_value=0'] }", 1, 19, "expected PREFIX*"},
    {"policy: { rules: ['s* default_ttl=2s max_ttl=1s'] }", 1, 19,
     "expected a default_ttl that is not above max_ttl"},
    {"policy: { rules: ['s* deny', 't* deny', 's* max_ttl=1s'] }", 1, 41,
     "a prefix that is not listed twice"},
    {"dns: { servers: ns.example }", 1, 17, "dns.servers: expected ADDRESS or ADDRESS:PORT"},
    {"dns: { servers: ['127.0.0.1:0'] }", 1, 18, "expected ADDRESS"},
    {"dns: { servers: [127.0.0.1, '127.0.0.1:53'] }", 1, 29, "a server that is not listed twice"},
    {"dns: { timeout: 0 }", 1, 17, "expected 10ms to 1m"},
    {"commands: { allow: [keys, flushal] }", 1, 27, "commands.allow: expected the name of a comm"},
    {"commands: { allow: debug }", 1, 20, "for one node alone, whatever is allowed, not 'debug'"},
    {"commands: { allow: get }", 1, 20, "a command that is shut without this, such as flushall"},
    {"commands: { allow: \"a\\0b\" }", 1, 20, "expected the name of a command"},
    {"commands: { allow: {keys: 1} }", 1, 20, "not a block of settings"},
    {"commands: { deny: [[keys]] }", 1, 20, "commands.deny: expected COMMAND, not a list"},
    {"commands: { deny:\n [get,\n  gett] }", 3, 3, "expected the name of a command"},
    {"commands: { rename: [keys] }", 1, 21, "expected {COMMAND: VALUE, ...}, not a list"},
    {"commands: { rename: {keys: a,\n  incr: A} }", 2, 3,
     "and a name no command has, not 'incr: A'"},
    {"commands: { rename: {kexs: a} }", 1, 22, "expected the name of a command"},
    {"commands: { rename: {'config|set': a} }", 1, 22, "a subcommand keeps its name"},
    {"commands: { rename: {keys: 'a\"'} }", 1, 22, "expected COMMAND: NEW-NAME"},
    {"commands: { rename: {keys: ''} }", 1, 22, "expected COMMAND: NEW-NAME"},
    {"commands: { rename: {keys: \"a\\0b\"} }", 1, 22, "expected COMMAND: NEW-NAME"},
    {"commands: { rename: {keys: [a]} }", 1, 28, "expected a single value, not a list"},
    {"commands: { unknown: {get: 1} }", 1, 23, "expected a name no command has, not 'get: 1'"},
    {"commands: { unknown: {a.b: 0} }", 1, 23, "expected NAME: FIRST [LAST [STEP]]"},
    {"commands: { unknown: {a.b: 1 2 3 4} }", 1, 23, "the places of its keys, from 1 to 64"},
    {"commands: { unknown: {a.b: 1 x} }", 1, 23, "the places of its keys"},
    {"commands: { unknown: {a.b: 65537} }", 1, 23, "the places of its keys"},
    {"commands: { unknown: {'a:b': 1} }", 1, 23, "the places of its keys"},
    {"commands: { unknown: {a: 1, a: 1} }", 1, 29, "expected a name no command has"},
    {"ring: *none", 1, 7, "not valid YAML: found undefined alias"},
    {"ring: {", 2, 1, "not valid YAML"},
    {"\tworkers: 1", 1, 1, "not valid YAML"},
    {"workers: 1\n---\nworkers: 2", 3, 1, "expected one document"},
    {"a list", 1, 1, "expected settings such as 'workers: 2', not a single value"},
    {"- workers", 1, 1, "expected settings such as 'workers: 2', not a list"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(WRONG); i++) {
        struct config c;
        struct config_error error = {0};
        config_init(&c);
        int err = config_read(&c, str_of(WRONG[i].yaml), &error);
        if (err != -EINVAL || error.line != WRONG[i].line || error.column != WRONG[i].column ||
            !strstr(error.text, WRONG[i].says))
            fail_msg("<%s>: %d %u:%u: %s", WRONG[i].yaml, err, error.line, error.column,
                     error.text);
        assert_null(strchr(error.text, '\n'));
        config_fini(&c);
    }
}

/* However many it has. */
static void test_an_unknown_setting_is_told_all_of_its_section(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        struct config c;
        struct config_error error = {0};
        char yaml[100];
        if (row->section)
            snprintf(yaml, sizeof(yaml), "%s: { nope: 1 }", row->section);
        else
            snprintf(yaml, sizeof(yaml), "nope: 1");
        config_init(&c);
        assert_int_equal(config_read(&c, str_of(yaml), &error), -EINVAL);
        if (!strstr(error.text, "known here: ") || !strstr(error.text, row->name))
            fail_msg("<%s>: no %s in: %s", yaml, row->name, error.text);
        config_fini(&c);
    }
}

/* Every row with a number: its ends are taken, what lies just outside is not. */
static void test_ranges(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        if (row->kind != CONFIG_COUNT && row->kind != CONFIG_AUTO && row->kind != CONFIG_DURATION &&
            row->kind != CONFIG_SIZE)
            continue;
        const struct {
            uint64_t v;
            bool ok;
        } cases[] = {{row->min, true},
                     {row->max, true},
                     {row->max + 1, false},
                     {row->min - 1, row->zero_ok && row->min == 1},
                     {0, row->zero_ok}};
        for (size_t k = 0; k < COUNT(cases); k++) {
            struct config c;
            char text[CONFIG_TEXT_MAX], error[CONFIG_ERROR_MAX];
            if (row->kind == CONFIG_DURATION)
                str_from_duration_ns(cases[k].v, text, sizeof(text));
            else if (row->kind == CONFIG_SIZE)
                str_from_size(cases[k].v, text, sizeof(text));
            else
                snprintf(text, sizeof(text), "%llu", (unsigned long long)cases[k].v);
            config_init(&c);
            int err = config_row_set(row, &c, str_of(text), error);
            if ((err == 0) != cases[k].ok)
                fail_msg("%s: %s gives %d", row->name, text, err);
            if (!err) {
                char value[CONFIG_TEXT_MAX];
                assert_string_equal(config_row_value(row, &c, value), text);
                expect_reads_back(&c);
            }
            config_fini(&c);
        }
    }
}

static void test_names(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    config_init(&c);
    assert_int_equal(config_read(&c,
                                 STR("nodes: { static: [a weight=7, b], dns: redis, "
                                     "srv: [_r._tcp.x.] }\n"
                                     "dns: { servers: ['::1', '10.0.0.1:5353'] }"),
                                 &error),
                     0);
    assert_string_equal(c.nodes[0].name, "a:6379");
    assert_int_equal(c.nodes[0].weight, 7);
    assert_int_equal(c.nodes[1].weight, 1);
    assert_int_equal(c.node_names.count, 1);
    assert_string_equal(c.node_names.names[0], "redis:6379");
    assert_int_equal(c.node_services.count, 1);
    assert_string_equal(c.node_services.names[0], "_r._tcp.x.");
    assert_int_equal(c.dns.server_count, 2);
    assert_int_equal(c.dns.servers[0].port, CONFIG_DNS_PORT);
    assert_int_equal(c.dns.servers[1].port, 5353);
    expect_reads_back(&c);
    for (unsigned i = 1; i < CONFIG_NAMES_MAX; i++) {
        char name[20];
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(config_set(&c, "nodes.dns", str_of(name), true, &error), 0);
    }
    assert_int_equal(config_set(&c, "nodes.dns", STR("one-more"), true, &error), -EINVAL);
    assert_non_null(strstr(error.text, "at most 32 names"));
    expect_reads_back(&c);
    config_fini(&c);
}

static void test_commands(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    config_init(&c);
    const struct command_rules *rules = &c.proxy.commands;
    assert_int_equal(rules->of[COMMAND_ID_FLUSHALL], RULE_SHUT);
    assert_int_equal(config_set(&c, "commands.allow", STR("flushall,keys"), false, &error), 0);
    assert_int_equal(rules->of[COMMAND_ID_FLUSHALL], 0);
    assert_int_equal(rules->of[COMMAND_ID_KEYS], 0);
    assert_int_equal(config_set(&c, "commands.rename", STR("get: fetch"), false, &error), 0);
    assert_int_equal(config_set(&c, "commands.unknown", STR("a.b: 2 -1 2"), false, &error), 0);
    assert_int_equal(rules->of[COMMAND_ID_GET], RULE_RENAMED);
    assert_int_equal(rules->of[COMMAND_ID_FLUSHALL], 0);
    const struct command *added = command_rules_find_name(rules, STR("A.B"));
    assert_non_null(added);
    assert_int_equal(added->first, 2);
    assert_int_equal(added->last, -1);
    assert_int_equal(added->step, 2);
    expect_reads_back(&c);
    /* A list that is given anew takes the place of the old one, and the others stay. */
    assert_int_equal(config_set(&c, "commands.allow", STR("flushdb"), false, &error), 0);
    assert_int_equal(rules->of[COMMAND_ID_FLUSHALL], RULE_SHUT);
    assert_int_equal(rules->of[COMMAND_ID_FLUSHDB], 0);
    assert_int_equal(rules->of[COMMAND_ID_GET], RULE_RENAMED);
    for (int i = 0; i < CONFIG_COMMANDS_MAX - 1; i++)
        assert_int_equal(config_set(&c, "commands.allow", STR("flushdb"), true, &error), 0);
    assert_int_equal(config_set(&c, "commands.allow", STR("keys"), true, &error), -EINVAL);
    assert_non_null(strstr(error.text, "at most 128"));
    config_fini(&c);
}

static const struct {
    const char *given, *name;
    enum addr_family family;
} NODES[] = {
    {"a", "a:6379", ADDR_NONE},
    {"redis-0.cache.svc:7000", "redis-0.cache.svc:7000", ADDR_NONE},
    {"Mixed_Case:1", "Mixed_Case:1", ADDR_NONE},
    {"10.0.0.1", "10.0.0.1:6379", ADDR_V4},
    {"10.0.0.1:65535", "10.0.0.1:65535", ADDR_V4},
    {"[::1]:7", "[::1]:7", ADDR_V6},
    {"[fe80::2]", "[fe80::2]:6379", ADDR_V6},
    {"2001:db8::3", "[2001:db8::3]:6379", ADDR_V6},
    {"300.1.1.1", "300.1.1.1:6379", ADDR_NONE},
};

static void test_nodes(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    config_init(&c);
    for (size_t i = 0; i < COUNT(NODES); i++) {
        assert_int_equal(config_set(&c, "nodes.static", str_of(NODES[i].given), true, &error), 0);
        assert_string_equal(c.nodes[i].name, NODES[i].name);
        assert_int_equal(c.nodes[i].addr.family, NODES[i].family);
    }
    assert_int_equal(c.node_count, COUNT(NODES));
    expect_reads_back(&c);
    char longest[300];
    memset(longest, 'x', 254);
    snprintf(longest + 254, sizeof(longest) - 254, ":65535");
    assert_int_equal(config_set(&c, "nodes.static", str_of(longest), true, &error), 0);
    assert_string_equal(c.nodes[c.node_count - 1].name, longest);
    expect_reads_back(&c);
    memset(longest, 'x', 255);
    snprintf(longest + 255, sizeof(longest) - 255, ":65535");
    assert_int_equal(config_set(&c, "nodes.static", str_of(longest), true, &error), -EINVAL);
    config_fini(&c);
}

static void test_listen(void **state)
{
    (void)state;
    static const struct {
        const char *given, *is;
    } cases[] = {
        {"7000", "127.0.0.1:7000"}, {"0.0.0.0", "0.0.0.0:6379"}, {"10.1.2.3:99", "10.1.2.3:99"},
        {"[::]:6379", "[::]:6379"}, {"[::1]", "[::1]:6379"},     {"::2", "[::2]:6379"},
    };
    struct config c;
    struct config_error error;
    config_init(&c);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[ADDR_TEXT_MAX];
        assert_int_equal(config_set(&c, "listen", str_of(cases[i].given), i > 0, &error), 0);
        assert_int_equal(c.listen_count, i + 1); /* the first one replaced the default */
        assert_string_equal(addr_print(&c.listen[i], text), cases[i].is);
    }
    assert_true(config_is_given(&c, "listen"));
    expect_reads_back(&c);
    for (unsigned port = 1; c.listen_count < CONFIG_LISTEN_MAX; port++) {
        char text[8];
        snprintf(text, sizeof(text), "%u", port);
        assert_int_equal(config_set(&c, "listen", str_of(text), true, &error), 0);
    }
    assert_int_equal(config_set(&c, "listen", STR("9999"), true, &error), -EINVAL);
    assert_non_null(strstr(error.text, "at most 16"));
    config_fini(&c);
}

static void test_lists_of_flags(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    config_init(&c);
    assert_int_equal(config_read(&c, STR("nodes: { static: [x, y] }"), &error), 0);
    assert_int_equal(c.node_count, 2);
    assert_int_equal(config_set(&c, "nodes.static", STR("a:1,b:2"), false, &error), 0);
    assert_int_equal(config_set(&c, "nodes.static", STR("c"), true, &error), 0);
    assert_int_equal(c.node_count, 3);
    assert_string_equal(c.nodes[0].name, "a:1");
    assert_string_equal(c.nodes[2].name, "c:6379");
    assert_int_equal(config_set(&c, "nodes.static", STR("d,,e"), true, &error), -EINVAL);
    assert_int_equal(config_set(&c, "nodes.static", STR("d,"), false, &error), -EINVAL);
    assert_int_equal(config_set(&c, "nodes.static", STR(""), false, &error), -EINVAL);
    config_fini(&c);
}

static const struct {
    const char *yaml;
    unsigned line, column;
    const char *says; /* NULL: it is fine */
} CHECKS[] = {
    {"", 0, 0, "no nodes: name them"},
    {"nodes: { static: [] }", 1, 18, "no nodes: name them"},
    {"nodes: { static: [a] }", 0, 0, NULL},
    {"local: { nodes: 1 }", 0, 0, NULL},
    {"nodes: { static: [a] }\ntimeouts:\n  backoff_min: 2s", 3, 16, "backoff_min is more than"},
    {"nodes: { static: [a] }\ntimeouts: { backoff_min: 1s, backoff_max: 1s }", 0, 0, NULL},
    {"nodes: { static: [a] }\ntimeouts: { backoff_max: 49ms }", 0, 0, "backoff_min is more than"},
    {"nodes: { dns: a }", 0, 0, NULL},
    {"nodes: { srv: [a] }", 0, 0, NULL},
    {"nodes: { dns: [], srv: [], static: [] }", 1, 36, "no nodes: name them"},
    {"nodes: { dns: a }\ndns: { min_refresh: 31s }", 2, 21, "min_refresh is more than dns.max"},
    {"nodes: { dns: a }\ndns: { retry_max: 499ms }", 0, 0, "retry_min is more than dns.retry_"},
    {"nodes: { static: [a, b] }\nring: { kind: ketama }", 0, 0, NULL},
    {"nodes: { static: [a], dns: b }\nring: { kind: ketama }", 2, 15, "from nodes.static alone"},
    {"nodes: { srv: b }\nring: { kind: modula }", 2, 15, "from nodes.static alone"},
    {"local: { nodes: 3 }\nring: { kind: modula }", 2, 15, "from nodes.static alone"},
    {"nodes: { static: "
     "[aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh"
     "] }\nring: { kind: ketama }",
     2, 15, "at most 79 bytes"},
    {"nodes: { dns: b, static: [a name=x] }", 0, 0, NULL},
};

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(CHECKS); i++) {
        struct config c;
        struct config_error error = {0};
        config_init(&c);
        assert_int_equal(config_read(&c, str_of(CHECKS[i].yaml), &error), 0);
        error = (struct config_error){0};
        int err = config_check(&c, &error);
        if ((err == 0) != (CHECKS[i].says == NULL) || error.line != CHECKS[i].line ||
            error.column != CHECKS[i].column ||
            (CHECKS[i].says && !strstr(error.text, CHECKS[i].says)))
            fail_msg("<%s>: %d %u:%u: %s", CHECKS[i].yaml, err, error.line, error.column,
                     error.text);
        config_fini(&c);
    }
}

/* A flag that overrides a setting of the file is not blamed on the file. */
static void test_flag_has_no_place(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    config_init(&c);
    assert_int_equal(config_read(&c, STR("nodes: { static: [a] }"), &error), 0);
    assert_int_equal(config_set(&c, "timeouts.backoff_min", STR("5s"), false, &error), 0);
    assert_int_equal(config_check(&c, &error), -EINVAL);
    assert_int_equal(error.line, 0);
    config_fini(&c);
}

/* Documents that would grow without bound if aliases were followed without one. */
static void test_alias_bombs(void **state)
{
    (void)state;
    char text[4096] = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 30; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1,
                 i - 1, i - 1);
    struct config c;
    struct config_error error;
    config_init(&c);
    assert_int_equal(config_read(&c, str_of(text), &error), -EINVAL);
    assert_int_equal(error.line, 1);
    config_fini(&c);
    config_init(&c);
    assert_int_equal(config_read(&c, STR("&r {ring: &s {hash_tags: *s}, nodes: *r}"), &error),
                     -EINVAL);
    config_fini(&c);
}

/* libyaml alone would need a minute for this. */
static void test_depth(void **state)
{
    (void)state;
    struct config c;
    struct config_error error;
    char *text = malloc(CONFIG_FILE_MAX);
    assert_non_null(text);
    memset(text, '[', CONFIG_FILE_MAX);
    config_init(&c);
    assert_int_equal(config_read(&c, (struct str){text, CONFIG_FILE_MAX}, &error), -EINVAL);
    assert_int_equal(error.line, 1);
    assert_int_equal(error.column, 9);
    assert_string_equal(error.text, "nested deeper than any setting is");
    free(text);
    config_fini(&c);
}

/* The table itself: names are unique, sections lie together (config_print relies on it), texts fit
 * the form that tools/gen_config_doc.py takes apart. */
static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        char range[CONFIG_TEXT_MAX];
        assert_ptr_equal(config_row_find(row->section, str_of(row->name)), row);
        assert_null(strstr(config_row_range(row, range), "; "));
        assert_null(strchr(row->meaning, '\n'));
        bool opened = false, left = false;
        for (unsigned k = 0; row->section && k < CONFIG_ROW_COUNT; k++) {
            bool same = CONFIG_ROWS[k].section && !strcmp(CONFIG_ROWS[k].section, row->section);
            assert_false(same && left);
            left = left || (opened && !same);
            opened = opened || same;
        }
        if (row->kind == CONFIG_COUNT || row->kind == CONFIG_AUTO)
            assert_true(row->max <= UINT32_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_read_back),
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_an_unknown_setting_is_told_all_of_its_section),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_lists_of_flags),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_flag_has_no_place),
        cmocka_unit_test(test_alias_bombs),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
