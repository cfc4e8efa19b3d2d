/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process takes the place of one, and is told what nodes are to forget
 * (docs/decisions/0021): nothing that the first had acknowledged is undone. Times are quicker than
 * in earnest.
 */
#include "base/nsec.h"
#include "base/text.h"
#include "cluster/control_internal.h"
#include "story.h"

#include <errno.h>

static struct control *control_of(const struct story *t)
{
    return t->s->proxies[0].control;
}

static void wait_for_rest(struct story *t)
{
    for (int i = 0; i < 2000 && !agreement_all_rest(&t->s->agreement); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(agreement_all_rest(&t->s->agreement));
}

static void begin(struct story *t, const struct sim_options *o)
{
    story_begin(t, o);
    wait_for_rest(t);
    story_run(t, o->proxy.backoff_min);
}

static void wait_for(struct story *t, unsigned node, enum node_state state)
{
    const struct control *c = control_of(t);
    for (int i = 0; i < 20000 && c->nodes[node]->state != state; i++)
        story_run(t, NSEC_MS / 2);
    assert_int_equal(c->nodes[node]->state, state);
    for (int i = 0; i < 1000 && c->mover.fenced_count > 0; i++)
        story_run(t, NSEC_MS);
    assert_int_equal(c->mover.fenced_count, 0);
}

static int leave(const struct story *t, bool forgets)
{
    struct text testament = {0};
    int err = control_write_testament(control_of(t), forgets, &testament);
    text_fini(&testament);
    return err;
}

/* → a client of the new process; those of the old one are gone. */
static unsigned upgrade(struct story *t)
{
    assert_true(proxy_upgrade(&t->s->proxies[0]));
    story_run(t, 30 * NSEC_MS);
    return story_connect(t);
}

/* The number of the node, which is another in another process. */
static unsigned number_of(const struct story *t, unsigned node)
{
    const struct control *c = control_of(t);
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && c->nodes[i]->member.addr.ip[3] == node + 1)
            return i;
    fail_msg("node %u is no member", node);
    return 0;
}

/* Node 0 misses the second value of `key`. */
static void miss_a_write(struct story *t, const char *key, uint64_t back_after)
{
    unsigned a = story_connect(t);
    story_store(t, a, key, 1);
    assert_true(story_node_holds(t, 0, key));
    redis_model_crash(t->s->nodes[0], io_sim_now(t->s->world) + back_after, false, 0);
    wait_for(t, 0, NODE_OUT);
    story_store(t, a, key, 2);
    assert_true(story_node_holds(t, 1, key) || story_node_holds(t, 2, key));
}

static void test_a_node_that_is_out_has_forgotten_what_it_missed_before_it_is_used(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0), *other = story_key(&t, 1, 0);
    miss_a_write(&t, key, 500 * NSEC_MS);
    unsigned b = story_connect(&t);
    story_store(&t, b, other, 1);
    assert_int_equal(leave(&t, false), -EBUSY);
    b = upgrade(&t);
    unsigned lame = number_of(&t, 0);
    assert_int_equal(control_of(&t)->nodes[lame]->state, NODE_OUT);
    story_ask(&t, b, "PING\r\n", "+PONG\r\n");
    wait_for(&t, lame, NODE_UP);
    story_miss(&t, b, key);
    assert_false(story_node_holds(&t, 0, key));
    assert_true(story_node_holds(&t, 1, other)); /* others keep what is theirs */
    story_end(&t);
}

/* What others have of it is gone too, before they stand in once more. */
static void test_who_stood_in_before_an_upgrade_keeps_nothing_old(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    miss_a_write(&t, key, 500 * NSEC_MS);
    unsigned b = upgrade(&t), lame = number_of(&t, 0);
    wait_for(&t, lame, NODE_UP);
    story_store(&t, b, key, 3);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 500 * NSEC_MS, false, 0);
    wait_for(&t, lame, NODE_OUT);
    story_miss(&t, b, key);
    wait_for_rest(&t);
    assert_false(story_node_holds(&t, 1, key) || story_node_holds(&t, 2, key));
    story_end(&t);
}

/* All are well again, and the first process has not yet cleared away what it knows of. */
static void test_what_was_not_cleared_away_before_an_upgrade_is_never_read(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    miss_a_write(&t, key, 100 * NSEC_MS);
    wait_for(&t, 0, NODE_UP);
    assert_true(story_node_holds(&t, 1, key) || story_node_holds(&t, 2, key));
    assert_int_equal(leave(&t, false), -EBUSY);
    unsigned b = upgrade(&t), lame = number_of(&t, 0);
    assert_int_equal(control_of(&t)->nodes[lame]->state, NODE_UP);
    story_store(&t, b, key, 3);
    assert_true(story_node_holds(&t, 0, key));
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 500 * NSEC_MS, false, 0);
    wait_for(&t, lame, NODE_OUT);
    story_miss(&t, b, key);
    story_end(&t);
}

/* It lies in the socket of a node that hangs. */
static void test_a_write_that_was_given_up_before_an_upgrade_is_not_done_after_it(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect(&t);
    unsigned host = io_sim_host_number(t.s->nodes[0]->io);
    story_store(&t, a, key, 1);
    io_sim_freeze(t.s->world, host, io_sim_now(t.s->world) + 60 * NSEC_S);
    story_say_set(&t, a, key, 2);
    for (int i = 0; i < 5; i++) {
        unsigned each = story_connect(&t);
        story_print(&t, each, "GET %s\r\n", key);
    }
    wait_for(&t, 0, NODE_OUT);
    story_run(&t, NSEC_S); /* workers have told of their connections */
    assert_false(list_empty(&control_of(&t)->nodes[0]->ghosts));
    unsigned b = upgrade(&t), lame = number_of(&t, 0);
    story_store(&t, b, key, 3);
    assert_false(list_empty(&control_of(&t)->nodes[lame]->ghosts));
    io_sim_freeze(t.s->world, host, 0);
    wait_for(&t, lame, NODE_UP);
    assert_true(list_empty(&control_of(&t)->nodes[lame]->ghosts));
    story_miss(&t, b, key);
    assert_false(story_node_holds(&t, 0, key));
    story_end(&t);
}

static void test_a_node_that_had_left_before_an_upgrade_comes_back_empty(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    const char *key = story_key(&t, 2, 0);
    unsigned a = story_connect(&t);
    story_store(&t, a, key, 1);
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    story_run(&t, 2 * NSEC_S);
    wait_for_rest(&t);
    story_store(&t, a, key, 2);
    assert_int_equal(leave(&t, false), 0); /* nobody in service holds anything old */
    unsigned b = upgrade(&t);
    t.s->node_present[2] = true;
    sim_post_view(t.s);
    story_run(&t, 100 * NSEC_MS);
    wait_for(&t, number_of(&t, 2), NODE_UP);
    wait_for_rest(&t);
    story_miss(&t, b, key);
    assert_false(story_node_holds(&t, 2, key));
    story_end(&t);
}

/* Whatever else it may keep. */
static void test_a_node_that_was_out_when_all_was_flushed_is_flushed_after_an_upgrade(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.on_return = ON_RETURN_KEEP;
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect(&t);
    story_store(&t, a, key, 1);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 500 * NSEC_MS, false, 0);
    wait_for(&t, 0, NODE_OUT);
    story_print(&t, a, "FLUSHALL\r\n");
    story_hear(&t, a, "+OK\r\n", 100 * NSEC_MS);
    unsigned b = upgrade(&t), lame = number_of(&t, 0);
    wait_for(&t, lame, NODE_UP);
    story_miss(&t, b, key);
    assert_false(story_node_holds(&t, 0, key));
    story_end(&t);
}

static void test_there_is_no_testament_while_slots_move(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.adopt_max = 50 * NSEC_MS;
    begin(&t, &o);
    story_run(&t, 50 * NSEC_MS);
    assert_int_equal(leave(&t, false), 0);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + 200 * NSEC_MS, false, 0);
    for (int i = 0; i < 20000 && control_of(&t)->nodes[0]->state != NODE_OUT; i++)
        story_run(&t, NSEC_MS / 10);
    assert_int_equal(leave(&t, false), -EAGAIN);
    assert_int_equal(leave(&t, true), -EAGAIN);
    wait_for(&t, 0, NODE_OUT);
    story_run(&t, 50 * NSEC_MS); /* all go by it */
    assert_int_equal(leave(&t, false), -EBUSY);
    assert_int_equal(leave(&t, true), 0);
    wait_for_rest(&t);
    assert_int_equal(leave(&t, false), 0);
    story_end(&t);
}

static void test_what_is_no_testament_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "",
        "sumcache-testament 2\n",
        "sumcache-testament 1\nnonsense\n",
        "sumcache-testament 1\nforgets now\n",
        "sumcache-testament 1\nghost 7\n",
        "sumcache-testament 1\nwiped\n",
        "sumcache-testament 1\nnode\n",
        "sumcache-testament 1\nnode -\n",
        "sumcache-testament 1\nnode 0123456789012345678901234567890123456789012345678 a:1\n",
        "sumcache-testament 1\nnode - a:1\nghost x\n",
    };
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    struct io *io = io_sim_host(t.s->world);
    io_sim_freeze(t.s->world, io_sim_host_number(io), NSEC_NEVER); /* nobody runs it */
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct control *c;
        struct control_ops ops = {0};
        assert_int_equal(control_new(&o.control, &ops, io, t.s->proxies[0].log, 1, &c), 0);
        assert_int_equal(control_inherit(c, str_of(BAD[i])), -EINVAL);
        control_free(c);
    }
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_that_is_out_has_forgotten_what_it_missed_before_it_is_used),
        cmocka_unit_test(test_who_stood_in_before_an_upgrade_keeps_nothing_old),
        cmocka_unit_test(test_what_was_not_cleared_away_before_an_upgrade_is_never_read),
        cmocka_unit_test(test_a_write_that_was_given_up_before_an_upgrade_is_not_done_after_it),
        cmocka_unit_test(test_a_node_that_had_left_before_an_upgrade_comes_back_empty),
        cmocka_unit_test(test_a_node_that_was_out_when_all_was_flushed_is_flushed_after_an_upgrade),
        cmocka_unit_test(test_there_is_no_testament_while_slots_move),
        cmocka_unit_test(test_what_is_no_testament_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
