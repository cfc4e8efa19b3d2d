/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feed: a worker's subscriber connection to a node. It holds the union of what the worker's
 * clients want to hear from that node, and exists only while there is any. It speaks RESP2, which
 * every server does, and in which a message looks like what a client gets.
 *
 *   CONNECTING ──► GREETING ──+PONG──► READY
 *       ▲  └── fail, time-out ──┴── closed, silent, bad ──┐
 *       └───────────────── timer ─────────────── BACKOFF ◄┘
 *
 * A feeding: that one topic is wanted from one feed. What was sent on a connection is answered in
 * its order, messages in between; so each SUBSCRIBE, UNSUBSCRIBE and PING stands in `asks` until
 * then. A connection that breaks takes all of that with it, and the next one begins anew.
 *
 * What comes goes up to pubsub.h. The worker's thread only.
 */
#pragma once
#include "net/conn.h"
#include "resp/frame.h"

#include <stdbool.h>
#include <stdint.h>

struct topic;
struct upstream_node;
struct worker;

enum feed_state { FEED_CONNECTING, FEED_GREETING, FEED_READY, FEED_BACKOFF, FEED_CLOSED };

struct feed {
    struct conn conn;
    struct worker *worker;      /* loan */
    struct upstream_node *node; /* loan: it outlives its feed */
    struct grave grave;
    struct timer timer; /* CONNECTING, GREETING: time-out; READY: silence; BACKOFF: next try */
    struct frame frame;
    struct buf in;         /* the beginning of an incomplete message */
    struct list feedings;  /* by feeding.of_feed */
    struct list asks;      /* sent and not answered, oldest first */
    uint64_t last_byte;    /* ns */
    uint64_t ready_since;  /* ns */
    uint32_t failures;     /* in a row, since it was last READY */
    uint8_t state;         /* enum feed_state; only feed_enter() writes it */
    uint8_t greeting_left; /* replies of the greeting that are to come */
    bool dropping;         /* the incomplete message is not kept: no client could take it */
    bool pinged;           /* silent so long that it was asked */
    bool unused;           /* nothing was wanted of it when the timer last looked */
    bool hung_up;          /* the node closed its side: read to the end */
    const char *broken;    /* it is to fail with this reason as soon as its timer is called */
};

struct feeding {
    struct list of_topic;  /* in topic.feedings */
    struct list of_feed;   /* in feed.feedings */
    struct list lingering; /* in pubsub.lingering */
    struct topic *topic;   /* loan: lives as long as it has feedings */
    struct feed *feed;     /* loan: likewise */
    uint64_t linger_until; /* ns; while it is in that list */
    uint32_t asked;        /* commands about it without an answer */
    bool subscribed;       /* the last of these was a SUBSCRIBE; false on a new connection */
    bool refused;          /* the node said no; not asked again on this connection */
    bool wanted;           /* see pubsub.c */
};

struct feed_ask {
    struct list link;        /* in feed.asks */
    struct feeding *feeding; /* NULL: a PING */
};

/* Begins to connect. NULL: out of memory. */
struct feed *feed_new(struct worker *w, struct upstream_node *node);
/* Closes it, and frees its feedings, of which their topics are told; itself it is freed at the end
 * of the turn. */
void feed_close(struct feed *f);

/* NULL: out of memory. Nothing is sent yet. */
struct feeding *feeding_new(struct feed *f, struct topic *t);
void feeding_free(struct feeding *g);

/* Messages about its topic that are published at the node from now on will come. */
static inline bool feeding_is_fed(const struct feeding *g)
{
    return g->subscribed && g->asked == 0 && !g->refused;
}

/* Only while the feed is READY. If there is no memory for it, the feed is to fail. */
void feeding_subscribe(struct feeding *g);
void feeding_unsubscribe(struct feeding *g);

/* Sends what is to be sent. */
void feed_flush(struct feed *f);
