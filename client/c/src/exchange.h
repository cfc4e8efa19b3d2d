/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read by the calling thread itself, on a connection of the pool, within a deadline.
 */
#pragma once

#include "reading.h"

struct sc_cache;

/*
 * Runs r from its first commands to its end, and again where a connection turns out to have been
 * closed before. Returns enum sc_cause of the whole; the breaker has been told. If it is not
 * SC_CAUSE_NONE all keys are misses, with that cause.
 */
int exchange_run(struct sc_cache *c, struct reading *r, int64_t deadline_ns);
