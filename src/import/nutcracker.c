/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys stay where they are: the same circle (or modulo), the same hash, the servers by their names.
 * What twemproxy does by default and the file does not say counts as well.
 */
#include "import/nutcracker.h"

#include "base/addr.h"
#include "base/must.h"
#include "base/nsec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
    WEIGHT_MAX = 256, /* of a node here */
    SERVERS_MAX = 4096,
    BARE_PORT = 11211, /* a server at this port is placed by its host alone */
};

static bool is_blank(const yaml_node_t *value)
{
    return draft_text(value).len == 0;
}

/* "/PATH" or "/PATH MODE"; 0777, as twemproxy leaves it, if nothing is said. */
static void take_socket(struct draft *d, const yaml_node_t *value, struct str text)
{
    const char *space = memchr(text.p, ' ', text.len);
    struct str path = {text.p, space ? (size_t)(space - text.p) : text.len};
    struct str mode = STR("0777");
    char shown[DRAFT_SHOWN_MAX];
    if (space)
        mode = (struct str){space + 1, text.len - path.len - 1};
    if (mode.len == 4 && mode.p[0] == '0' && strspn(mode.p, "01234567") >= 4)
        draft_add(d, "listen", "unix:%.*s mode=%.4s", (int)path.len, path.p, mode.p);
    else
        draft_note(d, value, "listen: not kept: expected /PATH or /PATH MODE, not '%s'",
                   draft_show(value, shown));
}

static void take_listen(struct draft *d, const yaml_node_t *value)
{
    struct str text = draft_text(value), host;
    struct addr a;
    uint16_t port = 0;
    char shown[DRAFT_SHOWN_MAX];
    if (text.len > 0 && text.p[0] == '/') {
        take_socket(d, value, text);
    } else if (addr_parse(text, 0, &a) == 0 && a.port > 0) {
        draft_add(d, "listen", "%s", addr_print(&a, (char[ADDR_TEXT_MAX]){0}));
    } else if (addr_split_host_port(text, &host, &port) == 0 && port > 0) {
        draft_add(d, "listen", "127.0.0.1:%u", (unsigned)port);
        if (!str_eq(host, STR("localhost")))
            draft_note(
                d, value,
                "listen: '%s' is a name, and listen takes addresses: it is 127.0.0.1:%u; write "
                "in the address that others reach",
                draft_show(value, shown), (unsigned)port);
    } else {
        draft_note(d, value, "listen: not kept: expected HOST:PORT, not '%s'",
                   draft_show(value, shown));
    }
}

static void take_hash(struct draft *d, const yaml_node_t *value)
{
    static const char *const NAMES[] = {"one_at_a_time", "md5",     "crc16",    "crc32",
                                        "crc32a",        "fnv1_64", "fnv1a_64", "fnv1_32",
                                        "fnv1a_32",      "hsieh",   "murmur",   "jenkins"};
    char shown[DRAFT_SHOWN_MAX];
    for (size_t i = 0; i < COUNT(NAMES); i++)
        if (str_eq(draft_text(value), str_of(NAMES[i]))) {
            draft_set(d, "ring.hash", "%s", NAMES[i]);
            return;
        }
    draft_refuse(d, value, "hash: '%s' is not known here, so no key would be found where it is",
                 draft_show(value, shown));
}

static void take_hash_tag(struct draft *d, const yaml_node_t *value)
{
    char shown[DRAFT_SHOWN_MAX];
    if (str_eq(draft_text(value), STR("{}")))
        draft_set(d, "ring.hash_tags", "on");
    else if (!is_blank(value))
        draft_note(d, value,
                   "hash_tag: not kept: only {} is known here, not '%s'; keys with such tags are "
                   "missed once",
                   draft_show(value, shown));
}

static void take_distribution(struct draft *d, const yaml_node_t *value)
{
    char shown[DRAFT_SHOWN_MAX];
    struct str text = draft_text(value);
    if (str_eq(text, STR("ketama")) || str_eq(text, STR("modula")))
        draft_set(d, "ring.kind", "%s", str_eq(text, STR("ketama")) ? "ketama" : "modula");
    else
        draft_refuse(
            d, value,
            "distribution: '%s' does not say where a key is, and a cache has to know; ketama "
            "and modula can be kept",
            draft_show(value, shown));
}

static void take_timeout(struct draft *d, const yaml_node_t *value)
{
    uint64_t ms;
    if (!draft_number(d, value, INT32_MAX, &ms))
        return;
    if (ms == 0) {
        draft_note(d, value, "timeout: not kept: 0; a request is given up after 100ms");
        return;
    }
    draft_set_duration(d, value, "timeouts.request", ms * NSEC_MS, NSEC_MS, 60 * NSEC_S);
}

static void take_clients(struct draft *d, const yaml_node_t *value)
{
    uint64_t count;
    if (draft_number(d, value, 1000000, &count) && count > 0)
        draft_set(d, "limits.clients", "%" PRIu64, count);
}

static void take_keepalive(struct draft *d, const yaml_node_t *value)
{
    draft_set(d, "timeouts.tcp_keepalive", draft_is_true(value) ? "60s" : "0");
}

static void take_redis(struct draft *d, const yaml_node_t *value)
{
    if (!draft_is_true(value))
        draft_refuse(d, value,
                     "redis: the pool speaks memcached's protocol; there is only Redis's "
                     "here");
}

static void take_auth(struct draft *d, const yaml_node_t *value)
{
    if (is_blank(value))
        return;
    draft_set(d, "nodes.password_file", "sumcache.password");
    draft_set(d, "auth.password_file", "sumcache.password");
    draft_note(d, value,
               "redis_auth: write the password into the file sumcache.password: passwords do not "
               "stand in settings. It is for the nodes (nodes.password_file), and clients have to "
               "send it (auth.password_file)");
}

static void take_db(struct draft *d, const yaml_node_t *value)
{
    uint64_t db;
    if (draft_number(d, value, INT32_MAX, &db) && db > 0)
        draft_note(d, value,
                   "redis_db: not kept: clients begin in database 0, so they do not find keys of "
                   "database %" PRIu64 " unless they SELECT it (databases)",
                   db);
}

static void take_eject(struct draft *d, const yaml_node_t *value)
{
    if (!draft_is_true(value))
        draft_note(d, value,
                   "auto_eject_hosts: not kept: a node that fails is always ejected here, "
                   "and its keys are misses at the others meanwhile; nothing old is read "
                   "when it is back (health.on_return)");
}

static void take_retry(struct draft *d, const yaml_node_t *value)
{
    uint64_t ms;
    if (!draft_number(d, value, INT32_MAX, &ms))
        return;
    draft_set_duration(d, value, "health.hold_min", ms * NSEC_MS, 0, 60 * 60 * NSEC_S);
    if (ms > 60000)
        draft_set_duration(d, value, "health.hold_max", ms * NSEC_MS, 0, 60 * 60 * NSEC_S);
    draft_note(d, value,
               "server_retry_timeout: kept as health.hold_min; its default, 1s, is enough "
               "here, for a node is checked before it comes back");
}

static void take_failures(struct draft *d, const yaml_node_t *value)
{
    uint64_t count;
    if (!draft_number(d, value, INT32_MAX, &count))
        return;
    if (count < 1 || count > 1000000)
        count = count < 1 ? 1 : 1000000;
    draft_set(d, "health.eject_misses", "%" PRIu64, count);
    draft_note(d, value,
               "server_failure_limit: kept as health.eject_misses; a node must also have "
               "given no byte for health.eject_after, and a refused connection ejects at "
               "once");
}

/* ---- servers ---- */

struct server {
    struct str place; /* "host:port" */
    struct str id;
    uint64_t weight;
    const yaml_node_t *at;
};

struct servers {
    struct server *all; /* owned */
    size_t count;
};

/* "host:port:weight", and perhaps a name behind a blank. */
static bool read_server(const yaml_node_t *value, struct server *ret)
{
    struct str text = draft_text(value), host;
    struct server s = {.at = value};
    uint16_t port;
    const char *blank = text.len ? memrchr(text.p, ' ', text.len) : NULL;
    if (blank) {
        s.id = (struct str){blank + 1, (size_t)(text.p + text.len - blank) - 1};
        text.len = (size_t)(blank - text.p);
        if (s.id.len == 0)
            return false;
    }
    const char *colon = text.len ? memrchr(text.p, ':', text.len) : NULL;
    int64_t weight;
    if (!colon || colon == text.p)
        return false;
    struct str digits = {colon + 1, (size_t)(text.p + text.len - colon) - 1};
    if (str_to_i64(digits, &weight) != 0 || weight < 1 || weight > INT32_MAX)
        return false;
    s.weight = (uint64_t)weight;
    s.place = (struct str){text.p, (size_t)(colon - text.p)};
    if (addr_split_host_port(s.place, &host, &port) != 0 || port == 0)
        return false;
    if (s.id.len == 0 && port == BARE_PORT)
        s.id = host;
    *ret = s;
    return true;
}

static bool read_servers(struct draft *d, const yaml_node_t *list, struct servers *ret)
{
    char shown[DRAFT_SHOWN_MAX];
    const yaml_node_t *item;
    for (size_t i = 0; (item = draft_item_of(d, list, i)); i++) {
        if (i == SERVERS_MAX) {
            draft_refuse(d, item, "servers: more than %d", SERVERS_MAX);
            return false;
        }
        if (!read_server(item, &ret->all[ret->count++])) {
            draft_refuse(d, item, "servers: expected HOST:PORT:WEIGHT [NAME], not '%s'",
                         draft_show(item, shown));
            return false;
        }
    }
    if (ret->count == 0)
        draft_refuse(d, list, "servers: there is none");
    return ret->count > 0;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b > 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* To ketama only their proportion matters. To modula each counts as it is. */
static bool fit_weights(struct draft *d, struct servers *s, bool ketama)
{
    uint64_t largest = 0, divisor = 0;
    for (size_t i = 0; i < s->count; i++) {
        divisor = common_divisor(divisor, s->all[i].weight);
        if (s->all[i].weight > largest)
            largest = s->all[i].weight;
    }
    if (largest <= WEIGHT_MAX)
        return true;
    if (!ketama || largest / divisor > WEIGHT_MAX) {
        draft_refuse(d, s->all[0].at, "servers: weights above %d cannot be kept%s", WEIGHT_MAX,
                     ketama ? ", nor their proportions" : "");
        return false;
    }
    for (size_t i = 0; i < s->count; i++)
        s->all[i].weight /= divisor;
    draft_note(d, s->all[0].at, "servers: weights are divided by %" PRIu64 ", which moves no key",
               divisor);
    return true;
}

static void take_servers(struct draft *d, const yaml_node_t *value, bool ketama)
{
    struct servers s = {.all = calloc(SERVERS_MAX, sizeof(*s.all))};
    if (!s.all)
        d->no_memory = true;
    else if (read_servers(d, value, &s) && fit_weights(d, &s, ketama))
        for (size_t i = 0; i < s.count; i++) {
            char weight[32] = "";
            const struct server *one = &s.all[i];
            if (one->weight != 1)
                snprintf(weight, sizeof(weight), " weight=%" PRIu64, one->weight);
            draft_add(d, "nodes.static", "%.*s%s%s%.*s", (int)one->place.len, one->place.p, weight,
                      one->id.len ? " name=" : "", (int)one->id.len, one->id.p);
        }
    free(s.all);
}

/* `servers` is taken by hand, behind what says how they are placed. */
static const struct draft_field FIELDS[] = {
    {"listen", take_listen, NULL},
    {"hash", take_hash, NULL},
    {"hash_tag", take_hash_tag, NULL},
    {"distribution", take_distribution, NULL},
    {"timeout", take_timeout, NULL},
    {"backlog", NULL, "as many connections wait to be accepted as the system allows"},
    {"client_connections", take_clients, NULL},
    {"tcpkeepalive", take_keepalive, NULL},
    {"redis", take_redis, NULL},
    {"redis_auth", take_auth, NULL},
    {"redis_db", take_db, NULL},
    {"preconnect", NULL,
     "connections to nodes are made when first needed, and nothing waits for them"},
    {"auto_eject_hosts", take_eject, NULL},
    {"server_connections", NULL,
     "each worker has one connection to a node for small requests and up to "
     "limits.bulk_max for large values"},
    {"server_retry_timeout", take_retry, NULL},
    {"server_failure_limit", take_failures, NULL},
    {"reuse_port", NULL, "each worker has a listener of its own (SO_REUSEPORT)"},
    {"servers", NULL, NULL},
};

static void read_pool(struct draft *d, const yaml_node_t *pool)
{
    draft_set(d, "ring.kind", "ketama");
    draft_set(d, "ring.hash", "fnv1a_64");
    draft_set(d, "ring.hash_tags", "off");
    draft_walk(d, pool, "a pool", FIELDS, COUNT(FIELDS));
    if (!draft_get(d, pool, "redis"))
        draft_refuse(d, pool, "redis: true is missing, so the pool speaks memcached's protocol");
    if (!draft_get(d, pool, "timeout"))
        draft_note(d, pool,
                   "timeout: there is none in the pool, so twemproxy waits for ever; here a "
                   "request is given up after 100ms (timeouts.request)");
    const yaml_node_t *kind = draft_get(d, pool, "distribution");
    const yaml_node_t *servers = draft_get(d, pool, "servers");
    if (!servers)
        draft_refuse(d, pool, "servers: there is none");
    else if (!d->failed)
        take_servers(d, servers, !kind || str_eq(draft_text(kind), STR("ketama")));
}

/* "a, b, c": the names of the pools, as far as they fit. */
static void list_pools(const struct draft *d, const yaml_node_t *root, char *to, size_t size)
{
    char shown[DRAFT_SHOWN_MAX];
    size_t len = 0;
    to[0] = '\0';
    yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top && len + DRAFT_SHOWN_MAX + 3 < size; pair++)
        len += (size_t)snprintf(to + len, size - len, "%s%s", len ? ", " : "",
                                draft_show(yaml_document_get_node(d->doc, pair->key), shown));
}

void nutcracker_read(struct draft *d, const yaml_node_t *root)
{
    char pools[300];
    const yaml_node_t *chosen = NULL;
    yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    size_t count = (size_t)(root->data.mapping.pairs.top - pair);
    list_pools(d, root, pools, sizeof(pools));
    for (; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(d->doc, pair->key);
        if (d->wanted ? str_eq(draft_text(key), str_of(d->wanted)) : count == 1)
            chosen = yaml_document_get_node(d->doc, pair->value);
    }
    if (!chosen && d->wanted)
        draft_refuse(d, root, "there is no pool of that name, but %s", pools);
    else if (!chosen)
        draft_refuse(d, root, "one sumcache is one pool: choose one with --pool: %s", pools);
    else if (chosen->type != YAML_MAPPING_NODE)
        draft_refuse(d, chosen, "expected an Envoy bootstrap or the pools of a nutcracker.yml");
    if (d->failed)
        return;
    if (count > 1)
        draft_note(d, root, "other pools are passed over: start a sumcache for each of %s", pools);
    read_pool(d, chosen);
}
