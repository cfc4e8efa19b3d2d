/* SPDX-License-Identifier: Apache-2.0 */
/* What one simulated run is made of. Drawn from the seed (options.c), or set by a scenario. */
#pragma once
#include "cluster/control.h"
#include "cluster/lookup.h"
#include "io_sim.h"
#include "proxy/settings.h"

#include <stdbool.h>
#include <stdint.h>

enum { SIM_PROXIES_MAX = 3, SIM_WORKERS_MAX = 3, SIM_NODES_MAX = 5, SIM_CLIENTS_MAX = 12 };

/* Commands behind one MULTI. */
enum { SIM_TRANSACTION_MAX = 5 };

/* How often proxies are started in a run, at most. */
enum { CHECK_PROCESSES_MAX = 6 };

/* How many keys of one kind: few, so that they meet; many, so that all nodes have some; the numbers
 * of all are below the maximum. */
enum { CHECK_KEYS_FEW = 6, CHECK_KEYS_MANY = 60, CHECK_KEYS_MAX = 64 };

struct sim_options {
    uint32_t proxies, workers, nodes, clients; /* workers of each proxy */
    struct proxy_settings proxy;
    bool has_control; /* the control plane judges nodes; else views are posted by hand */
    struct control_settings control;
    enum layout_kind layout;       /* LAYOUT_MAGLEV: none is made */
    uint8_t sources;               /* enum sources_kind */
    struct lookup_settings lookup; /* of what DNS names */
    uint16_t dns_fail;             /* of the draws: a question fails for a while */
    uint64_t dns_fault_max;        /* ns between two draws; answers take as long at most */
    struct io_sim_weather weather;

    uint64_t end_of_faults; /* ns from the start: after it, nothing goes wrong any more */

    /* Nodes. Per mille of the draws made every fault_interval. 0: never. */
    uint64_t fault_interval;
    uint32_t victims; /* bit i: node i may fail. The others must never be seen to */
    uint16_t hang, crash, lose_memory, loading, out_of_memory, refuse, black_hole;
    uint16_t node_reset, node_clog, garbage, push, half_reply, halt, stray, early;
    uint16_t sip; /* of a node's connections: it reads a little at a time for a while */
    uint64_t fault_min, fault_max;         /* how long one lasts */
    uint64_t node_cost_min, node_cost_max; /* ns for one command */
    uint16_t slow_chance;                  /* of a command: takes slow_cost */
    uint64_t slow_cost;
    uint16_t drip_chance; /* of a reply: sent in pieces with pauses */

    /* Clients and workers. */
    uint16_t client_reset, client_clog, accept_fail, worker_pause;
    uint64_t pause_max; /* ns a worker may be kept from running */
    uint64_t adopt_max; /* ns a view may take to a worker */
    /* The database of a key is its number modulo how many there are (proxy.databases), so that one
     * name stands for one key, and whatever lands in another database is a mistake. */
    uint64_t job_interval; /* ns between two jobs that remove all keys; 0: there are none */
    uint16_t control_pause;
    uint64_t control_pause_max; /* ns the control plane may be kept from running */
    uint64_t view_at;           /* ns from the start: workers have no view before */
    uint16_t view_changes;
    uint64_t members_lag;   /* ns that one proxy may hear of new members after another */
    uint16_t proxy_kill;    /* it is gone for a while, and then another process */
    uint16_t proxy_upgrade; /* another process takes its place, and is told what it left */
    uint16_t cut_off;       /* of a proxy and a node: no way between the two for a while */
    uint64_t drain_at;      /* ns from the start, clients or no clients; 0: at the end */

    /* Workload. */
    uint32_t commands; /* per client */
    uint32_t sessions; /* per client, at most */
    uint32_t pipeline_max;
    uint64_t think_max;    /* ns that a client may take before it says more */
    uint32_t value_max;    /* bytes */
    uint16_t big_chance;   /* of a value: up to value_max; others are short */
    uint32_t keys;         /* per kind of key */
    uint32_t split_max;    /* keys of one split command */
    uint16_t odd_ends;     /* of sessions: vanish, half-close, malformed, silence */
    uint16_t plain_chance; /* of a command: SET and GET of strings */
    uint16_t local_chance, split_chance, inline_chance, empty_chance;
    uint16_t flush_chance;           /* of a command: FLUSHALL or FLUSHDB */
    uint16_t all_chance;             /* of a command: KEYS, SCAN, DBSIZE or RANDOMKEY */
    uint16_t slow_reader, piecewise; /* of sessions */
    uint16_t body_stop; /* of large requests: the client stops inside, for a while or for good */
    bool crossing;      /* half of the clients read keys upwards, half downwards */

    bool calm;    /* nothing at all may go wrong: any failure that is told is a mistake */
    bool tight;   /* limits so low that any request may be refused for one of ours */
    bool starved; /* memory for hardly a command at a time: even alone a client may be refused */
    bool closes;  /* limits or time-outs so low that any client may be closed for one of ours */
    bool stale_checked; /* a read that is stale is a mistake: stale.h */
};

/* The same seed gives the same options. `proxies`: so many; 0: drawn, mostly one. */
void sim_options_draw(struct sim_options *o, uint64_t seed, unsigned proxies);
