/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked, when, and on which connection: filling, the steady load, new connections. */
#include "failover_load.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
    FILL_PIPELINE = 8, /* per connection */
    EVENTS_PER_TURN = 256,
    KEY_DRAWS = 16, /* for a write, until a key is found that has none under way */
};

static const uint64_t fill_ns = 60000000000;
static const uint64_t pause_max_ns = 10000000;
static const uint64_t probe_every_ns = 100000000;
static const uint64_t probe_give_up_ns = 2000000000;

uint64_t failover_random(struct failover *f)
{
    uint64_t x = f->random_state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint32_t key_draw(struct failover *f)
{
    return (uint32_t)(failover_random(f) % f->keys.count);
}

void failover_wait(struct failover *f, uint64_t most_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec timeout = {.tv_sec = (time_t)(most_ns / FAILOVER_S),
                               .tv_nsec = (long)(most_ns % FAILOVER_S)};
    int count = epoll_pwait2(f->epoll_fd, events, EVENTS_PER_TURN, &timeout, NULL);

    if (count < 0 && errno == ENOSYS) {
        fputs("bench_failover_load: needs Linux 5.11\n", stderr);
        exit(1);
    }
    f->now_ns = failover_clock_ns();
    for (int i = 0; i < count; i++)
        failover_connection_event(f, events[i].data.ptr, events[i].events);
    f->now_ns = failover_clock_ns();
}

void failover_reconnect(struct failover *f)
{
    for (unsigned i = 0; i < f->options.connection_count; i++) {
        struct failover_connection *c = &f->connections[i];
        if (c->state == FAILOVER_UP || c->wake_ns > f->now_ns)
            continue;
        if (c->state == FAILOVER_CONNECTING)
            failover_connection_lose(f, c, FAILOVER_PROBE_REFUSED);
        else
            failover_connection_open(f, c);
    }
}

/* ------------------------------------------------------------------- filling */

/* The next key that nobody has filled or is filling; FAILOVER_NONE: there is none. */
static uint32_t fill_key(struct failover *f)
{
    for (uint32_t i = 0; i < f->keys.count; i++) {
        uint32_t key = f->fill_next;
        f->fill_next = key + 1 < f->keys.count ? key + 1 : 0;
        if (f->keys.list[key].newest == 0 && !f->keys.list[key].is_busy)
            return key;
    }
    return FAILOVER_NONE;
}

void failover_fill_more(struct failover *f, struct failover_connection *c)
{
    if (c->tail - c->head >= FILL_PIPELINE || f->fill_done == f->keys.count)
        return;
    uint32_t key = fill_key(f);
    if (key == FAILOVER_NONE)
        return;
    f->keys.list[key].is_busy = true;
    struct failover_request *q = failover_connection_queue(c);
    q->command = FAILOVER_SET;
    q->key = key;
}

int failover_fill(struct failover *f)
{
    uint64_t end_ns = f->now_ns + fill_ns;

    while (f->fill_done < f->keys.count) {
        if (f->now_ns > end_ns)
            return -ETIMEDOUT;
        failover_reconnect(f);
        for (unsigned i = 0; i < f->options.connection_count; i++) {
            struct failover_connection *c = &f->connections[i];
            while (c->state == FAILOVER_UP && c->tail - c->head < FILL_PIPELINE) {
                size_t before = c->tail;
                failover_fill_more(f, c);
                if (c->tail == before)
                    break;
            }
            failover_connection_write(f, c);
        }
        failover_wait(f, 10 * FAILOVER_MS);
    }
    return 0;
}

/* ------------------------------------------------------------------- the steady load */

static uint64_t due_ns(const struct failover *f, uint64_t index)
{
    return f->start_ns + (uint64_t)((double)index * 1e9 / f->options.rate);
}

/* How many connections the focus's keys have for themselves: the first ones; 0: none. */
static unsigned apart_count(const struct failover *f)
{
    unsigned count = f->options.connection_count;

    if (!f->options.is_apart || f->focus == FAILOVER_NO_NODE || count < 2)
        return 0;
    unsigned share = count / f->keys.node_count;
    return share > 0 ? share : 1;
}

/* The connection whose turn it is for such a key, or the next that is up; NULL: none is. Replies
 * come in the order of requests, so who shares a connection with requests that wait waits too,
 * however good the proxy is: hence connections apart. */
static struct failover_connection *connection_next(struct failover *f, uint32_t key)
{
    unsigned apart = apart_count(f);
    bool is_focus = apart > 0 && f->keys.list[key].node == f->focus;
    unsigned first = is_focus ? 0 : apart;
    unsigned count = is_focus ? apart : f->options.connection_count - apart;
    uint64_t turn = is_focus ? f->focus_turn++ : f->turn++;

    for (unsigned i = 0; i < count; i++) {
        struct failover_connection *c = &f->connections[first + (turn + i) % count];
        if (c->state == FAILOVER_UP)
            return c;
    }
    return NULL;
}

static enum failover_command command_draw(struct failover *f)
{
    double drawn = (double)(failover_random(f) >> 11) / (double)(UINT64_C(1) << 53);

    if (drawn < f->options.set_share)
        return FAILOVER_SET;
    return drawn < f->options.set_share + f->options.del_share ? FAILOVER_DEL : FAILOVER_GET;
}

/* A key that may be written; FAILOVER_NONE: all that were drawn have a write under way. */
static uint32_t key_draw_idle(struct failover *f)
{
    for (unsigned i = 0; i < KEY_DRAWS; i++) {
        uint32_t key = key_draw(f);
        if (!f->keys.list[key].is_busy)
            return key;
    }
    return FAILOVER_NONE;
}

static void request_make(struct failover *f, uint64_t due)
{
    enum failover_command command = command_draw(f);
    uint32_t key = FAILOVER_NONE;

    if (command != FAILOVER_GET && f->keys.write_count < f->keys.write_max)
        key = key_draw_idle(f);
    if (key == FAILOVER_NONE) {
        command = FAILOVER_GET;
        key = key_draw(f);
    }
    struct failover_connection *c = connection_next(f, key);
    struct failover_record *r = &f->records[f->record_count];
    *r = (struct failover_record){.due_ns = due - f->start_ns,
                                  .key = key,
                                  .command = (uint8_t)command,
                                  .node = f->keys.list[key].node};
    uint32_t record = f->record_count++;
    if (!c) {
        r->outcome = FAILOVER_ERROR;
        r->flags = FAILOVER_UNSENT;
        failover_error_add(f, "no connection is up");
        return;
    }
    struct failover_request *q = failover_connection_queue(c);
    q->due_ns = due;
    q->command = command;
    q->key = key;
    q->record = record;
    if (command != FAILOVER_GET)
        q->write = failover_write_begin(&f->keys, key, command, c->address);
    failover_connection_write(f, c);
}

/* By the requests, not by the clock: what was due before the end is sent, if late. */
bool failover_schedule_is_over(const struct failover *f)
{
    return due_ns(f, f->drawn) >= f->end_ns || f->record_count == f->record_max;
}

void failover_schedule_run(struct failover *f)
{
    while (!failover_schedule_is_over(f)) {
        uint64_t due = due_ns(f, f->drawn);
        if (due > f->now_ns)
            return;
        request_make(f, due);
        f->drawn++;
    }
}

uint64_t failover_schedule_pause_ns(const struct failover *f)
{
    uint64_t due = due_ns(f, f->drawn);

    if (failover_schedule_is_over(f))
        return pause_max_ns;
    if (due <= f->now_ns)
        return 0;
    return due - f->now_ns < pause_max_ns ? due - f->now_ns : pause_max_ns;
}

/* ------------------------------------------------------------------- new connections */

static void probe_ask(struct failover *f, struct failover_connection *c,
                      enum failover_command command)
{
    struct failover_request *q = failover_connection_queue(c);

    q->command = command;
    q->due_ns = f->now_ns;
    q->key = key_draw(f);
}

void failover_probe_step(struct failover *f, struct failover_connection *c, bool is_error)
{
    struct failover_probe *p = c->probe;

    p->errors += is_error;
    if (p->first_ns == 0) {
        p->first_ns = f->now_ns;
        if (f->options.probe == FAILOVER_PROBE_RESP3) {
            probe_ask(f, c, FAILOVER_SETINFO);
            probe_ask(f, c, FAILOVER_PING);
        }
        probe_ask(f, c, FAILOVER_GET);
        failover_connection_write(f, c);
    } else if (c->head == c->tail) {
        p->ready_ns = f->now_ns;
        failover_connection_lose(f, c, FAILOVER_PROBE_READY);
    }
}

static void probe_begin(struct failover *f, struct failover_connection *c, uint64_t now_ns)
{
    struct failover_probe *p = &f->probes[f->probe_count];

    *p = (struct failover_probe){.begun_ns = now_ns};
    c->address = f->probe_count++ % f->options.address_count;
    c->probe = p;
    probe_ask(f, c, f->options.probe == FAILOVER_PROBE_RESP3 ? FAILOVER_HELLO : FAILOVER_PING);
    failover_connection_open(f, c);
}

void failover_probes_run(struct failover *f)
{
    struct failover_connection *idle = NULL;

    if (f->options.probe == FAILOVER_PROBE_NONE)
        return;
    for (unsigned i = 0; i < FAILOVER_PROBES_MAX; i++) {
        struct failover_connection *c = &f->probe_connections[i];
        if (!c->probe)
            idle = c;
        else if (f->now_ns > c->probe->begun_ns + probe_give_up_ns)
            failover_connection_lose(f, c, FAILOVER_PROBE_TIMED_OUT);
    }
    uint64_t due = f->start_ns + f->probe_count * probe_every_ns;
    if (idle && f->probe_count < f->probe_max && f->now_ns >= due && f->now_ns < f->end_ns)
        probe_begin(f, idle, f->now_ns);
}
