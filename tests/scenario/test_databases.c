/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several databases, one story each: in none of them does anything old come up. A key's database is
 * its number modulo how many there are (sim/options.h), and a node that gets one in another fails.
 */
#include "base/nsec.h"
#include "cluster/control_internal.h"
#include "ring/key_hash.h"
#include "story.h"

#include <stdlib.h>

enum { DATABASES = 4 };

static struct sim_options options(void)
{
    struct sim_options o = story_control_options();
    o.proxy.databases = o.control.databases = DATABASES;
    return o;
}

static bool is_calm(const struct story *t)
{
    return control_is_calm(t->s->proxies[0].control);
}

static void begin(struct story *t, const struct sim_options *o)
{
    story_begin(t, o);
    for (int i = 0; i < 100 && !is_calm(t); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(is_calm(t));
    story_run(t, o->proxy.backoff_min);
}

/* Until a change has begun, and then until all has come to rest. */
static void wait_for_change(struct story *t)
{
    for (int i = 0; i < 20000 && is_calm(t); i++)
        story_run(t, NSEC_MS / 2);
    assert_false(is_calm(t));
}

static void wait_for_rest(struct story *t)
{
    for (int i = 0; i < 2000 && !is_calm(t); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(is_calm(t));
    story_run(t, NSEC_S); /* what is cleared away then */
}

struct name {
    char text[8];
};

/* The nth key of a database that is this node's in the present view. */
static struct name key_of(struct story *t, unsigned database, unsigned node, unsigned nth)
{
    const struct check_view *v = checker_newest_view(&t->s->checker, 0);
    struct name key = {""};
    for (unsigned i = database; i < CHECK_KEYS_MAX; i += DATABASES) {
        snprintf(key.text, sizeof(key.text), "s%u", i);
        uint64_t hash = key_hash(str_of(key.text), true);
        if (v->node_of[maglev_lookup(v->view->ring, hash)] == (int)node && nth-- == 0)
            return key;
    }
    fail_msg("no key of database %u for node %u", database, node);
    return key;
}

static bool holds(const struct story *t, unsigned node, struct name key)
{
    return story_node_holds(t, node, key.text);
}

static unsigned client_in(struct story *t, unsigned database)
{
    unsigned client = story_connect(t);
    story_print(t, client, "SELECT %u\r\n", database);
    story_hear(t, client, "+OK\r\n", 5 * NSEC_MS);
    return client;
}

static void set(struct story *t, unsigned client, struct name key, unsigned n)
{
    story_store(t, client, key.text, n);
}

static void get(struct story *t, unsigned client, struct name key, unsigned n)
{
    story_read(t, client, key.text, n);
}

static void miss(struct story *t, unsigned client, struct name key)
{
    story_miss(t, client, key.text);
}

static void test_a_write_in_a_database_while_its_node_was_out_is_not_undone(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    unsigned first = client_in(&t, 0), third = client_in(&t, 3);
    struct name here = key_of(&t, 0, 0, 0), written = key_of(&t, 3, 0, 0),
                untouched = key_of(&t, 3, 0, 1);
    set(&t, first, here, 1);
    set(&t, third, written, 1);
    set(&t, third, untouched, 1);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 300 * NSEC_MS, false, 0);
    wait_for_change(&t);
    story_run(&t, 100 * NSEC_MS);
    set(&t, third, written, 2);
    get(&t, third, written, 2);
    wait_for_rest(&t);
    miss(&t, third, written);
    get(&t, third, untouched, 1); /* what nobody wrote is still there */
    get(&t, first, here, 1);
    for (unsigned n = 1; n < 3; n++)
        assert_false(holds(&t, n, written));
    story_end(&t);
}

static void test_a_sweep_goes_through_all_databases(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    struct name key[DATABASES];
    unsigned client[DATABASES];
    for (unsigned i = 0; i < DATABASES; i++) {
        key[i] = key_of(&t, i, 2, 0);
        client[i] = client_in(&t, i);
    }
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    story_run(&t, NSEC_S);
    wait_for_rest(&t);
    for (unsigned i = 0; i < DATABASES; i++) {
        set(&t, client[i], key[i], 1);
        assert_true(holds(&t, 0, key[i]) || holds(&t, 1, key[i]));
    }
    t.s->node_present[2] = true;
    sim_post_view(t.s);
    story_run(&t, NSEC_S);
    wait_for_rest(&t);
    for (unsigned i = 0; i < DATABASES; i++) {
        assert_false(holds(&t, 0, key[i]) || holds(&t, 1, key[i]));
        set(&t, client[i], key[i], 2);
        assert_true(holds(&t, 2, key[i]));
    }
    story_end(&t);
}

/* It takes a step for each database, and rests between them. */
static void test_a_node_that_dies_while_it_is_swept_is_swept_again(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    const struct control *c = t.s->proxies[0].control;
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    for (int i = 0; i < 20000 && c->nodes[0]->sweep_database == 0; i++)
        story_run(&t, NSEC_MS / 2);
    assert_true(c->nodes[0]->sweeping && c->nodes[0]->sweep_database > 0);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 100 * NSEC_MS, false, 0);
    wait_for_change(&t);
    wait_for_rest(&t);
    story_run(&t, 5 * NSEC_S);
    assert_false(c->nodes[0]->to_sweep);
    assert_false(c->mover.home_is_old);
    story_end(&t);
}

/* Between two of these steps nothing is asked of the node that could fail. */
static void test_a_sweep_goes_on_though_its_connection_was_lost_between_two_steps(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    begin(&t, &o);
    const struct control *c = t.s->proxies[0].control;
    struct control_node *n = c->nodes[0];
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    for (int i = 0; i < 20000 && !(n->sweep_database > 0 && list_empty(&n->sweep_call.link)); i++)
        story_run(&t, NSEC_MS / 10);
    assert_true(n->sweeping && n->sweep_database > 0 && timer_is_set(&n->wait));
    io_sim_reset(t.s->world, n->probe.conn.handle);
    unsigned host = io_sim_host_number(t.s->nodes[0]->io);
    io_sim_freeze(t.s->world, host, io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_run(&t, 5 * NSEC_S);
    assert_int_equal(n->ejections, 0);
    assert_false(n->to_sweep);
    assert_false(c->mover.home_is_old);
    story_end(&t);
}

static void test_an_upstream_of_a_database_is_closed_when_nobody_uses_it(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    o.proxy.database_idle_timeout = 500 * NSEC_MS;
    begin(&t, &o);
    unsigned second = client_in(&t, 2);
    struct name key = key_of(&t, 2, 1, 0);
    assert_int_equal(story_metric(&t, "upstreams_databases"), 0); /* SELECT alone needs none */
    set(&t, second, key, 1);
    assert_int_equal(story_metric(&t, "upstreams_databases"), 1);
    for (int i = 0; i < 5; i++) { /* as long as it is used it stays */
        story_run(&t, 300 * NSEC_MS);
        get(&t, second, key, 1);
    }
    assert_int_equal(story_metric(&t, "upstreams_idle_closed"), 0);
    story_run(&t, 600 * NSEC_MS);
    assert_int_equal(story_metric(&t, "upstreams_databases"), 0);
    assert_int_equal(story_metric(&t, "upstreams_idle_closed"), 1);
    get(&t, second, key, 1);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_write_in_a_database_while_its_node_was_out_is_not_undone),
        cmocka_unit_test(test_a_sweep_goes_through_all_databases),
        cmocka_unit_test(test_a_node_that_dies_while_it_is_swept_is_swept_again),
        cmocka_unit_test(test_a_sweep_goes_on_though_its_connection_was_lost_between_two_steps),
        cmocka_unit_test(test_an_upstream_of_a_database_is_closed_when_nobody_uses_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
