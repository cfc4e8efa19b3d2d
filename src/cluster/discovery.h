/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes there are: several sources (given nodes, DNS names, SRV names) become one set of
 * members, sorted by identity. Whether a member is well is not known here.
 *
 * A member's identity is its place in the ring:
 *   given as HOST:PORT    that text; its address may change, its last good one stays
 *   by a DNS name         "ip:port" or "[ipv6]:port", for each address of the name
 *   by an SRV name        "target:port", in small letters; its address is looked up and may change
 *
 * Only an answer that holds something changes anything. After a failure of any kind (no server,
 * SERVFAIL, NXDOMAIN, an empty answer, …) the last good set of that source stays. A member that an
 * answer lacks is kept as gone until the owner, who knows whether it is well, drops it.
 *
 * One thread, that of the loop.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cluster/lookup.h"
#include "cluster/member.h"
#include "cluster/view.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "ring/maglev.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DISCOVERY_MEMBERS_MAX = MAGLEV_NODES_MAX,
    /* The heaviest SRV weight is scaled down to this, for 65535 to 1 would leave the light ones
     * without a slot of the ring. */
    DISCOVERY_WEIGHT_MAX = 256,
};

enum discovery_kind { DISCOVERY_STATIC, DISCOVERY_DNS, DISCOVERY_SRV };

struct discovery_source {
    enum discovery_kind kind;
    const char *name;         /* "host:port", "[ipv6]:port"; of SRV a name. A loan for the call */
    uint32_t weight;          /* DISCOVERY_STATIC only */
    struct node_login *login; /* of its nodes: a loan, of which it takes a reference; NULL: none of
                                 their own */
};

struct discovery_config {
    const struct discovery_source *sources; /* of two that name one member the first one counts */
    uint32_t source_count;
    struct lookup_settings lookup;
};

struct discovery_events {
    /* discovery_members() has changed. Called by the loop, never from inside a call; changes that
     * come together are told together. Must not free the discovery. */
    void (*changed)(void *owner);
};

enum discovery_state {
    DISCOVERY_FIXED,   /* there is nothing to look up */
    DISCOVERY_WAITING, /* for its first answer */
    DISCOVERY_GOOD,
    DISCOVERY_FAILING, /* the last answer was none; what was known before stays */
};

struct discovery_stats {
    enum discovery_kind kind;
    const char *name; /* a loan, as long as the discovery */
    enum discovery_state state;
    struct lookup_counters lookups; /* its own, and those of its SRV targets */
    uint32_t members, gone;         /* present ones; kept ones */
};

struct discovery; /* opaque */

/*
 * `resolver`, `loop` and `log` are loans. Given nodes are members on return, with their address if
 * it is numeric; all questions are asked by the loop. 0; -EINVAL: a name of no known form; -ENOMEM.
 */
int discovery_new(const struct discovery_config *config, struct resolver *resolver,
                  struct loop *loop, struct log *log, const struct discovery_events *events,
                  void *owner, struct discovery **ret) MUST_CHECK;
struct discovery *discovery_free(struct discovery *d); /* NULL is fine; always returns NULL */

/*
 * Other sources and times from now on. A source that was there before keeps what it knows; members
 * that none of the present ones names are no members any more: `changed` follows. Errors as of
 * discovery_new(), and then all is as it was. Never from inside a call of its own.
 */
int discovery_set_sources(struct discovery *d, const struct discovery_config *config) MUST_CHECK;

/* Sorted by name; valid, logins too, until the loop runs again or something is dropped. */
const struct member *discovery_members(const struct discovery *d, uint32_t *ret_count);

/* Forgets a member that is gone; its successor, should its name come back, is a new one. No event
 * follows. False: there is none of this name, or it is present. */
bool discovery_drop(struct discovery *d, const char *name);

/* Members that were offered above DISCOVERY_MEMBERS_MAX, each time again that the set was made. */
uint64_t discovery_refused(const struct discovery *d);

uint32_t discovery_source_count(const struct discovery *d);
void discovery_source_stats(const struct discovery *d, uint32_t source,
                            struct discovery_stats *ret);
const char *discovery_state_name(enum discovery_state s);
