/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that refreshes: with copies of all it needs, and no more of them than fit. */
#include "client/c/src/refresher.h"

#include "client/c/src/clock.h"
#include "world.h"

#include <semaphore.h>

enum { REFRESHES_MAX = 256 };

static sem_t may_load, has_loaded;

static int load(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    (void)key;
    assert_int_equal(*(const int *)arg, 7);
    assert_int_equal(key_len, 1);
    sem_wait(&may_load);
    int rc = sc_result_set(r, "new", 3);
    sem_post(&has_loaded);
    return rc;
}

static bool give(struct world *w, size_t arg_len, uint64_t hash)
{
    struct look l;
    char key[1] = {'k'};
    int arg[20000] = {7};
    (void)look_begin(w->store, key, 1, &l);
    struct flight_key k = look_flight_key(w->store, &l);
    k.hash = hash;
    struct flight *flight = flight_try_lead(&w->cache->flights, &k, true);
    assert_non_null(flight);
    struct sc_loader loader = {.load = load, .arg = arg, .arg_len = arg_len};
    bool is_taken = refresher_give(w->cache, w->store, &l, &loader, flight);
    if (!is_taken) {
        (void)flight_end(&w->cache->flights, flight, &(struct load_result){.answer = SC_FAILED});
    }
    key[0] = 'x'; /* of the caller, who has gone on */
    arg[0] = 0;
    return is_taken;
}

static void it_runs_the_loader(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    sem_init(&may_load, 0, 1);
    sem_init(&has_loaded, 0, 0);
    assert_true(give(&w, sizeof(int), 1));
    sem_wait(&has_loaded);
    assert_false(give(&w, 65537, 2)); /* too much to be copied */
    world_close(&w);
}

static void what_does_not_fit_is_not_refreshed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, NULL);
    sem_init(&may_load, 0, 0);
    sem_init(&has_loaded, 0, 0);
    int taken = 0;
    for (uint64_t i = 0; i < REFRESHES_MAX + 10; i++) {
        taken += give(&w, sizeof(int), i + 1);
    }
    assert_in_range(taken, REFRESHES_MAX, REFRESHES_MAX + 1); /* one may be running */
    for (int i = 0; i < REFRESHES_MAX + 1; i++) {
        sem_post(&may_load); /* closing waits for the one that runs, and drops the others */
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_the_loader),
        cmocka_unit_test(what_does_not_fit_is_not_refreshed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
