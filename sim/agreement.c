/* SPDX-License-Identifier: Apache-2.0 */
#include "agreement.h"

#include "cluster/control_internal.h"
#include "proxy.h"

#include <string.h>

void agreement_init(struct agreement *a, struct checker *checker, const struct sim_proxy *proxies,
                    unsigned count)
{
    *a = (struct agreement){.checker = checker, .proxies = proxies, .count = count};
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ (hash >> 31);
}

/* Who they are and how heavy, whatever state they are in. */
static uint64_t hash_members(const struct view *v)
{
    uint64_t sum = 0; /* in any order */
    for (uint32_t i = 0; i < v->node_count; i++) {
        const struct view_node *n = &v->nodes[i];
        if (n->state != VIEW_LEAVING)
            sum += mix(check_digest(n->name, strlen(n->name)), n->weight);
    }
    return sum;
}

void agreement_view_posted(struct agreement *a, const struct view *v)
{
    stale_agree(a->checker, false);
    a->differing = false;
    uint64_t members = hash_members(v);
    if (a->members == 0)
        a->members = members;
    if (members != 0 && members != a->members)
        a->members_differed = true;
}

static bool rests(const struct sim_proxy *p)
{
    const struct control *c = p->control;
    if (!p->alive || !c || !control_is_calm(c) || c->journal.count > 0 || c->mover.home_is_old ||
        !mover_all_have_adopted(c, c->version))
        return false;
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (n && (n->lost || n->to_sweep || n->leaving || n->twin))
            return false;
    }
    return true;
}

bool agreement_all_rest(const struct agreement *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (!rests(&a->proxies[i]))
            return false;
    }
    return true;
}

/* Newest views of two processes. */
static bool rings_are_alike(const struct check_view *a, const struct check_view *b)
{
    if (!a || !b || !a->view->ring || !b->view->ring)
        return false;
    for (uint32_t slot = 0; slot < MAGLEV_SLOTS; slot++) {
        if (a->node_of[maglev_node_of_slot(a->view->ring, slot)] !=
            b->node_of[maglev_node_of_slot(b->view->ring, slot)])
            return false;
    }
    return true;
}

void agreement_check(struct agreement *a)
{
    struct checker *k = a->checker;
    if (a->count < 2 || a->members_differed || a->differing || k->stale.agreed_since != 0 ||
        !agreement_all_rest(a))
        return;
    const struct check_view *first = checker_newest_view(k, a->proxies[0].process);
    for (unsigned i = 1; i < a->count; i++) {
        if (!rings_are_alike(first, checker_newest_view(k, a->proxies[i].process))) {
            a->differing = true;
            return;
        }
    }
    a->reached++;
    stale_agree(k, true);
}
