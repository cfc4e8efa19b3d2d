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
    };
}

void config_fini(struct config *c)
{
    free(c->nodes);
    free(c->rules);
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
