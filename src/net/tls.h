/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of a connection, below conn.h: whoever owns the connection reads and writes plain bytes and
 * knows of it only when it begins. (docs/decisions/0022)
 *
 *   SHAKING ──► OPEN ──end of the peer──► ENDED
 *      └──────────┴──── any error ──────► FAILED
 *
 * While SHAKING the connection counts as blocked, so nothing is sent on it, and reading gives
 * -EAGAIN. When that is over its owner hears of IO_IN and IO_OUT, and reads the error if there is
 * one.
 *
 * Records go out together, many in a system call, and much is read in long pieces
 * (docs/decisions/0024). What is encrypted and not sent yet is at most TLS_GATHER_MAX and a record,
 * and what OpenSSL says of its own accord up to TLS_UNSENT_MAX (tls_internal.h). It lies in the
 * chunks of the connection's pool, and counts as memory there; so does what was read and OpenSSL
 * does not go on with before it is heard: at most the length of a read.
 *
 * A struct tls belongs to its connection's thread; a tls_context (tls_context.h) to all.
 */
#pragma once
#include "base/buf.h"
#include "base/cleanup.h"
#include "net/tls_context.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct conn;
struct tls; /* opaque */

/* What becomes of connections is told here. Any of it may be NULL. */
struct tls_report {
    atomic_uint_least64_t *handshakes;  /* that succeeded … */
    atomic_uint_least64_t *failures;    /* … that did not */
    atomic_uint_least64_t *connections; /* gauge: OPEN, until they are closed */
    /* The handshake has ended, well or not. The connection must not be closed by these. */
    void (*opened)(struct conn *c);
    void (*failed)(struct conn *c, const char *why);
};

/*
 * From now on TLS is spoken on `c`, which is open (and connected) and has nothing to be sent.
 * `peer`: the node's "host:port"; NULL for the server's side. `early`: what was read already is its
 * beginning, and is taken from there; NULL: nothing was. `report` is a loan that outlives it.
 * 0 or -ENOMEM.
 */
int tls_start(struct conn *c, struct tls_context *context, const char *peer, struct buf *early,
              const struct tls_report *report) MUST_CHECK;
/* Says farewell if that can be done without waiting, and frees it. */
void tls_close(struct conn *c);

/*
 * As conn_read(), conn_send() and conn_flush(): lengths are those of plain bytes, which count as
 * sent when the socket has taken as many encrypted ones: so a flush may tell of bytes although
 * nothing waited. A read gives less than `size` only if no more is there, as a socket does, and may
 * have used all of `to` meanwhile.
 */
ssize_t tls_read(struct conn *c, void *to, size_t size);
ssize_t tls_send(struct conn *c, const void *bytes, size_t len, size_t *ret_taken);
ssize_t tls_flush(struct conn *c);

/* Has the handshake not ended yet? */
bool tls_is_shaking(const struct tls *t);
/* Is there something encrypted that the socket did not take yet? */
bool tls_has_unsent(const struct tls *t);
/* Why it FAILED, for people: a loan until it is closed; NULL: it has not, or not by TLS. */
const char *tls_why(const struct tls *t);
