/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of the control plane. Written by its thread alone, read by any.
 *
 * METRIC(name, kind, text): kind is COUNTER (only grows) or GAUGE.
 */
#pragma once
#include "base/metric.h"

#define CONTROL_METRICS(METRIC)                                                                    \
    METRIC(nodes_in_ring, GAUGE, "nodes that keys are spread over")                                \
    METRIC(nodes_up, GAUGE, "of those, nodes that have answered a check")                          \
    METRIC(nodes_out, GAUGE, "members that are ejected or coming back")                            \
    METRIC(ring_hash, GAUGE, "equal for proxies that spread keys alike")                           \
    METRIC(slots_away, GAUGE, "slots that are not at home, of 65537")                              \
    METRIC(slots_fenced, GAUGE, "slots whose reads are misses until their node is cleaned")        \
    METRIC(views, COUNTER, "views handed to the workers")                                          \
    METRIC(node_ejections, COUNTER, "nodes taken out of the ring")                                 \
    METRIC(node_ejections_refused, COUNTER, "not taken out: health.max_ejected")                   \
    METRIC(node_admissions, COUNTER, "nodes put back into the ring")                               \
    METRIC(checks, COUNTER, "checks of nodes begun")                                               \
    METRIC(checks_failed, COUNTER, "checks that failed")                                           \
    METRIC(journal_keys, GAUGE, "written keys of slots away from home")                            \
    METRIC(journal_bytes, GAUGE, "bytes that they take: limits.journal")                           \
    METRIC(journal_overflows, COUNTER, "times that limits.journal was hit")                        \
    METRIC(replays, COUNTER, "times that keys were unlinked at a node before it got its slots")    \
    METRIC(replayed_keys, COUNTER, "keys unlinked so")                                             \
    METRIC(ghosts, COUNTER, "lost upstreams with writes on them, to be killed at their node")      \
    METRIC(flushes, COUNTER, "nodes flushed before they came back")                                \
    METRIC(flushes_spared, COUNTER, "not flushed, for another proxy had done it")                  \
    METRIC(flushes_asked, COUNTER, "FLUSHALL and FLUSHDB of clients")                              \
    METRIC(sweeps, COUNTER, "nodes gone through for keys that are not theirs")                     \
    METRIC(swept_keys, COUNTER, "keys unlinked so")                                                \
    METRIC(jobs_active, GAUGE, "jobs that run")                                                    \
    METRIC(jobs_done, COUNTER, "jobs that came to their end")                                      \
    METRIC(jobs_failed, COUNTER, "jobs that a node refused")                                       \
    METRIC(job_keys_scanned, COUNTER, "keys looked at for jobs")                                   \
    METRIC(job_keys_unlinked, COUNTER, "keys removed for jobs")                                    \
    METRIC(job_debts_dropped, COUNTER, "jobs that a node missed, too many: it will be flushed")    \
    METRIC(scripts_kept, GAUGE, "scripts and functions kept for nodes that come later")            \
    METRIC(scripts_bytes, GAUGE, "bytes that they take: limits.scripts")                           \
    METRIC(scripts_forgotten, COUNTER, "of those, not kept or forgotten: limits.scripts")          \
    METRIC(scripts_loaded, COUNTER, "of those, loaded at nodes that lacked them")                  \
    METRIC(scripts_failed, COUNTER, "of those, refused by a node that lacked them")                \
    METRIC(reloads, COUNTER, "times that other settings came into force")                          \
    METRIC(reloads_failed, COUNTER, "times that they were wrong, and nothing has changed")         \
    METRIC(upgrades_failed, COUNTER,                                                               \
           "times that no new process came to serve in this one's place")                          \
    METRIC(dns_queries, COUNTER, "questions to DNS")                                               \
    METRIC(dns_failures, COUNTER, "questions to DNS without a useful answer")                      \
    METRIC(dns_failing, GAUGE, "sources of nodes whose last answer was none")

struct control_metrics {
#define METRIC_MEMBER(name, kind, text) atomic_uint_least64_t name;
    CONTROL_METRICS(METRIC_MEMBER)
#undef METRIC_MEMBER
};

extern const struct metric_info CONTROL_METRIC_INFO[];
extern const unsigned CONTROL_METRIC_COUNT;
