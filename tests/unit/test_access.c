/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nsec.h"
#include "proxy/access.h"
#include "proxy/peers.h"
#include "proxy/rate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct access_user user_of(const char *words)
{
    struct access_user u;
    struct str text = str_of(words);
    assert_int_equal(access_user_init(&u, STR("u")), 0);
    while (text.len > 0) {
        const char *blank = memchr(text.p, ' ', text.len);
        struct str word = {text.p, blank ? (size_t)(blank - text.p) : text.len};
        assert_int_equal(access_user_apply(&u, word), 0);
        text.p += word.len + (blank ? 1 : 0);
        text.len -= word.len + (blank ? 1 : 0);
    }
    access_user_settle(&u);
    return u;
}

static void words_give_commands(void **state)
{
    static const struct {
        const char *words, *command;
        bool has;
    } CASES[] = {
        {"", "get", false},
        {"", "ping", true},
        {"", "client|setname", true},
        {"", "client|list", false},
        {"", "info", true},
        {"read", "get", true},
        {"read", "set", false},
        {"read", "dbsize", true},
        {"read", "eval_ro", false},
        {"write", "set", true},
        {"write", "get", false},
        {"write", "flushall", false},
        {"write", "eval", false},
        {"write +@scripting", "eval", true},
        {"write +@scripting", "script|flush", false},
        {"read write", "config|get", false},
        {"read write", "sumcache.unlink", false},
        {"read write", "sumcache.slowlog", false},
        {"read write", "sumcache.set", true},
        {"admin", "flushall", true},
        {"admin", "sumcache.unlink", true},
        {"admin", "sumcache.slowlog", true},
        {"admin", "client|kill", true},
        {"+@hash", "hset", true},
        {"+@hash", "set", false},
        {"+@SortedSet", "zadd", true},
        {"+@keyspace", "del", true},
        {"+@keyspace", "keys", false},
        {"read -@hash", "hget", false},
        {"read -get", "get", false},
        {"-get read", "get", true},
        {"+config", "config|set", true},
        {"+config -config|set", "config|set", false},
        {"all", "shutdown", true},
        {"all -@all", "get", false},
        {"all -@all", "auth", true},
        {"all -@dangerous", "flushall", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct access_user u = user_of(CASES[i].words);
        const struct command *c = command_find_name(str_of(CASES[i].command));
        assert_non_null(c);
        if (access_has_command(&u, c) != CASES[i].has)
            fail_msg("'%s': %s", CASES[i].words, CASES[i].command);
    }
}

static void only_all_is_all(void **state)
{
    (void)state;
    assert_int_equal(user_of("all").all_commands && user_of("all").all_keys, true);
    assert_int_equal(user_of("read write admin +@scripting ~*").all_commands, false);
    assert_int_equal(user_of("all -get").all_commands, false);
    assert_int_equal(user_of("read ~*").all_keys, true);
    assert_int_equal(user_of("read").all_keys, false);
}

static void bad_words_are_refused(void **state)
{
    static const struct {
        const char *word;
        int err;
    } CASES[] = {
        {"reads", -EINVAL},   {"+nosuch", -ENOENT}, {"+@nosuch", -ENOENT}, {"+", -EINVAL},
        {"+@", -ENOENT},      {"~", -EINVAL},       {"~a*b*", -EINVAL},    {"~a?*", -EINVAL},
        {"rate=0", -EINVAL},  {"rate=", -EINVAL},   {"rate=x", -EINVAL},   {">pw", -EINVAL},
        {"rate=-1", -EINVAL}, {"", -EINVAL},        {"ALL", -EINVAL},
    };
    struct access_user u;
    (void)state;
    assert_int_equal(access_user_init(&u, STR("u")), 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_int_equal(access_user_apply(&u, str_of(CASES[i].word)), CASES[i].err);
    for (int i = 0; i < ACCESS_PREFIXES_MAX; i++)
        assert_int_equal(access_user_apply(&u, STR("~a*")), 0);
    assert_int_equal(access_user_apply(&u, STR("~a*")), -ENOSPC);
    assert_int_equal(access_user_init(&u, STR("")), -EINVAL);
    assert_int_equal(access_user_init(&u, STR("a b")), -EINVAL);
}

static void keys_and_patterns(void **state)
{
    struct access_user u = user_of("read ~app:* ~one");
    static const struct {
        const char *text;
        bool key, pattern;
    } CASES[] = {
        {"app:", true, true},    {"app:x", true, true},    {"app", false, false},
        {"", false, false},      {"one", true, true},      {"one1", false, false},
        {"app:*", true, true},   {"ap*", false, false},    {"*", false, false},
        {"one*", false, false},  {"[a]pp:", false, false}, {"\\app:", false, false},
        {"app:[x]", true, true}, {"app?:", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(access_has_key(&u, str_of(CASES[i].text)), CASES[i].key);
        assert_int_equal(access_has_pattern(&u, str_of(CASES[i].text)), CASES[i].pattern);
    }
    struct access_user everything = user_of("read ~*");
    assert_int_equal(access_has_pattern(&everything, STR("*")), true);
}

static void passwords(void **state)
{
    struct access_user u = user_of("all");
    (void)state;
    assert_int_equal(access_enters(&u, STR("")), false);
    assert_int_equal(access_enters(NULL, STR("x")), false);
    secret_hash(STR("one"), u.hashes[u.hash_count++]);
    secret_hash(STR("two"), u.hashes[u.hash_count++]);
    assert_int_equal(access_enters(&u, STR("one")), true);
    assert_int_equal(access_enters(&u, STR("two")), true);
    assert_int_equal(access_enters(&u, STR("three")), false);
    u.off = true;
    assert_int_equal(access_enters(&u, STR("one")), false);
    struct access_user free_for_all = user_of("all nopass");
    assert_int_equal(access_enters(&free_for_all, STR("x")), true);
}

static void a_rate_gives_a_second_at_once_and_then_one_by_one(void **state)
{
    uint64_t due = 0, now = 5 * NSEC_S;
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(rate_take(&due, now, 10), true);
    assert_int_equal(rate_take(&due, now, 10), false);
    now += NSEC_S / 10;
    assert_int_equal(rate_take(&due, now, 10), true);
    assert_int_equal(rate_take(&due, now, 10), false);
    atomic_uint_least64_t shared = 0;
    assert_int_equal(rate_take_shared(&shared, now, 1), true);
    assert_int_equal(rate_take_shared(&shared, now, 1), false);
    assert_int_equal(rate_take_shared(&shared, now + NSEC_S, 1), true);
}

static struct addr v4(uint8_t last)
{
    return (struct addr){.family = ADDR_V4, .ip = {10, 0, 0, last}, .port = last};
}

static void addresses_are_counted_whatever_their_port(void **state)
{
    struct peers *p = peers_new(7);
    struct addr a = v4(1), b = v4(2), again = a;
    (void)state;
    assert_non_null(p);
    again.port = 99;
    assert_int_equal(peers_enter(p, &a, 2), true);
    assert_int_equal(peers_enter(p, &again, 2), true);
    assert_int_equal(peers_enter(p, &a, 2), false);
    assert_int_equal(peers_enter(p, &b, 2), true);
    peers_leave(p, &again);
    assert_int_equal(peers_enter(p, &a, 2), true);
    assert_int_equal(peers_enter(p, &a, 0), true);
    peers_free(p);
}

static void many_addresses_do_not_disturb_one(void **state)
{
    struct peers *p = peers_new(11);
    (void)state;
    assert_non_null(p);
    for (uint32_t i = 0; i < 10000; i++) {
        struct addr a = {.family = ADDR_V4, .ip = {11, (uint8_t)(i >> 16), (uint8_t)(i >> 8)}};
        a.ip[3] = (uint8_t)i;
        assert_int_equal(peers_enter(p, &a, 0), true);
    }
    for (uint8_t i = 0; i < 200; i++) {
        struct addr a = v4(i);
        assert_int_equal(peers_enter(p, &a, 10), true);
    }
    peers_free(p);
}

static void failures_are_forgotten_one_by_one(void **state)
{
    struct peers *p = peers_new(3);
    struct addr a = v4(1), b = v4(2);
    uint64_t now = 1000 * NSEC_S;
    (void)state;
    assert_non_null(p);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(peers_must_wait(p, &a, now, 6), false);
        peers_failed(p, &a, now, 6);
    }
    assert_int_equal(peers_must_wait(p, &a, now, 6), true);
    assert_int_equal(peers_must_wait(p, &b, now, 6), false);
    assert_int_equal(peers_must_wait(p, &a, now + 9 * NSEC_S, 6), true);
    assert_int_equal(peers_must_wait(p, &a, now + 10 * NSEC_S, 6), false);
    assert_int_equal(peers_must_wait(p, &a, now, 0), false);
    peers_free(p);
}

static void hashes(void **state)
{
    uint8_t hash[SECRET_HASH_BYTES], parsed[SECRET_HASH_BYTES];
    static const char ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015aD";
    (void)state;
    secret_hash(STR("abc"), hash);
    assert_int_equal(secret_parse(str_of(ABC), parsed), 0);
    assert_int_equal(secret_eq(hash, parsed), true);
    parsed[31] ^= 1;
    assert_int_equal(secret_eq(hash, parsed), false);
    assert_int_equal(secret_parse(STR("ba78"), parsed), -EINVAL);
    assert_int_equal(secret_parse((struct str){ABC, 63}, parsed), -EINVAL);
    secret_wipe(hash, sizeof(hash));
    assert_int_equal(hash[0] | hash[31], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_give_commands),
        cmocka_unit_test(only_all_is_all),
        cmocka_unit_test(bad_words_are_refused),
        cmocka_unit_test(keys_and_patterns),
        cmocka_unit_test(passwords),
        cmocka_unit_test(a_rate_gives_a_second_at_once_and_then_one_by_one),
        cmocka_unit_test(addresses_are_counted_whatever_their_port),
        cmocka_unit_test(many_addresses_do_not_disturb_one),
        cmocka_unit_test(failures_are_forgotten_one_by_one),
        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
