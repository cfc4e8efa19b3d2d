/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the I/O thread has to do: background writes, deletes that have to be confirmed, asynchronous
 * reads, probes. A job says what is to be sent, takes the replies, and knows what becomes of it
 * when its connection is lost: a write is dropped (never sent twice), a delete is sent again.
 */
#pragma once

#include "commands.h"
#include "fence.h"
#include "reading.h"

#include <stdatomic.h>
#include <stdbool.h>

enum job_kind {
    JOB_SET,
    JOB_REMOVE, /* of stored bytes that are no value */
    JOB_DEL,
    JOB_CLEAR,
    JOB_PURGE, /* takes names out of the list of an SC_LIST, to be freed */
    JOB_FREE,  /* of one such name */
    JOB_BLIND, /* a delete for which there was no room: its store is not read until all is expired
                */
    JOB_READ,
    JOB_PROBE,
    JOB_NOTICE /* a completion of a delete */
};

struct sc_result;

struct job {
    struct job *next;
    enum job_kind kind;
    atomic_int shares;
    struct sc_store *store; /* a share; NULL for a probe */
    struct fence_mark mark;
    uint64_t hash;
    int64_t began_ns, deadline_ns;
    int64_t not_before_ns; /* of a delete that is sent again */
    int64_t given_up_ns;   /* by then all that it deletes has expired */
    size_t bytes;          /* that count in the queue */
    bool is_pending;       /* its keys are not read until it ends */
    bool is_repeated;
    bool is_plain; /* a clear by DEL: perhaps UNLINK is not known */
    bool is_ended; /* under io's lock, for a caller that waits */

    struct bytes *payload; /* of a SET: what is to be stored, a share */
    size_t payload_offset;
    struct bytes *stored; /* the same as it is sent: made by the I/O thread */
    struct envelope envelope;
    uint64_t bucket;
    int field_ttl; /* how the last SET of a field was sent: 2 HSETEX, 1 HPEXPIRE, 0 neither */

    struct commands commands;
    int sent_part; /* parts that are sent */
    size_t sent_of_part;
    int replies, reply_count;
    bool has_error;
    int64_t number; /* the last integer or count of elements in the replies */
    int64_t elements;
    struct job *spawned; /* owners: jobs to be done after it */

    struct reading reading;
    struct reading_key read_key;

    /* Of an asynchronous call. */
    struct job *notice; /* an owner: what becomes its completion */
    sc_done_fn done;
    sc_start_fn start;
    void *arg;
    struct sc_result *result;
    int answer, cause, loader_error, layer;
    struct bytes *value;
    size_t offset;
    int64_t cost_ns;
    bool is_final; /* its completion can be told; otherwise its read has ended */
    bool is_stale; /* its value, which is to be refreshed */
    bool is_asked; /* its read has been given to the I/O thread */
    bool is_alone; /* it has waited for another's load for too long */

    size_t key_len;
    char key[];
};

enum job_end {
    JOB_DONE,
    JOB_AGAIN,   /* at once: put it in front */
    JOB_DELAYED, /* at not_before_ns */
};

/* One share. NULL: no memory. */
struct job *job_new(enum job_kind kind, struct sc_store *store, const void *key, size_t key_len);
void job_unref(struct job *j);
/* Makes its commands. False: nothing is to be sent (any more), or there is no memory. */
bool job_prepare(struct job *j);
/* Takes a reply. 1: all are here; 0: more come; -EPROTO. */
int job_feed(struct job *j, struct item *item);
/* All replies are here: what now? has_lost_writes: a connection was lost a moment ago while writes
 * were under way on it, which may still arrive. */
enum job_end job_finish(struct job *j, bool has_lost_writes, int64_t now_ns);
