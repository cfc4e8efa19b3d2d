/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view: an immutable picture of the cluster, made by the control plane and read by workers. It
 * is counted; whoever holds one calls view_unref() when done. Counting is atomic, the rest needs no
 * lock because it never changes.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "ring/maglev.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { VIEW_NODE_NAME_MAX = 270 }; /* a DNS name of 253 and a port, in brackets */

struct view_node {
    char name[VIEW_NODE_NAME_MAX]; /* identity in the ring, and what logs and errors say */
    struct addr addr;              /* family ADDR_NONE: not resolved yet; nothing can be sent */
    uint32_t weight;
};

struct view {
    atomic_uint refs;
    uint64_t version;    /* grows by one with each view */
    struct maglev *ring; /* over nodes[]; NULL if there is no node with weight */
    uint32_t node_count;
    struct view_node nodes[];
};

/* Copies `nodes`. The caller owns one reference of *ret_view. -EINVAL as maglev_new(), but no nodes
 * at all is fine; -ENOMEM. */
int view_new(uint64_t version, const struct view_node *nodes, uint32_t count,
             struct view **ret_view) MUST_CHECK;
struct view *view_ref(struct view *v);
struct view *view_unref(struct view *v); /* NULL is fine; always returns NULL */
