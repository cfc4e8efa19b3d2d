/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to the cache: a socket that never blocks, and what has come in on it. Every wait
 * has an absolute deadline. Belongs to one thread at a time.
 *
 * Functions return 0, or below 0 a reason: -ETIMEDOUT, -ECONNREFUSED (not connected), -ECONNRESET
 * (closed), -EPROTO, -EMSGSIZE (bytes longer than allowed), -ENOMEM. After any of them the
 * connection is of no more use.
 */
#pragma once

#include "address.h"
#include "incoming.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct conn;

/* A socket that is being connected to `address`. NULL: refused at once, or no memory. */
struct conn *conn_new(const struct address *address, size_t value_max);
/* NULL is fine. Returns NULL. */
struct conn *conn_free(struct conn *c);
int conn_fd(const struct conn *c);
/* After the descriptor has become writable: 0, or -ECONNREFUSED. */
int conn_finish(struct conn *c);
/* Waits until it is connected. */
int conn_wait_connected(struct conn *c, int64_t deadline_ns);

/* Sends what it can: bytes sent, 0 if the socket is full, or a reason. */
int64_t conn_send(struct conn *c, const struct iovec *parts, int count);
/* Sends all. `parts` is changed. */
int conn_send_all(struct conn *c, struct iovec *parts, int count, int64_t deadline_ns);

/* Reads what has come: 1, 0 if there is nothing, or a reason. */
int conn_receive(struct conn *c);
/* The next item: 1, 0 if it is not whole yet, or a reason. */
int conn_next(struct conn *c, struct item *ret);
/* The next item, waiting for it. */
int conn_wait_next(struct conn *c, int64_t deadline_ns, struct item *ret);
/* Has anything been received? A server that closes instead of answering the greeting. */
bool conn_has_received(const struct conn *c);
uint64_t conn_take_bytes_in(struct conn *c);
/* What the owner remembers about it. */
struct conn_notes {
    struct conn *next;   /* in the pool */
    int skip;            /* items to be thrown away: replies to the greeting */
    int auth;            /* of these, the first are replies to AUTH */
    bool is_reused;      /* has answered before */
    uint64_t generation; /* of the pool */
};
struct conn_notes *conn_notes(struct conn *c);
