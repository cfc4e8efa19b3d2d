/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and subscribe over many nodes: which topics a worker's clients want to hear of, and from
 * which nodes. A topic is a channel, a pattern or a shard channel.
 *
 * A channel is published at one node, the owner of its name in the ring; so one that is subscribed
 * to at several nodes is still heard once. That makes moving it simple: when its owner changes it
 * is subscribed to at the new one at once, while for a while (publish_window()) publishing goes on
 * at the old one, and the old subscription is kept longer than that. A pattern may match anything,
 * so it is subscribed to at all nodes. See docs/decisions/0011.
 *
 *   client ──subscription──► topic ──feeding──► feed (one per node)
 *
 * Whatever changes puts topics on a list; pubsub_run() settles them, once per look for events. The
 * worker's thread only.
 */
#pragma once
#include "base/pool.h"
#include "base/table.h"
#include "cluster/view.h"
#include "proxy/feed.h"
#include "proxy/subscriber.h"

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD, TOPIC_KINDS };

enum { TOPIC_NAME_MAX = 16 * 1024 }; /* bytes; with it a message's head fits any scratch */

struct topic {
    struct table_link link;    /* in pubsub.topics */
    struct list all_link;      /* in pubsub.all */
    struct list changed_link;  /* in pubsub.changed */
    struct list subscriptions; /* by subscription.of_topic, oldest first */
    struct list feedings;      /* by feeding.of_topic */
    uint64_t ring_hash;        /* of its name, for the ring */
    uint8_t kind;              /* enum topic_kind */
    bool fed;                  /* every node that it is wanted from feeds it */
    size_t len;                /* bytes */
    char name[];
};

struct subscription {
    struct table_link link; /* in pubsub.subscriptions */
    struct list of_topic, of_client;
    struct list of_confirming;     /* in confirming.waiting */
    struct topic *topic;           /* loan: lives as long as it has subscriptions */
    struct client *client;         /* loan */
    struct confirming *confirming; /* its client has not been told yet; NULL: it has */
};

struct pubsub {
    struct worker *worker;      /* loan */
    struct table topics;        /* by kind and name */
    struct table subscriptions; /* by client and topic */
    struct list all;            /* topics, oldest first */
    struct list changed;        /* topics to be settled */
    struct list confirming;     /* oldest first: all wait equally long */
    struct list lingering;      /* feedings by linger_until */
    struct list dirty_feeds;
    struct pool subscriptions_pool, feedings_pool, asks_pool, confirmings_pool;
    uint64_t seed;       /* of the tables' hashes; 0: none yet */
    size_t name_bytes;   /* of all topics */
    uint32_t count_max;  /* subscriptions: this worker's share */
    struct view *before; /* publishing still goes by this one; a reference; NULL: by the present */
    uint64_t before_since;      /* ns */
    uint64_t before_until;      /* ns */
    bool review_due;            /* all topics are to be settled when the timer comes */
    struct timer confirm_timer; /* the first of `confirming` has waited long enough */
    struct timer review_timer;  /* the window ends, or somebody has lingered long enough */
};

int pubsub_init(struct pubsub *p, struct worker *w) MUST_CHECK; /* 0 or -ENOMEM */
void pubsub_fini(struct pubsub *p); /* after all clients and upstreams have gone */

/* The worker has gone from `old` (NULL: none) to its present view. */
void pubsub_adopt(struct pubsub *p, struct view *old);
/* Settles what has changed, and sends what there is to be sent. */
void pubsub_run(struct pubsub *p);
/* Is there anything for it to do? */
static inline bool pubsub_is_due(const struct pubsub *p)
{
    return !list_empty(&p->changed) || !list_empty(&p->dirty_feeds);
}

/* Where a message is published now: index of a node in the worker's view, which has a ring. */
uint32_t pubsub_owner(const struct pubsub *p, uint64_t ring_hash);

/* ---- for subscriber.c ---- */

/* NULL: nobody subscribes to it. */
struct topic *pubsub_topic(struct pubsub *p, enum topic_kind kind, struct str name);
/* The same, made if there is none. NULL: out of memory, limits.memory included. */
struct topic *pubsub_topic_make(struct pubsub *p, enum topic_kind kind, struct str name);
/* It has one subscription more or less, or something about its feedings has changed. */
void pubsub_changed(struct pubsub *p, struct topic *t);

struct subscription *pubsub_find(struct pubsub *p, const struct client *c, const struct topic *t);
/* NULL: out of memory. */
struct subscription *pubsub_add(struct pubsub *p, struct client *c, struct topic *t);
void pubsub_remove(struct pubsub *p, struct subscription *s);

/* ---- for feed.c ---- */

struct feed_message;
/* A message about the topic of that name. May close clients. */
void pubsub_deliver(struct pubsub *p, enum topic_kind kind, struct str name,
                    const struct feed_message *m);
/* The node refuses it: clients that wait for it are told so, in its own words. */
void pubsub_refused(struct pubsub *p, struct topic *t, struct str error);
