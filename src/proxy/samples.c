/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/samples.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/gather.h"
#include "proxy/worker_internal.h"

enum { ARGS_LOOKED_AT = 16 }; /* of one request, for its length */

static bool has_room(const atomic_uint *head, const atomic_uint *tail, unsigned size)
{
    return atomic_load_explicit(head, memory_order_relaxed) -
               atomic_load_explicit(tail, memory_order_acquire) <
           size;
}

void samples_begin(struct worker *w, struct request *r, struct str key, uint64_t hash)
{
    struct samples *s = &w->samples;
    s->left = w->settings->sample_each;
    if (s->left == 0) /* none are wanted; it takes 2^32 requests to ask again */
        return;
    unsigned slot = (unsigned)__builtin_ctz(~s->pending_used);
    if (slot >= SAMPLES_PENDING_MAX || !has_room(&s->head, &s->tail, SAMPLES_MAX))
        return;
    struct sample *p = &s->pending[slot];
    *p = (struct sample){.hash = hash, .command = r->command->id, .cut = key.len > SAMPLE_KEY_MAX};
    p->key_len = (uint8_t)(p->cut ? SAMPLE_KEY_MAX : key.len);
    if (key.len > 0)
        memcpy(p->key, key.p, p->key_len);
    for (size_t i = 2; i < w->args.count && i < ARGS_LOOKED_AT; i++)
        p->bytes += args_len(&w->args, i);
    s->pending_used |= 1U << slot;
    r->sample = (uint8_t)(slot + 1);
}

static void give(struct samples *s, const struct sample *p)
{
    unsigned head = atomic_load_explicit(&s->head, memory_order_relaxed);
    if (!has_room(&s->head, &s->tail, SAMPLES_MAX))
        return;
    s->ring[head % SAMPLES_MAX] = *p;
    atomic_store_explicit(&s->head, head + 1, memory_order_release);
}

static uint32_t microseconds(uint64_t from, uint64_t to)
{
    return to > from ? (uint32_t)nsec_min((to - from) / NSEC_US, UINT32_MAX) : 0;
}

static uint64_t request_bytes(const struct request *r)
{
    const struct part *p = r->part;
    if (r->gather)
        return r->gather->request_bytes;
    if (!p)
        return 0;
    return p->size == PART_UPLOAD ? p->guess : p->copy_len > 0 ? p->copy_len : p->len;
}

void samples_give_slow(struct worker *w, const struct request *r, uint64_t took)
{
    struct samples *s = &w->samples;
    unsigned head = atomic_load_explicit(&s->slow_head, memory_order_relaxed);
    if (!has_room(&s->slow_head, &s->slow_tail, SAMPLES_SLOW_MAX))
        return;
    struct slow_request *slow = &s->slow[head % SAMPLES_SLOW_MAX];
    *slow = (struct slow_request){
        .ended = worker_now(w),
        .client_id = r->client->id,
        .client = r->client->peer,
        .node = r->node ? r->node - 1 : UINT32_MAX,
        .queue_us = microseconds(r->came, r->sent),
        .node_us = microseconds(r->sent, r->first_byte),
        .total_us = took / NSEC_US,
        .bytes_in = request_bytes(r),
        .bytes_out = r->given,
        .command = r->command->id,
        .outcome = r->outcome,
    };
    slow_key_of(r, &slow->key);
    atomic_store_explicit(&s->slow_head, head + 1, memory_order_release);
}

const struct slow_request *samples_slow(const struct samples *s, unsigned age, uint32_t *ret_number)
{
    uint32_t head = atomic_load_explicit(&s->slow_head, memory_order_relaxed);
    uint32_t have = head - s->slow_from;
    if (age >= have || age >= SAMPLES_SLOW_MAX)
        return NULL;
    *ret_number = head - 1 - age;
    return &s->slow[*ret_number % SAMPLES_SLOW_MAX];
}

void samples_forget_slow(struct samples *s)
{
    s->slow_from = atomic_load_explicit(&s->slow_head, memory_order_relaxed);
}

void samples_end(struct worker *w, struct request *r)
{
    must(r->sample > 0);
    unsigned slot = r->sample - 1U;
    struct sample *p = &w->samples.pending[slot];
    if (r->done) {
        if (p->bytes < r->given)
            p->bytes = r->given;
        p->outcome = r->outcome;
        give(&w->samples, p);
    }
    w->samples.pending_used &= ~(1U << slot);
    r->sample = 0;
}

bool samples_take(struct samples *s, struct sample *ret)
{
    unsigned tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    if (atomic_load_explicit(&s->head, memory_order_acquire) == tail)
        return false;
    *ret = s->ring[tail % SAMPLES_MAX];
    atomic_store_explicit(&s->tail, tail + 1, memory_order_release);
    return true;
}

bool samples_take_slow(struct samples *s, struct slow_request *ret)
{
    unsigned tail = atomic_load_explicit(&s->slow_tail, memory_order_relaxed);
    if (atomic_load_explicit(&s->slow_head, memory_order_acquire) == tail)
        return false;
    *ret = s->slow[tail % SAMPLES_SLOW_MAX];
    atomic_store_explicit(&s->slow_tail, tail + 1, memory_order_release);
    return true;
}
