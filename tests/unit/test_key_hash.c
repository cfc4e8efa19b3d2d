/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/key_hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLOTS = 65537 };
static const uint64_t SEED = UINT64_C(0xc70f6907);

/* Envoy's own vectors for its MurmurHash2. */
static void test_envoy_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        uint64_t hash;
    } CASES[] = {
        {"foo", UINT64_C(9631199822919835226)},       {"bar", UINT64_C(11474628671133349555)},
        {"foo\nbar", UINT64_C(16306510975912980159)}, {"lyft", UINT64_C(12847078931730529320)},
        {"", UINT64_C(6142509188972423790)},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_true(murmur2_64(str_of(CASES[i].in), SEED) == CASES[i].hash);
        assert_true(key_hash(str_of(CASES[i].in), false) == CASES[i].hash);
        assert_true(key_hash(str_of(CASES[i].in), true) == CASES[i].hash);
    }
    assert_true(murmur2_64((struct str){NULL, 0}, SEED) == UINT64_C(6142509188972423790));
    assert_true(key_hash((struct str){NULL, 0}, true) == UINT64_C(6142509188972423790));
}

/* Slots of the default table. Off: the whole key; on: its tag. */
static void test_slots(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t off, on;
    } CASES[] = {
        {"foo", 36855, 36855},
        {"bar", 47367, 47367},
        {"lyft", 35044, 35044},
        {"", 19066, 19066},
        {"a", 65089, 65089},
        {"b", 60590, 60590},
        {"c", 20918, 20918},
        {"hello", 18510, 18510},
        {"user:1000", 62821, 62821},
        {"user:1001", 61324, 61324},
        {"{user1000}.following", 16032, 15917},
        {"{user1000}.followers", 26940, 15917},
        {"user1000", 15917, 15917},
        {"key:000000000001", 57149, 57149},
        {"image:42", 41167, 41167},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct str key = str_of(CASES[i].key);
        assert_int_equal(key_hash(key, false) % SLOTS, CASES[i].off);
        assert_int_equal(key_hash(key, true) % SLOTS, CASES[i].on);
    }
}

/* The same bytes at every alignment, in a block of exactly their size, so that a sanitizer sees a
 * read past the end; and each length has a hash of its own. */
static void test_alignment(void **state)
{
    (void)state;
    uint64_t seen[40];
    for (size_t len = 0; len < 40; len++) {
        for (size_t shift = 0; shift < 8; shift++) {
            char *bytes = malloc(shift + len + (shift + len == 0));
            assert_non_null(bytes);
            for (size_t i = 0; i < len; i++)
                bytes[shift + i] = (char)(200 + i);
            uint64_t hash = murmur2_64((struct str){bytes + shift, len}, SEED);
            if (shift == 0)
                seen[len] = hash;
            assert_true(hash == seen[len]);
            free(bytes);
        }
        for (size_t other = 0; other < len; other++)
            assert_true(seen[other] != seen[len]);
    }
}

static void test_tags(void **state)
{
    (void)state;
    static const struct {
        struct str key, tag;
    } CASES[] = {
        {{"{user1000}.following", 20}, {"user1000", 8}},
        {{"foo{bar}", 8}, {"bar", 3}},
        {{"foo{}{bar}", 10}, {"foo{}{bar}", 10}}, /* the first pair decides, and it is empty */
        {{"foo{{bar}}zap", 13}, {"{bar", 4}},
        {{"foo{bar}{zap}", 13}, {"bar", 3}},
        {{"{}", 2}, {"{}", 2}},
        {{"{", 1}, {"{", 1}},
        {{"}", 1}, {"}", 1}},
        {{"{abc", 4}, {"{abc", 4}},
        {{"abc}", 4}, {"abc}", 4}},
        {{"}{a}", 4}, {"a", 1}},
        {{"}a{", 3}, {"}a{", 3}},
        {{"{ }", 3}, {" ", 1}},
        {{"a\0{b\0c}d", 8}, {"b\0c", 3}}, /* NUL is a byte like others */
        {{"{\0}", 3}, {"\0", 1}},
        {{"", 0}, {"", 0}},
        {{NULL, 0}, {NULL, 0}},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_true(str_eq(key_tag(CASES[i].key), CASES[i].tag));
        assert_true(key_hash(CASES[i].key, true) == murmur2_64(CASES[i].tag, SEED));
        assert_true(key_hash(CASES[i].key, false) == murmur2_64(CASES[i].key, SEED));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envoy_vectors),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
