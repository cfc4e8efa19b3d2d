/* SPDX-License-Identifier: Apache-2.0 */
/* A member: a node as the sources of the configuration name it, whether it is well or not. */
#pragma once
#include "base/addr.h"
#include "cluster/view.h"

struct member {
    char name[VIEW_NODE_NAME_MAX]; /* its identity in the ring */
    struct addr addr;              /* ADDR_NONE: not known yet */
    uint32_t weight;               /* relative share of keys, at least 1 */
    struct node_login *login;      /* loan; NULL: as at all nodes */
    uint64_t gone_since;           /* ns, as loop.now: no source names it any more; 0: one does */
};
