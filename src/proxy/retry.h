/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that are sent once more. When an upstream breaks, a short read of one key that was on it,
 * and of whose reply nothing has come, waits until its key has a node that can be asked: the same
 * one, reconnected, or the one that the next view gives it. Its deadline stays what it was.
 */
#pragma once
#include "proxy/request.h"

/* Keeps the bytes of a read (a whole request, in w->args) in its part; of a longer one its key, as
 * slow_key.h has it. */
void retry_keep(struct worker *w, struct part *p, uint64_t key_hash);

/* The part fails: is it to be sent again? Then its request has another part from now on. */
bool retry_take(struct worker *w, struct part *p, enum failure f);

/* The client of a part that waits here (it has no node) has gone, and its request with it. */
void retry_abandon(struct part *p);

/* A view was adopted, or an upstream is ready: sends those that can be sent. */
void retry_run(struct worker *w);

/* Fails all: the worker ends. */
void retry_drop(struct worker *w);

/* Fails those whose deadline has passed. → the next deadline, ns */
uint64_t retry_expire(struct worker *w);
