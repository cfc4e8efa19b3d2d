/* SPDX-License-Identifier: Apache-2.0 */
/* What clients see when nodes fail: the promises of the README, one story each. */
#include "story.h"

#include "base/nsec.h"

static void set_keys(struct story *t, unsigned client)
{
    for (unsigned node = 0; node < 3; node++) {
        const char *key = story_key(t, node, 0);
        char value[32];
        story_print(t, client, "SET %s %s\r\n", key, story_value(key, value));
        story_hear(t, client, "+OK\r\n", 5 * NSEC_MS);
    }
}

static void hear_value(struct story *t, unsigned client, const char *key)
{
    char value[32], reply[64];
    story_value(key, value);
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(value), value);
    story_hear(t, client, reply, 5 * NSEC_MS);
}

static unsigned host_of(const struct story *t, unsigned node)
{
    return io_sim_host_number(t->s->nodes[node]->io);
}

static void test_a_hung_node_costs_its_own_requests_a_deadline(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    set_keys(&t, a);
    uint64_t opened = story_metric(&t, "upstreams_opened");
    uint64_t now = io_sim_now(t.s->world);
    io_sim_freeze(t.s->world, host_of(&t, 0), now + 150 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", story_key(&t, 0, 0));
    /* The others are served as ever meanwhile. */
    for (int i = 0; i < 10; i++) {
        story_print(&t, b, "GET %s\r\n", story_key(&t, 1, 0));
        hear_value(&t, b, story_key(&t, 1, 0));
    }
    story_hear(&t, a, "", 0);
    story_hear(&t, a, "$-1\r\n", 101 * NSEC_MS);
    assert_in_range(io_sim_now(t.s->world) - now, 99 * NSEC_MS, 102 * NSEC_MS);
    /* It thaws, its late reply is dropped in its place, and the connection lives on. */
    story_run(&t, 60 * NSEC_MS);
    assert_int_equal(story_metric(&t, "late_replies"), 1);
    story_print(&t, a, "GET %s\r\n", story_key(&t, 0, 0));
    hear_value(&t, a, story_key(&t, 0, 0));
    assert_int_equal(story_metric(&t, "upstreams_opened"), opened);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 1);
    story_end(&t);
}

static void test_a_dead_node_is_answered_for_at_once(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    redis_model_crash(t.s->nodes[1], io_sim_now(t.s->world) + 2 * NSEC_S, true, 0);
    story_run(&t, 20 * NSEC_MS);
    const char *key = story_key(&t, 1, 0);
    uint64_t now = io_sim_now(t.s->world);
    story_print(&t, a, "GET %s\r\nSUMCACHE.FAILURES error\r\nGET %s\r\nPING\r\n", key, key);
    story_run(&t, 3 * NSEC_MS);
    assert_true(io_sim_now(t.s->world) - now < 5 * NSEC_MS);
    *bytes_room(&t.got[a], 1) = '\0';
    assert_non_null(strstr((const char *)bytes_at(&t.got[a]),
                           "$-1\r\n+OK\r\n-ERR sumcache: node 10.0.0.2:7000 is down\r\n"));
    t.got[a].len = 0;
    t.got[a].head = 0;
    /* Back again, empty. */
    story_run(&t, 5 * NSEC_S);
    t.got[a].len = 0;
    story_print(&t, a, "GET %s\r\n", key);
    story_hear(&t, a, "$-1\r\n", 5 * NSEC_MS);
    story_end(&t);
}

static void test_split_commands_with_a_dead_node(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    redis_model_crash(t.s->nodes[1], io_sim_now(t.s->world) + 2 * NSEC_S, false, 0);
    story_run(&t, 20 * NSEC_MS);
    const char *k[3] = {story_key(&t, 0, 0), story_key(&t, 1, 0), story_key(&t, 2, 0)};
    char v0[32], v2[32], reply[256];
    snprintf(reply, sizeof(reply), "*3\r\n$%zu\r\n%s\r\n$-1\r\n$%zu\r\n%s\r\n",
             strlen(story_value(k[0], v0)), story_value(k[0], v0), strlen(story_value(k[2], v2)),
             story_value(k[2], v2));
    story_print(&t, a, "MGET %s %s %s\r\n", k[0], k[1], k[2]);
    story_hear(&t, a, reply, 5 * NSEC_MS);
    story_print(&t, a, "EXISTS %s %s %s\r\n", k[0], k[1], k[2]);
    story_hear(&t, a, ":2\r\n", 5 * NSEC_MS);
    story_print(&t, a, "DEL %s %s %s\r\n", k[0], k[1], k[2]);
    story_hear(&t, a, "-ERR sumcache: node 10.0.0.2:7000 is down\r\n", 5 * NSEC_MS);
    story_print(&t, a, "SUMCACHE.FAILURES error\r\nMGET %s %s\r\nEXISTS %s %s\r\n", k[0], k[1],
                k[0], k[1]);
    story_hear(&t, a,
               "+OK\r\n-ERR sumcache: node 10.0.0.2:7000 is down\r\n"
               "-ERR sumcache: node 10.0.0.2:7000 is down\r\n",
               5 * NSEC_MS);
    story_end(&t);
}

static void test_bad_replies_cost_only_their_upstream(void **state)
{
    (void)state;
    static const enum redis_sabotage HOW[] = {SABOTAGE_GARBAGE, SABOTAGE_PUSH, SABOTAGE_HALF_REPLY};
    for (size_t i = 0; i < sizeof(HOW) / sizeof(HOW[0]); i++) {
        struct story t;
        struct sim_options o = story_options();
        story_begin(&t, &o);
        unsigned a = story_connect(&t);
        set_keys(&t, a);
        uint64_t opened = story_metric(&t, "upstreams_opened");
        assert_true(redis_model_sabotage(t.s->nodes[2], HOW[i]));
        story_print(&t, a, "GET %s\r\n", story_key(&t, 2, 0));
        story_hear(&t, a, "$-1\r\n", 5 * NSEC_MS);
        if (HOW[i] != SABOTAGE_HALF_REPLY)
            assert_int_equal(story_metric(&t, "upstreams_protocol_error"), 1);
        story_print(&t, a, "GET %s\r\n", story_key(&t, 1, 0));
        hear_value(&t, a, story_key(&t, 1, 0));
        story_run(&t, 300 * NSEC_MS);
        story_print(&t, a, "GET %s\r\n", story_key(&t, 2, 0));
        hear_value(&t, a, story_key(&t, 2, 0));
        assert_int_equal(story_metric(&t, "upstreams_opened"), opened + 1);
        story_end(&t);
    }
}

static void test_a_reply_nobody_asked_for(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    assert_true(redis_model_sabotage(t.s->nodes[0], SABOTAGE_STRAY));
    story_run(&t, 300 * NSEC_MS);
    assert_int_equal(story_metric(&t, "upstreams_protocol_error"), 1);
    story_print(&t, a, "GET %s\r\n", story_key(&t, 0, 0));
    hear_value(&t, a, story_key(&t, 0, 0));
    story_end(&t);
}

static void test_starts_without_nodes(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.view_at = 500 * NSEC_MS;
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    story_ask(&t, a, "PING\r\nECHO hi\r\n", "+PONG\r\n$2\r\nhi\r\n");
    story_ask(&t, a, "GET s1\r\nDEL s1\r\n", "$-1\r\n-ERR sumcache: no node is known\r\n");
    story_run(&t, 600 * NSEC_MS);
    set_keys(&t, a);
    story_end(&t);
}

static void test_a_change_of_version_waits_no_longer_than_a_request(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    uint64_t now = io_sim_now(t.s->world);
    io_sim_freeze(t.s->world, host_of(&t, 0), now + 400 * NSEC_MS);
    /* The first GET stays on the RESP2 upstream of its node. What follows the HELLO would go to
     * that of RESP3, and must not be executed before it; nor may it wait for it for ever. */
    story_print(&t, a, "GET %s\r\nHELLO 3\r\nGET %s\r\nGET %s\r\n", story_key(&t, 0, 0),
                story_key(&t, 0, 0), story_key(&t, 1, 0));
    story_run(&t, 110 * NSEC_MS);
    char value[32], end[64];
    story_value(story_key(&t, 1, 0), value);
    snprintf(end, sizeof(end), "*0\r\n_\r\n$%zu\r\n%s\r\n", strlen(value), value);
    *bytes_room(&t.got[a], 1) = '\0';
    const char *got = (const char *)bytes_at(&t.got[a]);
    assert_memory_equal(got, "$-1\r\n%7\r\n", 9);
    assert_true(t.got[a].len > strlen(end));
    assert_string_equal(got + t.got[a].len - strlen(end), end);
    t.got[a].head = t.got[a].len = 0;
    /* The node is back and has answered the first: nothing holds the client up any more. */
    story_run(&t, 400 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", story_key(&t, 0, 0));
    hear_value(&t, a, story_key(&t, 0, 0));
    story_end(&t);
}

static void test_a_reply_waits_little_for_the_rest_of_its_pipeline(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    uint64_t now = io_sim_now(t.s->world);
    io_sim_freeze(t.s->world, host_of(&t, 0), now + 90 * NSEC_MS);
    /* The second of these is answered after 90 ms. The first gathers, but not for so long. */
    story_print(&t, a, "GET %s\r\nGET %s\r\n", story_key(&t, 1, 0), story_key(&t, 0, 0));
    hear_value(&t, a, story_key(&t, 1, 0));
    assert_in_range(io_sim_now(t.s->world) - now, 0, 2 * NSEC_MS);
    story_run(&t, 90 * NSEC_MS);
    hear_value(&t, a, story_key(&t, 0, 0));
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_end(&t);
}

static void test_a_silent_node_is_given_up(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    set_keys(&t, a);
    io_sim_freeze(t.s->world, host_of(&t, 0), io_sim_now(t.s->world) + 3 * NSEC_S);
    const char *key = story_key(&t, 0, 0);
    for (int i = 0; i < 8; i++) {
        story_print(&t, a, "GET %s\r\n", key);
        story_hear(&t, a, "$-1\r\n", 101 * NSEC_MS);
    }
    assert_int_equal(story_metric(&t, "upstreams_silent"), 1);
    /* It accepts connections, as a stopped process does, and still counts as down. */
    story_run(&t, 200 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", key);
    story_hear(&t, a, "$-1\r\n", 2 * NSEC_MS);
    story_run(&t, 8 * NSEC_S);
    story_print(&t, a, "GET %s\r\n", key);
    hear_value(&t, a, key);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hung_node_costs_its_own_requests_a_deadline),
        cmocka_unit_test(test_a_dead_node_is_answered_for_at_once),
        cmocka_unit_test(test_split_commands_with_a_dead_node),
        cmocka_unit_test(test_bad_replies_cost_only_their_upstream),
        cmocka_unit_test(test_a_reply_nobody_asked_for),
        cmocka_unit_test(test_starts_without_nodes),
        cmocka_unit_test(test_a_reply_waits_little_for_the_rest_of_its_pipeline),
        cmocka_unit_test(test_a_silent_node_is_given_up),
        cmocka_unit_test(test_a_change_of_version_waits_no_longer_than_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
