/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view: an immutable picture of the cluster, made by the control plane and read by workers. It
 * is counted; whoever holds one calls view_unref() when done. Counting is atomic, the rest needs no
 * lock because it never changes.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/node_login.h"
#include "cluster/pulse.h"
#include "ring/maglev.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { VIEW_NODE_NAME_MAX = 270 }; /* a DNS name of 253 and a port, in brackets */

/* What is special about a slot: see mover.h. */
enum {
    VIEW_LOGGED = 1 << 0,  /* not at its home: who writes there notes the key */
    VIEW_PARTING = 1 << 1, /* about to leave its owner: writes still go there and are noted, reads
                              are misses */
    VIEW_FENCED = 1 << 2,  /* its owner may hold old values: reads are misses, and only writes that
                              do not look at what is there are sent; they are noted too */
};

enum view_state { VIEW_NEW, VIEW_UP, VIEW_OUT, VIEW_JOINING, VIEW_LEAVING };

enum { VIEW_WHY_MAX = 120 };

struct view_node {
    char name[VIEW_NODE_NAME_MAX]; /* identity in the ring, and what logs and errors say */
    struct addr addr;              /* family ADDR_NONE: not resolved yet; nothing can be sent */
    uint32_t weight;
    bool out;       /* ejected: no upstream is opened, what is asked of it fails at once */
    uint8_t state;  /* enum view_state: for people; so are the three below */
    uint64_t since; /* ns, of the control plane's clock */
    uint32_t slots; /* that it owns */
    char why[VIEW_WHY_MAX];
    struct node_login *login; /* a reference of the view's; NULL: as at all nodes */
    struct pulse *pulse;      /* the same; NULL: nobody looks at it */
};

struct view {
    atomic_uint refs;
    uint64_t version;    /* grows by one with each view */
    struct maglev *ring; /* over nodes[]; NULL if there is no node with weight */
    uint8_t *flags;      /* owned; VIEW_… by slot; NULL: none anywhere */
    uint64_t ring_hash;  /* of names, weights and places: equal rings, equal hashes */
    uint32_t node_count;
    struct view_node nodes[];
};

/* Copies `nodes`, takes references of their logins and pulses, builds the ring from their weights.
 * The caller owns one reference of *ret_view. -EINVAL as maglev_new(), but no nodes at all is fine;
 * -ENOMEM.
 */
int view_new(uint64_t version, const struct view_node *nodes, uint32_t count,
             struct view **ret_view) MUST_CHECK;

/* The same with the owner of each slot given: `owners` has MAGLEV_SLOTS indexes into `nodes`; NULL:
 * no slot has any. `flags` has as many VIEW_…, or is NULL. -ENOMEM. */
int view_of_owners(uint64_t version, const struct view_node *nodes, uint32_t count,
                   const uint16_t *owners, const uint8_t *flags, struct view **ret_view) MUST_CHECK;

const char *view_state_name(enum view_state s);

struct view *view_ref(struct view *v);
struct view *view_unref(struct view *v); /* NULL is fine; always returns NULL */

static inline uint8_t view_flags(const struct view *v, uint64_t key_hash)
{
    return v->flags ? v->flags[maglev_slot(key_hash)] : 0;
}
