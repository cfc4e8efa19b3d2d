/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs from their beginning to their end, and what becomes of them as nodes go and come. What they
 * promise: job.h. */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DEBTS_MAX = 16,     /* ended jobs that a node which is out owes; with more it is flushed */
    PATTERN_SHOWN = 80, /* bytes of a pattern in the log */
};

#define REVIEW (50 * NSEC_MS)

static int shown_len(const struct job *j)
{
    return (int)(j->pattern_len < PATTERN_SHOWN ? j->pattern_len : PATTERN_SHOWN);
}

static void review_soon(struct job *j)
{
    if (j->slot)
        timer_set(&j->timer, control_now(j->control));
}

/* ---- ending ---- */

void job_let_go(struct job *j)
{
    if (j->slot || j->passes > 0 || !list_empty(&j->scans))
        return;
    list_remove(&j->link);
    timer_unmake(&j->timer);
    free(j);
}

static bool has_ended(const struct job_scan *s)
{
    return !s->job->slot;
}

static bool removes_the_same(const struct job *a, const struct job *b)
{
    return a->database == b->database && a->pattern_len == b->pattern_len &&
           memcmp(a->pattern, b->pattern, a->pattern_len) == 0;
}

/* The job is done but for this node, which is out: it is owed. A pass for this one is one for any
 * earlier one of the same pattern too. */
static void owe(struct job_scan *s)
{
    struct control_node *n = s->node;
    unsigned owed = 0;
    list_for_each_safe (link, &n->scans) {
        struct job_scan *o = list_item(link, struct job_scan, of_node);
        if (o != s && has_ended(o) && removes_the_same(o->job, s->job))
            job_scan_drop(o);
        else
            owed += has_ended(o);
    }
    if (owed <= DEBTS_MAX)
        return;
    n->lost = true;
    metric_add(&n->control->metrics.job_debts_dropped, owed);
    list_for_each_safe (link, &n->scans) {
        struct job_scan *o = list_item(link, struct job_scan, of_node);
        if (has_ended(o))
            job_scan_drop(o);
    }
}

static void count_active(struct control *c, int by)
{
    c->jobs.active = (unsigned)((int)c->jobs.active + by);
    metric_set(&c->metrics.jobs_active, c->jobs.active);
}

static void end(struct job *j, enum job_state state, const char *why)
{
    struct control *c = j->control;
    struct job_slot *slot = j->slot;
    static const char *const EVENTS[] = {
        [JOB_DONE] = "job-done", [JOB_CANCELLED] = "job-cancelled", [JOB_FAILED] = "job-failed"};
    uint64_t took = control_now(c) - job_slot_get(slot, JOB_BEGAN);
    log_event(c->log, state == JOB_FAILED ? LOG_ERROR : LOG_INFO, EVENTS[state],
              "id=%" PRIu64 " pattern=\"%.*s\" nodes=%" PRIu64 " out=%" PRIu64 " scanned=%" PRIu64
              " unlinked=%" PRIu64 " took_ms=%" PRIu64 " reason=\"%s\"",
              j->id, shown_len(j), j->pattern, job_slot_get(slot, JOB_NODES_DONE),
              job_slot_get(slot, JOB_NODES_OUT), job_slot_get(slot, JOB_SCANNED),
              job_slot_get(slot, JOB_UNLINKED), took / NSEC_MS, why);
    job_table_end(&c->jobs.table, slot, state, control_now(c), why);
    j->slot = NULL;
    count_active(c, -1);
    timer_clear(&j->timer);
    j->passes++; /* it is not freed under the loop */
    list_for_each_safe (link, &j->scans) {
        struct job_scan *s = list_item(link, struct job_scan, of_job);
        if (state != JOB_DONE || s->state == JOB_SCAN_DONE)
            job_scan_drop(s);
    }
    list_for_each_safe (link, &j->scans)
        owe(list_item(link, struct job_scan, of_job));
    j->passes--;
    job_let_go(j);
}

/* ---- running ---- */

/* No worker sends anything to a node that is not in the ring. */
static bool is_at_rest(const struct control *c)
{
    const struct mover *m = &c->mover;
    return c->began && m->stage == MOVE_REST && !m->retarget_due && !m->republish &&
           mover_all_have_adopted(c, c->version);
}

static void on_review_time(struct timer *t)
{
    struct job *j = container_of(t, struct job, timer);
    unsigned open = 0, out = 0;
    list_for_each (link, &j->scans) {
        const struct job_scan *s = list_item(link, struct job_scan, of_job);
        if (s->state == JOB_SCAN_DONE)
            continue;
        if (s->node->state == NODE_OUT || s->node->state == NODE_JOINING)
            out++;
        else
            open++;
    }
    job_slot_set(j->slot, JOB_NODES_OUT, out);
    if (open > 0 || !is_at_rest(j->control)) {
        timer_set(t, control_now(j->control) + REVIEW);
        return;
    }
    metric_add(&j->control->metrics.jobs_done, 1);
    end(j, JOB_DONE, "");
}

void job_scan_done(struct job_scan *s)
{
    struct job *j = s->job;
    struct control_node *n = s->node;
    s->node = NULL;
    log_event(n->control->log, n->state == NODE_JOINING ? LOG_INFO : LOG_DEBUG, "job-node-done",
              "id=%" PRIu64 " node=%s", j->id, n->member.name);
    job_count(j, JOB_NODES_DONE, 1);
    review_soon(j);
    if (has_ended(s))
        job_scan_drop(s);
    if (list_empty(&n->scans))
        cleaner_scanned(n);
}

static void fail(struct job *j, const char *why)
{
    metric_add(&j->control->metrics.jobs_failed, 1);
    end(j, JOB_FAILED, why);
}

void job_scan_refused(struct job_scan *s, const char *why)
{
    struct control_node *n = s->node;
    if (n->state == NODE_JOINING) { /* who cannot be gone through is flushed */
        log_event(n->control->log, LOG_WARN, "job-node-refused",
                  "id=%" PRIu64 " node=%s reason=\"%s\"", s->job->id, n->member.name, why);
        n->lost = true;
        jobs_node_stops(n);
        cleaner_scanned(n);
        return;
    }
    char text[JOB_WHY_MAX];
    snprintf(text, sizeof(text), "%.40s: %.80s", n->member.name, why);
    fail(s->job, text);
}

/* False: out of memory, and it has failed. */
static bool add_scan(struct job *j, struct control_node *n)
{
    if (!job_scan_new(j, n)) {
        fail(j, "out of memory");
        return false;
    }
    job_count(j, JOB_NODES, 1);
    return true;
}

static void begin(struct control *c, struct job_slot *slot, struct job *j)
{
    j->count = job_slot_get(slot, JOB_COUNT);
    j->rate = job_slot_get(slot, JOB_RATE);
    j->began = control_now(c);
    job_slot_set(slot, JOB_BEGAN, j->began);
    job_slot_set(slot, JOB_STATE, JOB_RUNNING);
    count_active(c, 1);
    list_push_tail(&c->jobs.all, &j->link);
    log_event(c->log, LOG_INFO, "job-started",
              "id=%" PRIu64 " db=%u pattern=\"%.*s\" count=%" PRIu64 " rate=%" PRIu64, j->id,
              j->database, shown_len(j), j->pattern, j->count, j->rate);
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && !add_scan(j, c->nodes[i]))
            return;
    review_soon(j);
    list_for_each_safe (link, &j->scans)
        job_scan_step(list_item(link, struct job_scan, of_job));
}

/* ---- nodes that go and come ---- */

void jobs_node_added(struct control_node *n)
{
    list_for_each_safe (link, &n->control->jobs.all) {
        struct job *j = list_item(link, struct job, link);
        if (j->slot && add_scan(j, n))
            job_scan_step(list_item(j->scans.prev, struct job_scan, of_job));
    }
}

void jobs_node_stops(struct control_node *n)
{
    list_for_each_safe (link, &n->scans)
        job_scan_stop(list_item(link, struct job_scan, of_node));
}

bool jobs_node_joins(struct control_node *n)
{
    if (list_empty(&n->scans))
        return false;
    list_for_each_safe (link, &n->scans)
        job_scan_step(list_item(link, struct job_scan, of_node));
    return true;
}

void jobs_node_emptied(struct control_node *n, uint64_t at)
{
    list_for_each_safe (link, &n->scans) {
        struct job_scan *s = list_item(link, struct job_scan, of_node);
        if (s->job->began > at)
            continue;
        job_scan_stop(s);
        s->state = JOB_SCAN_DONE;
        list_remove(&s->of_node);
        job_scan_done(s);
    }
}

void jobs_node_gone(struct control_node *n)
{
    list_for_each_safe (link, &n->scans) {
        struct job_scan *s = list_item(link, struct job_scan, of_node);
        job_scan_stop(s);
        job_count(s->job, JOB_NODES, (uint64_t)-1);
        review_soon(s->job);
        job_scan_drop(s);
    }
}

/* ---- what workers ask for ---- */

struct job_message {
    struct message message;
    struct job_slot *slot; /* of one that begins */
    struct job *job;       /* owned: the same */
    uint64_t id;
};

static void deliver_start(struct message *m, void *receiver)
{
    struct job_message *jm = container_of(m, struct job_message, message);
    struct control *c = receiver;
    struct job *j = jm->job;
    j->control = c;
    j->slot = jm->slot;
    j->id = jm->id;
    list_init(&j->scans);
    if (timer_make(&j->timer, &c->loop.timers, on_review_time) == 0) {
        begin(c, jm->slot, j);
    } else {
        job_table_end(&c->jobs.table, jm->slot, JOB_FAILED, control_now(c), "out of memory");
        free(j);
    }
    free(jm);
}

int control_start_job(struct control *c, const struct job_order *order, uint64_t *ret_id)
{
    struct str pattern = order->pattern;
    struct job_message *m = malloc(sizeof(*m));
    struct job *j = calloc(1, sizeof(*j) + pattern.len + 1);
    int err = m && j ? 0 : -ENOMEM;
    if (!err) {
        *m = (struct job_message){.message.deliver = deliver_start, .job = j};
        err = job_table_add(&c->jobs.table, order, &m->slot);
    }
    if (err) {
        free(m);
        free(j);
        return err;
    }
    j->database = order->database;
    j->pattern_len = pattern.len;
    if (pattern.len > 0)
        memcpy(j->pattern, pattern.p, pattern.len);
    /* No other thread ends it before it is delivered. */
    m->id = atomic_load_explicit(&m->slot->id, memory_order_relaxed);
    *ret_id = m->id;
    mailbox_post(&c->mailbox, &m->message);
    return 0;
}

static void deliver_cancel(struct message *m, void *receiver)
{
    struct job_message *jm = container_of(m, struct job_message, message);
    struct control *c = receiver;
    list_for_each_safe (link, &c->jobs.all) {
        struct job *j = list_item(link, struct job, link);
        if (j->slot && j->id == jm->id)
            end(j, JOB_CANCELLED, "");
    }
    free(jm);
}

int control_cancel_job(struct control *c, uint64_t id)
{
    struct job_message *m = malloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct job_message){.message.deliver = deliver_cancel, .id = id};
    mailbox_post(&c->mailbox, &m->message);
    return 0;
}

const struct job_table *control_jobs(const struct control *c)
{
    return &c->jobs.table;
}

/* ---- life ---- */

int jobs_init(struct jobs *jobs, const struct control_settings *settings)
{
    *jobs = (struct jobs){0};
    list_init(&jobs->all);
    return job_table_init(&jobs->table, settings->jobs_max);
}

void jobs_fini(struct jobs *jobs)
{
    list_for_each_safe (link, &jobs->all) {
        struct job *j = list_item(link, struct job, link);
        j->slot = NULL;
        j->passes++;
        list_for_each_safe (scan, &j->scans)
            job_scan_drop(list_item(scan, struct job_scan, of_job));
        j->passes--;
        job_let_go(j);
    }
    job_table_fini(&jobs->table);
}
