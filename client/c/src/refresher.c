/* SPDX-License-Identifier: Apache-2.0 */
#include "refresher.h"

#include "clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { REFRESHES_MAX = 256, ARG_MAX_LEN = 65536 };

struct refresh {
    struct refresh *next;
    struct sc_store *store; /* a share */
    struct look look;       /* its key is in here, its value a share */
    struct flight *flight;
    struct sc_loader loader;
    char *arg; /* a copy */
    char key[];
};

struct refresher {
    struct sc_cache *cache;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct refresh *first, **end;
    int count;
    bool is_stopping;
};

static void refresh_free(struct refresh *w)
{
    bytes_unref(w->look.value);
    store_unref(w->store);
    free(w->arg);
    free(w);
}

static void refresh_end(struct sc_cache *c, struct refresh *w, struct load_result *result)
{
    struct job *waiting = flight_end(&c->flights, w->flight, result);
    load_tell(c, waiting, result);
    bytes_unref(result->value);
    refresh_free(w);
}

static void refresh_run(struct sc_cache *c, struct refresh *w)
{
    struct load_result result;
    int64_t cost_ns;
    flight_move(&c->flights, w->flight);
    load_run(w->store, &w->look, &w->loader, &result, &cost_ns);
    count(c, COUNT_LOADS_REFRESHED, result.loader_error == 0);
    refresh_end(c, w, &result);
}

static void *refresher_run(void *arg)
{
    struct refresher *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->is_stopping) {
        struct refresh *w = r->first;
        if (w == NULL) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        r->first = w->next;
        r->end = r->first == NULL ? &r->first : r->end;
        r->count--;
        pthread_mutex_unlock(&r->lock);
        refresh_run(r->cache, w);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static struct refresher *refresher_new(struct sc_cache *c)
{
    struct refresher *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->cache = c;
    r->end = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&r->thread, NULL, refresher_run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->changed);
        free(r);
        return NULL;
    }
    return r;
}

static struct refresh *refresh_new(struct sc_store *s, const struct look *l,
                                   const struct sc_loader *loader, struct flight *flight)
{
    struct refresh *w = malloc(sizeof(*w) + l->key_len);
    char *arg = malloc(loader->arg_len);
    if (w == NULL || arg == NULL) {
        free(w);
        free(arg);
        return NULL;
    }
    *w = (struct refresh){
        .store = store_ref(s), .look = *l, .flight = flight, .loader = *loader, .arg = arg};
    memcpy(w->key, l->key, l->key_len);
    memcpy(arg, loader->arg, loader->arg_len);
    w->look.key = w->key;
    w->loader.arg = arg;
    if (w->look.value != NULL) {
        bytes_ref(w->look.value);
    }
    return w;
}

bool refresher_give(struct sc_cache *c, struct sc_store *s, const struct look *l,
                    const struct sc_loader *loader, struct flight *flight)
{
    pthread_mutex_lock(&c->refresher_lock);
    if (c->refresher == NULL) {
        c->refresher = refresher_new(c);
    }
    struct refresher *r = c->refresher;
    pthread_mutex_unlock(&c->refresher_lock);
    struct refresh *w =
        r != NULL && loader->arg_len <= ARG_MAX_LEN ? refresh_new(s, l, loader, flight) : NULL;
    if (w == NULL) {
        return false;
    }
    pthread_mutex_lock(&r->lock);
    bool has_room = r->count < REFRESHES_MAX;
    if (has_room) {
        *r->end = w;
        r->end = &w->next;
        r->count++;
        pthread_cond_signal(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    if (!has_room) {
        refresh_free(w);
    }
    return has_room;
}

struct refresher *refresher_free(struct refresher *r)
{
    if (r == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    for (struct refresh *w; (w = r->first) != NULL;) {
        r->first = w->next;
        struct load_result none = {.answer = SC_FAILED};
        refresh_end(r->cache, w, &none);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
    return NULL;
}
