/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cache is for, and what becomes of it when the cache dies: a web shop's "which shows are on
 * in this town" comes from a database (SQLite, a real file, made slow as a large one is), memoized
 * through the cache. While it runs, kill nodes of the cache, or all of it: requests are answered
 * all the time, right, and at most one budget later than the database alone would have been.
 *
 *   shows HOST:PORT FILE SECONDS [THREADS]
 *
 * Prints a line for each second: requests, how long they took, what the database had to do.
 */
#include <sumcache.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOWNS = 200, SHOWS = 20, THREADS_MAX = 64, DATABASE_MS = 5, LATENCIES = 200000 };

struct shop {
    struct sc_store *shows;
    const char *file;
    atomic_int is_over;
    atomic_int queries, requests, wrong;
    pthread_mutex_t lock;
    int latency_count;
    float latencies[LATENCIES]; /* of this second, in ms */
};

struct visitor {
    struct shop *shop;
    pthread_t thread;
    sqlite3 *database;
    unsigned random;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int make_database(const char *file)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(file, &db) != SQLITE_OK) {
        return -1;
    }
    char sql[160];
    int rc = sqlite3_exec(db,
                          "drop table if exists shows; create table shows(town int, title text);"
                          "create index by_town on shows(town); begin",
                          NULL, NULL, NULL);
    for (int town = 0; rc == SQLITE_OK && town < TOWNS; town++) {
        for (int show = 0; rc == SQLITE_OK && show < SHOWS; show++) {
            snprintf(sql, sizeof(sql), "insert into shows values(%d, 'show %d of town %d')", town,
                     show, town);
            rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        }
    }
    rc = rc == SQLITE_OK ? sqlite3_exec(db, "commit", NULL, NULL, NULL) : rc;
    sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : -1;
}

/* The loader: a query. */
static int load_shows(void *arg, const void *key, size_t key_len, struct sc_result *result)
{
    struct visitor *v = arg;
    char text[16384];
    size_t used = 0;
    sqlite3_stmt *query = NULL;
    if (sqlite3_prepare_v2(v->database, "select title from shows where town = ? order by rowid", -1,
                           &query, NULL) != SQLITE_OK) {
        return 1;
    }
    atomic_fetch_add(&v->shop->queries, 1);
    pause_ms(DATABASE_MS); /* a large database is busy for so long */
    sqlite3_bind_text(query, 1, key, (int)key_len, SQLITE_STATIC);
    while (sqlite3_step(query) == SQLITE_ROW && used < sizeof(text) - 256) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\n",
                                 (const char *)sqlite3_column_text(query, 0));
    }
    sqlite3_finalize(query);
    if (used == 0) {
        sc_result_none(result);
        return 0;
    }
    return sc_result_set(result, text, used);
}

static void note(struct shop *shop, double ms)
{
    pthread_mutex_lock(&shop->lock);
    if (shop->latency_count < LATENCIES) {
        shop->latencies[shop->latency_count++] = (float)ms;
    }
    pthread_mutex_unlock(&shop->lock);
}

/* One request of the shop. */
static void request(struct visitor *v)
{
    struct shop *shop = v->shop;
    int town = rand_r(&v->random) % TOWNS;
    char key[16], first[64];
    int key_len = snprintf(key, sizeof(key), "%d", town);
    int first_len = snprintf(first, sizeof(first), "show 0 of town %d\n", town);
    struct sc_loader loader = {.load = load_shows, .arg = v};
    struct sc_value value;
    double began = now_ms();
    int answer = sc_fetch(shop->shows, key, (size_t)key_len, &loader, &value, NULL);
    note(shop, now_ms() - began);
    atomic_fetch_add(&shop->requests, 1);
    int is_right = answer >= 0 && value.len > (size_t)first_len &&
                   memcmp(value.data, first, (size_t)first_len) == 0;
    atomic_fetch_add(&shop->wrong, !is_right);
    sc_value_free(&value);
}

static void *visit(void *arg)
{
    struct visitor *v = arg;
    while (!atomic_load(&v->shop->is_over)) {
        request(v);
        pause_ms(2);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void report(struct shop *shop, struct sc_cache *cache, int second)
{
    static float sorted[LATENCIES];
    static const char *const states[] = {"closed", "open", "half open"};
    struct sc_stats s = {.size = sizeof(s)};
    pthread_mutex_lock(&shop->lock);
    int n = shop->latency_count;
    memcpy(sorted, shop->latencies, (size_t)n * sizeof(float));
    shop->latency_count = 0;
    pthread_mutex_unlock(&shop->lock);
    qsort(sorted, (size_t)n, sizeof(float), by_size);
    sc_stats_read(cache, &s);
    printf("%3d s: %5d requests, p50 %6.2f ms, p99 %6.2f ms, max %6.2f ms; %5d queries; "
           "breaker %s; %d wrong\n",
           second, atomic_exchange(&shop->requests, 0), n > 0 ? sorted[n / 2] : 0,
           n > 0 ? sorted[n * 99 / 100] : 0, n > 0 ? sorted[n - 1] : 0,
           atomic_exchange(&shop->queries, 0), states[s.breaker_state], atomic_load(&shop->wrong));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct shop shop = {.lock = PTHREAD_MUTEX_INITIALIZER};
    static struct visitor visitors[THREADS_MAX];
    int threads = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 8;
    if (argc < 4 || threads < 1 || threads > THREADS_MAX || make_database(argv[2]) != 0) {
        fprintf(stderr, "usage: shows HOST:PORT FILE SECONDS [THREADS, up to 64]\n");
        return 2;
    }
    struct sc_options options = {.size = sizeof(options), .address = argv[1]};
    struct sc_store_options store = {.size = sizeof(store),
                                     .namespace_ = "shop",
                                     .prefix = "shows",
                                     .group = SC_GENERATION,
                                     .ttl_ms = 10000,
                                     .stale_ms = 60000};
    struct sc_cache *cache;
    if (sc_open(&options, &cache) < 0 || sc_store_open(cache, &store, &shop.shows) < 0) {
        return 1;
    }
    for (int i = 0; i < threads; i++) {
        visitors[i] = (struct visitor){.shop = &shop, .random = (unsigned)i + 1};
        if (sqlite3_open_v2(argv[2], &visitors[i].database, SQLITE_OPEN_READONLY, NULL) != 0 ||
            pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]) != 0) {
            return 1;
        }
    }
    long seconds = strtol(argv[3], NULL, 10);
    for (int second = 1; second <= seconds; second++) {
        pause_ms(1000);
        report(&shop, cache, second);
    }
    atomic_store(&shop.is_over, 1);
    for (int i = 0; i < threads; i++) {
        pthread_join(visitors[i].thread, NULL);
        sqlite3_close(visitors[i].database);
    }
    sc_store_close(shop.shows);
    sc_close(cache, 100);
    return atomic_load(&shop.wrong) == 0 ? 0 : 1;
}
