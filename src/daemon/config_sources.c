/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_sources.h"

uint32_t config_sources_count(const struct config *c)
{
    return c->node_count + c->node_names.count + c->node_services.count;
}

uint32_t config_sources(const struct config *c, struct node_login *const *logins,
                        const char (*locals)[ADDR_TEXT_MAX], uint32_t local_count,
                        struct discovery_source *sources)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->node_count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_STATIC, c->nodes[i].name, c->nodes[i].weight, NULL};
    for (uint32_t i = 0; i < local_count; i++)
        sources[count++] = (struct discovery_source){DISCOVERY_STATIC, locals[i], 1, NULL};
    for (uint32_t i = 0; i < c->node_names.count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_DNS, c->node_names.names[i], 0, NULL};
    for (uint32_t i = 0; i < c->node_services.count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_SRV, c->node_services.names[i], 0, NULL};
    for (uint32_t i = 0; i < count; i++) {
        const struct config_login *l = config_login_of(c, sources[i].name);
        sources[i].login = l ? logins[l - c->logins] : NULL;
    }
    return count;
}

struct lookup_settings config_lookup(const struct config *c)
{
    return (struct lookup_settings){.family = (enum lookup_family)c->node_family,
                                    .refresh_min = c->dns.min_refresh,
                                    .refresh_max = c->dns.max_refresh,
                                    .refresh = c->dns.refresh,
                                    .retry_min = c->dns.retry_min,
                                    .retry_max = c->dns.retry_max};
}
