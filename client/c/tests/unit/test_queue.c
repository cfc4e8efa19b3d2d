/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of jobs. */
#include "client/c/src/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { JOBS = 5 };

static struct job *jobs[JOBS];

static int make_jobs(void **state)
{
    (void)state;
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = job_new(JOB_PROBE, NULL, "k", 1);
    }
    return 0;
}

static int free_jobs(void **state)
{
    (void)state;
    for (int i = 0; i < JOBS; i++) {
        job_unref(jobs[i]);
    }
    return 0;
}

static void put(struct queue *q, int from, int to)
{
    for (int i = from; i < to; i++) {
        queue_put(q, jobs[i]);
    }
}

static void take(struct queue *q, int from, int to)
{
    for (int i = from; i < to; i++) {
        assert_ptr_equal(queue_take(q), jobs[i]);
        assert_null(jobs[i]->next);
    }
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q);
    assert_null(queue_take(&q));
    put(&q, 0, 3);
    take(&q, 0, 1);
    put(&q, 3, 5);
    take(&q, 1, 5);
    assert_null(queue_take(&q));
    put(&q, 0, 1); /* its end is its beginning again */
    take(&q, 0, 1);
}

static void one_comes_first(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q);
    queue_put_first(&q, jobs[1]);
    queue_put_first(&q, jobs[0]);
    put(&q, 2, 4);
    take(&q, 0, 4);
}

static void all_are_moved(void **state)
{
    (void)state;
    struct queue from, to;
    queue_init(&from);
    queue_init(&to);
    queue_move(&to, &from);
    assert_null(queue_take(&to));
    put(&from, 0, 2);
    queue_move(&to, &from);
    assert_null(queue_take(&from));
    put(&from, 2, 3);
    queue_move(&to, &from);
    put(&from, 4, 5);
    put(&to, 3, 4);
    take(&to, 0, 4);
    take(&from, 4, 5);
}

static void shares_are_given_back(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q);
    for (int i = 0; i < JOBS; i++) {
        atomic_fetch_add(&jobs[i]->shares, 1);
    }
    put(&q, 0, JOBS);
    queue_drop(&q);
    assert_null(q.first);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i]->shares, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(one_comes_first),
        cmocka_unit_test(all_are_moved),
        cmocka_unit_test(shares_are_given_back),
    };
    return cmocka_run_group_tests(tests, make_jobs, free_jobs);
}
