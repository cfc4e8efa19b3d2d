/* SPDX-License-Identifier: Apache-2.0 */
/* The node model by itself: what the proxy can ask a node for on connections of its own. */
#include "story.h"

#include "base/nsec.h"

/* Words to a node, as a client library writes them. */
static void say(struct story *t, unsigned client, const char *line)
{
    char copy[200], *words[8] = {NULL}, *rest = NULL;
    unsigned count = 0;
    struct bytes b = {0};
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *w = strtok_r(copy, " ", &rest); w && count < 8; w = strtok_r(NULL, " ", &rest))
        words[count++] = w;
    bytes_print(&b, "*%u\r\n", count);
    for (unsigned i = 0; i < count; i++)
        bytes_print(&b, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    story_say_bytes(t, client, bytes_at(&b), b.len);
    bytes_free(&b);
}

static void ask(struct story *t, unsigned client, const char *line, const char *hear)
{
    say(t, client, line);
    story_hear(t, client, hear, 5 * NSEC_MS);
}

/* Whatever the answer is. */
static const char *answer(struct story *t, unsigned client, const char *line, char *to, size_t size)
{
    say(t, client, line);
    story_run(t, 5 * NSEC_MS);
    struct bytes *got = &t->got[client];
    assert_true(got->len > 0 && got->len < size);
    memcpy(to, bytes_at(got), got->len);
    to[got->len] = '\0';
    got->head = got->len = 0;
    return to;
}

static unsigned long long id_of(struct story *t, unsigned client)
{
    char text[32];
    answer(t, client, "CLIENT ID", text, sizeof(text));
    assert_int_equal(text[0], ':');
    return strtoull(text + 1, NULL, 10);
}

static unsigned connect_control(struct story *t, unsigned node)
{
    unsigned c = story_connect_node(t, node);
    ask(t, c, "CLIENT SETNAME sumcache-control", "+OK\r\n");
    return c;
}

static void crash(struct story *t, unsigned node, bool lose_memory)
{
    redis_model_crash(t->s->nodes[node], io_sim_now(t->s->world) + 5 * NSEC_MS, lose_memory, 0);
    story_run(t, 20 * NSEC_MS);
}

static void test_a_node_tells_who_it_is(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    char first[300], second[300], hello[300], expected[32];
    story_begin(&t, &o);
    unsigned a = story_connect_node(&t, 0), b = story_connect_node(&t, 0);
    unsigned long long id = id_of(&t, a);
    assert_true(id_of(&t, b) > id);
    assert_true(id_of(&t, a) == id);
    snprintf(expected, sizeof(expected), "$2\r\nid\r\n:%llu\r\n", id);
    assert_non_null(strstr(answer(&t, a, "HELLO 3", hello, sizeof(hello)), expected));
    answer(&t, a, "INFO server", first, sizeof(first));
    assert_non_null(strstr(first, "redis_version:7.0.15\r\n"));
    const char *run_id = strstr(first, "run_id:");
    assert_non_null(run_id);
    assert_int_equal(strspn(run_id + 7, "0123456789abcdef"), 40);
    assert_string_equal(answer(&t, b, "INFO", second, sizeof(second)), first);

    /* Cut off and back: the same process. */
    id = id_of(&t, b);
    crash(&t, 0, false);
    unsigned c = story_connect_node(&t, 0);
    assert_true(id_of(&t, c) > id);
    assert_string_equal(answer(&t, c, "INFO", second, sizeof(second)), first);
    /* Dead and started anew: another one, and it counts from 1. */
    id = id_of(&t, c);
    crash(&t, 0, true);
    unsigned d = story_connect_node(&t, 0);
    assert_true(id_of(&t, d) < id);
    assert_string_not_equal(answer(&t, d, "INFO", second, sizeof(second)), first);
    /* Another node is another one. */
    unsigned e = story_connect_node(&t, 1);
    assert_string_not_equal(answer(&t, e, "INFO", second, sizeof(second)), first);
    story_end(&t);
}

static void test_a_killed_connection_executes_nothing_more(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    char line[64], value[32];
    story_begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    unsigned a = story_connect_node(&t, 0), b = story_connect_node(&t, 0);
    unsigned long long id = id_of(&t, a);
    story_print(&t, a, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    story_run(&t, 5 * NSEC_MS);
    snprintf(line, sizeof(line), "CLIENT KILL ID %llu", id);
    ask(&t, b, line, ":1\r\n");
    story_run(&t, NSEC_MS);
    assert_true(t.closed[a]);
    ask(&t, b, line, ":0\r\n");
    snprintf(line, sizeof(line), "CLIENT KILL ID %llu", id_of(&t, b));
    ask(&t, b, line, ":0\r\n"); /* oneself is passed over */
    assert_false(t.closed[b]);
    story_value(key, value);
    snprintf(line, sizeof(line), "SET %s %s", key, value);
    ask(&t, b, line, "+OK\r\n");
    story_end(&t);
}

/* A node that thaws finds both in its buffers, the old bytes and who is to end them. */
static void test_a_thawing_node_kills_before_or_after(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    enum { ROUNDS = 20 };
    unsigned executed = 0;
    char set[64], kill[64], value[32];
    story_begin(&t, &o);
    const char *key = story_key(&t, 0, 0);
    struct redis_value *v = &t.s->nodes[0]->values[0][(unsigned)strtoul(key + 1, NULL, 10)];
    snprintf(set, sizeof(set), "SET %s %s", key, story_value(key, value));
    unsigned control = connect_control(&t, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned a = story_connect_node(&t, 0);
        snprintf(kill, sizeof(kill), "CLIENT KILL ID %llu", id_of(&t, a));
        v->exists = false;
        io_sim_freeze(t.s->world, io_sim_host_number(t.s->nodes[0]->io),
                      io_sim_now(t.s->world) + 10 * NSEC_MS);
        say(&t, a, set);
        say(&t, control, kill);
        story_run(&t, 9 * NSEC_MS);
        assert_false(v->exists);
        story_hear(&t, control, ":1\r\n", 5 * NSEC_MS);
        story_run(&t, 5 * NSEC_MS);
        assert_true(t.closed[a]);
        executed += v->exists;
    }
    assert_in_range(executed, 1, ROUNDS - 1);
    story_end(&t);
}

static void test_the_proxy_removes_keys_for_itself(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    char line[64], value[32], list[300];
    story_begin(&t, &o);
    unsigned a = story_connect(&t), control = connect_control(&t, 0);
    const char *key = story_key(&t, 0, 0), *other = story_key(&t, 1, 0);
    story_print(&t, a, "SET %s %s\r\n", key, story_value(key, value));
    story_hear(&t, a, "+OK\r\n", 5 * NSEC_MS);
    story_print(&t, a, "SET %s %s\r\n", other, story_value(other, value));
    story_hear(&t, a, "+OK\r\n", 5 * NSEC_MS);
    snprintf(list, sizeof(list), "*2\r\n$1\r\n0\r\n*1\r\n$%zu\r\n%s\r\n", strlen(key), key);
    ask(&t, control, "SCAN 0 COUNT 1000", list);
    /* By another of its names, and with one that is not there. */
    snprintf(line, sizeof(line), "UNLINK {%s}.c1.q7.i0 s63", key);
    ask(&t, control, line, ":1\r\n");
    ask(&t, control, line, ":0\r\n");
    story_print(&t, a, "MGET %s\r\n", key);
    story_hear(&t, a, "*1\r\n$-1\r\n", 5 * NSEC_MS);
    ask(&t, control, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*0\r\n");

    story_print(&t, a, "INCR n1\r\nAPPEND a1 x\r\n");
    story_run(&t, 5 * NSEC_MS);
    for (unsigned node = 0; node < 3; node++) {
        unsigned c = connect_control(&t, node);
        ask(&t, c, "SET sumcache:flush 1 NX PX 10000", "+OK\r\n");
        ask(&t, c, "FLUSHALL ASYNC", "+OK\r\n");
        ask(&t, c, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*0\r\n");
    }
    t.got[a].head = t.got[a].len = 0;
    story_print(&t, a, "MGET %s\r\n", other);
    story_hear(&t, a, "*1\r\n$-1\r\n", 5 * NSEC_MS);
    story_end(&t);
}

/* What is there all the time is found, though other keys come and go. */
static void test_a_scan_misses_nothing_that_stays(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    char line[64], reply[300];
    story_begin(&t, &o);
    unsigned control = connect_control(&t, 0);
    const char *stays[2] = {story_key(&t, 0, 1), story_key(&t, 0, 2)};
    const char *goes = story_key(&t, 0, 0);
    for (unsigned i = 0; i < 2; i++)
        story_put(&t, 0, stays[i], 20);
    bool seen[2] = {false};
    unsigned long long cursor = 0;
    unsigned calls = 0;
    do {
        if (calls % 2 == 0)
            story_put(&t, 0, goes, 20);
        snprintf(line, sizeof(line), "SCAN %llu COUNT 3", cursor);
        answer(&t, control, line, reply, sizeof(reply));
        const char *number = strchr(reply + 4, '\n'); /* "*2", then the cursor as a bulk string */
        assert_non_null(number);
        cursor = strtoull(number + 1, NULL, 10);
        for (unsigned i = 0; i < 2; i++) {
            char item[32];
            snprintf(item, sizeof(item), "\r\n%s\r\n", stays[i]);
            seen[i] |= strstr(reply, item) != NULL;
        }
        snprintf(line, sizeof(line), "UNLINK %s", goes);
        answer(&t, control, line, reply, sizeof(reply));
        calls++;
    } while (cursor != 0);
    assert_true(seen[0] && seen[1]);
    assert_in_range(calls, 5, 200);
    story_end(&t);
}

static void test_the_proxy_keeps_notes_on_a_node(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned c = connect_control(&t, 2);
    ask(&t, c, "GET sumcache:flush", "$-1\r\n");
    ask(&t, c, "SET sumcache:flush me NX PX 50", "+OK\r\n");
    ask(&t, c, "SET sumcache:flush you PX 50 NX", "$-1\r\n");
    ask(&t, c, "GET sumcache:flush", "$2\r\nme\r\n");
    ask(&t, c, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*1\r\n$14\r\nsumcache:flush\r\n");
    story_run(&t, 60 * NSEC_MS);
    ask(&t, c, "GET sumcache:flush", "$-1\r\n");
    ask(&t, c, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*0\r\n");
    ask(&t, c, "SET sumcache:mark one", "+OK\r\n");
    ask(&t, c, "SET sumcache:mark two", "+OK\r\n");
    ask(&t, c, "GET sumcache:mark", "$3\r\ntwo\r\n");
    ask(&t, c, "UNLINK sumcache:mark sumcache:none", ":1\r\n");
    ask(&t, c, "GET sumcache:mark", "$-1\r\n");
    ask(&t, c, "SET sumcache:mark three", "+OK\r\n");
    ask(&t, c, "SET sumcache:flush 1 NX PX 10000", "+OK\r\n");
    ask(&t, c, "FLUSHALL", "+OK\r\n");
    ask(&t, c, "GET sumcache:mark", "$-1\r\n");
    t.s->nodes[2]->loading_until = io_sim_now(t.s->world) + 10 * NSEC_MS;
    ask(&t, c, "SCAN 0", "-LOADING Redis is loading the dataset in memory\r\n");
    t.s->nodes[2]->loading_until = 0;
    story_end(&t);
}

/* Clients' commands and the proxy's own are kept apart. */
static void test_whose_command_it_is_is_told_by_the_connection(void **state)
{
    (void)state;
    static const struct {
        bool control;
        const char *line, *mistake;
    } CASES[] = {
        {true, "MGET s1", "a client's command on the proxy's own connection"},
        {true, "SET s1 x", "no note of the proxy's"},
        {true, "UNLINK other", "no key of ours"},
        {true, "SCAN 100000", "a cursor that it never gave"},
        {true, "CLIENT LIST", "not a form of CLIENT"},
        {false, "FLUSHALL NOW", "not a form of FLUSHALL"},
        {false, "PTTL sumcache:mark", "never to be sent on: PTTL"},
        {true, "FLUSHALL", "a flush by somebody who has not locked"},
        {false, "GET sumcache:mark", "a key nobody sent"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct story t;
        struct sim_options o = story_options();
        story_begin(&t, &o);
        unsigned c = CASES[i].control ? connect_control(&t, 0) : story_connect_node(&t, 0);
        say(&t, c, CASES[i].line);
        story_end_failing(&t, CASES[i].mistake, 5 * NSEC_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_tells_who_it_is),
        cmocka_unit_test(test_a_killed_connection_executes_nothing_more),
        cmocka_unit_test(test_a_thawing_node_kills_before_or_after),
        cmocka_unit_test(test_the_proxy_removes_keys_for_itself),
        cmocka_unit_test(test_a_scan_misses_nothing_that_stays),
        cmocka_unit_test(test_the_proxy_keeps_notes_on_a_node),
        cmocka_unit_test(test_whose_command_it_is_is_told_by_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
