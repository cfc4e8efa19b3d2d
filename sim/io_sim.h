/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual world behind os/io.h: time, a network, and hosts on it. Everything that looks random
 * comes from one seed, so that a run can be repeated exactly.
 *
 * A host is one struct io: a worker has one, and so has each model. wait() never blocks: it gives
 * what is there, or notes until when the host wants to sleep and returns 0. Who runs the world asks
 * io_sim_can_run(), gives a turn to somebody who can, and moves time on only if nobody can.
 *
 * A connection is a pair of byte streams. Each write arrives later, in order, perhaps in pieces;
 * what is on its way or unread is bounded, so writers meet -EAGAIN. Handles are never used twice:
 * touching a closed one is a broken invariant and ends the program.
 *
 * One thread.
 */
#pragma once
#include "base/rng.h"
#include "os/io.h"
#include "trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IO_SIM_HOSTS_MAX = 64 };

struct io_sim; /* opaque */

/* How the network behaves. `…_chance` is per mille of the calls it is about. */
struct io_sim_weather {
    uint64_t latency_min, latency_max; /* ns from a write to its arrival */
    uint64_t spike;                    /* ns: rare writes take up to this long */
    uint32_t buffer_min, buffer_max;   /* bytes one direction of a connection can hold */
    uint16_t spike_chance;
    uint16_t piece_chance; /* a write arrives in pieces, at different times */
    uint16_t short_read_chance, short_write_chance;
    uint16_t spurious_chance;     /* of wait(): an event about nothing */
    uint16_t accept_abort_chance; /* of accept(): -ECONNABORTED, and the connection is gone */
    uint16_t connect_fail_chance; /* of connect(): fails at once */
};

enum io_sim_road { /* what happens to connects to an address */
                   IO_SIM_ROAD_OPEN,
                   IO_SIM_ROAD_REFUSING,
                   IO_SIM_ROAD_BLACK_HOLE, /* no answer ever */
};

/*
 * A model's ear on its own connection: told about what the other end does at the very moment it
 * does it. Any member may be NULL. `total` counts from the connection's start.
 */
struct io_sim_tap {
    void (*peer_wrote)(void *owner, const uint8_t *bytes, size_t len, uint64_t total);
    void (*peer_read)(void *owner, uint64_t total);
    void (*peer_closed)(void *owner); /* by close(), or because the connection was cut */
    void *owner;
};

struct io_sim *io_sim_new(uint64_t seed,
                          struct trace *trace); /* trace is a loan; aborts on ENOMEM */
struct io_sim *io_sim_free(struct io_sim *w);   /* NULL is fine; returns NULL */

void io_sim_set_weather(struct io_sim *w, const struct io_sim_weather *weather);
struct rng *io_sim_rng(struct io_sim *w);
uint64_t io_sim_now(const struct io_sim *w);
uint64_t io_sim_bytes_moved(const struct io_sim *w); /* by reads and writes, all hosts */
void io_sim_note(struct io_sim *w, enum trace_kind kind, int64_t a, int64_t b, int64_t c,
                 const char *note);

/* True with the chance of `per_mille`; draws nothing for 0. */
bool io_sim_chance(struct io_sim *w, uint32_t per_mille);
/* Inclusive bounds. */
uint64_t io_sim_between(struct io_sim *w, uint64_t low, uint64_t high);

/* A new host; hosts are numbered from 0. The io lives as long as the world. */
struct io *io_sim_host(struct io_sim *w);
unsigned io_sim_host_number(const struct io *io);
unsigned io_sim_host_count(const struct io_sim *w);

/* Neither accepts nor connects of this host fail because of the weather. */
void io_sim_shelter(struct io *io);

bool io_sim_can_run(const struct io_sim *w, unsigned host);
/* To the next moment at which something happens, `limit` at the latest. */
void io_sim_advance(struct io_sim *w, uint64_t limit);

/* Faults. A frozen host gets no turn, though its kernel goes on accepting bytes for it. Until
 * NSEC_NEVER: it has ended. */
void io_sim_freeze(struct io_sim *w, unsigned host, uint64_t until);
void io_sim_fail_accepts(struct io_sim *w, unsigned host, uint64_t until); /* -EMFILE */
void io_sim_set_road(struct io_sim *w, const struct addr *to, enum io_sim_road road);
/* Of the connects of this host only; the worse of the two counts. */
void io_sim_set_road_of(struct io_sim *w, unsigned host, const struct addr *to,
                        enum io_sim_road road);
/* Nothing arrives at either end until then. */
void io_sim_clog(struct io_sim *w, int handle, uint64_t until);
/* … of any connection that this host began to that address. */
void io_sim_clog_to(struct io_sim *w, unsigned host, const struct addr *to, uint64_t until);
/* Resets both ends now. */
void io_sim_reset(struct io_sim *w, int handle);
/* Resets both ends when `handle` will have been given `after` more bytes. */
void io_sim_cut_after(struct io_sim *w, int handle, uint64_t after);
/* Takes back what was to happen to connections later; hosts thaw, accepts succeed. */
void io_sim_mend(struct io_sim *w);

/* For models. */
void io_sim_set_tap(struct io *io, int handle, const struct io_sim_tap *tap);
void io_sim_shutdown(struct io *io, int handle);   /* sends the end; reading goes on */
uint64_t io_sim_unread(struct io *io, int handle); /* bytes this end wrote that were not read */
/* How many of those have arrived; one more if the end has. */
uint64_t io_sim_waiting(struct io *io, int handle);
bool io_sim_is_cut(struct io *io, int handle); /* reset, or the peer has closed */
/* When the host at the other end of a connection closed it, of one that has ended here too.
 * NSEC_NEVER: it has not; 0: there never was an other end. */
uint64_t io_sim_peer_closed_at(const struct io_sim *w, int handle);
/* When the other end last could not write all it wanted to, and until when; 0, 0: never. While it
 * lasts, ret_until is NSEC_NEVER. */
void io_sim_peer_blocked(struct io *io, int handle, uint64_t *ret_from, uint64_t *ret_until);
uint64_t io_sim_connects(const struct io_sim *w); /* begun by all hosts so far */
/* Connections that `host` began to this address and has not closed, whatever became of them. */
unsigned io_sim_connections_to(const struct io_sim *w, unsigned host, const struct addr *to);
/* Every open connection whose far end is at `host`, by its handle there, in order of opening. */
unsigned io_sim_connections(struct io_sim *w, unsigned host, int *handles, unsigned max);
