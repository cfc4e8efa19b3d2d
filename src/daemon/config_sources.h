/* SPDX-License-Identifier: Apache-2.0 */
/* Where nodes come from, as cluster/discovery.h wants to be told. Everything is a loan. */
#pragma once
#include "base/addr.h"
#include "cluster/discovery.h"
#include "daemon/config.h"

/*
 * The sources that the settings name, in the order in which they count, should two name the same
 * node; behind those of nodes.static come `local_count` nodes of ours. `sources` has room for
 * config_sources_count() and these. `logins` are those of c->logins, by the same index. Returns how
 * many there are.
 */
uint32_t config_sources(const struct config *c, struct node_login *const *logins,
                        const char (*locals)[ADDR_TEXT_MAX], uint32_t local_count,
                        struct discovery_source *sources);
uint32_t config_sources_count(const struct config *c);

/* How names are looked up. */
struct lookup_settings config_lookup(const struct config *c);
