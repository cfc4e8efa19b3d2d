/* SPDX-License-Identifier: Apache-2.0 */
/* An Envoy bootstrap with a redis_proxy filter. Private to src/import. */
#pragma once
#include "import/draft.h"

bool envoy_is_it(const struct draft *d, const yaml_node_t *root);
void envoy_read(struct draft *d, const yaml_node_t *root);
