/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's upstreams, by node of its current view. A node that stays from one view to the next
 * keeps its upstreams, whatever its index.
 */
#pragma once
#include "base/list.h"
#include "cluster/view.h"
#include "proxy/upstream.h"

#include <stdint.h>

/* Lanes of a node: DESIGN §5. Bulk and private lanes come beside these. */
enum lane { LANE_SHARED_RESP2, LANE_SHARED_RESP3, LANE_COUNT };

struct upstream_node {
    char name[VIEW_NODE_NAME_MAX];
    struct addr addr;
    struct upstream *lanes[LANE_COUNT]; /* owned; NULL: never used */
    uint32_t requests;                  /* in flight on all lanes, tombstones included */
    uint64_t bytes;                     /* of those requests */
    struct grave grave;
    struct source source; /* only to be buried */
};

struct upstream_set {
    struct worker *worker;        /* loan */
    struct upstream_node **nodes; /* owned; by index in the view */
    uint32_t count;
};

void upstream_set_init(struct upstream_set *s, struct worker *w);
void upstream_set_fini(struct upstream_set *s);

/* Takes over `v`: new nodes are connected to, those that left (or have another address) closed.
 * 0, or -ENOMEM and nothing has changed. */
int upstream_set_adopt(struct upstream_set *s, const struct view *v) MUST_CHECK;

/* The shared upstream of a node for clients that speak `proto`. NULL: out of memory. */
struct upstream *upstream_set_shared(struct upstream_set *s, uint32_t node, uint8_t proto);

/* upstream_expire() for all. */
uint64_t upstream_set_expire(struct upstream_set *s);

/* Are parts of `c` on lanes of this node other than that of `u`? Looks through the queues: only for
 * clients that changed their RESP version with requests under way. */
bool upstream_node_owes(const struct upstream_node *n, const struct client *c,
                        const struct upstream *u);

/* Has it failed on every lane that was tried? */
bool upstream_node_is_down(const struct upstream_node *n);
