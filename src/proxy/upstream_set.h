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

/* Of a node's upstreams those of one RESP version and one database. Whoever is on another may
 * change neither, so that no client is ever answered in another's version, or out of another's
 * database. */
struct lane {
    struct upstream *shared; /* owned; NULL: not needed yet */
    struct list bulk;        /* owned upstreams, by upstream.pool */
    uint32_t bulk_count;
    struct list line; /* parts that wait for a bulk upstream, by deadline */
    struct list idle; /* owned private upstreams that nobody uses, by upstream.pool: private.h */
};

enum {
    LANE_RESP2,
    LANE_RESP3,
    LANE_VERSIONS
}; /* of database 0; of each other one as many follow */

static inline uint8_t lane_of(uint8_t proto, uint8_t database)
{
    return (uint8_t)(LANE_VERSIONS * database + (proto == 3 ? LANE_RESP3 : LANE_RESP2));
}

static inline uint8_t lane_proto(uint8_t lane)
{
    return lane % LANE_VERSIONS == LANE_RESP3 ? 3 : 2;
}

static inline uint8_t lane_database(uint8_t lane)
{
    return lane / LANE_VERSIONS;
}

struct upstream_node {
    struct worker *worker; /* loan */
    char name[VIEW_NODE_NAME_MAX];
    struct addr addr;
    struct node_login *login; /* one reference; NULL: as at all nodes */
    struct pulse *pulse;      /* one reference; NULL: nobody looks at it */
    bool out;                 /* ejected: nothing is sent to it */
    bool refused;      /* nobody was there, and the control plane was told: it will be out soon */
    struct feed *feed; /* owned; NULL: nobody subscribes to anything there */
    struct list held;  /* parts that wait for their client; see lanes.c */
    struct list busy, doomed;           /* private upstreams in use, and to be closed: private.h */
    uint32_t private_count, idle_count; /* all of them; the idle ones */
    uint64_t private_moves;             /* between those lists */
    struct list changed_link;           /* in worker.changed_nodes */
    uint32_t requests; /* parts that have entered and not left, tombstones included */
    uint64_t bytes;    /* of those */
    struct grave grave;
    struct source source; /* only to be buried */
    uint32_t lane_count;
    struct lane lanes[];
};

struct upstream_set {
    struct worker *worker;        /* loan */
    struct upstream_node **nodes; /* owned; by index in the view */
    uint32_t count;
};

void upstream_set_init(struct upstream_set *s, struct worker *w);
void upstream_set_fini(struct upstream_set *s);

/* Takes over `v`: new nodes are connected to, those that left (or have another address) closed, and
 * so are the upstreams of those that are out.
 * 0, or -ENOMEM and nothing has changed. */
int upstream_set_adopt(struct upstream_set *s, const struct view *v) MUST_CHECK;

/* The shared upstream of a node's lane. NULL: out of memory. */
struct upstream *upstream_node_shared(struct upstream_node *n, uint8_t lane);

/* Fails the parts whose deadline has passed. Returns the next deadline (ns; NSEC_NEVER: none). */
uint64_t upstream_set_expire(struct upstream_set *s);

/* Has it failed on every upstream that was tried? */
bool upstream_node_is_down(const struct upstream_node *n);
