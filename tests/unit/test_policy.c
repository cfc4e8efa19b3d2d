/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/policy.h"

#include "base/nsec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

static const struct policy_rule RULES[] = {
    {.prefix = "shows:tmp:", .prefix_len = 10, .deny = true},
    {.prefix = "shows:", .prefix_len = 6, .max_value = 5, .default_ttl = NSEC_S},
    {.prefix_len = 0, .max_ttl = 90 * NSEC_S},
};
static const struct policy POLICY = {RULES, 3};

static void the_longest_prefix_counts(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t rule;
    } CASES[] = {{"shows:tmp:1", 0}, {"shows:tmp:", 0}, {"shows:tmp", 1},
                 {"shows:", 1},      {"shows", 2},      {"", 2}};
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_ptr_equal(policy_find(&POLICY, str_of(CASES[i].key)), &RULES[CASES[i].rule]);
    struct policy some = {RULES, 2};
    assert_null(policy_find(&some, STR("other")));
}

static enum policy_verdict judged(const struct policy_rule *r, const char *request, size_t key)
{
    struct args a;
    args_init(&a);
    struct iovec iov = {(void *)(uintptr_t)request, strlen(request)};
    assert_int_equal(args_parse(&a, &iov, 1), 0);
    const struct command *c = command_find(&a);
    assert_non_null(c);
    enum policy_verdict v = policy_judge(r, c, &a, key);
    args_fini(&a);
    return v;
}

static void values_are_judged_by_their_length(void **state)
{
    (void)state;
    const struct policy_rule *r = &RULES[1];
    assert_int_equal(judged(r, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n12345\r\n", 1), POLICY_ADMITS);
    assert_int_equal(judged(r, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\n123456\r\n", 1),
                     POLICY_TOO_LONG);
    /* Not the key itself, and nothing that is read. */
    assert_int_equal(judged(r, "*3\r\n$3\r\nSET\r\n$7\r\nlongkey\r\n$1\r\n1\r\n", 1),
                     POLICY_ADMITS);
    assert_int_equal(judged(r, "*3\r\n$4\r\nHGET\r\n$1\r\nk\r\n$7\r\nlongone\r\n", 1),
                     POLICY_ADMITS);
    /* Of MSET the value of the key that is looked at. */
    static const char MSET[] =
        "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$6\r\n123456\r\n$1\r\nb\r\n$1\r\n1\r\n";
    assert_int_equal(judged(r, MSET, 1), POLICY_TOO_LONG);
    assert_int_equal(judged(r, MSET, 3), POLICY_ADMITS);
    assert_int_equal(judged(&RULES[2], MSET, 1), POLICY_ADMITS);
    assert_int_equal(judged(&RULES[0], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 1), POLICY_DENIES);
}

static void only_what_may_leave_a_life_is_followed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool followed;
    } CASES[] = {{"set", true},  {"hset", true},    {"eval", true},   {"persist", true},
                 {"get", false}, {"unlink", false}, {"getdel", false}};
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct command *c = command_find_name(str_of(CASES[i].name));
        assert_int_equal(policy_limits_life(&RULES[1], c), CASES[i].followed);
        assert_int_equal(policy_limits_life(&RULES[2], c), CASES[i].followed);
        assert_false(policy_limits_life(&RULES[0], c));
    }
}

static void lives_are_cut_by_pexpire(void **state)
{
    (void)state;
    static const struct policy_rule BOTH = {.default_ttl = 1500 * NSEC_MS, .max_ttl = NSEC_S * 7};
    struct chunk_pool chunks;
    struct buf b;
    uint32_t count = 0;
    char bytes[200] = "";
    chunk_pool_init(&chunks, 1 << 20, 0);
    buf_init(&b);
    assert_int_equal(policy_append(&BOTH, STR("a\r\nb"), &b, &chunks, &count), 0);
    assert_int_equal(count, 2);
    buf_copy_out(&b, 0, bytes, b.len);
    assert_string_equal(bytes, "*4\r\n$7\r\nPEXPIRE\r\n$4\r\na\r\nb\r\n$4\r\n1500\r\n$2\r\nNX\r\n"
                               "*4\r\n$7\r\nPEXPIRE\r\n$4\r\na\r\nb\r\n$4\r\n7000\r\n$2\r\nLT\r\n");
    buf_clear(&b, &chunks);
    chunk_pool_fini(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_prefix_counts),
        cmocka_unit_test(values_are_judged_by_their_length),
        cmocka_unit_test(only_what_may_leave_a_life_is_followed),
        cmocka_unit_test(lives_are_cut_by_pexpire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
