/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a read asks and what it makes of the replies, without I/O: the same for calls that wait and
 * for the I/O thread. One round trip; for a group without generation (or birth) a second one that
 * makes it, if a load is to follow.
 *
 *   reading_begin → commands are sent → reading_feed(item) … → done, or reading_next → commands …
 */
#pragma once

#include "commands.h"
#include "conn.h"
#include "envelope.h"

#include "../include/sumcache.h"

#include <stdbool.h>

enum { READING_KEYS_MAX = 128 };

struct reading_key {
    const void *key; /* a loan */
    size_t key_len;
    /* The result. */
    int answer; /* SC_HIT, SC_STALE, SC_NONE, SC_MISS */
    int cause;
    struct bytes *value; /* an owner */
    size_t offset;
    struct envelope envelope;
    bool is_bad; /* what is stored there is to be removed */
};

struct reading {
    struct sc_store *store; /* a loan */
    struct reading_key *keys;
    int count;
    bool is_load_next; /* make a generation if there is none */

    uint64_t epoch;  /* for a value that is loaded after this: 0 if unknown, or no group */
    uint64_t bucket; /* of SC_HASH */
    int cause;       /* of the whole, such as an error reply */
    int error_count;

    struct commands commands;
    int replies; /* items at top level that are still to come */
    enum { READING_VALUES, READING_EPOCH } phase;
    int at;           /* items so far at this level */
    int row;          /* of SC_HASH: 0 this bucket, 1 the one before */
    int64_t elements; /* of the array that is being read; -1: none */
    uint64_t row_epoch;
    uint64_t random_epoch;
    int64_t now_ms;
};

/* Fields store, keys, count, is_load_next are set. Commands are ready to be sent. */
void reading_begin(struct reading *r);
/* Takes one item. 1: this round trip is done; 0: more items come; -EPROTO: not an answer to this.
 */
int reading_feed(struct reading *r, struct item *item);
/* After a round trip: true if there are commands for another. */
bool reading_next(struct reading *r);
/* Gives back commands and values (those that were moved out are NULL). */
void reading_fini(struct reading *r);
