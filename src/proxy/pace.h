/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a worker rests before it looks for events (timeouts.gather), so that it finds several at
 * once. A look, a read from a node and a write to it cost the same for one request as for ten; so
 * where requests come densely, a rest of some tens of microseconds is worth its time. Where they do
 * not, it would only make them late. The conditions:
 *
 *  - The worker has nothing to do: a look without waiting found nothing. A rest takes time that
 *    would have been idle, so a busy worker never rests.
 *  - PACE_REQUESTS_MIN requests or more are expected within the rest.
 *  - The rest is short beside what clients wait anyway. By Little's law that is the number of
 *    clients that wait, times the time between two of them; the rest is at most the share-th part
 * of it. So a few clients, each of whom sends its next request when it has its reply, are never
 * slowed.
 *
 * Clients are counted, not requests: one client with a long pipeline is no crowd. Pure arithmetic;
 * one worker's, no locks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { PACE_REQUESTS_MIN = 3 }; /* with fewer, a rest costs more than the writes that it saves */

struct pace {
    uint64_t rest_max;     /* ns; 0: never rests */
    uint32_t share;        /* a rest is at most one share-th of what clients wait anyway */
    uint32_t waiting;      /* clients that have a request under way */
    uint32_t empty_looks;  /* polls in a row that found nothing; stops at 2 */
    uint64_t begun;        /* clients that began to wait since period_began */
    uint64_t period_began; /* ns */
    uint64_t gap;          /* ns between two of them in the last period; NSEC_NEVER: unknown */
};

void pace_init(struct pace *p, uint64_t rest_max, uint32_t share, uint64_t now);

/* A client that had no request under way has one; a client's last one has been answered. */
void pace_client_waits(struct pace *p);
void pace_client_served(struct pace *p);

/* What the next poll should be. */
enum pace_step {
    PACE_WAIT, /* the usual one */
    PACE_LOOK, /* one without waiting: a rest would pay if there is nothing to do */
    PACE_REST, /* the usual one, after *ret_rest ns */
};
enum pace_step pace_next(struct pace *p, uint64_t now, uint64_t *ret_rest);

/* What it found. */
void pace_polled(struct pace *p, bool found);
