/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsumcache in an event loop made of poll(): one descriptor, one call when it is readable. Reads
 * keys from standard input, prints what it has fetched for them; the "database" answers by a timer,
 * so that nothing here ever waits.
 *
 *   loop_poll HOST:PORT <keys
 */
#include <sumcache.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOADS_MAX = 64, LOAD_MS = 20 };

struct loop {
    struct sc_store *store;
    int asked, answered;
    /* Loads that are under way in the database: when they are done. */
    struct load {
        struct sc_result *result; /* NULL: this place is free */
        char key[64];
        long long due_ms;
    } loads[LOADS_MAX];
};

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void start_load(void *arg, const void *key, size_t key_len, struct sc_result *result)
{
    struct loop *loop = arg;
    for (int i = 0; i < LOADS_MAX; i++) {
        struct load *l = &loop->loads[i];
        if (l->result == NULL) {
            l->result = result;
            l->due_ms = now_ms() + LOAD_MS;
            snprintf(l->key, sizeof(l->key), "%.*s", (int)key_len, (const char *)key);
            return;
        }
    }
    sc_result_finish(result, 1); /* the database is busy */
}

static void end_loads(struct loop *loop)
{
    for (int i = 0; i < LOADS_MAX; i++) {
        struct load *l = &loop->loads[i];
        if (l->result != NULL && now_ms() >= l->due_ms) {
            char row[96];
            int len = snprintf(row, sizeof(row), "row of %s", l->key);
            int error = sc_result_set(l->result, row, (size_t)len);
            struct sc_result *result = l->result;
            l->result = NULL;
            sc_result_finish(result, error);
        }
    }
}

static void print_answer(void *arg, int answer, const struct sc_value *value,
                         const struct sc_info *info)
{
    struct loop *loop = arg;
    loop->answered++;
    printf("%s: %.*s (%s)\n",
           answer == SC_LOADED ? "loaded"
           : answer == SC_HIT  ? "hit"
                               : "other",
           (int)value->len, value->data != NULL ? (const char *)value->data : "",
           sc_cause_name(info->cause));
}

static void read_keys(struct loop *loop, int *is_open)
{
    char line[64];
    if (fgets(line, sizeof(line), stdin) == NULL) {
        *is_open = 0;
        return;
    }
    line[strcspn(line, "\n")] = 0;
    if (line[0] != 0 &&
        sc_fetch_async(loop->store, line, strlen(line), start_load, print_answer, loop) == 0) {
        loop->asked++;
    }
}

int main(int argc, char **argv)
{
    struct sc_options options = {.size = sizeof(options), .address = argc > 1 ? argv[1] : NULL};
    struct sc_store_options store = {.size = sizeof(store), .prefix = "loop"};
    struct loop loop = {0};
    struct sc_cache *cache;
    int is_open = 1;
    setvbuf(stdin, NULL, _IONBF, 0); /* poll() knows nothing of what stdio holds back */
    if (sc_open(&options, &cache) < 0 || sc_store_open(cache, &store, &loop.store) < 0) {
        return 1;
    }
    while (is_open || loop.answered < loop.asked) {
        struct pollfd fds[2] = {{.fd = sc_descriptor(cache), .events = POLLIN},
                                {.fd = is_open ? STDIN_FILENO : -1, .events = POLLIN}};
        if (poll(fds, 2, 5) < 0) { /* 5 ms: the timer of our database */
            return 1;
        }
        if (fds[1].revents != 0) {
            read_keys(&loop, &is_open);
        }
        sc_complete(cache, 0);
        end_loads(&loop);
    }
    sc_store_close(loop.store);
    sc_close(cache, 100);
    return 0;
}
