/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client as a subscriber: SUBSCRIBE and its kin, PUBLISH, what it is told and what it is sent.
 *
 * A confirmation is a reply like any other and waits its turn in the client's queue; it is written
 * when the nodes have confirmed, or after timeouts.request without them: then the subscription is
 * there all the same, and begins to be fed as soon as its node can. A message goes behind what its
 * client is owed, except that for RESP3, which can tell them apart, it overtakes replies that have
 * not begun and no confirmation.
 */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct command;
struct request;
struct subscription;

struct subscriber {
    struct list subscriptions[3]; /* by enum topic_kind; oldest first */
    uint32_t count[3];
    uint32_t queued; /* requests in its client's queue that hold confirmations or messages */
};

/* Some of its subscriptions are not confirmed by the nodes yet. */
struct confirming {
    struct list link; /* in pubsub.confirming */
    struct client *client;
    struct request *request; /* loan: stands in its client's queue, and is not done */
    uint64_t deadline;       /* ns */
    struct list waiting;     /* subscriptions, by of_confirming */
    struct buf text;         /* what its client will be told */
};

/* A message as a node sent it (RESP2): `short_bytes` if it is short, else `whole`. */
struct feed_message {
    uint8_t *short_bytes; /* the first byte is changed for the time of the call */
    size_t short_len;     /* 0: it is in `whole` */
    const struct buf *whole;
};

/* A command of publish and subscribe, with its arity right; see router_route(). */
void subscriber_route(struct client *c, const struct command *command, struct buf *from);

/* How many subscriptions of an enum topic_kind has it? */
uint32_t subscriber_count(const struct client *c, unsigned kind);
/* Has it subscribed to anything? */
bool subscriber_is_one(const struct client *c);
/* … and speaks RESP2: then hardly any other command is allowed. */
bool subscriber_is_bound(const struct client *c);
/* May it be sent this command now? */
bool subscriber_allows(const struct client *c, const struct command *command);

/* Ends all its subscriptions and says nothing: RESET. */
void subscriber_reset(struct client *c);
/* The client has been closed. */
void subscriber_free(struct client *c);
/* A request with a confirmation or a message in it leaves the queue. */
void subscriber_request_left(struct client *c);

/* ---- for pubsub.c ---- */

/* The client gets it, or is closed because it owes too much attention. */
void subscriber_send(struct client *c, const struct feed_message *m);
/* One of its topics is fed: its client is told as soon as that is all. May close the client. */
void subscriber_fed(struct subscription *s);
/* One of its topics never will be. May close the client. */
void subscriber_refused(struct subscription *s, struct str error);
/* The nodes have had time enough. May close the client. */
void subscriber_confirm(struct confirming *f);
