/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who belongs to the cluster: the given nodes, where each is, and the view that says so. Of the
 * control plane: it makes views, others read them.
 *
 * A node's identity in the ring is the text it was given by, "host:port". Its address may be
 * unknown at first and may change later; neither moves a key. A node whose name cannot be looked up
 * stays in the ring without an address: its keys are misses, the other nodes' keys do not move.
 *
 * The logic (membership_step) does nothing by itself and is given its clock and its resolver, so
 * that a test can drive it. membership_run() gives it a thread, if some node has a name to look up.
 *
 * Nodes found by DNS (issue "Always there") come in here: as another source of the node list, whose
 * additions and removals publish_if_changed() turns into views.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/nsec.h"
#include "cluster/view.h"

#include <stddef.h>
#include <stdint.h>

enum { MEMBERSHIP_ADDRS_MAX = 64 }; /* addresses of one name that are looked at */

#define MEMBERSHIP_RETRY_MIN NSEC_S /* after a failed look-up; doubles up to the next */
#define MEMBERSHIP_RETRY_MAX (30 * NSEC_S)
#define MEMBERSHIP_REFRESH                                                                         \
    (30 * NSEC_S) /* after one that went well: most TTLs are of this order                         \
                   */

struct membership_node {
    const char *name; /* "host:port" or "[ipv6]:port": loan for the call only */
    struct addr addr; /* ADDR_NONE: the host is a name, to be looked up */
};

struct membership_ops {
    /* Hands a view to all workers; takes references of its own. 0 or -ENOMEM: it will be handed out
     * again, later. Called by the thread that calls membership_new() or membership_step(). */
    int (*publish)(void *owner, struct view *v);
    uint64_t (*now_ns)(void); /* as process_now_ns() */
    /* As host_resolve(). May block. */
    int (*resolve)(const char *host, uint16_t port, struct addr *ret_addrs, size_t max,
                   size_t *ret_count, const char **ret_reason);
    void *owner;
};

struct membership; /* opaque */

/*
 * Publishes the first view, version 1, before it returns: complete if all addresses are numeric.
 * `ops` is copied, its owner and `log` are loans until membership_stop(). -EINVAL: nodes that no
 * ring can be built of; -ENOMEM.
 */
int membership_new(const struct membership_node *nodes, uint32_t count,
                   const struct membership_ops *ops, struct log *log,
                   struct membership **ret_membership) MUST_CHECK;

/*
 * Does what is due: looks names up and, if an address changed, publishes a new view. Returns when
 * it wants to be called again, NSEC_NEVER if there is nothing to do ever. For tests; else the
 * thread of membership_run() does it.
 */
uint64_t membership_step(struct membership *m);

/* Starts a thread that calls membership_step(), if there is need for one. 0 or -errno. */
int membership_run(struct membership *m) MUST_CHECK;

/*
 * Ends it and frees it. After return no callback is called any more. Does not wait for a look-up
 * that hangs: its thread then frees the rest when the resolver returns. NULL is fine; always
 * returns NULL.
 */
struct membership *membership_stop(struct membership *m);
