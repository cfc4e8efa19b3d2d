/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev consistent hashing (Eisenbud et al., NSDI 2016, §3.4): key hash → node index.
 *
 * Bit-exact with Envoy's MAGLEV load balancer: same identities, weights and slot count give the
 * same table, so that a fleet can move between the two without losing a key. A table never changes
 * once built; any number of threads may look up in it.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MAGLEV_SLOTS = 65537,    /* Envoy's default; the paper's small table */
    MAGLEV_NODES_MAX = 4096, /* fits a slot's uint16_t; with more, a node has below 16 slots */
};

struct maglev; /* opaque */

struct maglev_node {
    struct str id;   /* identity, "10.0.0.1:6379": loan for the call only */
    uint32_t weight; /* relative share; 0: no slot */
};

/*
 * `slots` must be a prime. Nodes may come in any order; results are indexes into `nodes`. Two nodes
 * of one id are refused. On success the caller owns *ret_table. -EINVAL: no node with weight, too
 * many, equal ids, or `slots` not prime; -ENOMEM.
 */
int maglev_new(const struct maglev_node *nodes, size_t count, uint32_t slots,
               struct maglev **ret_table) MUST_CHECK;

/*
 * The same table from a given owner of each slot: `owners` has MAGLEV_SLOTS indexes below `count`.
 * For who keeps a table of his own and moves slots one by one. -ENOMEM.
 */
int maglev_of_owners(const uint16_t *owners, size_t count, struct maglev **ret_table) MUST_CHECK;
struct maglev *maglev_free(struct maglev *m); /* NULL is fine; always returns NULL */

uint32_t maglev_lookup(const struct maglev *m, uint64_t key_hash); /* index into `nodes` */

/* The slot of a key in a table of MAGLEV_SLOTS. */
static inline uint32_t maglev_slot(uint64_t key_hash)
{
    return (uint32_t)(key_hash % MAGLEV_SLOTS);
}

/* Begins to fetch what maglev_lookup() of this hash will read; on a busy machine it is not in the
 * cache, and there is other work to do meanwhile. */
void maglev_prefetch(const struct maglev *m, uint64_t key_hash);
uint32_t maglev_slots(const struct maglev *m);
uint32_t maglev_node_of_slot(const struct maglev *m, uint32_t slot);
