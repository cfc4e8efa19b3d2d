/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node gone through for a job: SCAN MATCH, and UNLINK of what it names, step by step. A step is
 * over when its UNLINKs are answered; only then its cursor counts. So if the connection is lost,
 * the step is made again, by another connection to the same process.
 *
 * Its load is bounded: after each step it rests several times as long as the step took, longer the
 * more jobs there are; and by the rate that the job was given. A node that is joining serves nobody
 * and is not spared.
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/job.h"
#include "cluster/scan_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REST = 4,      /* all jobs together keep a node busy for at most a fifth of its time */
    REGROWTH = 64, /* steps after which most of what was halved is there again */
};

#define RETRY     (50 * NSEC_MS)
#define STEP_MIN  NSEC_MS         /* a step counts as at least this long */
#define STEP_EACH (100 * NSEC_MS) /* a low rate makes steps smaller, down to one each … */

static struct control *control_of(const struct job_scan *s)
{
    return s->job->control;
}

static bool is_joining(const struct job_scan *s)
{
    return s->node->state == NODE_JOINING;
}

/* Is it a time to go through the node? While it is out, or at another step of joining, it is not.
 */
static bool may_run(const struct job_scan *s)
{
    const struct control_node *n = s->node;
    return n->state == NODE_NEW || n->state == NODE_UP || (is_joining(s) && n->join == JOIN_SCAN);
}

static bool is_waiting(const struct job_scan *s)
{
    return !list_empty(&s->call.link) || s->unlinks.out > 0;
}

static void again(struct job_scan *s, uint64_t after)
{
    timer_set(&s->timer, control_now(control_of(s)) + after);
}

/* ---- passes ---- */

void job_scan_stop(struct job_scan *s)
{
    if (s->state == JOB_SCAN_RUNS) {
        job_count(s->job, JOB_KEYS, 0 - s->keys);
        job_count(s->job, JOB_SCANNED, 0 - s->scanned);
        s->state = JOB_SCAN_DUE;
    }
    timer_clear(&s->timer);
}

static void begin(struct job_scan *s)
{
    must(s->state == JOB_SCAN_DUE);
    s->state = JOB_SCAN_RUNS;
    s->sized = false;
    s->cursor = s->next = 0;
    s->keys = s->scanned = 0;
    s->paced_at = control_now(control_of(s));
    s->connection = s->node->probe.connections;
    memcpy(s->run_id, s->node->probe.run_id, sizeof(s->run_id));
}

/* Its cursor means nothing to another process. After a new connection, one that does not say who it
 * is may be another. */
static bool is_same_process(const struct job_scan *s)
{
    const struct probe *p = &s->node->probe;
    return s->connection == p->connections || (s->run_id[0] && strcmp(s->run_id, p->run_id) == 0);
}

static void count_scanned(struct job_scan *s, bool last)
{
    uint64_t was = s->scanned;
    s->scanned += s->count;
    if (s->scanned > s->keys || last)
        s->scanned = s->keys;
    job_count(s->job, JOB_SCANNED, s->scanned - was);
    metric_add(&control_of(s)->metrics.job_keys_scanned, s->scanned - was);
}

static void rest(struct job_scan *s)
{
    struct control *c = control_of(s);
    uint64_t now = control_now(c), took = now - s->step_began;
    if (is_joining(s)) {
        job_scan_step(s);
        return;
    }
    if (took < STEP_MIN)
        took = STEP_MIN;
    uint64_t at = now + REST * took * (c->jobs.active > 0 ? c->jobs.active : 1);
    if (s->job->rate > 0) {
        s->paced_at += s->count * NSEC_S / s->job->rate;
        if (s->paced_at + NSEC_S < now) /* what was lost by waiting is not made up for */
            s->paced_at = now;
        at = at > s->paced_at ? at : s->paced_at;
    }
    timer_set(&s->timer, at);
}

static void step_is_over(struct job_scan *s)
{
    count_scanned(s, s->next == 0);
    s->count += (s->count_max - s->count + REGROWTH - 1) / REGROWTH;
    s->cursor = s->next;
    if (s->cursor != 0) {
        rest(s);
        return;
    }
    s->state = JOB_SCAN_DONE;
    list_remove(&s->of_node);
    job_scan_done(s);
}

/* ---- answers ---- */

/* Of those whose time is over, or that have come too late. True: there is nothing more to do. */
static bool is_past(struct job_scan *s)
{
    if (s->dropped) {
        if (!is_waiting(s))
            job_scan_drop(s);
        return true;
    }
    if (s->state != JOB_SCAN_RUNS) { /* stopped meanwhile */
        if (s->node && may_run(s))
            job_scan_step(s);
        return true;
    }
    return false;
}

/* What a node says that is busy with something else, and not for good. */
static bool is_transient(struct str text)
{
    static const char *const WORDS[] = {"LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        size_t len = strlen(WORDS[i]);
        if (text.len >= len && memcmp(text.p, WORDS[i], len) == 0)
            return true;
    }
    return false;
}

static void take_keys(struct job_scan *s, struct scan_reply *r)
{
    struct unlink_batch b;
    unlink_begin(&b, s->node, &s->unlinks);
    s->next = r->cursor;
    s->unlinks.removed = 0;
    s->unlinks.failed = false;
    /* An answer may come before all are sent, if the connection breaks: that is not the end. */
    s->unlinks.out++;
    bool bad = false;
    while (r->keys > 0 && !b.failed && !bad) {
        struct str key;
        bad = scan_reply_next(r, &key) != 0;
        if (!bad && (s->job->database > 0 || !control_is_own_key(key)))
            unlink_add(&b, s->job->database, key);
    }
    if (bad)
        unlink_drop(&b);
    else
        unlink_send(&b);
    s->unlinks.failed = s->unlinks.failed || b.failed || bad;
    if (--s->unlinks.out == 0)
        s->unlinks.done(&s->unlinks);
}

static void scanned(struct probe_call *call, const struct probe_reply *r)
{
    struct job_scan *s = container_of(call, struct job_scan, call);
    struct scan_reply keys;
    if (is_past(s))
        return;
    if (!r) { /* it may have been too long for the probe */
        s->count = s->count > 1 ? s->count / 2 : 1;
        again(s, RETRY);
    } else if (r->type == '*' && scan_reply_begin(r->whole, &keys) == 0) {
        take_keys(s, &keys);
    } else if (probe_lacks_database(call, r)) {
        s->next = 0;
        step_is_over(s);
    } else if (r->type == '-' && is_transient(r->text)) {
        again(s, RETRY);
    } else if (r->type == '-') {
        char why[CONTROL_WHY_MAX];
        snprintf(why, sizeof(why), "SCAN: %.*s", (int)(r->text.len < 80 ? r->text.len : 80),
                 r->text.p);
        job_scan_refused(s, why);
    } else { /* no answer to that: what was answered before may have been none either */
        job_scan_stop(s);
        again(s, RETRY);
    }
}

static void unlinked(struct unlink_group *g)
{
    struct job_scan *s = container_of(g, struct job_scan, unlinks);
    job_count(s->job, JOB_UNLINKED, g->removed);
    metric_add(&control_of(s)->metrics.job_keys_unlinked, g->removed);
    g->removed = 0;
    if (is_past(s))
        return;
    if (g->failed)
        again(s, RETRY); /* the same step */
    else
        step_is_over(s);
}

static void refused(struct unlink_group *g, const char *why)
{
    struct job_scan *s = container_of(g, struct job_scan, unlinks);
    g->out++; /* it is still to be told that all are answered */
    if (!s->dropped && s->state == JOB_SCAN_RUNS)
        job_scan_refused(s, why);
    g->out--;
}

static void sized(struct probe_call *call, const struct probe_reply *r)
{
    struct job_scan *s = container_of(call, struct job_scan, call);
    if (is_past(s))
        return;
    s->sized = r != NULL; /* who may not ask for it goes without */
    if (r && r->type == ':' && r->number > 0) {
        s->keys = (uint64_t)r->number;
        job_count(s->job, JOB_KEYS, s->keys);
    }
    if (r)
        job_scan_step(s);
    else
        again(s, RETRY);
}

/* ---- steps ---- */

static int ask_for_size(struct job_scan *s)
{
    static const struct str WORDS[] = {{"DBSIZE", 6}};
    s->call.done = sized;
    s->call.database = s->job->database;
    return probe_send_words(&s->node->probe, &s->call, WORDS, 1);
}

static int ask_for_keys(struct job_scan *s)
{
    char cursor[24], count[24];
    int cursor_len = snprintf(cursor, sizeof(cursor), "%" PRIu64, s->cursor);
    int count_len = snprintf(count, sizeof(count), "%" PRIu64, s->count);
    struct str words[] = {STR("SCAN"),  {cursor, (size_t)cursor_len},
                          STR("MATCH"), {s->job->pattern, s->job->pattern_len},
                          STR("COUNT"), {count, (size_t)count_len}};
    s->call.done = scanned;
    s->call.database = s->job->database;
    return probe_send_words(&s->node->probe, &s->call, words, 6);
}

void job_scan_step(struct job_scan *s)
{
    struct control_node *n = s->node;
    must(s->state != JOB_SCAN_DONE && !s->dropped);
    if (is_waiting(s) || !may_run(s))
        return; /* the answer, or who makes it ready, comes back here */
    if (!probe_is_ready(&n->probe)) {
        again(s, RETRY);
        return;
    }
    if (s->state == JOB_SCAN_RUNS && !is_same_process(s))
        job_scan_stop(s);
    if (s->state == JOB_SCAN_DUE) {
        if (!cleaner_is_settled(n)) { /* what was given up before the job may yet be done */
            cleaner_settle(n);
            again(s, RETRY);
            return;
        }
        begin(s);
    }
    s->step_began = control_now(n->control);
    if ((s->sized ? ask_for_keys(s) : ask_for_size(s)) != 0)
        again(s, RETRY);
}

static void on_time(struct timer *t)
{
    job_scan_step(container_of(t, struct job_scan, timer));
}

/* ---- life ---- */

struct job_scan *job_scan_new(struct job *j, struct control_node *n)
{
    struct job_scan *s = calloc(1, sizeof(*s));
    if (!s || timer_make(&s->timer, &j->control->loop.timers, on_time) != 0) {
        free(s);
        return NULL;
    }
    s->job = j;
    s->node = n;
    uint64_t most = j->rate * STEP_EACH / NSEC_S;
    s->count = s->count_max = j->rate > 0 && j->count > most ? most + (most == 0) : j->count;
    s->unlinks = (struct unlink_group){.done = unlinked, .refused = refused};
    list_init(&s->call.link);
    list_push_tail(&j->scans, &s->of_job);
    list_push_tail(&n->scans, &s->of_node);
    return s;
}

void job_scan_drop(struct job_scan *s)
{
    struct job *j = s->job;
    if (!s->dropped) {
        s->dropped = true;
        j->passes++;
        list_remove(&s->of_job);
        list_remove(&s->of_node);
        timer_unmake(&s->timer);
    }
    if (is_waiting(s))
        return;
    j->passes--;
    free(s);
    job_let_go(j);
}
