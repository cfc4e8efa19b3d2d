/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_load: a load generator for Redis servers and proxies.
 *
 * Closed loop: each of C clients sends a batch of P requests in one write, waits until all P
 * replies are here and sends the next batch. A request's latency runs from the moment its batch
 * was handed to the kernel to the moment its reply was read.
 *
 * Open loop (--rate): request i is sent at i / rate by client i modulo C, whether or not earlier
 * ones were answered, and its latency runs from that moment: who is slow for a while is charged
 * with everything that should have been asked meanwhile.
 *
 * Length and kind of every reply are always checked; with --verify every byte is. The value of a
 * key depends on nothing but the key, so a reply that belongs to another key is found out, and
 * GETs stay verifiable while SETs run.
 *
 * One thread, edge-triggered epoll, bounded: a run ends after its time even if the server says
 * nothing. SIGTERM ends it early, with its figures up to then.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

enum { EVENTS_PER_TURN = 256 };

static const uint64_t drain_ns = 2000000000; /* wait this long for the last replies */

static volatile sig_atomic_t told_to_end;

static void on_sigterm(int number)
{
    (void)number;
    told_to_end = 1;
}

static uint64_t own_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void sample_cpu(const struct bench *bench, struct cpu_sample *samples)
{
    for (unsigned i = 0; i < bench->options.pid_count; i++)
        samples[i] = cpu_sample_read(bench->options.pids[i]);
}

static void window_open(struct bench *bench)
{
    sample_cpu(bench, bench->cpu_start);
    bench->machine_ns = cpu_machine_busy_ns();
    bench->own_cpu_ns = own_cpu_ns();
    bench->window_start_ns = load_now_ns();
    bench->phase = PHASE_MEASURE;
}

static void window_close(struct bench *bench)
{
    bench->window_end_ns = load_now_ns();
    bench->own_cpu_ns = own_cpu_ns() - bench->own_cpu_ns;
    bench->machine_ns = cpu_machine_busy_ns() - bench->machine_ns;
    sample_cpu(bench, bench->cpu_end);
    bench->phase = PHASE_DRAIN;
}

static bool window_is_over(const struct bench *bench, uint64_t now)
{
    const struct load_options *options = &bench->options;

    if (now - bench->window_start_ns >= options->window_ns || bench->open_count == 0 || told_to_end)
        return true;
    return options->request_count > 0 && bench->started_requests >= options->request_count &&
           bench->waiting == 0;
}

/* Waits for events as long as nothing is due, and no longer. Returns their number. */
static int wait_events(const struct bench *bench, struct epoll_event *events)
{
    uint64_t pause_ns = load_pause_ns(bench, load_now_ns());
    struct timespec timeout = {.tv_nsec = (long)pause_ns};

    if (bench->options.rate <= 0)
        return epoll_wait(bench->epoll_fd, events, EVENTS_PER_TURN, (int)(pause_ns / 1000000));
    int count = epoll_pwait2(bench->epoll_fd, events, EVENTS_PER_TURN, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        fputs("bench_load: an open loop needs Linux 5.11\n", stderr);
        exit(1);
    }
    return count;
}

static void run(struct bench *bench)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = load_now_ns();
    uint64_t warmup_end = now + bench->options.warmup_ns;

    bench->phase = PHASE_WARMUP;
    if (bench->options.warmup_ns == 0)
        window_open(bench);
    load_start(bench, load_now_ns());
    for (;;) {
        int count = wait_events(bench, events);
        for (int i = 0; i < count; i++)
            load_event(bench, events[i].data.ptr, events[i].events);
        now = load_now_ns();
        load_tick(bench, now);
        if (bench->phase == PHASE_WARMUP && (now >= warmup_end || told_to_end))
            window_open(bench);
        else if (bench->phase == PHASE_MEASURE && window_is_over(bench, now))
            window_close(bench);
        /* Closing with replies under way would reset connections inside what is measured. */
        if (bench->phase == PHASE_DRAIN &&
            (bench->waiting == 0 || now > bench->window_end_ns + drain_ns))
            return;
        if (bench->open_count == 0 && bench->phase == PHASE_DRAIN)
            return;
    }
}

static double quantile_us(const struct bench *bench, double share)
{
    return (double)histogram_quantile(&bench->latency, share) / 1000.0;
}

static void print_result(const struct bench *bench)
{
    double seconds = (double)(bench->window_end_ns - bench->window_start_ns) / 1e9;

    printf("{\"requests\": %llu, \"seconds\": %.6f, \"rps\": %.1f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, "
           "\"errors\": %llu, \"first_error\": \"%s\", \"misses\": %llu, \"wrong\": %llu, "
           "\"lost_connections\": %llu, \"unsent\": %llu, \"unanswered\": %llu, "
           "\"verified\": %s, \"load_cpu_ns\": %llu, "
           "\"machine_cpu_ns\": %llu, \"cpu\": {",
           (unsigned long long)bench->requests, seconds,
           seconds > 0 ? (double)bench->requests / seconds : 0.0, quantile_us(bench, 0.5),
           quantile_us(bench, 0.99), quantile_us(bench, 0.999), quantile_us(bench, 1),
           (unsigned long long)bench->error_count, bench->first_error,
           (unsigned long long)bench->miss_count, (unsigned long long)bench->wrong_count,
           (unsigned long long)bench->lost_count, (unsigned long long)bench->unsent_count,
           (unsigned long long)bench->waiting, bench->options.verify ? "true" : "false",
           (unsigned long long)bench->own_cpu_ns, (unsigned long long)bench->machine_ns);
    for (unsigned i = 0; i < bench->options.pid_count; i++)
        printf("%s\"%d\": {\"sched_ns\": %llu, \"stat_ns\": %llu}", i > 0 ? ", " : "",
               bench->options.pids[i],
               (unsigned long long)(bench->cpu_end[i].sched_ns - bench->cpu_start[i].sched_ns),
               (unsigned long long)(bench->cpu_end[i].stat_ns - bench->cpu_start[i].stat_ns));
    printf("}}\n");
}

int main(int argc, char **argv)
{
    int pids[LOAD_PID_MAX];
    struct sigaction action = {.sa_handler = on_sigterm};
    struct bench *bench = load_alloc(1, sizeof *bench);

    if (load_options_read(argc, argv, pids, &bench->options) != 0)
        return 2;
    sigaction(SIGTERM, &action, NULL);
    /* The kernel may wake a sleeper 50 µs late by default: most of the gap between two requests. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    int rc = load_open(bench);
    if (rc != 0) {
        fprintf(stderr, "bench_load: cannot connect %u clients to %s:%u: %s\n",
                bench->options.clients, bench->options.addresses[0].host,
                bench->options.addresses[0].port, strerror(-rc));
        return 1;
    }
    run(bench);
    load_finish(bench, load_now_ns());
    print_result(bench);
    return 0;
}
