/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that remove all keys, one after another while nodes fail. To who knows what is stale one of
 * them is a delete of each key, which begins when it is asked for and is acknowledged when the
 * table says that it is done.
 */
#pragma once
#include "checker.h"
#include "cluster/control.h"

struct job_draws {
    struct io_sim *world;
    struct checker *checker;
    const struct sim_options *options;
    unsigned process;        /* as the checker counts them */
    struct control *control; /* loan; NULL: there are none */
    uint64_t next_at;        /* ns: when the next one is asked for; NSEC_NEVER: none is */
    uint64_t id;             /* of the one under way; 0: there is none */
    uint64_t begun;          /* moment: see stale.h */
    uint64_t begun_at;       /* ns */
    unsigned done;
};

void job_draws_init(struct job_draws *d, struct io_sim *world, struct checker *checker,
                    const struct sim_options *options, unsigned process, struct control *control);
uint64_t job_draws_next(const struct job_draws *d);
/* Time has moved on. */
void job_draws_run(struct job_draws *d);

static inline bool job_draws_is_busy(const struct job_draws *d)
{
    return d->id != 0;
}
