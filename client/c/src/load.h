/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads: what a loader has put becomes an answer, is stored, and where it failed an old value takes
 * its place.
 */
#pragma once

#include "look.h"

/* Where a loader puts what it has loaded. Belongs to one thread at a time. */
struct sc_result {
    struct bytes *value; /* an owner */
    bool is_none, has_ttl;
    int error; /* of putting: no memory, too large */
    uint32_t ttl_ms;
    int64_t began_ns;
    /* Of an asynchronous load. */
    struct job *job; /* a share */
    struct flight *flight;
    bool is_refresh; /* the job has been answered with an old value */
};

/* Ends a load that looked before as *l says (its value: an old one, if there is one). *ret gets an
 * answer and a share of its value; r->value is gone. *ret_cost_ns: what storing has cost. */
void load_end(struct sc_store *s, const struct look *l, struct sc_result *r, int loader_error,
              struct load_result *ret, int64_t *ret_cost_ns);
/* Runs a loader in this thread, and ends its load. */
void load_run(struct sc_store *s, const struct look *l, const struct sc_loader *loader,
              struct load_result *ret, int64_t *ret_cost_ns);
/* The answer that the old value is, if there is one that may still be used: in l, or in memory. */
bool load_take_old(struct sc_store *s, const struct look *l, struct load_result *ret);
/* A load of this key failed a moment ago, while there was an old value. */
bool load_is_throttled(struct sc_store *s, uint64_t hash);
/* Answers asynchronous calls that have waited for a load. */
void load_tell(struct sc_cache *c, struct job *waiting, const struct load_result *result);
/* What an envelope is for info_fill(), out of a result. */
struct envelope load_envelope(const struct load_result *result);
