/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that go out and come back, one story each: nobody is ever given an old value, and what was
 * under way when a node broke is dealt with (docs/decisions/0007). Times are quicker than in
 * earnest.
 *
 * Long: one story after another, over one set of helpers.
 */
#include "cluster/control_metrics.h"
#include "ring/key_hash.h"
#include "story.h"

#include "base/nsec.h"

static void begin(struct story *t, const struct sim_options *o)
{
    story_begin(t, o);
    for (int i = 0; i < 100 && !control_is_calm(t->s->proxies[0].control); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(control_is_calm(t->s->proxies[0].control));
    /* One that is lost soon after it was ready is not connected again at once. */
    story_run(t, o->proxy.backoff_min);
}

static uint64_t count_of(const struct story *t, const char *name)
{
    for (unsigned m = 0; m < CONTROL_METRIC_COUNT; m++) {
        const char *at = (const char *)control_metrics(t->s->proxies[0].control);
        if (strcmp(CONTROL_METRIC_INFO[m].name, name) == 0)
            return metric_get(
                (const atomic_uint_least64_t *)(const void *)(at + CONTROL_METRIC_INFO[m].offset));
    }
    fail_msg("no metric %s", name);
    return 0;
}

static const struct view *newest(const struct story *t)
{
    return checker_newest_view(&t->s->checker, 0)->view;
}

static uint8_t state_of(const struct story *t, unsigned node)
{
    const struct view *v = newest(t);
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (v->nodes[i].addr.ip[3] == node + 1)
            return v->nodes[i].state;
    }
    return VIEW_LEAVING;
}

static unsigned owner_of(const struct story *t, const char *key)
{
    const struct check_view *cv = checker_newest_view(&t->s->checker, 0);
    return (unsigned)cv->node_of[maglev_lookup(cv->view->ring, key_hash(str_of(key), true))];
}

static void wait_for(struct story *t, unsigned node, enum view_state state)
{
    for (int i = 0; i < 20000 && state_of(t, node) != state; i++)
        story_run(t, NSEC_MS / 2);
    assert_int_equal(state_of(t, node), state);
}

/* All are in the ring, slots are open, and what was left behind is cleared away. */
static void wait_for_rest(struct story *t)
{
    for (int i = 0; i < 2000; i++) {
        story_run(t, 10 * NSEC_MS);
        if (control_is_calm(t->s->proxies[0].control) && count_of(t, "slots_away") == 0 &&
            count_of(t, "journal_keys") == 0)
            return;
    }
    fail_msg("it does not come to rest");
}

static void freeze(struct story *t, unsigned node, uint64_t ns)
{
    io_sim_freeze(t->s->world, io_sim_host_number(t->s->nodes[node]->io),
                  io_sim_now(t->s->world) + ns);
}

static void thaw(struct story *t, unsigned node)
{
    io_sim_freeze(t->s->world, io_sim_host_number(t->s->nodes[node]->io), 0);
}

/* Requests that wait in vain, so that it is found to hang. */
static void eject_hung(struct story *t, unsigned node, const char *key)
{
    unsigned c = story_connect(t);
    for (int i = 0; i < 3; i++)
        story_print(t, c, "GET %s\r\n", key);
    wait_for(t, node, VIEW_OUT);
    story_leave(t, c);
}

static void cut_off(struct story *t, unsigned node, uint64_t ns)
{
    redis_model_crash(t->s->nodes[node], io_sim_now(t->s->world) + ns, false, 0);
    wait_for(t, node, VIEW_OUT);
}

static void restart(struct story *t, unsigned node, uint64_t ns)
{
    redis_model_crash(t->s->nodes[node], io_sim_now(t->s->world) + ns, true, 0);
    wait_for(t, node, VIEW_OUT);
}

/* Until its slots have an owner and are open again. */
static void wait_for_move(struct story *t)
{
    for (int i = 0; i < 1000 && count_of(t, "slots_fenced") > 0; i++)
        story_run(t, NSEC_MS);
    assert_int_equal(count_of(t, "slots_fenced"), 0);
}

/* ---- requests under way ---- */

static void reset_connections(struct story *t, unsigned node)
{
    int handles[16];
    unsigned n =
        io_sim_connections(t->s->world, io_sim_host_number(t->s->nodes[node]->io), handles, 16);
    for (unsigned i = 0; i < n; i++)
        io_sim_reset(t->s->world, handles[i]);
}

static void test_a_client_may_leave_while_its_read_waits_to_be_sent_again(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, b, key, 1);
    freeze(&t, 0, 30 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", key);
    story_print(&t, b, "GET %s\r\n", key);
    story_run(&t, 5 * NSEC_MS);
    reset_connections(&t, 0);
    story_run(&t, 5 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_retried"), 2);
    story_leave(&t, a);
    char text[32], reply[64];
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(story_nth_value(key, 1, text)), text);
    story_hear(&t, b, reply, 60 * NSEC_MS);
    story_end(&t);
}

static void test_a_read_that_is_sent_again_keeps_its_deadline(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.eject_after = NSEC_S; /* it stays */
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    freeze(&t, 0, 160 * NSEC_MS);
    uint64_t asked_at = io_sim_now(t.s->world);
    story_print(&t, a, "GET %s\r\n", key);
    story_run(&t, 60 * NSEC_MS);
    reset_connections(&t, 0);
    story_hear(&t, a, "$-1\r\n", 60 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_retried"), 1);
    assert_in_range(io_sim_now(t.s->world) - asked_at, 99 * NSEC_MS, 102 * NSEC_MS);
    story_end(&t);
}

/* A write of the same client behind it must not be seen by the read before it. */
static void test_a_read_that_is_sent_again_keeps_its_clients_order(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    freeze(&t, 0, 30 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", key);
    story_run(&t, 5 * NSEC_MS);
    reset_connections(&t, 0);
    story_run(&t, 2 * NSEC_MS);
    story_say_set(&t, a, key, 2);
    char text[32], reply[64];
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n+OK\r\n", strlen(story_nth_value(key, 1, text)),
             text);
    story_hear(&t, a, reply, 60 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_retried"), 1);
    story_read(&t, a, key, 2);
    story_end(&t);
}

/* ---- never stale ---- */

static void test_a_node_that_thaws_does_not_execute_what_was_given_up(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.proxy.stall_timeout = 100 * NSEC_MS; /* its upstream is given up too */
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    freeze(&t, 0, 60 * NSEC_S);
    story_say_set(&t, a, key, 2); /* lies in its socket's buffer */
    eject_hung(&t, 0, key);
    story_hear(&t, a, "-ERR sumcache: node 10.0.0.1:7000 timed out\r\n", NSEC_MS);
    wait_for_move(&t);
    assert_int_not_equal(owner_of(&t, key), 0);
    story_store(&t, b, key, 3);
    story_read(&t, a, key, 3);
    thaw(&t, 0);
    for (int i = 0; i < 2000 && state_of(&t, 0) != VIEW_UP; i++) {
        story_run(&t, NSEC_MS);
        story_print(&t, b, "GET %s\r\n", key);
        story_run(&t, NSEC_MS);
        char old1[32], old2[32];
        *bytes_room(&t.got[b], 1) = '\0';
        const char *heard = (const char *)bytes_at(&t.got[b]);
        assert_null(strstr(heard, story_nth_value(key, 1, old1)));
        assert_null(strstr(heard, story_nth_value(key, 2, old2)));
        t.got[b].head = t.got[b].len = 0;
    }
    wait_for_rest(&t);
    assert_int_equal(owner_of(&t, key), 0);
    story_miss(&t, b, key);
    for (unsigned n = 0; n < 3; n++)
        assert_false(story_node_holds(&t, n, key));
    story_end(&t);
}

static void test_a_write_while_its_node_was_out_is_not_undone_by_its_return(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *set_key = story_key(&t, 0, 0), *deleted = story_key(&t, 0, 1),
               *untouched = story_key(&t, 0, 2);
    story_store(&t, a, set_key, 1);
    story_store(&t, a, deleted, 1);
    story_store(&t, a, untouched, 1);
    cut_off(&t, 0, 300 * NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, set_key, 2);
    story_print(&t, a, "DEL %s\r\n", deleted);
    story_hear(&t, a, ":0\r\n", 5 * NSEC_MS);
    story_miss(&t, a, untouched);
    wait_for_rest(&t);
    story_miss(&t, a, set_key);
    story_miss(&t, a, deleted);
    story_read(&t, a, untouched, 1); /* what nobody wrote is still there */
    for (unsigned n = 1; n < 3; n++) /* nothing is left behind for the next time */
        assert_false(story_node_holds(&t, n, set_key));
    story_end(&t);
}

/* Another process has nothing old. */
static void test_a_node_that_comes_back_empty_is_not_flushed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    restart(&t, 0, 200 * NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, key, 2);
    wait_for(&t, 0, VIEW_UP);
    assert_int_equal(count_of(&t, "flushes"), 0);
    wait_for_rest(&t);
    story_miss(&t, a, key);
    story_end(&t);
}

/* It is, but for what another proxy may have written there before it came back to this one. */
static void test_a_node_that_comes_back_empty_is_flushed_if_not_all_is_known(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.journal_max = 0;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    restart(&t, 0, 200 * NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, key, 2);
    wait_for(&t, 0, VIEW_UP);
    assert_int_equal(count_of(&t, "journal_overflows"), 1);
    assert_int_equal(count_of(&t, "flushes"), 1);
    wait_for_rest(&t);
    story_miss(&t, a, key);
    story_end(&t);
}

/* A worker went on by the old view, when the node was up again already; and when that is taken
 * back, the slot is at home. */
static void
test_a_stand_in_that_was_written_to_before_it_came_back_leaves_nothing_behind(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.proxy.backoff_min = o.proxy.backoff_max = NSEC_MS;
    o.adopt_max = NSEC_S;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    cut_off(&t, 0, 600 * NSEC_S);
    story_run(&t, 3 * NSEC_S);
    wait_for_move(&t);
    unsigned stands_in = owner_of(&t, key);
    for (int i = 0; i < 20; i++) {
        restart(&t, stands_in, 2 * NSEC_MS);
        story_run(&t, 20 * NSEC_MS);
        story_say_set(&t, a, key, 1);
        story_run(&t, 5 * NSEC_MS);
        if (story_node_holds(&t, stands_in, key) && state_of(&t, stands_in) != VIEW_UP)
            break; /* how long the worker takes to adopt a view is drawn */
        wait_for(&t, stands_in, VIEW_UP);
        story_run(&t, 100 * NSEC_MS);
        wait_for_move(&t);
    }
    assert_true(story_node_holds(&t, stands_in, key));
    assert_int_not_equal(state_of(&t, stands_in), VIEW_UP);
    proxy_cut_off(&t.s->proxies[0], stands_in, IO_SIM_ROAD_REFUSING,
                  io_sim_now(t.s->world) + 60 * NSEC_S);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world), false, 0);
    wait_for(&t, 0, VIEW_UP);
    wait_for_move(&t);
    proxy_cut_off(&t.s->proxies[0], stands_in, IO_SIM_ROAD_OPEN, 0);
    wait_for(&t, stands_in, VIEW_UP);
    wait_for_rest(&t);
    story_run(&t, NSEC_S);
    assert_false(story_node_holds(&t, stands_in, key));
    story_end(&t);
}

/* Whatever the journal knows, and whoever wrote what: a FLUSHALL holds for nodes that are out. */
static void test_a_node_that_was_out_when_all_was_flushed_comes_back_empty(void **state)
{
    (void)state;
    for (unsigned return_ = ON_RETURN_REPLAY; return_ <= ON_RETURN_KEEP; return_++) {
        struct story t;
        struct sim_options o = story_control_options();
        o.control.on_return = (enum on_return)return_;
        o.workers = 2;
        begin(&t, &o);
        unsigned a = story_connect(&t);
        const char *key = story_key(&t, 0, 0), *other = story_key(&t, 1, 0);
        story_store(&t, a, key, 1);
        story_store(&t, a, other, 1);
        freeze(&t, 0, NSEC_S);
        eject_hung(&t, 0, key);
        story_ask(&t, a, "FLUSHALL\r\n", "+OK\r\n");
        assert_true(story_node_holds(&t, 0, key));
        assert_false(story_node_holds(&t, 1, other));
        story_miss(&t, a, other);
        thaw(&t, 0);
        wait_for(&t, 0, VIEW_UP);
        assert_false(story_node_holds(&t, 0, key));
        wait_for_rest(&t);
        story_miss(&t, a, key);
        assert_int_equal(count_of(&t, "flushes"), 1);
        story_end(&t);
    }
}

/* It is told to try again, rather than that all is gone, if the workers do not come to one view. */
/* Whatever else it may keep: also if it was no member for a while. */
static void test_a_node_that_was_out_when_all_was_flushed_and_left_comes_back_empty(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.on_return = ON_RETURN_KEEP;
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect(&t);
    story_store(&t, a, key, 1);
    cut_off(&t, 0, 3 * NSEC_S);
    story_print(&t, a, "FLUSHALL\r\n");
    story_hear(&t, a, "+OK\r\n", 100 * NSEC_MS);
    t.s->node_present[0] = false;
    sim_post_view(t.s);
    story_run(&t, NSEC_S);
    assert_int_equal(newest(&t)->node_count, 2);
    t.s->node_present[0] = true;
    sim_post_view(t.s);
    wait_for(&t, 0, VIEW_UP);
    story_miss(&t, a, key);
    assert_false(story_node_holds(&t, 0, key));
    story_end(&t);
}

static void test_a_flush_waits_for_all_workers(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.workers = 2;
    o.proxy.fanout_timeout = 20 * NSEC_MS;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    unsigned other =
        worker_debt(t.s->proxies[0].workers[0]).clients == 0 ? 0 : 1; /* than its client's */
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->proxies[0].worker_ios[other]),
                  io_sim_now(t.s->world) + 60 * NSEC_MS);
    cut_off(&t, 2, 300 * NSEC_MS); /* a new view, which only one worker adopts */
    story_print(&t, a, "FLUSHALL\r\n");
    story_run(&t, 10 * NSEC_MS);
    assert_true(story_node_holds(&t, 0, key));
    story_hear(&t, a, "-ERR sumcache: the nodes are changing; try again\r\n", 30 * NSEC_MS);
    assert_true(story_node_holds(&t, 0, key));
    story_run(&t, 60 * NSEC_MS);
    story_ask(&t, a, "FLUSHALL\r\n", "+OK\r\n");
    story_miss(&t, a, key);
    wait_for_rest(&t);
    story_end(&t);
}

/* Both orders of the return, and of the way out. */
static void two_nodes(unsigned first_back, unsigned second_back)
{
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *keys[2] = {story_key(&t, 0, 0), story_key(&t, 1, 0)};
    story_store(&t, a, keys[0], 1);
    story_store(&t, a, keys[1], 1);
    unsigned n = 2;
    cut_off(&t, 0, 60 * NSEC_S);
    wait_for_move(&t);
    story_store(&t, a, keys[0], n);
    story_store(&t, a, keys[1], n++);
    cut_off(&t, 1, 60 * NSEC_S);
    wait_for_move(&t);
    story_store(&t, a, keys[0], n);
    story_store(&t, a, keys[1], n++);
    const unsigned back[2] = {first_back, second_back};
    for (int i = 0; i < 2; i++) {
        redis_model_crash(t.s->nodes[back[i]], io_sim_now(t.s->world), false, 0);
        wait_for(&t, back[i], VIEW_UP);
        wait_for_move(&t);
        story_run(&t, 10 * NSEC_MS);
        for (int k = 0; k < 2; k++) {
            if (owner_of(&t, keys[k]) == 2)
                story_read(&t, a, keys[k], n - 1);
            else
                story_miss(&t, a, keys[k]);
        }
    }
    wait_for_rest(&t);
    for (int k = 0; k < 2; k++) {
        story_miss(&t, a, keys[k]);
        for (unsigned i = 0; i < 3; i++)
            assert_false(story_node_holds(&t, i, keys[k]));
    }
    story_end(&t);
}

static void test_two_nodes_come_back_in_either_order(void **state)
{
    (void)state;
    two_nodes(0, 1);
    two_nodes(1, 0);
}

static void bounce(struct story *t, unsigned node)
{
    cut_off(t, node, 50 * NSEC_MS);
    wait_for(t, node, VIEW_UP);
    wait_for_move(t);
    story_run(t, 10 * NSEC_MS);
}

/* It was made to forget the key, and written to since: what it holds is new, but not at home. */
static void test_who_stands_in_and_is_out_twice_leaves_nothing_behind(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.nodes = 2;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    cut_off(&t, 0, 60 * NSEC_S);
    wait_for_move(&t);
    story_store(&t, a, key, 1);
    bounce(&t, 1);
    story_miss(&t, a, key);
    story_store(&t, a, key, 2);
    bounce(&t, 1);
    story_read(&t, a, key, 2); /* nobody else had the slot meanwhile */
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world), false, 0);
    wait_for_rest(&t);
    assert_false(story_node_holds(&t, 1, key));
    story_store(&t, a, key, 3);
    cut_off(&t, 0, 300 * NSEC_MS);
    wait_for_move(&t);
    story_miss(&t, a, key);
    story_end(&t);
}

/* The node comes to this state, and the worker hears of that in so many ms. */
static void tell_late(struct story *t, unsigned node, enum view_state state, unsigned ms)
{
    uint64_t known = newest(t)->version;
    for (int i = 0; i < 100000 && state_of(t, node) != state; i++)
        story_run(t, 5 * NSEC_US);
    assert_int_equal(state_of(t, node), state);
    view_post_hold(&t->s->proxies[0].view_post, 0, known + 1,
                   io_sim_now(t->s->world) + ms * NSEC_MS);
}

/* Its connections break, it is not in a hurry to have others, and meanwhile the node is restarted:
 * so its next connection is to a new process, which is therefore not empty. */
static void test_a_worker_may_be_quick_to_a_process_that_it_takes_for_the_old_one(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.nodes = 2;
    o.adopt_max = 10 * NSEC_MS;
    o.control.interval = 10 * NSEC_MS;
    o.proxy.backoff_min = o.proxy.backoff_max = 100 * NSEC_MS;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    cut_off(&t, 0, 60 * NSEC_S);
    wait_for_move(&t);
    story_run(&t, 200 * NSEC_MS);
    reset_connections(&t, 1);
    story_run(&t, 5 * NSEC_MS);
    reset_connections(&t, 1);
    story_run(&t, 40 * NSEC_MS); /* the node is looked at, and is well */
    redis_model_crash(t.s->nodes[1], io_sim_now(t.s->world) + NSEC_MS, true, 0);
    tell_late(&t, 1, VIEW_OUT, 300);
    story_run(&t, 200 * NSEC_MS);
    story_store(&t, a, key, 1);
    assert_true(story_node_holds(&t, 1, key));
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world), false, 0);
    wait_for(&t, 1, VIEW_UP);
    wait_for_rest(&t);
    assert_false(story_node_holds(&t, 1, key));
    story_store(&t, a, key, 2);
    cut_off(&t, 0, 300 * NSEC_MS);
    wait_for_move(&t);
    story_miss(&t, a, key);
    story_end(&t);
}

static void test_a_node_removed_and_added_again_holds_nothing_old(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 2, 0);
    story_store(&t, a, key, 1);
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    story_run(&t, 15 * NSEC_MS); /* its grace */
    story_read(&t, a, key, 1);
    story_run(&t, NSEC_S);
    assert_int_equal(newest(&t)->node_count, 2);
    story_store(&t, a, key, 2);
    story_read(&t, a, key, 2);
    t.s->node_present[2] = true;
    sim_post_view(t.s);
    wait_for(&t, 2, VIEW_UP);
    wait_for_rest(&t);
    assert_int_equal(owner_of(&t, key), 2);
    story_miss(&t, a, key);
    story_end(&t);
}

/* Its slots come to it long after the others were swept for its coming. */
static void test_a_node_that_is_added_and_not_there_yet_leaves_nothing_old_at_others(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 2, 0);
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    story_run(&t, NSEC_S);
    wait_for_rest(&t);
    unsigned stands_in = owner_of(&t, key);
    assert_int_not_equal(stands_in, 2);
    story_store(&t, a, key, 1);
    redis_model_crash(t.s->nodes[2], io_sim_now(t.s->world) + 2 * NSEC_S, true, 0);
    t.s->node_present[2] = true;
    sim_post_view(t.s);
    story_run(&t, NSEC_S);
    assert_int_equal(state_of(&t, 2), VIEW_OUT);
    story_read(&t, a, key, 1);
    wait_for(&t, 2, VIEW_UP);
    wait_for_rest(&t);
    assert_int_equal(owner_of(&t, key), 2);
    assert_false(story_node_holds(&t, stands_in, key));
    story_store(&t, a, key, 2);
    story_run(&t, NSEC_S);
    cut_off(&t, 2, NSEC_S);
    wait_for_move(&t);
    assert_int_equal(owner_of(&t, key), stands_in);
    story_miss(&t, a, key);
    story_end(&t);
}

/* It was swept while the slots were its own: what it was given by then is still there. */
static void test_who_stands_in_when_the_journal_overflows_keeps_nothing_old(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.journal_max = 0;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    cut_off(&t, 0, 2 * NSEC_S);
    wait_for_move(&t);
    unsigned stands_in = owner_of(&t, key);
    story_store(&t, a, key, 1);
    uint64_t sweeps = count_of(&t, "sweeps");
    story_run(&t, NSEC_S);
    assert_in_range(count_of(&t, "sweeps"), sweeps + 1, UINT64_MAX);
    story_read(&t, a, key, 1);
    wait_for(&t, 0, VIEW_UP);
    wait_for_rest(&t);
    story_run(&t, NSEC_S);
    assert_false(story_node_holds(&t, stands_in, key));
    story_store(&t, a, key, 2);
    cut_off(&t, 0, NSEC_S);
    wait_for_move(&t);
    assert_int_equal(owner_of(&t, key), stands_in);
    story_miss(&t, a, key);
    story_end(&t);
}

/* health.max_ejected bounds those that are silent; of this one nobody has asked anything. */
/* Their road is what flaps. Who waits for it to calm down has no cache. */
static void test_nodes_that_all_flap_are_not_held_out(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.hold_min = 200 * NSEC_MS;
    o.control.hold_max = 60 * NSEC_S;
    o.control.max_ejected = 50;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    for (int i = 0; i < 8; i++) {
        uint64_t back_at = io_sim_now(t.s->world) + 50 * NSEC_MS;
        for (unsigned n = 0; n < 3; n++)
            redis_model_crash(t.s->nodes[n], back_at, false, 0);
        wait_for(&t, 0, VIEW_OUT);
        while (io_sim_now(t.s->world) < back_at + 300 * NSEC_MS)
            story_run(&t, NSEC_MS);
        /* So many that max_ejected lets no more be missing; these are damped. */
        unsigned up = 0;
        for (unsigned n = 0; n < 3; n++)
            up += state_of(&t, n) == VIEW_UP;
        assert_in_range(up, 2, 3);
        story_ask(&t, a, "PING\r\n", "+PONG\r\n");
    }
    assert_in_range(count_of(&t, "node_ejections"), 16, UINT64_MAX);
    story_end(&t);
}

static void test_a_node_without_an_address_takes_nobodys_place(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.max_ejected = 25; /* one of four */
    o.victims = 15;
    begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    struct member members[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        members[i].addr = sources_node_addr(i);
        members[i].weight = 1;
        snprintf(members[i].name, sizeof(members[i].name), "10.0.0.%u:7000", i + 1);
    }
    members[3].addr.family = ADDR_NONE;
    assert_int_equal(control_set_members(t.s->proxies[0].control, members, 4), 0);
    story_run(&t, NSEC_S);
    assert_int_equal(state_of(&t, 3), VIEW_OUT);
    freeze(&t, 0, 600 * NSEC_MS);
    eject_hung(&t, 0, key);
    assert_int_equal(count_of(&t, "node_ejections_refused"), 0);
    sim_post_view(t.s);
    wait_for_rest(&t);
    story_end(&t);
}

static void count_overflow_lines(void *owner, const char *line, size_t len)
{
    unsigned *count = owner;
    *count += memmem(line, len, "journal-overflow", 16) != NULL;
}

static void test_a_journal_that_overflows_again_and_again_says_so_now_and_then(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.journal_max = 0;
    begin(&t, &o);
    unsigned lines = 0;
    t.s->log.sink = count_overflow_lines;
    t.s->log.owner = &lines;
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    cut_off(&t, 0, 100 * NSEC_S);
    wait_for_move(&t);
    for (unsigned i = 1; i <= 95; i++) {
        story_store(&t, a, key, i);
        story_run(&t, NSEC_S);
    }
    assert_int_equal(count_of(&t, "journal_overflows"), 95);
    assert_int_equal(lines, 2);
    wait_for_rest(&t);
    t.s->log.sink = NULL;
    t.s->log.level = LOG_ERROR + 1;
    story_end(&t);
}

/* Whatever is written to a slot before it is at home leaves the journal when it is. */
static void test_the_journal_forgets_keys_that_are_where_they_belong(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 2, 0);
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    for (int i = 0; i < 1000 && owner_of(&t, key) == 2; i++)
        story_run(&t, NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, key, 1); /* this is not its home yet */
    assert_int_equal(count_of(&t, "journal_keys"), 1);
    wait_for_rest(&t);
    assert_int_equal(count_of(&t, "journal_keys"), 0);
    story_read(&t, a, key, 1);
    story_end(&t);
}

/* What is on its connections of now is not read there before. */
static void clog_connections(struct story *t, unsigned node, uint64_t until)
{
    struct redis_model *m = t->s->nodes[node];
    for (uint32_t i = 0; i < m->connection_count; i++)
        if (m->connections[i].handle >= 0)
            io_sim_clog(t->s->world, m->connections[i].handle, until);
}

static void test_a_node_removed_and_added_again_executes_nothing_old(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.proxy.stall_timeout = 100 * NSEC_MS; /* its upstream is given up too */
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 2, 0);
    story_store(&t, a, key, 1);
    uint64_t until = io_sim_now(t.s->world) + 5 * NSEC_S;
    clog_connections(&t, 2, until);
    freeze(&t, 2, 60 * NSEC_S);
    story_say_set(&t, a, key, 2); /* is on its way until then */
    eject_hung(&t, 2, key);
    t.s->node_present[2] = false;
    sim_post_view(t.s);
    story_hear(&t, a, "-ERR sumcache: node 10.0.0.3:7000 timed out\r\n", 100 * NSEC_MS);
    story_run(&t, NSEC_S);
    assert_int_equal(newest(&t)->node_count, 2);
    story_store(&t, b, key, 3);
    thaw(&t, 2);
    t.s->node_present[2] = true;
    sim_post_view(t.s);
    wait_for(&t, 2, VIEW_UP);
    wait_for_rest(&t);
    assert_int_equal(owner_of(&t, key), 2);
    story_store(&t, b, key, 4);
    assert_true(io_sim_now(t.s->world) < until);
    story_run(&t, 5 * NSEC_S);
    story_read(&t, b, key, 4);
    story_end(&t);
}

static void weigh(struct story *t, unsigned node, uint32_t weight)
{
    t->s->node_weight[node] = weight;
    sim_post_view(t->s);
    story_run(t, 10 * NSEC_MS);
    wait_for_move(t);
}

/* A key that goes to node 0 when that weighs more. → whose it is now */
static unsigned find_moving(struct story *t, char key[8])
{
    unsigned before[CHECK_KEYS_MAX], from = 0;
    for (unsigned i = 0; i < CHECK_KEYS_MAX; i++) {
        snprintf(key, 8, "s%u", i);
        before[i] = owner_of(t, key);
    }
    weigh(t, 0, 3);
    for (unsigned i = 0; i < CHECK_KEYS_MAX; i++) {
        snprintf(key, 8, "s%u", i);
        from = before[i];
        if (from != 0 && owner_of(t, key) == 0)
            break;
    }
    weigh(t, 0, 1);
    wait_for_rest(t);
    assert_int_equal(owner_of(t, key), from);
    return from;
}

/* All are well, and slots move all the same: one node gets more weight, and less again. */
static void test_a_slot_that_moves_between_well_nodes_is_clean_on_both_ways(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    char key[8] = "";
    unsigned from = find_moving(&t, key);

    unsigned a = story_connect(&t);
    story_store(&t, a, key, 1);
    weigh(&t, 0, 3);
    story_miss(&t, a, key);
    story_store(&t, a, key, 2);
    story_read(&t, a, key, 2);
    weigh(&t, 0, 1); /* before anything was swept: the old one still has what it had */
    story_miss(&t, a, key);
    story_store(&t, a, key, 3);
    wait_for_rest(&t);
    assert_false(story_node_holds(&t, 0, key));
    weigh(&t, 0, 3);
    story_miss(&t, a, key);
    wait_for_rest(&t); /* … and now it has been swept */
    assert_false(story_node_holds(&t, from, key));
    story_end(&t);
}

/* Its client takes its time; others have written the key meanwhile, where it belongs. */
static void test_a_body_that_ends_after_its_slot_has_moved_is_not_stored(void **state)
{
    (void)state;
    enum { MB = 1024 * 1024 };
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    char key[8] = "";
    unsigned from = find_moving(&t, key);
    unsigned a = story_connect(&t), b = story_connect(&t);
    struct bytes body = story_set_bytes(key, MB);
    story_say_bytes(&t, a, bytes_at(&body), MB / 2);
    weigh(&t, 0, 3);
    story_store(&t, b, key, 1);
    wait_for_rest(&t);
    story_say_bytes(&t, a, bytes_at(&body) + MB / 2, body.len - MB / 2);
    story_say(&t, a, "PING\r\n"); /* the connection goes on */
    story_hear(&t, a,
               "-ERR sumcache: the key is moving to another node\r\n"
               "+PONG\r\n",
               20 * NSEC_MS);
    story_read(&t, b, key, 1);
    assert_false(story_node_holds(&t, from, key));
    bytes_free(&body);
    story_end(&t);
}

/* It was sent before its slot moved on, and is done after its node was swept for that. */
static void test_a_write_that_comes_behind_a_sweep_is_swept_too(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.journal_max = 0;
    o.proxy.request_timeout = 300 * NSEC_MS;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    uint64_t back_at = io_sim_now(t.s->world) + NSEC_S;
    cut_off(&t, 0, NSEC_S);
    wait_for_move(&t);
    unsigned stands_in = owner_of(&t, key);
    story_store(&t, a, key, 1);
    while (io_sim_now(t.s->world) < back_at)
        story_run(&t, NSEC_MS);
    io_sim_clog_to(t.s->world, io_sim_host_number(t.s->proxies[0].worker_ios[0]),
                   &t.s->nodes[stands_in]->addr, back_at + 200 * NSEC_MS);
    story_say_set(&t, a, key, 2);
    uint64_t sweeps = count_of(&t, "sweeps");
    wait_for(&t, 0, VIEW_UP);
    wait_for_move(&t);
    assert_int_equal(owner_of(&t, key), 0);
    assert_in_range(count_of(&t, "sweeps"), sweeps + 1, UINT64_MAX);
    story_hear(&t, a, "+OK\r\n", 200 * NSEC_MS);
    assert_true(story_node_holds(&t, stands_in, key));
    wait_for_rest(&t);
    story_run(&t, NSEC_S);
    assert_false(story_node_holds(&t, stands_in, key));
    story_end(&t);
}

static void test_a_journal_that_overflows_has_the_node_flushed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.control.journal_max = 0;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *untouched = story_key(&t, 0, 1);
    story_store(&t, a, key, 1);
    story_store(&t, a, untouched, 1);
    cut_off(&t, 0, 300 * NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, key, 2);
    wait_for(&t, 0, VIEW_UP);
    wait_for_rest(&t);
    assert_true(count_of(&t, "journal_overflows") > 0);
    assert_int_equal(count_of(&t, "flushes"), 1);
    story_miss(&t, a, key);
    story_miss(&t, a, untouched);
    assert_false(story_node_holds(&t, 0, untouched));
    story_end(&t);
}

static void test_a_node_whose_cleaning_fails_stays_out(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_store(&t, a, key, 1);
    cut_off(&t, 0, 100 * NSEC_MS);
    wait_for_move(&t);
    story_store(&t, a, key, 2);
    uint64_t replays = count_of(&t, "replays");
    while (count_of(&t, "replays") == replays)
        story_run(&t, 50 * NSEC_US);
    freeze(&t, 0, 400 * NSEC_MS); /* before the UNLINK has come to it */
    assert_true(story_node_holds(&t, 0, key));
    for (int i = 0; i < 39; i++) {
        story_run(&t, 10 * NSEC_MS);
        assert_int_not_equal(state_of(&t, 0), VIEW_UP);
        assert_int_not_equal(owner_of(&t, key), 0);
        story_read(&t, a, key, 2);
    }
    wait_for_rest(&t);
    assert_true(count_of(&t, "replays") > replays + 1);
    story_miss(&t, a, key);
    assert_false(story_node_holds(&t, 0, key));
    story_end(&t);
}

/* One that timed out may yet be executed, at any time: a newer one by another way would be lost. */
static void test_a_newer_write_waits_until_an_older_one_is_settled(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_control_options();
    o.workers = 2;
    o.control.eject_after = 10 * NSEC_S; /* it stays in the ring */
    o.control.timeout = NSEC_S;
    o.proxy.stall_timeout = 10 * NSEC_S;
    begin(&t, &o);
    unsigned clients[4];
    const char *key = story_key(&t, 0, 0);
    for (int i = 0; i < 4; i++)
        clients[i] = story_connect(&t);
    for (int i = 0; i < 4; i++)
        story_store(&t, clients[i], key, 1);
    freeze(&t, 0, 180 * NSEC_MS);
    story_say_set(&t, clients[0], key, 2);
    story_hear(&t, clients[0], "-ERR sumcache: node 10.0.0.1:7000 timed out\r\n", 102 * NSEC_MS);
    for (unsigned i = 1; i < 4; i++)
        story_say_set(&t, clients[i], key, 2 + i);
    story_run(&t, 200 * NSEC_MS);
    uint64_t refused = story_metric(&t, "requests_unsettled");
    assert_in_range(refused, 1, 3); /* those of the other worker */
    for (unsigned i = 1; i < 4; i++)
        t.got[clients[i]].head = t.got[clients[i]].len = 0;
    story_store(&t, clients[1], key, 6);
    for (int i = 0; i < 4; i++)
        story_read(&t, clients[i], key, 6);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_may_leave_while_its_read_waits_to_be_sent_again),
        cmocka_unit_test(test_a_read_that_is_sent_again_keeps_its_deadline),
        cmocka_unit_test(test_a_read_that_is_sent_again_keeps_its_clients_order),
        cmocka_unit_test(test_a_node_that_thaws_does_not_execute_what_was_given_up),
        cmocka_unit_test(test_a_write_while_its_node_was_out_is_not_undone_by_its_return),
        cmocka_unit_test(test_a_node_that_comes_back_empty_is_not_flushed),
        cmocka_unit_test(test_a_node_that_comes_back_empty_is_flushed_if_not_all_is_known),
        cmocka_unit_test(
            test_a_stand_in_that_was_written_to_before_it_came_back_leaves_nothing_behind),
        cmocka_unit_test(test_a_node_that_was_out_when_all_was_flushed_comes_back_empty),
        cmocka_unit_test(test_a_node_that_was_out_when_all_was_flushed_and_left_comes_back_empty),
        cmocka_unit_test(test_a_flush_waits_for_all_workers),
        cmocka_unit_test(test_two_nodes_come_back_in_either_order),
        cmocka_unit_test(test_who_stands_in_and_is_out_twice_leaves_nothing_behind),
        cmocka_unit_test(test_a_worker_may_be_quick_to_a_process_that_it_takes_for_the_old_one),
        cmocka_unit_test(test_a_node_removed_and_added_again_holds_nothing_old),
        cmocka_unit_test(test_a_node_removed_and_added_again_executes_nothing_old),
        cmocka_unit_test(test_a_node_that_is_added_and_not_there_yet_leaves_nothing_old_at_others),
        cmocka_unit_test(test_who_stands_in_when_the_journal_overflows_keeps_nothing_old),
        cmocka_unit_test(test_a_journal_that_overflows_again_and_again_says_so_now_and_then),
        cmocka_unit_test(test_nodes_that_all_flap_are_not_held_out),
        cmocka_unit_test(test_a_node_without_an_address_takes_nobodys_place),
        cmocka_unit_test(test_the_journal_forgets_keys_that_are_where_they_belong),
        cmocka_unit_test(test_a_slot_that_moves_between_well_nodes_is_clean_on_both_ways),
        cmocka_unit_test(test_a_body_that_ends_after_its_slot_has_moved_is_not_stored),
        cmocka_unit_test(test_a_write_that_comes_behind_a_sweep_is_swept_too),
        cmocka_unit_test(test_a_journal_that_overflows_has_the_node_flushed),
        cmocka_unit_test(test_a_node_whose_cleaning_fails_stays_out),
        cmocka_unit_test(test_a_newer_write_waits_until_an_older_one_is_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
