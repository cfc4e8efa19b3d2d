/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When several proxies agree: each of them is at rest, with every slot at home, nothing in its
 * journal and nobody left to sweep; all of its workers work by its newest view; and all have the
 * same ring. From then on, until one of them posts another view, nothing old may be read through
 * any (stale.h).
 *
 * That is not promised once their members have differed: who moves slots to a node later than
 * another did does not know what was written there meanwhile (docs/operations.md).
 */
#pragma once
#include "checker.h"

struct redis_model;
struct sim_proxy;

struct agreement {
    struct checker *checker;
    const struct sim_proxy *proxies; /* loan */
    unsigned count;
    uint64_t members; /* a hash of them in the first view that had any; 0: there was none */
    bool members_differed;
    bool differing;   /* the rings of the newest views were compared, and are not alike */
    uint64_t reached; /* how often they came to agree, for the summary */
};

void agreement_init(struct agreement *a, struct checker *checker, const struct sim_proxy *proxies,
                    unsigned count);
void agreement_view_posted(struct agreement *a, const struct view *v); /* by any */
/* Do they agree by now? Asked whenever time has moved. */
void agreement_check(struct agreement *a);
/* Is each of them at rest, as above, whatever the others do? */
bool agreement_all_rest(const struct agreement *a);

/* All are at rest: no node holds a key whose slot is not its own, unless a process that wrote there
 * has not lived to remove it. Else it would be read the next time it stands in. Tells the checker.
 */
void agreement_check_leftovers(const struct agreement *a, struct redis_model *const *nodes,
                               unsigned count);
