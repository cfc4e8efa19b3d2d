/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_internal.h"
#include "cluster/control.h"
#include "cluster/control_metrics.h"
#include "proxy/worker.h"

uint64_t admin_sum(const struct admin *a, uint32_t offset)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < a->config.worker_count; i++) {
        const char *metrics = (const char *)worker_metrics(a->config.workers[i]);
        total += metric_get((const atomic_uint_least64_t *)(const void *)(metrics + offset));
    }
    return total;
}

#define SUM(a, name) admin_sum(a, offsetof(struct metrics, name))

struct outcomes_sum admin_outcomes(const struct admin *a)
{
    struct outcomes_sum s = {0};
    for (unsigned i = 0; i < a->config.worker_count; i++) {
        const struct outcomes *o = worker_outcomes(a->config.workers[i]);
        for (unsigned c = 0; c < OUTCOME_CLASSES; c++)
            for (unsigned k = 0; k < OUTCOME_COUNT; k++)
                s.of[c][k] += metric_get(&o->of[c][k]);
        histogram_sum_add(&s.queue, &o->queue);
        histogram_sum_add(&s.total, &o->total);
        histogram_sum_add(&s.turn, &o->turn);
    }
    return s;
}

uint64_t admin_keys_of(const struct admin *a, const struct pulse *p)
{
    uint64_t keys = 0;
    for (unsigned i = 0; i < a->config.databases; i++)
        keys += metric_get(&p->figures.of[figure_keys(i)]);
    return keys;
}

static uint64_t figure_sum(const struct admin *a, enum figure figure)
{
    uint64_t total = 0;
    for (uint32_t i = 0; a->view && i < a->view->node_count; i++)
        if (a->view->nodes[i].pulse && !a->view->nodes[i].out)
            total += metric_get(&a->view->nodes[i].pulse->figures.of[figure]);
    return total;
}

struct history_totals admin_totals(const struct admin *a)
{
    struct outcomes_sum o = admin_outcomes(a);
    struct history_totals t = {
        .requests = SUM(a, requests),
        .bytes_in = SUM(a, bytes_from_clients),
        .bytes_out = SUM(a, bytes_to_clients),
        .hits = figure_sum(a, FIGURE_HITS),
        .misses = figure_sum(a, FIGURE_MISSES),
        .evicted = figure_sum(a, FIGURE_EVICTED),
        .latency = o.total,
    };
    for (unsigned c = 0; c < OUTCOME_CLASSES; c++) {
        t.failed += o.of[c][OUTCOME_FAILED];
        t.failover_misses += o.of[c][OUTCOME_FAILOVER_MISS];
    }
    return t;
}

struct history_gauges admin_gauges(const struct admin *a)
{
    const struct control_metrics *m = control_metrics(a->config.control);
    struct history_gauges g = {
        .clients = SUM(a, clients),
        .buffer_bytes = SUM(a, buffer_bytes),
        .nodes_in_ring = metric_get(&m->nodes_in_ring),
        .nodes_out = metric_get(&m->nodes_out),
        .memory_used = figure_sum(a, FIGURE_USED_MEMORY),
        .memory_max = figure_sum(a, FIGURE_MAXMEMORY),
    };
    for (uint32_t i = 0; a->view && i < a->view->node_count; i++) {
        const struct view_node *n = &a->view->nodes[i];
        if (!n->pulse)
            continue;
        g.in_flight += pulse_in_flight(n->pulse);
        g.keys += n->out ? 0 : admin_keys_of(a, n->pulse);
    }
    return g;
}

bool admin_is_ready(const struct admin *a)
{
    if (atomic_load(&a->draining) || !a->view || !a->view->ring)
        return false;
    for (uint32_t i = 0; i < a->view->node_count; i++)
        if (!a->view->nodes[i].out && a->view->nodes[i].state == VIEW_UP)
            return true;
    return false;
}

uint64_t admin_wall_ms(const struct admin *a)
{
    struct io *io = a->config.loop->io;
    return io->ops->wall_us(io->ctx) / 1000;
}
