/* SPDX-License-Identifier: Apache-2.0 */
/* CLIENT LIST, KILL, PAUSE and REPLY, when workers are late and clients do not wait for the answer.
 */
#include "story.h"

#include "base/nsec.h"

#define LATE "-ERR sumcache: a worker did not answer in time\r\n"

static void begin(struct story *t, struct sim_options *o)
{
    *o = story_options();
    o->workers = 2;
    story_begin(t, o);
}

/* A client of that worker. */
static unsigned connect_to(struct story *t, unsigned worker)
{
    for (;;) {
        uint64_t before = metric_get(&worker_metrics(t->s->proxies[0].workers[worker])->clients);
        unsigned c = story_connect(t);
        story_ask(t, c, "PING\r\n", "+PONG\r\n");
        if (metric_get(&worker_metrics(t->s->proxies[0].workers[worker])->clients) > before)
            return c;
    }
}

static void test_a_worker_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o;
    begin(&t, &o);
    unsigned a = connect_to(&t, 0);
    io_sim_freeze(t.s->world, 1, io_sim_now(t.s->world) + 3 * o.proxy.request_timeout);
    story_say(&t, a, "CLIENT KILL ID 4000\r\nPING\r\n");
    story_hear(&t, a, LATE "+PONG\r\n", o.proxy.request_timeout + 5 * NSEC_MS);
    /* Its answer comes late, and is nobody's. */
    story_run(&t, 3 * o.proxy.request_timeout);
    story_ask(&t, a, "CLIENT KILL ID 4000\r\nPING\r\n", ":0\r\n+PONG\r\n");
    assert_int_equal(story_metric(&t, "requests_timed_out"), 1);
    story_end(&t);
}

static void test_who_asks_may_leave_before_the_answer(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o;
    begin(&t, &o);
    unsigned a = connect_to(&t, 0), b = connect_to(&t, 0);
    io_sim_freeze(t.s->world, 1, io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_say(&t, a, "CLIENT LIST\r\nCLIENT KILL ID 4000\r\n");
    story_run(&t, 5 * NSEC_MS);
    io_sim_reset(t.s->world, t.handles[a]);
    story_leave(&t, a);
    story_run(&t, 5 * NSEC_MS);
    assert_int_equal(worker_debt(t.s->proxies[0].workers[0]).requests, 0);
    story_run(&t, 100 * NSEC_MS);
    story_ask(&t, b, "CLIENT KILL ID 4000\r\n", ":0\r\n");
    story_end(&t);
}

static void test_who_is_killed_has_requests_under_way(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o;
    begin(&t, &o);
    unsigned a = connect_to(&t, 0), b = connect_to(&t, 1);
    char value[32];
    const char *key = story_key(&t, 0, 0);
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_print(&t, b, "SET %s %s\r\nGET %s\r\nCLIENT LIST\r\n", key, story_value(key, value), key);
    story_run(&t, 5 * NSEC_MS);
    story_ask(&t, a, "CLIENT KILL TYPE normal\r\n", t.count > 2 ? ":2\r\n" : ":1\r\n");
    story_run(&t, NSEC_MS);
    assert_true(t.closed[b]);
    story_run(&t, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "late_replies"), 2);
    story_end(&t);
}

static void test_a_pause_holds_clients_of_all_workers(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o;
    begin(&t, &o);
    unsigned a = connect_to(&t, 0), b = connect_to(&t, 1);
    char value[32], expected[128];
    const char *key = story_key(&t, 0, 0);
    story_value(key, value);
    story_ask(&t, a, "CLIENT PAUSE 200 WRITE\r\n", "+OK\r\n");
    story_print(&t, b, "PING\r\nSET %s %s\r\nGET %s\r\n", key, value, key);
    story_print(&t, a, "SET %s %s\r\nPING\r\n", key, value);
    story_hear(&t, b, "+PONG\r\n", 5 * NSEC_MS);
    story_run(&t, 150 * NSEC_MS);
    snprintf(expected, sizeof(expected), "+OK\r\n$%zu\r\n%s\r\n", strlen(value), value);
    story_hear(&t, b, expected, 60 * NSEC_MS);
    story_hear(&t, a, "+OK\r\n+PONG\r\n", 5 * NSEC_MS);
    /* Who leaves meanwhile is no trouble, nor is who says that it has said all. */
    story_ask(&t, a, "CLIENT PAUSE 100\r\n", "+OK\r\n");
    story_print(&t, b, "SET %s %s\r\n", key, value);
    story_run(&t, 5 * NSEC_MS);
    io_sim_reset(t.s->world, t.handles[b]);
    story_leave(&t, b);
    story_say(&t, a, "PING\r\n");
    story_hear(&t, a, "+PONG\r\n", 110 * NSEC_MS);
    story_end(&t);
}

static void test_muted_requests_fail_and_end_in_silence(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o;
    begin(&t, &o);
    unsigned a = connect_to(&t, 0);
    const char *keys[2] = {story_key(&t, 0, 0), story_key(&t, 1, 0)};
    char value[32];
    story_value(keys[0], value);
    story_set(&t, a, keys[1], 300000);
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + 150 * NSEC_MS);
    story_print(&t, a, "CLIENT REPLY OFF\r\nGET %s\r\nGET %s\r\nMGET %s %s\r\nSET %s %s\r\n",
                keys[0], keys[1], keys[0], keys[1], keys[0], value);
    story_say(&t, a, "CLIENT REPLY ON\r\nPING\r\n");
    story_hear(&t, a, "+OK\r\n+PONG\r\n", 110 * NSEC_MS);
    story_run(&t, 200 * NSEC_MS);
    struct worker_debt d = worker_debt(t.s->proxies[0].workers[0]);
    assert_int_equal(d.requests, 0);
    assert_int_equal(d.parts, 0);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_that_hangs_holds_nobody_up),
        cmocka_unit_test(test_who_asks_may_leave_before_the_answer),
        cmocka_unit_test(test_who_is_killed_has_requests_under_way),
        cmocka_unit_test(test_a_pause_holds_clients_of_all_workers),
        cmocka_unit_test(test_muted_requests_fail_and_end_in_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
