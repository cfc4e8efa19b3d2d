/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private upstreams: a connection to a node that is one client's own for a while, because what it
 * asks changes the connection's state (WATCH), or makes the node wait (BLPOP). At most
 * limits.private to a node, of all lanes; a few that nobody needs are kept and used again.
 *
 *          ┌───────────────── all answered, nobody's ────────────────┐
 *          ▼                                                         │
 *        IDLE ──private_place()──► BUSY, owned ──private_release()──► BUSY, nobody's
 *                                    └─── lost, or no answer in time ──► DOOMED ──► closed
 *
 * A part for one has size PART_PRIVATE. Its client is in a session (session.h), which knows which
 * one is its own, and sends nothing else meanwhile. For lanes.c, upstream.c and session.c; one
 * thread, as all of a worker.
 */
#pragma once
#include "proxy/upstream_set.h"

enum private_state { PRIVATE_NOT, PRIVATE_BUSY, PRIVATE_IDLE, PRIVATE_DOOMED };

/* A part whose turn has come, as far as its client's earlier ones are concerned: it takes its
 * client's upstream, or another. May fail it: then it is gone. */
void private_place(struct part *p);

/* Its client needs it no more. `watches`: keys may still be watched on it. */
void private_release(struct upstream *u, bool watches);

/* A reply has come, or it is ready: if nobody needs it, others may. */
void private_answered(struct upstream *u);

/* It is of no use any more; its client, if any, loses it. Closed by private_run(). */
void private_doom(struct upstream *u);
void private_run(struct upstream_node *n);

/* A part that blocks is being sent: its deadline begins when the node should have answered. */
void private_waits(struct part *p);

/* Ends a command that blocks, as if its own time was over (`kick`: as CLIENT UNBLOCK … ERROR). The
 * node is asked to do that, so that nothing it has just given is lost; if it cannot be asked, or
 * does not answer in time, the client is told all the same. May close the client. */
void private_unblock(struct part *p, bool kick);

/* Fails what has no answer in time. → the next deadline, ns */
uint64_t private_expire(struct upstream_node *n);

/* The node goes, or is out: closes all. */
void private_close(struct upstream_node *n);
