/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/view.h"

#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static int build_ring(struct view *v)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < v->node_count; i++)
        weight += v->nodes[i].weight;
    if (weight == 0)
        return 0;
    struct maglev_node *nodes CLEANUP(freep) = calloc(v->node_count, sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < v->node_count; i++)
        nodes[i] = (struct maglev_node){str_of(v->nodes[i].name), v->nodes[i].weight};
    return maglev_new(nodes, v->node_count, MAGLEV_SLOTS, &v->ring);
}

static struct view *make(uint64_t version, const struct view_node *nodes, uint32_t count)
{
    struct view *v = calloc(1, sizeof(*v) + count * sizeof(v->nodes[0]));
    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->version = version;
    v->node_count = count;
    if (count > 0)
        memcpy(v->nodes, nodes, count * sizeof(v->nodes[0]));
    for (uint32_t i = 0; i < count; i++) {
        node_login_ref(v->nodes[i].login);
        pulse_ref(v->nodes[i].pulse);
    }
    return v;
}

int view_new(uint64_t version, const struct view_node *nodes, uint32_t count,
             struct view **ret_view)
{
    struct view *v = make(version, nodes, count);
    int err = v ? build_ring(v) : -ENOMEM;
    if (err) {
        view_unref(v);
        return err;
    }
    for (uint32_t i = 0; v->ring && i < MAGLEV_SLOTS; i++)
        v->nodes[maglev_node_of_slot(v->ring, i)].slots++;
    *ret_view = v;
    return 0;
}

/* Of each slot its owner's name, by the hash of it: whatever the nodes' order here is. */
static void take_stock(struct view *v, const uint16_t *owners)
{
    uint64_t *names CLEANUP(freep) = calloc(v->node_count + 1, sizeof(*names));
    for (uint32_t i = 0; names && i < v->node_count; i++)
        names[i] = XXH64(v->nodes[i].name, strlen(v->nodes[i].name), 0);
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
        v->nodes[owners[i]].slots++;
        if (names)
            v->ring_hash = v->ring_hash * UINT64_C(0x9e3779b97f4a7c15) + names[owners[i]];
    }
}

static bool any_flag(const uint8_t *flags)
{
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        if (flags[i])
            return true;
    return false;
}

int view_of_owners(uint64_t version, const struct view_node *nodes, uint32_t count,
                   const uint16_t *owners, const uint8_t *flags, struct view **ret_view)
{
    struct view *v = make(version, nodes, count);
    int err = v ? 0 : -ENOMEM;
    if (!err && owners)
        err = maglev_of_owners(owners, count, &v->ring);
    if (!err && owners)
        take_stock(v, owners);
    if (!err && flags && any_flag(flags)) {
        v->flags = malloc(MAGLEV_SLOTS);
        if (v->flags)
            memcpy(v->flags, flags, MAGLEV_SLOTS);
        else
            err = -ENOMEM;
    }
    if (err) {
        view_unref(v);
        return err;
    }
    *ret_view = v;
    return 0;
}

const char *view_state_name(enum view_state s)
{
    static const char *const NAMES[] = {[VIEW_NEW] = "new",
                                        [VIEW_UP] = "up",
                                        [VIEW_OUT] = "out",
                                        [VIEW_JOINING] = "joining",
                                        [VIEW_LEAVING] = "leaving"};
    return NAMES[s];
}

struct view *view_ref(struct view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

struct view *view_unref(struct view *v)
{
    if (!v)
        return NULL;
    unsigned was = atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel);
    must(was > 0);
    if (was == 1) {
        for (uint32_t i = 0; i < v->node_count; i++) {
            node_login_unref(v->nodes[i].login);
            pulse_unref(v->nodes[i].pulse);
        }
        maglev_free(v->ring);
        free(v->flags);
        free(v);
    }
    return NULL;
}
