/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores, and the calls that need no loader.
 */
#include "store.h"
#include "clock.h"
#include "exchange.h"
#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    TTL_MS = 60000,
    JITTER_PERCENT = 10,
    JITTER_NONE = 101,
    LOAD_WAIT_MS = 1000,
    RETRY_MS = 1000,
    BUCKET_MIN_MS = 60000,
};

/* --- stores --- */

struct sc_store *store_ref(struct sc_store *s)
{
    atomic_fetch_add(&s->shares, 1);
    return s;
}

void store_unref(struct sc_store *s)
{
    if (atomic_fetch_sub(&s->shares, 1) == 1) {
        free(s);
    }
}

static bool are_sane(const struct sc_store_options *o)
{
    const char *namespace = o->namespace_ != NULL ? o->namespace_ : "";
    const char *prefix = o->prefix != NULL ? o->prefix : "";
    uint64_t longest = o->ttl_ms > o->negative_ttl_ms ? o->ttl_ms : o->negative_ttl_ms;
    return strnlen(namespace, NAME_PART_MAX + 1) <= NAME_PART_MAX &&
           strnlen(prefix, NAME_PART_MAX + 1) <= NAME_PART_MAX && (int)o->group >= SC_KEYS &&
           o->group <= SC_LIST && longest + o->stale_ms <= INT32_MAX &&
           (int)o->compression >= SC_BEST && o->compression <= SC_ZLIB &&
           o->jitter_percent <= JITTER_NONE && o->early_percent <= 10000;
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given != 0 ? given : otherwise;
}

int sc_store_open(struct sc_cache *cache, const struct sc_store_options *options,
                  struct sc_store **ret_store)
{
    struct sc_store_options o = {0};
    if (options != NULL && !options_read(&o, sizeof(o), options)) {
        return -EINVAL;
    }
    cache_check_process(cache);
    o.ttl_ms = or_default(o.ttl_ms, TTL_MS);
    o.jitter_percent = or_default(o.jitter_percent, JITTER_PERCENT);
    if (!are_sane(&o)) {
        return -EINVAL;
    }
    struct sc_store *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    uint32_t longest = o.ttl_ms > o.negative_ttl_ms ? o.ttl_ms : o.negative_ttl_ms;
    s->cache = cache;
    atomic_init(&s->shares, 1);
    s->id = atomic_fetch_add(&cache->store_ids, 1) + 1;
    s->group = o.group;
    s->ttl_ms = o.ttl_ms;
    s->hard_ms = o.ttl_ms + o.stale_ms;
    s->negative_ttl_ms = o.negative_ttl_ms;
    s->jitter_percent = o.jitter_percent == JITTER_NONE ? 0 : o.jitter_percent;
    s->load_wait_ms = or_default(o.load_wait_ms, LOAD_WAIT_MS);
    s->retry_ms = or_default(o.retry_ms, RETRY_MS);
    s->early_percent = o.early_percent;
    s->pack = (struct pack_rule){.min = o.compress_min,
                                 .kind = o.compression == SC_ZLIB ? PACK_ZLIB : pack_best()};
    s->codec = o.codec;
    s->bucket_ms = (uint64_t)longest + o.stale_ms;
    atomic_init(&s->hard_max_ms, (uint32_t)s->bucket_ms);
    s->bucket_ms = s->bucket_ms < BUCKET_MIN_MS ? BUCKET_MIN_MS : s->bucket_ms;
    const char *namespace = o.namespace_ != NULL ? o.namespace_ : "";
    const char *prefix = o.prefix != NULL ? o.prefix : "";
    s->base_len = name_base(s->base, namespace, strlen(namespace), prefix, strlen(prefix));
    pthread_mutex_lock(&cache->stores_lock);
    s->next_open = cache->stores;
    cache->stores = s;
    pthread_mutex_unlock(&cache->stores_lock);
    *ret_store = s;
    return 0;
}

void sc_store_close(struct sc_store *store)
{
    if (store == NULL) {
        return;
    }
    struct sc_cache *c = store->cache;
    cache_check_process(c);
    pthread_mutex_lock(&c->stores_lock);
    struct sc_store **at = &c->stores;
    while (*at != NULL && *at != store) {
        at = &(*at)->next_open;
    }
    if (*at != NULL) {
        *at = store->next_open;
    }
    pthread_mutex_unlock(&c->stores_lock);
    store_unref(store);
}

int64_t store_given_up_ns(struct sc_store *s)
{
    return clock_ns() + (int64_t)atomic_load(&s->hard_max_ms) * NS_PER_MS;
}

void store_blind(struct sc_store *s)
{
    int64_t until = store_given_up_ns(s);
    int64_t old = atomic_load(&s->blind_until_ns);
    atomic_fetch_add(&s->fences.pending_all, 1);
    while (old < until && !atomic_compare_exchange_weak(&s->blind_until_ns, &old, until)) {
    }
    /* One job at a time, so that deletes without number cost nothing: it looks at the time again
     * after it has said that there is none. */
    int no = 0;
    struct job *j = NULL;
    if (atomic_compare_exchange_strong(&s->is_blind, &no, 1)) {
        j = job_new(JOB_BLIND, s, NULL, 0);
        if (j == NULL) {
            return; /* and then it stays blind */
        }
        j->is_pending = true;
        j->mark.fences = &s->fences;
        j->not_before_ns = until;
        io_give_always(s->cache->io, j);
        return;
    }
    atomic_fetch_sub(&s->fences.pending_all, 1);
}

/* --- reads --- */

int sc_get(struct sc_store *store, const void *key, size_t key_len, struct sc_value *ret_value,
           struct sc_info *info)
{
    struct sc_cache *c = store->cache;
    if (!look_is_key(key, key_len) || ret_value == NULL) {
        return -EINVAL;
    }
    cache_check_process(c);
    struct look l;
    if (!look_begin(store, key, key_len, &l)) {
        look_ask(store, &l, false);
        cache_note_cost(c, clock_ns() - l.began_ns);
    }
    look_count(store, &l);
    int answer = look_answer(&l);
    int64_t cost_ns = info != NULL && l.began_ns != 0 ? clock_ns() - l.began_ns : 0;
    info_fill(info, l.cause, l.layer, 0, cost_ns, l.value != NULL ? &l.envelope : NULL);
    look_give(&l, answer, ret_value);
    return answer;
}

/* Asks for some keys at once: those of `looks` that have not been answered. */
static void ask_many(struct sc_store *s, struct look *looks, const size_t *at, int count,
                     int64_t deadline_ns)
{
    struct reading_key keys[READING_KEYS_MAX];
    for (int i = 0; i < count; i++) {
        keys[i] = (struct reading_key){.key = looks[at[i]].key, .key_len = looks[at[i]].key_len};
    }
    struct reading r = {.store = s, .keys = keys, .count = count};
    if (breaker_is_closed(&s->cache->breaker)) {
        reading_begin(&r);
        (void)exchange_run(s->cache, &r, deadline_ns);
    } else { /* since the batch before */
        for (int i = 0; i < count; i++) {
            keys[i].answer = SC_MISS;
            keys[i].cause = SC_CAUSE_BREAKER;
        }
        commands_init(&r.commands);
    }
    for (int i = 0; i < count; i++) {
        look_take(s, &looks[at[i]], &r, &keys[i]);
    }
    reading_fini(&r);
}

int sc_get_many(struct sc_store *store, struct sc_item *items, size_t count, struct sc_info *info)
{
    struct sc_cache *c = store->cache;
    cache_check_process(c);
    for (size_t i = 0; i < count; i++) {
        if (!look_is_key(items[i].key, items[i].key_len)) {
            return -EINVAL;
        }
    }
    if (count > INT32_MAX) {
        return -EINVAL;
    }
    struct look *looks = calloc(count + 1, sizeof(*looks));
    if (looks == NULL) {
        return -ENOMEM;
    }
    int64_t began = clock_ns();
    size_t asked[READING_KEYS_MAX];
    int waiting = 0, found = 0, cause = SC_CAUSE_NONE;
    bool has_asked = false;
    for (size_t i = 0; i < count; i++) {
        if (!look_begin(store, items[i].key, items[i].key_len, &looks[i])) {
            asked[waiting++] = i;
        }
        if (waiting == READING_KEYS_MAX || (i + 1 == count && waiting > 0)) {
            ask_many(store, looks, asked, waiting, began + c->budget_ns);
            has_asked = true;
            waiting = 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct look *l = &looks[i];
        look_count(store, l);
        items[i].answer = look_answer(l);
        items[i].cause = l->cause;
        found += items[i].answer != SC_MISS;
        cause = cause == SC_CAUSE_NONE || cause == SC_CAUSE_ABSENT ? l->cause : cause;
        look_give(l, items[i].answer, &items[i].value);
    }
    free(looks);
    if (has_asked) {
        cache_note_cost(c, clock_ns() - began);
    }
    info_fill(info, cause, 0, 0, clock_ns() - began, NULL);
    return found;
}

/* --- writes --- */

/* What a write to a group has to know first: its generation or birth. Once for all keys of a call.
 */
static int ask_epoch(struct sc_store *s, int64_t began_ns, uint64_t *ret_epoch,
                     uint64_t *ret_bucket)
{
    *ret_epoch = *ret_bucket = 0;
    if (s->group == SC_KEYS) {
        return SC_CAUSE_NONE;
    }
    if (!breaker_is_closed(&s->cache->breaker)) {
        count(s->cache, COUNT_BREAKER_SKIPPED, 1);
        return SC_CAUSE_BREAKER;
    }
    struct reading r = {.store = s, .count = 0, .is_load_next = true};
    reading_begin(&r);
    int cause = exchange_run(s->cache, &r, began_ns + s->cache->budget_ns);
    *ret_epoch = r.epoch;
    *ret_bucket = r.bucket;
    cause = cause != SC_CAUSE_NONE ? cause : r.epoch == 0 ? r.cause : SC_CAUSE_NONE;
    reading_fini(&r);
    return cause;
}

static int set_one(struct sc_store *s, struct look *l, const void *data, size_t len,
                   uint32_t ttl_ms, int epoch_cause, int *ret_cause)
{
    if (epoch_cause != SC_CAUSE_NONE || len > s->cache->value_max) {
        count(s->cache, COUNT_SETS_SHED, 1);
        *ret_cause = epoch_cause != SC_CAUSE_NONE ? epoch_cause : SC_CAUSE_TOO_LARGE;
        return SC_SKIPPED;
    }
    struct storing what = {.value = bytes_copy(data, len), .ttl_ms = ttl_ms};
    if (what.value == NULL) {
        return -ENOMEM;
    }
    struct envelope e;
    int answer = look_store(s, l, &what, ret_cause, &e);
    bytes_unref(what.value);
    return answer;
}

int sc_set_many(struct sc_store *store, struct sc_item *items, size_t count, uint32_t ttl_ms,
                struct sc_info *info)
{
    cache_check_process(store->cache);
    if (ttl_ms > INT32_MAX || count > INT32_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!look_is_key(items[i].key, items[i].key_len) ||
            (items[i].data == NULL && items[i].len > 0)) {
            return -EINVAL;
        }
    }
    int64_t began = clock_ns();
    struct fence_mark all = fence_take(&store->fences, 0); /* before the generation is read */
    uint64_t epoch, bucket;
    int epoch_cause = count == 0 ? SC_CAUSE_NONE : ask_epoch(store, began, &epoch, &bucket);
    int queued = 0, cause = SC_CAUSE_NONE;
    for (size_t i = 0; i < count; i++) {
        struct sc_item *item = &items[i];
        struct look l = {.key = item->key,
                         .key_len = item->key_len,
                         .epoch = epoch,
                         .bucket = bucket,
                         .may_store = true};
        l.hash = store_hash(store, item->key, item->key_len);
        l.mark = fence_take(&store->fences, l.hash);
        l.mark.all_seen = all.all_seen;
        item->cause = SC_CAUSE_NONE;
        item->answer = set_one(store, &l, item->data, item->len,
                               ttl_ms != 0 ? ttl_ms : store->ttl_ms, epoch_cause, &item->cause);
        queued += item->answer == SC_OK;
        cause = item->answer == SC_OK ? cause : item->cause;
    }
    info_fill(info, cause, 0, 0, clock_ns() - began, NULL);
    return queued;
}

int sc_set(struct sc_store *store, const void *key, size_t key_len, const void *data, size_t len,
           uint32_t ttl_ms, struct sc_info *info)
{
    struct sc_item item = {.key = key, .key_len = key_len, .data = data, .len = len};
    int rc = sc_set_many(store, &item, 1, ttl_ms, info);
    return rc < 0 ? rc : item.answer;
}

/* --- deletes --- */

struct job *store_del(struct sc_store *s, enum job_kind kind, const void *key, size_t key_len,
                      struct job *notice, bool *ret_is_queued)
{
    struct sc_cache *c = s->cache;
    struct job *j = job_new(kind, s, key, key_len);
    if (j == NULL) {
        return NULL;
    }
    count(c, COUNT_DELS, 1);
    struct fences *f = &s->fences;
    j->hash = key_len > 0 ? store_hash(s, key, key_len) : 0;
    j->mark = fence_take(f, j->hash);
    /* Pending first, then the fence, then memory: who has not seen one of them sees the next. */
    if (kind == JOB_CLEAR) {
        atomic_fetch_add(&f->pending_all, 1);
        atomic_fetch_add(&f->all, 1);
    } else {
        atomic_fetch_add(&f->pending[j->mark.slot], 1);
        atomic_fetch_add(&f->slots[j->mark.slot], 1);
        if (c->memory != NULL) {
            memory_del(c->memory,
                       &(struct memory_key){
                           .store = s->id, .hash = j->hash, .key = key, .key_len = key_len});
        }
    }
    j->is_pending = true;
    j->given_up_ns = store_given_up_ns(s);
    j->notice = notice;
    atomic_fetch_add(&j->shares, 1);
    *ret_is_queued = io_give_del(c->io, j);
    if (!*ret_is_queued) {
        store_blind(s);
        atomic_fetch_sub(kind == JOB_CLEAR ? &f->pending_all : &f->pending[j->mark.slot], 1);
        j->notice = NULL;
        job_unref(j); /* the share that was not taken */
    }
    return j;
}

static int del_and_wait(struct sc_store *s, enum job_kind kind, const void *key, size_t key_len,
                        struct sc_info *info)
{
    struct sc_cache *c = s->cache;
    int64_t began = clock_ns();
    bool is_open = !breaker_is_closed(&c->breaker);
    bool is_queued = false;
    struct job *j = store_del(s, kind, key, key_len, NULL, &is_queued);
    if (j == NULL) {
        return -ENOMEM;
    }
    int answer = SC_SKIPPED, cause = SC_CAUSE_BREAKER;
    if (!is_queued) {
        cause = SC_CAUSE_BUSY;
    } else if (!is_open && io_wait(c->io, j, began + c->budget_ns)) {
        answer = j->answer;
        cause = j->cause;
    } else if (!is_open) {
        cause = SC_CAUSE_TIMEOUT;
        cache_note(c, cause);
    }
    job_unref(j);
    int64_t cost_ns = clock_ns() - began;
    cache_note_cost(c, cost_ns);
    info_fill(info, cause, 0, 0, cost_ns, NULL);
    return answer;
}

int sc_del(struct sc_store *store, const void *key, size_t key_len, struct sc_info *info)
{
    if (!look_is_key(key, key_len)) {
        return -EINVAL;
    }
    cache_check_process(store->cache);
    return del_and_wait(store, JOB_DEL, key, key_len, info);
}

int sc_clear(struct sc_store *store, struct sc_info *info)
{
    if (store->group == SC_KEYS) {
        return -EINVAL;
    }
    cache_check_process(store->cache);
    return del_and_wait(store, JOB_CLEAR, NULL, 0, info);
}
