/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job removes in the background whatever a pattern matches, at all nodes. Inside of the control
 * plane, for jobs.c and job_scan.c.
 *
 * What it promises: when it is DONE, nothing that matched and was there when it was asked for can
 * be read any more. For it is done when
 *   - each node of the ring has been gone through to its end, in one pass that began after the job
 *     did and after the node was settled; a pass takes all keys that match, also of slots that are
 *     another's, so it does not matter how slots move meanwhile;
 *   - nodes that are out have no slot any more, with all workers. They owe it: their pass is made
 *     before they are admitted (cleaner.c), or they are flushed, or are another process by then;
 *   - nodes that are about to leave have been gone through too, or have left.
 * Nodes that become members while it runs are gone through as well.
 *
 *   job_scan:  DUE ──► RUNS ──► DONE      DUE and RUNS go back to DUE when the node is ejected
 */
#pragma once
#include "cluster/control_internal.h"

struct job {
    struct list link; /* in jobs.all while it is active, or owed by a node */
    struct control *control;
    struct job_slot *slot; /* loan; NULL: it has ended */
    uint64_t id;
    uint64_t count, rate;
    uint8_t database;
    uint64_t began;    /* ns */
    struct list scans; /* by of_job */
    unsigned passes; /* scans that are not in one of the lists, but will still be told something */
    struct timer timer; /* when it is looked at again */
    size_t pattern_len;
    char pattern[];
};

enum job_scan_state { JOB_SCAN_DUE, JOB_SCAN_RUNS, JOB_SCAN_DONE };

/* What one node has to do for a job. */
struct job_scan {
    struct list of_job;
    struct list of_node; /* in control_node.scans until it is DONE */
    struct job *job;
    struct control_node *node; /* NULL: it has gone */
    uint8_t state;             /* enum job_scan_state */
    bool dropped;              /* nobody wants it any more; freed with its last answer */
    bool sized;                /* of this pass: the node has been asked how many keys it has */
    uint64_t cursor, next;     /* of the step under way, and of the one behind it */
    uint64_t count, count_max; /* of one SCAN; less, where a connection broke over it */
    uint64_t keys, scanned;    /* of this pass */
    uint64_t step_began;       /* ns */
    uint64_t paced_at;         /* ns: when the rate allows the next step */
    struct probe_call call;    /* DBSIZE or SCAN */
    struct unlink_group unlinks;
    struct timer timer;            /* the next step */
    uint64_t connection;           /* of the probe, in which the pass began */
    char run_id[PROBE_RUN_ID_MAX]; /* of the process that the pass began at */
};

/* ---- job_scan.c ---- */
/* A scan of `n` for `j`, DUE, in both lists. NULL: out of memory. */
struct job_scan *job_scan_new(struct job *j, struct control_node *n);
/* Goes on, or begins, if its node is ready for it. */
void job_scan_step(struct job_scan *s);
/* The pass is to be made anew, when job_scan_step() is called next. */
void job_scan_stop(struct job_scan *s);
/* It takes no further part; frees it, now or with its last answer. */
void job_scan_drop(struct job_scan *s);

/* ---- jobs.c ---- */
void job_scan_done(struct job_scan *s);                     /* the pass is over */
void job_scan_refused(struct job_scan *s, const char *why); /* the node does not do it */
void job_let_go(struct job *j);                             /* frees it if nothing is left of it */
static inline void job_count(struct job *j, enum job_figure f, uint64_t by)
{
    if (j->slot)
        job_slot_set(j->slot, f, job_slot_get(j->slot, f) + by);
}
