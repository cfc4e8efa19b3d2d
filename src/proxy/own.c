/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/own.h"

#include "cluster/job_table.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    COUNT_DEFAULT = 1000, /* keys that one SCAN looks at: a node is busy for some 0.3 ms */
    COUNT_MAX = 10000,
};
#define RATE_MAX INT64_C(1000000000)

static struct str arg(struct client *c, size_t index)
{
    return args_str(&c->worker->args, index);
}

/* ---- SUMCACHE.UNLINK MATCH pattern [COUNT n] [RATE keys a second], in the client's database ----
 */

/* A number behind an option. False: the error is written. */
static bool take_option(struct client *c, size_t at, int64_t max, uint64_t *ret,
                        struct reply_out *o)
{
    int64_t value;
    if (str_to_i64(arg(c, at), &value) != 0) {
        reply_error(o, "ERR value is not an integer or out of range");
        return false;
    }
    if (value < 1 || value > max) {
        reply_error(o, "ERR value is out of range, must be between 1 and %" PRId64, max);
        return false;
    }
    *ret = (uint64_t)value;
    return true;
}

static void start_job(struct client *c, struct job_order *order, struct reply_out *o)
{
    struct worker *w = c->worker;
    uint64_t id;
    order->database = c->database;
    order->since_ms = w->loop.io->ops->wall_us(w->loop.io->ctx) / 1000;
    int err = w->control ? control_start_job(w->control, order, &id) : -ENOTSUP;
    if (err == 0) {
        reply_int(o, (int64_t)id);
    } else if (err == -EAGAIN) {
        metric_add(&w->metrics.jobs_refused, 1);
        reply_error(o, "ERR sumcache: too many jobs run (limits.jobs)");
    } else if (err == -ENOTSUP) {
        reply_error(o, "ERR sumcache: this proxy runs no jobs");
    } else {
        failure_write(o, FAILURE_MEMORY, NULL);
    }
}

static void answer_unlink(struct client *c, struct reply_out *o)
{
    size_t args = c->worker->args.count;
    struct job_order order = {.count = COUNT_DEFAULT};
    bool given = false;
    for (size_t i = 1; i < args; i += 2) {
        bool pair = i + 1 < args;
        if (pair && str_eq_nocase(arg(c, i), STR("match"))) {
            order.pattern = arg(c, i + 1);
            given = true;
        } else if (pair && str_eq_nocase(arg(c, i), STR("count"))) {
            if (!take_option(c, i + 1, COUNT_MAX, &order.count, o))
                return;
        } else if (pair && str_eq_nocase(arg(c, i), STR("rate"))) {
            if (!take_option(c, i + 1, RATE_MAX, &order.rate, o))
                return;
        } else {
            reply_error(o, "ERR syntax error");
            return;
        }
    }
    if (!given)
        reply_error(o, "ERR syntax error");
    else if (order.pattern.len > JOB_PATTERN_MAX)
        reply_error(o, "ERR sumcache: a pattern has at most %d bytes", JOB_PATTERN_MAX);
    else
        start_job(c, &order, o);
}

/* ---- SUMCACHE.JOBS [id | CANCEL id] ---- */

static void write_figure(struct reply_out *o, const char *name, int64_t value)
{
    reply_bulk(o, str_of(name));
    reply_int(o, value);
}

static void write_text(struct reply_out *o, const char *name, struct str value)
{
    reply_bulk(o, str_of(name));
    reply_bulk(o, value);
}

static void write_job(struct reply_out *o, const struct job_info *j, uint64_t now)
{
    const uint64_t *f = j->figures;
    uint64_t until = f[JOB_ENDED] ? f[JOB_ENDED] : now;
    uint64_t took = f[JOB_BEGAN] && until > f[JOB_BEGAN] ? until - f[JOB_BEGAN] : 0;
    reply_map(o, 15);
    write_figure(o, "id", (int64_t)j->id);
    write_text(o, "pattern", (struct str){j->pattern, (size_t)f[JOB_PATTERN_LEN]});
    write_text(o, "state", str_of(job_state_name((enum job_state)f[JOB_STATE])));
    write_figure(o, "nodes", (int64_t)f[JOB_NODES]);
    write_figure(o, "nodes_done", (int64_t)f[JOB_NODES_DONE]);
    write_figure(o, "nodes_out", (int64_t)f[JOB_NODES_OUT]);
    write_figure(o, "keys", (int64_t)f[JOB_KEYS]);
    write_figure(o, "scanned", (int64_t)f[JOB_SCANNED]);
    write_figure(o, "unlinked", (int64_t)f[JOB_UNLINKED]);
    write_figure(o, "since", (int64_t)(f[JOB_SINCE] / 1000));
    write_figure(o, "took_ms", (int64_t)(took / 1000000));
    write_figure(o, "eta_ms", job_info_eta_ms(j, now));
    write_figure(o, "rate", (int64_t)f[JOB_RATE]);
    write_figure(o, "db", (int64_t)f[JOB_DATABASE]);
    write_text(o, "reason", str_of(j->why));
}

static void list_jobs(struct client *c, struct reply_out *o)
{
    const struct job_table *t = control_jobs(c->worker->control);
    struct job_info *all = malloc(JOBS_SHOWN_MAX * sizeof(*all));
    if (!all) {
        failure_write(o, FAILURE_MEMORY, NULL);
        return;
    }
    unsigned count = job_table_list(t, all);
    reply_array(o, count);
    for (unsigned i = 0; i < count; i++)
        write_job(o, &all[i], worker_now(c->worker));
    free(all);
}

static void cancel_job(struct client *c, const struct job_info *j, struct reply_out *o)
{
    if (!job_state_is_active((enum job_state)j->figures[JOB_STATE]))
        reply_error(o, "ERR sumcache: the job has ended");
    else if (control_cancel_job(c->worker->control, j->id) != 0)
        failure_write(o, FAILURE_MEMORY, NULL);
    else
        reply_simple(o, "OK");
}

static void answer_jobs(struct client *c, struct reply_out *o)
{
    struct worker *w = c->worker;
    bool cancels = w->args.count == 3 && str_eq_nocase(arg(c, 1), STR("cancel"));
    int64_t id = 0;
    struct job_info j;
    if (w->args.count > 2 && !cancels) {
        reply_error(o, "ERR syntax error");
    } else if (w->args.count > 1 && str_to_i64(arg(c, w->args.count - 1), &id) != 0) {
        reply_error(o, "ERR value is not an integer or out of range");
    } else if (w->args.count == 1) {
        if (w->control)
            list_jobs(c, o);
        else
            reply_array(o, 0);
    } else if (id < 1 || !w->control ||
               !job_table_find(control_jobs(w->control), (uint64_t)id, &j)) {
        reply_error(o, "ERR sumcache: no such job");
    } else if (cancels) {
        cancel_job(c, &j, o);
    } else {
        reply_array(o, 1);
        write_job(o, &j, worker_now(w));
    }
}

/* ---- SUMCACHE.WHERE key … ---- */

/* The node's name; behind it, if it is not up, its state, and whether the key is on its way. */
static void write_place(struct client *c, struct str key, struct reply_out *o)
{
    struct worker *w = c->worker;
    if (!w->view || !w->view->ring) {
        reply_null(o);
        return;
    }
    uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
    const struct view_node *n = &w->view->nodes[maglev_lookup(w->view->ring, hash)];
    bool moves = view_flags(w->view, hash) & (VIEW_PARTING | VIEW_FENCED);
    char text[VIEW_NODE_NAME_MAX + 32];
    int len = snprintf(text, sizeof(text), "%s%s%s%s", n->name, n->state == VIEW_UP ? "" : " ",
                       n->state == VIEW_UP ? "" : view_state_name((enum view_state)n->state),
                       moves ? " moving" : "");
    reply_bulk(o, (struct str){text, (size_t)len});
}

static void answer_where(struct client *c, struct reply_out *o)
{
    size_t count = c->worker->args.count;
    for (size_t i = 1; i < count; i++)
        if (!arg(c, i).p && args_len(&c->worker->args, i) > 0) {
            failure_write(o, FAILURE_MEMORY, NULL);
            return;
        }
    reply_array(o, count - 1);
    for (size_t i = 1; i < count; i++)
        write_place(c, arg(c, i), o);
}

bool own_answer(struct client *c, const struct command *command, struct reply_out *o)
{
    switch (command->id) {
    case COMMAND_ID_SUMCACHE_JOBS:
        answer_jobs(c, o);
        return true;
    case COMMAND_ID_SUMCACHE_UNLINK:
        answer_unlink(c, o);
        return true;
    case COMMAND_ID_SUMCACHE_WHERE:
        answer_where(c, o);
        return true;
    default:
        return false;
    }
}
