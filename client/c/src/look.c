/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include "clock.h"
#include "exchange.h"

#include <string.h>

bool look_is_key(const void *key, size_t key_len)
{
    return key != NULL && key_len > 0 && key_len <= NAME_KEY_MAX;
}

static int answer_of(const struct envelope *e, int64_t now_ms)
{
    if (now_ms >= e->created_ms + (int64_t)e->soft_ms) {
        return SC_STALE;
    }
    return e->negative ? SC_NONE : SC_HIT;
}

bool look_begin(struct sc_store *s, const void *key, size_t key_len, struct look *l)
{
    struct sc_cache *c = s->cache;
    memset(l, 0, sizeof(*l));
    l->key = key;
    l->key_len = key_len;
    l->hash = store_hash(s, key, key_len);
    l->mark = fence_take(&s->fences, l->hash);
    l->answer = SC_MISS;
    if (fence_is_pending(&l->mark)) {
        l->cause = SC_CAUSE_INVALIDATED;
        l->began_ns = clock_ns();
        return true;
    }
    struct memory_value v;
    struct memory_key k = look_memory_key(s, l);
    int64_t now_ms = c->memory != NULL ? clock_wall_ms_coarse() : 0;
    if (c->memory != NULL && memory_get(c->memory, &k, l->mark.all_seen, now_ms, false, &v)) {
        l->value = v.value;
        l->offset = v.offset;
        l->envelope = v.envelope;
        l->answer = answer_of(&v.envelope, now_ms);
        l->layer = 1;
        l->epoch = v.envelope.epoch;
        if (l->answer != SC_STALE) {
            return true;
        }
        /* Perhaps somebody else has a new one: the cache is asked. */
        l->value = bytes_unref(l->value);
        l->answer = SC_MISS;
        l->layer = 0;
        l->epoch = 0;
    }
    l->began_ns = clock_ns();
    l->may_store = s->group == SC_KEYS;
    if (!breaker_is_closed(&c->breaker)) {
        count(c, COUNT_BREAKER_SKIPPED, 1);
        l->cause = SC_CAUSE_BREAKER;
        return true;
    }
    return false;
}

static void remove_bad(struct sc_store *s, const struct look *l)
{
    struct job *j = job_new(JOB_REMOVE, s, l->key, l->key_len);
    if (j != NULL && !io_give(s->cache->io, j)) {
        job_unref(j);
    }
}

void look_take(struct sc_store *s, struct look *l, struct reading *r, struct reading_key *k)
{
    struct sc_cache *c = s->cache;
    l->answer = k->answer;
    l->cause = k->cause;
    l->epoch = r->epoch;
    l->bucket = r->bucket;
    l->may_store = s->group == SC_KEYS || r->epoch != 0;
    if (k->is_bad) {
        remove_bad(s, l);
    }
    if (k->value == NULL) {
        return;
    }
    if (!fence_holds(&l->mark)) {
        /* Deleted while it was under way: it may be of before. */
        k->value = bytes_unref(k->value);
        l->answer = SC_MISS;
        l->cause = SC_CAUSE_INVALIDATED;
        return;
    }
    l->value = k->value;
    k->value = NULL;
    l->offset = k->offset;
    l->envelope = k->envelope;
    l->layer = 2;
    if (c->memory != NULL) {
        struct memory_value v = {.value = l->value,
                                 .offset = l->offset,
                                 .envelope = l->envelope,
                                 .until_ms = r->now_ms + c->memory_ttl_ms};
        struct memory_key mk = look_memory_key(s, l);
        memory_put(c->memory, &mk, &v, &l->mark);
    }
}

void look_ask(struct sc_store *s, struct look *l, bool is_load_next)
{
    struct reading_key k = {.key = l->key, .key_len = l->key_len};
    struct reading r = {.store = s, .keys = &k, .count = 1, .is_load_next = is_load_next};
    reading_begin(&r);
    (void)exchange_run(s->cache, &r, l->began_ns + s->cache->budget_ns);
    look_take(s, l, &r, &k);
    reading_fini(&r);
}

struct memory_key look_memory_key(const struct sc_store *s, const struct look *l)
{
    return (struct memory_key){
        .store = s->id, .hash = l->hash, .key = l->key, .key_len = l->key_len};
}

struct flight_key look_flight_key(const struct sc_store *s, const struct look *l)
{
    return (struct flight_key){.store = s->id,
                               .hash = l->hash,
                               .key = l->key,
                               .key_len = l->key_len,
                               .mark = &l->mark,
                               .began_ns = l->began_ns};
}

int look_answer(const struct look *l)
{
    return l->answer == SC_STALE && l->envelope.negative ? SC_NONE : l->answer;
}

void look_give(struct look *l, int answer, struct sc_value *ret_value)
{
    if (answer == SC_NONE || answer == SC_MISS) {
        l->value = bytes_unref(l->value);
    }
    value_fill(ret_value, l->value, l->offset);
    l->value = NULL;
}

void look_count(struct sc_store *s, const struct look *l)
{
    static const enum counter counters[] = {[SC_HIT] = COUNT_HITS,
                                            [SC_MISS] = COUNT_MISSES,
                                            [SC_STALE] = COUNT_STALE,
                                            [SC_NONE] = COUNT_NEGATIVE};
    if (l->layer != 1) { /* memory counts by itself */
        count(s->cache, counters[l->answer], 1);
    }
}

/* Of a time, by one factor for both of a value: so that what was stored together does not expire
 * together. */
static uint32_t shortened(uint32_t ms, uint64_t random, uint32_t percent)
{
    uint64_t most = (uint64_t)ms * percent / 100;
    return ms - (uint32_t)(most * (random >> 40) >> 24);
}

int look_store(struct sc_store *s, const struct look *l, const struct storing *what, int *ret_cause,
               struct envelope *ret_envelope)
{
    struct sc_cache *c = s->cache;
    uint64_t random = cache_random(c);
    uint32_t stale_ms = s->hard_ms - s->ttl_ms;
    uint32_t hard_ms = what->ttl_ms > INT32_MAX - stale_ms ? INT32_MAX : what->ttl_ms + stale_ms;
    uint32_t soft_ms = what->ttl_ms;
    if (s->group == SC_HASH && hard_ms > s->bucket_ms) {
        hard_ms = (uint32_t)s->bucket_ms; /* the older of two buckets is older than that */
        soft_ms = soft_ms < hard_ms ? soft_ms : hard_ms;
    }
    uint32_t longest = atomic_load_explicit(&s->hard_max_ms, memory_order_relaxed);
    while (hard_ms > longest && !atomic_compare_exchange_weak(&s->hard_max_ms, &longest, hard_ms)) {
    }
    struct envelope e = {
        .created_ms = clock_wall_ms(),
        .soft_ms = shortened(soft_ms, random, s->jitter_percent),
        .hard_ms = shortened(hard_ms, random, s->jitter_percent),
        .delta_ms = what->delta_ms,
        .epoch = s->group == SC_KEYS ? 0 : l->epoch,
        .codec = s->codec,
        .negative = what->value == NULL,
    };
    size_t len = what->value != NULL ? what->value->len - what->offset : 0;
    *ret_envelope = e;
    *ret_cause = SC_CAUSE_NONE;
    if (len > c->value_max) {
        *ret_cause = SC_CAUSE_TOO_LARGE;
    } else if (!l->may_store || !fence_holds(&l->mark) || fence_is_pending(&l->mark)) {
        *ret_cause = SC_CAUSE_INVALIDATED;
    }
    if (*ret_cause != SC_CAUSE_NONE) {
        count(c, COUNT_SETS_SHED, 1);
        return SC_SKIPPED;
    }
    if (c->memory != NULL && what->value != NULL) {
        struct memory_value v = {.value = what->value,
                                 .offset = what->offset,
                                 .envelope = e,
                                 .until_ms = e.created_ms + c->memory_ttl_ms};
        struct memory_key mk = look_memory_key(s, l);
        memory_put(c->memory, &mk, &v, &l->mark);
    }
    struct job *j = NULL;
    if (!breaker_is_closed(&c->breaker)) {
        *ret_cause = SC_CAUSE_BREAKER;
    } else if ((j = job_new(JOB_SET, s, l->key, l->key_len)) == NULL) {
        *ret_cause = SC_CAUSE_BUSY;
    } else {
        j->mark = l->mark;
        j->envelope = e;
        j->bucket = l->bucket;
        j->payload = what->value != NULL ? bytes_ref(what->value) : NULL;
        j->payload_offset = what->offset;
        j->bytes += 2 * len; /* and once more as it is sent */
        if (!io_give(c->io, j)) {
            job_unref(j);
            *ret_cause = SC_CAUSE_BUSY;
        }
    }
    count(c, *ret_cause == SC_CAUSE_NONE ? COUNT_SETS : COUNT_SETS_SHED, 1);
    return *ret_cause == SC_CAUSE_NONE ? SC_OK : SC_SKIPPED;
}

void value_fill(struct sc_value *ret, struct bytes *value, size_t offset)
{
    *ret = (struct sc_value){0};
    if (value != NULL) {
        ret->data = value->data + offset;
        ret->len = value->len - offset;
        ret->owner = value;
    }
}

void info_fill(struct sc_info *info, int cause, int layer, int loader_error, int64_t cost_ns,
               const struct envelope *e)
{
    if (info == NULL) {
        return;
    }
    struct sc_info full = {.size = sizeof(full),
                           .cause = cause,
                           .layer = layer,
                           .loader_error = loader_error,
                           .age_ms = -1};
    full.cost_us =
        cost_ns > 0 ? (uint32_t)(cost_ns / 1000 > UINT32_MAX ? UINT32_MAX : cost_ns / 1000) : 0;
    if (e != NULL && e->created_ms != 0) {
        int64_t now = clock_wall_ms();
        full.age_ms = now > e->created_ms ? now - e->created_ms : 0;
        full.fresh_ms = e->created_ms + (int64_t)e->soft_ms - now;
    }
    size_t size = info->size < sizeof(full) ? info->size : sizeof(full);
    full.size = info->size;
    memcpy(info, &full, size);
}
