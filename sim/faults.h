/* SPDX-License-Identifier: Apache-2.0 */
/* Draws what goes wrong, and puts everything right again at the end. */
#pragma once
#include "client_model.h"
#include "redis_model.h"

struct faults {
    struct io_sim *world;
    const struct sim_options *options;
    struct redis_model **nodes;    /* loan; options->nodes of them */
    struct client_model **clients; /* loan; options->clients of them */
    struct io **workers;           /* loan; options->workers of them */
    struct io *control;            /* loan; NULL: there is none */
    uint64_t next_at;              /* NSEC_NEVER: no more */
    uint64_t end_at;
    uint64_t count;
    uint64_t road_until[SIM_NODES_MAX];     /* 0: open */
    uint64_t paused_until[SIM_WORKERS_MAX]; /* when a worker's last pause ended */
    uint64_t control_paused_until;
};

void faults_init(struct faults *f, struct io_sim *world, const struct sim_options *options,
                 struct redis_model **nodes, struct client_model **clients, struct io **workers,
                 struct io *control);

/* When it wants to be called next; it is no host, so whoever runs the world asks. */
uint64_t faults_next(const struct faults *f);
void faults_run(struct faults *f);
