/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way: a worker between clients and nodes that are a few buffers. It reads requests,
 * routes them, writes to nodes, reads their replies and writes those to its clients; what the world
 * does for it is done by functions whose names begin with world_, and run.py does not count those.
 *
 * All clients of a case ask at the same moment, and ask again when all are answered: the same turns
 * in every run.
 */
#include "micro.h"

#include "base/must.h"
#include "cluster/control.h"
#include "proxy/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NODES = 3,
    CLIENTS_MAX = 16,
    FIRST_CLIENT = 1, /* handles; 0 is the listener's */
    FIRST_NODE = FIRST_CLIENT + CLIENTS_MAX,
    PEERS = FIRST_NODE + NODES,
    KEY_BYTES = 24,
    HEAD_BYTES = sizeof("*2\r\n$3\r\nGET\r\n") - 1, /* of GET and of SET */
    TURN_NS = 20000,                                /* what passes while a worker waits */
};

enum kind { GET, SET, MGET };

struct shape {
    enum kind kind;
    unsigned clients;
    unsigned pipeline;  /* requests in one write */
    unsigned keys;      /* of one request */
    size_t value_bytes; /* of each key */
};

/* The other end of a handle: a client, or a node. */
struct peer {
    void *tag;
    unsigned ready;       /* IO_… that the worker has not been told yet */
    struct micro_text in; /* what the worker reads … */
    size_t read;          /* … of which it has so many bytes */
    uint64_t got;         /* bytes that the worker has written */
    bool greeted;         /* a node that has answered the greeting */
};

struct proxy {
    const struct shape *shape;
    struct io io;
    uint64_t now;
    unsigned accepted;
    struct peer peers[PEERS];
    struct micro_text requests; /* each `request_len` bytes, MICRO_VARIANTS batches of them */
    size_t batch_len;
    struct micro_text element; /* a value as a node answers it */
    struct micro_text written; /* by the worker to a node, in one piece */
    size_t reply_len;          /* of one request */
    struct proxy_settings settings;
    struct control_settings control_settings;
    struct log log;
    struct control *control;
    struct worker *worker;
};

/* ---- the world ---- */

static uint64_t world_now_ns(void *ctx)
{
    const struct proxy *s = ctx;
    return s->now;
}

static uint64_t world_random(void *ctx)
{
    (void)ctx;
    return 1;
}

static int world_listen(void *ctx, const struct addr *at, int backlog)
{
    struct proxy *s = ctx;
    (void)at;
    (void)backlog;
    s->peers[0].ready = IO_IN;
    return 0;
}

static int world_accept(void *ctx, int listener, const struct io_socket_options *o,
                        struct addr *ret_peer)
{
    struct proxy *s = ctx;
    (void)listener;
    (void)o;
    if (s->accepted == s->shape->clients)
        return -EAGAIN;
    *ret_peer = (struct addr){.family = ADDR_V4, .port = 1, .ip = {127, 0, 0, 1}};
    return FIRST_CLIENT + (int)s->accepted++;
}

static int world_connect(void *ctx, const struct addr *to, const struct io_socket_options *o)
{
    struct proxy *s = ctx;
    (void)o;
    int handle = FIRST_NODE + to->port - 1;
    s->peers[handle].ready = IO_OUT;
    return handle;
}

static int world_local_addr(void *ctx, int handle, struct addr *ret)
{
    (void)ctx;
    (void)handle;
    *ret = (struct addr){.family = ADDR_V4, .port = 1, .ip = {127, 0, 0, 1}};
    return 0;
}

static int world_connect_result(void *ctx, int handle)
{
    (void)ctx;
    (void)handle;
    return 0;
}

static ssize_t world_read(void *ctx, int handle, void *to, size_t size)
{
    struct proxy *s = ctx;
    struct peer *p = &s->peers[handle];
    size_t len = p->in.len - p->read;
    if (len == 0)
        return -EAGAIN;
    len = len < size ? len : size;
    memcpy(to, p->in.bytes + p->read, len);
    p->read += len;
    if (p->read == p->in.len)
        p->read = p->in.len = 0;
    return (ssize_t)len;
}

/* A node's reply to the request at `at`. → the request's length */
static size_t answer(struct proxy *s, struct peer *p, const char *at)
{
    char *name;
    unsigned long words = strtoul(at + 1, &name, 10);
    name += sizeof("\r\n$3\r\n") - 1;
    switch (*name) {
    case 'G':
        micro_text_add(&p->in, s->element.bytes, s->element.len);
        return s->batch_len / s->shape->pipeline;
    case 'S':
        micro_text_add(&p->in, "+OK\r\n", 5);
        return s->batch_len / s->shape->pipeline;
    default:
        micro_text_format(&p->in, "*%lu\r\n", words - 1);
        for (unsigned long i = 1; i < words; i++)
            micro_text_add(&p->in, s->element.bytes, s->element.len);
        return (size_t)(name - at) + sizeof("MGET\r\n") - 1 +
               (words - 1) * (sizeof("$24\r\n\r\n") - 1 + KEY_BYTES);
    }
}

static ssize_t world_writev(void *ctx, int handle, const struct iovec *iov, int count)
{
    struct proxy *s = ctx;
    struct peer *p = &s->peers[handle];
    size_t len = 0;
    s->written.len = 0;
    for (int i = 0; i < count; i++) {
        len += iov[i].iov_len;
        if (handle >= FIRST_NODE)
            micro_text_add(&s->written, iov[i].iov_base, iov[i].iov_len);
    }
    p->got += len;
    if (handle < FIRST_NODE)
        return (ssize_t)len;
    if (!p->greeted)
        micro_text_format(&p->in, "+PONG\r\n:7\r\n");
    for (size_t at = 0; at < len && p->greeted;)
        at += answer(s, p, s->written.bytes + at);
    p->greeted = true;
    p->ready |= IO_IN;
    return (ssize_t)len;
}

static void world_close(void *ctx, int handle)
{
    (void)ctx;
    (void)handle;
}

static int world_watch(void *ctx, int handle, void *tag)
{
    struct proxy *s = ctx;
    s->peers[handle].tag = tag;
    return 0;
}

static int world_wait(void *ctx, struct io_event *events, int max, uint64_t timeout_ns)
{
    struct proxy *s = ctx;
    int count = 0;
    (void)timeout_ns;
    s->now += TURN_NS;
    for (int i = 0; i < PEERS && count < max; i++) {
        struct peer *p = &s->peers[i];
        if (p->tag && p->ready) {
            events[count++] = (struct io_event){p->tag, p->ready};
            p->ready = 0;
        }
    }
    return count;
}

static void world_wake(void *ctx)
{
    (void)ctx;
}

static void world_rest(void *ctx, uint64_t ns)
{
    struct proxy *s = ctx;
    s->now += ns;
}

static const struct io_ops WORLD = {
    .now_ns = world_now_ns,
    .wall_us = world_now_ns,
    .random = world_random,
    .listen = world_listen,
    .accept = world_accept,
    .connect = world_connect,
    .local_addr = world_local_addr,
    .connect_result = world_connect_result,
    .read = world_read,
    .writev = world_writev,
    .close = world_close,
    .finish = world_close,
    .watch = world_watch,
    .unwatch = world_close,
    .wait = world_wait,
    .wake = world_wake,
    .rest = world_rest,
};

/* ---- a case ---- */

static void drop_line(void *owner, const char *line, size_t len)
{
    (void)owner;
    (void)line;
    (void)len;
}

static int publish_nothing(void *owner, struct view *v)
{
    (void)owner;
    (void)v;
    return 0;
}

static void make_texts(struct proxy *s)
{
    static const char *const NAMES[] = {[GET] = "GET", [SET] = "SET", [MGET] = "MGET"};
    const struct shape *shape = s->shape;
    const char *name = NAMES[shape->kind];
    uint64_t random_state = 3;
    unsigned words = 1 + shape->keys + (shape->kind == SET);
    for (unsigned i = 0; i < MICRO_VARIANTS * shape->pipeline; i++) {
        micro_text_format(&s->requests, "*%u\r\n$%zu\r\n%s\r\n", words, strlen(name), name);
        for (unsigned k = 0; k < shape->keys; k++)
            micro_text_add_bulk(&s->requests, KEY_BYTES, &random_state);
        if (shape->kind == SET)
            micro_text_add_bulk(&s->requests, shape->value_bytes, &random_state);
    }
    s->batch_len = s->requests.len / MICRO_VARIANTS;
    micro_text_add_bulk(&s->element, shape->value_bytes, &random_state);
    s->reply_len = shape->kind == GET ? s->element.len : sizeof("+OK\r\n") - 1;
    if (shape->kind == MGET)
        s->reply_len = sizeof("*20\r\n") - 1 + shape->keys * s->element.len;
}

/* Three nodes that all are well. */
static void post_view(struct proxy *s)
{
    struct view_node nodes[NODES] = {0};
    struct view *view;
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "10.0.0.%u:6379", i + 1);
        nodes[i].addr =
            (struct addr){.family = ADDR_V4, .port = (uint16_t)(i + 1), .ip = {10, 0, 0, 1}};
        nodes[i].weight = 1;
        nodes[i].pulse = pulse_new(i, 1);
        must(nodes[i].pulse);
    }
    must(view_new(1, nodes, NODES, &view) == 0);
    must(worker_post_view(s->worker, view) == 0);
    view_unref(view);
    for (unsigned i = 0; i < NODES; i++)
        pulse_unref(nodes[i].pulse);
}

static void *proxy_make(const struct micro_case *c)
{
    enum { TURNS = 8 }; /* until all clients are accepted and all nodes have greeted */
    struct proxy *s = micro_alloc(sizeof(*s));
    const struct control_ops ops = {.publish = publish_nothing, .owner = s};
    const struct addr at = {.family = ADDR_V4, .port = 1};
    s->shape = c->shape;
    s->io = (struct io){&WORLD, s};
    s->log = (struct log){.level = LOG_ERROR, .sink = drop_line};
    s->now = TURN_NS;
    s->settings = proxy_settings_default();
    s->settings.gather_window = 0; /* what passes here says nothing about how dense requests are */
    s->control_settings = control_settings_default();
    make_texts(s);
    must(control_new(&s->control_settings, &ops, &s->io, &s->log, 1, &s->control) == 0);
    struct worker_config config = {
        .settings = &s->settings, .log = &s->log, .count = 1, .control = s->control};
    must(worker_new(&config, &s->io, &s->worker) == 0);
    worker_meet(s->worker, &s->worker, 1);
    must(worker_listen(s->worker, -1, &at, false) == 0);
    post_view(s);
    for (unsigned i = 0; i < TURNS; i++)
        must(worker_turn(s->worker, 0));
    must(s->accepted == s->shape->clients);
    for (unsigned i = 0; i < NODES; i++)
        must(s->peers[FIRST_NODE + i].greeted);
    return s;
}

static void proxy_end(void *state)
{
    struct proxy *s = state;
    worker_free(s->worker);
    control_free(s->control);
    command_rules_fini(&s->settings.commands);
    for (unsigned i = 0; i < PEERS; i++)
        free(s->peers[i].in.bytes);
    free(s->requests.bytes);
    free(s->element.bytes);
    free(s->written.bytes);
    free(s);
}

/* Each client sends a batch. */
__attribute__((noinline)) static void world_ask(struct proxy *s, uint64_t round)
{
    for (unsigned i = 0; i < s->shape->clients; i++) {
        struct peer *p = &s->peers[FIRST_CLIENT + i];
        size_t batch = (round + i) % MICRO_VARIANTS;
        micro_text_add(&p->in, s->requests.bytes + batch * s->batch_len, s->batch_len);
        p->ready = IO_IN;
        p->got = 0;
    }
}

/* Has each client all it is owed, and no more? */
__attribute__((noinline)) static bool world_is_answered(const struct proxy *s)
{
    size_t owed = s->reply_len * s->shape->pipeline;
    bool all = true;
    for (unsigned i = 0; i < s->shape->clients; i++) {
        const struct peer *p = &s->peers[FIRST_CLIENT + i];
        must(p->got <= owed);
        all = all && p->got == owed;
    }
    return all;
}

/* A round is one client's batch. */
static void proxy_run(void *state, uint64_t rounds)
{
    enum { TURNS_MAX = 100 };
    struct proxy *s = state;
    for (uint64_t r = 0; r < rounds; r += s->shape->clients) {
        unsigned turns = 0;
        world_ask(s, r);
        while (!world_is_answered(s)) {
            must(worker_turn(s->worker, 0));
            must(++turns < TURNS_MAX);
        }
    }
}

static const struct shape GET_64 = {GET, 16, 1, 1, 64};
static const struct shape GET_64_ALONE = {GET, 1, 1, 1, 64};
static const struct shape GET_1K = {GET, 16, 1, 1, 1024};
static const struct shape SET_64 = {SET, 16, 1, 1, 64};
static const struct shape GET_64_16 = {GET, 16, 16, 1, 64};
static const struct shape MGET_20 = {MGET, 16, 1, 20, 100};

#define CASE(name_, shape_, ops_, what_)                                                           \
    {                                                                                              \
        .name = (name_), .what = (what_), .shape = &(shape_), .ops = (ops_), .make = proxy_make,   \
        .run = proxy_run, .end = proxy_end                                                         \
    }

const struct micro_case MICRO_PROXY_CASES[] = {
    CASE("proxy-get", GET_64, 1, "GET, value of 64 B: all that a worker does, 16 clients at once"),
    CASE("proxy-get-alone", GET_64_ALONE, 1, "the same, one client"),
    CASE("proxy-get-1k", GET_1K, 1, "the same, 16 clients, value of 1 KiB"),
    CASE("proxy-set", SET_64, 1, "SET, value of 64 B, 16 clients"),
    CASE("proxy-pipeline-16", GET_64_16, 16, "per GET in pipelines of 16, 16 clients"),
    CASE("proxy-mget-20", MGET_20, 1, "MGET of 20 keys, values of 100 B, 16 clients"),
    {0},
};
