/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rooms of the I/O thread share: io.c (its life, and what other threads ask of it),
 * io_loop.c (its loop and the clock), lane.c (a connection), job_ends.c (what becomes of jobs),
 * probes.c.
 */
#pragma once

#include "cache.h"
#include "queue.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    REPLY_MIN_MS = 50,   /* nobody waits for a background write: it may take longer than a call */
    BACKOFF_MIN_MS = 20, /* until a lane connects again, or a delete is sent again */
};

enum lane_kind { LANE_WRITES, LANE_READS, LANE_PROBES, LANES };
enum lane_state { LANE_IDLE, LANE_CONNECTING, LANE_READY };

struct lane {
    enum lane_state state;
    struct conn *conn;
    int64_t connect_by_ns, greet_by_ns, not_before_ns;
    int backoff_ms;
    int address;                     /* which one is tried */
    const struct commands *greeting; /* that is being sent; NULL: it is */
    int greeting_part;
    size_t greeting_of_part;
    struct job *sending;
    struct queue waiting, sent;
    int sent_count;
    bool wants_write;
};

struct io {
    struct sc_cache *cache;
    pthread_t thread;
    bool has_thread;
    int wake_fd, done_fd;

    pthread_mutex_t lock;
    pthread_cond_t ended; /* a job with is_ended */
    struct queue given, completions;
    bool is_stopping;
    int64_t stop_by_ns;
    size_t queued_bytes;
    uint32_t queued, dels;
    size_t probe_len;
    char probe_name[NAME_MAX_LEN];

    /* The thread's own. */
    bool is_ending; /* what is_stopping was last */
    struct lane lanes[LANES];
    struct queue delayed;
    int notices;            /* deletes whose asynchronous caller has not been told yet */
    int64_t lost_writes_ns; /* when writes under way were lost */
    int64_t probe_at_ns;
    int probe_ms;
};

static inline bool is_del(const struct job *j)
{
    return j->kind == JOB_DEL || j->kind == JOB_CLEAR;
}

static inline int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
