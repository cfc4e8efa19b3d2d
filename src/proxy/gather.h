/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that is made of what several nodes answer: each is sent bytes of its own, all answers
 * are awaited, then its owner makes one reply of them, or asks another round.
 *
 *   gather_init ─► gather_add … ─► gather_send ─► (all have answered or failed) ─► ops.merge
 *                      ▲                                                             │
 *                      └──────── gather_clear ◄──────── GATHER_ON ◄─────────────────┘
 *
 * The owner (fanout.c for keys of several nodes, and others) puts a struct gather into a struct of
 * its own. It belongs to its request and dies with it. One thread, as all of a worker.
 */
#pragma once
#include "cluster/view.h"
#include "proxy/request.h"

struct client;
struct gather;

/* In gather_add: nobody is asked (a key is on its way from one node to another). */
#define GATHER_NOBODY UINT32_MAX

/* What merge gives when it has begun another round. */
enum { GATHER_ON = 1 };

/* What one node is asked, and answers. */
struct gather_result {
    struct buf bytes;  /* to be filled with the request; after gather_send() the reply */
    struct part *part; /* under way; NULL: answered or failed */
    uint32_t node;     /* index in the view that held at gather_send() */
    uint32_t count;    /* the owner's own */
    uint32_t behind;   /* commands in `bytes` behind the request: policy.h */
    uint8_t type;      /* first byte of the reply; 0: none, the part failed */
    bool large;        /* to be set before gather_send(): the reply will be long */
};

struct gather_ops {
    /* All results of a round are there. 0: the reply is written to `o`; GATHER_ON: another round
     * was sent, and the request may be gone by now; -ENOMEM or -EBADMSG: what was written is taken
     * back, and the error answered. */
    int (*merge)(struct request *r, struct reply_out *o);
    /* Frees the owner's struct; the gather inside is empty by then. */
    void (*free)(struct gather *g);
};

struct gather {
    const struct gather_ops *ops;
    struct buf error; /* the first failure as an error reply that names the node; empty: none */
    bool failed;      /* a part failed (its node did, not: its node answered an error) */
    bool answered;    /* a part of this round, or of one before, was answered */
    bool harmless;    /* to be set before gather_send(): it changes no key, done late or twice */
    bool alone;       /* its client is not listened to before it is answered */
    uint32_t count, room;
    uint32_t left;                 /* parts under way */
    struct gather_result *results; /* owned */
    uint64_t deadline;             /* ns, of all rounds together; 0: timeouts.request for each */
    uint64_t reply_bytes;          /* of replies so far … */
    uint64_t reply_max;            /* … and how many there may be; 0: as limits.memory allows */
    uint64_t request_bytes;        /* of what its client asked … */
    struct slow_key key;           /* … and its keys */
};

/* For at most `room` nodes a round. 0 or -ENOMEM, and nothing is to be freed. */
int gather_init(struct gather *g, const struct gather_ops *ops, uint32_t room) MUST_CHECK;
/* For at most `room` from the next round on; before it, or after gather_clear(). 0 or -ENOMEM. */
int gather_make_room(struct gather *g, uint32_t room) MUST_CHECK;
/* From now on it belongs to `r`, which gather_fail() or the end of a round answers. `alone`: what
 * its client sends behind it is not looked at before. Else a client's later requests may be sent to
 * nodes before a second round is. */
void gather_begin(struct gather *g, struct request *r, bool alone);
/* All rounds together get so long, from now on (ns). */
void gather_set_timeout(struct gather *g, const struct worker *w, uint64_t timeout);

/* One more part, whose bytes are to be filled. Below `room` of them a round. */
struct gather_result *gather_add(struct gather *g, uint32_t node);
/* The same with the request given as words. 0 or -ENOMEM. */
int gather_add_words(struct gather *g, struct worker *w, uint32_t node, const struct str *words,
                     size_t count) MUST_CHECK;
/* Sends all of them. At its end, or later, merge is called; the request may be gone by then. */
void gather_send(struct request *r);
/* In merge: forgets the results, so that another round can be made. */
void gather_clear(struct gather *g, struct worker *w);

/* In merge: if a part failed, or a node answered an error, writes that. True: it did. */
bool gather_write_error(struct gather *g, struct reply_out *o);

/* A part has its reply (`head`, emptied, then `tail`) or has failed. */
void gather_part_answered(struct request *r, uint32_t index, struct buf *head, const void *tail,
                          size_t tail_len, uint8_t type);
void gather_part_failed(struct request *r, uint32_t index, enum failure f, const char *node_name);
/* So many more bytes of a reply have come. False: they are more than it may take. */
bool gather_takes(struct gather *g, size_t len);

/* Has this node of the present view a share of the keys, so that who asks all nodes asks it? */
static inline bool gather_is_asked(const struct view_node *n)
{
    return n->slots > 0 && !n->out;
}

/* With its request. */
void gather_free(struct request *r);
