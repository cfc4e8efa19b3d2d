/* SPDX-License-Identifier: Apache-2.0 */
/* Which reads are stale: histories in words, and drawn ones against the definition itself. */
#include "stale.h"

#include "base/nsec.h"
#include "base/rng.h"
#include "checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 6, LETTERS = 26, VALUE_LEN = 40, REQUEST_MS = 100, PAUSE_MS = 3 };

static const struct io_socket_options NO_OPTIONS;
static const struct addr PROXY = {.family = ADDR_V4, .port = 6379, .ip = {10, 0, 1, 1}};

/* A checker, and a connection of each client to a proxy that does nothing. */
struct fixture {
    struct trace trace;
    struct sim_options options;
    struct checker k;
    struct io *client, *proxy;
    int listener, near[CLIENTS], far[CLIENTS];
    unsigned clients[LETTERS]; /* of the command with that letter */
    uint32_t seqs[LETTERS];
};

static void pass(struct fixture *f, uint64_t ns)
{
    uint64_t end = io_sim_now(f->k.world) + ns;
    for (unsigned host = 0; host < io_sim_host_count(f->k.world); host++)
        io_sim_freeze(f->k.world, host, end);
    while (io_sim_now(f->k.world) < end)
        io_sim_advance(f->k.world, end);
}

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){0};
    trace_init(&f->trace, NULL, false);
    f->options.proxy = proxy_settings_default();
    f->options.proxy.request_timeout = REQUEST_MS * NSEC_MS;
    f->options.pause_max = PAUSE_MS * NSEC_MS;
    f->options.stale_checked = true;
    checker_init(&f->k, io_sim_new(1, &f->trace), &f->options);
    f->client = io_sim_host(f->k.world);
    f->proxy = io_sim_host(f->k.world);
    f->listener = f->proxy->ops->listen(f->proxy->ctx, &PROXY, 16);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct addr peer;
        f->near[i] = f->client->ops->connect(f->client->ctx, &PROXY, &NO_OPTIONS);
        pass(f, NSEC_MS);
        f->far[i] = f->proxy->ops->accept(f->proxy->ctx, f->listener, &NO_OPTIONS, &peer);
        assert_true(f->far[i] >= 0);
    }
}

static void close_fixture(struct fixture *f)
{
    struct io_sim *w = f->k.world;
    checker_fini(&f->k);
    io_sim_free(w);
    trace_fini(&f->trace);
}

static struct check_command *command(struct fixture *f, char letter)
{
    unsigned i = (unsigned)(letter - 'a');
    struct check_command *c = checker_find(&f->k, f->clients[i], f->seqs[i]);
    assert_non_null(c);
    return c;
}

/* ---- histories in words ---- */

static const struct {
    const char *name;
    enum check_kind kind;
} KINDS[] = {
    {"GET", CHECK_GET},   {"MGET", CHECK_MGET}, {"SET", CHECK_SET},       {"SETEX", CHECK_SETEX},
    {"MSET", CHECK_MSET}, {"DEL", CHECK_DEL},   {"UNLINK", CHECK_UNLINK},
};

/* "SET:1", "MGET:1,2", "SET:1e": of an empty value. */
static void make_command(struct fixture *f, char letter, unsigned client, const char *text)
{
    const char *colon = strchr(text, ':');
    assert_non_null(colon);
    enum check_kind kind = CHECK_KINDS;
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strlen(KINDS[i].name) == (size_t)(colon - text) &&
            memcmp(KINDS[i].name, text, (size_t)(colon - text)) == 0)
            kind = KINDS[i].kind;
    }
    assert_int_not_equal(kind, CHECK_KINDS);
    uint32_t parts = 1, seq;
    for (const char *p = colon; *p; p++)
        parts += *p == ',';
    struct check_command *c = checker_command(&f->k, client, kind, parts, &seq);
    const char *p = colon + 1;
    for (uint32_t i = 0; i < parts; i++, p++) {
        assert_true(isdigit((unsigned char)*p));
        c->parts[i].key = (struct check_key){.class = KEY_STRING,
                                             .number = (uint16_t)(*p - '0'),
                                             .tagged = true,
                                             .client = (uint16_t)client,
                                             .index = (uint16_t)i,
                                             .seq = seq};
        p++;
        c->parts[i].empty = *p == 'e';
        p += *p == 'e';
    }
    f->clients[letter - 'a'] = client;
    f->seqs[letter - 'a'] = seq;
    stale_begins(&f->k, c, f->near[client]);
}

/* The read `letter` gets for its n-th key what `from` wrote to that key: a letter, '0' for nil, 'e'
 * for an empty value. */
static void give(struct fixture *f, char letter, uint32_t n, char from)
{
    const struct check_command *c = command(f, letter);
    unsigned i = (unsigned)(letter - 'a');
    char value[VALUE_LEN];
    size_t len = 0;
    assert_true(n < c->part_count);
    if (from == '0')
        return;
    if (from != 'e') {
        const struct check_command *by = command(f, from);
        const struct check_key *key = NULL;
        for (uint32_t k = 0; k < by->part_count; k++) {
            if (by->parts[k].key.number == c->parts[n].key.number)
                key = &by->parts[k].key;
        }
        assert_non_null(key);
        len = check_value_make(key, VALUE_LEN, value);
    }
    stale_judge(&f->k, f->clients[i], f->seqs[i], n, value, len);
}

/*
 * One word of a history. `a2=SET:1`: client 2 begins a command that is called `a` from now on;
 * `a+` it is acknowledged, `a-` it fails, `a?` what looks like its answer may be another's;
 * `r=>ab` the read is answered with what `a` and `b` wrote; `2.` client 2 vanishes, `2!` the proxy
 * closes its connection; `~50` so many ms pass.
 */
static void play_word(struct fixture *f, const char *word)
{
    if (word[0] == '~') {
        pass(f, strtoull(word + 1, NULL, 10) * NSEC_MS);
    } else if (isdigit((unsigned char)word[0])) {
        unsigned client = (unsigned)(word[0] - '0');
        if (word[1] == '.')
            f->client->ops->close(f->client->ctx, f->near[client]);
        else
            f->proxy->ops->close(f->proxy->ctx, f->far[client]);
    } else if (word[1] == '=') {
        stale_answered(&f->k, command(f, word[0]), true, true);
        for (uint32_t i = 0; word[3 + i]; i++)
            give(f, word[0], i, word[3 + i]);
    } else if (isdigit((unsigned char)word[1])) {
        make_command(f, word[0], (unsigned)(word[1] - '0'), word + 3);
    } else {
        stale_answered(&f->k, command(f, word[0]), word[1] != '-', word[1] != '?');
    }
}

static void play(struct fixture *f, const char *history)
{
    char copy[400], *rest = NULL;
    assert_true(strlen(history) < sizeof(copy));
    snprintf(copy, sizeof(copy), "%s", history);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        play_word(f, word);
}

static void test_histories(void **state)
{
    (void)state;
    static const struct {
        const char *what, *history;
        bool stale;
    } CASES[] = {
        {"the older of two", "a0=SET:1 a+ b0=SET:1 b+ r0=GET:1 r=>a", true},
        {"the newer of two", "a0=SET:1 a+ b0=SET:1 b+ r0=GET:1 r=>b", false},
        {"a miss", "a0=SET:1 a+ b0=SET:1 b+ r0=GET:1 r=>0", false},
        {"another key's write", "a0=SET:1 a+ b0=SET:2 b+ r0=GET:1 r=>a", false},
        {"another client's", "a0=SET:1 a+ b1=SET:1 b+ r2=GET:1 r=>a", true},
        {"they overlap", "a0=SET:1 b1=SET:1 a+ b+ r2=GET:1 r=>a", false},
        {"they overlap, the other way", "a0=SET:1 b1=SET:1 b+ a+ r2=GET:1 r=>b", false},
        {"one lies inside the other", "a0=SET:1 b1=SET:1 b+ a+ r2=GET:1 r=>a", false},
        {"the read began before the acknowledgement", "a0=SET:1 a+ b0=SET:1 r1=GET:1 b+ r=>a",
         false},
        {"the next read did not", "a0=SET:1 a+ b0=SET:1 r1=GET:1 b+ r=>a q1=GET:1 q=>a", true},
        {"the newer one failed", "a0=SET:1 a+ b0=SET:1 b- r1=GET:1 r=>a", false},
        {"the newer one is under way", "a0=SET:1 a+ b0=SET:1 r1=GET:1 r=>a", false},
        {"what failed is there all the same", "a0=SET:1 a+ b0=SET:1 b- r1=GET:1 r=>b", false},
        {"what failed came after what is newer", "a0=SET:1 a- b0=SET:1 b+ r1=GET:1 r=>a", true},
        {"under way since before", "a0=SET:1 b1=SET:1 b+ r2=GET:1 r=>a", false},
        {"written after the read began", "a0=SET:1 a+ r1=GET:1 b0=SET:1 b+ r=>b", false},
        {"overwritten twice", "a0=SET:1 a+ b0=SET:1 b+ c0=SET:1 c+ r0=GET:1 r=>a", true},
        {"the middle one", "a0=SET:1 a+ b0=SET:1 b+ c0=SET:1 c+ r0=GET:1 r=>b", true},
        {"a chain of overlaps", "a0=SET:1 b1=SET:1 a+ c2=SET:1 b+ c+ r0=GET:1 r=>a", true},
        {"its middle", "a0=SET:1 b1=SET:1 a+ c2=SET:1 b+ c+ r0=GET:1 r=>b", false},
        {"the one acknowledged last began first",
         "a0=SET:1 b1=SET:1 b+ c1=SET:1 c+ a+ r0=GET:1 r=>b", true},
        {"and may be the latest", "a0=SET:1 b1=SET:1 b+ c1=SET:1 c+ a+ r0=GET:1 r=>a", false},
        {"deleted", "a0=SET:1 a+ b0=DEL:1 b+ r0=GET:1 r=>a", true},
        {"unlinked among others", "a0=SET:2 a+ b0=UNLINK:1,2 b+ r0=GET:2 r=>a", true},
        {"a DEL that failed", "a0=SET:1 a+ b0=DEL:1 b- r0=GET:1 r=>a", false},
        {"deleted and set anew", "a0=SET:1 a+ b0=DEL:1 b+ c0=SET:1 c+ r0=GET:1 r=>c", false},
        {"a DEL that overlaps", "a0=SET:1 b1=DEL:1 a+ b+ r0=GET:1 r=>a", false},
        {"SETEX", "a0=SETEX:1 a+ b0=SETEX:1 b+ r0=GET:1 r=>a", true},
        {"MSET is newer for each key", "a0=MSET:1,2 a+ b0=MSET:2,3 b+ r0=GET:2 r=>a", true},
        {"and for no other", "a0=MSET:1,2 a+ b0=MSET:2,3 b+ r0=GET:1 r=>a", false},
        {"an MSET that failed", "a0=MSET:1,2 a+ b0=MSET:1,2 b- r0=MGET:1,2 r=>ab", false},
        {"MGET, one is old", "a0=MSET:1,2 a+ b0=SET:2 b+ r0=MGET:1,2 r=>aa", true},
        {"MGET, none is", "a0=MSET:1,2 a+ b0=SET:2 b+ r0=MGET:1,2 r=>ab", false},
        {"MGET, one is a miss", "a0=MSET:1,2 a+ b0=SET:2 b+ r0=MGET:1,2 r=>a0", false},
        {"pipelined writes overlap", "a0=SET:1 b0=SET:1 a+ b+ r0=GET:1 r=>a", false},
        {"a read in their pipeline", "a0=SET:1 a+ b0=SET:1 r0=GET:1 b+ r=>a", false},
        {"pipelined reads", "a0=SET:1 a+ b0=SET:1 b+ q1=GET:1 r1=GET:1 q=>b r=>a", true},
        {"who vanished may be late", "a0=SET:1 0. b1=SET:1 b+ r1=GET:1 r=>a", false},
        {"whose connection the proxy still has", "a0=SET:1 0. ~900 b1=SET:1 b+ r1=GET:1 r=>a",
         false},
        {"for as long as a request waits", "a0=SET:1 0. ~5 0! ~105 b1=SET:1 b+ r1=GET:1 r=>a",
         false},
        {"and not for longer", "a0=SET:1 0. ~5 0! ~107 b1=SET:1 b+ r1=GET:1 r=>a", true},
        {"closed by the proxy", "a0=SET:1 ~5 0! ~107 b1=SET:1 b+ r1=GET:1 r=>a", true},
        {"closed by the proxy just now", "a0=SET:1 ~5 0! b1=SET:1 b+ r1=GET:1 r=>a", false},
        {"answered, then it vanished", "a0=SET:1 a+ 0. b1=SET:1 b+ r1=GET:1 r=>a", true},
        {"who vanished acknowledged nothing", "a1=SET:1 a+ b0=SET:1 0. 0! ~500 r1=GET:1 r=>a",
         false},
        {"an answer in doubt ends nothing", "a0=SET:1 a? b1=SET:1 b+ r1=GET:1 r=>a", false},
        {"and acknowledges nothing", "a0=SET:1 a+ b1=SET:1 b? r1=GET:1 r=>a", false},
        {"nothing, which was overwritten", "a0=SET:1e a+ b0=SET:1 b+ r0=GET:1 r=>e", true},
        {"nothing, which is newer", "a0=SET:1 a+ b0=SET:1e b+ r0=GET:1 r=>e", false},
        {"nothing, by one of two", "a0=SET:1e a+ b0=SET:1 b+ c0=SET:1e c- r0=GET:1 r=>e", false},
        {"nothing, by who is under way", "a0=SET:1e b1=SET:1 b+ r1=GET:1 r=>e", false},
        {"nothing, written to another key", "a0=SET:1e a+ c0=SET:2e c+ b0=SET:1 b+ r0=GET:1 r=>e",
         true},
        {"something, before nothing", "a0=SET:1 a+ b0=SET:1e b+ r0=GET:1 r=>a", true},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct fixture f;
        open_fixture(&f);
        play(&f, CASES[i].history);
        if (f.k.failed != CASES[i].stale)
            fail_msg("%s (%s): %s", CASES[i].what, CASES[i].history,
                     f.k.failed ? f.k.message : "not stale");
        if (CASES[i].stale)
            assert_memory_equal(f.k.message, "stale: ", 7);
        close_fixture(&f);
    }
}

static void test_the_switch_is_off(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    f.options.stale_checked = false;
    play(&f, "a0=SET:1 a+ b0=SET:1 b+ r0=GET:1 r=>a");
    assert_false(f.k.failed);
    close_fixture(&f);
}

static void test_what_is_said_about_it(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    play(&f, "a0=SET:1 a+ ~10 b1=DEL:1 ~2 b+ ~5 r2=GET:1");
    f.k.step = 41;
    for (unsigned i = 0; i < STALE_STEPS_MAX + 3; i++) {
        f.k.step++;
        stale_executes(&f.k, i % 3, i == 0 ? "forgotten" : "set", &command(&f, 'a')->parts[0].key,
                       i == 10);
    }
    const struct check_key plain = {.class = KEY_STRING, .number = 1};
    stale_executes(&f.k, 4, "unlink by the proxy", &plain, false);
    play(&f, "r=>a");
    static const char *const SAID[] = {
        "client 2 command 0 (GET, begun at 1023.000 ms) read of s1",
        "client 0 command 0 (SET) wrote, which began at 1006.000 ms and was",
        "and was acknowledged at 1006.000 ms, through the processes 0 and 0. Client 1",
        "Client 1 command 0 (DEL), through process 0, began at 1016.000 ms",
        "ms and was acknowledged at 1018.000 ms",
        "step 60, 1023.000 ms: node 0: set for client 0 command 0\n",
        "step 52, 1023.000 ms: node 1: set for client 0 command 0, from a closed connection\n",
        "node 4: unlink by the proxy",
    };
    for (size_t i = 0; i < sizeof(SAID) / sizeof(SAID[0]); i++) {
        if (!strstr(f.k.message, SAID[i]))
            fail_msg("not \"%s\" in: %s", SAID[i], f.k.message);
    }
    assert_null(strstr(f.k.message, "forgotten"));
    close_fixture(&f);
}

/* ---- drawn histories ---- */

enum { DRAWN_KEYS = 2, DRAWN_STEPS = 400 };

/* What the definition needs: of each command when it began and ended, in steps of the history. */
struct fact {
    unsigned client;
    uint32_t seq;
    bool write, acknowledged;
    uint16_t key;
    unsigned begun, ended; /* ended 0: not yet */
};

static bool is_stale(const struct fact *facts, unsigned count, const struct fact *read,
                     const struct fact *by)
{
    for (unsigned i = 0; i < count; i++) {
        const struct fact *w = &facts[i];
        bool before = w->write && w->acknowledged && w->key == read->key && w->ended < read->begun;
        if (before && by->ended != 0 && w->begun > by->ended)
            return true;
    }
    return false;
}

static void begin_drawn(struct fixture *f, struct fact *fact, struct rng *r, unsigned step)
{
    static const uint8_t DRAWN[] = {CHECK_GET, CHECK_GET, CHECK_SET, CHECK_SET, CHECK_DEL};
    enum check_kind kind = (enum check_kind)DRAWN[rng_below(r, sizeof(DRAWN))];
    *fact = (struct fact){.client = (unsigned)rng_below(r, CLIENTS),
                          .write = kind != CHECK_GET,
                          .key = (uint16_t)rng_below(r, DRAWN_KEYS),
                          .begun = step};
    struct check_command *c = checker_command(&f->k, fact->client, kind, 1, &fact->seq);
    c->parts[0].key = (struct check_key){.class = KEY_STRING,
                                         .number = fact->key,
                                         .tagged = true,
                                         .client = (uint16_t)fact->client,
                                         .seq = fact->seq};
    stale_begins(&f->k, c, f->near[fact->client]);
}

static void end_drawn(struct fixture *f, struct fact *fact, struct rng *r, unsigned step)
{
    fact->ended = step;
    fact->acknowledged = rng_below(r, 3) > 0;
    stale_answered(&f->k, checker_find(&f->k, fact->client, fact->seq), fact->acknowledged, true);
}

/* Is it judged for every SET so far as the definition says? Counts both verdicts. */
static void compare(struct fixture *f, const struct fact *facts, unsigned count,
                    const struct fact *read, unsigned verdicts[2])
{
    for (unsigned i = 0; i < count; i++) {
        const struct fact *by = &facts[i];
        const struct check_command *c = checker_find(&f->k, by->client, by->seq);
        char value[VALUE_LEN];
        if (c->kind != CHECK_SET || by->key != read->key)
            continue;
        check_value_make(&c->parts[0].key, VALUE_LEN, value);
        f->k.failed = false;
        stale_judge(&f->k, read->client, read->seq, 0, value, VALUE_LEN);
        bool stale = is_stale(facts, count, read, by);
        assert_int_equal(f->k.failed, stale);
        verdicts[stale]++;
    }
}

static void test_drawn_histories(void **state)
{
    (void)state;
    unsigned verdicts[2] = {0};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture f;
        struct rng r = {seed};
        struct fact facts[DRAWN_STEPS];
        unsigned count = 0;
        open_fixture(&f);
        for (unsigned step = 1; step <= DRAWN_STEPS; step++) {
            struct fact *old = count ? &facts[rng_below(&r, count)] : NULL;
            if (rng_below(&r, 4) == 0)
                pass(&f, 1);
            if (!old || old->ended != 0 || rng_below(&r, 3) == 0) {
                begin_drawn(&f, &facts[count++], &r, step);
                continue;
            }
            end_drawn(&f, old, &r, step);
            if (!old->write)
                compare(&f, facts, count, old, verdicts);
        }
        close_fixture(&f);
    }
    assert_true(verdicts[false] > 1000 && verdicts[true] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_the_switch_is_off),
        cmocka_unit_test(test_what_is_said_about_it),
        cmocka_unit_test(test_drawn_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
