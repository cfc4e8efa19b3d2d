/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/job_table.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct job_slot *add(struct job_table *t, const char *pattern)
{
    struct job_slot *s = NULL;
    assert_int_equal(job_table_add(t, &(struct job_order){str_of(pattern), 2, 100, 7, 5}, &s), 0);
    return s;
}

static uint64_t id_of(const struct job_slot *s)
{
    return atomic_load(&s->id);
}

static void a_job_is_there_as_soon_as_it_is_added(void **state)
{
    (void)state;
    struct job_table t;
    struct job_info j;
    assert_int_equal(job_table_init(&t, 2), 0);
    assert_false(job_table_find(&t, 0, &j));
    assert_false(job_table_find(&t, 1, &j));
    struct job_slot *s = add(&t, "shows:*");
    assert_true(job_table_find(&t, 1, &j));
    assert_int_equal(j.id, 1);
    assert_int_equal(j.figures[JOB_STATE], JOB_QUEUED);
    assert_int_equal(j.figures[JOB_COUNT], 100);
    assert_int_equal(j.figures[JOB_RATE], 7);
    assert_int_equal(j.figures[JOB_SINCE], 5);
    assert_int_equal(j.figures[JOB_PATTERN_LEN], 7);
    assert_memory_equal(j.pattern, "shows:*", 7);
    job_slot_set(s, JOB_STATE, JOB_RUNNING);
    job_slot_set(s, JOB_SCANNED, 12);
    assert_true(job_table_find(&t, 1, &j));
    assert_int_equal(j.figures[JOB_SCANNED], 12);
    job_table_end(&t, s, JOB_FAILED, 99, "a:1: SCAN: NOPERM");
    assert_true(job_table_find(&t, 1, &j));
    assert_string_equal(j.why, "a:1: SCAN: NOPERM");
    assert_int_equal(j.figures[JOB_ENDED], 99);
    job_table_fini(&t);
}

static void the_longest_pattern(void **state)
{
    (void)state;
    struct job_table t;
    struct job_info j;
    struct job_slot *s;
    char pattern[JOB_PATTERN_MAX];
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)i;
    assert_int_equal(job_table_init(&t, 1), 0);
    assert_int_equal(
        job_table_add(&t, &(struct job_order){{pattern, sizeof(pattern)}, 0, 1, 0, 0}, &s), 0);
    assert_true(job_table_find(&t, 1, &j));
    assert_int_equal(j.figures[JOB_PATTERN_LEN], sizeof(pattern));
    assert_memory_equal(j.pattern, pattern, sizeof(pattern));
    job_table_fini(&t);
}

static void only_so_many_wait_or_run(void **state)
{
    (void)state;
    struct job_table t;
    struct job_slot *a, *none = NULL;
    assert_int_equal(job_table_init(&t, 2), 0);
    a = add(&t, "a");
    (void)add(&t, "b");
    assert_int_equal(job_table_add(&t, &(struct job_order){STR("c"), 0, 1, 0, 0}, &none), -EAGAIN);
    assert_null(none);
    job_table_end(&t, a, JOB_DONE, 1, NULL);
    (void)add(&t, "c");
    assert_int_equal(job_table_add(&t, &(struct job_order){STR("d"), 0, 1, 0, 0}, &none), -EAGAIN);
    job_table_fini(&t);
}

static void those_that_ended_last_are_still_shown(void **state)
{
    (void)state;
    struct job_table t;
    struct job_info all[JOBS_SHOWN_MAX];
    assert_int_equal(job_table_init(&t, 2), 0);
    assert_int_equal(job_table_list(&t, all), 0);
    struct job_slot *stays = add(&t, "stays");
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        job_table_end(&t, add(&t, name), JOB_DONE, 1, NULL);
    }
    assert_int_equal(job_table_list(&t, all), 4);
    assert_int_equal(all[0].id, id_of(stays));
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(all[i].id, 18 + i);
        assert_int_equal(atoi(all[i].pattern), 16 + (int)i);
    }
    assert_false(job_table_find(&t, 5, &all[0]));
    job_table_fini(&t);
}

static void when_it_will_have_ended(void **state)
{
    (void)state;
    struct job_info j = {.figures = {[JOB_STATE] = JOB_QUEUED}};
    assert_int_equal(job_info_eta_ms(&j, NSEC_S), -1);
    j.figures[JOB_STATE] = JOB_RUNNING;
    j.figures[JOB_BEGAN] = NSEC_S;
    j.figures[JOB_KEYS] = 400;
    assert_int_equal(job_info_eta_ms(&j, 2 * NSEC_S), -1);
    j.figures[JOB_SCANNED] = 100;
    assert_int_equal(job_info_eta_ms(&j, 2 * NSEC_S), 3000);
    j.figures[JOB_SCANNED] = 500; /* keys came meanwhile */
    assert_int_equal(job_info_eta_ms(&j, 2 * NSEC_S), 0);
    j.figures[JOB_STATE] = JOB_DONE;
    assert_int_equal(job_info_eta_ms(&j, 2 * NSEC_S), 0);
}

/* ---- threads ---- */

struct racer {
    struct job_table *t;
    unsigned refused, added, torn;
};

/* A job's pattern is one digit, as often as its count says. */
static void race(void *owner)
{
    struct racer *r = owner;
    struct job_info *all = malloc(JOBS_SHOWN_MAX * sizeof(*all));
    assert_non_null(all);
    for (unsigned i = 0; i < 3000; i++) {
        char pattern[200];
        size_t len = 1 + i % sizeof(pattern);
        memset(pattern, (int)('0' + i % 10), sizeof(pattern));
        struct job_slot *s;
        if (job_table_add(r->t, &(struct job_order){{pattern, len}, 0, len, i % 10, 0}, &s) == 0) {
            r->added++;
            job_table_end(r->t, s, JOB_DONE, 1, NULL);
        } else {
            r->refused++;
        }
        unsigned count = job_table_list(r->t, all);
        for (unsigned k = 0; k < count; k++) {
            const struct job_info *j = &all[k];
            bool whole = j->figures[JOB_PATTERN_LEN] == j->figures[JOB_COUNT];
            for (size_t at = 0; whole && at < j->figures[JOB_COUNT]; at++)
                whole = j->pattern[at] == (char)('0' + j->figures[JOB_RATE]);
            r->torn += !whole || (k > 0 && all[k - 1].id >= j->id);
        }
    }
    free(all);
}

static void many_threads_add_and_read(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct job_table t;
    struct racer r[THREADS];
    struct thread *threads[THREADS];
    assert_int_equal(job_table_init(&t, 2), 0);
    for (int i = 0; i < THREADS; i++) {
        r[i] = (struct racer){.t = &t};
        assert_int_equal(thread_start("racer", race, &r[i], &threads[i]), 0);
    }
    unsigned added = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(thread_join(threads[i], NSEC_NEVER), 0);
        assert_int_equal(r[i].torn, 0);
        added += r[i].added;
    }
    assert_int_equal(atomic_load(&t.active), 0);
    assert_int_equal(atomic_load(&t.last_id), added);
    job_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_there_as_soon_as_it_is_added),
        cmocka_unit_test(the_longest_pattern),
        cmocka_unit_test(only_so_many_wait_or_run),
        cmocka_unit_test(those_that_ended_last_are_still_shown),
        cmocka_unit_test(when_it_will_have_ended),
        cmocka_unit_test(many_threads_add_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
