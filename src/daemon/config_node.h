/* SPDX-License-Identifier: Apache-2.0 */
/* An item of `nodes.static` as text: "10.0.0.1:6379", "cache-1 weight=2 name=alpha"; and how those
 * nodes and keys are laid out (ring/layout.h). */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"
#include "ring/layout.h"

enum { CONFIG_NODE_TEXT_MAX = 2 * VIEW_NODE_NAME_MAX + 32 };

/* 0, or -EINVAL. A port that is not given is CONFIG_PORT. */
int config_node_read(struct str text, struct config_node *ret) MUST_CHECK;
char *config_node_print(const struct config_node *n, char to[CONFIG_NODE_TEXT_MAX]); /* → to */

/* "host:port" as it is kept: with its port, and brackets if need be. The host has been split off.
 */
void config_node_write_name(struct str host, uint16_t port, char to[VIEW_NODE_NAME_MAX]);

/* Are they one: in spite of another spelling, or by what places them in the ring? */
bool config_node_is_same(const struct config_node *a, const struct config_node *b);

/* Does it come to a layout of its own, which is made at the start? */
bool config_has_layout(const struct config *c);
/*
 * What ring.kind, ring.hash and the nodes' `name=` come to; the caller owns *ret, which is NULL for
 * Maglev over the nodes as they are named. 0, -ENOMEM, or -EINVAL with *ret_why, a constant.
 */
int config_layout(const struct config *c, struct layout **ret, const char **ret_why) MUST_CHECK;
