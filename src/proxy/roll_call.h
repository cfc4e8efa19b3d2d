/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A roll call: a question about the clients of all workers (CLIENT LIST, KILL, PAUSE), or about
 * what each worker remembers (SUMCACHE.SLOWLOG). The worker of the one who asks sends a message to
 * each, itself included; each goes through its own clients, a slice in each turn so that requests
 * do not wait, and sends the message back. With the last of them, or at the deadline, the request
 * is answered.
 *
 *   asker: start ──► every worker: enter, visit each client ──► asker: finish
 *
 * Who asks may be gone by then; its message finds nobody and is dropped. A worker has at most
 * limits.roll_calls under way for its own clients, so the text that is gathered is bounded.
 */
#pragma once
#include "proxy/client.h"
#include "proxy/client_filter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct roll_text {
    char *bytes; /* owned */
    size_t len, room;
    bool failed; /* out of memory */
};
void roll_text_add(struct roll_text *t, const char *bytes, size_t len);

struct roll_question;

struct roll_kind {
    /* Once in each worker, at its beginning; NULL: nothing. May add to what it tells. */
    void (*enter)(const struct roll_question *q, struct worker *w, struct roll_text *t);
    /* For each client of the filter; NULL: none. May close it. True: it counts. */
    bool (*visit)(const struct roll_question *q, struct client *c, struct roll_text *t);
    /* All have answered: writes the reply. */
    void (*finish)(const struct roll_question *q, uint64_t count, struct str text,
                   struct reply_out *o);
};

/* Given to roll_call_start(), which owns it from then on. Not changed once it is asked. */
struct roll_question {
    atomic_uint refs;
    const struct roll_kind *kind;
    struct client_filter filter; /* owned */
    uint64_t until;              /* ns: of a pause; 0: it ends */
    bool writes_only;            /* … */
    int64_t wanted;              /* of SUMCACHE.SLOWLOG GET: so many; -1: all */
};

/* NULL: out of memory; the filter is still the caller's. */
struct roll_question *roll_question_new(const struct roll_kind *kind,
                                        const struct client_filter *filter);

/* Asks for `c`, whose present request it answers, now or later. */
void roll_call_start(struct client *c, const struct command *command, struct roll_question *q);

struct roll_call;
/* Its request dies: nobody waits for the answers any more. */
void roll_call_drop(struct roll_call *r);
