/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views on their way to workers. A worker looks into its mailbox when its loop gets there, so each
 * works by its own view for a while, also several views behind another. Here each view takes a
 * drawn time to each worker, and never overtakes the one before it.
 */
#pragma once
#include "options.h"
#include "proxy/worker.h"

struct view_post_queue {
    struct view_post_item *items; /* owned; oldest first */
    uint32_t count, room;
    bool closed; /* the worker has ended */
};

struct view_post {
    struct io_sim *world;
    const struct sim_options *options;
    struct worker **workers; /* loan; options->workers of them */
    struct view_post_queue queues[SIM_WORKERS_MAX];
};

void view_post_init(struct view_post *p, struct io_sim *world, const struct sim_options *options,
                    struct worker **workers);
void view_post_fini(struct view_post *p);

/* To all workers. The very first view is there at once: nobody serves without one. */
void view_post_send(struct view_post *p, struct view *v);
/* Views from this version on that are on their way to this worker are there at `until`, not before:
 * for stories. */
void view_post_hold(struct view_post *p, unsigned worker, uint64_t version, uint64_t until);
/* This worker takes no more. */
void view_post_close(struct view_post *p, unsigned worker);

/* When it wants to be called next; NSEC_NEVER: nothing is on its way. */
uint64_t view_post_next(const struct view_post *p);
void view_post_run(struct view_post *p);
