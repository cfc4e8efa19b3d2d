/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole simulated run: workers (the real ones), nodes, clients and faults in one world and one
 * thread. Scenarios make one with options of their own and drive it by hand; sim_run() does all.
 */
#pragma once
#include "ejections.h"
#include "faults.h"
#include "proxy/worker.h"
#include "sources.h"
#include "view_post.h"

struct sim {
    uint64_t seed;
    struct sim_options options;
    struct layout *layout; /* owned; NULL: Maglev */
    struct trace trace;
    struct io_sim *world;
    struct checker checker;
    struct log log;
    bool show_log; /* print the workers' log lines too */

    struct addr proxy_addr;
    struct worker *workers[SIM_WORKERS_MAX];
    struct io *worker_ios[SIM_WORKERS_MAX];
    bool worker_ended[SIM_WORKERS_MAX];
    struct control *control; /* NULL: there is none */
    struct io *control_io;
    struct sources sources;
    struct ejections ejections;
    uint64_t turns_without_progress[IO_SIM_HOSTS_MAX];
    uint64_t bytes_at_progress, time_at_progress;
    uint64_t connects_checked[SIM_WORKERS_MAX];

    struct redis_model *nodes[SIM_NODES_MAX];
    bool node_present[SIM_NODES_MAX]; /* in the view */
    uint32_t node_weight[SIM_NODES_MAX];
    uint64_t view_version;
    struct view_post view_post;
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
