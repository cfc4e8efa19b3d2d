/* SPDX-License-Identifier: Apache-2.0 */
/* Draws what goes wrong, and puts everything right again at the end. */
#pragma once
#include "client_model.h"
#include "proxy.h"
#include "redis_model.h"

struct faults {
    struct io_sim *world;
    const struct sim_options *options;
    struct redis_model **nodes;    /* loan; options->nodes of them */
    struct client_model **clients; /* loan; options->clients of them */
    struct sim_proxy *proxies;     /* loan; options->proxies of them */
    uint64_t next_at;              /* NSEC_NEVER: no more */
    uint64_t end_at;
    uint64_t count;
    uint64_t road_until[SIM_NODES_MAX]; /* 0: open */
};

void faults_init(struct faults *f, struct io_sim *world, const struct sim_options *options,
                 struct redis_model **nodes, struct client_model **clients,
                 struct sim_proxy *proxies);

/* When it wants to be called next; it is no host, so whoever runs the world asks. */
uint64_t faults_next(const struct faults *f);
void faults_run(struct faults *f);
