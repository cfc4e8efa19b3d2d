/* SPDX-License-Identifier: Apache-2.0 */
/* A nutcracker.yml (twemproxy): pools by name. Private to src/import. */
#pragma once
#include "import/draft.h"

void nutcracker_read(struct draft *d, const yaml_node_t *root);
