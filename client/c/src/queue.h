/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row of jobs. A job is in one row at most; who owns the row owns a share of each.
 */
#pragma once

#include "job.h"

#include <stddef.h>

struct queue {
    struct job *first, **end; /* of its last job, or of the row: it is not to be copied */
};

static inline void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static inline void queue_put(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->end = j;
    q->end = &j->next;
}

static inline void queue_put_first(struct queue *q, struct job *j)
{
    j->next = q->first;
    if (q->first == NULL) {
        q->end = &j->next;
    }
    q->first = j;
}

static inline struct job *queue_take(struct queue *q)
{
    struct job *j = q->first;
    if (j != NULL) {
        q->first = j->next;
        if (q->first == NULL) {
            q->end = &q->first;
        }
        j->next = NULL;
    }
    return j;
}

/* All of `from` goes to the end of `to`. */
static inline void queue_move(struct queue *to, struct queue *from)
{
    if (from->first != NULL) {
        *to->end = from->first;
        to->end = from->end;
        queue_init(from);
    }
}

/* Gives all its shares back. */
static inline void queue_drop(struct queue *q)
{
    for (struct job *j; (j = queue_take(q)) != NULL;) {
        job_unref(j);
    }
}
