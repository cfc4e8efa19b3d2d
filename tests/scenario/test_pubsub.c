/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and subscribe where nodes go and come, one story each, and a storm of many seeds: each
 * message at most once, and exactly once where nothing broke (docs/decisions/0011).
 */
#include "ring/key_hash.h"
#include "story.h"

#include "base/nsec.h"
#include "redis_pubsub.h"

static void say(struct story *t, unsigned client, const char *line)
{
    char copy[300], *words[8] = {NULL}, *rest = NULL;
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
    story_hear(t, client, hear, 20 * NSEC_MS);
}

/* "*3 word name :count" */
static void hear_confirmation(struct story *t, unsigned client, const char *word, const char *name,
                              unsigned count)
{
    char text[200];
    snprintf(text, sizeof(text), "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:%u\r\n", strlen(word), word,
             strlen(name), name, count);
    story_hear_next(t, client, text, 200 * NSEC_MS);
}

static void subscribe(struct story *t, unsigned client, const char *name, unsigned count)
{
    char line[100];
    snprintf(line, sizeof(line), "SUBSCRIBE %s", name);
    say(t, client, line);
    hear_confirmation(t, client, "subscribe", name, count);
}

static void hear_message(struct story *t, unsigned client, const char *name, const char *text)
{
    char whole[200];
    snprintf(whole, sizeof(whole), "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
             strlen(name), name, strlen(text), text);
    story_hear_next(t, client, whole, 20 * NSEC_MS);
}

static void publish(struct story *t, unsigned client, const char *name, const char *text,
                    unsigned heard)
{
    char line[200], reply[16];
    snprintf(line, sizeof(line), "PUBLISH %s %s", name, text);
    snprintf(reply, sizeof(reply), ":%u\r\n", heard);
    ask(t, client, line, reply);
}

static struct sim_options options(void)
{
    struct sim_options o = story_options();
    o.proxy.feed_timeout = 200 * NSEC_MS;
    return o;
}

/* It takes what is sent, and says nothing for so long. */
static void freeze(struct story *t, unsigned node, uint64_t ns)
{
    io_sim_freeze(t->s->world, io_sim_host_number(t->s->nodes[node]->io),
                  io_sim_now(t->s->world) + ns);
}

static uint32_t fed_at(const struct story *t, unsigned node, const char *name)
{
    return redis_pubsub_count(t->s->nodes[node], name);
}

/* ---- stories ---- */

static void one_feed_for_all_clients_of_a_worker(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    const char *name = story_key(&t, 1, 0);
    unsigned a = story_connect(&t), b = story_connect(&t), c = story_connect(&t);
    subscribe(&t, a, name, 1);
    subscribe(&t, b, name, 1);
    assert_int_equal(fed_at(&t, 1, name), 1);
    publish(&t, c, name, "x", 1);
    hear_message(&t, a, name, "x");
    hear_message(&t, b, name, "x");
    story_leave(&t, a);
    publish(&t, c, name, "y", 1);
    hear_message(&t, b, name, "y");
    ask(&t, b, "RESET", "+RESET\r\n");
    story_run(&t, 10 * NSEC_MS);
    assert_int_equal(fed_at(&t, 1, name), 0);
    publish(&t, c, name, "z", 0);
    story_run(&t, 500 * NSEC_MS); /* twice the time-out: nobody needs the feed */
    assert_int_equal(story_metric(&t, "feeds_ready"), 0);
    assert_int_equal(t.got[b].len, 0);
    story_end(&t);
}

static void a_feed_that_breaks_is_made_anew(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    const char *name = story_key(&t, 1, 0);
    unsigned a = story_connect(&t), b = story_connect(&t);
    subscribe(&t, a, name, 1);
    redis_model_crash(t.s->nodes[1], io_sim_now(t.s->world) + 300 * NSEC_MS, true, 0);
    story_run(&t, 50 * NSEC_MS);
    assert_int_equal(story_metric(&t, "feeds_waiting"), 1);
    /* It is down: who subscribes now is told so after the deadline, and will be fed. */
    uint64_t began = io_sim_now(t.s->world);
    subscribe(&t, b, name, 1);
    assert_in_range(io_sim_now(t.s->world) - began, o.proxy.request_timeout,
                    o.proxy.request_timeout + 10 * NSEC_MS);
    assert_int_equal(story_metric(&t, "subscriptions_unfed"), 1);
    story_run(&t, 3 * NSEC_S);
    unsigned c = story_connect(&t);
    publish(&t, c, name, "x", 1);
    hear_message(&t, a, name, "x");
    hear_message(&t, b, name, "x");
    story_end(&t);
}

static void a_silent_node_is_found_out(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    const char *name = story_key(&t, 1, 0);
    unsigned a = story_connect(&t);
    subscribe(&t, a, name, 1);
    /* It answers PINGs for as long as it lives. */
    story_run(&t, 2 * NSEC_S);
    assert_int_equal(story_metric(&t, "feeds_failed"), 0);
    freeze(&t, 1, 2 * NSEC_S);
    story_run(&t, 3 * o.proxy.feed_timeout);
    assert_true(story_metric(&t, "feeds_failed") >= 1);
    story_run(&t, 4 * NSEC_S);
    unsigned b = story_connect(&t);
    say(&t, b, "PUBLISH s1 x"); /* whatever the number is: the old one may still be there */
    story_run(&t, 20 * NSEC_MS);
    assert_int_equal(story_metric(&t, "feeds_ready"), 1);
    story_end(&t);
}

/* ---- owners change ---- */

static void set_present(struct story *t, unsigned node, bool present)
{
    t->s->node_present[node] = present;
    sim_post_view(t->s);
}

static void an_owner_changes_make_before_break(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    set_present(&t, 2, false);
    story_run(&t, 3 * NSEC_S); /* all windows are closed */
    unsigned a = story_connect(&t), b = story_connect(&t);
    /* A channel that node 2 will own. */
    char name[16] = "";
    set_present(&t, 2, true);
    snprintf(name, sizeof(name), "%s", story_key(&t, 2, 0));
    set_present(&t, 2, false);
    story_run(&t, 3 * NSEC_S);
    subscribe(&t, a, name, 1);
    unsigned old = fed_at(&t, 0, name) ? 0 : 1;
    assert_int_equal(fed_at(&t, old, name), 1);

    set_present(&t, 2, true);
    story_run(&t, 5 * NSEC_MS);
    assert_int_equal(fed_at(&t, old, name), 1);
    assert_int_equal(fed_at(&t, 2, name), 1);
    uint64_t executed = t.s->nodes[2]->executed;
    publish(&t, b, name, "old", 1); /* still there, as other workers may do */
    assert_int_equal(t.s->nodes[2]->executed, executed);
    hear_message(&t, a, name, "old");
    /* Who subscribes now is not told before it is heard at both. */
    unsigned c = story_connect(&t);
    subscribe(&t, c, name, 1);
    publish(&t, b, name, "both", 1);
    hear_message(&t, a, name, "both");
    hear_message(&t, c, name, "both");
    story_run(&t, o.proxy.feed_timeout);
    publish(&t, b, name, "new", 1);
    assert_true(t.s->nodes[2]->executed > executed);
    hear_message(&t, a, name, "new");
    hear_message(&t, c, name, "new");
    assert_int_equal(fed_at(&t, old, name), 1);
    story_run(&t, 6 * o.proxy.feed_timeout);
    assert_int_equal(fed_at(&t, old, name), 0);
    assert_int_equal(fed_at(&t, 2, name), 1);
    assert_int_equal(t.got[a].len, 0);
    assert_int_equal(t.got[c].len, 0);
    story_end(&t);
}

/* ---- order ---- */

static void a_message_waits_behind_a_confirmation(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    char first[16], second[16];
    snprintf(first, sizeof(first), "%s", story_key(&t, 0, 0));
    snprintf(second, sizeof(second), "%s", story_key(&t, 1, 0));
    unsigned a = story_connect(&t), b = story_connect(&t);
    subscribe(&t, a, first, 1);
    freeze(&t, 1, 50 * NSEC_MS);
    char line[64];
    snprintf(line, sizeof(line), "SUBSCRIBE %s", second);
    say(&t, a, line);
    publish(&t, b, first, "x", 1);
    publish(&t, b, first, "y", 1);
    assert_int_equal(t.got[a].len, 0);
    story_run(&t, 60 * NSEC_MS);
    hear_confirmation(&t, a, "subscribe", second, 2);
    hear_message(&t, a, first, "x");
    hear_message(&t, a, first, "y");
    story_end(&t);
}

static void even_a_push_waits_behind_a_confirmation(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    char first[16], second[16], line[300];
    snprintf(first, sizeof(first), "%s", story_key(&t, 0, 0));
    snprintf(second, sizeof(second), "%s", story_key(&t, 1, 0));
    unsigned a = story_connect(&t), b = story_connect(&t);
    say(&t, a, "HELLO 3");
    snprintf(line, sizeof(line), "SUBSCRIBE %s", first);
    say(&t, a, line);
    story_run(&t, 20 * NSEC_MS);
    t.got[a].head = t.got[a].len = 0;
    freeze(&t, 1, 50 * NSEC_MS);
    snprintf(line, sizeof(line), "SUBSCRIBE %s", second);
    say(&t, a, line);
    publish(&t, b, first, "x", 1);
    publish(&t, b, first, "y", 1);
    assert_int_equal(t.got[a].len, 0);
    snprintf(line, sizeof(line),
             ">3\r\n$9\r\nsubscribe\r\n$2\r\n%s\r\n:2\r\n"
             ">3\r\n$7\r\nmessage\r\n$2\r\n%s\r\n$1\r\nx\r\n"
             ">3\r\n$7\r\nmessage\r\n$2\r\n%s\r\n$1\r\ny\r\n",
             second, first, first);
    story_hear(&t, a, line, 80 * NSEC_MS);
    story_end(&t);
}

static void a_push_overtakes_a_reply_that_has_not_begun(void **state)
{
    (void)state;
    struct story t;
    struct sim_options o = options();
    story_begin(&t, &o);
    char first[16], second[16];
    snprintf(first, sizeof(first), "%s", story_key(&t, 0, 0));
    snprintf(second, sizeof(second), "%s", story_key(&t, 1, 0));
    unsigned a = story_connect(&t), b = story_connect(&t);
    say(&t, a, "HELLO 3");
    story_run(&t, 10 * NSEC_MS);
    t.got[a].head = t.got[a].len = 0;
    char line[200];
    snprintf(line, sizeof(line), "SUBSCRIBE %s", first);
    say(&t, a, line);
    snprintf(line, sizeof(line), ">3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(first),
             first);
    story_hear(&t, a, line, 20 * NSEC_MS);
    story_set(&t, b, second, 20);
    say(&t, a, "HELLO 3"); /* so that its upstreams are there */
    story_run(&t, 10 * NSEC_MS);
    t.got[a].head = t.got[a].len = 0;
    snprintf(line, sizeof(line), "STRLEN %s", second);
    ask(&t, a, line, ":20\r\n");
    freeze(&t, 1, 50 * NSEC_MS);
    say(&t, a, line);
    publish(&t, b, first, "x", 1);
    snprintf(line, sizeof(line), ">3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$1\r\nx\r\n:20\r\n",
             strlen(first), first);
    story_hear(&t, a, line, 80 * NSEC_MS);
    story_end(&t);
}

/* ---- a storm ---- */

enum { CHANNELS = 6, LISTENERS = 6, TELLER = LISTENERS, STORM_MAX = 4000 };

struct storm {
    struct story t;
    struct rng rng;
    unsigned told;
    uint8_t times[LISTENERS][STORM_MAX]; /* that each heard each message */
};

/* Payloads are <000017>, and nothing else looks like that. */
static void count_messages(struct storm *s)
{
    for (unsigned i = 0; i < LISTENERS; i++) {
        struct bytes *got = &s->t.got[i];
        while (got->len >= 8) {
            const char *p = (const char *)bytes_at(got);
            const char *at = memchr(p, '<', got->len);
            if (!at) {
                got->head = got->len = 0;
                break;
            }
            bytes_take(got, (size_t)(at - p));
            if (got->len < 8)
                break;
            unsigned number = (unsigned)strtoul((const char *)bytes_at(got) + 1, NULL, 10);
            assert_true(number < s->told);
            if (++s->times[i][number] > 1)
                fail_msg("listener %u heard message %u twice", i, number);
            bytes_take(got, 8);
        }
    }
}

static void tell(struct storm *s)
{
    char line[64];
    must(s->told < STORM_MAX);
    snprintf(line, sizeof(line), "PUBLISH c%u <%06u>", s->told % CHANNELS, s->told);
    s->told++;
    say(&s->t, TELLER, line);
}

static void begin_storm(struct storm *s, uint64_t seed, bool rough)
{
    struct sim_options o = options();
    o.workers = 2;
    o.adopt_max = 20 * NSEC_MS;
    o.proxy.backoff_max = 200 * NSEC_MS;
    o.weather.latency_max = 2 * NSEC_MS;
    if (rough) {
        o.drip_chance = 50;
        o.weather.piece_chance = o.weather.short_read_chance = o.weather.short_write_chance = 200;
        o.weather.spurious_chance = 50;
    }
    *s = (struct storm){.rng = {seed}};
    story_begin(&s->t, &o);
    for (unsigned i = 0; i <= LISTENERS; i++)
        story_connect(&s->t);
    for (unsigned i = 0; i < LISTENERS; i++) {
        if (i % 3 == 2)
            say(&s->t, i, "HELLO 3");
        say(&s->t, i, i % 2 ? "PSUBSCRIBE c*" : "SUBSCRIBE c0 c1 c2 c3 c4 c5");
    }
    story_run(&s->t, 300 * NSEC_MS);
}

/* All is well, and nothing changes: each message is heard by everybody. */
static void check_calm(struct storm *s)
{
    for (unsigned i = 0; i < 3; i++)
        s->t.s->node_present[i] = true;
    sim_post_view(s->t.s);
    story_run(&s->t, 6 * NSEC_S);
    unsigned first = s->told;
    for (unsigned i = 0; i < 30; i++)
        tell(s);
    story_run(&s->t, 200 * NSEC_MS);
    count_messages(s);
    for (unsigned i = 0; i < LISTENERS; i++)
        for (unsigned n = first; n < s->told; n++)
            if (s->times[i][n] != 1)
                fail_msg("listener %u did not hear message %u of %u to %u", i, n, first, s->told);
    /* Each channel at one node, for each worker that wants it at most. */
    for (unsigned c = 0; c < CHANNELS; c++) {
        char name[8];
        unsigned nodes = 0;
        snprintf(name, sizeof(name), "c%u", c);
        for (unsigned i = 0; i < 3; i++)
            nodes += fed_at(&s->t, i, name) > 0;
        assert_int_equal(nodes, 1);
    }
}

static void owners_that_change_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct storm *s = calloc(1, sizeof(*s));
        must(s);
        begin_storm(s, seed, false);
        for (unsigned i = 0; i < 8; i++) {
            unsigned node = (unsigned)rng_below(&s->rng, 3);
            s->t.s->node_weight[node] = 1 + (uint32_t)rng_below(&s->rng, 4);
            sim_post_view(s->t.s);
            for (unsigned k = 0; k < 10; k++) {
                tell(s);
                story_run(&s->t, rng_below(&s->rng, 30) * NSEC_MS);
            }
            count_messages(s);
        }
        story_run(&s->t, 300 * NSEC_MS);
        count_messages(s);
        for (unsigned i = 0; i < LISTENERS; i++)
            for (unsigned n = 0; n < s->told; n++)
                if (s->times[i][n] != 1)
                    fail_msg("seed %u: listener %u did not hear message %u", (unsigned)seed, i, n);
        check_calm(s);
        story_end(&s->t);
        free(s);
    }
}

static void a_storm_of_faults_and_nothing_comes_twice(void **state)
{
    static const enum redis_sabotage MISTAKES[] = {
        SABOTAGE_GARBAGE, SABOTAGE_PUSH, SABOTAGE_HALF_REPLY, SABOTAGE_HALT, SABOTAGE_STRAY};
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct storm *s = calloc(1, sizeof(*s));
        must(s);
        begin_storm(s, seed, seed % 2);
        for (unsigned i = 0; i < 40; i++) {
            unsigned node = (unsigned)rng_below(&s->rng, 3);
            struct redis_model *m = s->t.s->nodes[node];
            uint64_t now = io_sim_now(s->t.s->world);
            switch (rng_below(&s->rng, 10)) {
            case 0:
                redis_model_crash(m, now + rng_below(&s->rng, 500) * NSEC_MS, rng_below(&s->rng, 2),
                                  0);
                break;
            case 1:
                freeze(&s->t, node, rng_below(&s->rng, 900) * NSEC_MS);
                break;
            case 2:
            case 3:
                s->t.s->node_present[node] = !s->t.s->node_present[node];
                sim_post_view(s->t.s);
                break;
            case 4: { /* of a listener: it comes back to it in another order */
                unsigned who = (unsigned)rng_below(&s->rng, LISTENERS);
                say(&s->t, who, who % 2 ? "PUNSUBSCRIBE c*" : "UNSUBSCRIBE c0 c1 c2");
                say(&s->t, who, who % 2 ? "PSUBSCRIBE c*" : "SUBSCRIBE c2 c1 c0");
                break;
            }
            case 5:
            case 6:
                (void)redis_model_sabotage(m, MISTAKES[rng_below(&s->rng, 5)]);
                break;
            default:
                break;
            }
            tell(s);
            story_run(&s->t, rng_below(&s->rng, 100) * NSEC_MS);
            count_messages(s);
        }
        for (unsigned i = 0; i < 3; i++)
            redis_model_heal(s->t.s->nodes[i]);
        story_run(&s->t, NSEC_S);
        check_calm(s);
        story_end(&s->t);
        free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_feed_for_all_clients_of_a_worker),
        cmocka_unit_test(a_feed_that_breaks_is_made_anew),
        cmocka_unit_test(a_silent_node_is_found_out),
        cmocka_unit_test(an_owner_changes_make_before_break),
        cmocka_unit_test(a_message_waits_behind_a_confirmation),
        cmocka_unit_test(even_a_push_waits_behind_a_confirmation),
        cmocka_unit_test(a_push_overtakes_a_reply_that_has_not_begun),
        cmocka_unit_test(owners_that_change_lose_nothing),
        cmocka_unit_test(a_storm_of_faults_and_nothing_comes_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
