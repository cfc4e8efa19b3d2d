/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of requests and how long they took, of one worker: it writes (outcomes_run.h), any
 * thread may read (base/metric.h). What one node took for its first byte is in its pulse
 * (cluster/pulse.h).
 */
#pragma once
#include "base/histogram.h"
#include "base/str.h"

#include <stdint.h>

struct command;

enum outcome_class { OUTCOME_READS, OUTCOME_WRITES, OUTCOME_OTHERS, OUTCOME_CLASSES };

enum outcome {
    OUTCOME_ANSWERED,      /* answered; not a read of which hit or miss can be said */
    OUTCOME_HIT,           /* a read that found something */
    OUTCOME_MISS,          /* … that found nothing at its node */
    OUTCOME_NODE_ERROR,    /* the node answered an error */
    OUTCOME_FAILED,        /* we did: from here on no node answered */
    OUTCOME_FAILOVER_MISS, /* the same as a miss: on_failure.reads */
    OUTCOME_COUNT
};

struct outcomes {
    atomic_uint_least64_t of[OUTCOME_CLASSES][OUTCOME_COUNT];
    struct histogram queue; /* from a request's last byte until it might be sent to its node */
    struct histogram turn;  /* what one round of the worker takes, without the wait for events */
    struct histogram total; /* … until its answer was complete; what may block is left out */
};

const char *outcome_class_name(enum outcome_class c); /* "read" */
const char *outcome_name(enum outcome o);             /* "failover_miss" */

enum outcome_class outcome_class_of(const struct command *c);

/* By the beginning of a node's reply to the whole of a command. A reply that is what a missing key
 * gives is a miss: nil, an empty list, 0 of LLEN. MGET and its like have a reply for each of
 * several keys and are just answered. */
enum outcome outcome_of_reply(const struct command *c, struct str reply);
