/* SPDX-License-Identifier: Apache-2.0 */
/* When probes are sent, while the breaker is open. The I/O thread here is nobody's: its clock is
 * what the test says. */
#include "client/c/src/probes.h"

#include "client/c/src/clock.h"
#include "client/c/src/lane.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum { PROBE_MS = 100 };

static struct io *make_io(struct world *w)
{
    struct io *io = calloc(1, sizeof(*io));
    assert_non_null(io);
    world_open(w, NULL, NULL);
    io->cache = w->cache;
    io->probe_ms = PROBE_MS;
    static const char name[] = {'n', 'a', 'm', 'e'};
    memcpy(io->probe_name, name, sizeof(name));
    io->probe_len = 4;
    pthread_mutex_init(&io->lock, NULL);
    for (int i = 0; i < LANES; i++) {
        lane_init(&io->lanes[i]);
    }
    return io;
}

static void end_io(struct io *io, struct world *w)
{
    for (int i = 0; i < LANES; i++) {
        lane_fini(&io->lanes[i]);
    }
    pthread_mutex_destroy(&io->lock);
    free(io);
    world_close(w);
}

static void open_breaker(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        (void)breaker_note(&w->cache->breaker, true);
    }
    assert_false(breaker_is_closed(&w->cache->breaker));
}

static void only_while_it_is_open_and_one_at_a_time(void **state)
{
    (void)state;
    struct world w;
    struct io *io = make_io(&w);
    struct lane *lane = &io->lanes[LANE_PROBES];
    probes_start(io, 1);
    assert_null(lane->waiting.first);
    open_breaker(&w);
    io->probe_at_ns = 1000;
    probes_start(io, 999);
    assert_null(lane->waiting.first);
    probes_start(io, 1000);
    struct job *j = lane->waiting.first;
    assert_non_null(j);
    assert_memory_equal(j->key, "name", 4);
    assert_int_equal(io->probe_at_ns, 1000 + (int64_t)PROBE_MS * NS_PER_MS);
    probes_start(io, io->probe_at_ns + 1); /* it is still under way */
    assert_null(j->next);
    end_io(io, &w);
}

static void they_get_rarer_with_jitter(void **state)
{
    (void)state;
    struct world w;
    struct io *io = make_io(&w);
    int64_t least = INT64_MAX, most = 0;
    open_breaker(&w);
    for (int i = 0; i < 300; i++) {
        int ms = i == 0 ? PROBE_MS : i == 1 ? 2 * PROBE_MS : 4 * PROBE_MS;
        int64_t now = clock_ns();
        probes_note(io, true);
        int64_t wait = io->probe_at_ns - now;
        assert_true(wait >= (int64_t)ms * 75 * NS_PER_MS / 100);
        assert_true(wait < (int64_t)ms * 125 * NS_PER_MS / 100 + (clock_ns() - now));
        if (i >= 2) {
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
    }
    assert_true(most - least > 30LL * 4 * PROBE_MS * NS_PER_MS / 100);
    end_io(io, &w);
}

static void an_answer_brings_the_next_one_soon(void **state)
{
    (void)state;
    struct world w;
    struct io *io = make_io(&w);
    open_breaker(&w);
    probes_note(io, true);
    probes_note(io, true);
    int64_t now = clock_ns();
    probes_note(io, false);
    assert_int_equal(w.cache->breaker.state, BREAKER_HALF_OPEN);
    assert_int_equal(io->probe_ms, PROBE_MS);
    assert_true(io->probe_at_ns - now >= 20LL * NS_PER_MS);
    assert_true(io->probe_at_ns - clock_ns() <= 20LL * NS_PER_MS);
    probes_note(io, false);
    assert_true(breaker_is_closed(&w.cache->breaker));
    end_io(io, &w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_while_it_is_open_and_one_at_a_time),
        cmocka_unit_test(they_get_rarer_with_jitter),
        cmocka_unit_test(an_answer_brings_the_next_one_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
