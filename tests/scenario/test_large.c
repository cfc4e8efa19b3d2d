/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large values beside small ones, and whom it costs what if one of them gets stuck.
 * Long: one story after the other, each read by itself.
 */
#include "story.h"

#include "base/buf.h"
#include "base/nsec.h"

enum {
    KB = 1024,
    MB = 1024 * KB,
    READ_AT_ONCE = 256 * KB, /* from a client or a node, while a large value is under way */
    /* What one value may hold of our memory while both its ends are well: what is not sent on yet,
     * and one read. With the slack that counting in chunks makes. */
    STREAM_HOLDS = 64 * KB + READ_AT_ONCE + 64 * KB,
};

static unsigned host_of(const struct story *t, unsigned node)
{
    return io_sim_host_number(t->s->nodes[node]->io);
}

static void begin(struct story *t, struct sim_options *o)
{
    /* The narrower its pipes, the more a value is cut up. */
    o->weather.buffer_min = o->weather.buffer_max = 50000;
    story_begin(t, o);
}

static void small_is_quick(struct story *t, unsigned client, const char *key)
{
    uint64_t from = io_sim_now(t->s->world);
    story_print(t, client, "GET %s\r\n", key);
    story_hear_value(t, client, key, 20, 2 * NSEC_MS);
    assert_in_range(io_sim_now(t->s->world) - from, 0, 2 * NSEC_MS);
}

/* Waits until the client has heard as many bytes as `text` has, and no more; then it hears them. */
static void hears_error_of(struct story *t, unsigned client, unsigned node, const char *rest)
{
    char text[64];
    snprintf(text, sizeof(text), "-ERR sumcache: node 10.0.0.%u:7000 ", node + 1);
    *bytes_room(&t->got[client], 1) = '\0';
    const char *got = (const char *)bytes_at(&t->got[client]);
    if (t->got[client].len < strlen(text) || memcmp(got, text, strlen(text)) != 0)
        fail_msg("no error of node %u but: %.100s", node, t->got[client].len ? got : "nothing");
    const char *end = strstr(got, "\r\n");
    assert_non_null(end);
    assert_string_equal(end + 2, rest);
    t->got[client].head = t->got[client].len = 0;
}

static void say_part(struct story *t, unsigned client, const struct bytes *b, size_t from,
                     size_t to)
{
    story_say_bytes(t, client, bytes_at(b) + from, to - from);
}

static void test_a_value_is_never_in_memory_whole(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_set(&t, a, key, 5 * MB);
    story_print(&t, a, "GET %s\r\n", key);
    story_hear_value(&t, a, key, 5 * MB, 100 * NSEC_MS);
    assert_in_range(t.most_bytes, 1, STREAM_HOLDS);
    assert_int_equal(story_metric(&t, "requests_streamed"), 1);
    assert_int_equal(story_metric(&t, "replies_streamed"), 1);
    assert_int_equal(worker_debt(t.s->proxies[0].workers[0]).chunk_bytes, 0);
    story_end(&t);
}

static void test_small_requests_pass_a_large_one(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *large = story_key(&t, 0, 0), *small = story_key(&t, 0, 1);
    story_set(&t, a, large, 2 * MB);
    story_set(&t, b, small, 20);
    t.deaf[a] = true; /* its node is not read on, and it stays so */
    t.most_bytes = 0;
    story_print(&t, a, "GET %s\r\n", large);
    struct bytes half = story_set_bytes(large, 2 * MB);
    say_part(&t, c, &half, 0, MB);
    for (int i = 0; i < 10; i++)
        small_is_quick(&t, b, small);
    assert_in_range(t.most_bytes, 1, 2 * STREAM_HOLDS);
    assert_true(story_metric(&t, "upstreams_paused") >= 1);
    story_listen(&t, a);
    story_hear_value(&t, a, large, 2 * MB, 50 * NSEC_MS);
    say_part(&t, c, &half, MB, half.len);
    story_hear(&t, c, "+OK\r\n", 50 * NSEC_MS);
    bytes_free(&half);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_end(&t);
}

static void test_a_key_that_was_large_is_asked_on_a_bulk_upstream(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *set = story_key(&t, 0, 0), *found = story_key(&t, 0, 1);
    story_set(&t, a, set, 100 * KB);
    assert_int_equal(story_metric(&t, "requests_bulk"), 1);
    story_print(&t, a, "GET %s\r\n", set);
    story_hear_value(&t, a, set, 100 * KB, 20 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_bulk"), 2);
    assert_int_equal(story_metric(&t, "upstreams_promoted"), 0);
    /* One that was set elsewhere is a surprise once. */
    story_put(&t, 0, found, 100 * KB);
    for (unsigned i = 0; i < 3; i++) {
        story_print(&t, a, "GET %s\r\n", found);
        story_hear_value(&t, a, found, 100 * KB, 20 * NSEC_MS);
        assert_int_equal(story_metric(&t, "requests_bulk"), 2 + i);
        assert_int_equal(story_metric(&t, "upstreams_promoted"), 1);
    }
    /* What has become small is not asked there for ever. */
    story_set(&t, a, set, 20);
    story_print(&t, a, "GET %s\r\n", set);
    story_hear_value(&t, a, set, 20, 20 * NSEC_MS);
    uint64_t bulk = story_metric(&t, "requests_bulk");
    small_is_quick(&t, a, set);
    assert_int_equal(story_metric(&t, "requests_bulk"), bulk);
    story_end(&t);
}

static void test_a_large_reply_on_the_shared_upstream_moves_it_aside(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *large = story_key(&t, 0, 0), *small = story_key(&t, 0, 1);
    story_put(&t, 0, large, 2 * MB);
    story_put(&t, 0, small, 20);
    small_is_quick(&t, b, small);
    uint64_t opened = story_metric(&t, "upstreams_opened");
    t.deaf[a] = true;
    io_sim_freeze(t.s->world, host_of(&t, 0), io_sim_now(t.s->world) + 5 * NSEC_MS);
    story_print(&t, a, "GET %s\r\n", large);
    story_run(&t, NSEC_MS);
    /* This one stands behind it, and gets through although nobody reads the large one. */
    story_print(&t, b, "GET %s\r\n", small);
    story_hear_value(&t, b, small, 20, 50 * NSEC_MS);
    assert_int_equal(story_metric(&t, "upstreams_promoted"), 1);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    for (int i = 0; i < 5; i++)
        small_is_quick(&t, b, small);
    assert_in_range(story_metric(&t, "upstreams_opened"), opened, opened + 1);
    story_listen(&t, a);
    story_hear_value(&t, a, large, 2 * MB, 50 * NSEC_MS);
    story_end(&t);
}

static void test_a_slow_reader_does_not_hold_the_pool(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.bulk_max = 1;
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 0, 1);
    story_set(&t, a, x, 2 * MB);
    story_set(&t, a, y, 200 * KB);
    t.deaf[a] = true;
    story_print(&t, a, "GET %s\r\n", x);
    story_run(&t, 20 * NSEC_MS);
    /* The rest is read into its budget, since somebody waits. */
    story_print(&t, b, "GET %s\r\n", y);
    story_hear_value(&t, b, y, 200 * KB, 80 * NSEC_MS);
    assert_int_equal(story_metric(&t, "bulk_waits"), 1);
    assert_int_equal(story_metric(&t, "replies_absorbed"), 1);
    story_listen(&t, a);
    story_hear_value(&t, a, x, 2 * MB, 50 * NSEC_MS);
    story_end(&t);
}

static void test_a_slow_reader_that_does_not_fit_its_budget_is_closed(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.bulk_max = 1;
    o.proxy.client_output_max = MB;
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 0, 1);
    story_set(&t, a, x, 3 * MB);
    story_set(&t, a, y, 200 * KB);
    t.deaf[a] = true;
    story_print(&t, a, "GET %s\r\n", x);
    /* Nobody waits: it may take its time. */
    story_run(&t, NSEC_S);
    assert_int_equal(story_metric(&t, "clients_too_slow"), 0);
    uint64_t from = io_sim_now(t.s->world);
    while (story_metric(&t, "clients_too_slow") == 0) {
        assert_in_range(io_sim_now(t.s->world) - from, 0, NSEC_S);
        t.got[b].head = t.got[b].len = 0;
        story_print(&t, b, "GET %s\r\n", y);
        story_run(&t, 110 * NSEC_MS);
    }
    t.got[b].head = t.got[b].len = 0;
    assert_int_equal(story_metric(&t, "replies_absorbed"), 0);
    assert_int_equal(story_metric(&t, "clients"), 1);
    story_print(&t, b, "GET %s\r\n", y);
    story_hear_value(&t, b, y, 200 * KB, 80 * NSEC_MS);
    story_end(&t);
}

static void test_a_slow_reader_that_does_not_fit_memory_is_left_in_peace(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.bulk_max = 1;
    o.proxy.client_min_rate = 0;
    o.proxy.memory_max = 4 * MB; /* large values may have half of it */
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 0, 1);
    story_set(&t, a, x, 3 * MB);
    story_set(&t, a, y, 200 * KB);
    t.deaf[a] = true;
    story_print(&t, a, "GET %s\r\n", x);
    story_run(&t, 10 * NSEC_MS);
    story_print(&t, b, "GET %s\r\n", y); /* the pool is in use, and there is no room to free it */
    story_run(&t, 300 * NSEC_MS);
    assert_int_equal(story_metric(&t, "replies_absorbed"), 0);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 1);
    story_listen(&t, a);
    story_hear_value(&t, a, x, 3 * MB, 100 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_reply_cut"), 0);
    t.got[b].head = t.got[b].len = 0;
    story_print(&t, b, "GET %s\r\n", y);
    story_hear_value(&t, b, y, 200 * KB, 30 * NSEC_MS);
    story_set(&t, b, x, 20); /* or an MGET at the end would not fit */
    story_end(&t);
}

static void test_a_body_that_stops_costs_only_its_upstream(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.client_stall_timeout = 200 * NSEC_MS;
    o.proxy.client_min_rate = 0;
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *small = story_key(&t, 0, 1);
    story_set(&t, b, key, 300 * KB);
    story_set(&t, b, small, 20);
    struct bytes body = story_set_bytes(key, MB);
    say_part(&t, a, &body, 0, MB / 2);
    for (int i = 0; i < 9; i++) {
        story_run(&t, 20 * NSEC_MS);
        small_is_quick(&t, b, small);
        story_print(&t, b, "GET %s\r\n", key);
        story_hear_value(&t, b, key, 300 * KB, 20 * NSEC_MS);
    }
    assert_int_equal(story_metric(&t, "requests_too_slow"), 0);
    story_run(&t, 40 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_too_slow"), 1);
    /* What still comes of it is passed over, and its client is served as ever. */
    say_part(&t, a, &body, MB / 2, body.len);
    story_say(&t, a, "PING\r\n");
    story_run(&t, 10 * NSEC_MS);
    *bytes_room(&t.got[a], 1) = '\0';
    const char *got = (const char *)bytes_at(&t.got[a]);
    assert_memory_equal(got, "-ERR sumcache: ", 15);
    assert_string_equal(strstr(got, "\r\n"), "\r\n+PONG\r\n");
    assert_false(t.closed[a]);
    t.got[a].head = t.got[a].len = 0;
    story_print(&t, a, "GET %s\r\n", key); /* nothing of it was executed */
    story_hear_value(&t, a, key, 300 * KB, 20 * NSEC_MS);
    bytes_free(&body);
    story_end(&t);
}

static void test_a_client_that_vanishes_inside_a_body_leaves_nothing(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned b = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_set(&t, b, key, 300 * KB);
    struct bytes body = story_set_bytes(key, MB);
    for (int how = 0; how < 3; how++) {
        unsigned a = story_connect(&t);
        say_part(&t, a, &body, 0, MB / 2);
        story_run(&t, 2 * NSEC_MS);
        if (how == 0)
            io_sim_shutdown(t.ios[a], t.handles[a]);
        else if (how == 1)
            io_sim_reset(t.s->world, t.handles[a]);
        else
            story_leave(&t, a);
        story_run(&t, 5 * NSEC_MS);
        assert_int_equal(story_metric(&t, "clients"), 1);
        struct worker_debt d = worker_debt(t.s->proxies[0].workers[0]);
        assert_int_equal(d.requests, 0);
        assert_int_equal(d.chunk_bytes, 0);
        story_print(&t, b, "GET %s\r\n", key);
        story_hear_value(&t, b, key, 300 * KB, 20 * NSEC_MS);
    }
    bytes_free(&body);
    story_end(&t);
}

static void test_a_node_lost_inside_a_request_body_is_answered_after_it(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 1, 0), *other = story_key(&t, 0, 0);
    story_set(&t, b, other, 20);
    struct bytes body = story_set_bytes(key, 3 * MB);
    say_part(&t, a, &body, 0, MB);
    redis_model_crash(t.s->nodes[1], io_sim_now(t.s->world) + NSEC_S, false, 0);
    story_run(&t, 20 * NSEC_MS);
    assert_int_equal(t.got[a].len, 0); /* an answer in the middle would be taken for another's */
    assert_false(t.closed[a]);
    small_is_quick(&t, b, other);
    t.most_bytes = 0;
    say_part(&t, a, &body, MB, body.len);
    story_say(&t, a, "PING\r\n");
    story_run(&t, 10 * NSEC_MS);
    hears_error_of(&t, a, 1, "+PONG\r\n");
    assert_in_range(t.most_bytes, 0, STREAM_HOLDS);
    /* And so is one whose node is known to be down before it begins. */
    story_say_bytes(&t, a, bytes_at(&body), body.len);
    story_run(&t, 10 * NSEC_MS);
    hears_error_of(&t, a, 1, "");
    bytes_free(&body);
    story_end(&t);
}

static void test_a_node_that_does_not_take_a_body_is_given_up(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    struct bytes body = story_set_bytes(key, 2 * MB);
    say_part(&t, a, &body, 0, MB);
    story_run(&t, 5 * NSEC_MS);
    io_sim_freeze(t.s->world, host_of(&t, 0), io_sim_now(t.s->world) + 3 * NSEC_S);
    t.most_bytes = 0;
    uint64_t from = io_sim_now(t.s->world);
    say_part(&t, a, &body, MB, body.len); /* comes to an end only if the proxy goes on reading */
    story_run(&t, 150 * NSEC_MS);
    hears_error_of(&t, a, 0, "");
    assert_in_range(io_sim_now(t.s->world) - from, 0, 600 * NSEC_MS);
    assert_in_range(t.most_bytes, 1, STREAM_HOLDS);
    bytes_free(&body);
    story_ask(&t, a, "PING\r\n", "+PONG\r\n");
    story_end(&t);
}

static void test_a_node_lost_inside_a_reply_closes_only_that_client(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *large = story_key(&t, 0, 0), *small = story_key(&t, 0, 1);
    story_set(&t, b, large, 2 * MB);
    story_set(&t, b, small, 20);
    t.deaf[a] = true;
    story_print(&t, a, "GET %s\r\n", large);
    story_print(&t, c, "GET %s\r\nPING\r\n", large);
    story_run(&t, NSEC_MS); /* both have got the beginning */
    assert_true(t.got[c].len > 10 && t.got[c].len < 2 * MB);
    redis_model_crash(t.s->nodes[0], io_sim_now(t.s->world) + NSEC_S, false, 0);
    story_run(&t, 5 * NSEC_MS);
    assert_true(t.closed[c]);
    assert_true(t.got[c].len < 2 * MB);
    story_listen(&t, a);
    story_run(&t, 5 * NSEC_MS);
    assert_true(t.closed[a]);
    assert_int_equal(story_metric(&t, "clients_reply_cut"), 2);
    story_ask(&t, b, "PING\r\n", "+PONG\r\n");
    /* Before the first byte has gone out a failure is answered as ever. */
    story_run(&t, 8 * NSEC_S);
    story_print(&t, b, "GET %s\r\n", small);
    story_hear_value(&t, b, small, 20, 20 * NSEC_MS);
    io_sim_freeze(t.s->world, host_of(&t, 0), io_sim_now(t.s->world) + NSEC_S);
    story_print(&t, b, "GET %s\r\n", large);
    story_hear(&t, b, "$-1\r\n", 110 * NSEC_MS);
    assert_int_equal(story_metric(&t, "clients_reply_cut"), 2);
    story_end(&t);
}

static void test_a_node_that_halts_inside_a_reply_is_given_up(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *large = story_key(&t, 0, 0), *small = story_key(&t, 1, 0);
    story_set(&t, b, large, 2 * MB);
    story_set(&t, b, small, 20);
    story_print(&t, a, "GET %s\r\n", large);
    story_run(&t, NSEC_MS);
    assert_true(t.got[a].len > 10 && t.got[a].len < 2 * MB);
    io_sim_freeze(t.s->world, host_of(&t, 0), io_sim_now(t.s->world) + 2 * NSEC_S);
    story_run(&t, 200 * NSEC_MS);
    assert_false(t.closed[a]);
    story_run(&t, 100 * NSEC_MS); /* timeouts.stall is over */
    assert_true(t.closed[a]);
    assert_int_equal(story_metric(&t, "clients_reply_cut"), 1);
    small_is_quick(&t, b, small);
    story_end(&t);
}

static void test_two_clients_that_wait_for_each_other_both_go_on(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.bulk_max = 1;
    o.proxy.client_output_max = MB; /* no value fits */
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 1, 0);
    story_set(&t, a, x, 2 * MB);
    story_set(&t, a, y, 2 * MB);
    t.deaf[a] = t.deaf[b] = true;
    story_print(&t, a, "GET %s\r\nGET %s\r\n", x, y);
    story_print(&t, b, "GET %s\r\nGET %s\r\n", y, x);
    story_run(&t, 50 * NSEC_MS);
    story_listen(&t, a);
    story_listen(&t, b);
    story_hear_value(&t, a, x, 2 * MB, 60 * NSEC_MS);
    story_hear_value(&t, b, y, 2 * MB, 60 * NSEC_MS);
    story_hear_value(&t, a, y, 2 * MB, 60 * NSEC_MS);
    story_hear_value(&t, b, x, 2 * MB, 60 * NSEC_MS);
    assert_in_range(story_metric(&t, "requests_held"), 2, 4);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_end(&t);
}

static void test_what_does_not_fit_waits_until_it_is_next(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.client_output_max = MB;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 1, 0), *z = story_key(&t, 2, 0);
    story_set(&t, a, x, 20);
    story_set(&t, a, y, 2 * MB);
    story_set(&t, a, z, 300 * KB);
    uint64_t thaw = io_sim_now(t.s->world) + 80 * NSEC_MS;
    io_sim_freeze(t.s->world, host_of(&t, 0), thaw);
    t.most_bytes = 0;
    story_print(&t, a, "GET %s\r\nGET %s\r\nGET %s\r\nPING\r\n", x, y, z);
    story_run(&t, 70 * NSEC_MS);
    assert_int_equal(t.got[a].len, 0);
    assert_in_range(t.most_bytes, 300 * KB, 400 * KB); /* the one that fits */
    /* The other's time begins when its turn comes. */
    story_hear_value(&t, a, x, 20, 20 * NSEC_MS);
    story_hear_value(&t, a, y, 2 * MB, 60 * NSEC_MS);
    story_hear_value(&t, a, z, 300 * KB, 60 * NSEC_MS);
    story_hear(&t, a, "+PONG\r\n", NSEC_MS);
    assert_in_range(t.most_bytes, 300 * KB, 300 * KB + STREAM_HOLDS + 64 * KB);
    assert_int_equal(story_metric(&t, "requests_held"), 1);
    assert_int_equal(story_metric(&t, "clients_output_limit"), 0);
    story_end(&t);
}

/* Drops what comes before `text`. */
static void skip_to(struct story *t, unsigned client, const char *text)
{
    struct bytes *got = &t->got[client];
    const char *at = memmem(bytes_at(got), got->len, text, strlen(text));
    if (!at)
        fail_msg("no %s in what client %u got", text, client);
    bytes_take(got, (size_t)(at - (const char *)bytes_at(got)));
}

static void test_order_holds_from_a_large_SET_to_a_small_GET(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *other = story_key(&t, 0, 1);
    story_set(&t, a, other, 20);
    for (int round = 0; round < 4; round++) {
        struct bytes say = story_set_bytes(key, MB), small = story_set_bytes(key, 20);
        bytes_print(&say, "GET %s\r\nGET %s\r\n", key, other);
        bytes_add(&say, bytes_at(&small), small.len);
        bytes_print(&say, "GET %s\r\nGET %s\r\n", key, other);
        if (round % 2 == 1) /* the bulk upstream is slow to be read, the shared one would not be */
            redis_model_sip(t.s->nodes[0], io_sim_now(t.s->world) + 20 * NSEC_MS);
        story_say_bytes(&t, a, bytes_at(&say), say.len);
        story_hear_next(&t, a, "+OK\r\n", 90 * NSEC_MS);
        story_hear_value(&t, a, key, MB, 50 * NSEC_MS);
        story_hear_value(&t, a, other, 20, 20 * NSEC_MS);
        story_hear_next(&t, a, "+OK\r\n", 20 * NSEC_MS);
        story_hear_value(&t, a, key, 20, 20 * NSEC_MS);
        story_hear_value(&t, a, other, 20, 20 * NSEC_MS);
        bytes_free(&say);
        bytes_free(&small);
    }
    story_end(&t);
}

static void test_order_holds_when_the_version_changes(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    story_set(&t, a, key, 20);
    for (int round = 0; round < 2; round++) {
        struct bytes say = story_set_bytes(key, MB), small = story_set_bytes(key, 20);
        bytes_print(&say, "HELLO 3\r\nGET %s\r\n", key);
        bytes_add(&say, bytes_at(&small), small.len);
        bytes_print(&say, "GET %s\r\nHELLO 2\r\nGET %s\r\n", key, key);
        story_say_bytes(&t, a, bytes_at(&say), say.len);
        story_hear_next(&t, a, "+OK\r\n", 90 * NSEC_MS);
        story_run(&t, 50 * NSEC_MS);
        skip_to(&t, a, "$1048576\r\n");
        story_hear_value(&t, a, key, MB, 0);
        story_hear_next(&t, a, "+OK\r\n", 0);
        story_hear_value(&t, a, key, 20, 0);
        skip_to(&t, a, "$20\r\n");
        story_hear_value(&t, a, key, 20, 0);
        bytes_free(&say);
        bytes_free(&small);
    }
    story_end(&t);
}

static void test_what_was_held_has_its_own_time(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.request_timeout = 50 * NSEC_MS;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *x = story_key(&t, 0, 0), *y = story_key(&t, 0, 1);
    story_set(&t, a, x, 2 * MB);
    story_set(&t, a, y, 200 * KB);
    t.deaf[a] = true;
    story_print(&t, a, "GET %s\r\nGET %s\r\n", x, y); /* one after the other, for its order */
    story_run(&t, 300 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_held"), 1);
    story_listen(&t, a);
    story_hear_value(&t, a, x, 2 * MB, 100 * NSEC_MS);
    story_hear_value(&t, a, y, 200 * KB, 30 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_end(&t);
}

static void test_what_memory_does_not_hold_costs_who_does_not_read(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.memory_max = 2 * MB;
    o.proxy.bulk_max = 4;
    begin(&t, &o);
    unsigned b = story_connect(&t);
    const char *small = story_key(&t, 1, 1);
    story_set(&t, b, small, 20);
    for (unsigned node = 0; node < 3; node++)
        story_set(&t, b, story_key(&t, node, 0), 3 * MB);
    for (unsigned i = 0; i < 6; i++) {
        unsigned a = story_connect(&t);
        t.deaf[a] = true;
        for (unsigned n = 0; n < 25; n++)
            story_print(&t, a, "GET %s\r\n", story_key(&t, (i + n) % 3, 0));
    }
    for (unsigned i = 0; i < 20; i++) {
        story_run(&t, 20 * NSEC_MS);
        small_is_quick(&t, b, small);
    }
    assert_in_range(t.most_bytes, 1, 2 * MB + MB + CHUNK_BYTES);
    for (unsigned i = 1; i < t.count; i++)
        story_leave(&t, i);
    story_run(&t, 20 * NSEC_MS);
    assert_int_equal(worker_debt(t.s->proxies[0].workers[0]).chunk_bytes, 0);
    story_print(&t, b, "GET %s\r\n", story_key(&t, 0, 0));
    story_hear_value(&t, b, story_key(&t, 0, 0), 3 * MB, 100 * NSEC_MS);
    /* Whoever looks at the end whether all is well may ask for several of them in one MGET. */
    for (unsigned node = 0; node < 3; node++)
        story_set(&t, b, story_key(&t, node, 0), 20);
    story_end(&t);
}

static void test_what_has_to_be_gathered_is_bounded(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.split_request_max = 100 * KB;
    begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    /* As one key's SET it may be as long as it likes; as MSET, even of one key, not. */
    struct bytes set = story_set_bytes(key, MB), mset = {0};
    bytes_print(&mset, "*3\r\n$4\r\nMSET\r\n");
    bytes_add(&mset, bytes_at(&set) + 13, set.len - 13); /* what follows "*3 $3 SET" */
    bytes_print(&mset, "PING\r\n");
    t.most_bytes = 0;
    story_say_bytes(&t, a, bytes_at(&mset), mset.len);
    story_hear(&t, a, "-ERR sumcache: request is longer than limits.max_split_request\r\n+PONG\r\n",
               20 * NSEC_MS);
    assert_int_equal(story_metric(&t, "requests_split_limit"), 1);
    assert_in_range(t.most_bytes, 0, 200 * KB); /* what is too long need not be kept at all */
    story_say_bytes(&t, a, bytes_at(&set), set.len);
    story_hear(&t, a, "+OK\r\n", 20 * NSEC_MS);
    bytes_free(&set);
    bytes_free(&mset);
    story_end(&t);
}

static void test_uploads_wait_for_each_other_in_order(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.bulk_max = 1;
    begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *key[3] = {story_key(&t, 0, 0), story_key(&t, 0, 1), story_key(&t, 0, 2)};
    struct bytes body[3];
    for (unsigned i = 0; i < 3; i++)
        body[i] = story_set_bytes(key[i], MB);
    say_part(&t, a, &body[0], 0, MB / 2);
    story_run(&t, NSEC_MS);
    for (unsigned i = 1; i < 3; i++) { /* their beginnings fit the buffers on the way */
        say_part(&t, i, &body[i], 0, 40000);
        story_run(&t, NSEC_MS);
    }
    say_part(&t, a, &body[0], MB / 2, body[0].len);
    story_hear(&t, a, "+OK\r\n", 20 * NSEC_MS);
    say_part(&t, c, &body[2], 40000, 50000); /* comes first, and is not the first */
    say_part(&t, b, &body[1], 40000, body[1].len);
    story_hear(&t, b, "+OK\r\n", 20 * NSEC_MS);
    say_part(&t, c, &body[2], 50000, body[2].len);
    story_hear(&t, c, "+OK\r\n", 20 * NSEC_MS);
    assert_int_equal(story_metric(&t, "bulk_waits"), 2);
    /* Who waits in vain is told so, after its body's end. */
    say_part(&t, a, &body[0], 0, MB / 2);
    say_part(&t, b, &body[1], 0, 50000);
    story_run(&t, 120 * NSEC_MS);
    assert_int_equal(t.got[b].len, 0);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 1);
    say_part(&t, b, &body[1], 50000, body[1].len);
    story_run(&t, 20 * NSEC_MS);
    hears_error_of(&t, b, 0, "");
    say_part(&t, a, &body[0], MB / 2, body[0].len);
    story_hear(&t, a, "+OK\r\n", 20 * NSEC_MS);
    for (unsigned i = 0; i < 3; i++)
        bytes_free(&body[i]);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_never_in_memory_whole),
        cmocka_unit_test(test_small_requests_pass_a_large_one),
        cmocka_unit_test(test_a_key_that_was_large_is_asked_on_a_bulk_upstream),
        cmocka_unit_test(test_a_large_reply_on_the_shared_upstream_moves_it_aside),
        cmocka_unit_test(test_a_slow_reader_does_not_hold_the_pool),
        cmocka_unit_test(test_a_slow_reader_that_does_not_fit_its_budget_is_closed),
        cmocka_unit_test(test_a_slow_reader_that_does_not_fit_memory_is_left_in_peace),
        cmocka_unit_test(test_a_body_that_stops_costs_only_its_upstream),
        cmocka_unit_test(test_a_client_that_vanishes_inside_a_body_leaves_nothing),
        cmocka_unit_test(test_uploads_wait_for_each_other_in_order),
        cmocka_unit_test(test_a_node_lost_inside_a_request_body_is_answered_after_it),
        cmocka_unit_test(test_a_node_that_does_not_take_a_body_is_given_up),
        cmocka_unit_test(test_a_node_lost_inside_a_reply_closes_only_that_client),
        cmocka_unit_test(test_a_node_that_halts_inside_a_reply_is_given_up),
        cmocka_unit_test(test_two_clients_that_wait_for_each_other_both_go_on),
        cmocka_unit_test(test_what_does_not_fit_waits_until_it_is_next),
        cmocka_unit_test(test_what_was_held_has_its_own_time),
        cmocka_unit_test(test_what_memory_does_not_hold_costs_who_does_not_read),
        cmocka_unit_test(test_what_has_to_be_gathered_is_bounded),
        cmocka_unit_test(test_order_holds_from_a_large_SET_to_a_small_GET),
        cmocka_unit_test(test_order_holds_when_the_version_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
