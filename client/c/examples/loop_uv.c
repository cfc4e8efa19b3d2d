/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsumcache in libuv's loop: a uv_poll_t on its descriptor, loads in libuv's thread pool.
 *
 *   loop_uv HOST:PORT KEY…
 */
#include <sumcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct app {
    struct sc_cache *cache;
    struct sc_store *store;
    uv_poll_t readable;
    int waiting;
};

struct load {
    uv_work_t work;
    struct sc_result *result;
    char key[64];
    int error;
};

/* In a thread of the pool: it may take as long as it wants. */
static void run_load(uv_work_t *work)
{
    struct load *l = work->data;
    char row[96];
    struct timespec t = {.tv_nsec = 20000000};
    nanosleep(&t, NULL);
    int len = snprintf(row, sizeof(row), "row of %s", l->key);
    l->error = sc_result_set(l->result, row, (size_t)len);
}

static void end_load(uv_work_t *work, int status)
{
    struct load *l = work->data;
    sc_result_finish(l->result, status != 0 ? status : l->error);
    free(l);
}

static void start_load(void *arg, const void *key, size_t key_len, struct sc_result *result)
{
    struct app *app = arg;
    struct load *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        sc_result_finish(result, 1);
        return;
    }
    l->work.data = l;
    l->result = result;
    snprintf(l->key, sizeof(l->key), "%.*s", (int)key_len, (const char *)key);
    int rc = uv_queue_work(app->readable.loop, &l->work, run_load, end_load);
    if (rc != 0) {
        free(l);
        sc_result_finish(result, rc);
    }
}

static void print_answer(void *arg, int answer, const struct sc_value *value,
                         const struct sc_info *info)
{
    struct app *app = arg;
    printf("%s: %.*s (%s)\n",
           answer == SC_LOADED ? "loaded"
           : answer == SC_HIT  ? "hit"
                               : "other",
           (int)value->len, value->data != NULL ? (const char *)value->data : "",
           sc_cause_name(info->cause));
    if (--app->waiting == 0) {
        uv_poll_stop(&app->readable); /* and then the loop has nothing to do */
    }
}

static void run_completions(uv_poll_t *readable, int status, int events)
{
    struct app *app = readable->data;
    (void)status;
    (void)events;
    sc_complete(app->cache, 0);
}

int main(int argc, char **argv)
{
    struct sc_options options = {.size = sizeof(options), .address = argc > 1 ? argv[1] : NULL};
    struct sc_store_options store = {.size = sizeof(store), .prefix = "loop"};
    struct app app = {.waiting = argc - 2};
    uv_loop_t *loop = uv_default_loop();
    if (argc < 3 || sc_open(&options, &app.cache) < 0 ||
        sc_store_open(app.cache, &store, &app.store) < 0) {
        return 1;
    }
    uv_poll_init(loop, &app.readable, sc_descriptor(app.cache));
    app.readable.data = &app;
    uv_poll_start(&app.readable, UV_READABLE, run_completions);
    for (int i = 2; i < argc; i++) {
        if (sc_fetch_async(app.store, argv[i], strlen(argv[i]), start_load, print_answer, &app)) {
            return 1;
        }
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&app.readable, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    sc_store_close(app.store);
    sc_close(app.cache, 100);
    return 0;
}
