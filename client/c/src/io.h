/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread. It has three connections ("lanes"): one for background writes and deletes, in the
 * order in which they were asked for; one for asynchronous reads; one for probes while the breaker
 * is open. Whoever gives it a job does not wait for it, but for a delete, up to a deadline.
 */
#pragma once

#include "job.h"

#include <stdbool.h>
#include <stdint.h>

struct io;
struct sc_cache;

struct io_numbers {
    uint64_t dels_pending;
};

/* 0, -ENOMEM, -EAGAIN. is_child: in the child of a fork, where it is made without its thread if
 * there is none to be had (*ret_has_thread): what it is given stays in its queues. */
int io_new(struct sc_cache *cache, bool is_child, struct io **ret_io, bool *ret_has_thread);
/* Ends the thread after at most flush_ms, and drops what is left. NULL is fine. Returns NULL. */
struct io *io_free(struct io *io, uint32_t flush_ms);
/* Takes a job's share, if there is room for it in the queue: false if not. */
bool io_give(struct io *io, struct job *j);
/* The same for deletes: there is room for as many again. */
bool io_give_del(struct io *io, struct job *j);
/* Takes a job that costs nothing and always has room: JOB_BLIND. */
void io_give_always(struct io *io, struct job *j);
/* Waits until a job that was given has ended: false at the deadline. */
bool io_wait(struct io *io, struct job *j, int64_t deadline_ns);
/* The breaker has opened: probes ask for the key of this name. */
void io_probe(struct io *io, const char *name, size_t len);

/* An asynchronous call has begun to wait for a load: it has a deadline. */
void io_wake(struct io *io);

/* Completions of asynchronous calls. */
void io_complete(struct io *io, struct job *j); /* takes a share */
struct job *io_take_completions(struct io *io, int max);
int io_descriptor(const struct io *io);
void io_read_numbers(struct io *io, struct io_numbers *ret);
