/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client is in the middle of (MULTI, WATCH, BLPOP) while clients leave, nodes hang and
 * break, and keys get other owners. Each story ends with nothing left over: story_end() looks.
 */
#include "story.h"

#include "base/buf.h"
#include "base/nsec.h"

static const char QUEUED2[] = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
static const char ABORTED[] = "-EXECABORT Transaction discarded because of previous errors.\r\n";

static void freeze(struct story *t, unsigned node, uint64_t ns)
{
    io_sim_freeze(t->s->world, io_sim_host_number(t->s->nodes[node]->io),
                  io_sim_now(t->s->world) + ns);
}

/* Its connections break; it is there again at once, and remembers all. */
static void cut(struct story *t, unsigned node)
{
    redis_model_crash(t->s->nodes[node], io_sim_now(t->s->world), false, 0);
}

static void set(struct story *t, unsigned client, const char *key)
{
    char value[32], line[128];
    snprintf(line, sizeof(line), "SET %s %s\r\n", key, story_value(key, value));
    story_ask(t, client, line, "+OK\r\n");
}

static void hear_popped(struct story *t, unsigned client, const char *key, uint64_t ns)
{
    char value[32], line[128];
    story_value(key, value);
    snprintf(line, sizeof(line), "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(key), key,
             strlen(value), value);
    story_hear_next(t, client, line, ns);
}

static void wait_blocked(struct story *t, unsigned count)
{
    for (int i = 0; i < 200 && story_metric(t, "clients_blocked") != count; i++)
        story_run(t, NSEC_MS / 10);
    assert_int_equal(story_metric(t, "clients_blocked"), count);
    story_run(t, 5 * NSEC_MS); /* and the node has it */
}

static uint64_t private_ones(const struct story *t)
{
    return story_metric(t, "upstreams_private");
}

static void test_a_transaction_is_one_piece(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *other = story_key(&t, 1, 0);
    char value[32];
    /* Both on one shared upstream, and requests of the same client before and behind. */
    story_print(&t, a, "GET %s\r\nMULTI\r\nGET %s\r\nDEL %s\r\nEXEC\r\nGET %s\r\nGET %s\r\n", other,
                key, key, key, other);
    story_print(&t, b, "SET %s %s\r\nMULTI\r\nEXISTS %s\r\nPING\r\nEXEC\r\n", key,
                story_value(key, value), key);
    story_run(&t, 10 * NSEC_MS);
    assert_int_equal(private_ones(&t), 0);
    assert_int_equal(story_metric(&t, "transactions"), 2);
    story_hear_next(&t, a, "$-1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n", NSEC_MS);
    t.got[a].len = t.got[b].len = 0;
    story_say(&t, b, "MULTI\r\n");
    story_print(&t, b, "SET %s %s\r\nGET %s\r\nEXEC\r\nECHO end\r\n", key, value, key);
    char hear[200];
    snprintf(hear, sizeof(hear), "%s*2\r\n+OK\r\n$%zu\r\n%s\r\n$3\r\nend\r\n", QUEUED2,
             strlen(value), value);
    story_hear(&t, b, hear, 10 * NSEC_MS);
    story_end(&t);
}

static void test_what_is_watched_and_written_makes_exec_nil(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *more = story_key(&t, 0, 1);
    char line[160];
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nGET %s\r\n", key, more);
    story_ask(&t, a, line, "+OK\r\n+OK\r\n+QUEUED\r\n");
    set(&t, b, key);
    story_ask(&t, a, "EXEC\r\n", "*-1\r\n");
    story_ask(&t, a, line, "+OK\r\n+OK\r\n+QUEUED\r\n");
    story_ask(&t, a, "EXEC\r\n", "*1\r\n$-1\r\n");
    /* Left watched by who went: the next one on that upstream does not care. */
    story_ask(&t, a, line, "+OK\r\n+OK\r\n+QUEUED\r\n");
    story_leave(&t, a);
    story_run(&t, 5 * NSEC_MS);
    set(&t, b, key);
    unsigned c = story_connect(&t);
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nGET %s\r\nEXEC\r\n", more, more);
    story_ask(&t, c, line, "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    assert_int_equal(private_ones(&t), 1);
    story_end(&t);
}

static void test_a_hung_node_costs_exec_its_deadline(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    char line[200];
    set(&t, a, key);
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nDEL %s\r\nEXISTS %s\r\n", key, key, key);
    story_ask(&t, a, line, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    snprintf(line, sizeof(line), "MULTI\r\nDEL %s\r\nEXISTS %s\r\n", key, key);
    story_ask(&t, b, line, QUEUED2);
    freeze(&t, 0, o.proxy.request_timeout + 50 * NSEC_MS);
    story_say(&t, a, "EXEC\r\nPING\r\n");
    story_say(&t, b, "EXEC\r\nPING\r\n");
    story_run(&t, o.proxy.request_timeout - 5 * NSEC_MS);
    story_hear(&t, a, "", NSEC_MS);
    story_run(&t, 10 * NSEC_MS);
    for (unsigned i = 0; i < 2; i++) {
        unsigned client = i == 0 ? a : b;
        *bytes_room(&t.got[client], 1) = '\0';
        assert_non_null(strstr((const char *)bytes_at(&t.got[client]), " timed out\r\n+PONG\r\n"));
        t.got[client].len = 0;
    }
    /* Four replies that nobody wants: of MULTI, of the two, and of EXEC. */
    story_run(&t, 100 * NSEC_MS);
    snprintf(line, sizeof(line), "EXISTS %s\r\n", key);
    story_ask(&t, b, line, ":0\r\n");
    story_end(&t);
}

/* `text` with the key in place of each KEY. */
static void say_with_key(struct story *t, unsigned client, const char *text, const char *key)
{
    struct bytes say = {0};
    for (const char *at; (at = strstr(text, "KEY")) != NULL; text = at + 3) {
        bytes_add(&say, text, (size_t)(at - text));
        bytes_add(&say, key, strlen(key));
    }
    bytes_add(&say, text, strlen(text));
    story_say_bytes(t, client, bytes_at(&say), say.len);
    bytes_free(&say);
}

/* Everybody leaves at a moment of their own. */
static void test_leaving_in_each_state(void **state)
{
    (void)state;
    static const char *const SAYS[] = {
        "MULTI\r\n",
        "MULTI\r\nGET KEY\r\nPING\r\n",
        "MULTI\r\nGET KEY\r\nEXEC\r\n",
        "MULTI\r\nPING\r\nGET KEY\r\nEXEC\r\n",
        "WATCH KEY\r\n",
        "WATCH KEY\r\nMULTI\r\nGET KEY\r\n",
        "WATCH KEY\r\nMULTI\r\nGET KEY\r\nEXEC\r\n",
        "WATCH KEY\r\nMULTI\r\nGET KEY\r\nPING\r\nEXEC\r\nGET KEY\r\n",
        "BLPOP KEY 0\r\n",
        "BLPOP KEY 0.02\r\nPING\r\n",
        "GET KEY\r\nBLPOP KEY 0\r\nGET KEY\r\n",
        "WATCH KEY\r\nBLPOP KEY 0\r\n",
    };
    enum { STATES = sizeof(SAYS) / sizeof(SAYS[0]) };
    static const uint64_t AFTER_US[] = {0, 20, 100, 200, 400, 800, 2000, 30000};
    struct story t;
    struct sim_options o = story_options();
    o.weather.latency_min = 50 * NSEC_US;
    o.weather.latency_max = 150 * NSEC_US;
    for (unsigned hung = 0; hung < 2; hung++) {
        for (unsigned i = 0; i < sizeof(AFTER_US) / sizeof(AFTER_US[0]); i++) {
            story_begin(&t, &o);
            const char *key = story_key(&t, 0, 0);
            unsigned first = story_connect(&t);
            for (unsigned k = 1; k < STATES; k++)
                story_connect(&t);
            if (hung)
                freeze(&t, 0, 20 * NSEC_MS);
            for (unsigned k = 0; k < STATES; k++) {
                say_with_key(&t, first + k, SAYS[k], key);
            }
            story_run(&t, AFTER_US[i] * NSEC_US);
            for (unsigned k = 0; k < STATES; k++) {
                if ((k + i) % 2 == 0)
                    io_sim_reset(t.s->world, t.handles[first + k]);
                story_leave(&t, first + k);
            }
            story_run(&t, 300 * NSEC_MS);
            struct worker_debt d = worker_debt(t.s->proxies[0].workers[0]);
            assert_int_equal(d.clients, 0);
            assert_int_equal(d.sessions, 0);
            assert_int_equal(d.owned_upstreams, 0);
            assert_int_equal(d.upstream_queue, 0);
            assert_int_equal(story_metric(&t, "clients_blocked"), 0);
            story_end(&t);
        }
    }
}

static void test_who_waits_costs_the_node_nothing(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *more = story_key(&t, 0, 1);
    story_print(&t, a, "BLPOP %s 0\r\nPING\r\n", key);
    story_print(&t, c, "BLPOP %s 3\r\nPING\r\n", more);
    wait_blocked(&t, 2);
    story_run(&t, 2900 * NSEC_MS);
    assert_int_equal(story_metric(&t, "upstreams_silent"), 0);
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_hear(&t, c, "", NSEC_MS);
    story_hear(&t, c, "*-1\r\n+PONG\r\n", 120 * NSEC_MS);
    set(&t, b, key);
    hear_popped(&t, a, key, 10 * NSEC_MS);
    story_hear(&t, a, "+PONG\r\n", 10 * NSEC_MS);
    assert_int_equal(private_ones(&t), 2);
    story_end(&t);
}

static void test_clients_unblock_others(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.workers = 2;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    unsigned ids[3];
    for (unsigned i = 0; i < 3; i++) {
        story_say(&t, a + i, "CLIENT ID\r\n");
        story_run(&t, 2 * NSEC_MS);
        *bytes_room(&t.got[a + i], 1) = '\0';
        ids[i] = (unsigned)atoi((const char *)bytes_at(&t.got[a + i]) + 1);
        t.got[a + i].len = 0;
    }
    assert_true(ids[0] % 2 != ids[1] % 2); /* on different workers */
    story_print(&t, a, "BLPOP %s 0\r\nPING\r\n", key);
    story_print(&t, b, "BLPOP %s 0\r\nPING\r\n", key);
    wait_blocked(&t, 2);
    story_print(&t, c, "CLIENT UNBLOCK %u\r\nCLIENT UNBLOCK %u ERROR\r\nPING\r\n", ids[0], ids[1]);
    story_hear(&t, c, ":1\r\n:1\r\n+PONG\r\n", 10 * NSEC_MS);
    story_hear(&t, a, "*-1\r\n+PONG\r\n", 10 * NSEC_MS);
    story_hear(&t, b, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n+PONG\r\n", 10 * NSEC_MS);
    /* Of a hung node the answer is not waited for longer than any. */
    story_print(&t, a, "BLPOP %s 0\r\nPING\r\n", key);
    wait_blocked(&t, 1);
    freeze(&t, 0, 300 * NSEC_MS);
    story_print(&t, c, "CLIENT UNBLOCK %u\r\nCLIENT UNBLOCK %u\r\n", ids[0], ids[1]);
    story_hear(&t, c, ":1\r\n:0\r\n", 10 * NSEC_MS);
    story_hear(&t, a, "*-1\r\n+PONG\r\n", o.proxy.request_timeout + 10 * NSEC_MS);
    story_run(&t, 500 * NSEC_MS);
    story_end(&t);
}

static void test_a_lost_connection_is_told(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    char line[200];
    story_run(&t, o.proxy.backoff_min + NSEC_MS); /* else it is not connected again at once */
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nGET %s\r\n", key, key);
    story_ask(&t, a, line, "+OK\r\n+OK\r\n+QUEUED\r\n");
    snprintf(line, sizeof(line), "MULTI\r\nEXISTS %s\r\n", key);
    story_ask(&t, b, line, "+OK\r\n+QUEUED\r\n");
    story_print(&t, c, "BLPOP %s 0\r\nPING\r\n", key);
    wait_blocked(&t, 1);
    cut(&t, 0);
    story_run(&t, 200 * NSEC_MS);
    *bytes_room(&t.got[c], 1) = '\0';
    assert_non_null(
        strstr((const char *)bytes_at(&t.got[c]), " closed the connection\r\n+PONG\r\n"));
    t.got[c].len = 0;
    story_ask(&t, a, "EXEC\r\n", "*-1\r\n");      /* what is watched may have changed */
    story_ask(&t, b, "EXEC\r\n", "*1\r\n:0\r\n"); /* it had nothing at the node */
    assert_int_equal(private_ones(&t), 0);
    story_end(&t);
}

static void test_limits_are_clear_errors(void **state)
{
    (void)state;
    static const char FULL[] = "-ERR sumcache: too many clients watch or wait (limits.private)\r\n";
    static const char LONG[] =
        "-ERR sumcache: limits.transaction_commands or transaction_bytes is reached\r\n";
    struct story t;
    struct sim_options o = story_options();
    o.proxy.private_max = 1;
    o.proxy.transaction_commands_max = 2;
    story_begin(&t, &o);
    unsigned a = story_connect(&t), b = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    char line[200], hear[300];
    story_print(&t, a, "BLPOP %s 0\r\n", key);
    wait_blocked(&t, 1);
    snprintf(line, sizeof(line), "BLPOP %s 0\r\nWATCH %s\r\nMULTI\r\nEXEC\r\n", key, key);
    snprintf(hear, sizeof(hear), "%s%s+OK\r\n*-1\r\n", FULL, FULL);
    story_ask(&t, b, line, hear);
    snprintf(line, sizeof(line), "MULTI\r\nGET %s\r\nPING\r\nGET %s\r\nEXEC\r\n", key, key);
    snprintf(hear, sizeof(hear), "%s%s%s", QUEUED2, LONG, ABORTED);
    story_ask(&t, b, line, hear);
    story_leave(&t, a);
    story_run(&t, 5 * NSEC_MS);
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nEXEC\r\n", key);
    story_ask(&t, b, line, "+OK\r\n+OK\r\n*0\r\n");
    /* One of the other RESP version takes its place. */
    story_say(&t, b, "HELLO 3\r\n");
    story_run(&t, 5 * NSEC_MS);
    t.got[b].len = 0;
    story_ask(&t, b, line, "+OK\r\n+OK\r\n*0\r\n");
    assert_int_equal(private_ones(&t), 1);
    story_end(&t);
}

/* SCAN is answered by an error as soon as its reply is too long, and the rest of that is still on
 * its way when the client goes on by a connection of its own. */
static void test_what_follows_a_reply_that_is_too_long_is_done(void **state)
{
    (void)state;
    static const char TOO_LONG[] =
        "-ERR sumcache: the reply is longer than limits.fan_out_reply\r\n";
    struct story t;
    struct sim_options o = story_options();
    o.nodes = 1;
    o.proxy.fanout_reply_max = 20;
    o.weather.buffer_min = o.weather.buffer_max = 20;
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    for (unsigned i = 0; i < 20; i++)
        set(&t, a, story_key(&t, 0, i));
    const char *key = story_key(&t, 0, 0);
    char line[128];
    story_say(&t, a, "SCAN 0 COUNT 1000\r\n");
    story_hear(&t, a, TOO_LONG, 20 * NSEC_MS);
    snprintf(line, sizeof(line), "WATCH %s\r\n", key);
    story_ask(&t, a, line, "+OK\r\n");
    assert_int_equal(story_metric(&t, "requests_timed_out"), 0);
    story_end(&t);
}

static void test_what_does_not_fit_aborts(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.proxy.memory_max = 8 * CHUNK_BYTES;
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    const char *key = story_key(&t, 0, 0);
    static char body[9000];
    memset(body, 'x', sizeof(body) - 1);
    story_say(&t, a, "MULTI\r\n");
    for (unsigned i = 0; i < 16; i++) {
        struct bytes say = {0};
        bytes_print(&say, "*3\r\n$6\r\nAPPEND\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key,
                    strlen(body));
        bytes_add(&say, body, strlen(body));
        bytes_print(&say, "\r\n");
        story_say_bytes(&t, a, bytes_at(&say), say.len);
        bytes_free(&say);
        story_run(&t, 2 * NSEC_MS);
    }
    t.got[a].len = 0;
    story_ask(&t, a, "EXEC\r\nPING\r\n",
              "-EXECABORT Transaction discarded because of previous errors.\r\n+PONG\r\n");
    assert_true(story_metric(&t, "memory_limit_hits") > 0);
    assert_int_equal(worker_debt(t.s->proxies[0].workers[0]).chunk_bytes, 0);
    story_end(&t);
}

/* ---- owners that change ---- */

static struct sim_options with_control(void)
{
    struct sim_options o = story_options();
    o.has_control = true;
    o.control = control_settings_default();
    o.control.interval = 200 * NSEC_MS;
    o.control.interval_out = 20 * NSEC_MS;
    o.control.timeout = 100 * NSEC_MS;
    o.control.healthy = 2;
    o.control.hold_min = 20 * NSEC_MS;
    o.control.hold_max = 100 * NSEC_MS;
    o.control.max_ejected = 100;
    o.control.flush_interval = 0;
    return o;
}

static void wait_for_calm(struct story *t)
{
    for (int i = 0; i < 1000 && !control_is_calm(t->s->proxies[0].control); i++)
        story_run(t, 10 * NSEC_MS);
    assert_true(control_is_calm(t->s->proxies[0].control));
    story_run(t, t->s->options.proxy.backoff_min);
}

static void test_an_owner_changes_in_each_state(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = with_control();
    o.workers = 2;
    story_begin(&t, &o);
    wait_for_calm(&t);
    unsigned watches = story_connect(&t), queues = story_connect(&t), waits = story_connect(&t),
             elsewhere = story_connect(&t), asks = story_connect(&t);
    const char *key = story_key(&t, 0, 0), *other = story_key(&t, 1, 0);
    char line[200];
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nGET %s\r\nDEL %s\r\n", key, key, key);
    story_ask(&t, watches, line, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    snprintf(line, sizeof(line), "MULTI\r\nGET %s\r\nDEL %s\r\n", key, key);
    story_ask(&t, queues, line, QUEUED2);
    story_print(&t, waits, "BLPOP %s 0\r\nPING\r\n", key);
    story_print(&t, elsewhere, "BLPOP %s 0\r\nPING\r\n", other);
    wait_blocked(&t, 2);
    /* It hangs, others miss their deadlines, it is taken out. */
    freeze(&t, 0, 2 * NSEC_S);
    for (unsigned i = 0; i < 5; i++) {
        story_print(&t, asks, "GET %s\r\n", key);
        story_run(&t, 100 * NSEC_MS);
    }
    t.got[asks].len = 0;
    story_hear(&t, waits, "*-1\r\n+PONG\r\n", 500 * NSEC_MS);
    story_ask(&t, watches, "EXEC\r\n", "*-1\r\n");
    story_ask(&t, queues, "EXEC\r\n", ABORTED);
    /* At the stand-in all goes on. */
    story_print(&t, waits, "BLPOP %s 0\r\n", key);
    wait_blocked(&t, 2);
    set(&t, asks, key);
    hear_popped(&t, waits, key, 10 * NSEC_MS);
    snprintf(line, sizeof(line), "WATCH %s\r\nMULTI\r\nGET %s\r\nDEL %s\r\n", key, key, key);
    story_ask(&t, watches, line, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    snprintf(line, sizeof(line), "MULTI\r\nGET %s\r\nDEL %s\r\n", key, key);
    story_ask(&t, queues, line, QUEUED2);
    story_print(&t, waits, "BLPOP %s 0\r\nPING\r\n", key);
    wait_blocked(&t, 2);
    /* It comes back, and with it its keys. */
    story_run(&t, 2 * NSEC_S);
    wait_for_calm(&t);
    story_hear(&t, waits, "*-1\r\n+PONG\r\n", 10 * NSEC_MS);
    story_ask(&t, watches, "EXEC\r\n", "*-1\r\n");
    story_ask(&t, queues, "EXEC\r\n", ABORTED);
    snprintf(line, sizeof(line), "MULTI\r\nGET %s\r\nDEL %s\r\nEXEC\r\n", key, key);
    story_ask(&t, queues, line, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$-1\r\n:0\r\n");
    /* Whose keys stayed was left alone all the time. */
    story_hear(&t, elsewhere, "", NSEC_MS);
    set(&t, asks, other);
    hear_popped(&t, elsewhere, other, 10 * NSEC_MS);
    story_hear(&t, elsewhere, "+PONG\r\n", 10 * NSEC_MS);
    story_end(&t);
}

/* One node is named at EXEC, then; keys of several are still too many. */
static void test_what_is_queued_before_a_node_is_known_is_done(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    o.view_at = 100 * NSEC_MS;
    story_begin(&t, &o);
    unsigned one = story_connect(&t), two = story_connect(&t), none = story_connect(&t);
    story_ask(&t, one, "MULTI\r\nGET s1\r\nDEL s1\r\n", QUEUED2);
    story_ask(&t, none, "MULTI\r\nECHO s1\r\nPING\r\n", QUEUED2);
    story_say(&t, two, "MULTI\r\n");
    for (int i = 0; i < 8; i++)
        story_print(&t, two, "GET s%d\r\n", i);
    story_hear_next(&t, two, "+OK\r\n", NSEC_MS);
    for (int i = 0; i < 8; i++)
        story_hear_next(&t, two, "+QUEUED\r\n", NSEC_MS);
    story_run(&t, 200 * NSEC_MS);
    story_ask(&t, one, "EXEC\r\n", "*2\r\n$-1\r\n:0\r\n");
    story_ask(&t, none, "EXEC\r\n", "*2\r\n$2\r\ns1\r\n+PONG\r\n");
    story_ask(&t, two, "EXEC\r\n", ABORTED);
    story_end(&t);
}

static void test_a_drain_ends_who_waits(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = story_options();
    /* Both of what the node then says come at once, or the worker would end between them. */
    o.weather.latency_min = o.weather.latency_max = 100 * NSEC_US;
    story_begin(&t, &o);
    unsigned a = story_connect(&t);
    story_print(&t, a, "BLPOP %s 0\r\nPING\r\n", story_key(&t, 0, 0));
    wait_blocked(&t, 1);
    assert_int_equal(worker_post_drain(t.s->proxies[0].workers[0]), 0);
    story_hear(&t, a, "*-1\r\n", 10 * NSEC_MS);
    story_run(&t, NSEC_MS);
    assert_true(t.closed[a]);
    story_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_transaction_is_one_piece),
        cmocka_unit_test(test_what_is_watched_and_written_makes_exec_nil),
        cmocka_unit_test(test_a_hung_node_costs_exec_its_deadline),
        cmocka_unit_test(test_leaving_in_each_state),
        cmocka_unit_test(test_who_waits_costs_the_node_nothing),
        cmocka_unit_test(test_clients_unblock_others),
        cmocka_unit_test(test_a_lost_connection_is_told),
        cmocka_unit_test(test_limits_are_clear_errors),
        cmocka_unit_test(test_what_follows_a_reply_that_is_too_long_is_done),
        cmocka_unit_test(test_what_does_not_fit_aborts),
        cmocka_unit_test(test_an_owner_changes_in_each_state),
        cmocka_unit_test(test_what_is_queued_before_a_node_is_known_is_done),
        cmocka_unit_test(test_a_drain_ends_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
