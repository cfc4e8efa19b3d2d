/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys a request named, for the list of slow requests (samples.h). That a request is slow is
 * known when it ends, and its bytes are given back when its node has them. A short read is kept
 * whole in its part (retry.h), so its key is looked for in there once it was slow, and fast ones
 * pay nothing. Of all others the first key's beginning is copied into the part when they are
 * routed, or into the gather of those that have several parts.
 *
 * Keys are what the command table finds: never a value, nor any other argument. Where nobody reads
 * the list (admin.slow_above, admin.listen) none is kept. One thread, as all of a worker.
 */
#pragma once
#include "resp/args.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct part;
struct request;
struct worker;

enum { SLOW_KEY_MAX = 64 }; /* bytes of a key that are told; as of those of samples */

struct slow_key {
    uint32_t count;          /* keys of the request; 0: it has none, and nothing else is said */
    uint32_t len;            /* bytes of the first one … */
    char text[SLOW_KEY_MAX]; /* … of which these are the first: slow_key_text() */
};

/* `first` is the first of `count` keys. */
static inline void slow_key_set(struct slow_key *k, struct str first, size_t count)
{
    k->count = (uint32_t)count;
    k->len = (uint32_t)first.len;
    if (first.len > 0)
        memcpy(k->text, first.p, first.len < SLOW_KEY_MAX ? first.len : SLOW_KEY_MAX);
}

/* The argument `index` is the only key. Each write comes through here. So what lies behind a short
 * key is copied with it if there is enough, for 64 bytes are four moves, and any other number is a
 * call; slow_key_text() ends with the key. */
static inline void slow_key_take(struct slow_key *k, const struct args *a, size_t index)
{
    const struct arg *v = &a->v[index];
    const struct iovec *iov = &a->iov[v->piece];
    k->count = 1;
    k->len = (uint32_t)v->len;
    if (__builtin_expect(iov->iov_len - v->at >= SLOW_KEY_MAX, 1))
        memcpy(k->text, (const char *)iov->iov_base + v->at, SLOW_KEY_MAX);
    else
        args_copy_head(a, index, k->text, SLOW_KEY_MAX);
}

/* As many bytes as there are of the first key, which is longer if they are fewer than `len`. */
static inline struct str slow_key_text(const struct slow_key *k)
{
    return (struct str){k->text, k->len < SLOW_KEY_MAX ? k->len : SLOW_KEY_MAX};
}

/* The present request (worker.args) is what `p` is for, and argument `index` its only key. */
void slow_key_note(struct worker *w, struct part *p, size_t index);
/* The same of one whose keys, `count` of them, are in worker.keys; 0: it has none. */
void slow_key_note_found(struct worker *w, struct part *p, size_t count);
/* `count` more keys, in worker.keys; the first of all stays. `k` was all zero before its first. */
void slow_key_add(const struct worker *w, struct slow_key *k, size_t count);

/* The first argument that is a key of a short read, of which these are the bytes. */
void slow_key_of_copy(struct str copy, size_t index, struct slow_key *ret);
/* What was kept of a request that has been answered just now. */
void slow_key_of(const struct request *r, struct slow_key *ret);
