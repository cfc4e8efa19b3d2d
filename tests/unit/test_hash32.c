/* SPDX-License-Identifier: Apache-2.0 */
/* What twemproxy does with real keys is in test_layout.c; here, what the hashes' authors published.
 */
#include "ring/hash32.h"

#include "base/must.h"
#include "ring/md5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_md5(void **state)
{
    (void)state;
    static const struct {
        const char *in, *digest; /* RFC 1321, appendix A.5 */
    } CASES[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        uint8_t digest[16];
        char text[33];
        md5(str_of(CASES[i].in), digest);
        for (int k = 0; k < 16; k++)
            snprintf(text + 2 * k, 3, "%02x", digest[k]);
        assert_string_equal(text, CASES[i].digest);
    }
}

static void test_published_values(void **state)
{
    (void)state;
    static const struct {
        enum hash32_kind kind;
        const char *in;
        uint32_t hash;
    } CASES[] = {
        {HASH32_ONE_AT_A_TIME, "The quick brown fox jumps over the lazy dog", 0x519e91f5},
        {HASH32_MD5, "abc", 0x98500190}, /* the digest's first four bytes */
        {HASH32_CRC32A, "123456789", 0xcbf43926},
        {HASH32_CRC32, "123456789", 0xcbf43926 >> 16 & 0x7fff},
        {HASH32_CRC16, "1", 0x2672},
        {HASH32_FNV1_32, "foobar", 0x31f0b262},
        {HASH32_FNV1A_32, "foobar", 0xbf9cf968},
        {HASH32_FNV1_64, "foobar", 0xa4dda9c2}, /* the low half of 340d8765a4dda9c2 */
        {HASH32_FNV1A_64, "foobar", 0xf73967e8},
        {HASH32_HSIEH, "", 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_int_equal(hash32(CASES[i].kind, str_of(CASES[i].in)), CASES[i].hash);
    /* The CCITT remainder of "123456789" is 31c3; what twemproxy keeps above it differs. */
    assert_int_equal(hash32(HASH32_CRC16, STR("123456789")) & 0xffff, 0x31c3);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(hash32_find(STR("one_at_a_time")), HASH32_ONE_AT_A_TIME);
    assert_int_equal(hash32_find(STR("jenkins")), HASH32_JENKINS);
    assert_int_equal(hash32_find(STR("md")), HASH32_KINDS);
    assert_int_equal(hash32_find(STR("")), HASH32_KINDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_md5),
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
