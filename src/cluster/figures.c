/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/figures.h"

#include <inttypes.h>
#include <stdio.h>

enum { VERSION_PARTS = 3, VERSION_PART_BITS = 16, VERSION_PART_MAX = 0xffff };

static const char *const POLICIES[] = {
    "noeviction",   "allkeys-lru",     "allkeys-lfu",  "allkeys-random",
    "volatile-lru", "volatile-random", "volatile-ttl", "volatile-lfu",
};
enum { POLICY_COUNT = sizeof(POLICIES) / sizeof(POLICIES[0]) };

static const char *const NAMES[FIGURE_COUNT] = {
    [FIGURE_USED_MEMORY] = "used_memory",
    [FIGURE_USED_MEMORY_PEAK] = "used_memory_peak",
    [FIGURE_USED_MEMORY_RSS] = "used_memory_rss",
    [FIGURE_MAXMEMORY] = "maxmemory",
    [FIGURE_COMMANDS] = "total_commands_processed",
    [FIGURE_OPS] = "instantaneous_ops_per_sec",
    [FIGURE_EXPIRED] = "expired_keys",
    [FIGURE_EVICTED] = "evicted_keys",
    [FIGURE_HITS] = "keyspace_hits",
    [FIGURE_MISSES] = "keyspace_misses",
};

/* The digits at the beginning of `s`; too many of them are no number. */
static uint64_t number_at(struct str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        if (n > (UINT64_MAX - 9) / 10)
            return 0;
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    return n;
}

static struct str after(struct str s, size_t count)
{
    return (struct str){s.p + count, s.len - count};
}

/* "7.0.15" */
static uint64_t parse_version(struct str s)
{
    uint64_t version = 0;
    for (int i = 0; i < VERSION_PARTS; i++) {
        uint64_t part = number_at(s);
        version = version << VERSION_PART_BITS | (part < VERSION_PART_MAX ? part : 0);
        const char *dot = s.len > 0 ? memchr(s.p, '.', s.len) : NULL;
        s = dot ? after(s, (size_t)(dot - s.p) + 1) : STR("");
    }
    return version;
}

/* Of "keys=5,expires=1,avg_ttl=0". */
static uint64_t parse_member(struct str s, struct str name)
{
    const char *at = s.len > 0 ? memmem(s.p, s.len, name.p, name.len) : NULL;
    return at ? number_at(after(s, (size_t)(at - s.p) + name.len)) : 0;
}

static uint64_t parse_policy(struct str s)
{
    for (uint64_t i = 0; i < POLICY_COUNT; i++)
        if (str_eq(s, str_of(POLICIES[i])))
            return i + 1;
    return 0;
}

static void take_line(struct str line, uint64_t ret[FIGURE_COUNT])
{
    const char *colon = line.len > 0 ? memchr(line.p, ':', line.len) : NULL;
    if (!colon)
        return;
    struct str name = {line.p, (size_t)(colon - line.p)};
    struct str value = after(line, name.len + 1);
    if (str_eq(name, STR("redis_version"))) {
        ret[FIGURE_VERSION] = parse_version(value);
    } else if (str_eq(name, STR("maxmemory_policy"))) {
        ret[FIGURE_POLICY] = parse_policy(value);
    } else if (name.len > 2 && name.len <= 4 && memcmp(name.p, "db", 2) == 0) {
        uint64_t database = number_at(after(name, 2));
        if (database >= DATABASES_MAX || name.p[2] < '0' || name.p[2] > '9')
            return;
        ret[figure_keys((unsigned)database)] = parse_member(value, STR("keys="));
        ret[figure_expires((unsigned)database)] = parse_member(value, STR("expires="));
    } else {
        for (int i = 0; i < FIGURE_COUNT; i++)
            if (NAMES[i] && str_eq(name, str_of(NAMES[i])))
                ret[i] = number_at(value);
    }
}

void figures_parse(struct str info, uint64_t ret[FIGURE_COUNT])
{
    memset(ret, 0, FIGURE_COUNT * sizeof(ret[0]));
    while (info.len > 0) {
        const char *eol = memchr(info.p, '\n', info.len);
        size_t whole = eol ? (size_t)(eol - info.p) + 1 : info.len;
        size_t len = eol ? whole - 1 : whole;
        if (len > 0 && info.p[len - 1] == '\r')
            len--;
        take_line((struct str){info.p, len}, ret);
        info = after(info, whole);
    }
}

void figures_store(struct figures *f, const uint64_t values[FIGURE_COUNT], uint64_t now)
{
    for (int i = 0; i < FIGURE_COUNT; i++)
        metric_set(&f->of[i], values[i]);
    metric_set(&f->taken_at, now);
}

char *figures_print_version(uint64_t version, char to[FIGURES_VERSION_MAX])
{
    snprintf(to, FIGURES_VERSION_MAX, "%" PRIu64 ".%" PRIu64 ".%" PRIu64,
             version >> (2 * VERSION_PART_BITS) & VERSION_PART_MAX,
             version >> VERSION_PART_BITS & VERSION_PART_MAX, version & VERSION_PART_MAX);
    return to;
}

const char *figures_policy_name(uint64_t policy)
{
    return policy > 0 && policy <= POLICY_COUNT ? POLICIES[policy - 1] : NULL;
}
