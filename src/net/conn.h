/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: a handle that is watched, and the bytes that wait to be sent on it. Common to
 * clients and upstreams; what is read is their own affair.
 */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "net/loop.h"
#include "net/tls.h"

#include <stdbool.h>

enum { CONN_CLOSED = -1 };

struct conn {
    struct source source;
    struct loop *loop;         /* loan */
    struct chunk_pool *chunks; /* loan */
    int handle;                /* CONN_CLOSED: none */
    bool blocked;              /* the last write was short: wait for IO_OUT */
    struct buf out;
    struct list dirty; /* in its owner's list of connections to flush this turn */
    struct tls *tls;   /* owned; NULL: bytes go as they are. tls_start() makes it */
};

enum { CONN_WHY_MAX = 120 };

void conn_init(struct conn *c, struct loop *loop, struct chunk_pool *chunks,
               void (*on_ready)(struct source *, unsigned));
/* Takes a handle and watches it. 0, or -errno and the handle is closed. */
int conn_open(struct conn *c, int handle) MUST_CHECK;
/* Closes the handle and drops what is unsent. Fine if it is closed. */
void conn_close(struct conn *c);
/* The same; but what it has sent gets to the other side, even if that still sends. */
void conn_finish(struct conn *c);

static inline bool conn_is_open(const struct conn *c)
{
    return c->handle != CONN_CLOSED;
}

/* Puts it on `list` to be flushed, unless it is on it or is blocked. */
void conn_mark_dirty(struct conn *c, struct list *list);

/* Sends what it can without waiting. The bytes sent, or -errno when the connection is broken. */
ssize_t conn_flush(struct conn *c);

/*
 * Sends what waits and then `bytes`, in one call and without waiting: what is long and has just
 * been read need not be copied if the socket takes it. Returns the bytes sent in all, or -errno
 * when the connection is broken; *ret_taken is how many of `bytes` were among them. The rest is the
 * caller's to append.
 */
ssize_t conn_send(struct conn *c, const void *bytes, size_t len, size_t *ret_taken);

/* As io_ops.read. */
static inline ssize_t conn_read(struct conn *c, void *to, size_t size)
{
    if (c->tls)
        return tls_read(c, to, size);
    return c->loop->io->ops->read(c->loop->io->ctx, c->handle, to, size);
}

/* Is anything that it was given not on its way yet? */
static inline bool conn_has_unsent(const struct conn *c)
{
    return c->out.len > 0 || (c->tls && tls_has_unsent(c->tls));
}

/* What the other side has not said in time, for people: `what`, or a handshake. */
static inline const char *conn_late(const struct conn *c, const char *what)
{
    return c->tls && tls_is_shaking(c->tls) ? "TLS: no handshake in time" : what;
}

/* Why one of these gave `err` (-errno), for people. To be asked before it is closed. Returns `to`.
 */
char *conn_why(const struct conn *c, int err, char to[CONN_WHY_MAX]);
