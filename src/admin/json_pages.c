/* SPDX-License-Identifier: Apache-2.0 */
/* /api/…: what docs/api.md says of each. */
#include "admin/admin_internal.h"
#include "base/nsec.h"
#include "cluster/control.h"
#include "cluster/control_metrics.h"
#include "proxy/worker.h"

#include <inttypes.h>

static void number(struct text *t, const char *name, uint64_t value)
{
    text_add(t, "\"%s\":%" PRIu64 ",", name, value);
}

/* Behind the last member or item: the comma is taken back. */
static void end(struct text *t, const char *bracket)
{
    if (t->len > 0 && t->bytes[t->len - 1] == ',')
        t->len--;
    text_add(t, "%s", bracket);
}

static void add_gauges(struct text *t, const struct history_gauges *g)
{
    number(t, "clients", g->clients);
    number(t, "in_flight", g->in_flight);
    number(t, "nodes_in_ring", g->nodes_in_ring);
    number(t, "nodes_out", g->nodes_out);
    number(t, "memory_used", g->memory_used);
    number(t, "memory_max", g->memory_max);
    number(t, "keys", g->keys);
    number(t, "buffer_bytes", g->buffer_bytes);
}

static void add_row(struct text *t, const struct history_row *r)
{
    text_add(t, "{");
    number(t, "at_ms", r->at_ms);
    number(t, "requests", r->requests);
    number(t, "failed", r->failed);
    number(t, "failover_misses", r->failover_misses);
    number(t, "bytes_in", r->bytes_in);
    number(t, "bytes_out", r->bytes_out);
    number(t, "hits", r->hits);
    number(t, "misses", r->misses);
    number(t, "evicted", r->evicted);
    number(t, "p50_us", r->p50_us);
    number(t, "p99_us", r->p99_us);
    add_gauges(t, &r->gauges);
    end(t, "}");
}

void page_summary(const struct admin *a, struct text *t)
{
    const struct control_metrics *m = control_metrics(a->config.control);
    struct outcomes_sum o = admin_outcomes(a);
    struct history_totals totals = admin_totals(a);
    struct history_gauges gauges = admin_gauges(a);
    text_add(t, "{\"version\":\"" SUMCACHE_VERSION "\",\"ready\":%s,",
             admin_is_ready(a) ? "true" : "false");
    number(t, "at_ms", admin_wall_ms(a));
    number(t, "uptime_ms", (a->config.loop->now - a->started) / NSEC_MS);
    number(t, "workers", a->config.worker_count);
    number(t, "view_version", a->view ? a->view->version : 0);
    text_add(t, "\"ring_hash\":\"%" PRIu64 "\",", metric_get(&m->ring_hash));
    number(t, "slots_away", metric_get(&m->slots_away));
    number(t, "slots_fenced", metric_get(&m->slots_fenced));
    number(t, "journal_keys", metric_get(&m->journal_keys));
    number(t, "ejections", metric_get(&m->node_ejections));
    number(t, "requests", totals.requests);
    number(t, "hits", totals.hits);
    number(t, "misses", totals.misses);
    number(t, "evicted", totals.evicted);
    number(t, "bytes_in", totals.bytes_in);
    number(t, "bytes_out", totals.bytes_out);
    number(t, "p50_us", histogram_sum_quantile(&o.total, 500) / NSEC_US);
    number(t, "p99_us", histogram_sum_quantile(&o.total, 990) / NSEC_US);
    add_gauges(t, &gauges);
    number(t, "mget_hits", admin_sum(a, offsetof(struct metrics, mget_hits)));
    number(t, "mget_misses", admin_sum(a, offsetof(struct metrics, mget_misses)));
    text_add(t, "\"outcomes\":{");
    for (unsigned c = 0; c < OUTCOME_CLASSES; c++) {
        text_add(t, "\"%s\":{", outcome_class_name((enum outcome_class)c));
        for (unsigned k = 0; k < OUTCOME_COUNT; k++)
            number(t, outcome_name((enum outcome)k), o.of[c][k]);
        end(t, "},");
    }
    end(t, "},\"last_second\":");
    const struct history_row *last = history_row(&a->history, 0);
    if (last)
        add_row(t, last);
    else
        text_add(t, "null");
    text_add(t, "}\n");
}

static void add_node(const struct admin *a, struct text *t, const struct view_node *n)
{
    uint64_t now = a->config.loop->now;
    text_add(t, "{\"name\":");
    text_add_json(t, str_of(n->name));
    text_add(t, ",\"state\":\"%s\",\"in_ring\":%s,\"reason\":",
             view_state_name((enum view_state)n->state), n->out ? "false" : "true");
    text_add_json(t, str_of(n->why));
    text_add(t, ",");
    number(t, "since_ms", (now > n->since ? now - n->since : 0) / NSEC_MS);
    number(t, "weight", n->weight);
    number(t, "slots", n->slots);
    text_add(t, "\"share\":%.6f,", (double)n->slots / MAGLEV_SLOTS);
    const struct pulse *p = n->pulse;
    if (p) {
        struct histogram_sum first = {0};
        pulse_first_byte(p, &first);
        number(t, "in_flight", pulse_in_flight(p));
        number(t, "check_us", metric_get(&p->check_ns) / NSEC_US);
        number(t, "replies", histogram_sum_count(&first));
        number(t, "first_byte_p50_us", histogram_sum_quantile(&first, 500) / NSEC_US);
        number(t, "first_byte_p99_us", histogram_sum_quantile(&first, 990) / NSEC_US);
    }
    uint64_t at = p ? metric_get(&p->figures.taken_at) : 0;
    if (at > 0) {
        const struct figures *f = &p->figures;
        char version[FIGURES_VERSION_MAX];
        const char *policy = figures_policy_name(metric_get(&f->of[FIGURE_POLICY]));
        text_add(t, "\"redis_version\":\"%s\",\"maxmemory_policy\":\"%s\",",
                 figures_print_version(metric_get(&f->of[FIGURE_VERSION]), version),
                 policy ? policy : "");
        number(t, "figures_age_ms", (now > at ? now - at : 0) / NSEC_MS);
        number(t, "memory_used", metric_get(&f->of[FIGURE_USED_MEMORY]));
        number(t, "memory_rss", metric_get(&f->of[FIGURE_USED_MEMORY_RSS]));
        number(t, "memory_max", metric_get(&f->of[FIGURE_MAXMEMORY]));
        number(t, "keys", admin_keys_of(a, p));
        number(t, "hits", metric_get(&f->of[FIGURE_HITS]));
        number(t, "misses", metric_get(&f->of[FIGURE_MISSES]));
        number(t, "evicted", metric_get(&f->of[FIGURE_EVICTED]));
        number(t, "commands_per_second", metric_get(&f->of[FIGURE_OPS]));
    }
    end(t, "},");
}

void page_nodes(const struct admin *a, struct text *t)
{
    text_add(t, "{");
    number(t, "view_version", a->view ? a->view->version : 0);
    number(t, "slots", MAGLEV_SLOTS);
    text_add(t, "\"nodes\":[");
    for (uint32_t i = 0; a->view && i < a->view->node_count; i++)
        add_node(a, t, &a->view->nodes[i]);
    end(t, "]}\n");
}

void page_history(const struct admin *a, struct text *t)
{
    text_add(t, "{\"step_ms\":1000,\"rows\":[");
    for (uint32_t age = HISTORY_SECONDS; age-- > 0;) {
        const struct history_row *r = history_row(&a->history, age);
        if (!r)
            continue;
        add_row(t, r);
        text_add(t, ",");
    }
    end(t, "]}\n");
}

void page_events(const struct admin *a, struct text *t)
{
    text_add(t, "{\"events\":[");
    for (uint32_t age = HISTORY_EVENTS; age-- > 0;) {
        const struct history_event *e = history_event(&a->history, age);
        if (!e)
            continue;
        text_add(t, "{");
        number(t, "id", e->id);
        number(t, "at_ms", e->at_ms);
        text_add(t, "\"node\":");
        text_add_json(t, str_of(e->node));
        text_add(t, ",\"from\":\"%s\",\"to\":\"%s\",\"reason\":", history_state_name(e->from),
                 history_state_name(e->to));
        text_add_json(t, str_of(e->why));
        text_add(t, "},");
    }
    end(t, "]}\n");
}

bool page_where(const struct admin *a, struct str query, struct text *t)
{
    char key[HTTP_HEAD_MAX];
    int len = http_query_find(query, STR("key"), key, sizeof(key));
    if (len < 0)
        return false;
    struct str k = {key, (size_t)len};
    const struct view *v = a->view;
    text_add(t, "{\"key\":");
    text_add_json(t, k);
    if (!v || !v->ring) {
        text_add(t, ",\"node\":null}\n");
        return true;
    }
    uint64_t hash = layout_hash(a->config.layout, k, a->config.hash_tags);
    const struct view_node *n = &v->nodes[maglev_lookup(v->ring, hash)];
    uint8_t flags = view_flags(v, hash);
    text_add(t, ",\"node\":");
    text_add_json(t, str_of(n->name));
    text_add(t, ",\"state\":\"%s\",\"slot\":%" PRIu32 ",\"at_home\":%s,\"fenced\":%s}\n",
             view_state_name((enum view_state)n->state), maglev_slot(hash),
             flags & VIEW_LOGGED ? "false" : "true", flags & VIEW_FENCED ? "true" : "false");
    return true;
}
