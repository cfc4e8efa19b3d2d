/* SPDX-License-Identifier: Apache-2.0 */
#include "job_draws.h"

#include "base/nsec.h"
#include "cluster/job_table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void job_draws_init(struct job_draws *d, struct io_sim *world, struct checker *checker,
                    const struct sim_options *options, unsigned process, struct control *control)
{
    bool draws = control && options->job_interval > 0;
    *d = (struct job_draws){
        .world = world,
        .checker = checker,
        .options = options,
        .process = process,
        .control = control,
        .next_at = draws ? io_sim_now(world) + options->job_interval : NSEC_NEVER,
    };
}

uint64_t job_draws_next(const struct job_draws *d)
{
    if (!d->control || d->id != 0)
        return NSEC_NEVER; /* what moves a job is somebody's turn */
    return d->next_at;
}

/* A node has refused it since it began, and that is what it says. */
static bool was_refused(const struct job_draws *d, const struct job_info *j)
{
    return (enum job_state)j->figures[JOB_STATE] == JOB_FAILED &&
           d->checker->refused_early_at >= d->begun_at && d->checker->refused_early_at != 0 &&
           strstr(j->why, ": UNLINK: ERR Protocol error: invalid bulk length");
}

static void look_at(struct job_draws *d)
{
    struct job_info j;
    if (!job_table_find(control_jobs(d->control), d->id, &j)) {
        checker_fail(d->checker, "job %" PRIu64 " is gone from the table", d->id);
        return;
    }
    enum job_state state = (enum job_state)j.figures[JOB_STATE];
    if (job_state_is_active(state))
        return;
    bool refused = was_refused(d, &j); /* it has removed some keys, and says that it has not all */
    if (state != JOB_DONE && !refused)
        checker_fail(d->checker, "job %" PRIu64 " is %s: %s", d->id, job_state_name(state), j.why);
    if (!refused) {
        stale_all_cleared(d->checker, d->process, d->begun);
        d->done++;
    }
    d->id = 0;
    uint64_t now = io_sim_now(d->world);
    d->next_at = now < d->options->end_of_faults ? now + d->options->job_interval : NSEC_NEVER;
}

void job_draws_run(struct job_draws *d)
{
    if (!d->control)
        return; /* its process has ended */
    if (d->id != 0) {
        look_at(d);
        return;
    }
    if (io_sim_now(d->world) < d->next_at)
        return;
    uint64_t rate = rng_below(io_sim_rng(d->world), 2) * 1000;
    uint64_t count = 1 + rng_below(io_sim_rng(d->world), 100);
    d->begun = stale_moment(d->checker);
    d->begun_at = io_sim_now(d->world);
    struct job_order order = {.pattern = STR("*"), .count = count, .rate = rate};
    int err = control_start_job(d->control, &order, &d->id);
    if (err)
        checker_fail(d->checker, "a job cannot begin: %d", err);
}
