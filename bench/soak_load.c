/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_soak: the load of bench/soak. See soak_load.h.
 *
 *   bench_soak --port PORT --seconds N [--clients N] [--rate R] [--bulk MB] [--keys PERCENT]
 * [--seed N]
 *
 * Once a second it prints one line of JSON with its counters; the last line has "ended": true. What
 * must not happen is told on standard error, a line for each of the first few. The exit status is
 * 1 if anything of that kind happened, 2 if it was called wrongly.
 *
 * SIGTERM ends the load early, in the same orderly way as the end of its time.
 */
#include "soak_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 10,
    EVENTS_PER_TURN = 256,
    TOLD_MAX = 50,
    ARRIVE_S = 4, /* until all clients have come for the first time */
    FD_SPARE = 64,
};

static const uint64_t drain_ns = 20000000000; /* at the end, for what is under way */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * (uint64_t)SOAK_S + (uint64_t)t.tv_nsec;
}

void soak_tell(struct soak *s, const struct soak_client *c, const char *what)
{
    static const char *const commands[] = {"GET", "SET", "MGET", "DEL", "HELLO", "QUIT"};
    uint64_t told =
        s->counters.wrong + s->counters.strange + s->counters.hung + s->counters.closed_other;

    if (told > TOLD_MAX)
        return;
    fprintf(stderr, "client %td (RESP%c, pace %d): %s; request %u of %u", c - s->clients,
            c->is_resp3 ? '3' : '2', c->pace, what, c->answered + 1, c->request_count);
    if (c->answered < c->request_count) {
        const struct soak_request *q = &c->requests[c->answered];
        fprintf(stderr, ", %s of %u keys", commands[q->command], q->key_count);
        if (c->reply.key_at < q->key_count)
            fprintf(stderr, ", key %05u", q->keys[c->reply.key_at]);
        fprintf(stderr, ", written %zu bytes, received %zu", c->written, c->received);
        if (c->reply.in_body)
            fprintf(stderr, ", at byte %zu of %zu, version %u", c->reply.body_done,
                    c->reply.body_len, c->reply.value.version);
    }
    fputc('\n', stderr);
}

/* Clients of a pace other than the normal one: what they are owed is most of what a proxy holds. */
static unsigned odd_count(const struct soak *s)
{
    unsigned count = 0;

    for (unsigned i = 0; i < s->client_count; i++)
        count += s->clients[i].fd >= 0 && s->clients[i].pace != SOAK_NORMAL;
    return count;
}

static void print_counters(const struct soak *s, uint64_t started_ns, bool has_ended)
{
    const struct soak_counters *n = &s->counters;

    printf("{\"seconds\":%.1f,\"ended\":%s,\"connected\":%u,\"odd\":%u,\"cpu_seconds\":%.3f",
           (double)(s->now_ns - started_ns) / 1e9, has_ended ? "true" : "false", s->connected,
           odd_count(s), (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
#define FIELD(name) printf(",\"" #name "\":%" PRIu64, n->name)
    FIELD(connects);
    FIELD(connect_failures);
    FIELD(requests);
    FIELD(replies);
    FIELD(hits);
    FIELD(misses);
    FIELD(large);
    FIELD(checked_bytes);
    FIELD(sent_bytes);
    FIELD(errors);
    FIELD(closed_own);
    FIELD(closed_cut);
    FIELD(left_politely);
    FIELD(left_abruptly);
    FIELD(left_in_request);
    FIELD(left_in_reply);
    FIELD(wrong);
    FIELD(strange);
    FIELD(hung);
    FIELD(closed_other);
#undef FIELD
    printf(",\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64 ",\"max_us\":%" PRIu64,
           soak_latency_quantile(n, 0.5) / 1000, soak_latency_quantile(n, 0.99) / 1000,
           n->latency_max / 1000);
    fputs(",\"kinds\":{", stdout);
    for (unsigned i = 0; i < SOAK_ERROR_KINDS && n->kinds[i].count > 0; i++)
        printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", n->kinds[i].text, n->kinds[i].count);
    puts("}}");
    fflush(stdout);
}

static void refill(struct soak *s)
{
    double passed = (double)(s->now_ns - s->refilled_ns) / 1e9;

    s->refilled_ns = s->now_ns;
    s->large_allowance += passed * s->large_rate;
    if (s->large_allowance > s->large_rate / 4)
        s->large_allowance = s->large_rate / 4; /* no burst to make up for a quiet time */
}

/* Everybody goes: who thinks at once, who waits when it is answered or the time is up. */
static bool is_empty(const struct soak *s)
{
    for (unsigned i = 0; i < s->client_count; i++) {
        if (s->clients[i].fd >= 0)
            return false;
    }
    return true;
}

static void turn(struct soak *s, uint64_t next_tick_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    int wait_ms = now >= next_tick_ns ? 0 : (int)((next_tick_ns - now) / SOAK_MS + 1);

    int count = epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, wait_ms);
    s->now_ns = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            soak_client_event(s, events[i].data.ptr, events[i].events);
        else
            s->end_ns = s->now_ns; /* SIGTERM */
    }
}

static void soak_run(struct soak *s)
{
    uint64_t started = clock_ns(CLOCK_MONOTONIC);
    uint64_t next_tick = started, next_print = started + SOAK_S;

    s->now_ns = s->refilled_ns = started;
    s->end_ns += started;
    for (unsigned i = 0; i < s->client_count; i++)
        s->clients[i].wake_ns = started + soak_below(&s->random, ARRIVE_S * SOAK_S);
    while (!s->is_ending || (!is_empty(s) && s->now_ns < s->end_ns + drain_ns)) {
        turn(s, next_tick);
        s->is_ending = s->now_ns >= s->end_ns;
        if (s->now_ns < next_tick)
            continue;
        refill(s);
        for (unsigned i = 0; i < s->client_count; i++)
            soak_client_tick(s, &s->clients[i], s->now_ns - next_tick + TICK_MS * SOAK_MS);
        next_tick = s->now_ns + TICK_MS * SOAK_MS;
        if (s->now_ns < next_print)
            continue;
        print_counters(s, started, false);
        next_print += SOAK_S;
    }
    /* Slow readers that are not done by then. */
    for (unsigned i = 0; i < s->client_count; i++)
        soak_client_close(s, &s->clients[i], true);
    print_counters(s, started, true);
}

static bool number_read(const char *text, double least, double most, double *ret)
{
    char *end = NULL;
    double number = strtod(text, &end);

    if (*text == 0 || *end || number < least || number > most)
        return false;
    *ret = number;
    return true;
}

static int options_read(int argc, char **argv, struct soak *s)
{
    static const struct {
        struct option option;
        double least, most;
    } known[] = {
        {{"port", required_argument, NULL, 'p'}, 1, 65535},
        {{"seconds", required_argument, NULL, 't'}, 1, 1e6},
        {{"clients", required_argument, NULL, 'c'}, 1, 20000},
        {{"rate", required_argument, NULL, 'r'}, 1, 1e6},
        {{"bulk", required_argument, NULL, 'b'}, 0, 1e4},
        {{"seed", required_argument, NULL, 's'}, 0, 1e15},
        {{"keys", required_argument, NULL, 'k'}, 0.01, 1000},
    };
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    struct option options[KNOWN + 1] = {0};
    double value[KNOWN] = {0, 0, 2000, 4000, 100, 1, 100};
    int at = 0;

    for (unsigned i = 0; i < KNOWN; i++)
        options[i] = known[i].option;
    while (getopt_long(argc, argv, "", options, &at) != -1) {
        if (optarg && number_read(optarg, known[at].least, known[at].most, &value[at]))
            continue;
        fprintf(stderr, "bench_soak: --%s is from %g to %g\n", known[at].option.name,
                known[at].least, known[at].most);
        return -EINVAL;
    }
    if (optind < argc || value[0] == 0 || value[1] == 0)
        return -EINVAL;
    s->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)value[0])};
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->end_ns = (uint64_t)(value[1] * 1e9);
    s->client_count = (unsigned)value[2];
    s->request_rate = value[3];
    s->large_rate = value[4] * 1e6;
    s->random.state = (uint64_t)value[5];
    s->keys_percent = value[6];
    return 0;
}

static void prepare(struct soak *s)
{
    struct rlimit files;
    sigset_t ending;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < s->client_count + FD_SPARE) {
        fprintf(stderr, "bench_soak: %u clients need more open files than are allowed\n",
                s->client_count);
        exit(2);
    }
    s->clients = calloc(s->client_count, sizeof(*s->clients));
    s->scratch = malloc(SOAK_READ_BYTES);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    int signals = signalfd(-1, &ending, SFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    if (!s->clients || !s->scratch || s->epoll_fd < 0 || signals < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, signals, &e) != 0) {
        fputs("bench_soak: out of memory or descriptors\n", stderr);
        exit(2);
    }
    for (unsigned i = 0; i < s->client_count; i++)
        s->clients[i].fd = -1;
    /* A batch has 1.8 requests on average (soak_batch_make()). */
    s->mean_pause_ns = (uint64_t)(1.8 * s->client_count / s->request_rate * 1e9);
    soak_values_init(&s->values, s->keys_percent);
}

int main(int argc, char **argv)
{
    struct soak s = {0};

    if (options_read(argc, argv, &s) != 0) {
        fputs("usage: bench_soak --port PORT --seconds N [--clients N] [--rate REQUESTS/S] "
              "[--bulk MB/S] [--keys PERCENT] [--seed N]\n",
              stderr);
        return 2;
    }
    prepare(&s);
    soak_run(&s);
    soak_values_fini(&s.values);
    free(s.clients);
    free(s.scratch);
    return soak_has_failed(&s.counters) ? 1 : 0;
}
