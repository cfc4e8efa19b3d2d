/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sc_fetch(): memoize, in the thread of the caller.
 */
#include "clock.h"
#include "refresher.h"

#include <errno.h>
#include <string.h>

/* What a fetch has come to. */
struct outcome {
    struct load_result result;
    int64_t cost_ns; /* of storing */
    bool is_looked;  /* the answer is what the look has found */
};

static void end_flight(struct sc_store *s, struct flight *flight, const struct load_result *result)
{
    load_tell(s->cache, flight_end(&s->cache->flights, flight, result), result);
}

/* A stale value is at hand: one call refreshes it, the others take it. */
static void fetch_stale(struct sc_store *s, struct look *l, const struct sc_loader *loader,
                        struct outcome *ret)
{
    struct sc_cache *c = s->cache;
    ret->is_looked = true;
    if (load_is_throttled(s, l->hash)) {
        l->cause = SC_CAUSE_LOADER;
        return;
    }
    struct flight_key k = look_flight_key(s, l);
    struct flight *flight = flight_try_lead(&c->flights, &k, true);
    if (flight == NULL) {
        return;
    }
    if (loader->arg_len > 0) {
        if (!refresher_give(c, s, l, loader, flight)) {
            struct load_result old = {.answer = SC_FAILED};
            (void)load_take_old(s, l, &old);
            end_flight(s, flight, &old);
            bytes_unref(old.value);
        }
        return;
    }
    load_run(s, l, loader, &ret->result, &ret->cost_ns);
    end_flight(s, flight, &ret->result);
    ret->is_looked = false;
}

static void fetch_missing(struct sc_store *s, struct look *l, const struct sc_loader *loader,
                          struct outcome *ret)
{
    struct sc_cache *c = s->cache;
    struct flight *flight = NULL;
    if (load_is_throttled(s, l->hash) && load_take_old(s, l, &ret->result)) {
        return;
    }
    struct flight_key k = look_flight_key(s, l);
    enum flight_role role = flight_join(&c->flights, &k, NULL, &flight, &ret->result);
    if (role == FLIGHT_WAIT) {
        int64_t deadline = clock_ns() + (int64_t)s->load_wait_ms * NS_PER_MS;
        bool is_ended = flight_wait(&c->flights, flight, deadline, &ret->result);
        role = is_ended ? FLIGHT_ENDED : FLIGHT_ALONE;
    }
    if (role == FLIGHT_ENDED) {
        count(c, COUNT_LOADS_SHARED, 1);
        return;
    }
    load_run(s, l, loader, &ret->result, &ret->cost_ns);
    if (role == FLIGHT_LEAD) {
        end_flight(s, flight, &ret->result);
    }
}

int sc_fetch(struct sc_store *store, const void *key, size_t key_len,
             const struct sc_loader *loader, struct sc_value *ret_value, struct sc_info *info)
{
    struct sc_cache *c = store->cache;
    if (!look_is_key(key, key_len) || loader == NULL || loader->load == NULL || ret_value == NULL ||
        (loader->arg == NULL && loader->arg_len > 0)) {
        return -EINVAL;
    }
    cache_check_process(c);
    struct look l;
    int64_t cost_ns = 0;
    if (!look_begin(store, key, key_len, &l)) {
        look_ask(store, &l, true);
        cost_ns = clock_ns() - l.began_ns;
        cache_note_cost(c, cost_ns);
    }
    look_count(store, &l);
    struct outcome o = {.is_looked = true};
    if (l.answer == SC_STALE) {
        fetch_stale(store, &l, loader, &o);
    } else if (l.answer == SC_MISS) {
        o.is_looked = false;
        fetch_missing(store, &l, loader, &o);
    }
    if (o.is_looked) {
        int answer = look_answer(&l);
        info_fill(info, l.cause, l.layer, 0, cost_ns, &l.envelope);
        look_give(&l, answer, ret_value);
        return answer;
    }
    bytes_unref(l.value);
    struct envelope e = load_envelope(&o.result);
    int cause =
        o.result.loader_error != 0 || o.result.answer == SC_STALE ? SC_CAUSE_LOADER : l.cause;
    info_fill(info, cause, 0, o.result.loader_error, cost_ns + o.cost_ns, &e);
    value_fill(ret_value, o.result.value, o.result.offset);
    return o.result.answer;
}
