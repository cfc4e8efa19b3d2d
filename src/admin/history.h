/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last minutes, a row a second, and what happened to nodes: rings of a fixed size. The thread
 * of the control plane.
 */
#pragma once
#include "base/histogram.h"
#include "cluster/view.h"

#include <stdint.h>

enum { HISTORY_SECONDS = 300, HISTORY_EVENTS = 256 };

/* Sums since the start; what a row tells is the difference of two of these. */
struct history_totals {
    uint64_t requests, failed, failover_misses; /* answered with an error of ours; with a miss */
    uint64_t bytes_in, bytes_out;               /* from and to clients */
    uint64_t hits, misses, evicted;             /* by the nodes' own count */
    struct histogram_sum latency;               /* of whole requests */
};

struct history_gauges {
    uint64_t clients, in_flight, nodes_in_ring, nodes_out;
    uint64_t memory_used, memory_max, keys, buffer_bytes; /* memory and keys: of the nodes */
};

struct history_row {
    uint64_t at_ms; /* since 1970 */
    uint64_t requests, failed, failover_misses, bytes_in, bytes_out, hits, misses, evicted;
    uint64_t p50_us, p99_us; /* 0: there was no request */
    struct history_gauges gauges;
};

struct history_event {
    uint64_t id;    /* from 1, without a gap */
    uint64_t at_ms; /* since 1970 */
    char node[VIEW_NODE_NAME_MAX];
    int16_t from, to; /* enum view_state; -1: it is no member */
    char why[VIEW_WHY_MAX];
};

struct history {
    struct history_totals before;
    uint32_t row_count; /* that there are */
    uint64_t row_next, event_last;
    struct history_row rows[HISTORY_SECONDS];
    struct history_event events[HISTORY_EVENTS];
};

/* A second is over. The first call makes no row: it has nothing to be compared with. */
void history_second(struct history *h, uint64_t at_ms, const struct history_totals *totals,
                    const struct history_gauges *gauges);
/* By age: 0 is the newest. NULL: there are not so many. */
const struct history_row *history_row(const struct history *h, uint32_t age);

/* What has changed from one view to the next; `old` NULL: there was none. */
void history_views(struct history *h, uint64_t at_ms, const struct view *old,
                   const struct view *now);
/* The same by age. */
const struct history_event *history_event(const struct history *h, uint32_t age);
const char *history_state_name(int state); /* "gone" for -1 */
