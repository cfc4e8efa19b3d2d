/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says of itself in INFO, as far as the sum of all nodes is shown as one Redis. The
 * control plane asks with each good check and writes them; any thread reads (docs/decisions/0002),
 * so INFO needs no node to be answered.
 */
#pragma once
#include "base/metric.h"
#include "base/str.h"
#include "cluster/databases.h"

enum figure {
    FIGURE_USED_MEMORY, /* bytes */
    FIGURE_USED_MEMORY_PEAK,
    FIGURE_USED_MEMORY_RSS,
    FIGURE_MAXMEMORY, /* bytes; 0: no limit */
    FIGURE_COMMANDS,
    FIGURE_OPS, /* per second */
    FIGURE_EXPIRED,
    FIGURE_EVICTED,
    FIGURE_HITS,
    FIGURE_MISSES,
    FIGURE_VERSION,      /* 7.0.15: 7 << 32 | 0 << 16 | 15; 0: not told */
    FIGURE_POLICY,       /* maxmemory-policy: 1 + its place among the known; 0: another */
    FIGURE_KEYS,         /* of database 0 */
    FIGURE_EXPIRES,      /* of those, with a time to live */
    FIGURE_OF_DATABASES, /* the same two of databases 1, 2, … */
    FIGURE_COUNT = FIGURE_KEYS + 2 * DATABASES_MAX
};

static inline unsigned figure_keys(unsigned database)
{
    return FIGURE_KEYS + 2 * database;
}

static inline unsigned figure_expires(unsigned database)
{
    return FIGURE_EXPIRES + 2 * database;
}

struct figures {
    atomic_uint_least64_t taken_at; /* ns, of the control plane's clock; 0: never */
    atomic_uint_least64_t of[FIGURE_COUNT];
};

/* Any text: what it does not say, or says in a way that is none, is 0. */
void figures_parse(struct str info, uint64_t ret[FIGURE_COUNT]);

/* Its one writer. `now` is not 0. */
void figures_store(struct figures *f, const uint64_t values[FIGURE_COUNT], uint64_t now);

enum { FIGURES_VERSION_MAX = 24 };
/* "7.0.15". Returns `to`. */
char *figures_print_version(uint64_t version, char to[FIGURES_VERSION_MAX]);
/* "allkeys-lru"; NULL: none of the known. */
const char *figures_policy_name(uint64_t policy);
