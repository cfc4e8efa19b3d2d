/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of FIPS 180-4, whole and in pieces. */
#include "client/c/src/sha256.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void check(const char *text, size_t len, size_t step, const char *expected)
{
    struct sha256 s;
    unsigned char digest[32];
    char hex[65];
    sha256_init(&s);
    for (size_t at = 0; at < len; at += step) {
        sha256_add(&s, text + at, len - at < step ? len - at : step);
    }
    sha256_digest(&s, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    assert_string_equal(hex, expected);
}

static void known_digests(void **state)
{
    (void)state;
    static char million[1000000];
    memset(million, 'a', sizeof(million));
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const size_t steps[] = {1, 7, 63, 64, 65, 1000000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        check("", 0, steps[i], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", 3, steps[i],
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(two, sizeof(two) - 1, steps[i],
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        check(million, sizeof(million), steps[i],
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

static void more_may_be_added_after_a_digest(void **state)
{
    (void)state;
    struct sha256 s;
    unsigned char one[32], two[32], three[32];
    sha256_init(&s);
    sha256_add(&s, "abc", 3);
    sha256_digest(&s, one);
    sha256_digest(&s, two);
    assert_memory_equal(one, two, 32);
    sha256_add(&s, "d", 1);
    sha256_digest(&s, two);
    sha256_init(&s);
    sha256_add(&s, "abcd", 4);
    sha256_digest(&s, three);
    assert_memory_equal(two, three, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(more_may_be_added_after_a_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
