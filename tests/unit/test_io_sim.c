/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual network by itself: a client host, an echoing server host, and what weather does. */
#include "base/nsec.h"
#include "io_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_BYTES = 100000, ENDS_MAX = 4, HELD_MAX = 4096 };

static const struct io_socket_options NO_OPTIONS;
static const struct addr SERVER = {.family = ADDR_V4, .port = 7, .ip = {10, 0, 0, 1}};

struct world {
    struct trace trace;
    struct io_sim *w;
    struct io *client, *server;
    int listener, handle;
};

static void world_open(struct world *x, uint64_t seed, const struct io_sim_weather *weather)
{
    *x = (struct world){0};
    trace_init(&x->trace, NULL, false);
    x->w = io_sim_new(seed, &x->trace);
    if (weather)
        io_sim_set_weather(x->w, weather);
    x->client = io_sim_host(x->w);
    x->server = io_sim_host(x->w);
    x->listener = x->server->ops->listen(x->server->ctx, &SERVER, 16);
    assert_true(x->listener >= 0);
    assert_int_equal(x->server->ops->watch(x->server->ctx, x->listener, NULL), 0);
}

static void world_close(struct world *x)
{
    io_sim_free(x->w);
    trace_fini(&x->trace);
}

static int wait_once(struct io *io, struct io_event *event, uint64_t timeout)
{
    return io->ops->wait(io->ctx, event, 1, timeout);
}

/* Lets time pass until the host has an event for `tag`, or for `limit`. Both hosts must sleep, or
 * time would stand still. Returns what is ready. */
static unsigned wait_for(struct world *x, struct io *io, void *tag, uint64_t limit)
{
    struct io *other = io == x->client ? x->server : x->client;
    uint64_t end = io_sim_now(x->w) + limit;
    for (;;) {
        struct io_event e;
        if (wait_once(io, &e, NSEC_NEVER) > 0) {
            if (e.tag == tag)
                return e.ready;
            continue;
        }
        if (!io_sim_can_run(x->w, io_sim_host_number(io))) {
            if (io_sim_now(x->w) >= end)
                return 0;
            io_sim_freeze(x->w, io_sim_host_number(other), end);
            io_sim_advance(x->w, end);
            io_sim_freeze(x->w, io_sim_host_number(other), 0);
        }
    }
}

static int connect_and_watch(struct world *x, void *tag)
{
    int handle = x->client->ops->connect(x->client->ctx, &SERVER, &NO_OPTIONS);
    assert_true(handle >= 0);
    assert_int_equal(x->client->ops->watch(x->client->ctx, handle, tag), 0);
    assert_int_equal(x->client->ops->connect_result(x->client->ctx, handle), -EAGAIN);
    return handle;
}

static int accept_and_watch(struct world *x, void *tag)
{
    assert_true(wait_for(x, x->server, NULL, NSEC_S) & IO_IN);
    struct addr peer;
    int handle = x->server->ops->accept(x->server->ctx, x->listener, &NO_OPTIONS, &peer);
    assert_true(handle >= 0);
    assert_int_equal(peer.family, ADDR_V4);
    assert_int_equal(x->server->ops->accept(x->server->ctx, x->listener, &NO_OPTIONS, &peer),
                     -EAGAIN);
    assert_int_equal(x->server->ops->watch(x->server->ctx, handle, tag), 0);
    return handle;
}

static ssize_t write_text(struct io *io, int handle, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    return io->ops->writev(io->ctx, handle, &iov, 1);
}

/* A connection with both ends watched: the tags are &x->client and &x->server. */
static int establish(struct world *x)
{
    x->handle = connect_and_watch(x, &x->client);
    int peer = accept_and_watch(x, &x->server);
    assert_true(wait_for(x, x->client, &x->client, NSEC_S) & IO_OUT);
    assert_int_equal(x->client->ops->connect_result(x->client->ctx, x->handle), 0);
    return peer;
}

static void test_bytes_and_end(void **state)
{
    (void)state;
    struct world x;
    char buf[16];
    world_open(&x, 1, NULL);
    int peer = establish(&x);
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), -EAGAIN);
    assert_int_equal(write_text(x.client, x.handle, "hello"), 5);
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), -EAGAIN); /* on its way */
    while (!(wait_for(&x, x.server, &x.server, NSEC_S) & IO_IN))
        ;
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 3), 3);
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf + 3, 13), 2);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), -EAGAIN);

    /* Half-closed: the server reads the end and can still write. */
    io_sim_shutdown(x.client, x.handle);
    while (!(wait_for(&x, x.server, &x.server, NSEC_S) & IO_HUP))
        ;
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), 0);
    assert_int_equal(write_text(x.server, peer, "bye"), 3);
    assert_int_equal(write_text(x.client, x.handle, "x"), -EPIPE);
    assert_true(wait_for(&x, x.client, &x.client, NSEC_S) & IO_IN);
    assert_int_equal(x.client->ops->read(x.client->ctx, x.handle, buf, 16), 3);
    world_close(&x);
}

static void test_refused_and_black_hole(void **state)
{
    (void)state;
    struct world x;
    int tag;
    world_open(&x, 2, NULL);
    io_sim_set_road(x.w, &SERVER, IO_SIM_ROAD_REFUSING);
    int handle = connect_and_watch(&x, &tag);
    assert_true(wait_for(&x, x.client, &tag, NSEC_S) & (IO_OUT | IO_HUP));
    assert_int_equal(x.client->ops->connect_result(x.client->ctx, handle), -ECONNREFUSED);
    x.client->ops->close(x.client->ctx, handle);

    io_sim_set_road(x.w, &SERVER, IO_SIM_ROAD_BLACK_HOLE);
    handle = connect_and_watch(&x, &tag);
    assert_int_equal(wait_for(&x, x.client, &tag, 60 * NSEC_S), 0);
    assert_int_equal(x.client->ops->connect_result(x.client->ctx, handle), -EAGAIN);
    x.client->ops->close(x.client->ctx, handle);

    /* Nobody listens: as refused. */
    io_sim_set_road(x.w, &SERVER, IO_SIM_ROAD_OPEN);
    x.server->ops->close(x.server->ctx, x.listener);
    handle = connect_and_watch(&x, &tag);
    assert_true(wait_for(&x, x.client, &tag, NSEC_S) & IO_OUT);
    assert_int_equal(x.client->ops->connect_result(x.client->ctx, handle), -ECONNREFUSED);
    world_close(&x);
}

static void test_reset_and_close_with_unread(void **state)
{
    (void)state;
    struct world x;
    char buf[16];
    world_open(&x, 3, NULL);
    int peer = establish(&x);
    io_sim_reset(x.w, x.handle);
    assert_true(wait_for(&x, x.client, &x.client, NSEC_S) & IO_HUP);
    assert_int_equal(x.client->ops->read(x.client->ctx, x.handle, buf, 16), -ECONNRESET);
    assert_int_equal(x.client->ops->read(x.client->ctx, x.handle, buf, 16), 0);
    assert_int_equal(write_text(x.server, peer, "x"), -ECONNRESET);
    assert_int_equal(write_text(x.server, peer, "x"), -EPIPE);
    x.client->ops->close(x.client->ctx, x.handle);
    x.server->ops->close(x.server->ctx, peer);

    /* Closed with something unread: the other end gets a reset, as from a kernel. */
    peer = establish(&x);
    assert_int_equal(write_text(x.client, x.handle, "unread"), 6);
    while (!(wait_for(&x, x.server, &x.server, NSEC_S) & IO_IN))
        ;
    x.server->ops->close(x.server->ctx, peer);
    unsigned ready = 0;
    while (!(ready & IO_HUP))
        ready = wait_for(&x, x.client, &x.client, NSEC_S);
    assert_int_equal(x.client->ops->read(x.client->ctx, x.handle, buf, 16), -ECONNRESET);
    world_close(&x);
}

static void test_cut_at_a_byte(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 6; at++) {
        struct world x;
        char buf[16];
        world_open(&x, 4, NULL);
        int peer = establish(&x);
        io_sim_cut_after(x.w, peer, at);
        assert_int_equal(write_text(x.client, x.handle, "abcdef"), 6);
        unsigned ready = 0;
        while (!(ready & IO_HUP))
            ready = wait_for(&x, x.server, &x.server, NSEC_S);
        if (at > 0)
            assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), at);
        assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), -ECONNRESET);
        world_close(&x);
    }
}

static void test_full_buffer(void **state)
{
    (void)state;
    struct io_sim_weather small = {.latency_max = 1000, .buffer_min = 10, .buffer_max = 10};
    struct world x;
    char buf[16];
    world_open(&x, 5, &small);
    int peer = establish(&x);
    assert_int_equal(write_text(x.client, x.handle, "0123456789abc"), 10);
    assert_int_equal(write_text(x.client, x.handle, "abc"), -EAGAIN);
    uint64_t from, until;
    io_sim_peer_blocked(x.server, peer, &from, &until);
    assert_true(from > 0 && until == NSEC_NEVER);
    assert_int_equal(wait_for(&x, x.client, &x.client, NSEC_S), 0);
    while (!(wait_for(&x, x.server, &x.server, NSEC_S) & IO_IN))
        ;
    assert_int_equal(x.server->ops->read(x.server->ctx, peer, buf, 16), 10);
    assert_true(wait_for(&x, x.client, &x.client, NSEC_S) & IO_OUT);
    assert_int_equal(write_text(x.client, x.handle, "abc"), 3);
    world_close(&x);
}

static void test_no_descriptors(void **state)
{
    (void)state;
    struct world x;
    int tag;
    struct addr peer;
    world_open(&x, 6, NULL);
    io_sim_fail_accepts(x.w, io_sim_host_number(x.server), io_sim_now(x.w) + NSEC_MS);
    (void)connect_and_watch(&x, &tag);
    assert_true(wait_for(&x, x.server, NULL, NSEC_S) & IO_IN);
    assert_int_equal(x.server->ops->accept(x.server->ctx, x.listener, &NO_OPTIONS, &peer), -EMFILE);
    /* No further event comes for the one that waits; who asks again later gets it. */
    assert_int_equal(wait_for(&x, x.server, NULL, 5 * NSEC_MS), 0);
    assert_true(x.server->ops->accept(x.server->ctx, x.listener, &NO_OPTIONS, &peer) >= 0);
    world_close(&x);
}

static void test_listeners_share(void **state)
{
    (void)state;
    struct world x;
    int tag, mine = 0;
    world_open(&x, 7, NULL);
    int second = x.client->ops->listen(x.client->ctx, &SERVER, 16);
    int here;
    assert_int_equal(x.client->ops->watch(x.client->ctx, second, &here), 0);
    enum { CONNECTS = 40 };
    for (int i = 0; i < CONNECTS; i++)
        (void)connect_and_watch(&x, &tag);
    io_sim_freeze(x.w, io_sim_host_number(x.server), io_sim_now(x.w) + NSEC_S);
    assert_int_equal(wait_for(&x, x.client, &x, 10 * NSEC_MS), 0); /* all events but that one */
    struct addr peer;
    while (x.client->ops->accept(x.client->ctx, second, &NO_OPTIONS, &peer) >= 0)
        mine++;
    assert_in_range(mine, CONNECTS / 5, CONNECTS * 4 / 5);
    world_close(&x);
}

static void test_sleep_and_wake(void **state)
{
    (void)state;
    struct world x;
    struct io_event e;
    world_open(&x, 8, NULL);
    unsigned client = io_sim_host_number(x.client), server = io_sim_host_number(x.server);
    uint64_t start = io_sim_now(x.w);
    assert_int_equal(wait_once(x.client, &e, 5 * NSEC_MS), 0);
    assert_int_equal(wait_once(x.server, &e, NSEC_NEVER), 0);
    assert_false(io_sim_can_run(x.w, client));
    assert_false(io_sim_can_run(x.w, server));
    io_sim_advance(x.w, start + NSEC_S);
    assert_int_equal(io_sim_now(x.w), start + 5 * NSEC_MS);
    assert_true(io_sim_can_run(x.w, client));
    assert_int_equal(wait_once(x.client, &e, NSEC_NEVER), 0); /* the sleep's end, no new sleep */
    assert_true(io_sim_can_run(x.w, client));
    x.server->ops->wake(x.server->ctx);
    assert_true(io_sim_can_run(x.w, server));
    assert_int_equal(wait_once(x.server, &e, NSEC_NEVER), 0);
    assert_true(io_sim_can_run(x.w, server));
    assert_int_equal(wait_once(x.server, &e, NSEC_NEVER), 0);
    assert_false(io_sim_can_run(x.w, server));
    io_sim_freeze(x.w, server, io_sim_now(x.w) + NSEC_S);
    x.server->ops->wake(x.server->ctx);
    assert_false(io_sim_can_run(x.w, server));
    world_close(&x);
}

static void test_rest(void **state)
{
    (void)state;
    struct world x;
    struct io_event e;
    world_open(&x, 9, NULL);
    int peer = establish(&x);
    unsigned client = io_sim_host_number(x.client);
    while (wait_once(x.client, &e, 0) > 0 || wait_once(x.server, &e, 0) > 0)
        continue;
    assert_int_equal(wait_once(x.server, &e, NSEC_NEVER), 0);
    uint64_t start = io_sim_now(x.w);
    assert_int_equal(write_text(x.server, peer, "early"), 5);
    assert_int_equal(wait_once(x.server, &e, NSEC_NEVER), 0);
    x.client->ops->rest(x.client->ctx, 10 * NSEC_MS);
    assert_int_equal(wait_once(x.client, &e, NSEC_NEVER), 0);
    x.client->ops->wake(x.client->ctx); /* nothing ends a rest */
    while (!io_sim_can_run(x.w, client)) {
        assert_int_equal(wait_once(x.client, &e, NSEC_NEVER), 0);
        io_sim_advance(x.w, NSEC_NEVER);
    }
    assert_int_equal(io_sim_now(x.w), start + 10 * NSEC_MS);
    assert_int_equal(wait_once(x.client, &e, NSEC_NEVER), 1);
    assert_true(e.tag == &x.client && (e.ready & IO_IN));
    world_close(&x);
}

/* ---- a relay in all weathers ---- */

/* Sends back what it reads; heeds short writes; reads until -EAGAIN or a short read. */
struct echo {
    int handle;
    uint8_t held[HELD_MAX];
    size_t len;
    bool readable, writable;
};

static void echo_pump(struct io *io, struct echo *e)
{
    bool moved = true;
    while (moved) {
        moved = false;
        if (e->readable && e->len < HELD_MAX) {
            size_t room = HELD_MAX - e->len;
            ssize_t n = io->ops->read(io->ctx, e->handle, e->held + e->len, room);
            if (n > 0)
                e->len += (size_t)n;
            if (n <= 0 || (size_t)n < room)
                e->readable = false;
            moved = n > 0;
        }
        if (e->writable && e->len > 0) {
            struct iovec iov[2] = {{e->held, e->len / 2},
                                   {e->held + e->len / 2, e->len - e->len / 2}};
            ssize_t n = io->ops->writev(io->ctx, e->handle, iov, 2);
            size_t sent = n > 0 ? (size_t)n : 0;
            if (sent < e->len)
                e->writable = false;
            memmove(e->held, e->held + sent, e->len - sent);
            e->len -= sent;
            moved = moved || sent > 0;
        }
    }
}

/* Streams bytes through an echo and compares. Returns the trace's hash. */
static uint64_t stream_through(uint64_t seed, const struct io_sim_weather *weather)
{
    struct world x;
    world_open(&x, seed, weather);
    struct echo far = {.handle = establish(&x), .writable = true};
    uint8_t *got = malloc(STREAM_BYTES), *sent = malloc(STREAM_BYTES);
    assert_true(got && sent);
    for (size_t i = 0; i < STREAM_BYTES; i++)
        sent[i] = (uint8_t)(i * 31 + i / 251);
    size_t out = 0, in = 0;
    bool readable = false, writable = true;
    for (int steps = 0; in < STREAM_BYTES; steps++) {
        assert_true(steps < 3000000);
        struct io_event e;
        while (wait_once(x.server, &e, NSEC_NEVER) > 0) {
            far.readable = far.readable || e.ready & IO_IN;
            far.writable = far.writable || e.ready & IO_OUT;
        }
        echo_pump(x.server, &far);
        while (wait_once(x.client, &e, NSEC_NEVER) > 0) {
            readable = readable || e.ready & IO_IN;
            writable = writable || e.ready & IO_OUT;
        }
        if (writable && out < STREAM_BYTES) {
            struct iovec iov = {sent + out, STREAM_BYTES - out};
            ssize_t n = x.client->ops->writev(x.client->ctx, x.handle, &iov, 1);
            writable = false; /* it asked for more than fits, or is done */
            out += n > 0 ? (size_t)n : 0;
        }
        if (readable) {
            ssize_t n = x.client->ops->read(x.client->ctx, x.handle, got + in, STREAM_BYTES - in);
            readable = n == (ssize_t)(STREAM_BYTES - in);
            in += n > 0 ? (size_t)n : 0;
        }
        unsigned hosts[2] = {io_sim_host_number(x.client), io_sim_host_number(x.server)};
        if (!io_sim_can_run(x.w, hosts[0]) && !io_sim_can_run(x.w, hosts[1]) && in < STREAM_BYTES)
            io_sim_advance(x.w, io_sim_now(x.w) + NSEC_S);
    }
    assert_memory_equal(got, sent, STREAM_BYTES);
    uint64_t hash = x.trace.hash;
    free(got);
    free(sent);
    world_close(&x);
    return hash;
}

static void test_streams_stay_whole(void **state)
{
    (void)state;
    static const struct io_sim_weather WEATHERS[] = {
        {.latency_max = 100000, .buffer_min = 65536, .buffer_max = 65536},
        {.latency_max = 100000, .buffer_min = 100, .buffer_max = 5000},
        {.latency_max = 1000000, .buffer_min = 1000, .buffer_max = 100000, .piece_chance = 500},
        {.latency_max = 50000,
         .buffer_min = 3000,
         .buffer_max = 9000,
         .short_read_chance = 300,
         .short_write_chance = 300,
         .piece_chance = 300,
         .spurious_chance = 100,
         .spike_chance = 50,
         .spike = 9000000},
    };
    for (size_t i = 0; i < sizeof(WEATHERS) / sizeof(WEATHERS[0]); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            uint64_t hash = stream_through(seed, &WEATHERS[i]);
            assert_true(hash == stream_through(seed, &WEATHERS[i]));
            assert_true(hash != stream_through(seed + 100, &WEATHERS[i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_and_end),
        cmocka_unit_test(test_refused_and_black_hole),
        cmocka_unit_test(test_reset_and_close_with_unread),
        cmocka_unit_test(test_cut_at_a_byte),
        cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_listeners_share),
        cmocka_unit_test(test_sleep_and_wake),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_streams_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
