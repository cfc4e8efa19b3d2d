/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One redis_proxy filter and the cluster it leads to (envoy_cluster.c). With lb_policy MAGLEV keys
 * stay where they are: the table is the same, if nodes have the same identities (address:port, or
 * the host name, or the hash_key of their metadata).
 *
 * The tables below name what Envoy has in the blocks that a redis_proxy needs, as of 1.39, in the
 * order of its documentation.
 */
#include "import/envoy.h"
#include "import/envoy_cluster.h"

#include "base/addr.h"
#include "base/must.h"
#include "base/nsec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    FILTERS_MAX = 64,
    LISTENERS_MAX = 4096,
};

/* A redis_proxy filter and where it stands. */
struct filter {
    const yaml_node_t *listener, *chain, *filter, *config;
};

/* ---- what is found where ---- */

static const yaml_node_t *config_of(const struct draft *d, const yaml_node_t *filter)
{
    const yaml_node_t *config = draft_get(d, filter, "typed_config");
    return config ? config : draft_get(d, filter, "config");
}

static bool is_redis_filter(const struct draft *d, const yaml_node_t *filter)
{
    struct str type = draft_text(draft_get(d, config_of(d, filter), "@type"));
    return envoy_ends_with(type, ".RedisProxy") ||
           envoy_ends_with(draft_text(draft_get(d, filter, "name")), "redis_proxy");
}

/* All of them, as far as there is room. */
static size_t find_filters(const struct draft *d, const yaml_node_t *root, struct filter *to)
{
    size_t found = 0;
    const yaml_node_t *listeners = draft_find(d, root, "static_resources.listeners");
    struct filter f = {0};
    for (size_t i = 0; (f.listener = draft_item_of(d, listeners, i)); i++) {
        const yaml_node_t *chains = draft_get(d, f.listener, "filter_chains");
        for (size_t k = 0; (f.chain = draft_item_of(d, chains, k)); k++) {
            const yaml_node_t *filters = draft_get(d, f.chain, "filters");
            for (size_t n = 0; (f.filter = draft_item_of(d, filters, n)); n++)
                if (is_redis_filter(d, f.filter) && found < FILTERS_MAX) {
                    f.config = config_of(d, f.filter);
                    to[found++] = f;
                }
            if (i >= LISTENERS_MAX || k >= LISTENERS_MAX || found == FILTERS_MAX)
                return found; /* aliases make long lists of little */
        }
    }
    return found;
}

/* The cluster that a filter leads to, where its name stands; NULL: to none. */
static const yaml_node_t *cluster_name_of(const struct draft *d, const yaml_node_t *config)
{
    const yaml_node_t *name = draft_find(d, config, "prefix_routes.catch_all_route.cluster");
    if (!name)
        name = draft_get(d, config, "cluster");
    if (!name)
        name = draft_find(d, config, "prefix_routes.catch_all_cluster");
    if (!name)
        name = draft_get(d, draft_item_of(d, draft_find(d, config, "prefix_routes.routes"), 0),
                         "cluster");
    return name;
}

static const yaml_node_t *find_cluster(const struct draft *d, const yaml_node_t *root,
                                       struct str name)
{
    const yaml_node_t *clusters = draft_find(d, root, "static_resources.clusters"), *one;
    for (size_t i = 0; (one = draft_item_of(d, clusters, i)); i++)
        if (str_eq(draft_text(draft_get(d, one, "name")), name))
            return one;
    return NULL;
}

bool envoy_is_it(const struct draft *d, const yaml_node_t *root)
{
    return draft_get(d, root, "static_resources") || draft_get(d, root, "dynamic_resources");
}

/* ---- the listener ---- */

static const struct draft_field LISTENER[] = {
    {"name", NULL, NULL},
    {"address", NULL, NULL}, /* taken by hand */
    {"filter_chains", NULL, NULL},
    {"stat_prefix", NULL, NULL},
    {"per_connection_buffer_limit_bytes", NULL,
     "limits.client_output and limits.memory bound what is kept for clients"},
    {"connection_balance_config", NULL,
     "connections are spread evenly over workers (clients_handed_over)"},
    {"socket_options", NULL, "timeouts.tcp_keepalive and timeouts.tcp_user are what can be set"},
    {"tcp_backlog_size", NULL, "as many connections wait to be accepted as the system allows"},
    {"enable_reuse_port", NULL, "each worker has a listener of its own (SO_REUSEPORT)"},
    {"reuse_port", NULL, "each worker has a listener of its own (SO_REUSEPORT)"},
    {"transparent", NULL, "there is nothing like it"},
    {"additional_addresses", NULL, "add them to `listen`"},
    {"listener_filters", NULL, "there are none here"},
    {"access_log", NULL, "there is no access log; INFO has the counters"},
    {"traffic_direction", NULL, NULL},
};

static const struct draft_field CHAIN[] = {
    {"filters", NULL, NULL},
    {"name", NULL, NULL},
    {"filter_chain_match", NULL, "all connections are served alike"},
    {"transport_socket", NULL, "the listener's certificates are not taken over"},
    {"tls_context", NULL, "the listener's certificates are not taken over"},
};

static const struct draft_field FILTER[] = {
    {"name", NULL, NULL},
    {"typed_config", NULL, NULL},
    {"config", NULL, NULL},
};

static void take_listener(struct draft *d, const struct filter *f)
{
    char place[DRAFT_TEXT_MAX];
    struct str host;
    uint64_t port;
    struct addr a;
    const yaml_node_t *address = draft_get(d, f->listener, "address");
    if (envoy_read_address(d, address, &host, &port) && envoy_write_place(host, port, place) &&
        addr_parse(str_of(place), 0, &a) == 0)
        draft_add(d, "listen", "%s", place);
    else
        draft_note(
            d, address ? address : f->listener,
            "address: not kept: expected a socket_address with an IP address and a port_value; "
            "127.0.0.1:6379 is listened to");
    WALK(d, f->listener, "the listener", LISTENER);
    WALK(d, f->chain, "the filter chain", CHAIN);
    WALK(d, f->filter, "the filter", FILTER);
}

/* ---- redis_proxy ---- */

static void take_op_timeout(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (!draft_seconds(d, value, &ns))
        return;
    draft_set_duration(d, value, "timeouts.request", ns, NSEC_MS, 60 * NSEC_S);
    draft_note(d, value,
               "op_timeout: kept as timeouts.request, which is for each request: one that is "
               "late fails alone, its connection and the others on it live on");
}

static void take_hashtagging(struct draft *d, const yaml_node_t *value)
{
    draft_set(d, "ring.hash_tags", draft_is_true(value) ? "on" : "off");
}

static void take_redirection(struct draft *d, const yaml_node_t *value)
{
    if (draft_is_true(value))
        draft_note(d, value,
                   "enable_redirection: not kept: nodes are plain Redis servers here, not a Redis "
                   "Cluster");
}

static void take_read_policy(struct draft *d, const yaml_node_t *value)
{
    if (!str_eq(draft_text(value), STR("MASTER")))
        draft_note(d, value, "read_policy: not kept: there are no replicas here");
}

static const struct draft_field SETTINGS[] = {
    {"op_timeout", take_op_timeout, NULL},
    {"enable_hashtagging", take_hashtagging, NULL},
    {"enable_redirection", take_redirection, NULL},
    {"dns_cache_config", NULL, "nothing is redirected here"},
    {"max_buffer_size_before_flush", NULL, "requests of one turn are sent together anyway"},
    {"buffer_flush_timeout", NULL, "requests of one turn are sent together anyway"},
    {"max_upstream_unknown_connections", NULL, "nothing is redirected here"},
    {"enable_command_stats", NULL, "INFO has the counters"},
    {"read_policy", take_read_policy, NULL},
    {"connection_rate_limit", NULL, "timeouts.backoff_min and backoff_max pace connecting"},
};

static void take_settings(struct draft *d, const yaml_node_t *value)
{
    WALK(d, value, "settings", SETTINGS);
}

static void take_catch_all(struct draft *d, const yaml_node_t *value)
{
    static const struct draft_field FIELDS[] = {
        {"cluster", NULL, NULL},
        {"prefix", NULL, NULL},
        {"remove_prefix", NULL, "keys are passed on as they are"},
        {"key_formatter", NULL, "keys are passed on as they are"},
        {"request_mirror_policy", NULL, "nothing is mirrored; fill a new cache by misses"},
        {"read_command_policy", NULL, "reads and writes go to the same nodes"},
    };
    WALK(d, value, "catch_all_route", FIELDS);
}

static void take_routes(struct draft *d, const yaml_node_t *value)
{
    char prefix[DRAFT_SHOWN_MAX], cluster[DRAFT_SHOWN_MAX];
    const yaml_node_t *route;
    for (size_t i = 0; (route = draft_item_of(d, value, i)) && i < DRAFT_NOTES_MAX; i++)
        draft_note(d, route,
                   "routes: not kept: prefix '%s' to cluster '%s': one sumcache is one cluster; "
                   "start another for it",
                   draft_show(draft_get(d, route, "prefix"), prefix),
                   draft_show(draft_get(d, route, "cluster"), cluster));
}

static void take_prefix_routes(struct draft *d, const yaml_node_t *value)
{
    static const struct draft_field FIELDS[] = {
        {"routes", take_routes, NULL},
        {"catch_all_route", take_catch_all, NULL},
        {"catch_all_cluster", NULL, NULL},
        {"case_insensitive", NULL, "there are no routes here"},
    };
    WALK(d, value, "prefix_routes", FIELDS);
}

static void take_commands(struct draft *d, const yaml_node_t *value)
{
    draft_note(
        d, value,
        "custom_commands: not kept: sumcache has its own table of commands; COMMAND lists them");
}

static void take_protocol(struct draft *d, const yaml_node_t *value)
{
    (void)d;
    (void)value; /* RESP2 or RESP3 is each client's choice here, by HELLO */
}

static void take_client_password(struct draft *d, const yaml_node_t *value)
{
    draft_set(d, "auth.password_file", "sumcache.clients");
    draft_note(
        d, value,
        "downstream_auth_password: write what clients have to send into the file "
        "sumcache.clients (auth.password_file; a line each, if there are several): passwords "
        "do not stand in settings");
}

static const struct draft_field REDIS_PROXY[] = {
    {"@type", NULL, NULL},
    {"stat_prefix", NULL, NULL},
    {"cluster", NULL, NULL},
    {"settings", take_settings, NULL},
    {"latency_in_micros", NULL, "latencies are in microseconds anyway"},
    {"prefix_routes", take_prefix_routes, NULL},
    {"request_mirror_policy", NULL, "nothing is mirrored"},
    {"downstream_auth_password", take_client_password, NULL},
    {"downstream_auth_passwords", take_client_password, NULL},
    {"downstream_auth_username", NULL, "users with names stand in auth.users"},
    {"external_auth_provider", NULL, "clients are asked for nothing by another server"},
    {"faults", NULL, "no faults are injected"},
    {"custom_commands", take_commands, NULL},
    {"protocol_version", take_protocol, NULL},
};

/* ---- all of it ---- */

static const struct draft_field ROOT[] = {
    {"node", NULL, NULL},
    {"static_resources", NULL, NULL},
    {"dynamic_resources", NULL, "only what stands in this file can be taken"},
    {"admin", NULL, "INFO and `sumcache nodes` say what there is to say"},
    {"cluster_manager", NULL, "there is nothing like it"},
    {"layered_runtime", NULL, "settings are not changed from outside"},
    {"runtime", NULL, "settings are not changed from outside"},
    {"stats_config", NULL, "INFO has the counters"},
    {"stats_sinks", NULL, "INFO has the counters"},
    {"stats_flush_interval", NULL, "counters are up to date whenever they are asked for"},
    {"overload_manager", NULL, "limits.memory bounds the memory of buffers"},
    {"watchdogs", NULL, "there is nothing like it"},
    {"bootstrap_extensions", NULL, "there is nothing like it"},
    {"default_socket_interface", NULL, "there is nothing like it"},
    {"typed_dns_resolver_config", NULL, "dns.servers names other servers"},
};

static const struct draft_field RESOURCES[] = {
    {"listeners", NULL, NULL},
    {"clusters", NULL, NULL},
    {"secrets", NULL, "passwords and keys stand in files of their own"},
};

static bool is_wanted(const struct draft *d, const struct filter *f)
{
    struct str wanted = str_of(d->wanted);
    return str_eq(draft_text(draft_get(d, f->config, "stat_prefix")), wanted) ||
           str_eq(draft_text(cluster_name_of(d, f->config)), wanted);
}

static const struct filter *choose(struct draft *d, const yaml_node_t *root,
                                   const struct filter *all, size_t count)
{
    char names[300] = "", shown[DRAFT_SHOWN_MAX];
    size_t len = 0;
    for (size_t i = 0; i < count && len + DRAFT_SHOWN_MAX + 3 < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
                                draft_show(draft_get(d, all[i].config, "stat_prefix"), shown));
    const struct filter *chosen = count == 1 && !d->wanted ? all : NULL;
    for (size_t i = 0; i < count && d->wanted && !chosen; i++)
        if (is_wanted(d, &all[i]))
            chosen = &all[i];
    if (count == 0)
        draft_refuse(d, root, "there is no redis_proxy filter in static_resources.listeners");
    else if (!chosen && d->wanted)
        draft_refuse(d, root, "no redis_proxy has that name, but %s", names);
    else if (!chosen)
        draft_refuse(d, root, "one sumcache is one cluster: choose one with --pool: %s", names);
    else if (count > 1)
        draft_note(d, root,
                   "other redis_proxy filters are passed over: start a sumcache for each of %s",
                   names);
    return chosen;
}

void envoy_read(struct draft *d, const yaml_node_t *root)
{
    struct filter all[FILTERS_MAX];
    char shown[DRAFT_SHOWN_MAX];
    const struct filter *f = choose(d, root, all, find_filters(d, root, all));
    if (!f)
        return;
    WALK(d, root, "the bootstrap", ROOT);
    WALK(d, draft_get(d, root, "static_resources"), "static_resources", RESOURCES);
    const yaml_node_t *name = cluster_name_of(d, f->config);
    const yaml_node_t *cluster = name ? find_cluster(d, root, draft_text(name)) : NULL;
    if (!cluster) {
        draft_refuse(d, name ? name : f->filter, "static_resources.clusters has no cluster '%s'",
                     draft_show(name, shown));
        return;
    }
    draft_set(d, "ring.hash_tags", "off"); /* Envoy's default */
    take_listener(d, f);
    WALK(d, f->config, "redis_proxy", REDIS_PROXY);
    envoy_take_cluster(d, cluster);
    if (!draft_get(d, cluster, "lb_policy"))
        draft_note(d, cluster,
                   "lb_policy: without one Envoy takes nodes in turn; keys are spread by Maglev");
    if (!d->failed)
        envoy_take_hosts(d, cluster);
}
