/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL reads and writes through a BIO of ours, which asks struct io as conn.c does. Its write
 * never fails and never is short: what the socket does not take is kept in `unsent`. And as nothing
 * more is encrypted while anything is kept, that is one record, plus the little that OpenSSL says
 * of its own accord; so a record need never be written a second time with the same bytes, which
 * OpenSSL would insist on.
 *
 * The owner's on_ready is called through ours, which leads the handshake and sends what is kept.
 */
#include "net/tls.h"

#include "base/metric.h"
#include "base/must.h"
#include "net/conn.h"
#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_BYTES = 16 * 1024, /* the most that TLS allows */
    GATHER_BELOW = 8 * 1024,  /* a shorter piece is copied together with those behind it */
    UNSENT_MAX = 64 * 1024,   /* then OpenSSL's own words have to wait too */
    UNSENT_PIECES = 16,
    WHY_MAX = 96,
};

enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_ENDED, TLS_FAILED };

struct tls {
    struct conn *conn;                           /* loan: it owns this */
    const struct tls_report *report;             /* loan */
    SSL *ssl;                                    /* owned */
    void (*on_ready)(struct source *, unsigned); /* of the connection's owner */
    struct buf early;    /* encrypted bytes that were read before TLS began */
    struct buf unsent;   /* encrypted bytes that the socket did not take yet */
    uint8_t state;       /* enum tls_state */
    bool drained;        /* the socket had no more when it was last read */
    bool hung_up;        /* … but there may be its end */
    bool at_end;         /* that has been read */
    bool was_open;       /* it counts as a connection */
    bool waits_for_room; /* OpenSSL wants to say something before it reads on */
    bool waits_for_rest; /* … to read the rest of a message before it writes on */
    int read_error;      /* -errno of the socket; 0: none */
    int write_error;     /* the same; what is written from then on is dropped */
    int error;           /* FAILED: what every read gives */
    char why[WHY_MAX];   /* … for people; "": by the socket */
};

static void count(atomic_uint_least64_t *m, int by)
{
    if (m)
        metric_set(m, metric_get(m) + (uint64_t)(int64_t)by);
}

/* ---- the socket ---- */

static ssize_t write_socket(struct tls *t, const struct iovec *iov, int pieces)
{
    struct io *io = t->conn->loop->io;
    ssize_t n = io->ops->writev(io->ctx, t->conn->handle, iov, pieces);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    if (n < 0) {
        t->write_error = (int)n;
        buf_clear(&t->unsent, t->conn->chunks);
        return 0;
    }
    return n;
}

static void send_unsent(struct tls *t)
{
    while (t->unsent.len > 0) {
        struct iovec iov[UNSENT_PIECES];
        size_t asked = 0;
        int pieces = buf_iov(&t->unsent, 0, iov, UNSENT_PIECES);
        for (int i = 0; i < pieces; i++)
            asked += iov[i].iov_len;
        size_t n = (size_t)write_socket(t, iov, pieces);
        buf_consume(&t->unsent, t->conn->chunks, n);
        if (n < asked)
            return;
    }
}

/* What belongs to a record must follow its beginning, so this may use the reserve. */
static int keep(struct tls *t, const char *bytes, size_t len)
{
    struct chunk_pool *chunks = t->conn->chunks;
    if (buf_append_slowly(&t->unsent, chunks, bytes, len) == 0)
        return 0;
    return buf_append_urgent(&t->unsent, chunks, bytes, len);
}

int tls_bio_write(BIO *b, const char *bytes, int len)
{
    struct tls *t = BIO_get_data(b);
    size_t sent = 0;
    BIO_clear_retry_flags(b);
    if (t->write_error)
        return len; /* whoever flushes is told */
    if (t->unsent.len > UNSENT_MAX) {
        BIO_set_retry_write(b);
        return -1;
    }
    if (t->unsent.len == 0) {
        struct iovec iov = {(void *)(uintptr_t)bytes, (size_t)len};
        sent = (size_t)write_socket(t, &iov, 1);
    }
    if (sent < (size_t)len && !t->write_error && keep(t, bytes + sent, (size_t)len - sent) != 0) {
        buf_clear(&t->unsent, t->conn->chunks);
        t->write_error = -ENOMEM;
    }
    return len;
}

int tls_bio_read(BIO *b, char *to, int size)
{
    struct tls *t = BIO_get_data(b);
    struct io *io = t->conn->loop->io;
    BIO_clear_retry_flags(b);
    if (t->early.len > 0) {
        size_t early = t->early.len < (size_t)size ? t->early.len : (size_t)size;
        buf_copy_out(&t->early, 0, to, early);
        buf_consume(&t->early, t->conn->chunks, early);
        return (int)early;
    }
    ssize_t n = t->drained ? -EAGAIN : io->ops->read(io->ctx, t->conn->handle, to, (size_t)size);
    if (n > 0) {
        t->drained = n < size && !t->hung_up;
        return (int)n;
    }
    if (n == 0) {
        t->at_end = true;
        return 0;
    }
    if (n == -EAGAIN || n == -EINTR) {
        t->drained = n == -EAGAIN;
        BIO_set_retry_read(b);
    } else {
        t->read_error = (int)n;
    }
    return -1;
}

long tls_bio_ctrl(BIO *b, int what, long number, void *arg)
{
    const struct tls *t = BIO_get_data(b);
    (void)number;
    (void)arg;
    if (what == BIO_CTRL_EOF)
        return t->at_end;
    return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
}

/* ---- states ---- */

/* By its peer or by us; what OpenSSL had to say of it is said, or lies in `unsent`. */
static void fail(struct tls *t)
{
    bool shaking = t->state == TLS_SHAKING;
    long verified = SSL_get_verify_result(t->ssl);
    int socket_error = t->read_error ? t->read_error : t->write_error;
    t->state = TLS_FAILED;
    t->error = socket_error ? socket_error : t->at_end ? -ECONNRESET : -EPROTO;
    if (socket_error)
        t->why[0] = '\0';
    else if (t->at_end)
        snprintf(t->why, WHY_MAX, "TLS: closed %s",
                 shaking ? "inside the handshake" : "without a farewell");
    else if (shaking && verified != X509_V_OK)
        snprintf(t->why, WHY_MAX, "TLS: certificate: %s", X509_verify_cert_error_string(verified));
    else
        snprintf(t->why, WHY_MAX, "TLS: %s", tls_error_text());
    if (!shaking)
        return;
    count(t->report->failures, 1);
    if (t->report->failed)
        t->report->failed(t->conn, t->why[0] ? t->why : strerror(-t->error));
}

static void shake(struct tls *t)
{
    ERR_clear_error();
    int done = SSL_do_handshake(t->ssl);
    if (done == 1 && !t->write_error) {
        t->state = TLS_OPEN;
        t->was_open = true;
        count(t->report->handshakes, 1);
        count(t->report->connections, 1);
        if (t->report->opened)
            t->report->opened(t->conn);
        return;
    }
    int why = SSL_get_error(t->ssl, done);
    bool waits = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    if (!waits || t->write_error)
        fail(t);
}

/* An operation gave nothing. May it be tried again later? Else it has ended or failed. */
static bool may_go_on(struct tls *t, int why)
{
    if (why == SSL_ERROR_WANT_READ)
        return true;
    if (why == SSL_ERROR_WANT_WRITE) {
        t->waits_for_room = true;
        return true;
    }
    /* That of a client that has gone without a farewell is one (SSL_OP_IGNORE_UNEXPECTED_EOF). */
    if (why == SSL_ERROR_ZERO_RETURN)
        t->state = TLS_ENDED;
    else
        fail(t);
    return false;
}

static void on_ready(struct source *s, unsigned ready)
{
    struct tls *t = container_of(s, struct conn, source)->tls;
    if (ready & (IO_IN | IO_HUP))
        t->drained = false;
    if (ready & IO_HUP)
        t->hung_up = true;
    if (ready & IO_OUT)
        send_unsent(t);
    if (t->state == TLS_SHAKING) {
        shake(t);
        if (t->state == TLS_SHAKING)
            return;
        ready |= IO_IN | IO_OUT | (t->hung_up ? IO_HUP : 0u);
    }
    if (t->waits_for_room && t->unsent.len == 0) {
        t->waits_for_room = false;
        ready |= IO_IN;
    }
    if (t->waits_for_rest && ready & IO_IN) {
        t->waits_for_rest = false;
        ready |= IO_OUT;
    }
    if (t->unsent.len > 0)
        ready &= ~(unsigned)IO_OUT; /* again when that is sent */
    t->on_ready(s, ready);          /* which may close it: `t` is gone then */
}

/* ---- bytes ---- */

ssize_t tls_read(struct conn *c, void *to, size_t size)
{
    struct tls *t = c->tls;
    size_t len = 0;
    while (t->state == TLS_OPEN && len < size) {
        /* OpenSSL would get itself a buffer before it asks for what is known not to be there. */
        if (t->drained && t->early.len == 0 && !SSL_has_pending(t->ssl))
            break;
        size_t n;
        ERR_clear_error();
        int ok = SSL_read_ex(t->ssl, (uint8_t *)to + len, size - len, &n);
        if (ok)
            len += n;
        else if (may_go_on(t, SSL_get_error(t->ssl, ok)))
            break;
    }
    if (len > 0) {
        /* A short read means that there is no more: but there is an end, of which the socket has
         * told already. */
        if (t->state != TLS_OPEN)
            loop_again(c->loop, &c->source);
        return (ssize_t)len;
    }
    if (t->state == TLS_ENDED)
        return 0;
    return t->state == TLS_FAILED ? t->error : -EAGAIN;
}

/* One record, of not more than RECORD_BYTES; nothing is unsent. → the bytes in it, 0: OpenSSL has
 * to read first, or -errno */
static ssize_t write_record(struct tls *t, const void *bytes, size_t len)
{
    size_t n = 0;
    ERR_clear_error();
    int ok = SSL_write_ex(t->ssl, bytes, len, &n);
    if (ok)
        return t->write_error ? t->write_error : (ssize_t)n; /* short, if the peer wants it so */
    if (SSL_get_error(t->ssl, ok) == SSL_ERROR_WANT_READ) {
        t->waits_for_rest = true;
        return 0;
    }
    if (t->state != TLS_FAILED)
        fail(t);
    return t->error;
}

/* The next record of what waits. → as write_record() */
static ssize_t send_waiting(struct conn *c)
{
    uint8_t gathered[RECORD_BYTES];
    struct iovec piece;
    size_t len = c->out.len < RECORD_BYTES ? c->out.len : RECORD_BYTES;
    buf_iov(&c->out, 0, &piece, 1);
    const void *bytes = piece.iov_base;
    if (piece.iov_len < len && piece.iov_len < GATHER_BELOW) {
        buf_copy_out(&c->out, 0, gathered, len);
        bytes = gathered;
    } else if (piece.iov_len < len) {
        len = piece.iov_len;
    }
    ssize_t n = write_record(c->tls, bytes, len);
    if (n > 0)
        buf_consume(&c->out, c->chunks, (size_t)n);
    return n;
}

static bool is_blocked(const struct tls *t)
{
    return t->state == TLS_SHAKING || t->waits_for_rest || t->unsent.len > 0;
}

ssize_t tls_flush(struct conn *c)
{
    struct tls *t = c->tls;
    ssize_t sent = 0;
    if (t->state == TLS_FAILED)
        return t->error;
    send_unsent(t);
    while (c->out.len > 0 && !is_blocked(t) && !t->write_error) {
        ssize_t n = send_waiting(c);
        if (n < 0)
            return n;
        sent += n;
    }
    if (t->write_error)
        return t->write_error;
    c->blocked = is_blocked(t);
    return sent;
}

ssize_t tls_send(struct conn *c, const void *bytes, size_t len, size_t *ret_taken)
{
    struct tls *t = c->tls;
    *ret_taken = 0;
    ssize_t sent = tls_flush(c);
    while (sent >= 0 && !c->blocked && *ret_taken < len) {
        size_t asked = len - *ret_taken < RECORD_BYTES ? len - *ret_taken : RECORD_BYTES;
        ssize_t n = write_record(t, (const uint8_t *)bytes + *ret_taken, asked);
        if (n < 0)
            return n;
        *ret_taken += (size_t)n;
        sent += n;
        c->blocked = is_blocked(t);
    }
    return sent;
}

/* ---- life ---- */

int tls_start(struct conn *c, struct tls_context *context, const char *peer, struct buf *early,
              const struct tls_report *report)
{
    must(conn_is_open(c) && !c->tls);
    struct tls *t = calloc(1, sizeof(*t));
    SSL *ssl = t ? tls_context_session(context, peer) : NULL;
    BIO *bio = ssl ? BIO_new(tls_context_method(context)) : NULL;
    if (!bio) {
        SSL_free(ssl);
        free(t);
        return -ENOMEM;
    }
    *t = (struct tls){.conn = c, .report = report, .ssl = ssl, .on_ready = c->source.on_ready};
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* which owns it */
    if (early)
        buf_move_all(&t->early, early);
    c->tls = t;
    c->blocked = true;
    c->source.on_ready = on_ready;
    loop_again(c->loop, &c->source); /* a client begins, a server may have been sent something */
    return 0;
}

void tls_close(struct conn *c)
{
    struct tls *t = take_ptr(c->tls);
    c->source.on_ready = t->on_ready;
    ERR_clear_error();
    if ((t->state == TLS_OPEN || t->state == TLS_ENDED) && t->unsent.len == 0)
        (void)SSL_shutdown(t->ssl);
    if (t->was_open)
        count(t->report->connections, -1);
    SSL_free(t->ssl);
    buf_clear(&t->early, c->chunks);
    buf_clear(&t->unsent, c->chunks);
    free(t);
}

bool tls_is_shaking(const struct tls *t)
{
    return t->state == TLS_SHAKING;
}

bool tls_has_unsent(const struct tls *t)
{
    return t->unsent.len > 0;
}

const char *tls_why(const struct tls *t)
{
    return t->state == TLS_FAILED && t->why[0] ? t->why : NULL;
}
