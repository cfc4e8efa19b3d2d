/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may do: pipelines, versions, leaving early, reading slowly, too many of them. */
#include "story.h"

#include "base/buf.h"
#include "base/nsec.h"

static void test_pipelines_keep_their_order(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    char v[3][32];
    const char *k[3] = {story_key(&t, 0, 0), story_key(&t, 1, 0), story_key(&t, 2, 0)};
    struct bytes say = {0}, hear = {0};
    /* The first node is slow to answer; its reply still comes first. */
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + 50 * NSEC_MS);
    for (unsigned i = 0; i < 3; i++) {
        bytes_print(&say, "SET %s %s\r\n", k[i], story_value(k[i], v[i]));
        bytes_print(&hear, "+OK\r\n");
    }
    for (unsigned i = 0; i < 30; i++) {
        bytes_print(&say, "ECHO e%u\r\nMGET %s %s %s\r\n", i, k[2], k[i % 2], k[0]);
        bytes_print(&hear, "$%d\r\ne%u\r\n*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                    i < 10 ? 2 : 3, i, strlen(v[2]), v[2], strlen(v[i % 2]), v[i % 2], strlen(v[0]),
                    v[0]);
    }
    bytes_add(&hear, "", 1);
    story_say_bytes(&t, a, bytes_at(&say), say.len);
    story_hear(&t, a, (const char *)bytes_at(&hear), 60 * NSEC_MS);
    bytes_free(&say);
    bytes_free(&hear);
    story_end(&t);
}

static void test_versions_change_in_the_middle(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    story_say(&t, a,
              "GET s1\r\nHGETALL h1\r\nHELLO 3\r\nGET s1\r\nHGETALL h1\r\nHELLO 2\r\nGET s1\r\n");
    story_run(&t, 10 * NSEC_MS);
    *bytes_room(&t.got[a], 1) = '\0';
    const char *got = (const char *)bytes_at(&t.got[a]);
    const char *two = "$-1\r\n*2\r\n$1\r\nf\r\n$2\r\nh1\r\n%";
    assert_memory_equal(got, two, strlen(two));
    const char *three = strstr(got, "_\r\n%1\r\n$1\r\nf\r\n$2\r\nh1\r\n*");
    assert_non_null(three);
    assert_string_equal(got + t.got[a].len - 5, "$-1\r\n");
    story_end(&t);
}

static void test_half_closed_clients_get_what_they_are_owed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_print(&t, a, "GET %s\r\nECHO last\r\n", story_key(&t, 0, 0));
    io_sim_shutdown(t.ios[a], t.handles[a]);
    story_run(&t, 40 * NSEC_MS);
    assert_false(t.closed[a]);
    story_hear(&t, a, "$-1\r\n$4\r\nlast\r\n", 20 * NSEC_MS);
    story_run(&t, NSEC_MS);
    assert_true(t.closed[a]);
    story_end(&t);
}

static void test_leaving_early_leaves_nothing_behind(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    char value[32];
    const char *key = story_key(&t, 0, 0);
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + o.proxy.request_timeout + 50 * NSEC_MS);
    story_print(&t, a, "SET %s %s\r\nGET %s\r\n", key, story_value(key, value), key);
    story_say(&t, b, "*3\r\n$3\r\nSET\r\n$2\r\ns1\r\n$100000\r\nbeginning");
    story_run(&t, 5 * NSEC_MS);
    io_sim_reset(t.s->world, t.handles[a]); /* a plain close could be a half-close */
    story_leave(&t, a);
    story_leave(&t, b); /* its request waits for an upstream, at most as long as any may */
    story_run(&t, o.proxy.request_timeout + 5 * NSEC_MS);
    struct worker_debt d = worker_debt(t.s->proxies[0].workers[0]);
    assert_int_equal(story_metric(&t, "clients"), 1);
    assert_int_equal(d.requests, 0);
    assert_int_equal(d.upstream_queue, 2); /* their places, until the replies come */
    /* The replies that nobody wants do not become another's. */
    story_print(&t, c, "GET %s\r\n", key);
    char reply[64];
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(value), value);
    story_hear(&t, c, reply, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "late_replies"), 2);
    story_end(&t);
}

static void test_who_does_not_read_is_closed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.client_stall_timeout = 200 * NSEC_MS;
    o.weather.buffer_min = o.weather.buffer_max = 1000;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    t.deaf[a] = true;
    for (int i = 0; i < 100; i++)
        story_say(&t, a, "ECHO 0123456789012345678901234567890123456789\r\n");
    story_run(&t, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_stalled"), 0);
    story_ask(&t, b, "PING\r\n", "+PONG\r\n");
    story_run(&t, 150 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_stalled"), 1);
    assert_int_equal(story_metric(&t, "clients"), 1);
    story_end(&t);
}

static void test_who_is_owed_too_much_is_closed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.client_output_max = 20000;
    o.weather.buffer_min = o.weather.buffer_max = 1000;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const struct check_key writer = {.class = KEY_STRING, .number = 1, .tagged = true};
    char value[5000];
    struct bytes set = {0};
    bytes_print(&set, "*3\r\n$3\r\nSET\r\n$2\r\ns1\r\n$%zu\r\n",
                check_value_make(&writer, sizeof(value), value));
    bytes_add(&set, value, sizeof(value));
    bytes_print(&set, "\r\n");
    story_say_bytes(&t, a, bytes_at(&set), set.len);
    bytes_free(&set);
    story_hear(&t, a, "+OK\r\n", 20 * NSEC_MS);
    /* Three of these values are owed without harm, ten are too many. */
    t.deaf[a] = true;
    story_say(&t, a, "GET s1\r\nGET s1\r\nGET s1\r\n");
    story_run(&t, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_output_limit"), 0);
    story_say(&t, a, "GET s1\r\nGET s1\r\nGET s1\r\nGET s1\r\nGET s1\r\nGET s1\r\nGET s1\r\n");
    story_run(&t, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_output_limit"), 1);
    assert_int_equal(story_metric(&t, "clients"), 1);
    story_ask(&t, b, "PING\r\n", "+PONG\r\n");
    story_end(&t);
}

static void test_what_does_not_fit_is_told_to_that_client_alone(void **state)
{
    (void)state;
    static const char FULL[] = "-ERR sumcache: out of buffer memory (limits.memory)\r\n";
    struct story t;
    struct sim_options o = story_options();
    o.proxy.memory_max = 3 * CHUNK_BYTES;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    static char half[45000];
    static const char BEGIN[] = "*3\r\n$3\r\nSET\r\n$2\r\ns1\r\n$60000\r\n";
    memset(half, 'x', sizeof(half));
    memcpy(half, BEGIN, sizeof(BEGIN) - 1);
    story_say_bytes(&t, b, half, sizeof(half)); /* takes all three chunks, and stops */
    story_run(&t, NSEC_MS);
    /* A request that comes whole needs no memory; one in pieces does. */
    story_ask(&t, a, "*1\r\n$4\r\nPING\r\n", "+PONG\r\n");
    story_say(&t, a, "*1\r\n$4\r\nPI");
    story_run(&t, NSEC_MS);
    story_ask(&t, a, "NG\r\n*1\r\n$4\r\nPING\r\n",
              "-ERR sumcache: out of buffer memory (limits.memory)\r\n+PONG\r\n");
    assert_int_equal(story_metric(&t, "memory_limit_hits"), 1);
    /* An empty command calls for no answer, so it gets none for this either. */
    story_say(&t, a, "*");
    story_run(&t, NSEC_MS);
    story_ask(&t, a, "0\r\n*1\r\n$4\r\nPING\r\n", "+PONG\r\n");
    /* Whether an inline command was empty is not known any more: nothing after it can be trusted.
     */
    story_say(&t, a, "PI");
    story_run(&t, NSEC_MS);
    story_ask(&t, a, "NG\r\n", FULL);
    story_run(&t, NSEC_MS);
    assert_true(t.closed[a]);
    assert_int_equal(story_metric(&t, "clients"), 1);
    story_end(&t);
}

static void test_out_of_descriptors_pauses_accepting(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    io_sim_fail_accepts(t.s->world, io_sim_host_number(t.s->proxies[0].worker_ios[0]),
                        io_sim_now(t.s->world) + 80 * NSEC_MS);
    unsigned a = story_connect(&t);
    story_say(&t, a, "PING\r\n");
    story_hear(&t, a, "", 50 * NSEC_MS);
    assert_int_equal(story_metric(&t, "accept_pauses"), 1);
    story_hear(&t, a, "+PONG\r\n", 100 * NSEC_MS);
    story_end(&t);
}

static void test_too_many_clients_are_told_so(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.clients_max = 2;
    o.workers = 2;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    story_hear(&t, c, "-ERR max number of clients reached\r\n", NSEC_MS);
    assert_true(t.closed[c]);
    story_ask(&t, a, "PING\r\n", "+PONG\r\n");
    story_ask(&t, b, "PING\r\n", "+PONG\r\n");
    assert_int_equal(story_metric(&t, "clients_refused"), 1);
    story_leave(&t, a);
    story_leave(&t, c);
    story_run(&t, 2 * NSEC_MS);
    unsigned d = story_connect(&t);
    story_ask(&t, d, "PING\r\n", "+PONG\r\n");
    story_end(&t);
}

static void test_workers_share_clients_evenly(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.workers = 2;
    story_begin(&t, &o);
    for (unsigned i = 0; i < 4; i++)
        story_ask(&t, story_connect(&t), "PING\r\n", "+PONG\r\n");
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(metric_get(&worker_metrics(t.s->proxies[0].workers[i])->clients), 2);
    story_end(&t);
}

static void test_draining_answers_what_is_under_way(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                  io_sim_now(t.s->world) + 50 * NSEC_MS);
    story_print(&t, a, "GET %s\r\nPING\r\n", story_key(&t, 0, 0));
    story_run(&t, NSEC_MS);
    assert_int_equal(worker_post_drain(t.s->proxies[0].workers[0]), 0);
    story_run(&t, 5 * NSEC_MS);
    assert_true(t.closed[b]); /* it had nothing under way */
    assert_false(t.closed[a]);
    story_hear(&t, a, "$-1\r\n+PONG\r\n", 60 * NSEC_MS);
    story_run(&t, NSEC_MS);
    assert_true(t.closed[a]);
    assert_true(t.s->proxies[0].worker_ended[0]);
    for (unsigned i = 0; i < t.count; i++)
        bytes_free(&t.got[i]);
    sim_free(t.s);
}

/* Each of the clients asks for a key as soon as it has been answered, for a while. Returns how
 * often a worker has rested. */
static uint64_t crowd(struct story *t, unsigned clients, int rounds)
{
    char value[32], reply[64];
    const char *key = story_key(t, 0, 0);
    story_value(key, value);
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(value), value);
    for (int round = 0; round < rounds; round++) {
        for (unsigned c = 0; c < clients; c++) {
            story_print(t, c, "GET %s\r\n", key);
            story_run(t, 10 * NSEC_US);
        }
        for (unsigned c = 0; c < clients; c++)
            story_hear(t, c, reply, 5 * NSEC_MS);
    }
    return story_metric(t, "rests");
}

static void test_a_worker_rests_in_a_crowd_only(void **state)
{
    (void)state;
    static const struct {
        uint64_t window;
        uint32_t share;
        unsigned clients;
        bool rests;
    } CASES[] = {
        {NSEC_MS, 1, 8, true},
        {0, 1, 8, false},       /* switched off */
        {NSEC_MS, 8, 8, false}, /* no crowd */
        {NSEC_MS, 1, 1, false},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct story t;
        struct sim_options o = story_options();
        o.proxy.gather_window = CASES[i].window;
        o.proxy.gather_share = CASES[i].share;
        story_begin(&t, &o);
        for (unsigned c = 0; c < CASES[i].clients; c++)
            story_connect(&t);
        char value[32];
        const char *key = story_key(&t, 0, 0);
        story_print(&t, 0, "SET %s %s\r\n", key, story_value(key, value));
        story_hear(&t, 0, "+OK\r\n", 5 * NSEC_MS);
        uint64_t rests = crowd(&t, CASES[i].clients, 20);
        assert_int_equal(rests > 0, CASES[i].rests);
        /* A node that hangs costs its deadline and no more, rests or not. */
        uint64_t now = io_sim_now(t.s->world);
        io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io), now + 150 * NSEC_MS);
        for (unsigned c = 0; c < CASES[i].clients; c++)
            story_print(&t, c, "GET %s\r\n", key);
        for (unsigned c = 0; c < CASES[i].clients; c++)
            story_hear(&t, c, "$-1\r\n", 102 * NSEC_MS);
        assert_in_range(io_sim_now(t.s->world) - now, 99 * NSEC_MS, 102 * NSEC_MS);
        story_run(&t, 60 * NSEC_MS);
        story_end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelines_keep_their_order),
        cmocka_unit_test(test_versions_change_in_the_middle),
        cmocka_unit_test(test_half_closed_clients_get_what_they_are_owed),
        cmocka_unit_test(test_leaving_early_leaves_nothing_behind),
        cmocka_unit_test(test_who_does_not_read_is_closed),
        cmocka_unit_test(test_who_is_owed_too_much_is_closed),
        cmocka_unit_test(test_what_does_not_fit_is_told_to_that_client_alone),
        cmocka_unit_test(test_out_of_descriptors_pauses_accepting),
        cmocka_unit_test(test_too_many_clients_are_told_so),
        cmocka_unit_test(test_workers_share_clients_evenly),
        cmocka_unit_test(test_draining_answers_what_is_under_way),
        cmocka_unit_test(test_a_worker_rests_in_a_crowd_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
