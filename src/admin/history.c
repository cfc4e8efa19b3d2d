/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/history.h"

#include <stdio.h>

static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0; /* a node that left took its counts along */
}

void history_second(struct history *h, uint64_t at_ms, const struct history_totals *totals,
                    const struct history_gauges *gauges)
{
    const struct history_totals *b = &h->before;
    struct histogram_sum latency = histogram_sum_since(&totals->latency, &b->latency);
    if (h->row_next > 0) {
        h->rows[(h->row_next - 1) % HISTORY_SECONDS] = (struct history_row){
            .at_ms = at_ms,
            .requests = more(totals->requests, b->requests),
            .failed = more(totals->failed, b->failed),
            .failover_misses = more(totals->failover_misses, b->failover_misses),
            .bytes_in = more(totals->bytes_in, b->bytes_in),
            .bytes_out = more(totals->bytes_out, b->bytes_out),
            .hits = more(totals->hits, b->hits),
            .misses = more(totals->misses, b->misses),
            .evicted = more(totals->evicted, b->evicted),
            .p50_us = histogram_sum_quantile(&latency, 500) / 1000,
            .p99_us = histogram_sum_quantile(&latency, 990) / 1000,
            .gauges = *gauges,
        };
        if (h->row_count < HISTORY_SECONDS)
            h->row_count++;
    }
    h->row_next++;
    h->before = *totals;
}

const struct history_row *history_row(const struct history *h, uint32_t age)
{
    return age < h->row_count ? &h->rows[(h->row_next - 2 - age) % HISTORY_SECONDS] : NULL;
}

static const struct view_node *find(const struct view *v, const char *name)
{
    for (uint32_t i = 0; v && i < v->node_count; i++)
        if (strcmp(v->nodes[i].name, name) == 0)
            return &v->nodes[i];
    return NULL;
}

/* Nodes mostly keep their places from one view to the next, so that looking is not quadratic. */
static const struct view_node *find_near(const struct view *v, uint32_t place, const char *name)
{
    if (v && place < v->node_count && strcmp(v->nodes[place].name, name) == 0)
        return &v->nodes[place];
    return find(v, name);
}

static void add(struct history *h, uint64_t at_ms, const struct view_node *n, int from, int to)
{
    struct history_event *e = &h->events[h->event_last++ % HISTORY_EVENTS];
    *e = (struct history_event){
        .id = h->event_last, .at_ms = at_ms, .from = (int16_t)from, .to = (int16_t)to};
    snprintf(e->node, sizeof(e->node), "%s", n->name);
    if (to >= 0)
        snprintf(e->why, sizeof(e->why), "%s", n->why);
}

void history_views(struct history *h, uint64_t at_ms, const struct view *old,
                   const struct view *now)
{
    for (uint32_t i = 0; i < now->node_count; i++) {
        const struct view_node *n = &now->nodes[i], *was = find_near(old, i, n->name);
        int from = was ? was->state : -1;
        if (from != n->state)
            add(h, at_ms, n, from, n->state);
    }
    for (uint32_t i = 0; old && i < old->node_count; i++)
        if (!find_near(now, i, old->nodes[i].name))
            add(h, at_ms, &old->nodes[i], old->nodes[i].state, -1);
}

const struct history_event *history_event(const struct history *h, uint32_t age)
{
    uint64_t count = h->event_last < HISTORY_EVENTS ? h->event_last : HISTORY_EVENTS;
    return age < count ? &h->events[(h->event_last - 1 - age) % HISTORY_EVENTS] : NULL;
}

const char *history_state_name(int state)
{
    return state < 0 ? "gone" : view_state_name((enum view_state)state);
}
