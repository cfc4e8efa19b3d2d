/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the text format of Prometheus, version 0.0.4. */
#include "admin/admin_internal.h"
#include "base/nsec.h"
#include "cluster/control.h"
#include "cluster/control_metrics.h"
#include "proxy/worker.h"

#include <inttypes.h>
#include <stddef.h>

static void head(struct text *t, const char *name, const char *type, const char *help)
{
    text_add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* By the tables that INFO shows too: NAME is sumcache_NAME here, and a counter ends with _total. */
static void add_table(struct text *t, const struct metric_info *info, uint64_t value)
{
    const char *total = info->kind == METRIC_COUNTER ? "_total" : "";
    text_add(t, "# HELP sumcache_%s%s %s\n# TYPE sumcache_%s%s %s\nsumcache_%s%s %" PRIu64 "\n",
             info->name, total, info->text, info->name, total,
             info->kind == METRIC_COUNTER ? "counter" : "gauge", info->name, total, value);
}

static void add_counters(const struct admin *a, struct text *t)
{
    const struct control_metrics *m = control_metrics(a->config.control);
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        add_table(t, &METRIC_INFO[i], admin_sum(a, METRIC_INFO[i].offset));
    for (unsigned i = 0; i < CONTROL_METRIC_COUNT; i++) {
        const char *at = (const char *)m + CONTROL_METRIC_INFO[i].offset;
        /* 64 bits are more than a sample holds: it is a label of sumcache_ring_info. */
        if (CONTROL_METRIC_INFO[i].offset != offsetof(struct control_metrics, ring_hash))
            add_table(t, &CONTROL_METRIC_INFO[i],
                      metric_get((const atomic_uint_least64_t *)(const void *)at));
    }
}

static void add_process(const struct admin *a, struct text *t)
{
    const struct control_metrics *m = control_metrics(a->config.control);
    head(t, "sumcache_build_info", "gauge", "1; which version this is");
    text_add(t, "sumcache_build_info{version=\"" SUMCACHE_VERSION "\"} 1\n");
    head(t, "sumcache_ring_info", "gauge", "1; hash is equal for proxies that spread keys alike");
    text_add(t, "sumcache_ring_info{hash=\"%" PRIu64 "\"} 1\n", metric_get(&m->ring_hash));
    head(t, "sumcache_uptime_seconds", "gauge", "since the start");
    text_add(t, "sumcache_uptime_seconds %.3f\n",
             (double)(a->config.loop->now - a->started) / NSEC_S);
    head(t, "sumcache_workers", "gauge", "threads that serve clients");
    text_add(t, "sumcache_workers %u\n", a->config.worker_count);
    head(t, "sumcache_ready", "gauge", "1: /readyz says yes");
    text_add(t, "sumcache_ready %d\n", admin_is_ready(a));
    head(t, "sumcache_log_suppressed_total", "counter", "lines not written: log_rate");
    text_add(t, "sumcache_log_suppressed_total %" PRIu64 "\n",
             metric_get(&a->config.log_losses->suppressed));
    head(t, "sumcache_log_lost_total", "counter", "lines that standard error did not take");
    text_add(t, "sumcache_log_lost_total %" PRIu64 "\n", metric_get(&a->config.log_losses->lost));
    head(t, "sumcache_admin_requests_total", "counter", "requests of the admin listener");
    text_add(t, "sumcache_admin_requests_total %" PRIu64 "\n", a->answered);
    head(t, "sumcache_admin_unauthorized_total", "counter", "of those: no token, or a wrong one");
    text_add(t, "sumcache_admin_unauthorized_total %" PRIu64 "\n", a->unauthorized);
    head(t, "sumcache_admin_refused_total", "counter", "connections closed: admin.connections");
    text_add(t, "sumcache_admin_refused_total %" PRIu64 "\n", a->refused);
}

/* `node` may be empty: it has no label then. */
static void add_histogram(struct text *t, const char *name, struct str node,
                          const struct histogram_sum *s)
{
    uint64_t below = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += s->count[i];
        text_add(t, "%s_bucket{", name);
        if (node.len > 0) {
            text_add(t, "node=");
            text_add_label(t, node);
            text_add(t, ",");
        }
        if (i == HISTOGRAM_BUCKETS - 1)
            text_add(t, "le=\"+Inf\"} %" PRIu64 "\n", below);
        else
            text_add(t, "le=\"%.9f\"} %" PRIu64 "\n", (double)histogram_bound(i) / NSEC_S, below);
    }
    for (unsigned sum = 0; sum < 2; sum++) {
        text_add(t, "%s%s", name, sum ? "_sum" : "_count");
        if (node.len > 0) {
            text_add(t, "{node=");
            text_add_label(t, node);
            text_add(t, "}");
        }
        if (sum)
            text_add(t, " %.9f\n", (double)s->sum_ns / NSEC_S);
        else
            text_add(t, " %" PRIu64 "\n", below);
    }
}

static void add_outcomes(const struct admin *a, struct text *t)
{
    struct outcomes_sum o = admin_outcomes(a);
    head(t, "sumcache_outcomes_total", "counter",
         "requests for nodes, by what they do and what came of them");
    for (unsigned c = 0; c < OUTCOME_CLASSES; c++)
        for (unsigned k = 0; k < OUTCOME_COUNT; k++)
            text_add(t, "sumcache_outcomes_total{class=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                     outcome_class_name((enum outcome_class)c), outcome_name((enum outcome)k),
                     o.of[c][k]);
    head(t, "sumcache_request_queue_seconds", "histogram",
         "from a request's last byte until it might be sent to its node");
    add_histogram(t, "sumcache_request_queue_seconds", STR(""), &o.queue);
    head(t, "sumcache_request_seconds", "histogram",
         "from a request's last byte until its answer was complete");
    add_histogram(t, "sumcache_request_seconds", STR(""), &o.total);
    head(t, "sumcache_turn_seconds", "histogram",
         "what one round of a worker takes, without the wait for events");
    add_histogram(t, "sumcache_turn_seconds", STR(""), &o.turn);
}

/* ---- nodes ---- */

struct node_metric {
    const char *name, *help;
    bool counts;
    enum figure figure;
};

static const struct node_metric NODE_METRICS[] = {
    {"sumcache_node_memory_used_bytes", "used_memory of its INFO", false, FIGURE_USED_MEMORY},
    {"sumcache_node_memory_rss_bytes", "used_memory_rss of its INFO", false,
     FIGURE_USED_MEMORY_RSS},
    {"sumcache_node_memory_max_bytes", "maxmemory of its INFO; 0: no limit", false,
     FIGURE_MAXMEMORY},
    {"sumcache_node_keys", "keys of all databases", false, FIGURE_KEYS},
    {"sumcache_node_hits_total", "keyspace_hits of its INFO", true, FIGURE_HITS},
    {"sumcache_node_misses_total", "keyspace_misses of its INFO", true, FIGURE_MISSES},
    {"sumcache_node_evicted_keys_total", "evicted_keys of its INFO", true, FIGURE_EVICTED},
    {"sumcache_node_expired_keys_total", "expired_keys of its INFO", true, FIGURE_EXPIRED},
    {"sumcache_node_commands_total", "total_commands_processed of its INFO", true, FIGURE_COMMANDS},
};

static void add_node_line(struct text *t, const char *metric, const struct view_node *n)
{
    text_add(t, "%s{node=", metric);
    text_add_label(t, str_of(n->name));
}

static bool has_figures(const struct view_node *n)
{
    return n->pulse && metric_get(&n->pulse->figures.taken_at) != 0;
}

static void add_node_figures(const struct admin *a, struct text *t)
{
    const struct view *v = a->view;
    for (size_t k = 0; k < sizeof(NODE_METRICS) / sizeof(NODE_METRICS[0]); k++) {
        const struct node_metric *m = &NODE_METRICS[k];
        head(t, m->name, m->counts ? "counter" : "gauge", m->help);
        for (uint32_t i = 0; i < v->node_count; i++) {
            if (!has_figures(&v->nodes[i]))
                continue;
            const struct pulse *p = v->nodes[i].pulse;
            add_node_line(t, m->name, &v->nodes[i]);
            text_add(t, "} %" PRIu64 "\n",
                     m->figure == FIGURE_KEYS ? admin_keys_of(a, p)
                                              : metric_get(&p->figures.of[m->figure]));
        }
    }
    head(t, "sumcache_node_memory_fragmentation_ratio", "gauge", "used_memory_rss by used_memory");
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (!has_figures(&v->nodes[i]))
            continue;
        const struct figures *f = &v->nodes[i].pulse->figures;
        uint64_t used = metric_get(&f->of[FIGURE_USED_MEMORY]);
        add_node_line(t, "sumcache_node_memory_fragmentation_ratio", &v->nodes[i]);
        text_add(t, "} %.3f\n",
                 used ? (double)metric_get(&f->of[FIGURE_USED_MEMORY_RSS]) / (double)used : 0.0);
    }
    head(t, "sumcache_node_figures_age_seconds", "gauge", "how long ago it said that");
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (!has_figures(&v->nodes[i]))
            continue;
        uint64_t at = metric_get(&v->nodes[i].pulse->figures.taken_at), now = a->config.loop->now;
        add_node_line(t, "sumcache_node_figures_age_seconds", &v->nodes[i]);
        text_add(t, "} %.3f\n", (double)(now > at ? now - at : 0) / NSEC_S);
    }
}

static void add_node_states(const struct admin *a, struct text *t)
{
    const struct view *v = a->view;
    head(t, "sumcache_node_up", "gauge", "1: it is in the ring");
    for (uint32_t i = 0; i < v->node_count; i++) {
        add_node_line(t, "sumcache_node_up", &v->nodes[i]);
        text_add(t, "} %d\n", !v->nodes[i].out);
    }
    head(t, "sumcache_node_slots", "gauge", "slots that it owns, of 65537");
    for (uint32_t i = 0; i < v->node_count; i++) {
        add_node_line(t, "sumcache_node_slots", &v->nodes[i]);
        text_add(t, "} %" PRIu32 "\n", v->nodes[i].slots);
    }
    head(t, "sumcache_node_in_flight", "gauge", "requests under way");
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (!v->nodes[i].pulse)
            continue;
        add_node_line(t, "sumcache_node_in_flight", &v->nodes[i]);
        text_add(t, "} %" PRIu64 "\n", pulse_in_flight(v->nodes[i].pulse));
    }
    head(t, "sumcache_node_check_seconds", "gauge", "what its last check took; 0: none yet");
    for (uint32_t i = 0; i < v->node_count; i++) {
        if (!v->nodes[i].pulse)
            continue;
        add_node_line(t, "sumcache_node_check_seconds", &v->nodes[i]);
        text_add(t, "} %.6f\n", (double)metric_get(&v->nodes[i].pulse->check_ns) / NSEC_S);
    }
    head(t, "sumcache_node_first_byte_seconds", "histogram",
         "from when a request might be sent to the first byte of its reply");
    for (uint32_t i = 0; i < v->node_count; i++) {
        struct histogram_sum s = {0};
        if (!v->nodes[i].pulse)
            continue;
        pulse_first_byte(v->nodes[i].pulse, &s);
        add_histogram(t, "sumcache_node_first_byte_seconds", str_of(v->nodes[i].name), &s);
    }
}

void page_metrics(const struct admin *a, struct text *t)
{
    add_process(a, t);
    add_counters(a, t);
    add_outcomes(a, t);
    page_prefixes(a, t);
    if (!a->view)
        return;
    add_node_states(a, t);
    add_node_figures(a, t);
}
