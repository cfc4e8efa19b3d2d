/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include "clock.h"

#include <errno.h>
#include <string.h>

enum { RETRY_ROWS = 256, RETRY_TAG = 0xffff, RESULT_MAX = 512 << 20 };

/* `error` is why, if there is no value. */
static int put(struct sc_result *result, struct bytes *value, int error)
{
    bytes_unref(result->value);
    result->value = value;
    result->is_none = false;
    result->error = value == NULL ? error : 0;
    return result->error;
}

int sc_result_set(struct sc_result *result, const void *data, size_t len)
{
    if (len > RESULT_MAX || (data == NULL && len > 0)) {
        return put(result, NULL, -EINVAL);
    }
    return put(result, bytes_copy(data, len), -ENOMEM);
}

int sc_result_give(struct sc_result *result, void *data, size_t len, void (*free_fn)(void *))
{
    struct bytes *value = bytes_take(data, len, free_fn);
    if (value != NULL && (len > RESULT_MAX || (data == NULL && len > 0))) {
        bytes_unref(value);
        return put(result, NULL, -EINVAL);
    }
    return put(result, value, -ENOMEM);
}

void sc_result_none(struct sc_result *result)
{
    result->value = bytes_unref(result->value);
    result->is_none = true;
    result->error = 0;
}

void sc_result_ttl(struct sc_result *result, uint32_t ttl_ms)
{
    result->has_ttl = true;
    result->ttl_ms = ttl_ms;
}

/* --- failed loads --- */

static uint64_t retry_tag(uint64_t hash)
{
    return hash >> 8 & RETRY_TAG;
}

bool load_is_throttled(struct sc_store *s, uint64_t hash)
{
    uint64_t at = atomic_load_explicit(&s->retry_at[hash % RETRY_ROWS], memory_order_relaxed);
    return at != 0 && (at & RETRY_TAG) == retry_tag(hash) &&
           (uint64_t)(clock_ns() / NS_PER_MS) < at >> 16;
}

static void throttle(struct sc_store *s, uint64_t hash)
{
    uint64_t until = (uint64_t)(clock_ns() / NS_PER_MS) + s->retry_ms;
    atomic_store(&s->retry_at[hash % RETRY_ROWS], until << 16 | retry_tag(hash));
}

bool load_take_old(struct sc_store *s, const struct look *l, struct load_result *ret)
{
    struct sc_cache *c = s->cache;
    struct memory_value v = {.value = l->value, .offset = l->offset, .envelope = l->envelope};
    struct memory_key k = look_memory_key(s, l);
    if (!fence_holds(&l->mark) || fence_is_pending(&l->mark)) {
        return false; /* deleted since */
    }
    if (v.value != NULL) {
        bytes_ref(v.value);
    } else if (c->memory == NULL ||
               !memory_get(c->memory, &k, l->mark.all_seen, clock_wall_ms(), true, &v)) {
        return false;
    }
    *ret = (struct load_result){.answer = SC_STALE,
                                .value = v.value,
                                .offset = v.offset,
                                .created_ms = v.envelope.created_ms,
                                .soft_ms = v.envelope.soft_ms};
    if (v.envelope.negative) {
        ret->answer = SC_NONE;
        ret->value = bytes_unref(v.value);
    }
    return true;
}

/* --- loads --- */

static void load_fail(struct sc_store *s, const struct look *l, int error, struct load_result *ret)
{
    count(s->cache, COUNT_LOADS_FAILED, 1);
    *ret = (struct load_result){.answer = SC_FAILED};
    if (load_take_old(s, l, ret)) {
        throttle(s, l->hash);
    }
    ret->loader_error = error;
}

void load_end(struct sc_store *s, const struct look *l, struct sc_result *r, int loader_error,
              struct load_result *ret, int64_t *ret_cost_ns)
{
    int64_t ended = clock_ns();
    int error = loader_error != 0 ? loader_error : r->error;
    if (error == 0 && r->value == NULL && !r->is_none) {
        error = -ENODATA; /* the loader has put nothing */
    }
    *ret_cost_ns = 0;
    if (error != 0) {
        r->value = bytes_unref(r->value);
        load_fail(s, l, error, ret);
        return;
    }
    count(s->cache, COUNT_LOADS, 1);
    uint32_t ttl_ms = r->has_ttl ? r->ttl_ms : r->is_none ? s->negative_ttl_ms : s->ttl_ms;
    int64_t delta_ms = (ended - r->began_ns) / NS_PER_MS;
    struct envelope e = {.created_ms = clock_wall_ms()};
    if (ttl_ms > 0) {
        struct storing what = {
            .value = r->value,
            .ttl_ms = ttl_ms > INT32_MAX ? INT32_MAX : ttl_ms,
            .delta_ms = delta_ms > INT32_MAX ? INT32_MAX : (uint32_t)delta_ms,
        };
        int cause;
        (void)look_store(s, l, &what, &cause, &e);
        *ret_cost_ns = clock_ns() - ended;
    }
    *ret = (struct load_result){.answer = r->is_none ? SC_NONE : SC_LOADED,
                                .value = r->value,
                                .created_ms = e.created_ms,
                                .soft_ms = e.soft_ms};
    r->value = NULL;
}

void load_run(struct sc_store *s, const struct look *l, const struct sc_loader *loader,
              struct load_result *ret, int64_t *ret_cost_ns)
{
    struct sc_result r = {.began_ns = clock_ns()};
    int error = loader->load(loader->arg, l->key, l->key_len, &r);
    load_end(s, l, &r, error, ret, ret_cost_ns);
}

struct envelope load_envelope(const struct load_result *result)
{
    return (struct envelope){.created_ms = result->created_ms, .soft_ms = result->soft_ms};
}
