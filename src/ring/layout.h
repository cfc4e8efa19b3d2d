/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How keys and nodes are laid out: which slot a key belongs to, and which node a slot. NULL stands
 * for Maglev over the nodes' names (maglev.h), which needs no layout.
 *
 * Two more come from elsewhere: ketama and modula, each with one of the hashes of hash32.h, place
 * keys exactly as twemproxy does. There a slot is a stretch of the hash's range in which all keys
 * have one node. The slots are cut once, from the nodes that are configured, and never change while
 * others go and come: what is known about a slot (mover.h) stays true. So the nodes of such a
 * layout are fixed. docs/decisions/0020-ketama.md has the why.
 *
 * Never changes once built; any number of threads may read it.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "ring/hash32.h"
#include "ring/key_hash.h"
#include "ring/maglev.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum layout_kind { LAYOUT_MAGLEV, LAYOUT_KETAMA, LAYOUT_MODULA };

enum {
    LAYOUT_POINTS = 160,       /* of a node of mean weight on ketama's circle */
    LAYOUT_KETAMA_ID_MAX = 79, /* twemproxy cuts off longer ones, with what follows them */
};

struct layout; /* opaque */

struct layout_node {
    struct str name; /* what the rest of the program calls it */
    struct str id;   /* what places it in the ring; loans for the call only, both */
    uint32_t weight; /* at least 1 */
};

/*
 * `hash` is of no use to Maglev, whose own hash of keys it is. On success the caller owns *ret.
 * -EINVAL: no node, equal ids, or an id that is too long; -E2BIG: more points or more weight than
 * there are slots; -ENOMEM.
 */
int layout_new(enum layout_kind kind, enum hash32_kind hash, const struct layout_node *nodes,
               size_t count, struct layout **ret) MUST_CHECK;
struct layout *layout_free(struct layout *l); /* NULL is fine; always returns NULL */
void layout_freep(struct layout **l);         /* for CLEANUP() */

/* The slot of a key in a layout that is not NULL, widened so that maglev_slot() of it is that slot.
 */
uint64_t layout_slot(const struct layout *l, struct str tag);

/* What maglev_slot() and maglev_lookup() take, of a whole key or of its tag alone. */
static inline uint64_t layout_hash(const struct layout *l, struct str key, bool hash_tags)
{
    return __builtin_expect(l != NULL, 0) ? layout_slot(l, hash_tags ? key_tag(key) : key)
                                          : key_hash(key, hash_tags);
}

/*
 * Who owns each slot if `nodes` are all there are: fills `owners` (MAGLEV_SLOTS) with indexes into
 * them. The ids in `nodes` are names; the layout knows by which ids they stand in the ring. A node
 * that it does not know gets no slot, unless it knows none. -EINVAL as maglev_new(); -ENOMEM.
 */
int layout_owners(const struct layout *l, const struct maglev_node *nodes, size_t count,
                  uint16_t *owners) MUST_CHECK;
