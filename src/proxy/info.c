/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/info.h"

#include "base/nsec.h"
#include "base/text.h"
#include "cluster/control_metrics.h"
#include "proxy/node_sums.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>

static uint64_t sum(const struct worker *w, uint32_t offset)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < w->all_count; i++) {
        const char *metrics = (const char *)worker_metrics(w->all[i]);
        total += metric_get((const atomic_uint_least64_t *)(const void *)(metrics + offset));
    }
    return total;
}

#define SUM(w, name) sum(w, offsetof(struct metrics, name))

static void add_server(struct text *t, struct worker *w)
{
    char version[FIGURES_VERSION_MAX];
    text_add(t,
             "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\n"
             "multiplexing_api:epoll\r\nsumcache_version:%s\r\nuptime_in_seconds:%" PRIu64
             "\r\nuptime_in_days:%" PRIu64 "\r\n",
             node_sums_version(w, version), SUMCACHE_VERSION, (worker_now(w) - w->started) / NSEC_S,
             (worker_now(w) - w->started) / (86400 * NSEC_S));
}

static void add_clients(struct text *t, struct worker *w)
{
    text_add(t,
             "# Clients\r\nconnected_clients:%" PRIu64
             "\r\nmaxclients:%u\r\nblocked_clients:%" PRIu64 "\r\n",
             SUM(w, clients), w->settings->clients_max, SUM(w, clients_blocked));
}

/* "1.50M", as redis-server writes it: text for people. */
static void add_human(struct text *t, const char *name, uint64_t bytes)
{
    static const char UNITS[] = "BKMGTP";
    double shown = (double)bytes;
    unsigned unit = 0;
    for (; shown >= 1024 && unit < sizeof(UNITS) - 2; unit++)
        shown /= 1024;
    text_add(t, unit == 0 ? "%s_human:%.0f%c\r\n" : "%s_human:%.2f%c\r\n", name, shown,
             UNITS[unit]);
}

/* Of the nodes; what the proxy itself takes is `buffer_bytes`. */
static void add_memory(struct text *t, struct worker *w)
{
    struct node_sums s = node_sums_of(w);
    const char *policy = figures_policy_name(s.of[FIGURE_POLICY]);
    static const struct {
        const char *name;
        enum figure figure;
    } LINES[] = {
        {"used_memory", FIGURE_USED_MEMORY},
        {"used_memory_rss", FIGURE_USED_MEMORY_RSS},
        {"used_memory_peak", FIGURE_USED_MEMORY_PEAK},
        {"maxmemory", FIGURE_MAXMEMORY},
    };
    text_add(t, "# Memory\r\n");
    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        text_add(t, "%s:%" PRIu64 "\r\n", LINES[i].name, s.of[LINES[i].figure]);
        add_human(t, LINES[i].name, s.of[LINES[i].figure]);
    }
    if (policy)
        text_add(t, "maxmemory_policy:%s\r\n", policy);
}

static void add_persistence(struct text *t, struct worker *w)
{
    (void)w;
    text_add(t, "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n"
                "aof_enabled:0\r\n");
}

/* Of connections and bytes: ours. Of keys and commands: the nodes'. */
static void add_stats(struct text *t, struct worker *w)
{
    struct node_sums s = node_sums_of(w);
    text_add(t,
             "# Stats\r\ntotal_connections_received:%" PRIu64
             "\r\ntotal_commands_processed:%" PRIu64 "\r\ninstantaneous_ops_per_sec:%" PRIu64
             "\r\ntotal_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64
             "\r\nrejected_connections:%" PRIu64 "\r\n",
             SUM(w, clients_accepted), s.of[FIGURE_COMMANDS], s.of[FIGURE_OPS],
             SUM(w, bytes_from_clients), SUM(w, bytes_to_clients), SUM(w, clients_refused));
    text_add(t,
             "expired_keys:%" PRIu64 "\r\nevicted_keys:%" PRIu64 "\r\nkeyspace_hits:%" PRIu64
             "\r\nkeyspace_misses:%" PRIu64 "\r\n",
             s.of[FIGURE_EXPIRED], s.of[FIGURE_EVICTED], s.of[FIGURE_HITS], s.of[FIGURE_MISSES]);
}

static void add_replication(struct text *t, struct worker *w)
{
    (void)w;
    text_add(t, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n");
}

static void add_cluster(struct text *t, struct worker *w)
{
    (void)w;
    text_add(t, "# Cluster\r\ncluster_enabled:0\r\n");
}

static void add_keyspace(struct text *t, struct worker *w)
{
    struct node_sums s = node_sums_of(w);
    text_add(t, "# Keyspace\r\n");
    for (unsigned i = 0; i < w->settings->databases; i++)
        if (s.of[figure_keys(i)] > 0)
            text_add(t, "db%u:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", i,
                     s.of[figure_keys(i)], s.of[figure_expires(i)]);
}

/* What a node said may hold anything. */
static void clean_text(const char *from, char *to, size_t size)
{
    size_t len = 0;
    for (; len < size - 1 && from[len]; len++)
        to[len] = (char)(from[len] < ' ' || from[len] > '~' || from[len] == ',' ? ' ' : from[len]);
    to[len] = '\0';
}

/* What it last said of itself, and how long ago. */
static void add_figures(struct text *t, const struct worker *w, const struct figures *f)
{
    uint64_t at = metric_get(&f->taken_at), now = worker_now(w);
    char version[FIGURES_VERSION_MAX];
    if (at == 0)
        return;
    uint64_t keys = 0;
    for (unsigned i = 0; i < w->settings->databases; i++)
        keys += metric_get(&f->of[figure_keys(i)]);
    text_add(t,
             "version=%s,keys=%" PRIu64 ",used_memory=%" PRIu64 ",maxmemory=%" PRIu64
             ",ops=%" PRIu64 ",hits=%" PRIu64 ",misses=%" PRIu64 ",evicted=%" PRIu64
             ",age_ms=%" PRIu64 ",",
             figures_print_version(metric_get(&f->of[FIGURE_VERSION]), version), keys,
             metric_get(&f->of[FIGURE_USED_MEMORY]), metric_get(&f->of[FIGURE_MAXMEMORY]),
             metric_get(&f->of[FIGURE_OPS]), metric_get(&f->of[FIGURE_HITS]),
             metric_get(&f->of[FIGURE_MISSES]), metric_get(&f->of[FIGURE_EVICTED]),
             (now > at ? now - at : 0) / NSEC_MS);
}

/* `upstream` is as this worker sees it. */
static void add_node(struct text *t, const struct worker *w, uint32_t i)
{
    const struct upstream_node *n = w->upstreams.nodes[i];
    const struct view_node *v = &w->view->nodes[i];
    const struct upstream *u = n->lanes[LANE_RESP2].shared;
    const struct pulse *p = n->pulse;
    char why[VIEW_WHY_MAX];
    clean_text(v->why, why, sizeof(why));
    uint64_t now = worker_now(w), since = now > v->since ? now - v->since : 0;
    uint64_t check = p ? atomic_load_explicit(&p->check_ns, memory_order_relaxed) : 0;
    text_add(t,
             "node%u:name=%s,state=%s,since_ms=%" PRIu64 ",slots=%u,in_flight=%" PRIu64
             ",check_us=%" PRIu64 ",upstream=%s,",
             i, n->name, view_state_name((enum view_state)v->state), since / NSEC_MS, v->slots,
             p ? pulse_in_flight(p) : n->requests, check / NSEC_US,
             u ? upstream_state_name(u->state) : "idle");
    if (p)
        add_figures(t, w, &p->figures);
    text_add(t, "reason=%s\r\n", why); /* last: it is for people, and may grow */
}

static void add_metrics(struct text *t, const void *metrics, const struct metric_info *info,
                        unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *at = (const char *)metrics + info[i].offset;
        text_add(t, "%s:%" PRIu64 "\r\n", info[i].name,
                 metric_get((const atomic_uint_least64_t *)(const void *)at));
    }
}

static void add_sumcache(struct text *t, struct worker *w)
{
    struct node_sums s = node_sums_of(w);
    text_add(t, "# Sumcache\r\nworkers:%u\r\nview_version:%" PRIu64 "\r\nnodes:%u\r\n",
             w->all_count, w->view ? w->view->version : 0, w->upstreams.count);
    text_add(t, "nodes_summed:%u\r\nnodes_summed_age_ms:%" PRIu64 "\r\n", s.nodes, s.age / NSEC_MS);
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        text_add(t, "%s:%" PRIu64 "\r\n", METRIC_INFO[i].name, sum(w, METRIC_INFO[i].offset));
    if (w->control)
        add_metrics(t, control_metrics(w->control), CONTROL_METRIC_INFO, CONTROL_METRIC_COUNT);
    for (uint32_t i = 0; w->view && i < w->upstreams.count; i++)
        add_node(t, w, i);
}

struct section {
    const char *name;
    void (*add)(struct text *t, struct worker *w);
};

static const struct section SECTIONS[] = {
    {"server", add_server},           {"clients", add_clients},   {"memory", add_memory},
    {"persistence", add_persistence}, {"stats", add_stats},       {"replication", add_replication},
    {"cluster", add_cluster},         {"keyspace", add_keyspace}, {"sumcache", add_sumcache},
};

static bool is_wanted(struct worker *w, const char *name)
{
    static const char *const ALL[] = {"default", "all", "everything"};
    if (w->args.count == 1)
        return true;
    for (size_t i = 1; i < w->args.count; i++) {
        struct str asked = args_str(&w->args, i);
        if (str_eq_nocase(asked, str_of(name)))
            return true;
        for (size_t k = 0; k < sizeof(ALL) / sizeof(ALL[0]); k++)
            if (str_eq_nocase(asked, str_of(ALL[k])))
                return true;
    }
    return false;
}

void info_write(struct client *c, struct reply_out *o)
{
    struct worker *w = c->worker;
    struct text t = {0};
    for (size_t i = 0; i < sizeof(SECTIONS) / sizeof(SECTIONS[0]); i++) {
        if (!is_wanted(w, SECTIONS[i].name))
            continue;
        if (t.len > 0)
            text_add(&t, "\r\n");
        SECTIONS[i].add(&t, w);
    }
    if (t.failed)
        o->err = -ENOMEM;
    else
        reply_verbatim_txt(o, (struct str){t.bytes, t.len});
    text_fini(&t);
}
