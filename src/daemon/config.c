/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include "base/must.h"
#include "base/nsec.h"
#include "daemon/config_node.h"
#include "daemon/config_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct config_row *find_row(const char *setting)
{
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        char name[CONFIG_TEXT_MAX];
        if (strcmp(config_row_name(&CONFIG_ROWS[i], name), setting) == 0)
            return &CONFIG_ROWS[i];
    }
    unreachable(); /* only our own tables name settings in full */
}

void config_init(struct config *c)
{
    *c = (struct config){
        .proxy = proxy_settings_default(),
        .control = control_settings_default(),
        .log_level = LOG_INFO,
        .log_rate = 200,
        .local_memory = UINT64_C(64) << 20,
        .node_family = LOOKUP_AUTO,
        .layout_kind = LAYOUT_MAGLEV,
        .layout_hash = HASH32_FNV1A_64, /* twemproxy's own default */
        .dns = {.timeout = 2 * NSEC_S,
                .min_refresh = NSEC_S,
                .max_refresh = 30 * NSEC_S,
                .refresh = 5 * NSEC_S,
                .retry_min = 500 * NSEC_MS,
                .retry_max = 10 * NSEC_S},
        .listen = {{.family = ADDR_V4, .port = CONFIG_PORT, .ip = {127, 0, 0, 1}}},
        .listen_count = 1,
        .protected_mode = true,
        .admin_connections = 32,
        .admin_depth = 1,
        .admin_separator = ":",
        .admin_timeout = 5 * NSEC_S,
    };
}

void config_fini(struct config *c)
{
    free(c->nodes);
    free(c->rules);
    free(c->users);
    command_rules_fini(&c->proxy.commands);
    *c = (struct config){0};
}

bool config_is_given(const struct config *c, const char *setting)
{
    const struct config_row *row = find_row(setting);
    return c->given[row - CONFIG_ROWS];
}

int config_set(struct config *c, const char *setting, struct str value, bool add,
               struct config_error *ret_error)
{
    const struct config_row *row = find_row(setting);
    if (!add)
        config_row_begin(row, c, (struct config_mark){0});
    *ret_error = (struct config_error){.text = "out of memory"};
    if (!config_row_is_list(row))
        return config_row_set(row, c, value, ret_error->text);
    for (bool more = true; more;) {
        const char *comma = value.len ? memchr(value.p, ',', value.len) : NULL;
        struct str item = {value.p, comma ? (size_t)(comma - value.p) : value.len};
        int err = config_row_set(row, c, item, ret_error->text);
        if (err)
            return err;
        more = comma != NULL;
        if (more)
            value = (struct str){comma + 1, value.len - item.len - 1};
    }
    return 0;
}

/* The place of a row, for an error that two settings share. */
static int at_row(const struct config *c, const char *setting, struct config_error *ret_error,
                  const char *text)
{
    const struct config_row *row = find_row(setting);
    struct config_mark mark = c->mark[row - CONFIG_ROWS];
    *ret_error = (struct config_error){.line = mark.line, .column = mark.column};
    snprintf(ret_error->text, sizeof(ret_error->text), "%s", text);
    return -EINVAL;
}

const struct config_login *config_login_of(const struct config *c, const char *source)
{
    for (uint32_t i = 0; i < c->login_count; i++) {
        char with_port[CONFIG_USER_MAX + 8];
        snprintf(with_port, sizeof(with_port), "%s:%d", c->logins[i].source, CONFIG_PORT);
        if (strcmp(c->logins[i].source, source) == 0 || strcmp(with_port, source) == 0)
            return &c->logins[i];
    }
    return NULL;
}

static bool is_loopback(const struct addr *a)
{
    static const uint8_t V6[16] = {[15] = 1};
    if (a->family == ADDR_UNIX)
        return true;
    return a->family == ADDR_V4 ? a->ip[0] == 127 : memcmp(a->ip, V6, sizeof(V6)) == 0;
}

/* A login of a source that is not there is a mistake in its name. */
static int check_logins(const struct config *c, struct config_error *ret_error)
{
    for (uint32_t i = 0; i < c->login_count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < c->node_count; k++)
            found = found || config_login_of(c, c->nodes[k].name) == &c->logins[i];
        for (uint32_t k = 0; k < c->node_names.count; k++)
            found = found || config_login_of(c, c->node_names.names[k]) == &c->logins[i];
        for (uint32_t k = 0; k < c->node_services.count; k++)
            found = found || config_login_of(c, c->node_services.names[k]) == &c->logins[i];
        if (!found)
            return at_row(c, "nodes.logins", ret_error,
                          "nodes.logins: expected sources that nodes.static, nodes.dns or "
                          "nodes.srv name, each once");
    }
    return 0;
}

static int check_tls(const struct config *c, struct config_error *ret_error)
{
    const struct config_tls *t = &c->tls;
    const struct config_nodes_tls *n = &c->nodes_tls;
    bool listens = false;
    for (uint32_t i = 0; i < c->listen_count; i++)
        listens = listens || c->listen_tls[i];
    if (listens && !t->certificate_file[0])
        return at_row(c, "listen", ret_error, "listen: tls needs a tls.certificate_file");
    /* Somebody believes that what clients say is encrypted. */
    if (!listens && t->certificate_file[0])
        return at_row(c, "tls.certificate_file", ret_error,
                      "tls.certificate_file: no place of listen says tls, as in 0.0.0.0:6379 tls");
    if (t->client_certificates != TLS_CERTIFICATES_OFF && !t->ca_file[0])
        return at_row(c, "tls.client_certificates", ret_error,
                      "tls.client_certificates: needs the tls.ca_file to judge them by");
    if (n->key_file[0] && !n->certificate_file[0])
        return at_row(c, "nodes_tls.key_file", ret_error,
                      "nodes_tls.key_file: needs the nodes_tls.certificate_file that it is for");
    if (!n->enabled && (n->ca_file[0] || n->certificate_file[0] || n->server_name[0]))
        return at_row(c, "nodes_tls.enabled", ret_error,
                      "nodes_tls: expected enabled: on where there is more of it");
    if (n->enabled && c->local_nodes > 0)
        return at_row(c, "nodes_tls.enabled", ret_error,
                      "nodes_tls.enabled: local.nodes speak no TLS");
    return 0;
}

/* Can others than those with a certificate of ours connect there from other hosts? */
static bool is_open_to_others(const struct config *c, uint32_t index)
{
    bool certified =
        c->listen_tls[index] && c->tls.client_certificates == TLS_CERTIFICATES_REQUIRED;
    return !certified && !is_loopback(&c->listen[index]);
}

static int check_auth(const struct config *c, struct config_error *ret_error)
{
    const struct access *a = c->users ? &c->users->access : NULL;
    const struct access_user *by_default = a ? access_find(a, STR("default")) : NULL;
    bool has_password = c->auth_password_file[0] || c->auth_password[0];
    if (c->auth_password_file[0] && c->auth_password[0])
        return at_row(c, "auth.password", ret_error,
                      "auth.password and auth.password_file: expected one of them");
    if (c->node_password_file[0] && c->node_password[0])
        return at_row(c, "nodes.password", ret_error,
                      "nodes.password and nodes.password_file: expected one of them");
    if (has_password && by_default)
        return at_row(c, "auth.users", ret_error,
                      "auth.users: the user default has its password by auth.password already");
    if (has_password && a && a->count == ACCESS_USERS_MAX)
        return at_row(c, "auth.users", ret_error,
                      "auth.users: expected at most 63 users beside "
                      "auth.password");
    bool is_open = !has_password && (!a || (by_default && by_default->nopass && !by_default->off));
    for (uint32_t i = 0; is_open && c->protected_mode && i < c->listen_count; i++)
        if (is_open_to_others(c, i))
            return at_row(c, "listen", ret_error,
                          "listen: other hosts could connect, and no password is asked for: set "
                          "auth.password_file or auth.users, or say protected_mode: off");
    return 0;
}

int config_admin_addr(const struct config *c, struct addr *ret)
{
    struct str text = str_of(c->admin_listen);
    struct addr a = {.family = ADDR_V4, .ip = {127, 0, 0, 1}};
    int64_t port;
    if (text.len == 0) {
        *ret = (struct addr){.family = ADDR_NONE};
        return 0;
    }
    if (str_to_i64(text, &port) == 0) { /* a bare port means this machine only */
        if (port < 1 || port > UINT16_MAX)
            return -EINVAL;
        a.port = (uint16_t)port;
    } else if (addr_parse(text, 0, &a) != 0 || a.port == 0) {
        return -EINVAL;
    }
    *ret = a;
    return 0;
}

static int check_admin(const struct config *c, struct config_error *ret_error)
{
    struct addr at;
    if (config_admin_addr(c, &at) != 0)
        return at_row(c, "admin.listen", ret_error,
                      "admin.listen: expected PORT or ADDRESS:PORT with an IPv4 or [IPv6] address");
    if (strlen(c->admin_separator) != 1)
        return at_row(c, "admin.prefix_separator", ret_error,
                      "admin.prefix_separator: expected one character");
    if (c->admin_token[0] && c->admin_token_file[0])
        return at_row(c, "admin.token", ret_error,
                      "admin.token and admin.token_file: expected one of them");
    if (at.family != ADDR_NONE && !is_loopback(&at) && !c->admin_remote && !c->admin_token[0] &&
        !c->admin_token_file[0])
        return at_row(c, "admin.listen", ret_error,
                      "admin.listen: other hosts could read keys and addresses there: set "
                      "admin.token_file, or say admin.remote: on");
    return 0;
}

int config_check(const struct config *c, struct config_error *ret_error)
{
    const struct proxy_settings *p = &c->proxy;
    if (c->listen_count == 0)
        return at_row(c, "listen", ret_error, "listen: expected at least one address");
    if (c->node_count + c->node_names.count + c->node_services.count + c->local_nodes == 0)
        return at_row(c, "nodes.static", ret_error,
                      "no nodes: name them (--nodes HOST:PORT,... or nodes.static, nodes.dns or "
                      "nodes.srv in the config), or start some here (--local 3)");
    if (c->node_count + c->local_nodes > MAGLEV_NODES_MAX)
        return at_row(c, "nodes.static", ret_error,
                      "nodes.static and local.nodes together are more than the ring holds");
    int err = check_auth(c, ret_error);
    if (!err)
        err = check_logins(c, ret_error);
    if (!err)
        err = check_admin(c, ret_error);
    if (!err)
        err = check_tls(c, ret_error);
    if (err)
        return err;
    if (p->backoff_min > p->backoff_max)
        return at_row(c, "timeouts.backoff_min", ret_error,
                      "timeouts.backoff_min is more than timeouts.backoff_max");
    if (c->dns.min_refresh > c->dns.max_refresh)
        return at_row(c, "dns.min_refresh", ret_error,
                      "dns.min_refresh is more than dns.max_refresh");
    if (c->dns.retry_min > c->dns.retry_max)
        return at_row(c, "dns.retry_min", ret_error, "dns.retry_min is more than dns.retry_max");
    struct layout *layout CLEANUP(layout_freep) = NULL;
    const char *why;
    if (config_layout(c, &layout, &why) == -EINVAL)
        return at_row(c, "ring.kind", ret_error, why);
    return 0; /* without memory the start will say so */
}
