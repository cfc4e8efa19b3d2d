/* SPDX-License-Identifier: Apache-2.0 */
/* The tables are as those of envoy.c: what Envoy has in these blocks, in the order of its
 * documentation. */
#include "import/envoy_cluster.h"

#include "base/addr.h"
#include "base/must.h"
#include "base/nsec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HOSTS_MAX = 4096, WEIGHT_MAX = 256, TABLE_SIZE = 65537 };

/* What the cluster says of its hosts, before they are taken one by one. */
struct hosts {
    bool dns;     /* STRICT_DNS: each address of a name is a host */
    bool by_name; /* hashed by the host's name, without the port */
    bool heavy;   /* some weight is not 1 */
    size_t count;
};

bool envoy_ends_with(struct str s, const char *end)
{
    size_t len = strlen(end);
    return s.len >= len && memcmp(s.p + s.len - len, end, len) == 0;
}

bool envoy_read_address(const struct draft *d, const yaml_node_t *address, struct str *ret_host,
                        uint64_t *ret_port)
{
    const yaml_node_t *socket = draft_get(d, address, "socket_address");
    int64_t port;
    *ret_host = draft_text(draft_get(d, socket, "address"));
    if (ret_host->len == 0 ||
        str_to_i64(draft_text(draft_get(d, socket, "port_value")), &port) != 0 || port < 1 ||
        port > UINT16_MAX)
        return false;
    *ret_port = (uint64_t)port;
    return true;
}

bool envoy_write_place(struct str host, uint64_t port, char to[DRAFT_TEXT_MAX])
{
    struct str got;
    uint16_t got_port = 0;
    bool v6 = memchr(host.p, ':', host.len) != NULL;
    int len = snprintf(to, DRAFT_TEXT_MAX, v6 ? "[%.*s]:%u" : "%.*s:%u", (int)host.len, host.p,
                       (unsigned)port);
    return len < DRAFT_TEXT_MAX && addr_split_host_port(str_of(to), &got, &got_port) == 0 &&
           got_port == port;
}

/* ---- hosts ---- */

static struct str id_of(const struct draft *d, const yaml_node_t *endpoint, const struct hosts *h,
                        struct str host)
{
    const yaml_node_t *meta = draft_find(d, endpoint, "metadata.filter_metadata");
    const yaml_node_t *key = draft_get(d, draft_get(d, meta, "envoy.lb"), "hash_key");
    struct str name = draft_text(draft_find(d, endpoint, "endpoint.hostname"));
    if (key)
        return draft_text(key);
    if (h->by_name)
        return name.len > 0 ? name : host;
    return STR("");
}

/* `at`: for notes. `endpoint` NULL: an entry of the old `hosts`. */
static void take_host(struct draft *d, const yaml_node_t *at, const yaml_node_t *endpoint,
                      const yaml_node_t *address, struct hosts *h)
{
    char place[DRAFT_TEXT_MAX], weight[32] = "";
    struct str host;
    struct addr numeric;
    uint64_t port, load = 1;
    const yaml_node_t *heavy = draft_get(d, endpoint, "load_balancing_weight");
    if (++h->count > HOSTS_MAX) {
        draft_refuse(d, at, "more than %d hosts", HOSTS_MAX);
        return;
    }
    if (!envoy_read_address(d, address, &host, &port) || !envoy_write_place(host, port, place)) {
        draft_refuse(d, at, "a host: expected a socket_address with address and port_value");
        return;
    }
    if (heavy && !draft_number(d, heavy, UINT32_MAX, &load))
        return;
    if (load < 1 || load > WEIGHT_MAX) {
        draft_refuse(d, heavy, "load_balancing_weight: 1 to %d can be kept", WEIGHT_MAX);
        return;
    }
    struct str id = id_of(d, endpoint, h, host);
    if (h->dns && id.len == 0 && addr_parse(str_of(place), 0, &numeric) != 0) {
        if (load != 1)
            draft_note(d, heavy,
                       "load_balancing_weight: not kept: all addresses of a name weigh 1");
        draft_add(d, "nodes.dns", "%s", place);
        return;
    }
    if (load != 1)
        snprintf(weight, sizeof(weight), " weight=%" PRIu64, load);
    draft_add(d, "nodes.static", "%s%s%s%.*s", place, weight, id.len ? " name=" : "",
              (int)(id.len < 270 ? id.len : 270), id.p);
}

static void take_endpoint(struct draft *d, const yaml_node_t *endpoint, struct hosts *h)
{
    static const struct draft_field OUTER[] = {
        {"endpoint", NULL, NULL},
        {"metadata", NULL, NULL},
        {"load_balancing_weight", NULL, NULL},
        {"health_status", NULL, "a node's checks say how it is"},
        {"endpoint_name", NULL, "only hosts that stand in the file can be taken"},
    };
    static const struct draft_field INNER[] = {
        {"address", NULL, NULL},
        {"hostname", NULL, NULL},
        {"health_check_config", NULL, "a node is checked where it serves"},
        {"additional_addresses", NULL, "a node has one address at a time"},
    };
    WALK(d, endpoint, "lb_endpoints", OUTER);
    WALK(d, draft_get(d, endpoint, "endpoint"), "endpoint", INNER);
    take_host(d, endpoint, endpoint, draft_find(d, endpoint, "endpoint.address"), h);
}

static void take_assignment(struct draft *d, const yaml_node_t *assignment, struct hosts *h)
{
    static const struct draft_field FIELDS[] = {
        {"cluster_name", NULL, NULL},
        {"endpoints", NULL, NULL},
        {"policy", NULL, "nothing of it has a counterpart"},
    };
    static const struct draft_field GROUP[] = {
        {"lb_endpoints", NULL, NULL},
        {"locality", NULL, "all nodes are alike, wherever they are"},
        {"load_balancing_weight", NULL, "weights are those of single nodes"},
        {"priority", NULL, "all nodes are used at once"},
    };
    const yaml_node_t *groups = draft_get(d, assignment, "endpoints"), *group, *one;
    WALK(d, assignment, "load_assignment", FIELDS);
    for (size_t i = 0; !d->failed && i < HOSTS_MAX && (group = draft_item_of(d, groups, i)); i++) {
        WALK(d, group, "endpoints", GROUP);
        const yaml_node_t *list = draft_get(d, group, "lb_endpoints");
        for (size_t k = 0; !d->failed && (one = draft_item_of(d, list, k)); k++)
            take_endpoint(d, one, h);
    }
}

void envoy_take_hosts(struct draft *d, const yaml_node_t *cluster)
{
    struct str type = draft_text(draft_get(d, cluster, "type"));
    const yaml_node_t *lb = draft_find(d, cluster, "common_lb_config.consistent_hashing_lb_config");
    const yaml_node_t *old = draft_get(d, cluster, "hosts"), *one;
    struct hosts h = {
        .dns = str_eq_nocase(type, STR("STRICT_DNS")),
        .by_name = draft_is_true(draft_get(d, lb, "use_hostname_for_hashing")),
    };
    take_assignment(d, draft_get(d, cluster, "load_assignment"), &h);
    for (size_t i = 0; !d->failed && (one = draft_item_of(d, old, i)); i++)
        take_host(d, one, NULL, one, &h);
    if (h.by_name && h.dns)
        draft_note(d, draft_get(d, lb, "use_hostname_for_hashing"),
                   "use_hostname_for_hashing: kept: each name is one node, with its first address");
    if (h.count == 0)
        draft_refuse(d, cluster, "the cluster has no hosts in this file");
}

/* ---- the cluster ---- */

static void take_type(struct draft *d, const yaml_node_t *value)
{
    struct str type = draft_text(value);
    char shown[DRAFT_SHOWN_MAX];
    if (str_eq_nocase(type, STR("EDS")) || str_eq_nocase(type, STR("ORIGINAL_DST")))
        draft_refuse(d, value,
                     "type: %s: hosts come from elsewhere, and not from this file; name them "
                     "(nodes.static, nodes.dns, nodes.srv)",
                     draft_show(value, shown));
}

static void take_policy(struct draft *d, const yaml_node_t *value)
{
    char shown[DRAFT_SHOWN_MAX];
    struct str policy = draft_text(value);
    draft_show(value, shown);
    if (str_eq_nocase(policy, STR("MAGLEV")))
        return;
    if (str_eq_nocase(policy, STR("RING_HASH")))
        draft_note(d, value,
                   "lb_policy: RING_HASH is not kept: keys are spread by Maglev, so most of them "
                   "are missed once, on the first day");
    else
        draft_note(d, value,
                   "lb_policy: %s is not kept: keys are spread by Maglev, so each has one node",
                   shown);
}

static void take_connect_timeout(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "timeouts.connect", ns, NSEC_MS, 60 * NSEC_S);
}

static void take_table_size(struct draft *d, const yaml_node_t *value)
{
    uint64_t size;
    if (draft_number(d, value, UINT32_MAX, &size) && size != TABLE_SIZE)
        draft_note(d, value, "table_size: not kept: it is %d here, so most keys are missed once",
                   TABLE_SIZE);
}

static void take_maglev(struct draft *d, const yaml_node_t *value)
{
    static const struct draft_field FIELDS[] = {
        {"table_size", take_table_size, NULL},
        {"consistent_hashing_lb_config", NULL, "only what stands in common_lb_config is looked at"},
    };
    WALK(d, value, "maglev_lb_config", FIELDS);
}

static void take_panic(struct draft *d, const yaml_node_t *value)
{
    struct str text = draft_text(draft_get(d, value, "value"));
    const char *dot = text.len ? memchr(text.p, '.', text.len) : NULL;
    int64_t percent;
    if (dot)
        text.len = (size_t)(dot - text.p);
    if (str_to_i64(text, &percent) != 0 || percent < 0 || percent > 100) {
        draft_note(d, value, "healthy_panic_threshold: not kept: expected a value from 0 to 100");
        return;
    }
    /* Where outliers have a limit of their own, that is the nearer one. */
    if (draft_count(d, "health.max_ejected") == 0)
        draft_set(d, "health.max_ejected", "%d", (int)(percent < 100 ? 100 - percent : 1));
    draft_note(
        d, value,
        "healthy_panic_threshold: kept as health.max_ejected, unless outlier_detection has a "
        "max_ejection_percent; nodes that refuse connections are out whatever their number");
}

static void take_common_lb(struct draft *d, const yaml_node_t *value)
{
    static const struct draft_field HASHING[] = {
        {"use_hostname_for_hashing", NULL, NULL},
        {"hash_balance_factor", NULL, "a key has one node, however busy"},
    };
    static const struct draft_field FIELDS[] = {
        {"healthy_panic_threshold", take_panic, NULL},
        {"consistent_hashing_lb_config", NULL, NULL},
        {"zone_aware_lb_config", NULL, "all nodes are alike, wherever they are"},
        {"locality_weighted_lb_config", NULL, "all nodes are alike, wherever they are"},
        {"update_merge_window", NULL, "a change is acted on at once"},
        {"ignore_new_hosts_until_first_hc", NULL, "a new node is used at once"},
        {"close_connections_on_host_set_change", NULL, "connections to nodes that stay are kept"},
    };
    WALK(d, value, "common_lb_config", FIELDS);
    WALK(d, draft_get(d, value, "consistent_hashing_lb_config"), "consistent_hashing_lb_config",
         HASHING);
}

static void take_family(struct draft *d, const yaml_node_t *value)
{
    struct str family = draft_text(value);
    char shown[DRAFT_SHOWN_MAX];
    if (str_eq_nocase(family, STR("V4_ONLY")))
        draft_set(d, "nodes.family", "v4");
    else if (str_eq_nocase(family, STR("V6_ONLY")))
        draft_set(d, "nodes.family", "v6");
    else if (!str_eq_nocase(family, STR("V4_PREFERRED")))
        draft_note(d, value,
                   "dns_lookup_family: %s is not kept: IPv4 where a name has any, else IPv6 "
                   "(nodes.family: auto)",
                   draft_show(value, shown));
}

static void take_refresh(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (!draft_seconds(d, value, &ns))
        return;
    draft_set_duration(d, value, "dns.refresh", ns, 10 * NSEC_MS, 3600 * NSEC_S);
    draft_set_duration(d, value, "dns.max_refresh", ns, NSEC_S, 3600 * NSEC_S);
    draft_note(d, value,
               "dns_refresh_rate: kept as dns.refresh and dns.max_refresh; a shorter TTL of an "
               "answer counts");
}

static void take_failure_rate(struct draft *d, const yaml_node_t *value)
{
    uint64_t base = 0, most = 0;
    const yaml_node_t *first = draft_get(d, value, "base_interval"),
                      *last = draft_get(d, value, "max_interval");
    if (!first || !draft_seconds(d, first, &base))
        return;
    if (!last || !draft_seconds(d, last, &most))
        most = base * 10; /* Envoy's own rule */
    draft_set_duration(d, value, "dns.retry_min", base, 10 * NSEC_MS, 3600 * NSEC_S);
    draft_set_duration(d, value, "dns.retry_max", most > base ? most : base, 10 * NSEC_MS,
                       3600 * NSEC_S);
}

static void take_resolvers(struct draft *d, const yaml_node_t *value)
{
    char place[DRAFT_TEXT_MAX];
    const yaml_node_t *one;
    struct str host;
    uint64_t port;
    struct addr a;
    for (size_t i = 0; i < 8 && (one = draft_item_of(d, value, i)); i++) {
        if (envoy_read_address(d, one, &host, &port) && envoy_write_place(host, port, place) &&
            addr_parse(str_of(place), 0, &a) == 0)
            draft_add(d, "dns.servers", "%s", place);
        else
            draft_note(d, one,
                       "dns_resolvers: not kept: expected a socket_address with an IP address");
    }
}

static void take_ignore_health(struct draft *d, const yaml_node_t *value)
{
    if (draft_is_true(value))
        draft_set(d, "nodes.grace", "0");
}

/* ---- health ---- */

static void take_interval(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "health.interval", ns, 10 * NSEC_MS, 600 * NSEC_S);
}

static void take_unhealthy_interval(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "health.interval_out", ns, 10 * NSEC_MS, 600 * NSEC_S);
}

static void take_check_timeout(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "health.timeout", ns, NSEC_MS, 60 * NSEC_S);
}

static void take_count(struct draft *d, const yaml_node_t *value, const char *setting, uint64_t max)
{
    uint64_t count;
    if (draft_number(d, value, UINT32_MAX, &count))
        draft_set(d, setting, "%" PRIu64, count < 1 ? 1 : count > max ? max : count);
}

static void take_unhealthy(struct draft *d, const yaml_node_t *value)
{
    take_count(d, value, "health.unhealthy", 1000);
}

static void take_healthy(struct draft *d, const yaml_node_t *value)
{
    take_count(d, value, "health.healthy", 1000);
}

static void take_checker(struct draft *d, const yaml_node_t *value)
{
    const yaml_node_t *key = draft_find(d, value, "typed_config.key");
    if (!key)
        key = draft_find(d, value, "config.key");
    if (key)
        draft_note(d, key,
                   "key: not kept: nodes are checked by PING, and no key takes one out of service");
    if (!envoy_ends_with(draft_text(draft_get(d, value, "name")), "redis"))
        draft_note(d, value, "custom_health_checker: not kept: nodes are checked by PING");
}

static const struct draft_field HEALTH_CHECK[] = {
    {"timeout", take_check_timeout, NULL},
    {"interval", take_interval, NULL},
    {"initial_jitter", NULL, "the first check of a node is at once"},
    {"interval_jitter", NULL, "checks are spread by a quarter of their interval anyway"},
    {"interval_jitter_percent", NULL, "checks are spread by a quarter of their interval anyway"},
    {"unhealthy_threshold", take_unhealthy, NULL},
    {"healthy_threshold", take_healthy, NULL},
    {"reuse_connection", NULL, "a node's checks have one connection"},
    {"custom_health_checker", take_checker, NULL},
    {"tcp_health_check", NULL, "nodes are checked by PING"},
    {"http_health_check", NULL, "nodes are checked by PING"},
    {"no_traffic_interval", NULL, "checks come as often without traffic"},
    {"no_traffic_healthy_interval", NULL, "checks come as often without traffic"},
    {"unhealthy_interval", take_unhealthy_interval, NULL},
    {"unhealthy_edge_interval", NULL,
     "health.interval_out is between all checks of a node that is out"},
    {"healthy_edge_interval", NULL,
     "health.interval_out is between all checks of a node that is out"},
    {"event_log_path", NULL, "the log has node-ejected and node-admitted"},
    {"event_logger", NULL, "the log has node-ejected and node-admitted"},
    {"always_log_health_check_failures", NULL, "the log has node-ejected and node-admitted"},
    {"tls_options", NULL, "checks are as requests are"},
};

static void take_checks(struct draft *d, const yaml_node_t *value)
{
    const yaml_node_t *second =
        value->type == YAML_SEQUENCE_NODE ? draft_item_of(d, value, 1) : NULL;
    if (second)
        draft_note(d, second, "health_checks: not kept: a node has one kind of check");
    WALK(d, draft_item_of(d, value, 0), "health_checks", HEALTH_CHECK);
}

static void take_consecutive(struct draft *d, const yaml_node_t *value)
{
    take_count(d, value, "health.eject_misses", 1000000);
}

static void take_base_ejection(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "health.hold_min", ns, 0, 3600 * NSEC_S);
}

static void take_max_ejection(struct draft *d, const yaml_node_t *value)
{
    uint64_t ns;
    if (draft_seconds(d, value, &ns))
        draft_set_duration(d, value, "health.hold_max", ns, 0, 3600 * NSEC_S);
}

static void take_max_percent(struct draft *d, const yaml_node_t *value)
{
    take_count(d, value, "health.max_ejected", 100);
}

static void take_outliers(struct draft *d, const yaml_node_t *value)
{
    static const char RATES[] = "nodes are ejected for silence and refusals, not by comparison";
    static const struct draft_field FIELDS[] = {
        {"consecutive_5xx", take_consecutive, NULL},
        {"consecutive_gateway_failure", NULL,
         "health.eject_misses counts deadlines that were missed"},
        {"consecutive_local_origin_failure", take_consecutive, NULL},
        {"interval", NULL, "a node is ejected as soon as health.eject_after is over"},
        {"base_ejection_time", take_base_ejection, NULL},
        {"max_ejection_time", take_max_ejection, NULL},
        {"max_ejection_percent", take_max_percent, NULL},
        {"max_ejection_time_jitter", NULL, "a node comes back when its checks are good"},
        {"enforcing_consecutive_5xx", NULL, "ejection is always enforced"},
        {"enforcing_consecutive_gateway_failure", NULL, "ejection is always enforced"},
        {"enforcing_consecutive_local_origin_failure", NULL, "ejection is always enforced"},
        {"split_external_local_origin_errors", NULL, "silence and refusals are told apart anyway"},
        {"enforcing_success_rate", NULL, RATES},
        {"success_rate_minimum_hosts", NULL, RATES},
        {"success_rate_request_volume", NULL, RATES},
        {"success_rate_stdev_factor", NULL, RATES},
        {"enforcing_local_origin_success_rate", NULL, RATES},
        {"failure_percentage_threshold", NULL, RATES},
        {"enforcing_failure_percentage", NULL, RATES},
        {"enforcing_failure_percentage_local_origin", NULL, RATES},
        {"failure_percentage_minimum_hosts", NULL, RATES},
        {"failure_percentage_request_volume", NULL, RATES},
        {"successful_active_health_check_uneject_host", NULL,
         "a node comes back when its checks are good"},
    };
    WALK(d, value, "outlier_detection", FIELDS);
}

/* ---- who we are at the nodes, and the rest of the cluster ---- */

static void take_password(struct draft *d, const yaml_node_t *value)
{
    const yaml_node_t *file = draft_get(d, value, "filename");
    struct str path = draft_text(file);
    if (path.len > 0) {
        draft_set(d, "nodes.password_file", "%.*s", (int)(path.len < 500 ? path.len : 500), path.p);
        return;
    }
    draft_set(d, "nodes.password_file", "sumcache.password");
    draft_note(d, value,
               "auth_password: write the password into the file sumcache.password "
               "(nodes.password_file): passwords do not stand in settings");
}

static void take_user(struct draft *d, const yaml_node_t *value)
{
    struct str user = draft_text(value);
    const yaml_node_t *inline_text = draft_get(d, value, "inline_string");
    if (inline_text)
        user = draft_text(inline_text);
    if (user.len > 0)
        draft_set(d, "nodes.user", "%.*s", (int)(user.len < 200 ? user.len : 200), user.p);
    else
        draft_note(d, value, "auth_username: not kept: write the user into nodes.user");
}

static void take_protocol_options(struct draft *d, const yaml_node_t *value)
{
    static const struct draft_field FIELDS[] = {
        {"@type", NULL, NULL},
        {"auth_password", take_password, NULL},
        {"auth_username", take_user, NULL},
        {"credentials", NULL, "all nodes have one user and password"},
        {"aws_iam", NULL, "nodes are asked by user and password only"},
    };
    yaml_node_pair_t *pair =
        value->type == YAML_MAPPING_NODE ? value->data.mapping.pairs.start : NULL;
    for (; pair && pair < value->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(d->doc, pair->key);
        char shown[DRAFT_SHOWN_MAX];
        if (envoy_ends_with(draft_text(key), "redis_proxy"))
            WALK(d, yaml_document_get_node(d->doc, pair->value), "the options of redis_proxy",
                 FIELDS);
        else
            draft_note(d, key, "unknown key '%s' in typed_extension_protocol_options: not kept",
                       draft_show(key, shown));
    }
}

static void take_connection_options(struct draft *d, const yaml_node_t *value)
{
    const yaml_node_t *seconds = draft_find(d, value, "tcp_keepalive.keepalive_time");
    uint64_t s;
    if (seconds && draft_number(d, seconds, UINT32_MAX, &s))
        draft_set_duration(d, seconds, "timeouts.tcp_keepalive", s * NSEC_S, NSEC_S,
                           9 * 3600 * NSEC_S);
    else
        draft_note(d, value,
                   "upstream_connection_options: not kept: timeouts.tcp_keepalive and "
                   "timeouts.tcp_user are what can be set");
}

static void take_cluster_type(struct draft *d, const yaml_node_t *value)
{
    draft_refuse(d, value,
                 "cluster_type: a Redis Cluster knows itself where keys are; sumcache is for "
                 "nodes that do not know of each other");
}

static const struct draft_field CLUSTER[] = {
    {"name", NULL, NULL},
    {"alt_stat_name", NULL, NULL},
    {"type", take_type, NULL},
    {"cluster_type", take_cluster_type, NULL},
    {"connect_timeout", take_connect_timeout, NULL},
    {"per_connection_buffer_limit_bytes", NULL,
     "limits.node_bytes and limits.memory bound what is kept"},
    {"lb_policy", take_policy, NULL},
    {"load_balancing_policy", NULL,
     "keys are spread by Maglev; the list of policies is not looked at"},
    {"load_assignment", NULL, NULL}, /* both taken by hand, when it is known how they count */
    {"hosts", NULL, NULL},
    {"health_checks", take_checks, NULL},
    {"circuit_breakers", NULL,
     "Envoy's redis_proxy does not heed them; limits.node_requests and "
     "limits.node_bytes do what they should"},
    {"typed_extension_protocol_options", take_protocol_options, NULL},
    {"dns_refresh_rate", take_refresh, NULL},
    {"dns_jitter", NULL, "names are asked for up to a tenth earlier or later anyway"},
    {"dns_failure_refresh_rate", take_failure_rate, NULL},
    {"respect_dns_ttl", NULL, "TTLs count, between dns.min_refresh and dns.max_refresh"},
    {"dns_lookup_family", take_family, NULL},
    {"dns_resolvers", take_resolvers, NULL},
    {"use_tcp_for_dns_lookups", NULL, "TCP is used when an answer does not fit into UDP"},
    {"dns_resolution_config", NULL, "dns.servers names other servers"},
    {"typed_dns_resolver_config", NULL, "dns.servers names other servers"},
    {"wait_for_warm_on_init", NULL, "nothing waits for nodes or DNS"},
    {"outlier_detection", take_outliers, NULL},
    {"cleanup_interval", NULL, "nothing is left to be cleaned up"},
    {"upstream_bind_config", NULL, "the system chooses the address"},
    {"ring_hash_lb_config", NULL, "keys are spread by Maglev"},
    {"maglev_lb_config", take_maglev, NULL},
    {"common_lb_config", take_common_lb, NULL},
    {"transport_socket", NULL, "the certificates for nodes are not taken over"},
    {"tls_context", NULL, "the certificates for nodes are not taken over"},
    {"metadata", NULL, NULL},
    {"upstream_connection_options", take_connection_options, NULL},
    {"close_connections_on_host_health_failure", NULL,
     "connections to a node that is ejected are closed anyway"},
    {"ignore_health_on_host_removal", take_ignore_health, NULL},
    {"track_cluster_stats", NULL, "INFO has the counters"},
    {"preconnect_policy", NULL, "connections to nodes are made when first needed"},
};

void envoy_take_cluster(struct draft *d, const yaml_node_t *cluster)
{
    WALK(d, cluster, "the cluster", CLUSTER);
}
