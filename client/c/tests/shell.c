/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library as a program that tests speak to: a command a line on standard input, a line of JSON
 * each on standard output. Nothing but the public header.
 *
 *   open ADDRESS [OPTION=NUMBER]...
 *   store NAME [OPTION=VALUE]...
 *   get STORE KEY
 *   set STORE KEY VALUE [ttl=MS]
 *   del STORE KEY
 *   clear STORE
 *   fetch STORE KEY VALUE [OPTION=VALUE]...
 *     wait=MS fail=N none=1 ttl=MS background=1: what the loader does
 *     again=1: it fetches its own key
 *     within=del, within=clear: it invalidates
 *   getmany STORE KEY...
 *   setmany STORE KEY=VALUE...
 *   aget, adel, aclear, afetch
 *     the same, asynchronous, with a loop of poll()
 *   repeat N COMMAND
 *     one after the other: how long they took, without the time in which the machine had no CPU
 *   threads N COMMAND
 *     at the same time: what they have said
 *   fork [starved] COMMAND
 *     in a child, which (starved) may open no file
 *   loads, stats, memory, close MS
 *
 * In KEY, %d is the number of the repetition or thread. VALUE @N is N bytes.
 */
#include "sumcache.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STORES = 16, WORDS = 256, ANSWERS = 8, SHOWN_MAX = 64, LATENCIES = 2000000 };

struct call {
    int answer;
    atomic_bool has_answer;
    struct sc_info info;
    struct sc_value value;
    double us;
};

static struct sc_cache *cache;
static struct sc_store *stores[STORES];
static char names[STORES][64];
static atomic_int loads;
static bool is_hurried; /* too many calls to look each time */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_lines[4096];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* For which a thread could have run but had no CPU, as the kernel counts it. */
static double starved_of(const char *path)
{
    char text[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = 0;
    char *at = text;
    (void)strtoull(at, &at, 10);
    return (double)strtoull(at, NULL, 10) / 1e3;
}

/* The same of this thread, or of all: in an asynchronous call and in a delete the library's thread
 * has its part. No fault of the library. */
static double starved_us(bool is_of_all)
{
    if (is_hurried) {
        return 0;
    }
    DIR *tasks = is_of_all ? opendir("/proc/self/task") : NULL;
    if (tasks == NULL) {
        return starved_of("/proc/thread-self/schedstat");
    }
    double us = 0;
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        char path[512];
        snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", e->d_name);
        us += e->d_name[0] != '.' ? starved_of(path) : 0;
    }
    closedir(tasks);
    return us;
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (ms > 0) {
        nanosleep(&t, NULL);
    }
}

static struct sc_store *store_of(const char *name)
{
    for (int i = 0; i < STORES; i++) {
        if (stores[i] != NULL && strcmp(names[i], name) == 0) {
            return stores[i];
        }
    }
    fprintf(stderr, "no store %s\n", name);
    exit(2);
}

/* NAME=… among words. */
static const char *option(char **words, int count, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], name, len) == 0 && words[i][len] == '=') {
            return words[i] + len + 1;
        }
    }
    return NULL;
}

static long long number(char **words, int count, const char *name)
{
    const char *text = option(words, count, name);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static const char *text_of(char **words, int count, const char *name)
{
    const char *text = option(words, count, name);
    return text != NULL ? text : "";
}

static void take_log(void *arg, const char *text)
{
    (void)arg;
    pthread_mutex_lock(&log_lock);
    size_t used = strlen(log_lines);
    snprintf(log_lines + used, sizeof(log_lines) - used, "%s;", text);
    pthread_mutex_unlock(&log_lock);
}

static int open_cache(char **w, int n)
{
    struct sc_options o = {.size = sizeof(o)};
    const char *user = option(w, n, "user");
    o.address = w[1];
    o.user = user;
    o.password = option(w, n, "password");
    o.budget_ms = (uint32_t)number(w, n, "budget_ms");
    o.connections_max = (uint32_t)number(w, n, "connections_max");
    o.queue_max = (uint32_t)number(w, n, "queue_max");
    o.queue_bytes_max = (size_t)number(w, n, "queue_bytes_max");
    o.value_max = (size_t)number(w, n, "value_max");
    o.memory_max = (size_t)number(w, n, "memory_max");
    o.memory_ttl_ms = (uint32_t)number(w, n, "memory_ttl_ms");
    o.breaker_window = (uint32_t)number(w, n, "breaker_window");
    o.breaker_percent = (uint32_t)number(w, n, "breaker_percent");
    o.breaker_probe_ms = (uint32_t)number(w, n, "breaker_probe_ms");
    o.log = take_log;
    return sc_open(&o, &cache);
}

static int open_store(char **w, int n)
{
    static const char *const groups[] = {"keys", "generation", "hash", "list"};
    struct sc_store_options o = {.size = sizeof(o)};
    o.namespace_ = text_of(w, n, "namespace");
    o.prefix = text_of(w, n, "prefix");
    for (int i = 0; i < 4; i++) {
        o.group = strcmp(text_of(w, n, "group"), groups[i]) == 0 ? (enum sc_group)i : o.group;
    }
    o.ttl_ms = (uint32_t)number(w, n, "ttl_ms");
    o.stale_ms = (uint32_t)number(w, n, "stale_ms");
    o.negative_ttl_ms = (uint32_t)number(w, n, "negative_ttl_ms");
    o.jitter_percent = (uint32_t)number(w, n, "jitter_percent");
    o.load_wait_ms = (uint32_t)number(w, n, "load_wait_ms");
    o.retry_ms = (uint32_t)number(w, n, "retry_ms");
    o.early_percent = (uint32_t)number(w, n, "early_percent");
    o.compress_min = (uint32_t)number(w, n, "compress_min");
    o.codec = (uint8_t)number(w, n, "codec");
    o.compression = number(w, n, "zlib") != 0 ? SC_ZLIB : SC_BEST;
    int i = 0;
    while (i < STORES && stores[i] != NULL && strcmp(names[i], w[1]) != 0) {
        i++;
    }
    if (i == STORES) {
        return -1;
    }
    sc_store_close(stores[i]);
    stores[i] = NULL;
    snprintf(names[i], sizeof(names[i]), "%s", w[1]);
    return sc_store_open(cache, &o, &stores[i]);
}

/* A value of the command: its bytes, or as many as it says. To be freed. */
static char *make_value(const char *text, size_t *ret_len)
{
    *ret_len = text[0] == '@' ? strtoull(text + 1, NULL, 10) : strlen(text);
    char *data = malloc(*ret_len + 1);
    if (data == NULL) {
        abort();
    }
    for (size_t i = 0; i < *ret_len; i++) {
        data[i] = text[0] == '@' ? (char)('a' + i % 23) : text[i];
    }
    return data;
}

/* --- loaders --- */

/* Copied for refreshes in the background: no pointers but to what stays. */
struct order {
    char value[64];
    long wait_ms, fail;
    bool is_none, is_again;
    char within[8];
    long ttl_ms;
    char store[64];
};

static int put(const struct order *o, struct sc_result *r)
{
    if (o->ttl_ms != 0) {
        sc_result_ttl(r, (uint32_t)(o->ttl_ms > 0 ? o->ttl_ms : 0));
    }
    if (o->fail != 0) {
        return (int)o->fail;
    }
    if (o->is_none) {
        sc_result_none(r);
        return 0;
    }
    size_t len;
    char *data = make_value(o->value, &len);
    return sc_result_give(r, data, len, free);
}

/* An invalidation in the middle of a load. */
static void invalidate_within(const struct order *o, const void *key, size_t key_len)
{
    if (strcmp(o->within, "del") == 0 && sc_del(store_of(o->store), key, key_len, NULL) < 0) {
        abort();
    }
    if (strcmp(o->within, "clear") == 0 && sc_clear(store_of(o->store), NULL) < 0) {
        abort();
    }
}

static int load(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    const struct order *o = arg;
    atomic_fetch_add(&loads, 1);
    pause_ms(o->wait_ms);
    invalidate_within(o, key, key_len);
    if (o->is_again) { /* asks for its own key */
        struct order inner = *o;
        inner.is_again = false;
        struct sc_loader loader = {.load = load, .arg = &inner};
        struct sc_value v;
        int rc = sc_fetch(store_of(o->store), key, key_len, &loader, &v, NULL);
        sc_value_free(&v);
        if (rc < 0) {
            return rc;
        }
    }
    return put(o, r);
}

static void read_order(char **w, int n, struct order *o)
{
    memset(o, 0, sizeof(*o));
    snprintf(o->value, sizeof(o->value), "%s", w[3]);
    snprintf(o->store, sizeof(o->store), "%s", w[1]);
    o->wait_ms = (long)number(w, n, "wait");
    o->fail = (long)number(w, n, "fail");
    snprintf(o->within, sizeof(o->within), "%s", text_of(w, n, "within"));
    o->is_none = number(w, n, "none") != 0;
    o->is_again = number(w, n, "again") != 0;
    o->ttl_ms = (long)number(w, n, "ttl");
}

/* --- asynchronous calls --- */

struct async {
    struct async *next;
    struct call *call;
    struct order order;
    struct sc_result *begun;
};

static struct async *asyncs; /* all that have been */

static void take_done(void *arg, int answer, const struct sc_value *value,
                      const struct sc_info *info)
{
    struct async *a = arg;
    a->call->answer = answer;
    a->call->info = *info;
    sc_value_share(value, &a->call->value);
    atomic_store(&a->call->has_answer, true);
}

static void *run_load(void *arg)
{
    struct async *a = arg;
    pause_ms(a->order.wait_ms);
    struct sc_result *r = a->begun;
    sc_result_finish(r, put(&a->order, r));
    return NULL;
}

static void take_start(void *arg, const void *key, size_t key_len, struct sc_result *r)
{
    struct async *a = arg;
    atomic_fetch_add(&loads, 1);
    invalidate_within(&a->order, key, key_len);
    a->begun = r;
    if (a->order.wait_ms == 0) {
        sc_result_finish(r, put(&a->order, r));
        a->begun = NULL;
        return;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_load, a) != 0) {
        abort();
    }
    pthread_detach(thread);
}

static void run_async(char **w, int n, const char *key, struct call *call)
{
    struct sc_store *s = store_of(w[1]);
    /* Outlives the call, since a refresh may. */
    struct async *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        abort();
    }
    pthread_mutex_lock(&log_lock);
    a->next = asyncs;
    asyncs = a;
    pthread_mutex_unlock(&log_lock);
    a->call = call;
    int rc;
    if (strcmp(w[0], "aget") == 0) {
        rc = sc_get_async(s, key, strlen(key), take_done, a);
    } else if (strcmp(w[0], "adel") == 0) {
        rc = sc_del_async(s, key, strlen(key), take_done, a);
    } else if (strcmp(w[0], "aclear") == 0) {
        rc = sc_clear_async(s, take_done, a);
    } else {
        read_order(w, n, &a->order);
        rc = sc_fetch_async(s, key, strlen(key), take_start, take_done, a);
    }
    double end = now_us() + 10e6;
    while (rc == 0 && !atomic_load(&call->has_answer)) {
        struct pollfd p = {.fd = sc_descriptor(cache), .events = POLLIN};
        (void)poll(&p, 1, 20); /* another thread may run our completion */
        sc_complete(cache, 0);
        if (now_us() > end) {
            call->answer = -1000; /* it has never come */
            return;
        }
    }
    call->answer = rc != 0 ? rc : call->answer;
}

/* --- calls --- */

static void run_many(char **w, int n, struct call *call)
{
    struct sc_item items[WORDS] = {0};
    bool is_set = w[0][0] == 's';
    for (int i = 2; i < n; i++) {
        char *value = is_set ? strchr(w[i], '=') : NULL;
        items[i - 2].key = w[i];
        items[i - 2].key_len = value != NULL ? (size_t)(value - w[i]) : strlen(w[i]);
        items[i - 2].data = value != NULL ? value + 1 : NULL;
        items[i - 2].len = value != NULL ? strlen(value + 1) : 0;
    }
    struct sc_store *s = store_of(w[1]);
    size_t count = (size_t)n - 2;
    double starved = starved_us(true);
    double began = now_us();
    call->answer = is_set ? sc_set_many(s, items, count, 0, &call->info)
                          : sc_get_many(s, items, count, &call->info);
    call->us = now_us() - began;
    call->us -= starved_us(true) - starved;
    printf("[");
    for (size_t i = 0; i < count; i++) {
        struct sc_value *v = &items[i].value;
        printf("%s{\"answer\": %d, \"cause\": \"%s\", \"us\": %.0f, \"value\": \"%.*s\"}",
               i > 0 ? ", " : "", items[i].answer, sc_cause_name(items[i].cause), call->us,
               (int)v->len, v->data != NULL ? (const char *)v->data : "");
        sc_value_free(v);
    }
    printf("]\n");
}

static void run_call(char **w, int n, int index, struct call *call)
{
    char key[256] = "";
    memset(call, 0, sizeof(*call));
    call->info.size = sizeof(call->info);
    const char *form = n > 2 ? w[2] : "";
    const char *place = strstr(form, "%d");
    if (place != NULL) {
        snprintf(key, sizeof(key), "%.*s%d%s", (int)(place - form), form, index, place + 2);
    } else {
        snprintf(key, sizeof(key), "%s", form);
    }
    size_t len = 0;
    char *data = strcmp(w[0], "set") == 0 ? make_value(w[3], &len) : NULL;
    bool has_part = w[0][0] == 'a' || strcmp(w[0], "del") == 0 || strcmp(w[0], "clear") == 0;
    double starved = starved_us(has_part);
    double began = now_us();
    if (w[0][0] == 'a') {
        run_async(w, n, key, call);
    } else if (strcmp(w[0], "get") == 0) {
        call->answer = sc_get(store_of(w[1]), key, strlen(key), &call->value, &call->info);
    } else if (strcmp(w[0], "set") == 0) {
        call->answer = sc_set(store_of(w[1]), key, strlen(key), data, len,
                              (uint32_t)number(w, n, "ttl"), &call->info);
    } else if (strcmp(w[0], "del") == 0) {
        call->answer = sc_del(store_of(w[1]), key, strlen(key), &call->info);
    } else if (strcmp(w[0], "clear") == 0) {
        call->answer = sc_clear(store_of(w[1]), &call->info);
    } else if (strcmp(w[0], "fetch") == 0) {
        struct order o;
        read_order(w, n, &o);
        struct sc_loader loader = {.load = load, .arg = &o};
        loader.arg_len = number(w, n, "background") != 0 ? sizeof(o) : 0;
        call->answer =
            sc_fetch(store_of(w[1]), key, strlen(key), &loader, &call->value, &call->info);
    } else {
        fprintf(stderr, "what is %s?\n", w[0]);
        exit(2);
    }
    call->us = now_us() - began;
    call->us -= starved_us(has_part) - starved;
    free(data);
}

/* Answers differ in name by call: SC_OK and SC_HIT are one number. */
static const char *answer_name(int answer)
{
    static const char *const all[ANSWERS] = {"ok",     "miss",   "stale",   "none",
                                             "loaded", "failed", "skipped", "?"};
    return answer < 0 ? sc_error_text(answer) : all[answer < ANSWERS ? answer : ANSWERS - 1];
}

static void print_call(const struct call *c)
{
    int shown = c->value.len > SHOWN_MAX ? SHOWN_MAX : (int)c->value.len;
    bool is_sane = true; /* of a long value: that it is what make_value() makes */
    for (size_t i = 0; c->value.len > SHOWN_MAX && i < c->value.len; i++) {
        is_sane &= ((const char *)c->value.data)[i] == (char)('a' + i % 23);
    }
    printf("{\"answer\": \"%s\", \"number\": %d, \"cause\": \"%s\", \"layer\": %d, "
           "\"error\": %d, \"cost_us\": %u, \"age_ms\": %lld, \"fresh_ms\": %lld, \"us\": %.0f, "
           "\"len\": %zu, \"sane\": %s, \"has\": %s, \"value\": \"%.*s\"}\n",
           answer_name(c->answer), c->answer, sc_cause_name(c->info.cause), c->info.layer,
           c->info.loader_error, c->info.cost_us, (long long)c->info.age_ms,
           (long long)c->info.fresh_ms, c->us, c->value.len, is_sane ? "true" : "false",
           c->value.data != NULL ? "true" : "false", shown,
           c->value.data != NULL ? (const char *)c->value.data : "");
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Latencies without the loader's own time. */
static void print_all(int count, double *us, const int *answers, const char *value)
{
    qsort(us, (size_t)count, sizeof(*us), by_size);
    printf("{\"count\": %d, \"p50\": %.0f, \"p99\": %.0f, \"p999\": %.0f, \"max\": %.0f", count,
           us[count / 2], us[(int)(count * 0.99)], us[(int)(count * 0.999)], us[count - 1]);
    for (int i = 0; i < ANSWERS; i++) {
        printf(", \"%s\": %d", answer_name(i), answers[i]);
    }
    printf(", \"value\": \"%s\"}\n", value);
}

static void run_repeat(char **w, int n)
{
    int count = (int)strtol(w[1], NULL, 10);
    int answers[ANSWERS] = {0};
    char last[SHOWN_MAX + 1] = "";
    if (count < 1 || count > LATENCIES) {
        exit(2);
    }
    double *us = calloc((size_t)count, sizeof(*us));
    if (us == NULL) {
        abort();
    }
    is_hurried = count > 20000;
    for (int i = 0; i < count; i++) {
        struct call call;
        run_call(w + 2, n - 2, i, &call);
        us[i] = call.us;
        answers[call.answer >= 0 && call.answer < ANSWERS ? call.answer : ANSWERS - 1]++;
        snprintf(last, sizeof(last), "%.*s", (int)call.value.len,
                 call.value.data != NULL ? (const char *)call.value.data : "");
        sc_value_free(&call.value);
    }
    is_hurried = false;
    print_all(count, us, answers, last);
    free(us);
}

struct worker {
    pthread_t thread;
    pthread_barrier_t *barrier;
    char **words;
    int count, index;
    struct call call;
};

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    pthread_barrier_wait(worker->barrier);
    run_call(worker->words, worker->count, worker->index, &worker->call);
    return NULL;
}

static void run_threads(char **w, int n)
{
    int count = (int)strtol(w[1], NULL, 10);
    int answers[ANSWERS] = {0};
    char value[SHOWN_MAX + 1] = "";
    struct worker *workers = calloc((size_t)count, sizeof(*workers));
    double *us = calloc((size_t)count, sizeof(*us));
    pthread_barrier_t barrier;
    if (workers == NULL || us == NULL || count < 1) {
        abort();
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        workers[i].barrier = &barrier;
        workers[i].words = w + 2;
        workers[i].count = n - 2;
        workers[i].index = i;
        if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        struct call *call = &workers[i].call;
        us[i] = call->us;
        answers[call->answer >= 0 && call->answer < ANSWERS ? call->answer : ANSWERS - 1]++;
        snprintf(value, sizeof(value), "%.*s", (int)call->value.len,
                 call->value.data != NULL ? (const char *)call->value.data : "");
        sc_value_free(&call->value);
    }
    pthread_barrier_destroy(&barrier);
    print_all(count, us, answers, value);
    free(us);
    free(workers);
}

static void print_stats(void)
{
    struct sc_stats s = {.size = sizeof(s)};
    sc_stats_read(cache, &s);
    pthread_mutex_lock(&log_lock);
#define N(name) printf("\"" #name "\": %llu, ", (unsigned long long)s.name)
    printf("{");
    N(hits_memory), N(hits), N(stale), N(negative), N(misses), N(loads), N(loads_failed);
    N(loads_shared), N(loads_refreshed), N(sets), N(sets_shed), N(dels), N(dels_repeated);
    N(dels_pending), N(timeouts), N(connect_errors), N(closed), N(protocol_errors);
    N(server_errors), N(decode_errors), N(breaker_opened), N(breaker_skipped);
    N(connections_opened), N(bytes_in), N(bytes_out), N(memory_bytes), N(memory_values);
    N(memory_evicted), N(cost_us_p50), N(cost_us_p99);
    printf("\"breaker_state\": %d, \"log\": \"%s\"}\n", s.breaker_state, log_lines);
#undef N
    pthread_mutex_unlock(&log_lock);
}

static void print_memory(void)
{
    char text[128] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fgets(text, sizeof(text), f) == NULL) {
        exit(2);
    }
    fclose(f);
    char *at = text;
    (void)strtol(at, &at, 10);
    printf("{\"rss_kb\": %ld}\n", strtol(at, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024));
}

static void close_all(uint32_t flush_ms)
{
    for (int i = 0; i < STORES; i++) {
        sc_store_close(stores[i]);
        stores[i] = NULL;
    }
    double began = now_us();
    sc_close(cache, flush_ms);
    cache = NULL;
    printf("{\"us\": %.0f}\n", now_us() - began);
}

static void run(char **w, int n);

static void run_fork(char **w, int n)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int is_starved = strcmp(w[1], "starved") == 0;
        if (is_starved) {
            struct rlimit none = {3, 3};
            setrlimit(RLIMIT_NOFILE, &none);
        }
        run(w + 1 + is_starved, n - 1 - is_starved);
        close_all(500);
        fflush(stdout);
        _exit(0); /* without a look for leaks: what the parent has is let go of, not freed */
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        abort();
    }
    printf("{\"status\": %d}\n", status);
}

static void run(char **w, int n)
{
    struct call call;
    if (strcmp(w[0], "open") == 0) {
        printf("{\"number\": %d}\n", open_cache(w, n));
    } else if (strcmp(w[0], "store") == 0) {
        printf("{\"number\": %d}\n", open_store(w, n));
    } else if (strcmp(w[0], "repeat") == 0) {
        run_repeat(w, n);
    } else if (strcmp(w[0], "threads") == 0) {
        run_threads(w, n);
    } else if (strcmp(w[0], "fork") == 0) {
        run_fork(w, n);
    } else if (strcmp(w[0], "stats") == 0) {
        print_stats();
    } else if (strcmp(w[0], "memory") == 0) {
        print_memory();
    } else if (strcmp(w[0], "loads") == 0) {
        printf("{\"loads\": %d}\n", atomic_load(&loads));
    } else if (strcmp(w[0], "close") == 0) {
        close_all((uint32_t)strtoul(w[1], NULL, 10));
    } else if (strcmp(w[0], "getmany") == 0 || strcmp(w[0], "setmany") == 0) {
        run_many(w, n, &call);
    } else {
        run_call(w, n, 0, &call);
        print_call(&call);
        sc_value_free(&call.value);
    }
}

int main(void)
{
    static char line[65536];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        static char nothing[1];
        char *words[WORDS], *rest = line, *word;
        int count = 0;
        for (int i = 0; i < WORDS; i++) {
            words[i] = nothing; /* what a command has not been given */
        }
        while (count < WORDS && (word = strtok_r(count == 0 ? line : NULL, " \n", &rest)) != NULL) {
            words[count++] = word;
        }
        if (count > 0) {
            run(words, count);
            fflush(stdout);
        }
    }
    return 0;
}
