/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How requests are counted, cheaply. What is read at once is much alike: requests that came at one
 * time, went out at one time, are answered at one time. So what they share is worked out for the
 * first one; the others are held against it, by a word or two, and counted. The worker's own; what
 * comes of it is in outcomes.h.
 */
#pragma once
#include "base/nsec.h"
#include "proxy/outcomes.h"
#include "proxy/request.h"

struct upstream_node;

struct outcomes_run {
    /* Replies that began in the present read of an upstream, to parts of one deadline. */
    uint64_t deadline; /* 0: there are none */
    uint64_t begun;
    const struct upstream_node *node; /* loan, while there are any */
    uint64_t queued;                  /* parts in outcomes.queue whose replies have not begun */
    /* Requests that ended since the last poll, not slowly: of one command, and came at one time. */
    uint64_t came; /* NSEC_NEVER: there are none */
    const struct command *command;
    uint8_t outcome;
    uint64_t ended;  /* with this outcome … */
    uint64_t others; /* … and with others: these are in outcomes.of already */
};

void outcomes_run_init(struct outcomes_run *o);

__attribute__((noinline)) void outcomes_begin_other(struct worker *w, const struct part *p);
__attribute__((noinline)) void outcomes_end_other(struct worker *w, struct request *r);
__attribute__((noinline)) void outcomes_count_begun(struct worker *w);
__attribute__((noinline)) void outcomes_count_ended(struct worker *w);

/* `p` had to wait, and may be sent now. */
void outcomes_note_queue(struct worker *w, const struct part *p);

/*
 * The first byte of the reply to `p` has come. A part's deadline is set when it may be sent, so it
 * tells when that was. One whose deadline tells nothing is counted all the same if it has that of
 * one which does: its reply came with that one's.
 */
static inline void outcomes_begin(struct worker *w, struct outcomes_run *o, const struct part *p)
{
    if (p->deadline == o->deadline)
        o->begun++;
    else
        outcomes_begin_other(w, p);
}

/* The present reply will not be given in this read, or not as a whole: r->sent and so on are kept.
 */
void outcomes_keep(struct worker *w, struct request *r);

/* What was read has been looked at, or the upstream has failed. */
static inline void outcomes_read_over(struct worker *w, struct outcomes_run *o)
{
    if (o->begun > 0)
        outcomes_count_begun(w);
}

/* Is a reply of so many bytes nil, if it is nil or a bulk? "$-1" and CR LF are 5, RESP3's 3; an
 * empty value has 6. */
static inline bool reply_len_is_nil(uint64_t len)
{
    return len <= 5;
}

/* The same as outcome_of_reply(), of a whole bulk or nil where nil is the miss. */
static inline enum outcome outcome_of_bulk(uint64_t len)
{
    return reply_len_is_nil(len) ? OUTCOME_MISS : OUTCOME_HIT;
}

/* The keys of an MGET that went to one node, by its whole reply. */
void outcomes_note_mget(struct worker *w, struct str reply);

/* Its answer is complete: r->outcome says what it is. If it was slow that is told. */
static inline void outcomes_end(struct worker *w, struct outcomes_run *o, struct request *r)
{
    if (r->came == o->came && r->command == o->command && r->outcome == o->outcome)
        o->ended++;
    else
        outcomes_end_other(w, r);
}

/* The time is about to change, or the turn is over. */
static inline void outcomes_turn_over(struct worker *w, struct outcomes_run *o)
{
    if (o->came != NSEC_NEVER)
        outcomes_count_ended(w);
}
