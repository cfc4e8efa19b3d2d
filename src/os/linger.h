/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that are to be closed, and from which something is still on its way to the other side.
 *
 * The kernel answers what comes for a closed socket with a reset, and throws away what that socket
 * still had to send. So one whose last bytes have not arrived is half-closed, and what comes is
 * thrown away, until all has arrived, the other side has closed, nothing moves any more or a second
 * is over: RFC 9112 9.6 has it for HTTP. One thread.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct linger_socket;

struct linger_list {
    struct linger_socket *sockets; /* owned */
    size_t count, room;
};

/* Zeroes are an empty one. Closes all that is left. */
void linger_fini(struct linger_list *l);

/* Takes a connected socket, which nobody else watches any more. It is closed now if nothing can be
 * lost by it, or if too many linger already or memory is short. */
void linger_take(struct linger_list *l, int fd, uint64_t now);

/* Looks after those that linger, as linger_wait() says when. */
void linger_step(struct linger_list *l, uint64_t now);

/* When linger_step() is to be called next; NSEC_NEVER: there is none. */
uint64_t linger_due(const struct linger_list *l, uint64_t now);
