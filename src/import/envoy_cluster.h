/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster of an Envoy bootstrap, and its hosts. Private to src/import. */
#pragma once
#include "import/draft.h"

#define COUNT(a)                     (sizeof(a) / sizeof((a)[0]))
#define WALK(d, node, where, fields) draft_walk(d, node, where, fields, COUNT(fields))

/* All but its hosts. */
void envoy_take_cluster(struct draft *d, const yaml_node_t *cluster);
/* Its hosts as nodes; it is refused if there is none. */
void envoy_take_hosts(struct draft *d, const yaml_node_t *cluster);

bool envoy_ends_with(struct str s, const char *end);
/* An Envoy address with its port. False: it is none. */
bool envoy_read_address(const struct draft *d, const yaml_node_t *address, struct str *ret_host,
                        uint64_t *ret_port);
/* "host:port", in brackets if need be. False: it is no host. */
bool envoy_write_place(struct str host, uint64_t port, char to[DRAFT_TEXT_MAX]);
