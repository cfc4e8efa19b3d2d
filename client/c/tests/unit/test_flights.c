/* SPDX-License-Identifier: Apache-2.0 */
/* Single flight: who loads, who waits, and for how long. */
#include "client/c/src/flights.h"

#include "client/c/src/clock.h"
#include "client/c/src/job.h"
#include "sumcache.h"

#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { WAITERS = 8 };

static struct fences fences;

struct asking {
    struct flights *flights;
    struct flight_key key;
    struct fence_mark mark;
    enum flight_role role;
    struct load_result result;
    bool is_ended;
};

static void ask(struct asking *a, struct flights *f, const char *key, int64_t began_ns)
{
    a->flights = f;
    a->mark = fence_take(&fences, 5);
    a->key = (struct flight_key){
        .store = 1, .hash = 5, .key = key, .key_len = 1, .mark = &a->mark, .began_ns = began_ns};
}

static struct load_result loaded(void)
{
    return (struct load_result){.answer = SC_LOADED, .value = bytes_copy("v", 1)};
}

static void *wait_for_it(void *arg)
{
    struct asking *a = arg;
    struct flight *flight = NULL;
    a->role = flight_join(a->flights, &a->key, NULL, &flight, &a->result);
    if (a->role == FLIGHT_WAIT) {
        a->is_ended =
            flight_wait(a->flights, flight, clock_ns() + INT64_C(20000) * NS_PER_MS, &a->result);
    }
    return NULL;
}

static void one_loads_and_all_get_it(void **state)
{
    (void)state;
    struct flights f;
    struct asking all[WAITERS + 1] = {0};
    struct flight *flight = NULL;
    pthread_t threads[WAITERS];
    flights_init(&f);
    ask(&all[WAITERS], &f, "k", clock_ns());
    assert_int_equal(flight_join(&f, &all[WAITERS].key, NULL, &flight, &all[WAITERS].result),
                     FLIGHT_LEAD);
    for (int i = 0; i < WAITERS; i++) {
        ask(&all[i], &f, "k", clock_ns());
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, &all[i]), 0);
    }
    struct load_result result = loaded();
    assert_null(flight_end(&f, flight, &result));
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(threads[i], NULL);
        /* Who came after the end, but had looked before it, gets it as well. */
        assert_true(all[i].role == FLIGHT_ENDED || (all[i].role == FLIGHT_WAIT && all[i].is_ended));
        assert_int_equal(all[i].result.answer, SC_LOADED);
        assert_ptr_equal(all[i].result.value, result.value);
        bytes_unref(all[i].result.value);
    }
    bytes_unref(result.value);
    flights_fini(&f);
}

static void who_waits_has_a_deadline(void **state)
{
    (void)state;
    struct flights f;
    struct asking a = {0};
    struct flight *lead = NULL, *wait = NULL;
    flights_init(&f);
    ask(&a, &f, "k", clock_ns());
    lead = flight_try_lead(&f, &a.key, false);
    assert_non_null(lead);
    assert_null(flight_try_lead(&f, &a.key, false));
    assert_int_equal(flight_join(&f, &a.key, NULL, &wait, &a.result), FLIGHT_WAIT);
    assert_false(flight_wait(&f, wait, clock_ns() + 5 * NS_PER_MS, &a.result));
    assert_null(flight_end(&f, lead, &(struct load_result){.answer = SC_NONE}));
    flights_fini(&f);
}

static void a_loader_that_asks_for_its_own_key_is_alone(void **state)
{
    (void)state;
    struct flights f;
    struct asking a = {0};
    struct flight *flight = NULL, *none = NULL;
    flights_init(&f);
    ask(&a, &f, "k", clock_ns());
    assert_int_equal(flight_join(&f, &a.key, NULL, &flight, &a.result), FLIGHT_LEAD);
    assert_int_equal(flight_join(&f, &a.key, NULL, &none, &a.result), FLIGHT_ALONE);
    assert_null(none);
    flight_end(&f, flight, &(struct load_result){.answer = SC_NONE});
    flights_fini(&f);
}

static void a_load_of_before_an_invalidation_is_not_shared(void **state)
{
    (void)state;
    struct flights f;
    struct asking before = {0}, after = {0};
    struct flight *old = NULL, *new = NULL;
    flights_init(&f);
    ask(&before, &f, "k", clock_ns());
    assert_int_equal(flight_join(&f, &before.key, NULL, &old, &before.result), FLIGHT_LEAD);
    atomic_fetch_add(&fences.slots[5], 1);
    ask(&after, &f, "k", clock_ns());
    assert_int_equal(flight_join(&f, &after.key, NULL, &new, &after.result), FLIGHT_LEAD);
    assert_ptr_not_equal(old, new);
    struct load_result result = loaded();
    flight_end(&f, old, &result);
    flight_end(&f, new, &(struct load_result){.answer = SC_NONE});
    assert_int_equal(flight_join(&f, &after.key, NULL, &new, &after.result), FLIGHT_ENDED);
    assert_int_equal(after.result.answer, SC_NONE);
    bytes_unref(result.value);
    flights_fini(&f);
}

static void who_looks_after_its_end_loads_anew(void **state)
{
    (void)state;
    struct flights f;
    struct asking a = {0};
    struct flight *flight = NULL;
    flights_init(&f);
    ask(&a, &f, "k", clock_ns());
    flight_join(&f, &a.key, NULL, &flight, &a.result);
    flight_end(&f, flight, &(struct load_result){.answer = SC_NONE});
    ask(&a, &f, "k", clock_ns() + 1);
    assert_int_equal(flight_join(&f, &a.key, NULL, &flight, &a.result), FLIGHT_LEAD);
    struct asking other = {0};
    struct flight *flight_of_other = NULL;
    ask(&other, &f, "j", clock_ns()); /* another key of the same hash */
    assert_int_equal(flight_join(&f, &other.key, NULL, &flight_of_other, &other.result),
                     FLIGHT_LEAD);
    flight_end(&f, flight, &(struct load_result){.answer = SC_NONE});
    flight_end(&f, flight_of_other, &(struct load_result){.answer = SC_NONE});
    flights_fini(&f);
}

static void what_has_ended_is_bounded(void **state)
{
    (void)state;
    struct flights f;
    flights_init(&f);
    for (int i = 0; i < 1000; i++) {
        char key = (char)('0' + i % 50);
        struct asking a = {0};
        struct flight *flight = NULL;
        ask(&a, &f, &key, clock_ns() + 1);
        a.key.hash = (uint64_t)i;
        assert_int_equal(flight_join(&f, &a.key, NULL, &flight, &a.result), FLIGHT_LEAD);
        flight_end(&f, flight, &(struct load_result){.answer = SC_NONE});
        assert_true(f.ended_count <= FLIGHTS_ENDED_MAX + 1);
    }
    flights_fini(&f);
}

static void asynchronous_calls_wait_in_a_list(void **state)
{
    (void)state;
    struct flights f;
    struct asking a = {0};
    struct flight *flight = NULL, *none = NULL;
    flights_init(&f);
    ask(&a, &f, "k", clock_ns());
    struct job *jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = job_new(JOB_READ, NULL, "k", 1);
        jobs[i]->deadline_ns = 100 * (i + 1);
    }
    assert_int_equal(flight_join(&f, &a.key, jobs[0], &flight, &a.result), FLIGHT_LEAD);
    assert_int_equal(flight_join(&f, &a.key, jobs[1], &none, &a.result), FLIGHT_WAIT);
    assert_int_equal(flight_join(&f, &a.key, jobs[2], &none, &a.result), FLIGHT_WAIT);
    assert_null(flights_take_late(&f, 199));
    assert_ptr_equal(flights_take_late(&f, 200), jobs[1]);
    assert_null(jobs[1]->next);
    assert_int_equal(f.waiting_count, 1);
    assert_ptr_equal(flight_end(&f, flight, &(struct load_result){.answer = SC_NONE}), jobs[2]);
    assert_int_equal(f.waiting_count, 0);
    for (int i = 0; i < 3; i++) {
        job_unref(jobs[i]);
    }
    flights_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_loads_and_all_get_it),
        cmocka_unit_test(who_waits_has_a_deadline),
        cmocka_unit_test(a_loader_that_asks_for_its_own_key_is_alone),
        cmocka_unit_test(a_load_of_before_an_invalidation_is_not_shared),
        cmocka_unit_test(who_looks_after_its_end_loads_anew),
        cmocka_unit_test(what_has_ended_is_bounded),
        cmocka_unit_test(asynchronous_calls_wait_in_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
