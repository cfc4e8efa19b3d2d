/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_time_is_in_the_bucket_whose_bounds_it_is_between(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(0), 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        assert_int_equal(histogram_bucket(histogram_bound(i) - 1), i);
        assert_int_equal(histogram_bucket(histogram_bound(i)), i + 1);
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void quantiles_lie_inside_their_bucket(void **state)
{
    (void)state;
    struct histogram h = {0};
    struct histogram_sum s = {0};
    assert_int_equal(histogram_sum_quantile(&s, 990), 0);
    for (unsigned i = 0; i < 98; i++)
        histogram_add(&h, 20000, 1);
    histogram_add(&h, 1000000, 1);
    histogram_add(&h, 1000000, 1);
    histogram_sum_add(&s, &h);
    assert_int_equal(histogram_sum_count(&s), 100);
    assert_int_equal(s.sum_ns, 98 * 20000 + 2000000);
    assert_in_range(histogram_sum_quantile(&s, 500), 16384, 32768);
    assert_in_range(histogram_sum_quantile(&s, 990), 524288, 1048576);
    assert_int_equal(histogram_sum_quantile(&s, 1000), 1048576);
}

static void what_came_since_is_never_less_than_nothing(void **state)
{
    (void)state;
    struct histogram_sum before = {.count = {5, 3}, .sum_ns = 10};
    struct histogram_sum now = {.count = {7, 1}, .sum_ns = 4};
    struct histogram_sum since = histogram_sum_since(&now, &before);
    assert_int_equal(since.count[0], 2);
    assert_int_equal(since.count[1], 0);
    assert_int_equal(since.sum_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_in_the_bucket_whose_bounds_it_is_between),
        cmocka_unit_test(quantiles_lie_inside_their_bucket),
        cmocka_unit_test(what_came_since_is_never_less_than_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
