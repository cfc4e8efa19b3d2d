/* SPDX-License-Identifier: Apache-2.0 */
/* Compression, and bytes that say they were compressed. */
#include "client/c/src/pack.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SIZE = 100000 };

static char text[SIZE];

static int make_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i * i % 7);
    }
    return 0;
}

static void for_each_kind(void (*run)(enum pack_kind kind))
{
    run(PACK_ZLIB);
    if (pack_is_known(PACK_ZSTD)) {
        run(PACK_ZSTD);
    }
}

static void check_comes_back(enum pack_kind kind)
{
    static const size_t lens[] = {100, 5000, SIZE};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct bytes *packed = pack(kind, text, lens[i], 40);
        assert_non_null(packed);
        assert_true(packed->len < 40 + lens[i]);
        struct bytes *back = unpack(kind, packed->data + 40, packed->len - 40, lens[i]);
        assert_non_null(back);
        assert_int_equal(back->len, lens[i]);
        assert_memory_equal(back->data, text, lens[i]);
        bytes_unref(back);
        bytes_unref(packed);
    }
}

static void what_is_packed_comes_back(void **state)
{
    (void)state;
    for_each_kind(check_comes_back);
}

static void check_not_worth_it(enum pack_kind kind)
{
    char noise[1000];
    unsigned x = 1;
    for (size_t i = 0; i < sizeof(noise); i++) {
        x = x * 1103515245U + 12345U;
        noise[i] = (char)(x >> 16);
    }
    assert_null(pack(kind, noise, sizeof(noise), 0));
    assert_null(pack(kind, "a", 1, 0));
    assert_null(pack(kind, "", 0, 0));
}

static void what_does_not_get_smaller_is_not_packed(void **state)
{
    (void)state;
    for_each_kind(check_not_worth_it);
}

static void check_bent(enum pack_kind kind)
{
    struct bytes *packed = pack(kind, text, SIZE, 0);
    assert_non_null(packed);
    static const size_t wrong[] = {0, 1, SIZE - 1, SIZE + 1, 10 * SIZE};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_null(unpack(kind, packed->data, packed->len, wrong[i]));
    }
    for (size_t len = 0; len < packed->len; len++) {
        assert_null(unpack(kind, packed->data, len, SIZE));
    }
    /* Something behind its end, and the same twice. */
    char *twice = malloc(2 * packed->len);
    assert_non_null(twice);
    memcpy(twice, packed->data, packed->len);
    memcpy(twice + packed->len, packed->data, packed->len);
    assert_null(unpack(kind, twice, packed->len + 1, SIZE));
    assert_null(unpack(kind, twice, 2 * packed->len, SIZE));
    assert_null(unpack(kind, twice, 2 * packed->len, 2 * SIZE));
    free(twice);
    bytes_unref(packed);
    assert_null(unpack(kind, "garbage, and long enough", 24, 24));
    assert_null(unpack(kind, "", 0, 0));
}

static void only_all_of_it_counts(void **state)
{
    (void)state;
    for_each_kind(check_bent);
}

static void frames_of_other_kinds_are_refused(void **state)
{
    (void)state;
    if (!pack_is_known(PACK_ZSTD)) {
        return; /* then no byte of zstd is looked at: test_format.py */
    }
    static const unsigned char skipped[] = {0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 'x'};
    assert_null(unpack(PACK_ZSTD, skipped, sizeof(skipped), 0));
    assert_null(unpack(PACK_ZSTD, skipped, sizeof(skipped), 1));
    static const unsigned char old[] = {0x27, 0xB5, 0x2F, 0xFD, 0, 0, 0, 0, 0, 0}; /* 0.7 */
    assert_null(unpack(PACK_ZSTD, old, sizeof(old), 0));
    /* A window of 2 GB and more is said to be needed: nobody allocates it. */
    static const unsigned char window[] = {0x28, 0xB5, 0x2F, 0xFD, 0, 0xFF, 1, 0, 0};
    assert_null(unpack(PACK_ZSTD, window, sizeof(window), 1));
    /* 4 MB of one byte in a block of a few. */
    static const unsigned char same[] = {0x28, 0xB5, 0x2F, 0xFD, 0, 0x58, 3, 0, 4, 'x'};
    assert_null(unpack(PACK_ZSTD, same, sizeof(same), 1000));
}

static void kinds_that_nobody_knows(void **state)
{
    (void)state;
    assert_true(pack_is_known(PACK_NONE) && pack_is_known(PACK_ZLIB) && pack_is_known(pack_best()));
    assert_false(pack_is_known((enum pack_kind)3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(what_does_not_get_smaller_is_not_packed),
        cmocka_unit_test(only_all_of_it_counts),
        cmocka_unit_test(frames_of_other_kinds_are_refused),
        cmocka_unit_test(kinds_that_nobody_knows),
    };
    return cmocka_run_group_tests(tests, make_text, NULL);
}
