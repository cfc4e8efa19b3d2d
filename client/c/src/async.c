/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asynchronous API. A call becomes a job, which the I/O thread gives back as a completion; what
 * is to be done with it is done by sc_complete(), in its caller's thread.
 */
#include "clock.h"
#include "load.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- answers --- */

/* Takes a share of the result's value. */
static void job_answer(struct job *j, const struct load_result *result)
{
    bytes_unref(j->value);
    j->value = result->value != NULL ? bytes_ref(result->value) : NULL;
    j->offset = result->offset;
    j->answer = result->answer;
    j->loader_error = result->loader_error;
    j->layer = 0;
    j->envelope = load_envelope(result);
    if (result->loader_error != 0 || result->answer == SC_STALE) {
        j->cause = SC_CAUSE_LOADER;
    }
    j->is_final = true;
}

void load_tell(struct sc_cache *c, struct job *waiting, const struct load_result *result)
{
    for (struct job *j = waiting, *next; j != NULL; j = next) {
        next = j->next;
        count(c, COUNT_LOADS_SHARED, 1);
        job_answer(j, result);
        io_complete(c->io, j);
    }
}

/* Calls the completion, and ends this share of the job. */
static void deliver(struct job *j)
{
    struct sc_value value = {0};
    struct sc_info info = {.size = sizeof(info)};
    if (j->answer != SC_NONE) {
        value_fill(&value, j->value, j->offset);
    }
    info_fill(&info, j->cause, j->layer, j->loader_error, j->cost_ns, &j->envelope);
    j->done(j->arg, j->answer, &value, &info);
    job_unref(j);
}

/* --- loads --- */

/* What a look would say after the job's read. Its value is a loan. */
static void look_of(const struct job *j, struct look *l)
{
    const struct sc_store *s = j->store;
    *l = (struct look){.key = j->key,
                       .key_len = j->key_len,
                       .hash = j->hash,
                       .mark = j->mark,
                       .began_ns = j->began_ns,
                       .value = j->value,
                       .offset = j->offset,
                       .envelope = j->envelope,
                       .epoch = j->reading.epoch,
                       .bucket = j->reading.bucket,
                       .may_store = s->group == SC_KEYS || j->reading.epoch != 0};
}

/* `flight` is led, or NULL. Takes a share of the job. */
static void start_load(struct job *j, struct flight *flight, bool is_refresh)
{
    struct sc_cache *c = j->store->cache;
    struct sc_result *r = calloc(1, sizeof(*r));
    if (r != NULL) {
        r->began_ns = clock_ns();
        r->job = j;
        r->flight = flight;
        r->is_refresh = is_refresh;
        j->start(j->arg, j->key, j->key_len, r);
        return;
    }
    struct load_result failed = {.answer = SC_FAILED, .loader_error = -ENOMEM};
    if (flight != NULL) {
        load_tell(c, flight_end(&c->flights, flight, &failed), &failed);
    }
    if (is_refresh) {
        job_unref(j);
    } else {
        job_answer(j, &failed);
        io_complete(c->io, j);
    }
}

void sc_result_finish(struct sc_result *result, int loader_error)
{
    struct job *j = result->job;
    struct sc_cache *c = j->store->cache;
    cache_check_process(c);
    struct look l;
    struct load_result loaded;
    int64_t cost_ns;
    look_of(j, &l);
    load_end(j->store, &l, result, loader_error, &loaded, &cost_ns);
    if (result->flight != NULL) {
        load_tell(c, flight_end(&c->flights, result->flight, &loaded), &loaded);
    }
    if (result->is_refresh) {
        count(c, COUNT_LOADS_REFRESHED, loaded.loader_error == 0);
        job_unref(j);
    } else {
        j->cost_ns += cost_ns;
        job_answer(j, &loaded);
        io_complete(c->io, j);
    }
    bytes_unref(loaded.value);
    free(result);
}

static void refresh(struct job *j)
{
    struct sc_store *s = j->store;
    if (load_is_throttled(s, j->hash)) {
        j->cause = SC_CAUSE_LOADER;
        return;
    }
    struct look l;
    look_of(j, &l);
    struct flight_key k = look_flight_key(s, &l);
    struct flight *flight = flight_try_lead(&s->cache->flights, &k, false);
    if (flight != NULL) {
        atomic_fetch_add(&j->shares, 1);
        start_load(j, flight, true);
    }
}

static void load(struct job *j)
{
    struct sc_store *s = j->store;
    struct sc_cache *c = s->cache;
    struct flight *flight = NULL;
    struct load_result result;
    struct look l;
    look_of(j, &l);
    if (load_is_throttled(s, j->hash) && load_take_old(s, &l, &result)) {
        job_answer(j, &result);
        bytes_unref(result.value);
        deliver(j);
        return;
    }
    j->deadline_ns = clock_ns() + (int64_t)s->load_wait_ms * NS_PER_MS;
    struct flight_key k = look_flight_key(s, &l);
    switch (flight_join(&c->flights, &k, j, &flight, &result)) {
    case FLIGHT_WAIT:
        io_wake(c->io); /* to look for its deadline */
        return;
    case FLIGHT_ENDED:
        count(c, COUNT_LOADS_SHARED, 1);
        job_answer(j, &result);
        bytes_unref(result.value);
        deliver(j);
        return;
    default:
        start_load(j, flight, false);
    }
}

/* --- completions --- */

static void take_look(struct job *j, struct look *l)
{
    look_count(j->store, l);
    j->answer = look_answer(l);
    j->cause = l->cause;
    j->layer = l->layer;
    j->value = l->value;
    j->offset = l->offset;
    j->envelope = l->envelope;
    j->is_stale = l->answer == SC_STALE;
}

static void proceed(struct job *j)
{
    if (j->kind == JOB_NOTICE || j->is_final) {
        deliver(j);
        return;
    }
    if (j->is_alone) {
        start_load(j, NULL, false);
        return;
    }
    if (j->is_asked) {
        struct look l;
        look_of(j, &l);
        look_take(j->store, &l, &j->reading, &j->read_key);
        take_look(j, &l);
        j->cost_ns = clock_ns() - j->began_ns;
        cache_note_cost(j->store->cache, j->cost_ns);
    }
    if (j->start != NULL && j->answer == SC_MISS) {
        load(j);
        return;
    }
    if (j->start != NULL && j->is_stale) {
        refresh(j);
    }
    deliver(j);
}

int sc_complete(struct sc_cache *cache, int max)
{
    int done = 0;
    cache_check_process(cache);
    for (struct job *j = io_take_completions(cache->io, max), *next; j != NULL; j = next) {
        next = j->next;
        proceed(j);
        done++;
    }
    return done;
}

int sc_descriptor(struct sc_cache *cache)
{
    cache_check_process(cache);
    return io_descriptor(cache->io);
}

/* --- calls --- */

static int read_async(struct sc_store *s, const void *key, size_t key_len, sc_start_fn start,
                      sc_done_fn done, void *arg)
{
    struct sc_cache *c = s->cache;
    if (!look_is_key(key, key_len) || done == NULL) {
        return -EINVAL;
    }
    cache_check_process(c);
    struct job *j = job_new(JOB_READ, s, key, key_len);
    if (j == NULL) {
        return -ENOMEM;
    }
    j->start = start;
    j->done = done;
    j->arg = arg;
    struct look l;
    bool is_answered = look_begin(s, j->key, key_len, &l);
    j->hash = l.hash;
    j->mark = l.mark;
    j->deadline_ns = j->began_ns + c->budget_ns;
    if (is_answered) {
        take_look(j, &l);
        io_complete(c->io, j);
        return 0;
    }
    j->read_key = (struct reading_key){.key = j->key, .key_len = key_len};
    j->reading.store = s;
    j->reading.keys = &j->read_key;
    j->reading.count = 1;
    j->reading.is_load_next = start != NULL;
    j->is_asked = true;
    reading_begin(&j->reading);
    if (j->reading.commands.has_failed || !io_give(c->io, j)) {
        j->is_asked = false;
        j->answer = SC_MISS;
        j->cause = SC_CAUSE_BUSY;
        io_complete(c->io, j);
    }
    return 0;
}

int sc_get_async(struct sc_store *store, const void *key, size_t key_len, sc_done_fn done,
                 void *arg)
{
    return read_async(store, key, key_len, NULL, done, arg);
}

int sc_fetch_async(struct sc_store *store, const void *key, size_t key_len, sc_start_fn start,
                   sc_done_fn done, void *arg)
{
    return start == NULL ? -EINVAL : read_async(store, key, key_len, start, done, arg);
}

static int del_async(struct sc_store *s, enum job_kind kind, const void *key, size_t key_len,
                     sc_done_fn done, void *arg)
{
    struct sc_cache *c = s->cache;
    cache_check_process(c);
    struct job *notice = job_new(JOB_NOTICE, s, NULL, 0);
    if (notice == NULL) {
        return -ENOMEM;
    }
    notice->done = done;
    notice->arg = arg;
    notice->deadline_ns = notice->began_ns + c->budget_ns;
    notice->answer = SC_SKIPPED;
    notice->cause = SC_CAUSE_BREAKER;
    bool is_open = !breaker_is_closed(&c->breaker);
    bool is_queued = false;
    struct job *j = store_del(s, kind, key, key_len, is_open ? NULL : notice, &is_queued);
    if (j == NULL) {
        job_unref(notice);
        return -ENOMEM;
    }
    job_unref(j);
    if (is_open || !is_queued) {
        notice->cause = is_queued ? SC_CAUSE_BREAKER : SC_CAUSE_BUSY;
        io_complete(c->io, notice);
    }
    return 0;
}

int sc_del_async(struct sc_store *store, const void *key, size_t key_len, sc_done_fn done,
                 void *arg)
{
    if (!look_is_key(key, key_len) || done == NULL) {
        return -EINVAL;
    }
    return del_async(store, JOB_DEL, key, key_len, done, arg);
}

int sc_clear_async(struct sc_store *store, sc_done_fn done, void *arg)
{
    if (store->group == SC_KEYS || done == NULL) {
        return -EINVAL;
    }
    return del_async(store, JOB_CLEAR, NULL, 0, done, arg);
}
