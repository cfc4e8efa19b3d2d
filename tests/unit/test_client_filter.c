/* SPDX-License-Identifier: Apache-2.0 */
/* What CLIENT LIST and CLIENT KILL mean, without a client; with some: test_client_commands.py. */
#include "proxy/client_filter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int parse(struct client_filter *f, const char *line, struct client_filter_error *error)
{
    struct args a;
    args_init(&a);
    assert_int_equal(args_parse_inline(&a, str_of(line)), 0);
    bool kills = str_eq_nocase(args_str(&a, 1), STR("kill"));
    int err = kills ? client_filter_parse_kill(f, &a, 7, NULL, error)
                    : client_filter_parse_list(f, &a, error);
    args_fini(&a);
    return err;
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } CASES[] = {
        {"client list foo", "ERR syntax error"},
        {"client list type foo", "ERR Unknown client type 'foo'"},
        {"client list id 1 2 x", "ERR Invalid client ID"},
        {"client kill id 0", "ERR client-id should be greater than 0"},
        {"client kill user joe", "ERR No such user 'joe'"},
        {"client kill skipme perhaps", "ERR syntax error"},
        {"client kill id 5 addr", "ERR syntax error"},
        {"client kill maxage x", "ERR maxage is not an integer or out of range"},
        {"client kill maxage -5", "ERR maxage should be greater than 0"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct client_filter f;
        struct client_filter_error error = {""};
        assert_int_equal(parse(&f, CASES[i].line, &error), -EINVAL);
        assert_string_equal(error.text, CASES[i].error);
    }
}

static void options_add_up(void **state)
{
    (void)state;
    struct client_filter f;
    struct client_filter_error error = {""};
    assert_int_equal(parse(&f,
                           "client kill ID 5 id 6 ADDR 1.2.3.4:5 laddr [::1]:6379 user default "
                           "TYPE normal maxage 90 skipme NO",
                           &error),
                     0);
    assert_true(f.by_id && f.by_addr && f.by_laddr && f.by_age);
    assert_false(f.skips_me || f.nobody || f.old_style);
    assert_int_equal(f.id_count, 2);
    assert_int_equal(f.ids[0], 5);
    assert_int_equal(f.ids[1], 6);
    assert_string_equal(f.addr, "1.2.3.4:5");
    assert_string_equal(f.laddr, "[::1]:6379");
    assert_int_equal(f.age_min, 90);
    assert_int_equal(f.me, 7);
    client_filter_fini(&f);
}

static void defaults_are_a_servers(void **state)
{
    (void)state;
    struct client_filter f;
    struct client_filter_error error = {""};
    assert_int_equal(parse(&f, "client list", &error), 0);
    assert_false(f.by_id || f.by_addr || f.nobody || f.skips_me);
    client_filter_fini(&f);
    assert_int_equal(parse(&f, "client kill id 5", &error), 0);
    assert_true(f.skips_me);
    client_filter_fini(&f);
    assert_int_equal(parse(&f, "client kill 1.2.3.4:5", &error), 0);
    assert_true(f.old_style && !f.skips_me);
    client_filter_fini(&f);
    assert_int_equal(parse(&f, "client kill type replica", &error), 0);
    assert_true(f.nobody);
    client_filter_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(options_add_up),
        cmocka_unit_test(defaults_are_a_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
