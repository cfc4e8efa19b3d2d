/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual DNS in the world of io_sim: what each name answers can be set, and changed at any time;
 * answers come after a drawn latency, in a drawn order. Each host that asks has a resolver of its
 * own, on its own loop.
 *
 * A name of which nothing was ever set does not exist. One that is set for some question only gives
 * an empty answer to the others. One thread; same seed, same answers.
 */
#pragma once
#include "io_sim.h"
#include "net/loop.h"
#include "net/resolver.h"

#include <stddef.h>
#include <stdint.h>

struct resolver_sim; /* opaque: the DNS */

struct resolver_sim *resolver_sim_new(struct io_sim *world); /* a loan; aborts on ENOMEM */
/* Every resolver must have been freed. NULL is fine; returns NULL. */
struct resolver_sim *resolver_sim_free(struct resolver_sim *s);

/* Inclusive, ns. At first 200 us to 5 ms. */
void resolver_sim_set_latency(struct resolver_sim *s, uint64_t min, uint64_t max);

/* From now on `name` has these addresses of one family: "10.0.0.1 10.0.0.2", or "" for none. They
 * end failures of that question. */
void resolver_sim_set_addresses(struct resolver_sim *s, const char *name,
                                enum resolver_question family, const char *addresses, uint32_t ttl);
/* `services` is copied. */
void resolver_sim_set_services(struct resolver_sim *s, const char *name,
                               const struct resolver_service *services, size_t count);
/* This question fails from now on; RESOLVER_OK: what was set before is answered again. Time-outs
 * take two seconds. */
void resolver_sim_fail(struct resolver_sim *s, const char *name, enum resolver_question what,
                       enum resolver_result why);
/* How often it was asked so far. */
unsigned resolver_sim_asked(const struct resolver_sim *s, const char *name,
                            enum resolver_question what);
unsigned resolver_sim_under_way(const struct resolver_sim *s); /* questions without an answer yet */

struct resolver *resolver_sim_resolver_new(struct resolver_sim *s, struct loop *loop);
/* Every query must have been answered or cancelled. NULL is fine; returns NULL. */
struct resolver *resolver_sim_resolver_free(struct resolver *r);
