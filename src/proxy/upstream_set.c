/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/upstream_set.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/private.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void upstream_set_init(struct upstream_set *s, struct worker *w)
{
    *s = (struct upstream_set){.worker = w};
}

static void node_free(struct upstream_node *n)
{
    node_login_unref(n->login);
    pulse_unref(n->pulse);
    free(n);
}

static void bury_node(struct grave *g)
{
    node_free(container_of(g, struct upstream_node, grave));
}

/* What is under way there fails, or is sent to another node. `but_streams`: a large reply that is
 * coming may come to its end. */
static void close_upstreams(struct upstream_node *n, bool but_streams)
{
    lanes_close(n, but_streams);
    for (uint32_t i = 0; i < n->lane_count; i++)
        if (n->lanes[i].shared && !(but_streams && n->lanes[i].shared->streaming))
            upstream_close(take_ptr(n->lanes[i].shared));
    if (n->feed)
        feed_close(n->feed);
}

static void node_close(struct worker *w, struct upstream_node *n)
{
    close_upstreams(n, false);
    must(n->requests == 0 && n->bytes == 0);
    /* Its upstreams are buried first: they were put on the pile before, but nothing of the node is
     * looked at when they are freed, so the order does not matter. */
    loop_bury(&w->loop, &n->source, &n->grave, bury_node);
}

void upstream_set_fini(struct upstream_set *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        node_close(s->worker, s->nodes[i]);
    free(s->nodes);
    s->nodes = NULL;
    s->count = 0;
}

static struct upstream_node *node_new(struct worker *w, const struct view_node *v)
{
    uint32_t lanes = LANE_VERSIONS * w->settings->databases;
    struct upstream_node *n = calloc(1, sizeof(*n) + lanes * sizeof(n->lanes[0]));
    if (!n)
        return NULL;
    memcpy(n->name, v->name, sizeof(n->name));
    n->addr = v->addr;
    n->login = node_login_ref(v->login);
    n->pulse = pulse_ref(v->pulse);
    n->out = v->out;
    n->worker = w;
    n->lane_count = lanes;
    for (uint32_t i = 0; i < lanes; i++) {
        list_init(&n->lanes[i].bulk);
        list_init(&n->lanes[i].line);
        list_init(&n->lanes[i].idle);
    }
    list_init(&n->busy);
    list_init(&n->doomed);
    list_init(&n->held);
    list_init(&n->changed_link);
    source_init(&n->source, NULL);
    return n;
}

/* The node of that identity and address, taken out of the present set. Views are small and change
 * seldom, so a search through all will do. */
static struct upstream_node *take_same(struct upstream_set *s, const struct view_node *v)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct upstream_node *n = s->nodes[i];
        if (n && strcmp(n->name, v->name) == 0 && addr_eq(&n->addr, &v->addr) &&
            n->pulse == v->pulse) {
            node_login_unref(n->login);
            n->login = node_login_ref(v->login); /* for upstreams to come */
            s->nodes[i] = NULL;
            return n;
        }
    }
    return NULL;
}

int upstream_set_adopt(struct upstream_set *s, const struct view *v)
{
    struct upstream_node **nodes = calloc(v->node_count + 1, sizeof(*nodes));
    struct upstream_node **made = calloc(v->node_count + 1, sizeof(*made));
    int err = nodes && made ? 0 : -ENOMEM;
    /* First everything that can fail, then the change. */
    for (uint32_t i = 0; !err && i < v->node_count; i++) {
        made[i] = node_new(s->worker, &v->nodes[i]);
        if (!made[i])
            err = -ENOMEM;
    }
    if (err) {
        for (uint32_t i = 0; made && i < v->node_count; i++)
            if (made[i])
                node_free(made[i]);
        free(made);
        free(nodes);
        return err;
    }
    for (uint32_t i = 0; i < v->node_count; i++) {
        nodes[i] = take_same(s, &v->nodes[i]);
        if (nodes[i]) {
            node_free(made[i]);
            nodes[i]->out = v->nodes[i].out;
        } else {
            nodes[i] = made[i];
        }
    }
    for (uint32_t i = 0; i < s->count; i++)
        if (s->nodes[i])
            node_close(s->worker, s->nodes[i]);
    free(made);
    free(s->nodes);
    s->nodes = nodes;
    s->count = v->node_count;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->nodes[i]->out) {
            close_upstreams(s->nodes[i], true);
            continue;
        }
        struct upstream *u = upstream_node_shared(s->nodes[i], LANE_RESP2);
        if (u) /* else it is made with the first request */
            upstream_start(u);
    }
    return 0;
}

struct upstream *upstream_node_shared(struct upstream_node *n, uint8_t lane)
{
    struct lane *l = &n->lanes[lane];
    if (!l->shared)
        l->shared = upstream_new(n->worker, n, lane);
    return l->shared;
}

uint64_t upstream_set_expire(struct upstream_set *s)
{
    uint64_t next = NSEC_NEVER;
    for (uint32_t i = 0; i < s->count; i++) {
        struct upstream_node *n = s->nodes[i];
        for (uint32_t k = 0; k < n->lane_count; k++) {
            struct lane *l = &n->lanes[k];
            if (l->shared)
                next = nsec_min(next, upstream_expire(l->shared));
            list_for_each (link, &l->bulk)
                next = nsec_min(next, upstream_expire(list_item(link, struct upstream, pool)));
        }
        next = nsec_min(next, private_expire(n));
        next = nsec_min(next, lanes_expire(n));
    }
    return next;
}

bool upstream_node_is_down(const struct upstream_node *n)
{
    bool failed = false;
    for (uint32_t i = 0; i < n->lane_count; i++) {
        const struct upstream *u = n->lanes[i].shared;
        if (u && u->state == UPSTREAM_READY)
            return false;
        failed = failed || (u && u->failures > 0);
        list_for_each (link, &n->lanes[i].bulk) {
            u = list_item(link, struct upstream, pool);
            if (u->state == UPSTREAM_READY)
                return false;
            failed = failed || u->failures > 0;
        }
    }
    return failed;
}
