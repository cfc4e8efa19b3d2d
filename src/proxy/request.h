/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request: one command of a client that waits for nodes, or for its turn to be answered. It
 * belongs to its client, stands in the client's queue in the order of arrival, and dies with it.
 *
 * A part: what one node has to do for a request. A request that is not split has one part. It
 * stands in one queue at a time:
 *
 *   node.held ──► node.line ──► upstream.sent
 *       └────► upstream.waiting ────┘
 *
 * held: its client's earlier requests to this node, or what its client is owed, come first. line:
 * for the next free bulk upstream. waiting: for the upstream to be ready. When a part's deadline
 * passes after it was sent, it is cut off from its request and stays in the upstream's queue as a
 * tombstone, so that the late reply finds its place and is dropped there.
 *
 * A short read whose upstream broke is sent once more (retry.h): a new part of it stands in
 * worker.retries, at no node, until it is known where to send it.
 */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "proxy/slow_key.h"
#include "resp/command.h"
#include "resp/reply.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct gather;
struct roll_call;
struct upstream;
struct upstream_node;
struct worker;

enum failure {
    FAILURE_NONE,
    FAILURE_TIMED_OUT,    /* no first byte before the deadline */
    FAILURE_DOWN,         /* the node is known to be down: answered at once */
    FAILURE_CLOSED,       /* the upstream broke while the part was on it */
    FAILURE_BAD_REPLY,    /* the node sent what is not RESP, or not what the command answers */
    FAILURE_NODE_LIMIT,   /* limits.node_requests or node_bytes */
    FAILURE_NO_NODE,      /* the ring is empty: there are no nodes, or … */
    FAILURE_ALL_OUT,      /* … none of them is well */
    FAILURE_MEMORY,       /* limits.memory: ours, not a node's; never masked */
    FAILURE_SLOW_BODY,    /* its client sent the request too slowly; never masked */
    FAILURE_MOVING,       /* its key is on the way to another node */
    FAILURE_REPLY_LIMIT,  /* limits.fan_out_reply: what several nodes answer is too long */
    FAILURE_NODES_CHANGE, /* workers and control plane did not come to one view in time */
    FAILURE_PRIVATE,      /* limits.private; never masked */
    FAILURE_ABORTED,      /* of a transaction: the owner of its keys has changed */
    FAILURE_UNWATCHED,    /* of a transaction: what was watched may have changed: nil */
    FAILURE_UNBLOCKED,    /* a command that blocks ends as if its own time was over: nil */
    FAILURE_KICKED,       /* … as CLIENT UNBLOCK … ERROR ends it */
};

struct request {
    struct client *client; /* owner */
    struct list link;      /* in client.requests */
    const struct command *command;
    struct gather *gather;           /* owned; NULL: it has one part at most */
    struct roll_call *roll_call;     /* owned; NULL: it asks no other workers */
    struct transaction *transaction; /* owned; of an EXEC that we answer in part; else NULL */
    struct part *part;   /* of a request that is not split; NULL: none yet, or it has left */
    struct buf reply;    /* kept here until the request is the first in its client's queue */
    size_t held;         /* bytes of `reply` that count in client.held */
    uint64_t given;      /* bytes of its reply that its client's output got; once done: of all */
    uint32_t batch;      /* client.batch when it came: equal for all that were read at once */
    uint32_t node;       /* 1 + the number of the node that answered; 0: none, or it is not kept */
    uint64_t came;       /* ns: when its last byte was there; … */
    uint64_t sent;       /* … when it might be sent; … */
    uint64_t first_byte; /* … of the reply. These are kept if the reply does not come at once, or if
                            it is slow; of several parts the last one's */
    uint64_t arg_count; /* some misses have as many elements as the request has arguments */
    /* In one byte, so that what is asked of several at once is one look. */
    bool done : 1;      /* its reply is complete */
    bool muted : 1;     /* CLIENT REPLY: its reply is dropped */
    bool uploading : 1; /* its client is still sending it: not answered before its end */
    bool answered : 1;  /* … though the answer is complete */
    bool tells : 1;     /* it holds confirmations or messages: counts in subscriber.queued */
    uint8_t proto;      /* RESP version its reply is written in */
    uint8_t lane;       /* by that and its client's database: upstream_set.h */
    uint8_t sample;     /* 1 + its place in samples.pending; 0: it is none */
    uint8_t outcome;    /* enum outcome: what its answer is */
    uint8_t on_failure; /* enum on_failure of its client when it came */
};

/* What a part is to the lanes: see lanes.h. */
enum part_size {
    PART_SMALL,
    PART_LARGE,   /* a long request, or one for what is known to be large */
    PART_UPLOAD,  /* a long request whose end has not come yet */
    PART_PRIVATE, /* it needs an upstream that is its client's own for a while: private.h */
};

/* Bytes of a read that are kept, so that it can be sent again: most keys of a GET fit. */
enum { PART_COPY_MAX = 96 };

struct part {
    struct list queue;       /* see above */
    struct list of_client;   /* in client.parts, in the order of requests */
    struct request *request; /* NULL: a tombstone */
    struct client *client;   /* kept in memory, if no longer alive, until its last part has left */
    struct upstream_node *node; /* loan: the node outlives its parts */
    struct upstream *upstream;  /* NULL: it stands in node.held or node.line */
    uint64_t deadline;          /* ns; NSEC_NEVER: its client is still sending it */
    size_t len;                 /* bytes of the request, as counted against the node's limit */
    struct buf bytes;           /* what to send, until it is on an upstream that is ready */
    uint64_t size_id;           /* for the size table; 0: not for it */
    uint64_t guess;             /* bytes its reply is known to have about; 0: small or not known.
                                   Of an upload: the bytes of what it stores */
    uint64_t reserved;          /* bytes of its client's and worker's budget: lanes_reserve() */
    struct buf *behind_bytes;   /* owned; of an upload: to be sent behind its end; NULL: nothing */
    uint32_t index;             /* which of its gather's results */
    uint32_t behind;            /* replies to what was sent behind it that are to come: policy.h */
    uint32_t swallow;           /* so many replies come before the one that is its answer */
    uint8_t size;               /* enum part_size */
    uint8_t lane;               /* of its request */
    bool apart;                 /* not on its node's shared upstream: counts in client.apart */
    bool held;                  /* in node.held: counts in client.held_parts */
    bool writes;                /* it changes what the node holds, or may */
    bool unsettled;             /* … and its request was answered without it: pulse.unsettled */
    bool again;                 /* it is the second try */
    bool blocks;                /* the node may let it wait */
    bool unblocked;             /* … and was asked to end that */
    bool quiet;                 /* nobody ever wants its reply */
    bool behind_retry;          /* held because of one of its client's */
    bool is_tail;               /* its own reply has come; it waits for those of `behind` */
    bool early;       /* its deadline is not in the order of its queue: it is in worker.early … */
    bool late;        /* … and later than those of parts behind it */
    uint8_t copy_len; /* 0: it is not sent again */
    bool begun;       /* … nor is it if its reply had begun when its upstream failed */
    bool noted;       /* its keys are in `key` */

    /* Not zeroed by part_new(): each has a meaning only if … */
    uint64_t block_time;    /* … `blocks`: ns that the node may let it wait, before its deadline
                               begins; NSEC_NEVER: for ever */
    struct list early_link; /* … `early` */
    uint64_t hash; /* … `copy_len` > 0, `again`, or an upload: of the key, for the ring */
    union {
        uint8_t copy[PART_COPY_MAX]; /* … `copy_len` > 0 */
        struct slow_key key;         /* … `noted` */
    };
};

/* At the end of its client's queue, not done. NULL: out of memory. */
struct request *request_new(struct client *c, const struct command *command, uint64_t arg_count);
/* Takes it from the queue and cuts off its parts. */
void request_free(struct request *r);

/* Its part, if it waits for that one's answer. While an answer is dealt with r->part is still
 * there, but has no request. */
static inline struct part *request_part(const struct request *r)
{
    return r->part && r->part->request == r ? r->part : NULL;
}

/* Is its reply the next one that its client gets? One that is muted never is. */
bool request_is_next(const struct request *r);
/* Where its reply is to be written: straight to the client's output if it is the next one owed. */
struct reply_out request_reply(struct request *r);
/* The reply is complete: the client's queue moves on. */
void request_finish(struct request *r);
/* Its client has sent the last of it. */
void request_uploaded(struct request *r);
/* Bytes have come to or gone from r->reply: keeps client.held right. */
void request_count_held(struct request *r);

/* Answers with a miss or an error, as the client wants it and the command allows, and finishes it.
 * `node_name` may be NULL for failures that are not a node's. If a part of its reply is on its way
 * to the client already, the client is closed instead. */
void request_fail(struct request *r, enum failure f, const char *node_name);

/* Writes what stands for an answer if the node of a read has failed. */
void request_write_miss(const struct request *r, struct reply_out *o);
bool request_may_miss(const struct request *r, enum failure f);
void failure_write(struct reply_out *o, enum failure f, const char *node_name);
void failure_count(struct worker *w, enum failure f);

/* A part of `r` for node `n`, with its deadline. In no queue yet, and not counted against the node.
 * NULL: out of memory. The caller notes it in r->part or the gather. */
struct part *part_new(struct request *r, struct upstream_node *n, uint32_t index);
/* The same for what we ask of a node beside all requests; `c` is kept in memory until it is done.
 */
struct part *part_new_quiet(struct client *c, struct upstream_node *n, uint8_t proto);
/* From now on its deadline is looked after apart from its queue. */
void part_set_early(struct part *p);
/* The first of a queue that is not late: those have deadlines in worker.early. NULL: there is none.
 */
struct part *part_first_timely(const struct list *parts);
/* How long it has from the time when it may be sent (ns). */
uint64_t part_timeout(const struct part *p);
/* Counts it, `len` bytes, against its node. */
void part_enter(struct part *p, size_t len);
/* For one that never entered. */
void part_free(struct worker *w, struct part *p);
/* Its own reply has come, and it stays for those to what was sent behind it. */
void part_become_tail(struct part *p);
/* It has left its queue for good, one way or other: the opposite of part_enter(), and freed. */
void part_leave(struct worker *w, struct part *p);

/* The complete reply to a part: `head` (emptied) and then `tail`. `type` is its first byte. */
void part_answer(struct worker *w, struct part *p, struct buf *head, const void *tail,
                 size_t tail_len, uint8_t type);
/* The part failed: tells its request, if it still has one. The part itself stays as it is. */
void part_fail(struct worker *w, struct part *p, enum failure f);
