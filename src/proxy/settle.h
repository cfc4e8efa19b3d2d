/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that were given up: their clients were answered without the node, and the node may yet
 * execute them. Until that is settled, a newer write to the node is only sent behind them, on the
 * same upstream; else it could come first, and be undone by the older one. They are counted for all
 * workers in the node's pulse.
 *
 * Settled is a write when its late reply comes, when the node has closed the connection, or when
 * the control plane has killed the connection at the node (a ghost: cluster/cleaner.c).
 */
#pragma once
#include "proxy/upstream.h"

/* May a write go on this upstream now? */
bool settle_allows(const struct upstream *u);
/* The part was sent, and its request is about to be answered without it, or has no client. */
void settle_later(struct upstream *u, struct part *p);
/* Its late reply has come. */
void settle_now(struct upstream *u, struct part *p);
/* The connection is lost; u->sent is as it was. */
void settle_by_ghost(struct upstream *u);
