/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two proxies over the same nodes, which know nothing of each other: what docs/operations.md says
 * of them, one story each. Times are quicker than in earnest.
 */
#include "cluster/control_metrics.h"
#include "ring/key_hash.h"
#include "story.h"

#include "base/nsec.h"

static struct sim_options options(void)
{
    struct sim_options o = story_control_options();
    o.proxies = 2;
    o.control.grace = control_settings_default().grace;
    return o;
}

static bool all_rest(const struct story *t)
{
    return agreement_all_rest(&t->s->agreement);
}

static void begin(struct story *t, const struct sim_options *o)
{
    story_begin(t, o);
    for (int i = 0; i < 100 && !all_rest(t); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(all_rest(t));
    /* One that is lost soon after it was ready is not connected again at once. */
    story_run(t, o->proxy.backoff_min);
}

static uint64_t count_of(const struct story *t, unsigned proxy, size_t offset)
{
    return proxy_control_metric(&t->s->proxies[proxy], offset);
}

#define COUNT_OF(t, proxy, name) count_of(t, proxy, offsetof(struct control_metrics, name))

static uint8_t state_of(const struct story *t, unsigned proxy, unsigned node)
{
    const struct sim_proxy *p = &t->s->proxies[proxy];
    const struct view *v = checker_newest_view(&t->s->checker, p->process)->view;
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (v->nodes[i].addr.ip[3] == node + 1)
            return v->nodes[i].state;
    }
    return VIEW_LEAVING;
}

static void wait_for(struct story *t, unsigned proxy, unsigned node, enum view_state state,
                     uint64_t most)
{
    uint64_t end = io_sim_now(t->s->world) + most;
    while (io_sim_now(t->s->world) < end && state_of(t, proxy, node) != state)
        story_run(t, NSEC_MS);
    assert_int_equal(state_of(t, proxy, node), state);
}

/* Until the slots of a node that went out are open at others. */
static void wait_for_move(struct story *t, unsigned proxy)
{
    for (int i = 0; i < 1000 && COUNT_OF(t, proxy, slots_fenced) > 0; i++)
        story_run(t, NSEC_MS);
    assert_int_equal(COUNT_OF(t, proxy, slots_fenced), 0);
}

static void be_gone(struct story *t, unsigned node, uint64_t ns, bool lose_memory)
{
    redis_model_crash(t->s->nodes[node], io_sim_now(t->s->world) + ns, lose_memory, 0);
    for (unsigned i = 0; i < t->s->options.proxies; i++) {
        wait_for(t, i, node, VIEW_OUT, NSEC_S);
        wait_for_move(t, i);
    }
}

static void wait_for_agreement(struct story *t)
{
    for (int i = 0; i < 1000 && t->s->checker.stale.agreed_since == 0; i++)
        story_run(t, 10 * NSEC_MS);
    assert_int_not_equal(t->s->checker.stale.agreed_since, 0);
}

/* Gone for so long, and back with its memory. */
static void cut_off(struct story *t, unsigned node, uint64_t ns)
{
    be_gone(t, node, ns, false);
}

/* … and back as another process. */
static void restart(struct story *t, unsigned node, uint64_t ns)
{
    be_gone(t, node, ns, true);
}

/* Has anybody locked it, to flush it? */
static bool is_locked(const struct story *t, unsigned node)
{
    const struct redis_model *m = t->s->nodes[node];
    for (unsigned i = 0; i < REDIS_NOTES_MAX; i++) {
        const struct redis_note *note = &m->notes[i];
        if (strcmp(note->name, "sumcache:flush") == 0 && io_sim_now(t->s->world) < note->expires_at)
            return true;
    }
    return false;
}

/* ---- flushing ---- */

static void test_one_flush_does_for_all(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.control.on_return = ON_RETURN_FLUSH;
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    story_store(&t, a, key, 1);
    story_read(&t, b, key, 1);
    cut_off(&t, 0, 200 * NSEC_MS);
    for (unsigned i = 0; i < 2; i++)
        wait_for(&t, i, 0, VIEW_UP, NSEC_S);
    assert_int_equal(t.s->nodes[0]->flushes, 1);
    assert_int_equal(COUNT_OF(&t, 0, flushes) + COUNT_OF(&t, 1, flushes), 1);
    assert_int_equal(COUNT_OF(&t, 0, flushes_spared) + COUNT_OF(&t, 1, flushes_spared), 1);
    story_miss(&t, a, key);
    story_miss(&t, b, key);
    story_end(&t);
}

/* Else the next who wants it would have to wait until it expires, for ten seconds. */
static void test_whose_flush_was_spared_gives_the_lock_back(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.control.on_return = ON_RETURN_FLUSH;
    begin(&t, &o);
    for (int round = 0; round < 3; round++) {
        cut_off(&t, 0, 50 * NSEC_MS);
        for (unsigned i = 0; i < 2; i++)
            wait_for(&t, i, 0, VIEW_UP, NSEC_S);
        story_run(&t, 5 * NSEC_MS);
        assert_false(is_locked(&t, 0));
    }
    assert_int_equal(t.s->nodes[0]->flushes, 3);
    story_end(&t);
}

static void test_who_has_to_wait_to_flush_gives_the_lock_back(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.control.on_return = ON_RETURN_FLUSH;
    o.control.flush_interval = NSEC_S;
    begin(&t, &o);
    for (int round = 0; round < 2; round++) {
        cut_off(&t, 0, 50 * NSEC_MS);
        for (unsigned i = 0; i < 2; i++)
            wait_for(&t, i, 0, VIEW_UP, 2 * NSEC_S);
    }
    assert_int_equal(t.s->nodes[0]->flushes, 2);
    story_end(&t);
}

/* What has been done at the node since then may be older than what was forgotten. */
static void test_a_flush_before_an_overflow_is_not_enough(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.control.journal_max = 150; /* two keys */
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    const char *others[] = {story_key(&t, 0, 1), story_key(&t, 0, 2), story_key(&t, 0, 3)};
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    cut_off(&t, 0, 100 * NSEC_MS);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_REFUSING, io_sim_now(t.s->world) + NSEC_S);
    for (unsigned i = 0; i < 3; i++) /* the other one's journal overflows, so it flushes */
        story_store(&t, b, others[i], 1);
    wait_for(&t, 1, 0, VIEW_UP, NSEC_S);
    assert_int_equal(t.s->nodes[0]->flushes, 1);
    wait_for_move(&t, 1);
    story_store(&t, b, key, 1);
    story_store(&t, a, key, 2); /* at a stand-in */
    assert_int_equal(COUNT_OF(&t, 0, journal_overflows), 0);
    for (unsigned i = 0; i < 3; i++)
        story_store(&t, a, others[i], 2);
    story_run(&t, 50 * NSEC_MS);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_OPEN, 0);
    wait_for(&t, 0, 0, VIEW_UP, NSEC_S);
    wait_for_move(&t, 0);
    assert_int_not_equal(COUNT_OF(&t, 0, journal_overflows), 0);
    assert_int_equal(t.s->nodes[0]->flushes, 2);
    story_miss(&t, a, key);
    story_miss(&t, b, key);
    story_end(&t);
}

/* The one has the node back, the other is about to: it has removed what it wrote meanwhile, and
 * then writes once more at a stand-in, after the one has written at the node. */
static void test_a_write_at_a_stand_in_is_newer_than_anothers_at_its_home(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    cut_off(&t, 0, 100 * NSEC_MS);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_REFUSING, io_sim_now(t.s->world) + NSEC_S);
    story_store(&t, a, key, 1);
    wait_for(&t, 1, 0, VIEW_UP, NSEC_S);
    wait_for_move(&t, 1);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_OPEN, 0);
    for (int i = 0; i < 100000 && COUNT_OF(&t, 0, replayed_keys) == 0; i++)
        story_run(&t, 10 * NSEC_US);
    assert_int_equal(COUNT_OF(&t, 0, replayed_keys), 1);
    assert_int_not_equal(state_of(&t, 0, 0), VIEW_UP);
    unsigned control = io_sim_host_number(t.s->proxies[0].control_io);
    io_sim_freeze(t.s->world, control, io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_run(&t, 5 * NSEC_MS);
    story_store(&t, b, key, 2);
    story_store(&t, a, key, 3);
    wait_for(&t, 0, 0, VIEW_UP, NSEC_S);
    wait_for_move(&t, 0);
    story_miss(&t, a, key);
    story_miss(&t, b, key);
    story_end(&t);
}

/* The one has a new process back and writes there, the other still has a stand-in, and no longer
 * knows what it wrote: a process that is new to it may hold what is older than that. */
static void test_a_node_that_came_back_empty_to_another_may_hold_what_is_old(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.control.journal_max = 0;
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    restart(&t, 0, 50 * NSEC_MS);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_REFUSING, io_sim_now(t.s->world) + NSEC_S);
    wait_for(&t, 1, 0, VIEW_UP, NSEC_S);
    wait_for_move(&t, 1);
    story_store(&t, b, key, 1);
    story_store(&t, a, key, 2); /* at a stand-in */
    story_run(&t, 50 * NSEC_MS);
    assert_int_not_equal(COUNT_OF(&t, 0, journal_overflows), 0);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_OPEN, 0);
    wait_for(&t, 0, 0, VIEW_UP, NSEC_S);
    wait_for_agreement(&t);
    story_miss(&t, a, key);
    story_miss(&t, b, key);
    story_end(&t);
}

/* What is not promised, and what is again when they agree. */
static void test_two_that_disagree_read_what_was_and_agree_again(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    story_store(&t, b, key, 1);
    story_read(&t, a, key, 1);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_BLACK_HOLE, io_sim_now(t.s->world) + NSEC_S);
    for (int i = 0; i < 3; i++) /* in vain */
        story_print(&t, a, "GET %s\r\n", key);
    wait_for(&t, 0, 0, VIEW_OUT, NSEC_S);
    wait_for_move(&t, 0);
    story_run(&t, 5 * NSEC_MS);
    t.got[a].head = t.got[a].len = 0;
    story_store(&t, a, key, 2);
    story_read(&t, b, key, 1); /* older than what was acknowledged to the other */
    story_store(&t, b, key, 3);
    story_read(&t, a, key, 2);
    proxy_cut_off(&t.s->proxies[0], 0, IO_SIM_ROAD_OPEN, 0);
    wait_for(&t, 0, 0, VIEW_UP, 5 * NSEC_S);
    wait_for_agreement(&t);
    story_miss(&t, a, key);
    story_miss(&t, b, key);
    story_store(&t, a, key, 4);
    story_read(&t, b, key, 4);
    story_end(&t);
}

/* It takes the node as it is: what the one before knew of it is gone. */
static void test_a_proxy_that_is_killed_is_another_when_it_is_back(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_proxy(&t, 0), b = story_connect_proxy(&t, 1);
    story_store(&t, a, key, 1);
    cut_off(&t, 0, 500 * NSEC_MS);
    story_store(&t, a, key, 2);
    proxy_kill(&t.s->proxies[0], NSEC_NEVER);
    story_run(&t, NSEC_S);
    assert_true(t.closed[a]);
    wait_for(&t, 1, 0, VIEW_UP, NSEC_S);
    story_read(&t, b, key, 1); /* nobody who lives knows better */
    proxy_revive(&t.s->proxies[0]);
    for (int i = 0; i < 1000 && !all_rest(&t); i++)
        story_run(&t, 10 * NSEC_MS);
    assert_true(all_rest(&t));
    a = story_connect_proxy(&t, 0);
    story_read(&t, a, key, 1);
    story_store(&t, a, key, 3);
    story_read(&t, b, key, 3);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_flush_does_for_all),
        cmocka_unit_test(test_whose_flush_was_spared_gives_the_lock_back),
        cmocka_unit_test(test_who_has_to_wait_to_flush_gives_the_lock_back),
        cmocka_unit_test(test_a_write_at_a_stand_in_is_newer_than_anothers_at_its_home),
        cmocka_unit_test(test_a_node_that_came_back_empty_to_another_may_hold_what_is_old),
        cmocka_unit_test(test_two_that_disagree_read_what_was_and_agree_again),
        cmocka_unit_test(test_a_proxy_that_is_killed_is_another_when_it_is_back),
        cmocka_unit_test(test_a_flush_before_an_overflow_is_not_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
