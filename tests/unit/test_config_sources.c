/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_sources.h"

#include "base/nsec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void read_settings(struct config *c, const char *yaml)
{
    struct config_error error;
    config_init(c);
    if (config_read(c, str_of(yaml), &error) != 0)
        fail_msg("%u:%u: %s", error.line, error.column, error.text);
}

static void expect(const struct discovery_source *s, enum discovery_kind kind, const char *name,
                   uint32_t weight, const struct node_login *login)
{
    assert_int_equal(s->kind, kind);
    assert_string_equal(s->name, name);
    assert_int_equal(s->weight, weight);
    assert_ptr_equal(s->login, login);
}

static void all_kinds_in_the_order_in_which_they_count(void **state)
{
    (void)state;
    struct config c;
    read_settings(&c, "nodes:\n"
                      "  srv: [_redis._tcp.cache]\n"
                      "  dns: [cache:6379]\n"
                      "  static: ['10.0.0.1:7000', '10.0.0.2:7000 weight=3']\n"
                      "  logins: ['cache:6379 user=who password_file=/p']\n");
    struct node_login *login = node_login_new(STR("who"), STR("secret"));
    struct node_login *logins[CONFIG_LOGINS_MAX] = {login};
    static const char LOCALS[1][ADDR_TEXT_MAX] = {"127.0.0.1:30001"};
    struct discovery_source sources[5];
    assert_int_equal(config_sources_count(&c), 4);
    assert_int_equal(config_sources(&c, logins, LOCALS, 1, sources), 5);
    expect(&sources[0], DISCOVERY_STATIC, "10.0.0.1:7000", 1, NULL);
    expect(&sources[1], DISCOVERY_STATIC, "10.0.0.2:7000", 3, NULL);
    expect(&sources[2], DISCOVERY_STATIC, "127.0.0.1:30001", 1, NULL);
    expect(&sources[3], DISCOVERY_DNS, "cache:6379", 0, login);
    expect(&sources[4], DISCOVERY_SRV, "_redis._tcp.cache", 0, NULL);
    assert_int_equal(config_sources(&c, logins, NULL, 0, sources), 4);
    expect(&sources[2], DISCOVERY_DNS, "cache:6379", 0, login);
    node_login_unref(login);
    config_fini(&c);
}

static void names_are_looked_up_as_told(void **state)
{
    (void)state;
    struct config c;
    read_settings(&c, "nodes: { dns: [cache:6379], family: v6 }\n"
                      "dns: { min_refresh: 2s, max_refresh: 20s, refresh: 7s, retry_min: 1s, "
                      "retry_max: 9s }\n");
    struct lookup_settings l = config_lookup(&c);
    assert_int_equal(l.family, LOOKUP_V6);
    assert_int_equal(l.refresh_min, 2 * NSEC_S);
    assert_int_equal(l.refresh_max, 20 * NSEC_S);
    assert_int_equal(l.refresh, 7 * NSEC_S);
    assert_int_equal(l.retry_min, NSEC_S);
    assert_int_equal(l.retry_max, 9 * NSEC_S);
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_in_the_order_in_which_they_count),
        cmocka_unit_test(names_are_looked_up_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
