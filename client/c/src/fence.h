/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps an old value from coming back after an invalidation, within this process.
 *
 * Who reads or loads takes a mark first. Each delete moves the fence of its key (each clear that of
 * all keys), so a value whose mark no longer holds is given to its own caller and to nobody else:
 * it is neither stored, nor kept in memory, nor shared. While a delete has not been confirmed by
 * the cache, its keys are pending: they are not read and not written.
 *
 * Keys share 1,024 fences by their hash; two keys that share one only lose a value now and then.
 * Any thread, no locks.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { FENCE_SLOTS = 1024 };

struct fences {
    atomic_uint slots[FENCE_SLOTS];
    atomic_uint pending[FENCE_SLOTS];
    atomic_uint all;
    atomic_uint pending_all;
};

struct fence_mark {
    struct fences *fences;
    unsigned slot;
    unsigned slot_seen, all_seen;
};

static inline struct fence_mark fence_take(struct fences *f, uint64_t hash)
{
    unsigned slot = (unsigned)(hash % FENCE_SLOTS);
    return (struct fence_mark){
        .fences = f,
        .slot = slot,
        .slot_seen = atomic_load(&f->slots[slot]),
        .all_seen = atomic_load(&f->all),
    };
}

static inline bool fence_holds(const struct fence_mark *m)
{
    return atomic_load(&m->fences->slots[m->slot]) == m->slot_seen &&
           atomic_load(&m->fences->all) == m->all_seen;
}

static inline bool fence_is_pending(const struct fence_mark *m)
{
    return atomic_load(&m->fences->pending[m->slot]) != 0 ||
           atomic_load(&m->fences->pending_all) != 0;
}
