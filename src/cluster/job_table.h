/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of jobs, which any thread may read without a lock (docs/decisions/0002): a slot for
 * each job that waits or runs, and as many again for those that ended last.
 *
 *   FREE or ended ──job_table_add(), any thread──► QUEUED ──► RUNNING ──► DONE, CANCELLED, FAILED
 *
 * From QUEUED on the control plane's thread alone writes a slot. Who reads one looks at its id
 * before and after: if it is another, the slot was given to another job meanwhile. All is stored
 * with release and loaded with acquire, so no fence is needed for that.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOB_PATTERN_MAX = 512, JOB_WHY_MAX = 128, JOBS_MAX = 64, JOBS_SHOWN_MAX = 2 * JOBS_MAX };

enum job_state {
    JOB_FREE,
    JOB_TAKEN,
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_DONE,
    JOB_CANCELLED,
    JOB_FAILED
};

enum job_figure {
    JOB_STATE, /* enum job_state */
    JOB_PATTERN_LEN,
    JOB_DATABASE,
    JOB_COUNT,      /* of one SCAN */
    JOB_RATE,       /* keys a second that are looked at, at each node; 0: as its rests allow */
    JOB_SINCE,      /* Unix time in ms at which it was asked for */
    JOB_BEGAN,      /* ns, of the control plane's clock */
    JOB_ENDED,      /* the same; 0: it has not */
    JOB_NODES,      /* that it has to do with */
    JOB_NODES_DONE, /* gone through to their end */
    JOB_NODES_OUT,  /* not in the ring: gone through before they come back */
    JOB_KEYS,       /* that the nodes had when their turn began */
    JOB_SCANNED,    /* of those */
    JOB_UNLINKED,
    JOB_FIGURE_COUNT,
};

struct job_slot {
    atomic_uint_least64_t id; /* 0: nobody's, or being written */
    atomic_uint_least64_t figures[JOB_FIGURE_COUNT];
    atomic_uint_least64_t pattern[JOB_PATTERN_MAX / 8];
    atomic_uint_least64_t why[JOB_WHY_MAX / 8]; /* ends with a NUL; of a job that has FAILED */
};

struct job_table {
    struct job_slot *slots; /* owned */
    unsigned count;
    unsigned active_max;
    atomic_uint active; /* jobs that wait or run */
    atomic_uint_least64_t last_id;
};

/* What a client wants. */
struct job_order {
    struct str pattern; /* loan; at most JOB_PATTERN_MAX bytes */
    uint8_t database;
    uint64_t count;    /* of one SCAN */
    uint64_t rate;     /* keys a second, at each node; 0: no such limit */
    uint64_t since_ms; /* Unix time */
};

/* What a slot says, copied. */
struct job_info {
    uint64_t id;
    uint64_t figures[JOB_FIGURE_COUNT];
    char pattern[JOB_PATTERN_MAX];
    char why[JOB_WHY_MAX];
};

/* At most `active_max` (to JOBS_MAX) jobs that wait or run. -ENOMEM. */
int job_table_init(struct job_table *t, unsigned active_max) MUST_CHECK;
void job_table_fini(struct job_table *t);

/* Any thread. A slot for a new job, QUEUED; the one that ended longest ago makes room. The pattern
 * is at most JOB_PATTERN_MAX long. 0, or -EAGAIN: active_max jobs wait or run. */
int job_table_add(struct job_table *t, const struct job_order *order,
                  struct job_slot **ret_slot) MUST_CHECK;

/* The control plane's thread: it has ended in `state`. `why` is kept of one that has FAILED. */
void job_table_end(struct job_table *t, struct job_slot *s, enum job_state state, uint64_t now,
                   const char *why);

/* Any thread. All jobs there are, oldest first, into to[JOBS_SHOWN_MAX]. → how many */
unsigned job_table_list(const struct job_table *t, struct job_info *to);
/* Any thread. False: there is none of that id, or no longer. */
bool job_table_find(const struct job_table *t, uint64_t id, struct job_info *ret);

/* Milliseconds until it will have ended, if it goes on as it did; -1: not known. */
int64_t job_info_eta_ms(const struct job_info *j, uint64_t now);

const char *job_state_name(enum job_state s);

static inline bool job_state_is_active(enum job_state s)
{
    return s == JOB_QUEUED || s == JOB_RUNNING;
}

static inline uint64_t job_slot_get(const struct job_slot *s, enum job_figure f)
{
    return atomic_load_explicit(&s->figures[f], memory_order_acquire);
}

static inline void job_slot_set(struct job_slot *s, enum job_figure f, uint64_t value)
{
    atomic_store_explicit(&s->figures[f], value, memory_order_release);
}
