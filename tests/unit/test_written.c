/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/written.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void an_empty_batch_has_no_records(void **state)
{
    (void)state;
    struct written *w = written_new(3);
    assert_non_null(w);
    assert_int_equal(w->version, 3);
    size_t at = 0;
    struct written_record r;
    assert_false(written_next(w, &at, &r));
    assert_null(written_free(w));
    assert_null(written_free(NULL));
}

static void records_come_back_in_order_and_whole(void **state)
{
    (void)state;
    struct written *w = written_new(1);
    assert_non_null(w);
    char key[5000];
    for (uint32_t i = 0; i < 500; i++) {
        memset(key, (int)i, sizeof(key));
        written_add(w, i * 7, i % 4, (uint8_t)(i % 16), (struct str){key, i * 10});
    }
    assert_false(w->lost);
    size_t at = 0;
    struct written_record r;
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(written_next(w, &at, &r));
        assert_int_equal(r.slot, i * 7);
        assert_int_equal(r.node, i % 4);
        assert_int_equal(r.database, i % 16);
        assert_int_equal(r.key.len, i * 10);
        memset(key, (int)i, sizeof(key));
        assert_memory_equal(r.key.p, key, r.key.len);
    }
    assert_false(written_next(w, &at, &r));
    written_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_batch_has_no_records),
        cmocka_unit_test(records_come_back_in_order_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
