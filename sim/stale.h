/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Never stale: a read that began after a newer write of its key was acknowledged never returns an
 * older value, whatever nodes did meanwhile. This judges it, exactly, from what clients saw.
 *
 * A write is SET, SETEX, MSET, DEL or UNLINK, for each of its keys, and FLUSHALL for all there are.
 * It begins when its client sends its first byte. It ends when its answer is written to the client;
 * that acknowledges it, or says that it failed. One whose connection ends before its answer may be
 * executed for as long as the proxy has that connection and for a request's time after: then it
 * ends, and was not acknowledged.
 *
 * Of two writes of a key, W2 is newer than W1 if it began after W1 ended. Others overlap, and then
 * either may be the later one. A read R that returns the value of W1 is stale if there is a W2,
 * newer than W1, that was acknowledged before R began. A miss is never stale.
 *
 * No history is needed for that: a key has but one figure, and a part of a read a copy of it.
 * Let F be the latest beginning of all writes that were acknowledged before R began. If one of them
 * began after W1 ended, so did the one that began last, and if that one did, it is such a W2. So R
 * is stale if and only if W1 ended before F. When R begins, F is what the key has, since that only
 * ever grows by acknowledgements that have been; and when W1 ended stands in its record, which its
 * value names. An end that comes later than all acknowledgements cannot be before F, so that a
 * write still under way is never too old.
 *
 * An empty value does not name its writer: R is stale if it would be whoever wrote it.
 *
 * Only string keys are judged. What INCR and APPEND leave behind tells how much was done to a key,
 * and not by whom; a counter that lost some increments and kept others cannot be told from one that
 * was deleted in between. Both go through the same code of the proxy as SET does.
 */
#pragma once
#include "options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checker;
struct check_command;
struct check_key;

enum { STALE_STEPS_MAX = 16 };

/* In a command's record. Moments are the virtual time and what came first within it: no two are the
 * same, and a greater one is later. */
struct stale_span {
    uint64_t begun, ended; /* moments; 0: not yet */
    int handle;            /* of the connection, at the client's end */
    bool acknowledged;
    bool in_doubt; /* what looked like its answer may be another's: it may never end */
};

/* What a node did with a key, for messages. */
struct stale_step {
    uint64_t step, at_ns;
    const char *verb; /* loan: a constant */
    unsigned node;
    bool orphaned; /* by a connection that the other end had closed */
    bool tagged;   /* the two below are known */
    uint16_t client;
    uint32_t seq;
};

struct stale_key {
    uint64_t newest_begun; /* the latest beginning of its acknowledged writes; 0: there are none */
    uint32_t step_count;   /* ever; the last of them are in steps[], the n-th at n % MAX */
    struct stale_step steps[STALE_STEPS_MAX];
};

struct stale {
    uint64_t last_moment;
    struct stale_key keys[CHECK_KEYS_MAX];
};

/* The first byte of the command has been sent, on this connection of its client. */
void stale_begins(struct checker *k, struct check_command *c, int handle);
/* An answer to it has been written to the client, positive or an error. `certain`: it is its own.
 */
void stale_answered(struct checker *k, struct check_command *c, bool positive, bool certain);
/* A part of a read was answered with these bytes: may it have been? Needs options.stale_checked. */
void stale_judge(struct checker *k, unsigned client, uint32_t seq, uint32_t part, const char *value,
                 size_t len);
/* A node does something with a key, at checker.step. `verb` is a constant; `orphaned`: the other
 * end of the connection it came on is gone. */
void stale_executes(struct checker *k, unsigned node, const char *verb, const struct check_key *key,
                    bool orphaned);
