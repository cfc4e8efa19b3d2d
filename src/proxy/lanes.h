/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes: which upstream of a node a part takes, and what it waits for before.
 *
 * For each RESP version and each database a node has one shared upstream, on which small requests
 * are pipelined, and a pool of at most limits.bulk_max bulk ones, each for one large value at a
 * time; a lane of which nobody makes use has none. A part that is small goes to the shared one at
 * once, if its client has nothing anywhere else: that is nearly always so, and costs one comparison
 * (lanes_is_plain). All others come through lanes_place().
 *
 * Order: a node executes a client's requests in the order in which they were sent. While a client
 * has a part (tombstones included) on an upstream of a node, its next one for that node goes to
 * that same upstream, or is held until all of them have been answered. So all of a client's parts
 * for one node that are on an upstream are on one.
 *
 * What has changed (a part has left, an upstream is free, a reply has been sent) is only noted;
 * lanes_run() acts on it once per look for events, so nothing here is called under its caller's
 * feet. One thread, as all of a worker.
 */
#pragma once
#include "proxy/client.h"
#include "proxy/upstream_set.h"

/* May a part of its size go to the shared upstream without lanes_place()? */
static inline bool lanes_is_plain(const struct client *c, enum part_size size)
{
    return c->apart == 0 && size == PART_SMALL;
}

/* A part that has entered its node, with what is to be sent in p->bytes. It goes where it may go
 * now, or waits, or fails: then it is gone. */
void lanes_place(struct part *p);

/* The part takes a way of its own: lanes_is_plain() is no until it has left. */
void lanes_set_part_apart(struct part *p);

/* From now on lanes_is_plain() is no for this client until the parts that it has are gone: what it
 * sends next takes another upstream (it speaks the other RESP version, or works in
 * another database). */
void lanes_set_apart(struct client *c);

/* For private.c, of a part that lanes_place() gave it: puts it on an upstream; fails it; fails it
 * if it is a write that could be done before an earlier one of somebody else. */
void lanes_put_on(struct part *p, struct upstream *u);
void lanes_fail(struct part *p, enum failure f);
bool lanes_fails_unsettled(struct part *p, struct upstream *u);

/* A large reply has begun on a shared upstream: it becomes a bulk one, if there may be one more,
 * and another takes its place. */
void lanes_promote(struct upstream *u);

/* Does a part wait for a bulk upstream like this one? */
bool lanes_is_wanted(const struct upstream *u);

/* A bulk upstream is of no use any more: half a request was sent on it, or half a reply is not
 * wanted. Closes it; its parts fail as closed by the node. */
void lanes_abandon(struct upstream *u);

/* May `bytes` more be held for large values, beside what is reserved? They may take half of
 * limits.memory, so that small requests always find room. */
bool lanes_has_room(const struct worker *w, uint64_t bytes);
/* Counts bytes that will be held for a part's reply against its client and worker. */
void lanes_reserve(struct part *p, uint64_t bytes);
void lanes_release(struct part *p, uint64_t bytes); /* at most what is reserved */

/* Something that parts of this client, or of this node, wait for may have come. */
void lanes_review(struct client *c);
void lanes_changed(struct upstream_node *n);
void lanes_run(struct worker *w);

/* Fails what waits for a bulk upstream past its deadline. → the next deadline, ns */
uint64_t lanes_expire(struct upstream_node *n);

/* The node goes: fails what waits, closes its bulk upstreams. `but_streams`: not those in the
 * middle of a large reply. */
void lanes_close(struct upstream_node *n, bool but_streams);
