/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many clients each address has, and how often it failed to log in: of the whole process, so
 * that an address does not get a share of its own from each worker.
 *
 * A table of fixed size, whatever comes: each address counts in one place of each of four rows, by
 * a secret hash, and what counts is the smallest of them. Two addresses disturb each other only if
 * they meet in all four. Any thread, no locks: atomic counters, touched when a client comes, goes
 * or gives a wrong password, never by a request. An IPv6 address counts by its first 64 bits, for a
 * host may take as many of the others as it likes; what has no address (a Unix socket) is one.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct peers; /* opaque */

/* `seed` is secret and random. NULL: out of memory. */
struct peers *peers_new(uint64_t seed);
struct peers *peers_free(struct peers *p); /* NULL is fine; always returns NULL */

/* One client more. False: the address has `max` already (0: no limit), nothing is counted. */
bool peers_enter(struct peers *p, const struct addr *a, uint32_t max);
void peers_leave(struct peers *p, const struct addr *a);

/* Has the address failed so often that it has to wait? `per_minute` failures are free, then each
 * costs its share of a minute; 0: no limit. `now` in ns. */
bool peers_must_wait(struct peers *p, const struct addr *a, uint64_t now, uint32_t per_minute);
void peers_failed(struct peers *p, const struct addr *a, uint64_t now, uint32_t per_minute);
