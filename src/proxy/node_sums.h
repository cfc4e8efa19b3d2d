/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All nodes as one Redis: the sums of what those in the ring last said of themselves
 * (cluster/figures.h). From memory, for any request.
 */
#pragma once
#include "cluster/figures.h"

#include <stdint.h>

struct worker;

struct node_sums {
    uint64_t of[FIGURE_COUNT]; /* version: the lowest; maxmemory: 0 if one has no limit; policy: 0
                                  if they differ */
    uint32_t nodes;            /* of which something is known; 0: all are 0 */
    uint64_t age;              /* ns: of the oldest */
};

struct node_sums node_sums_of(const struct worker *w);

/* The version that we show: the lowest, or the one whose commands we follow while none is known.
 * Returns `to`. */
char *node_sums_version(const struct worker *w, char to[FIGURES_VERSION_MAX]);
