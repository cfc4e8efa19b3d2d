/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upstream: our connection to a node, for clients of a worker that speak one RESP version and
 * work in one database. Which requests it gets is the affair of lanes.h: a shared one gets those of
 * all clients, pipelined; a bulk one gets one large value at a time. Replies come back in the order
 * of requests.
 *
 *   IDLE ──first use──► CONNECTING ──► GREETING ──+PONG / HELLO──► READY
 *                           ▲   └── fail, time-out ──┴── closed, silent, bad ──┐
 *                           └───────────── timer ───────── BACKOFF ◄───────────┘
 *
 * A bulk one that nobody waits for goes from BACKOFF to IDLE instead, until it is needed. So does
 * one of another database than the first, and that also when it was READY and carried nothing for a
 * while.
 *
 * Connected is not healthy: a stopped process still accepts. So each new connection greets with a
 * PING (RESP2) or HELLO 3 (RESP3), and SELECT, and carries requests only after the answer. While
 * the node is believed to be well (no failure since it last was READY), requests wait for that
 * within their deadlines; once it has failed they are answered at once until it is READY again.
 *
 * The greeting also asks for the CLIENT ID. When the connection is lost with writes on it, the node
 * may yet execute them, so they are unsettled (pulse.h), and a ghost of the connection goes to the
 * control plane, which kills it by that id (cluster/cleaner.c).
 */
#pragma once
#include "net/conn.h"
#include "proxy/request.h"
#include "resp/frame.h"

enum upstream_state {
    UPSTREAM_IDLE,
    UPSTREAM_CONNECTING,
    UPSTREAM_GREETING,
    UPSTREAM_READY,
    UPSTREAM_BACKOFF,
    UPSTREAM_CLOSED, /* for good: the node left the view, or the worker ends */
};

struct control_ghost;
struct upstream_node;

struct upstream {
    struct conn conn;
    struct worker *worker;      /* loan */
    struct upstream_node *node; /* loan: the node outlives its upstreams */
    struct grave grave;
    struct timer timer;     /* CONNECTING, GREETING: time-out; READY: silence; BACKOFF: next try */
    struct list waiting;    /* parts to send once READY */
    struct list sent;       /* parts whose reply is to come, oldest first */
    struct list *undecided; /* in `sent`: the first part whose deadline is neither met nor missed;
                               &sent: none. Parts come in the order of their deadlines, which are
                               all equally long (those of late ones excepted), so
                               the queues are the timers too */
    struct frame frame;
    struct buf in;        /* the beginning of an incomplete reply */
    uint64_t last_byte;   /* ns: when the node last gave a byte, or the queue began to fill */
    uint64_t ready_since; /* ns */
    int connect_error;    /* -errno of a connect that failed at once; 0: none */
    uint64_t client_id;   /* of this connection at the node; 0: not known */
    uint32_t unsettled;   /* tombstones in `sent` that are writes */
    struct control_ghost *ghost; /* owned; made before it may be needed; NULL: none */
    uint8_t greetings_left;      /* replies of the greeting that are to come */
    uint32_t failures;           /* in a row, since it was last READY */
    uint8_t state;               /* enum upstream_state; only upstream_enter() writes it */
    uint8_t proto;               /* 2 or 3 */
    uint8_t database;            /* that it has selected */
    uint8_t lane;                /* by both */
    bool bulk;                   /* in its node's pool */
    uint8_t private;             /* enum private_state; 0: it is none */
    bool watches;                /* … on which keys may be watched that nobody cares about */
    bool hung_up;                /* the node closed its side: read to the end */
    bool at_end;                 /* … and that was the end: what it has not done it never will */
    bool dropping;      /* the incomplete reply is not kept: nobody wants it, or no memory */
    bool out_of_memory; /* the incomplete reply did not fit limits.memory */
    bool streaming;     /* the incomplete reply is passed on while it comes: reply_stream.h */
    bool absorbing;     /* … and read on, though its client does not take it yet */
    bool pressed;       /* … because others wait behind it */
    struct client *paused_for; /* not read until this client has taken more; NULL: it is read */
    struct part *upload;       /* whose client still sends it; the last in `sent`; NULL: none */
    uint64_t window_began;     /* ns: since when what its client moves is counted … */
    uint64_t window_bytes;     /* … to see if it is too slow; see limits.client_min_rate */
    struct client *owner;      /* of a private one: whose it is for now; NULL: nobody's */
    struct list pool;          /* in node.bulk, or one of node's lists of private ones */
};

struct upstream *upstream_new(struct worker *w, struct upstream_node *node, uint8_t lane);
/* Fails what is on it, closes it; it is freed at the end of the turn. */
void upstream_close(struct upstream *u);

/* Begins to connect if it is IDLE. */
void upstream_start(struct upstream *u);

/* May a request of `len` bytes go on it now? FAILURE_NONE, _DOWN or _NODE_LIMIT. */
enum failure upstream_admits(const struct upstream *u, size_t len);

/* Where the bytes of a part that was admitted are to be appended, before upstream_enqueue(). */
struct buf *upstream_target(struct upstream *u, struct part *p);
/* What there is of the part is in upstream_target(); it has entered its node. */
void upstream_enqueue(struct upstream *u, struct part *p);
/* More of the part whose client still sends it. 0, or -ENOMEM: what was sent of it is of no use. */
int upstream_send_more(struct upstream *u, const void *bytes, size_t len) MUST_CHECK;
/* All of `bytes`, which is empty then, behind the last of it. */
void upstream_send_behind(struct upstream *u, struct buf *bytes);
/* The part of u->upload is complete: its deadline begins. */
void upstream_upload_ends(struct upstream *u);
/* Goes on reading after a pause. */
void upstream_resume(struct upstream *u);
/* Did the client that it works for move less than limits.client_min_rate since the window began,
 * and has that been timeouts.stall ago? Begins a new window then. */
bool upstream_client_is_slow(struct upstream *u);

/* Fails the parts whose deadline has passed, but for those that are late: their deadlines are in
 * worker.early. Returns the next deadline (ns; NSEC_NEVER: none). */
uint64_t upstream_expire(struct upstream *u);
/* The deadline of a late part on it has passed. */
void upstream_missed(struct upstream *u, const struct part *p);

/* A part on it will be answered without its reply, before its turn in the queue comes. */
void upstream_give_up(struct part *p);

/* Sends what is to be sent; a broken connection ends as usual. */
void upstream_flush(struct upstream *u);

const char *upstream_state_name(enum upstream_state s);
