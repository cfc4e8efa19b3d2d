/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BIO through which OpenSSL reaches the socket: it asks struct io as conn.c does.
 *
 * A write never fails and never is short: what the socket does not take is kept in `unsent`. So a
 * record need never be written a second time with the same bytes, which OpenSSL would insist on.
 * While the wire `gathers`, records are kept there too, up to TLS_GATHER_MAX, and the next one that
 * is not takes them along: one system call for all of them.
 *
 * A read brings what OpenSSL asks for, a record at most; or, where its caller has room, as much as
 * that holds, and OpenSSL gets it from there, piece by piece.
 */
#include "net/conn.h"
#include "net/tls_internal.h"

#include <errno.h>
#include <string.h>

enum { WRITE_PIECES = 16 };

/* ---- to the socket ---- */

static size_t write_socket(struct tls_wire *w, const struct iovec *iov, int pieces)
{
    struct io *io = w->conn->loop->io;
    ssize_t n = io->ops->writev(io->ctx, w->conn->handle, iov, pieces);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    if (n < 0) {
        w->write_error = (int)n;
        buf_clear(&w->unsent, w->conn->chunks);
        return 0;
    }
    return (size_t)n;
}

/* What is unsent, and then `bytes`. → how many of these the socket took */
static size_t write_out(struct tls_wire *w, const char *bytes, size_t len)
{
    for (;;) {
        struct iovec iov[WRITE_PIECES];
        size_t kept = 0;
        int pieces = buf_iov(&w->unsent, 0, iov, WRITE_PIECES - 1);
        for (int i = 0; i < pieces; i++)
            kept += iov[i].iov_len;
        bool last = kept == w->unsent.len;
        size_t asked = kept;
        if (last && len > 0) {
            iov[pieces++] = (struct iovec){(void *)(uintptr_t)bytes, len};
            asked += len;
        }
        size_t n = write_socket(w, iov, pieces);
        size_t taken = n > kept ? n - kept : 0;
        buf_consume(&w->unsent, w->conn->chunks, n - taken);
        w->full = n < asked;
        if (last || w->full)
            return taken;
    }
}

void tls_wire_send(struct tls_wire *w)
{
    if (w->unsent.len > 0 && !w->full)
        (void)write_out(w, NULL, 0);
}

/* What belongs to a record must follow its beginning, so this may use the reserve. */
static int keep(struct tls_wire *w, const char *bytes, size_t len)
{
    struct chunk_pool *chunks = w->conn->chunks;
    if (buf_append_slowly(&w->unsent, chunks, bytes, len) == 0)
        return 0;
    return buf_append_urgent(&w->unsent, chunks, bytes, len);
}

static bool gather(struct tls_wire *w, const char *bytes, size_t len)
{
    return w->gathers && w->unsent.len + len <= TLS_GATHER_MAX &&
           buf_append(&w->unsent, w->conn->chunks, bytes, len) == 0;
}

int tls_bio_write(BIO *b, const char *bytes, int len)
{
    struct tls_wire *w = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (w->write_error)
        return len; /* whoever flushes is told */
    if (w->unsent.len > TLS_UNSENT_MAX) {
        BIO_set_retry_write(b);
        return -1;
    }
    if (gather(w, bytes, (size_t)len))
        return len;
    size_t sent = w->full ? 0 : write_out(w, bytes, (size_t)len);
    if (sent < (size_t)len && !w->write_error && keep(w, bytes + sent, (size_t)len - sent) != 0) {
        buf_clear(&w->unsent, w->conn->chunks);
        w->write_error = -ENOMEM;
    }
    return len;
}

/* ---- from the socket ---- */

static ssize_t read_socket(struct tls_wire *w, void *to, size_t size)
{
    struct io *io = w->conn->loop->io;
    if (w->drained)
        return -EAGAIN;
    ssize_t n = io->ops->read(io->ctx, w->conn->handle, to, size);
    if (n > 0)
        w->drained = (size_t)n < size && !w->hung_up;
    else if (n == -EAGAIN)
        w->drained = true;
    else if (n == 0)
        w->at_end = true;
    else if (n != -EINTR)
        w->read_error = (int)n;
    return n;
}

static int take_ahead(struct tls_ahead *a, void *to, size_t size)
{
    size_t n = a->len < size ? a->len : size;
    memcpy(to, a->bytes, n);
    a->bytes += n;
    a->len -= n;
    return (int)n;
}

static int take_unread(struct tls_wire *w, void *to, size_t size)
{
    size_t n = w->unread.len < size ? w->unread.len : size;
    buf_copy_out(&w->unread, 0, to, n);
    buf_consume(&w->unread, w->conn->chunks, n);
    return (int)n;
}

int tls_bio_read(BIO *b, char *to, int size)
{
    struct tls_wire *w = BIO_get_data(b);
    struct tls_ahead *a = w->ahead;
    BIO_clear_retry_flags(b);
    if (w->unread.len > 0)
        return take_unread(w, to, (size_t)size);
    if (a && a->len > 0)
        return take_ahead(a, to, (size_t)size);
    bool ahead = a && a->room_len > 0;
    ssize_t n = read_socket(w, ahead ? a->room : (void *)to, ahead ? a->room_len : (size_t)size);
    if (n == -EAGAIN || n == -EINTR)
        BIO_set_retry_read(b);
    if (n <= 0)
        return n == 0 ? 0 : -1;
    if (!ahead)
        return (int)n;
    a->bytes = a->room;
    a->len = (size_t)n;
    return take_ahead(a, to, (size_t)size);
}

int tls_wire_keep_ahead(struct tls_wire *w)
{
    const struct tls_ahead *a = take_ptr(w->ahead);
    return a->len > 0 ? buf_append(&w->unread, w->conn->chunks, a->bytes, a->len) : 0;
}

/* ---- the rest ---- */

long tls_bio_ctrl(BIO *b, int what, long number, void *arg)
{
    const struct tls_wire *w = BIO_get_data(b);
    (void)number;
    (void)arg;
    if (what == BIO_CTRL_EOF)
        return w->at_end;
    return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
}

void tls_wire_fini(struct tls_wire *w)
{
    buf_clear(&w->unread, w->conn->chunks);
    buf_clear(&w->unsent, w->conn->chunks);
}
