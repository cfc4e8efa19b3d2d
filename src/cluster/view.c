/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/view.h"

#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int view_new(uint64_t version, const struct view_node *nodes, uint32_t count,
             struct view **ret_view)
{
    struct view *v = calloc(1, sizeof(*v) + count * sizeof(v->nodes[0]));
    if (!v)
        return -ENOMEM;
    atomic_init(&v->refs, 1);
    v->version = version;
    v->node_count = count;
    if (count > 0)
        memcpy(v->nodes, nodes, count * sizeof(v->nodes[0]));
    int err = build_ring(v);
    if (err) {
        view_unref(v);
        return err;
    }
    *ret_view = v;
    return 0;
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
        maglev_free(v->ring);
        free(v);
    }
    return NULL;
}
