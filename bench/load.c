/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_load: a closed-loop load generator for Redis servers and proxies.
 *
 * Each of C connections sends a batch of P requests in one write, waits until all P replies are
 * here and sends the next batch. A request's latency runs from the moment its batch was handed to
 * the kernel to the moment its reply was read. Length and kind of every reply are always
 * checked; with --verify every byte is.
 *
 * The value of a key depends on nothing but the key, so a reply that belongs to another key is
 * found out, and GETs stay verifiable while SETs run.
 *
 * One thread, edge-triggered epoll, bounded: a run ends after its time even if the server says
 * nothing.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SCRATCH_SIZE = 256 * 1024,
    EVENTS_PER_TURN = 256,
    CONNECTS_AT_A_TIME = 100, /* fewer than any server's listen backlog */
};

static const uint64_t drain_ns = 2000000000;   /* wait this long for the last replies */
static const uint64_t connect_ns = 5000000000; /* and this long for the connections */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fputs("bench_load: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* xorshift64*: good enough to draw keys, and it costs nothing. */
static uint64_t next_random(struct bench *bench)
{
    uint64_t x = bench->random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    bench->random_state = x;
    return x * 0x2545f4914f6cdd1dU;
}

static void values_make(struct bench *bench)
{
    size_t size = bench->options.value_size + LOAD_KEY_MAX;

    /* A seed of its own for the values: two runs must agree on them whatever keys they draw. */
    bench->random_state = 0x9e3779b97f4a7c15U;
    bench->values = must_alloc(1, size);
    for (size_t i = 0; i < size; i++)
        bench->values[i] = (char)('a' + (next_random(bench) >> 33) % 26);
    bench->random_state ^= now_ns() | 1;
    if (bench->random_state == 0)
        bench->random_state = 1;
}

/*
 * Makes one request of the right shape, with the places where key digits and value go. Requests
 * all have the same length, so a batch is patched in place and never formatted again.
 */
static void template_make(struct bench *bench)
{
    const struct load_options *options = &bench->options;
    static const char *const names[] = {"GET", "SET", "MGET"};
    const char *name = names[options->command];
    char prefix[32];
    unsigned arg_count = 1 + options->mget_count + (options->command == LOAD_SET ? 1 : 0);
    size_t room = 256 + (size_t)options->mget_count * 64 + options->value_size;
    size_t len = 0;

    /* Values of different sizes live under different names. */
    snprintf(prefix, sizeof prefix, "b%zu:", options->value_size);
    bench->template = must_alloc(1, room);
    bench->key_at = must_alloc(options->mget_count, sizeof *bench->key_at);
    len += (size_t)snprintf(bench->template, room, "*%u\r\n$%zu\r\n%s\r\n", arg_count, strlen(name),
                            name);
    for (unsigned i = 0; i < options->mget_count; i++) {
        len += (size_t)snprintf(bench->template + len, room - len, "$%zu\r\n%s",
                                strlen(prefix) + LOAD_KEY_DIGITS, prefix);
        bench->key_at[i] = len;
        len += (size_t)snprintf(bench->template + len, room - len, "%0*u\r\n", LOAD_KEY_DIGITS, 0U);
    }
    if (options->command == LOAD_SET) {
        len += (size_t)snprintf(bench->template + len, room - len, "$%zu\r\n", options->value_size);
        bench->value_at = len;
        len += options->value_size;
        bench->template[len++] = '\r';
        bench->template[len++] = '\n';
    }
    bench->template_len = len;
}

static void connection_close(struct bench *bench, struct connection *c, bool lost)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    bench->open_count--;
    if (c->replies_left > 0)
        bench->busy_count--;
    c->replies_left = 0;
    if (lost)
        bench->lost_count++;
}

/* Writes what is left of the batch. What the kernel does not take waits for the next event. */
static void connection_write(struct bench *bench, struct connection *c)
{
    while (c->out_done < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                connection_close(bench, c, true);
            return;
        }
        c->out_done += (size_t)n;
    }
}

static uint32_t draw_key(struct bench *bench)
{
    if (bench->options.in_order)
        return (uint32_t)(bench->started_requests % bench->options.key_count);
    return (uint32_t)(((next_random(bench) >> 32) * bench->options.key_count) >> 32);
}

static void patch_key(char *digits, uint32_t key)
{
    for (int i = LOAD_KEY_DIGITS - 1; i >= 0; i--) {
        digits[i] = (char)('0' + key % 10);
        key /= 10;
    }
}

/* Sends the next batch, or lets the connection rest when nothing is left to send. */
static void batch_start(struct bench *bench, struct connection *c, uint64_t now)
{
    const struct load_options *options = &bench->options;
    unsigned count = options->pipeline;
    unsigned key_index = 0;

    if (options->request_count > 0 && options->request_count - bench->started_requests < count)
        count = (unsigned)(options->request_count - bench->started_requests);
    if (bench->phase == PHASE_DRAIN || count == 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        char *request = c->out + i * bench->template_len;
        for (unsigned k = 0; k < options->mget_count; k++) {
            uint32_t key = draw_key(bench);
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there with mget_count > 0 */
            c->keys[key_index++] = key;
            patch_key(request + bench->key_at[k], key);
            if (options->command == LOAD_SET)
                memcpy(request + bench->value_at, load_value(bench, key), options->value_size);
        }
        bench->started_requests++;
    }
    c->key_at = 0;
    c->replies_left = count;
    c->out_len = count * bench->template_len;
    c->out_done = 0;
    c->sent_ns = now;
    bench->busy_count++;
    connection_write(bench, c);
}

/*
 * Reads until the socket is empty. Without --verify most of a large body is dropped inside the
 * kernel: the generator shares a core with what it measures, so it should cost little.
 */
static void connection_read(struct bench *bench, struct connection *c)
{
    for (;;) {
        size_t room = SCRATCH_SIZE;
        bool drop = !bench->options.verify && c->state == INPUT_BODY &&
                    c->body_len > c->body_done + SCRATCH_SIZE;
        if (drop)
            room = c->body_len - c->body_done;
        ssize_t n = recv(c->fd, bench->scratch, room, drop ? MSG_TRUNC : 0);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR))
                connection_close(bench, c, true);
            return;
        }
        uint64_t now = now_ns();
        if (drop)
            c->body_done += (size_t)n;
        else if (load_take_reply(bench, c, bench->scratch, (size_t)n, now) != 0) {
            bench->wrong_count++;
            connection_close(bench, c, true);
            return;
        }
        if (c->replies_left == 0)
            batch_start(bench, c, now);
        /* A short read emptied the socket; what comes later brings an event of its own. */
        if (c->fd < 0 || (size_t)n < room)
            return;
    }
}

static int connection_open(struct bench *bench, struct connection *c)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(bench->options.port),
    };
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLET,
        .data.ptr = c,
    };
    const int one = 1;

    inet_pton(AF_INET, bench->options.host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    bench->open_count++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        return -errno;
    if (epoll_ctl(bench->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        return -errno;
    c->keys =
        must_alloc((size_t)bench->options.pipeline * bench->options.mget_count, sizeof *c->keys);
    c->out = must_alloc(bench->options.pipeline, bench->template_len);
    for (unsigned i = 0; i < bench->options.pipeline; i++)
        memcpy(c->out + i * bench->template_len, bench->template, bench->template_len);
    return 0;
}

/* Connects everybody before the first request, some at a time. Returns 0 or an error. */
static int connect_all(struct bench *bench)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t end = now_ns() + connect_ns;
    unsigned opened = 0;
    unsigned connected = 0;

    while (connected < bench->options.connections) {
        while (opened < bench->options.connections && opened - connected < CONNECTS_AT_A_TIME) {
            int rc = connection_open(bench, &bench->connections[opened++]);
            if (rc != 0)
                return rc;
        }
        int count = epoll_wait(bench->epoll_fd, events, EVENTS_PER_TURN, 100);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            int error = 0;
            socklen_t len = sizeof error;
            if (c->connected || !(events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
                continue;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
            if (error != 0)
                return -error;
            c->connected = true;
            connected++;
        }
        if (now_ns() > end)
            return -ETIMEDOUT;
    }
    return 0;
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
    bench->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    bench->window_start_ns = now_ns();
    bench->phase = PHASE_MEASURE;
}

static void window_close(struct bench *bench)
{
    bench->window_end_ns = now_ns();
    bench->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - bench->own_cpu_ns;
    bench->machine_ns = cpu_machine_busy_ns() - bench->machine_ns;
    sample_cpu(bench, bench->cpu_end);
    bench->phase = PHASE_DRAIN;
}

static bool window_is_over(const struct bench *bench, uint64_t now)
{
    const struct load_options *options = &bench->options;

    if (now - bench->window_start_ns >= options->window_ns || bench->open_count == 0)
        return true;
    return options->request_count > 0 && bench->busy_count == 0;
}

static void handle_events(struct bench *bench, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->fd >= 0 && (events[i].events & EPOLLOUT))
            connection_write(bench, c);
        if (c->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT))
            connection_read(bench, c);
    }
}

static void run(struct bench *bench)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = now_ns();
    uint64_t warmup_end = now + bench->options.warmup_ns;

    bench->phase = PHASE_WARMUP;
    if (bench->options.warmup_ns == 0)
        window_open(bench);
    for (unsigned i = 0; i < bench->options.connections; i++)
        batch_start(bench, &bench->connections[i], now_ns());
    for (;;) {
        int count = epoll_wait(bench->epoll_fd, events, EVENTS_PER_TURN, 10);
        handle_events(bench, events, count);
        now = now_ns();
        if (bench->phase == PHASE_WARMUP && now >= warmup_end)
            window_open(bench);
        else if (bench->phase == PHASE_MEASURE && window_is_over(bench, now))
            window_close(bench);
        /* Closing with replies under way would reset connections inside what is measured. */
        if (bench->phase == PHASE_DRAIN &&
            (bench->busy_count == 0 || now - bench->window_end_ns > drain_ns))
            return;
        if (bench->open_count == 0 && bench->phase != PHASE_MEASURE)
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
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, "
           "\"errors\": %llu, \"first_error\": \"%s\", \"misses\": %llu, \"wrong\": %llu, "
           "\"lost_connections\": %llu, \"verified\": %s, \"load_cpu_ns\": %llu, "
           "\"machine_cpu_ns\": %llu, \"cpu\": {",
           (unsigned long long)bench->requests, seconds,
           seconds > 0 ? (double)bench->requests / seconds : 0.0, quantile_us(bench, 0.5),
           quantile_us(bench, 0.99), quantile_us(bench, 0.999),
           (unsigned long long)bench->error_count, bench->first_error,
           (unsigned long long)bench->miss_count, (unsigned long long)bench->wrong_count,
           (unsigned long long)bench->lost_count, bench->options.verify ? "true" : "false",
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
    struct bench *bench = must_alloc(1, sizeof *bench);

    if (load_options_read(argc, argv, pids, &bench->options) != 0)
        return 2;
    values_make(bench);
    template_make(bench);
    bench->scratch = must_alloc(1, SCRATCH_SIZE);
    bench->connections = must_alloc(bench->options.connections, sizeof *bench->connections);
    for (unsigned i = 0; i < bench->options.connections; i++)
        bench->connections[i].fd = -1;
    bench->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bench->epoll_fd < 0) {
        perror("bench_load: epoll");
        return 1;
    }
    int rc = connect_all(bench);
    if (rc != 0) {
        fprintf(stderr, "bench_load: cannot connect %u times to %s:%u: %s\n",
                bench->options.connections, bench->options.host, bench->options.port,
                strerror(-rc));
        return 1;
    }
    run(bench);
    print_result(bench);
    return 0;
}
