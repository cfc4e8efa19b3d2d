/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hit costs: CPU time of this process per hit, beside hiredis as one has to use it for a
 * deadline that holds (a context that does not block, poll(), an absolute deadline, a connection
 * for each thread); and the memory layer.
 *
 *   client_bench HOST PORT [SECONDS]
 *
 * Ways take turns, so that what the machine does meanwhile hits all of them; the best turn counts.
 */
#include "sumcache.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { THREADS_MAX = 16, KEYS = 1000, VALUE = 100, TURNS = 5, BUDGET_MS = 50 };

enum way { HIREDIS, LIBRARY, LIBRARY_GROUP, MEMORY, WAYS };

struct bench {
    const char *host;
    int port;
    struct sc_store *stores[WAYS];
    enum way way;
    atomic_int is_over;
};

struct worker {
    struct bench *bench;
    pthread_t thread;
    unsigned long hits, others;
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* 0: *ret_reply is there. The deadline is looked at as often as the library does. */
static int ask(redisContext *c, const char *key, size_t key_len, redisReply **ret_reply)
{
    const char *words[] = {"GET", key};
    size_t lens[] = {3, key_len};
    double deadline = now(CLOCK_MONOTONIC) + BUDGET_MS / 1e3;
    struct pollfd p = {.fd = c->fd};
    int is_sent = 0;
    if (redisAppendCommandArgv(c, 2, words, lens) != REDIS_OK) {
        return -1;
    }
    while (!is_sent) {
        if (redisBufferWrite(c, &is_sent) != REDIS_OK) {
            return -1;
        }
        p.events = POLLOUT;
        if (!is_sent && poll(&p, 1, BUDGET_MS) <= 0) {
            return -1;
        }
    }
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
            return -1;
        }
        if (reply != NULL) {
            *ret_reply = reply;
            return 0;
        }
        double left = deadline - now(CLOCK_MONOTONIC);
        p.events = POLLIN;
        if (left <= 0 || poll(&p, 1, (int)(left * 1e3) + 1) <= 0 ||
            redisBufferRead(c) != REDIS_OK) {
            return -1;
        }
    }
}

static redisContext *dial(const struct bench *b)
{
    redisContext *c = redisConnectNonBlock(b->host, b->port);
    if (c == NULL || c->err != 0) {
        abort();
    }
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    if (poll(&p, 1, 1000) != 1) {
        abort();
    }
    redisEnableKeepAlive(c);
    return c;
}

static size_t make_key(char *to, size_t size, unsigned i, const char *before)
{
    return (size_t)snprintf(to, size, "%s%u", before, i % KEYS);
}

static void hit_hiredis(struct worker *w, redisContext *c, unsigned i)
{
    char key[64];
    redisReply *reply = NULL;
    size_t len = make_key(key, sizeof(key), i, "bench:raw:k:");
    if (ask(c, key, len, &reply) == 0 && reply->type == REDIS_REPLY_STRING && reply->len == VALUE) {
        w->hits++;
    } else {
        w->others++;
    }
    freeReplyObject(reply);
}

static void hit_library(struct worker *w, struct sc_store *store, unsigned i)
{
    char key[64];
    struct sc_value value;
    size_t len = make_key(key, sizeof(key), i, "");
    if (sc_get(store, key, len, &value, NULL) == SC_HIT && value.len == VALUE) {
        w->hits++;
    } else {
        w->others++;
    }
    sc_value_free(&value);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct bench *b = w->bench;
    redisContext *c = b->way == HIREDIS ? dial(b) : NULL;
    for (unsigned i = 0; !atomic_load_explicit(&b->is_over, memory_order_relaxed); i++) {
        if (c != NULL) {
            hit_hiredis(w, c, i);
        } else {
            hit_library(w, b->stores[b->way], i);
        }
    }
    if (c != NULL) {
        redisFree(c);
    }
    return NULL;
}

struct figure {
    double cpu_us, hits_per_s;
    unsigned long others;
};

static struct figure measure(struct bench *b, enum way way, int threads, double seconds)
{
    struct worker workers[THREADS_MAX] = {0};
    struct figure f = {0};
    unsigned long hits = 0;
    b->way = way;
    atomic_store(&b->is_over, 0);
    double cpu = cpu_seconds(), began = now(CLOCK_MONOTONIC);
    for (int i = 0; i < threads; i++) {
        workers[i].bench = b;
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0) {
            abort();
        }
    }
    struct timespec pause = {.tv_sec = (time_t)seconds,
                             .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
    atomic_store(&b->is_over, 1);
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        hits += workers[i].hits;
        f.others += workers[i].others;
    }
    double used = cpu_seconds() - cpu;
    f.cpu_us = hits > 0 ? used * 1e6 / (double)hits : 0;
    f.hits_per_s = (double)hits / (way == MEMORY ? used : now(CLOCK_MONOTONIC) - began);
    return f;
}

/* In the background: until it is there. */
static void store_one(struct sc_store *store, const char *key, size_t len, const char *value)
{
    int answer;
    do {
        struct sc_value found = {0};
        if (sc_set(store, key, len, value, VALUE, 3600000, NULL) < 0) {
            abort();
        }
        answer = sc_get(store, key, len, &found, NULL);
        sc_value_free(&found);
    } while (answer != SC_HIT);
}

static void fill(struct bench *b)
{
    char key[64], value[VALUE];
    memset(value, 'v', sizeof(value));
    redisContext *c = redisConnect(b->host, b->port);
    if (c == NULL || c->err != 0) {
        fprintf(stderr, "no Redis at %s:%d\n", b->host, b->port);
        exit(1);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        size_t len = make_key(key, sizeof(key), i, "bench:raw:k:");
        freeReplyObject(redisCommand(c, "SET %b %b", key, len, value, sizeof(value)));
        len = make_key(key, sizeof(key), i, "");
        for (int way = LIBRARY; way < WAYS; way++) {
            store_one(b->stores[way], key, len, value);
        }
    }
    redisFree(c);
}

static void compare(struct bench *b, int threads, double seconds)
{
    static const char *const names[] = {"hiredis, poll, deadline", "libsumcache",
                                        "  in a generation", "libsumcache, memory"};
    struct figure best[WAYS] = {0};
    for (int turn = 0; turn < TURNS; turn++) {
        for (int way = 0; way < WAYS; way++) {
            struct figure f = measure(b, (enum way)way, threads, seconds);
            f.others += best[way].others;
            best[way] = turn == 0 || f.cpu_us < best[way].cpu_us ? f : best[way];
        }
    }
    for (int way = 0; way < WAYS; way++) {
        printf("%-26s %7.2f us %8.2f x %8d %14.0f%s\n", names[way], best[way].cpu_us,
               best[way].cpu_us / best[HIREDIS].cpu_us, threads, best[way].hits_per_s,
               way == MEMORY ? " per CPU" : "");
        if (best[way].others != 0) {
            printf("  %lu were no hits\n", best[way].others);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: client_bench HOST PORT [SECONDS]\n");
        return 2;
    }
    struct bench b = {.host = argv[1], .port = (int)strtol(argv[2], NULL, 10)};
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 1;
    char address[300];
    snprintf(address, sizeof(address), "%s:%s", argv[1], argv[2]);
    struct sc_options o = {.size = sizeof(o), .address = address, .budget_ms = 1000};
    struct sc_cache *cache, *with_memory;
    struct sc_store_options s = {.size = sizeof(s), .namespace_ = "bench", .ttl_ms = 3600000};
    o.connections_max = THREADS_MAX;
    if (sc_open(&o, &cache) < 0 || sc_store_open(cache, &s, &b.stores[LIBRARY]) < 0) {
        return 1;
    }
    s.group = SC_GENERATION;
    s.prefix = "g";
    if (sc_store_open(cache, &s, &b.stores[LIBRARY_GROUP]) < 0) {
        return 1;
    }
    o.memory_max = 64 << 20;
    o.memory_ttl_ms = 3600000;
    if (sc_open(&o, &with_memory) < 0 || sc_store_open(with_memory, &s, &b.stores[MEMORY]) < 0) {
        return 1;
    }
    fill(&b);
    printf("%-26s %10s %10s %8s %14s\n", "", "CPU/hit", "beside", "threads", "hits/s");
    compare(&b, 1, seconds);
    compare(&b, THREADS_MAX, seconds);
    for (int way = LIBRARY; way < WAYS; way++) {
        sc_store_close(b.stores[way]);
    }
    sc_close(cache, 100);
    sc_close(with_memory, 100);
    return 0;
}
