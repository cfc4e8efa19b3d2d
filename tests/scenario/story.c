/* SPDX-License-Identifier: Apache-2.0 */
#include "story.h"

#include "base/must.h"
#include "base/nsec.h"
#include "ring/key_hash.h"

#include <errno.h>

enum { READ_BYTES = 4096 };

static const struct io_socket_options NO_OPTIONS;

struct sim_options story_options(void)
{
    struct sim_options o = {
        .proxies = 1,
        .workers = 1,
        .nodes = 3,
        .proxy = proxy_settings_default(),
        .weather = {.latency_min = 50 * NSEC_US,
                    .latency_max = 100 * NSEC_US,
                    .buffer_min = 65536,
                    .buffer_max = 65536},
        .victims = 7,
        .commands = 1,
        .sessions = 1,
        .pipeline_max = 1,
        .value_max = 100,
        .keys = CHECK_KEYS_MANY,
        .split_max = 3,
        .split_chance = 300,
    };
    must(command_rules_allow(&o.proxy.commands, STR("all")) == 0);
    return o;
}

struct sim_options story_control_options(void)
{
    struct sim_options o = story_options();
    struct control_settings *c = &o.control;
    o.has_control = true;
    *c = control_settings_default();
    c->interval = 200 * NSEC_MS;
    c->interval_out = 20 * NSEC_MS;
    c->timeout = 100 * NSEC_MS;
    c->healthy = 2;
    c->hold_min = 20 * NSEC_MS;
    c->hold_max = 100 * NSEC_MS;
    c->max_ejected = 100;
    c->flush_interval = 0;
    c->grace = 20 * NSEC_MS;
    return o;
}

void story_begin(struct story *t, const struct sim_options *options)
{
    *t = (struct story){.s = sim_new(1, options, getenv("STORY_PRINT") ? stderr : NULL, true)};
    story_run(t, 10 * NSEC_MS);
}

static void check(struct story *t)
{
    if (!t->s->checker.failed)
        return;
    trace_show(&t->s->trace, stderr);
    fail_msg("%s", t->s->checker.message);
}

static void end(struct story *t)
{
    for (unsigned i = 0; i < t->count; i++)
        bytes_free(&t->got[i]);
    t->s = sim_free(t->s);
}

void story_end(struct story *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->handles[i] >= 0)
            story_leave(t, i);
    }
    story_run(t, NSEC_MS);
    bool ok = sim_conclude(t->s);
    check(t);
    assert_true(ok);
    end(t);
}

static unsigned connect_to(struct story *t, const struct addr *to)
{
    assert_true(t->count < STORY_CLIENTS_MAX);
    unsigned i = t->count++;
    struct io *io = t->ios[i] = io_sim_host(t->s->world);
    t->handles[i] = io->ops->connect(io->ctx, to, &NO_OPTIONS);
    assert_true(t->handles[i] >= 0);
    assert_int_equal(io->ops->watch(io->ctx, t->handles[i], t), 0);
    story_run(t, NSEC_MS);
    return i;
}

unsigned story_connect(struct story *t)
{
    return connect_to(t, &t->s->proxies[0].addr);
}

unsigned story_connect_proxy(struct story *t, unsigned proxy)
{
    return connect_to(t, &t->s->proxies[proxy].addr);
}

unsigned story_connect_node(struct story *t, unsigned node)
{
    return connect_to(t, &t->s->nodes[node]->addr);
}

static void read_all(struct story *t, unsigned i)
{
    struct io *io = t->ios[i];
    ssize_t n;
    while ((n = io->ops->read(io->ctx, t->handles[i], bytes_room(&t->got[i], READ_BYTES),
                              READ_BYTES)) > 0)
        t->got[i].len += (size_t)n;
    if (n != -EAGAIN)
        t->closed[i] = true;
}

/* A story client's turn: it sleeps again after having read what there is. */
static void client_turn(struct story *t, unsigned i)
{
    struct io *io = t->ios[i];
    struct io_event e;
    while (io_sim_can_run(t->s->world, io_sim_host_number(io))) {
        if (io->ops->wait(io->ctx, &e, 1, NSEC_NEVER) == 0 || t->handles[i] < 0 || t->deaf[i])
            continue;
        read_all(t, i);
    }
}

void story_listen(struct story *t, unsigned client)
{
    t->deaf[client] = false;
    read_all(t, client);
}

static void run(struct story *t, uint64_t ns)
{
    uint64_t end = io_sim_now(t->s->world) + ns;
    while (io_sim_now(t->s->world) < end && !t->s->checker.failed) {
        for (unsigned i = 0; i < t->count; i++)
            client_turn(t, i);
        sim_step(t->s, end);
        const struct sim_proxy *p = &t->s->proxies[0];
        for (unsigned i = 0; i < t->s->options.workers && p->alive && !p->worker_ended[i]; i++) {
            size_t held = worker_debt(p->workers[i]).chunk_bytes;
            if (held > t->most_bytes)
                t->most_bytes = held;
        }
    }
}

void story_run(struct story *t, uint64_t ns)
{
    run(t, ns);
    check(t);
}

void story_end_failing(struct story *t, const char *mistake, uint64_t ns)
{
    run(t, ns);
    if (!t->s->checker.failed || !strstr(t->s->checker.message, mistake))
        fail_msg("not \"%s\" but \"%s\"", mistake, t->s->checker.message);
    end(t);
}

void story_say_bytes(struct story *t, unsigned client, const void *bytes, size_t len)
{
    struct io *io = t->ios[client];
    const uint8_t *p = bytes;
    for (int tries = 0; len > 0; tries++) {
        assert_true(tries < 10000);
        struct iovec iov = {(void *)(uintptr_t)p, len};
        ssize_t n = io->ops->writev(io->ctx, t->handles[client], &iov, 1);
        assert_true(n > 0 || n == -EAGAIN);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
        if (len > 0)
            story_run(t, NSEC_MS);
    }
}

void story_say(struct story *t, unsigned client, const char *text)
{
    story_say_bytes(t, client, text, strlen(text));
}

void story_leave(struct story *t, unsigned client)
{
    t->ios[client]->ops->close(t->ios[client]->ctx, t->handles[client]);
    t->handles[client] = -1;
}

void story_hear(struct story *t, unsigned client, const char *text, uint64_t ns)
{
    struct bytes *got = &t->got[client];
    uint64_t end = io_sim_now(t->s->world) + ns;
    while (got->len < strlen(text) && io_sim_now(t->s->world) < end)
        story_run(t, nsec_min(NSEC_MS / 2, end - io_sim_now(t->s->world)));
    *bytes_room(got, 1) = '\0';
    assert_string_equal((const char *)bytes_at(got), text);
    got->head = got->len = 0;
}

void story_hear_next(struct story *t, unsigned client, const char *text, uint64_t ns)
{
    struct bytes *got = &t->got[client];
    uint64_t end = io_sim_now(t->s->world) + ns;
    while (got->len < strlen(text) && io_sim_now(t->s->world) < end)
        story_run(t, nsec_min(NSEC_MS / 2, end - io_sim_now(t->s->world)));
    if (got->len < strlen(text) || memcmp(bytes_at(got), text, strlen(text)) != 0)
        fail_msg("not %s but %.*s", text, got->len > 100 ? 100 : (int)got->len,
                 got->len ? (const char *)bytes_at(got) : "");
    bytes_take(got, strlen(text));
}

void story_ask(struct story *t, unsigned client, const char *say, const char *hear)
{
    story_say(t, client, say);
    story_hear(t, client, hear, 5 * NSEC_MS);
}

static struct check_key writer_of(const char *key)
{
    struct check_key writer;
    if (!check_key_parse(key, strlen(key), &writer))
        fail_msg("%s is no key", key);
    return writer;
}

/* The value and what frames it as a bulk string. */
static void add_bulk_value(struct bytes *to, const char *key, size_t len)
{
    struct check_key writer = writer_of(key);
    bytes_print(to, "$%zu\r\n", len);
    assert_int_equal(check_value_make(&writer, len, (char *)bytes_room(to, len)), len);
    to->len += len;
    bytes_print(to, "\r\n");
}

struct bytes story_set_bytes(const char *key, size_t len)
{
    struct bytes b = {0};
    bytes_print(&b, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    add_bulk_value(&b, key, len);
    return b;
}

void story_set(struct story *t, unsigned client, const char *key, size_t len)
{
    struct bytes b = story_set_bytes(key, len);
    story_say_bytes(t, client, bytes_at(&b), b.len);
    bytes_free(&b);
    story_hear(t, client, "+OK\r\n", 50 * NSEC_MS);
}

void story_put(struct story *t, unsigned node, const char *key, size_t len)
{
    struct check_key writer = writer_of(key);
    struct redis_value *v = &t->s->nodes[node]->values[0][writer.number];
    assert_int_equal(writer.class, KEY_STRING);
    bytes_free(&v->bytes);
    v->bytes.len = check_value_make(&writer, len, (char *)bytes_room(&v->bytes, len));
    v->exists = true;
}

void story_hear_value(struct story *t, unsigned client, const char *key, size_t len, uint64_t ns)
{
    struct bytes *got = &t->got[client], want = {0};
    uint64_t end = io_sim_now(t->s->world) + ns;
    add_bulk_value(&want, key, len);
    while (got->len < want.len && io_sim_now(t->s->world) < end)
        story_run(t, nsec_min(NSEC_MS / 2, end - io_sim_now(t->s->world)));
    if (got->len < want.len)
        fail_msg("%zu of %zu bytes of %s: %.*s", got->len, want.len, key,
                 got->len > 100 ? 100 : (int)got->len, (const char *)bytes_at(got));
    if (memcmp(bytes_at(got), bytes_at(&want), want.len) != 0)
        fail_msg("not the value of %s: %.*s", key, 100, (const char *)bytes_at(got));
    bytes_take(got, want.len);
    bytes_free(&want);
}

const char *story_key(struct story *t, unsigned node, unsigned nth)
{
    static const char *const KEYS[] = {"s0",  "s1",  "s2",  "s3",  "s4",  "s5",  "s6",
                                       "s7",  "s8",  "s9",  "s10", "s11", "s12", "s13",
                                       "s14", "s15", "s16", "s17", "s18", "s19", "s20"};
    const struct check_view *v = checker_newest_view(&t->s->checker, 0);
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
        uint64_t hash = key_hash(str_of(KEYS[i]), true);
        if (v->node_of[maglev_lookup(v->view->ring, hash)] == (int)node && nth-- == 0)
            return KEYS[i];
    }
    fail_msg("no key for node %u", node);
    return NULL;
}

const char *story_value(const char *key, char to[32])
{
    snprintf(to, 32, "%s.c0.q0.i0.", key);
    return to;
}

const char *story_nth_value(const char *key, unsigned n, char to[32])
{
    snprintf(to, 32, "%s.c0.q%u.i0.", key, n);
    return to;
}

void story_say_set(struct story *t, unsigned client, const char *key, unsigned n)
{
    char text[32];
    story_print(t, client, "SET %s %s\r\n", key, story_nth_value(key, n, text));
}

void story_store(struct story *t, unsigned client, const char *key, unsigned n)
{
    story_say_set(t, client, key, n);
    story_hear(t, client, "+OK\r\n", 5 * NSEC_MS);
}

void story_read(struct story *t, unsigned client, const char *key, unsigned n)
{
    char text[32], reply[64];
    story_nth_value(key, n, text);
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(text), text);
    story_print(t, client, "GET %s\r\n", key);
    story_hear(t, client, reply, 5 * NSEC_MS);
}

void story_miss(struct story *t, unsigned client, const char *key)
{
    story_print(t, client, "GET %s\r\n", key);
    story_hear(t, client, "$-1\r\n", 5 * NSEC_MS);
}

bool story_node_holds(const struct story *t, unsigned node, const char *key)
{
    return t->s->nodes[node]->values[0][atoi(key + 1)].exists;
}

uint64_t story_metric(const struct story *t, const char *name)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        if (strcmp(METRIC_INFO[m].name, name) != 0)
            continue;
        uint64_t sum = 0;
        for (unsigned i = 0; i < t->s->options.workers; i++) {
            const char *at =
                (const char *)worker_metrics(t->s->proxies[0].workers[i]) + METRIC_INFO[m].offset;
            sum += metric_get((const atomic_uint_least64_t *)(const void *)at);
        }
        return sum;
    }
    fail_msg("no metric %s", name);
    return 0;
}
