/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to the world: time, randomness, sockets, readiness. All that a worker does to the
 * outside goes through one struct io. There are two: io_epoll (the kernel) and, in sim/, io_sim (a
 * virtual network with faults drawn from a seed).
 *
 * A handle is a non-negative int. Calls return 0 or a count, or -errno; -EAGAIN means: wait for
 * readiness. Nothing here blocks but wait() and rest().
 *
 * Readiness is edge-triggered: after watch(), an event comes when a handle becomes readable or
 * writable; who gets IO_IN reads until -EAGAIN or a short read. One struct io serves one thread;
 * only wake() may be called from any thread. A handle may be passed to another thread's io of the
 * same kind as long as it has not been watched.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    IO_IN = 1,  /* readable, or at its end */
    IO_OUT = 2, /* writable, or the connect has ended */
    IO_HUP = 4, /* the peer closed or reset: reading tells which. May come with the others */
};

struct io_event {
    void *tag;
    unsigned ready; /* IO_… */
};

/* What every accepted or connected TCP socket gets. Times in ns, 0 = the kernel's default. */
struct io_socket_options {
    uint64_t keepalive_ns;    /* idle time before the first keepalive probe */
    uint64_t user_timeout_ns; /* unacknowledged data for longer: the connection is reset */
};

struct io_ops {
    uint64_t (*now_ns)(void *ctx);  /* monotonic */
    uint64_t (*wall_us)(void *ctx); /* since 1970; to be shown, never to be computed with */
    uint64_t (*random)(void *ctx);  /* seeds a worker's rng */

    /* A listening socket that shares its port with those of other workers. → handle */
    int (*listen)(void *ctx, const struct addr *at, int backlog);
    /* → handle, ready for use; *ret_peer is who it is. -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: try
     * again later. -ECONNABORTED and the like: this one is gone, the next may be there. */
    int (*accept)(void *ctx, int listener, const struct io_socket_options *o,
                  struct addr *ret_peer);
    /* → handle, or -errno if it failed at once. IO_OUT or IO_HUP tells that connect_result() knows.
     */
    int (*connect)(void *ctx, const struct addr *to, const struct io_socket_options *o);
    /* The address of a connection's own side. 0 or -errno. */
    int (*local_addr)(void *ctx, int handle, struct addr *ret);
    int (*connect_result)(void *ctx, int handle); /* 0, -EAGAIN (not yet), or why it failed */

    ssize_t (*read)(void *ctx, int handle, void *to, size_t size); /* 0: the peer's end */
    ssize_t (*writev)(void *ctx, int handle, const struct iovec *iov, int count);
    void (*close)(void *ctx, int handle);
    /* Closes it for whoever holds it. What was written goes on its way to the peer, even if that
     * still sends, for at most a second. */
    void (*finish)(void *ctx, int handle);

    int (*watch)(void *ctx, int handle, void *tag); /* for IO_IN, IO_OUT and IO_HUP, until close */
    /* No more events of it: what close() alone would not end if another process has it too. */
    void (*unwatch)(void *ctx, int handle);
    /* Waits until something happens, at most timeout_ns (NSEC_NEVER: for ever; 0: not at all).
     * → number of events, 0 on time-out or wake(). */
    int (*wait)(void *ctx, struct io_event *events, int max, uint64_t timeout_ns);
    void (*wake)(void *ctx); /* ends a wait(), the present or the next one */
    /* Lets some microseconds pass in which nothing is looked at. Nothing ends it early. */
    void (*rest)(void *ctx, uint64_t ns);
};

struct io {
    const struct io_ops *ops;
    void *ctx;
};

static inline uint64_t io_now(struct io *io)
{
    return io->ops->now_ns(io->ctx);
}
