/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/command_rules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct command *row(const char *name)
{
    const struct command *c = command_find_name(str_of(name));
    assert_non_null(c);
    return c;
}

static uint8_t rule_of(const struct command_rules *r, const char *name)
{
    return r->of[row(name)->id];
}

/* What a request of these words, each in one bulk string, is found to be. */
static const struct command *find(const struct command_rules *r, const char *first,
                                  const char *second)
{
    char text[200];
    struct args a;
    int len =
        snprintf(text, sizeof(text), "*%d\r\n$%zu\r\n%s\r\n", second ? 2 : 1, strlen(first), first);
    if (second)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "$%zu\r\n%s\r\n", strlen(second),
                        second);
    struct iovec iov[2] = {{text, 9}, {text + 9, (size_t)len - 9}}; /* inside the name */
    args_init(&a);
    assert_int_equal(args_parse(&a, iov, 2), 0);
    const struct command *c = command_rules_find(r, &a);
    args_fini(&a);
    return c;
}

static void what_is_gated_is_shut(void **state)
{
    (void)state;
    struct command_rules r;
    command_rules_init(&r);
    for (size_t i = 0; i < command_count(); i++)
        assert_int_equal(r.of[i], command_gate(command_at(i)) == GATE_OPEN ? 0 : RULE_SHUT);
    assert_int_equal(r.of[COMMAND_ID_COUNT], 0);
    assert_int_equal(rule_of(&r, "get"), 0);
    assert_int_equal(rule_of(&r, "flushall"), RULE_SHUT);
    assert_int_equal(rule_of(&r, "shutdown"), RULE_SHUT);
    assert_null(find(&r, "nonsense", NULL));
    command_rules_fini(&r);
}

static const struct {
    const char *name;
    int err;
} ALLOWED[] = {
    {"flushall", 0},      {"FlushDB", 0},       {"config|set", 0},    {"debug", -EPERM},
    {"get", -EINVAL},     {"flushal", -ENOENT}, {"shutdown", -EPERM}, {"", -ENOENT},
    {"CONFIG", 0},        {"script", 0},        {"object", -EINVAL},  {"config|get", -EINVAL},
    {"config|", -ENOENT},
};

static void allow_opens_what_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ALLOWED); i++) {
        struct command_rules r;
        command_rules_init(&r);
        int err = command_rules_allow(&r, str_of(ALLOWED[i].name));
        if (err != ALLOWED[i].err)
            fail_msg("allow %s: %d", ALLOWED[i].name, err);
        for (size_t k = 0; k < command_count(); k++) {
            const struct command *c = command_at(k);
            size_t len = strlen(ALLOWED[i].name);
            bool named = err == 0 && strncasecmp(c->name, ALLOWED[i].name, len) == 0 &&
                         (c->name[len] == '\0' || c->name[len] == '|');
            bool shut = command_gate(c) == GATE_NEVER || (command_gate(c) == GATE_ALLOW && !named);
            assert_int_equal(r.of[k], shut ? RULE_SHUT : 0);
        }
        command_rules_fini(&r);
    }
}

static void all_opens_all_but_what_stays_shut(void **state)
{
    (void)state;
    struct command_rules r;
    command_rules_init(&r);
    assert_int_equal(command_rules_allow(&r, STR("all")), 0);
    for (size_t i = 0; i < command_count(); i++)
        assert_int_equal(r.of[i], command_gate(command_at(i)) == GATE_NEVER ? RULE_SHUT : 0);
    assert_int_equal(command_rules_deny(&r, STR("flushall")), 0);
    assert_int_equal(rule_of(&r, "flushall"), RULE_DENIED);
    command_rules_fini(&r);
}

static void a_denied_container_takes_its_subcommands_with_it(void **state)
{
    (void)state;
    struct command_rules r;
    command_rules_init(&r);
    assert_int_equal(command_rules_deny(&r, STR("object")), 0);
    assert_int_equal(command_rules_deny(&r, STR("GET")), 0);
    assert_int_equal(command_rules_deny(&r, STR("client|list")), 0);
    assert_int_equal(command_rules_deny(&r, STR("objects")), -ENOENT);
    assert_int_equal(rule_of(&r, "object"), RULE_DENIED);
    assert_int_equal(rule_of(&r, "object|freq"), RULE_DENIED);
    assert_int_equal(rule_of(&r, "get"), RULE_DENIED);
    assert_int_equal(rule_of(&r, "getset"), 0);
    assert_int_equal(rule_of(&r, "client|list"), RULE_DENIED);
    assert_int_equal(rule_of(&r, "client"), 0);
    assert_int_equal(rule_of(&r, "client|id"), 0);
    command_rules_fini(&r);
}

static void a_renamed_command_is_found_by_its_new_name_alone(void **state)
{
    (void)state;
    struct command_rules r;
    command_rules_init(&r);
    assert_int_equal(command_rules_rename(&r, STR("flushall"), STR("Wipe-It")), 0);
    assert_int_equal(command_rules_rename(&r, STR("CONFIG"), STR("cfg")), 0);
    assert_int_equal(rule_of(&r, "flushall"), RULE_SHUT | RULE_RENAMED);
    assert_int_equal(rule_of(&r, "config|get"), RULE_RENAMED);
    assert_ptr_equal(find(&r, "wipe-it", NULL), row("flushall"));
    assert_ptr_equal(find(&r, "WIPE-IT", "async"), row("flushall"));
    assert_ptr_equal(find(&r, "CFG", "Get"), row("config|get"));
    assert_ptr_equal(find(&r, "cfg", "gat"), row("config"));
    assert_ptr_equal(find(&r, "cfg", NULL), row("config"));
    assert_null(find(&r, "flushall", NULL));
    assert_null(find(&r, "wipe-i", NULL));
    assert_null(find(&r, "wipe-it-with-more-bytes-than-a-name-has", NULL));
    assert_ptr_equal(command_rules_find_name(&r, STR("cfg|GET")), row("config|get"));
    assert_ptr_equal(command_rules_find_name(&r, STR("wipe-it")), row("flushall"));
    assert_ptr_equal(command_rules_find_name(&r, STR("get")), row("get"));
    assert_ptr_equal(command_rules_find_name(&r, STR("client|id")), row("client|id"));
    assert_null(command_rules_find_name(&r, STR("config|get")));
    assert_null(command_rules_find_name(&r, STR("flushall")));
    assert_null(command_rules_find_name(&r, STR("cfg|")));
    assert_null(command_rules_find_name(&r, STR("")));
    assert_string_equal(command_rules_name(&r, row("flushall")), "wipe-it");
    assert_string_equal(command_rules_name(&r, row("get")), "get");
    command_rules_fini(&r);
}

static const struct {
    const char *from, *to;
    int err;
} RENAMED[] = {
    {"nonsense", "x", -ENOENT},
    {"get", "set", -EEXIST},      /* a command */
    {"get", "FLUSHALL", -EEXIST}, /* one that has been renamed */
    {"get", "WIPE", -EEXIST},     /* a new name */
    {"get", "json.get", -EEXIST}, /* one made known */
    {"flushall", "b", -EEXIST},   /* for the second time */
    {"config|set", "x", -EINVAL},
    {"get", "", -EINVAL},
    {"get", "a b", -EINVAL},
    {"get", "a|b", -EINVAL},
    {"get", "\x7f", -EINVAL},
    {"get", "0123456789012345678901234567890", 0},
    {"get", "01234567890123456789012345678901", -EINVAL},
};

static void names_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(RENAMED); i++) {
        struct command_rules r;
        command_rules_init(&r);
        assert_int_equal(command_rules_rename(&r, STR("flushall"), STR("wipe")), 0);
        assert_int_equal(command_rules_add(&r, STR("json.get"), 1, 1, 1), 0);
        int err = command_rules_rename(&r, str_of(RENAMED[i].from), str_of(RENAMED[i].to));
        if (err != RENAMED[i].err)
            fail_msg("rename %s to %s: %d", RENAMED[i].from, RENAMED[i].to, err);
        command_rules_fini(&r);
    }
}

static const struct {
    const char *name;
    int first, last, step, err, arity;
} ADDED[] = {
    {"json.get", 1, 1, 1, 0, -2}, {"JSON.MGET", 1, -2, 1, 0, -2}, {"json.mset", 1, -1, 3, 0, -2},
    {"third", 3, 3, 1, 0, -4},    {"two", 1, 2, 1, 0, -3},        {"far", 64, 64, 1, 0, -65},
    {"x", 0, 0, 1, -EINVAL, 0},   {"x", 1, 0, 1, -EINVAL, 0},     {"x", 2, 1, 1, -EINVAL, 0},
    {"x", 65, 65, 1, -EINVAL, 0}, {"x", 1, 1, 0, -EINVAL, 0},     {"x", 1, -65, 1, -EINVAL, 0},
    {"x|y", 1, 1, 1, -EINVAL, 0}, {"get", 1, 1, 1, -EEXIST, 0},
};

static void commands_are_made_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ADDED); i++) {
        struct command_rules r;
        command_rules_init(&r);
        int err = command_rules_add(&r, str_of(ADDED[i].name), ADDED[i].first, ADDED[i].last,
                                    ADDED[i].step);
        if (err != ADDED[i].err)
            fail_msg("add %s: %d", ADDED[i].name, err);
        if (err == 0) {
            const struct command *c = find(&r, ADDED[i].name, "k");
            assert_non_null(c);
            assert_true(str_eq_nocase(str_of(c->name), str_of(ADDED[i].name)));
            assert_int_equal(c->id, COMMAND_ID_COUNT);
            assert_int_equal(c->way, COMMAND_FORWARD);
            assert_int_equal(c->flags, COMMAND_WRITE);
            assert_int_equal(c->arity, ADDED[i].arity);
            assert_int_equal(c->first, ADDED[i].first);
            assert_int_equal(c->last, ADDED[i].last);
            assert_int_equal(c->step, ADDED[i].step);
            assert_int_equal(command_rules_added(&r), 1);
            assert_ptr_equal(command_rules_added_at(&r, 0), c);
        } else if (err != -EEXIST) {
            assert_null(find(&r, ADDED[i].name, NULL));
            assert_int_equal(command_rules_added(&r), 0);
        }
        command_rules_fini(&r);
    }
}

static void there_is_a_limit_and_all_below_it_are_found(void **state)
{
    (void)state;
    struct command_rules r;
    char name[20];
    command_rules_init(&r);
    for (int i = 0; i < COMMAND_RULES_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "module.%d", i);
        assert_int_equal(command_rules_add(&r, str_of(name), 1 + i % 5, 1 + i % 5, 1), 0);
    }
    assert_int_equal(command_rules_add(&r, STR("one-more"), 1, 1, 1), -ENOSPC);
    assert_int_equal(command_rules_rename(&r, STR("get"), STR("one-more")), -ENOSPC);
    for (int i = 0; i < COMMAND_RULES_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "MODULE.%d", i);
        const struct command *c = find(&r, name, NULL);
        assert_non_null(c);
        assert_int_equal(c->first, 1 + i % 5);
        assert_ptr_equal(command_rules_added_at(&r, (size_t)i), c);
    }
    command_rules_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_gated_is_shut),
        cmocka_unit_test(allow_opens_what_is_named),
        cmocka_unit_test(all_opens_all_but_what_stays_shut),
        cmocka_unit_test(a_denied_container_takes_its_subcommands_with_it),
        cmocka_unit_test(a_renamed_command_is_found_by_its_new_name_alone),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(commands_are_made_known),
        cmocka_unit_test(there_is_a_limit_and_all_below_it_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
