/* SPDX-License-Identifier: Apache-2.0 */
/* A stored value and its clock. All the rest of it is in test_format.py, by the vectors that all
 * libraries go through. */
#include "client/c/src/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 1000000 };

static struct bytes *stored(uint32_t soft_ms, uint32_t hard_ms, uint64_t epoch, bool negative)
{
    struct envelope e = {.created_ms = NOW,
                         .soft_ms = soft_ms,
                         .hard_ms = hard_ms,
                         .delta_ms = 7,
                         .epoch = epoch,
                         .codec = 2,
                         .negative = negative};
    return envelope_encode(&e, "name", 4, "hello", 5, (struct pack_rule){0});
}

static enum envelope_result read_at(struct bytes *b, int64_t now_ms, uint64_t epoch,
                                    size_t *ret_len)
{
    struct envelope_wanted wanted = {.identity = "name",
                                     .identity_len = 4,
                                     .now_ms = now_ms,
                                     .codec = 2,
                                     .epoch = epoch,
                                     .value_max = 100};
    struct envelope e;
    struct bytes *value = NULL;
    size_t offset = 0;
    enum envelope_result result = envelope_decode(b, &wanted, &e, &value, &offset);
    *ret_len = value != NULL ? value->len - offset : 0;
    bytes_unref(value);
    return result;
}

static void its_time(void **state)
{
    (void)state;
    struct bytes *b = stored(100, 200, 0, false);
    size_t len;
    assert_int_equal(read_at(b, NOW, 0, &len), ENVELOPE_OK);
    assert_int_equal(len, 5);
    assert_int_equal(read_at(b, NOW + 199, 0, &len), ENVELOPE_OK);
    assert_int_equal(read_at(b, NOW + 200, 0, &len), ENVELOPE_EXPIRED);
    assert_int_equal(read_at(b, NOW - 60000, 0, &len), ENVELOPE_OK);
    assert_int_equal(read_at(b, NOW - 60001, 0, &len), ENVELOPE_BAD);
    assert_int_equal(read_at(b, -1, 0, &len), ENVELOPE_BAD);
    bytes_unref(b);
    b = stored(UINT32_MAX, UINT32_MAX, 0, false);
    assert_int_equal(read_at(b, NOW + (int64_t)UINT32_MAX - 1, 0, &len), ENVELOPE_OK);
    assert_int_equal(read_at(b, NOW + (int64_t)UINT32_MAX, 0, &len), ENVELOPE_EXPIRED);
    assert_int_equal(read_at(b, INT64_MAX, 0, &len), ENVELOPE_EXPIRED);
    bytes_unref(b);
}

static void its_epoch(void **state)
{
    (void)state;
    struct bytes *b = stored(100, 200, 77, false);
    size_t len;
    assert_int_equal(read_at(b, NOW, 77, &len), ENVELOPE_OK);
    assert_int_equal(read_at(b, NOW, 78, &len), ENVELOPE_OTHER_EPOCH);
    assert_int_equal(read_at(b, NOW, 0, &len), ENVELOPE_OTHER_EPOCH);
    bytes_unref(b);
}

static void nothing_is_a_value(void **state)
{
    (void)state;
    struct bytes *b = stored(100, 200, 0, true);
    size_t len;
    assert_int_equal(b->len, ENVELOPE_HEADER);
    assert_int_equal(read_at(b, NOW, 0, &len), ENVELOPE_OK);
    assert_int_equal(len, 0);
    bytes_unref(b);
}

static void a_byte_changed_anywhere_is_no_value(void **state)
{
    (void)state;
    struct bytes *b = stored(100, 200, 0, false);
    for (size_t i = 0; i < b->len; i++) {
        size_t len;
        b->data[i] ^= 0x40;
        assert_int_not_equal(read_at(b, NOW, 0, &len), ENVELOPE_OK);
        b->data[i] ^= 0x40;
        assert_int_equal(read_at(b, NOW, 0, &len), ENVELOPE_OK);
    }
    bytes_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_time),
        cmocka_unit_test(its_epoch),
        cmocka_unit_test(nothing_is_a_value),
        cmocka_unit_test(a_byte_changed_anywhere_is_no_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
