/* SPDX-License-Identifier: Apache-2.0 */
#include "agreement.h"

#include "cluster/control_internal.h"
#include "proxy.h"
#include "redis_model.h"
#include "ring/layout.h"

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

/* ---- what is left ---- */

/* As the proxies told them apart when it was last written. */
static uint64_t hash_of(const struct checker *k, const struct redis_value *v,
                        const struct check_key *plain)
{
    char text[64];
    const struct check_key *key = v->named.class ? &v->named : plain;
    struct str name = {text, check_key_print(key, text, sizeof(text))};
    return layout_hash(k->options->proxy.layout, name, k->options->proxy.hash_tags);
}

static bool belongs_there(const struct agreement *a, unsigned node, uint64_t hash)
{
    for (unsigned i = 0; i < a->count; i++) {
        const struct check_view *cv = checker_newest_view(a->checker, a->proxies[i].process);
        if (cv && cv->view->ring && cv->node_of[maglev_lookup(cv->view->ring, hash)] == (int)node)
            return true;
    }
    return false;
}

void agreement_check_leftovers(const struct agreement *a, struct redis_model *const *nodes,
                               unsigned count)
{
    struct checker *k = a->checker;
    if (k->process_count > a->count)
        return;
    for (unsigned n = 0; n < count; n++) {
        for (unsigned i = 0; i < CHECK_KEYS_MAX; i++) {
            struct check_key key = {.class = KEY_STRING, .number = (uint16_t)i};
            const struct redis_value *v = redis_model_value(nodes[n], &key);
            if (v->exists && !belongs_there(a, n, hash_of(k, v, &key)))
                checker_fail(k, "left behind: node %u holds s%u, which is not its own", n, i);
        }
    }
}
