/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole simulated run: proxies (the real ones), nodes, clients and faults in one world and one
 * thread. Scenarios make one with options of their own and drive it by hand; sim_run() does all.
 */
#pragma once
#include "faults.h"
#include "proxy.h"

struct sim {
    uint64_t seed;
    struct sim_options options;
    struct layout *layout; /* owned; NULL: Maglev */
    struct trace trace;
    struct io_sim *world;
    struct checker checker;
    struct log log;
    bool show_log; /* print the workers' log lines too */

    struct host_role roles[IO_SIM_HOSTS_MAX];
    struct sim_proxy proxies[SIM_PROXIES_MAX];
    struct agreement agreement;
    bool lagging; /* proxies hear of new members at different times */
    uint64_t turns_without_progress[IO_SIM_HOSTS_MAX];
    uint64_t bytes_at_progress, time_at_progress;

    struct redis_model *nodes[SIM_NODES_MAX];
    bool node_present[SIM_NODES_MAX]; /* in the view */
    uint32_t node_weight[SIM_NODES_MAX];
    uint64_t view_at; /* when the next view is posted */
    unsigned view_changes;

    struct client_model *clients[SIM_CLIENTS_MAX];
    struct client_model *inspector; /* the strict one */
    struct faults faults;
    uint64_t started_at, drain_at;
    uint64_t steps;
};

/* A world with everything in it and nothing done yet. No clients or faults of its own are made if
 * the options have none. NULL never. */
struct sim *sim_new(uint64_t seed, const struct sim_options *options, FILE *print, bool keep);
struct sim *sim_free(struct sim *s);

/* From now on the nodes that are present are the members; without a control plane: posts a view of
 * them. */
void sim_post_view(struct sim *s);

/* One turn of somebody who can run, or time moves on, at most to `limit`. False: a check failed. */
bool sim_step(struct sim *s, uint64_t limit);
/* Steps until `at`. False: a check failed. */
bool sim_run_until(struct sim *s, uint64_t at);

/* The whole drawn story, to the end. True: all checks held. */
bool sim_run(struct sim *s);

/* For scenarios: faults end, nodes must be well, nothing may be left, workers drain. */
bool sim_conclude(struct sim *s);
