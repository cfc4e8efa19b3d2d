/* SPDX-License-Identifier: Apache-2.0 */
/* How an item of each kind of list is read. */
#include "base/must.h"
#include "cluster/discovery.h"
#include "daemon/config_members.h"
#include "daemon/config_node.h"
#include "daemon/config_policy.h"
#include "daemon/config_users.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_SOCKET_MODE = 0700 }; /* unless given: whoever runs us */

/* "unix:/PATH" or "unix:/PATH mode=0770". */
static int add_socket(const struct config_row *row, struct config *c, struct str value,
                      char error[CONFIG_ERROR_MAX])
{
    static const char BEGIN[] = "unix:", MODE[] = " mode=";
    struct str path = {value.p + sizeof(BEGIN) - 1, value.len - (sizeof(BEGIN) - 1)};
    const char *blank = path.len > 0 ? memchr(path.p, ' ', path.len) : NULL;
    size_t path_len = blank ? (size_t)(blank - path.p) : path.len;
    struct str mode = {path.p + path_len, path.len - path_len};
    uint32_t bits = blank ? 0 : CONFIG_SOCKET_MODE;
    path.len = path_len;
    bool good = path.len > 1 && path.len < CONFIG_SOCKET_MAX && path.p[0] == '/' &&
                !memchr(path.p, '"', path.len) && !memchr(path.p, '\\', path.len);
    if (good && blank) {
        size_t begin = sizeof(MODE) - 1;
        good = mode.len > begin && mode.len <= begin + 4 && memcmp(mode.p, MODE, begin) == 0;
        for (size_t i = begin; good && i < mode.len; i++) {
            good = mode.p[i] >= '0' && mode.p[i] <= '7';
            bits = bits * 8 + (uint32_t)(mode.p[i] - '0');
        }
        good = good && bits <= 0777;
    }
    if (!good)
        return config_row_refuse(row, value, error,
                                 "expected unix:/PATH [mode=0770], the path at most %d bytes",
                                 CONFIG_SOCKET_MAX - 1);
    uint32_t at = c->listen_count;
    if (at == CONFIG_LISTEN_MAX)
        return config_row_refuse(row, value, error, "expected at most %d addresses",
                                 CONFIG_LISTEN_MAX);
    for (uint32_t i = 0; i < at; i++)
        if (c->listen[i].family == ADDR_UNIX && str_eq(str_of(c->sockets[i].path), path))
            return config_row_refuse(row, value, error, "expected a path that is not listed twice");
    str_fill(c->sockets[at].path, CONFIG_SOCKET_MAX, path);
    c->sockets[at].mode = bits;
    c->listen_tls[at] = false;
    c->listen[c->listen_count++] = (struct addr){.family = ADDR_UNIX};
    return 0;
}

static int add_listen(const struct config_row *row, struct config *c, struct str value,
                      char error[CONFIG_ERROR_MAX])
{
    struct addr a = {.family = ADDR_V4, .ip = {127, 0, 0, 1}};
    int64_t port;
    if (value.len >= 5 && memcmp(value.p, "unix:", 5) == 0)
        return add_socket(row, c, value, error);
    size_t mark = sizeof(CONFIG_TLS_MARK) - 1;
    struct str whole = value;
    bool tls = value.len > mark && memcmp(value.p + value.len - mark, CONFIG_TLS_MARK, mark) == 0;
    value.len -= tls ? mark : 0;
    if (str_to_i64(value, &port) == 0) { /* a bare port means this machine only */
        if (port < 1 || port > UINT16_MAX)
            return config_row_refuse(row, value, error, "expected a port from 1 to 65535");
        a.port = (uint16_t)port;
    } else if (addr_parse(value, CONFIG_PORT, &a) != 0 || a.port == 0) {
        return config_row_refuse(
            row, whole, error,
            "expected PORT, ADDRESS, ADDRESS:PORT with an IPv4 or [IPv6] address, or unix:/PATH");
    }
    for (uint32_t i = 0; i < c->listen_count; i++)
        if (addr_eq(&c->listen[i], &a))
            return config_row_refuse(row, value, error,
                                     "expected an address that is not listed twice");
    if (c->listen_count == CONFIG_LISTEN_MAX)
        return config_row_refuse(row, value, error, "expected at most %d addresses",
                                 CONFIG_LISTEN_MAX);
    c->listen_tls[c->listen_count] = tls;
    c->listen[c->listen_count++] = a;
    return 0;
}

static int add_node(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    struct config_node n;
    if (config_node_read(value, &n) != 0)
        return config_row_refuse(
            row, value, error,
            "expected HOST or HOST:PORT (IPv6: [ADDRESS]:PORT), and behind it perhaps "
            "weight=1 to %d, name=ID",
            DISCOVERY_WEIGHT_MAX);
    for (uint32_t i = 0; i < c->node_count; i++)
        if (config_node_is_same(&c->nodes[i], &n))
            return config_row_refuse(row, value, error, "expected a node that is not listed twice");
    if (c->node_count == row->max)
        return config_row_refuse(row, value, error, "expected at most %" PRIu64 " nodes", row->max);
    if (c->node_count == c->node_room) {
        uint32_t room = c->node_room ? c->node_room * 2 : 8;
        struct config_node *nodes = realloc(c->nodes, room * sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        c->nodes = nodes;
        c->node_room = room;
    }
    c->nodes[c->node_count++] = n;
    return 0;
}

/* A name to look nodes up by: with a port (CONFIG_NAMES), or of SRV records, which have it. */
static int add_name(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    struct config_names *all = member_names(row, c);
    char name[VIEW_NODE_NAME_MAX];
    struct addr numeric;
    struct str host;
    uint16_t port = 0;
    bool ok = addr_split_host_port(value, &host, &port) == 0 &&
              addr_parse(value, CONFIG_PORT, &numeric) != 0;
    if (row->kind == CONFIG_SERVICES && (!ok || port > 0))
        return config_row_refuse(
            row, value, error, "expected a name of SRV records, such as _redis._tcp.cache.example");
    if (!ok)
        return config_row_refuse(row, value, error,
                                 "expected NAME or NAME:PORT; addresses are nodes.static");
    if (row->kind == CONFIG_SERVICES)
        snprintf(name, sizeof(name), "%.*s", (int)host.len, host.p);
    else
        config_node_write_name(host, port > 0 ? port : CONFIG_PORT, name);
    for (uint32_t i = 0; i < all->count; i++)
        if (str_eq_nocase(str_of(all->names[i]), str_of(name)))
            return config_row_refuse(row, value, error, "expected a name that is not listed twice");
    if (all->count == CONFIG_NAMES_MAX)
        return config_row_refuse(row, value, error, "expected at most %d names", CONFIG_NAMES_MAX);
    memcpy(all->names[all->count++], name, sizeof(name));
    return 0;
}

static int add_server(const struct config_row *row, struct config *c, struct str value,
                      char error[CONFIG_ERROR_MAX])
{
    struct config_dns *dns = &c->dns;
    struct addr a;
    if (addr_parse(value, CONFIG_DNS_PORT, &a) != 0 || a.port == 0)
        return config_row_refuse(row, value, error,
                                 "expected ADDRESS or ADDRESS:PORT with an IPv4 or [IPv6] address");
    for (uint32_t i = 0; i < dns->server_count; i++)
        if (addr_eq(&dns->servers[i], &a))
            return config_row_refuse(row, value, error,
                                     "expected a server that is not listed twice");
    if (dns->server_count == CONFIG_SERVERS_MAX)
        return config_row_refuse(row, value, error, "expected at most %d servers",
                                 CONFIG_SERVERS_MAX);
    dns->servers[dns->server_count++] = a;
    return 0;
}

/* Those with long prefixes come first. */
static int add_rule(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    struct policy_rule rule;
    const char *expected;
    uint32_t count = c->proxy.policy.count, at = 0;
    if (config_policy_read(value, &rule, &expected) != 0)
        return config_row_refuse(row, value, error, "%s", expected);
    for (; at < count && c->rules[at].prefix_len >= rule.prefix_len; at++)
        if (c->rules[at].prefix_len == rule.prefix_len &&
            memcmp(c->rules[at].prefix, rule.prefix, rule.prefix_len) == 0)
            return config_row_refuse(row, value, error,
                                     "expected a prefix that is not listed twice");
    if (count == row->max)
        return config_row_refuse(row, value, error, "expected at most %" PRIu64 " rules", row->max);
    if (!c->rules) {
        c->rules = calloc(POLICY_RULES_MAX, sizeof(*c->rules));
        if (!c->rules)
            return -ENOMEM;
        c->proxy.policy.rules = c->rules;
    }
    memmove(&c->rules[at + 1], &c->rules[at], (count - at) * sizeof(*c->rules));
    c->rules[at] = rule;
    c->proxy.policy.count++;
    return 0;
}

static int add_command(const struct config_row *row, struct config *c, struct str value,
                       char error[CONFIG_ERROR_MAX])
{
    char why[CONFIG_COMMANDS_WHY_MAX];
    int err = config_commands_add(&c->commands, (enum config_commands_list)row->offset, value,
                                  &c->proxy.commands, why);
    return err == -EINVAL ? config_row_refuse(row, value, error, "%s", why) : err;
}

static int add_range(const struct config_row *row, struct config *c, struct str value,
                     char error[CONFIG_ERROR_MAX])
{
    struct proxy_settings *p = &c->proxy;
    if (p->balancer_count == BALANCERS_MAX)
        return config_row_refuse(row, value, error, "expected at most %d ranges", BALANCERS_MAX);
    if (addr_range_parse(value, &p->balancers[p->balancer_count]) != 0)
        return config_row_refuse(row, value, error,
                                 "expected ADDRESS or ADDRESS/BITS, as in 10.0.0.0/8");
    p->balancer_count++;
    return 0;
}

/* Neither repeats its value: it may be a password in the wrong place. */
static int add_user(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    char name[CONFIG_TEXT_MAX], why[CONFIG_USERS_WHY_MAX];
    int err = config_users_add(&c->users, value, why);
    if (err == -EINVAL)
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", config_row_name(row, name), why);
    return err;
}

static int add_login(const struct config_row *row, struct config *c, struct str value,
                     char error[CONFIG_ERROR_MAX])
{
    char name[CONFIG_TEXT_MAX], why[CONFIG_USERS_WHY_MAX] = "expected at most 16 sources";
    if (c->login_count < CONFIG_LOGINS_MAX &&
        config_login_read(value, &c->logins[c->login_count], why) == 0) {
        c->login_count++;
        return 0;
    }
    snprintf(error, CONFIG_ERROR_MAX, "%s: %s", config_row_name(row, name), why);
    return -EINVAL;
}

int config_list_add(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    switch (row->kind) {
    case CONFIG_LISTEN:
        return add_listen(row, c, value, error);
    case CONFIG_NODES:
        return add_node(row, c, value, error);
    case CONFIG_NAMES:
    case CONFIG_SERVICES:
        return add_name(row, c, value, error);
    case CONFIG_SERVERS:
        return add_server(row, c, value, error);
    case CONFIG_RULES:
        return add_rule(row, c, value, error);
    case CONFIG_LOGINS:
        return add_login(row, c, value, error);
    case CONFIG_RANGES:
        return add_range(row, c, value, error);
    case CONFIG_USERS:
        return add_user(row, c, value, error);
    case CONFIG_COMMAND_LIST:
    case CONFIG_COMMAND_MAP:
        return add_command(row, c, value, error);
    default:
        unreachable();
    }
}

void config_list_clear(const struct config_row *row, struct config *c)
{
    if (row->kind == CONFIG_LISTEN)
        c->listen_count = 0;
    else if (row->kind == CONFIG_NODES)
        c->node_count = 0;
    else if (row->kind == CONFIG_NAMES || row->kind == CONFIG_SERVICES)
        member_names(row, c)->count = 0;
    else if (row->kind == CONFIG_SERVERS)
        c->dns.server_count = 0;
    else if (row->kind == CONFIG_RULES)
        c->proxy.policy.count = 0;
    else if (row->kind == CONFIG_LOGINS)
        c->login_count = 0;
    else if (row->kind == CONFIG_RANGES)
        c->proxy.balancer_count = 0;
    else if (row->kind == CONFIG_USERS)
        free(take_ptr(c->users));
    else if (row->kind == CONFIG_COMMAND_LIST || row->kind == CONFIG_COMMAND_MAP)
        config_commands_clear(&c->commands, (enum config_commands_list)row->offset);
}
