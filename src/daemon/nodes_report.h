/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `sumcache nodes` shows: read from the section Sumcache of a proxy's INFO (proxy/info.c),
 * printed as a table or as JSON. Pure.
 *
 * What it reads came over a network. Figures that are missing count as 0, members and lines that
 * are not known are passed over, and what is printed holds no control characters.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Texts are loans of what it was read from. */
struct nodes_report_node {
    struct str name, state, upstream, reason;
    uint64_t since_ms, slots, in_flight, check_us; /* check_us 0: not checked yet */
};

struct nodes_report {
    struct nodes_report_node *nodes; /* owned */
    uint32_t count;
    uint64_t hidden; /* nodes that INFO had no room for */
    uint64_t view_version, ring_hash, nodes_out, slots_away, slots_fenced, journal_keys;
    uint64_t dns_queries, dns_failing;
};

/* `info` is INFO's text, and outlives the report. 0; -EPROTO: it has no section Sumcache; -ENOMEM.
 */
int nodes_report_read(struct str info, struct nodes_report *ret) MUST_CHECK;
void nodes_report_fini(struct nodes_report *r);

/* Is there a node, and are all up? Those that leave do not count. */
bool nodes_report_is_well(const struct nodes_report *r);

void nodes_report_print(const struct nodes_report *r, FILE *out);
/* The same as one line of JSON. ring_hash is a text there, for it has 64 bits. */
void nodes_report_print_json(const struct nodes_report *r, FILE *out);
