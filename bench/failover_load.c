/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_failover_load: the load of bench/failover. See failover_load.h.
 *
 * Request i is sent at i / rate, by the connections in turn, or the next one that is up, whatever
 * has been answered so far; its latency runs from that moment. What is not answered when
 * the run ends, and the time to give up has passed besides, is charged with the time it waited.
 *
 * One thread, edge-triggered epoll. A key has at most one write under way, from whichever
 * connection, so its versions are ordered. A write whose answer is late is still under way: its key
 * is not written before the answer came or the connection was lost.
 */
#include "failover_load.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTROL_EVERY_MS = 2, /* standard input is looked at so often while measuring */
    GO_WAIT_S = 120,
};

static const uint64_t start_pause_ns = 20000000; /* between `go` and the first request */

static volatile sig_atomic_t told_to_end;

static void on_sigterm(int number)
{
    (void)number;
    told_to_end = 1;
}

uint64_t failover_clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * FAILOVER_S + (uint64_t)t.tv_nsec;
}

void *failover_alloc(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);

    if (!memory) {
        fputs("bench_failover_load: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void say_and_exit(const char *what)
{
    fprintf(stderr, "bench_failover_load: %s\n", what);
    exit(1);
}

/* All that the run will need, so that nothing is allocated while the clock runs. */
static void load_init(struct failover *f)
{
    const struct failover_options *o = &f->options;
    double seconds = (double)o->length_ns / 1e9;

    f->random_state = o->seed;
    f->focus = FAILOVER_NO_NODE;
    f->record_max = (uint32_t)(seconds * o->rate) + 1;
    f->records = failover_alloc(f->record_max, sizeof(*f->records));
    f->probe_max = (uint32_t)(seconds * 10) + 1;
    f->probes = failover_alloc(f->probe_max, sizeof(*f->probes));
    failover_keys_init(&f->keys, o, f->record_max);
    f->connections = failover_alloc(o->connection_count, sizeof(*f->connections));
    for (unsigned i = 0; i < o->connection_count; i++)
        failover_connection_init(&f->connections[i], i % o->address_count);
    for (unsigned i = 0; i < FAILOVER_PROBES_MAX; i++)
        failover_connection_init(&f->probe_connections[i], 0);
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll_fd < 0)
        say_and_exit(strerror(errno));
    f->now_ns = failover_clock_ns();
}

static void load_fini(struct failover *f)
{
    for (unsigned i = 0; i < f->options.connection_count; i++)
        free(f->connections[i].queue);
    for (unsigned i = 0; i < FAILOVER_PROBES_MAX; i++)
        free(f->probe_connections[i].queue);
    failover_keys_fini(&f->keys);
    free(f->connections);
    free(f->probes);
    free(f->records);
    close(f->epoll_fd);
    free(f);
}

/* Connections stay open meanwhile and are not looked at: nothing is under way on them. */
static void go_wait(struct failover *f)
{
    uint64_t end = failover_clock_ns() + GO_WAIT_S * FAILOVER_S;

    for (;;) {
        int said = failover_control_read(f, 100);
        if (said == 1)
            return;
        if (said != 0 || told_to_end)
            say_and_exit("ended before it was told to go");
        if (failover_clock_ns() > end)
            say_and_exit("was not told to go");
    }
}

static bool is_waiting(const struct failover *f)
{
    for (unsigned i = 0; i < f->options.connection_count; i++) {
        if (f->connections[i].head != f->connections[i].tail)
            return true;
    }
    return false;
}

/* Looks at what has come on standard input; without anybody there the time alone decides. */
static bool is_told_to_end(struct failover *f, bool *is_open)
{
    if (told_to_end)
        return true;
    if (!*is_open)
        return false;
    int said = failover_control_read(f, 0);
    if (said == -EINVAL)
        exit(2);
    *is_open = said != -EPIPE;
    return said == 2;
}

static void run(struct failover *f)
{
    uint64_t next_look = 0;
    bool is_open = true;

    f->now_ns = failover_clock_ns();
    f->start_ns = f->now_ns + start_pause_ns;
    f->end_ns = f->start_ns + f->options.length_ns;
    while (f->now_ns < f->end_ns || !failover_schedule_is_over(f) || is_waiting(f)) {
        if (f->now_ns > f->end_ns + f->options.give_up_ns)
            break;
        failover_schedule_run(f);
        if (f->now_ns >= next_look) {
            failover_reconnect(f);
            failover_probes_run(f);
            if (is_told_to_end(f, &is_open) && f->now_ns < f->end_ns)
                f->end_ns = f->now_ns;
            next_look = f->now_ns + CONTROL_EVERY_MS * FAILOVER_MS;
        }
        failover_wait(f, failover_schedule_pause_ns(f));
    }
    f->is_over = true;
    for (unsigned i = 0; i < f->options.connection_count; i++)
        failover_connection_lose(f, &f->connections[i], FAILOVER_PROBE_CLOSED);
    for (unsigned i = 0; i < FAILOVER_PROBES_MAX; i++)
        failover_connection_lose(f, &f->probe_connections[i], FAILOVER_PROBE_TIMED_OUT);
}

/* Which node has which key; without a map nobody knows. */
static void map_read(struct failover *f)
{
    const struct failover_options *o = &f->options;
    int err = o->map_path ? failover_keys_map(&f->keys, o->map_path) : 0;

    if (err) {
        fprintf(stderr, "bench_failover_load: %s: %s\n", o->map_path, strerror(-err));
        exit(1);
    }
    f->focus = o->focus_name ? failover_keys_node(&f->keys, o->focus_name) : FAILOVER_NO_NODE;
    if (o->focus_name && f->focus == FAILOVER_NO_NODE) {
        fprintf(stderr, "bench_failover_load: %s has no key\n", o->focus_name);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_sigterm};
    struct failover *f = failover_alloc(1, sizeof(*f));

    if (failover_options_read(argc, argv, &f->options) != 0)
        return 2;
    if (f->options.phases &&
        failover_phases_add(f, f->options.phases, &f->options.length_ns) != 0) {
        fprintf(stderr, "bench_failover_load: no phases: %s\n", f->options.phases);
        return 2;
    }
    sigaction(SIGTERM, &action, NULL);
    /* The kernel may wake a sleeper 50 µs late by default: the gap between two requests. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    load_init(f);
    if (failover_fill(f) != 0) {
        fprintf(stderr, "bench_failover_load: only %u of %u keys could be written", f->fill_done,
                f->keys.count);
        fprintf(stderr, f->kinds[0].count > 0 ? ": %s\n" : "\n", f->kinds[0].text);
        return 1;
    }
    memset(f->kinds, 0, sizeof(f->kinds)); /* what went wrong while filling was made good */
    puts("filled");
    fflush(stdout);
    if (f->options.waits)
        go_wait(f);
    map_read(f);
    run(f);
    failover_report(f);
    load_fini(f);
    return 0;
}
