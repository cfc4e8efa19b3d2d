/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a connection that speaks TLS, and its bytes; how these reach the socket is
 * tls_wire.c's. Nothing is encrypted while the socket is full, so what is kept is bounded.
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
    GATHER_BELOW = 8 * 1024, /* a shorter piece is copied together with those behind it */
    AHEAD_MIN = 32 * 1024,   /* reading less than that ahead gains nothing */
    WHY_MAX = 88,
};

enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_ENDED, TLS_FAILED };

/* One for each connection, so it is kept short. */
struct tls {
    struct tls_wire wire;
    const struct tls_report *report;             /* loan */
    SSL *ssl;                                    /* owned */
    void (*on_ready)(struct source *, unsigned); /* of the connection's owner */
    uint8_t state;                               /* enum tls_state */
    bool was_open : 1;                           /* it counts as a connection */
    bool waits_for_room : 1; /* OpenSSL wants to say something before it reads on */
    bool waits_for_rest : 1; /* … to read the rest of a message before it writes on */
    bool much : 1;           /* the last read brought more than a record */
    bool whole : 1;          /* OpenSSL asks for as much as it has room for, not what it needs */
    int error;               /* FAILED: what every read gives */
    char why[WHY_MAX];       /* … for people; "": by the socket */
};

static void count(atomic_uint_least64_t *m, int by)
{
    if (m)
        metric_set(m, metric_get(m) + (uint64_t)(int64_t)by);
}

/* SSL_get_error() judges by that queue, which is nearly always empty: to look costs less than to
 * clear it. */
static void clear_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- states ---- */

/* By its peer or by us; what OpenSSL had to say of it is said, or is kept. */
static void fail(struct tls *t)
{
    bool shaking = t->state == TLS_SHAKING;
    long verified = SSL_get_verify_result(t->ssl);
    int socket_error = t->wire.read_error ? t->wire.read_error : t->wire.write_error;
    t->state = TLS_FAILED;
    t->error = socket_error ? socket_error : t->wire.at_end ? -ECONNRESET : -EPROTO;
    if (socket_error)
        t->why[0] = '\0';
    else if (t->wire.at_end)
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
        t->report->failed(t->wire.conn, t->why[0] ? t->why : strerror(-t->error));
}

static void shake(struct tls *t)
{
    clear_errors();
    int done = SSL_do_handshake(t->ssl);
    if (done == 1 && !t->wire.write_error) {
        t->state = TLS_OPEN;
        t->was_open = true;
        count(t->report->handshakes, 1);
        count(t->report->connections, 1);
        if (t->report->opened)
            t->report->opened(t->wire.conn);
        return;
    }
    int why = SSL_get_error(t->ssl, done);
    bool waits = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    if (!waits || t->wire.write_error)
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
    struct tls_wire *w = &t->wire;
    size_t unsent = w->unsent.len;
    if (ready & (IO_IN | IO_HUP))
        w->drained = false;
    if (ready & IO_HUP)
        w->hung_up = true;
    if (ready & IO_OUT) {
        w->full = false;
        tls_wire_send(w);
    }
    bool moves = w->unsent.len < unsent;
    if (t->state == TLS_SHAKING) {
        shake(t);
        if (t->state == TLS_SHAKING)
            return;
        ready |= IO_IN | IO_OUT | (w->hung_up ? IO_HUP : 0u);
    }
    if (t->waits_for_room && w->unsent.len == 0) {
        t->waits_for_room = false;
        ready |= IO_IN;
    }
    if (t->waits_for_rest && ready & IO_IN) {
        t->waits_for_rest = false;
        ready |= IO_OUT;
    }
    /* Whoever takes some of it is seen to do so. */
    if (w->unsent.len > 0 && !moves)
        ready &= ~(unsigned)IO_OUT;
    t->on_ready(s, ready); /* which may close it: `t` is gone then */
}

/* ---- reading ---- */

/*
 * Where `much` comes, the socket is read into the caller's space, a record's length behind the
 * place for plain bytes: these are fewer than the encrypted ones that OpenSSL got for them, but for
 * what it had of one record before; so they never reach what it has not got yet.
 * → the bytes that SSL_read_ex() may write to `at`
 */
static size_t aim(struct tls *t, uint8_t *at, size_t left)
{
    struct tls_ahead *a = t->wire.ahead;
    bool ahead = t->much && left >= TLS_RECORD_BYTES + AHEAD_MIN;
    a->room = at + (ahead ? TLS_RECORD_BYTES : 0);
    a->room_len = ahead ? left - TLS_RECORD_BYTES : 0;
    bool whole = !ahead && a->len == 0;
    if (whole != t->whole) {
        SSL_set_read_ahead(t->ssl, whole);
        t->whole = whole;
    }
    if (whole)
        return left;
    size_t free = a->len > 0 ? (size_t)(a->bytes - at) : left;
    return free < TLS_RECORD_BYTES ? free : TLS_RECORD_BYTES;
}

/* OpenSSL would get itself a buffer before it asks for what is known not to be there. */
static bool has_nothing(const struct tls *t)
{
    const struct tls_wire *w = &t->wire;
    return w->drained && w->unread.len == 0 && w->ahead->len == 0 && !SSL_has_pending(t->ssl);
}

static size_t read_records(struct tls *t, uint8_t *to, size_t size)
{
    struct tls_ahead ahead = {0};
    size_t len = 0;
    t->wire.ahead = &ahead;
    while (t->state == TLS_OPEN && len < size && !has_nothing(t)) {
        size_t n = aim(t, to + len, size - len);
        if (n == 0)
            break;
        clear_errors();
        int ok = SSL_read_ex(t->ssl, to + len, n, &n);
        if (ok)
            len += n;
        else if (may_go_on(t, SSL_get_error(t->ssl, ok)))
            break;
        t->much = t->much || len >= TLS_RECORD_BYTES;
    }
    t->much = len >= TLS_RECORD_BYTES;
    if (t->state != TLS_OPEN)
        ahead.len = 0; /* what is behind an end */
    if (tls_wire_keep_ahead(&t->wire) != 0) {
        t->wire.read_error = -ENOMEM;
        fail(t);
    }
    return len;
}

ssize_t tls_read(struct conn *c, void *to, size_t size)
{
    struct tls *t = c->tls;
    size_t len = read_records(t, to, size);
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

/* ---- writing ---- */

static bool may_write(const struct tls *t)
{
    return t->state != TLS_SHAKING && !t->waits_for_rest && !t->wire.full && !t->wire.write_error;
}

/* One record, of not more than TLS_RECORD_BYTES; the socket is not full. → the bytes in it, 0:
 * OpenSSL has to read first, or -errno. `more`: another is to follow at once. */
static ssize_t write_record(struct tls *t, const void *bytes, size_t len, bool more)
{
    size_t n = 0;
    clear_errors();
    t->wire.gathers = more || len > t->wire.record_max;
    int ok = SSL_write_ex(t->ssl, bytes, len, &n);
    t->wire.gathers = false;
    if (ok) {
        t->wire.owed += (uint32_t)n;
        if (n < len)
            t->wire.record_max = (uint16_t)n;
        return t->wire.write_error ? t->wire.write_error : (ssize_t)n;
    }
    if (SSL_get_error(t->ssl, ok) == SSL_ERROR_WANT_READ) {
        t->waits_for_rest = true;
        return 0;
    }
    if (t->state != TLS_FAILED)
        fail(t);
    return t->error;
}

/* The next record of what waits. → as write_record() */
static ssize_t write_waiting(struct conn *c, bool more)
{
    uint8_t gathered[TLS_RECORD_BYTES];
    struct iovec piece;
    size_t len = c->out.len < TLS_RECORD_BYTES ? c->out.len : TLS_RECORD_BYTES;
    buf_iov(&c->out, 0, &piece, 1);
    const void *bytes = piece.iov_base;
    if (piece.iov_len < len && piece.iov_len < GATHER_BELOW) {
        buf_copy_out(&c->out, 0, gathered, len);
        bytes = gathered;
    } else if (piece.iov_len < len) {
        len = piece.iov_len;
    }
    ssize_t n = write_record(c->tls, bytes, len, more || len < c->out.len);
    if (n > 0)
        buf_consume(&c->out, c->chunks, (size_t)n);
    return n;
}

/* What waits, and then `bytes`, until the socket is full. 0 or -errno */
static int write_records(struct conn *c, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
    struct tls *t = c->tls;
    ssize_t n = 1;
    while (n > 0 && c->out.len > 0 && may_write(t))
        n = write_waiting(c, len > 0);
    while (n > 0 && *ret_taken < len && c->out.len == 0 && may_write(t)) {
        size_t left = len - *ret_taken;
        size_t asked = left < TLS_RECORD_BYTES ? left : TLS_RECORD_BYTES;
        n = write_record(t, bytes + *ret_taken, asked, asked < left);
        if (n > 0)
            *ret_taken += (size_t)n;
    }
    return n < 0 ? (int)n : 0;
}

/* What was encrypted counts as sent when the socket has taken as much, and so all of it when
 * nothing is kept; what is owed is never more than what is kept. */
static size_t newly_sent(struct tls *t)
{
    size_t unsent = t->wire.unsent.len;
    size_t sent = t->wire.owed > unsent ? t->wire.owed - unsent : 0;
    t->wire.owed -= (uint32_t)sent;
    return sent;
}

ssize_t tls_send(struct conn *c, const void *bytes, size_t len, size_t *ret_taken)
{
    struct tls *t = c->tls;
    *ret_taken = 0;
    if (t->state == TLS_FAILED)
        return t->error;
    tls_wire_send(&t->wire);
    int err = write_records(c, bytes, len, ret_taken);
    tls_wire_send(&t->wire); /* gathered, and then there was an error or a key to be changed */
    if (err || t->wire.write_error)
        return err ? err : t->wire.write_error;
    c->blocked = t->state == TLS_SHAKING || t->waits_for_rest || t->wire.unsent.len > 0;
    return (ssize_t)newly_sent(t);
}

ssize_t tls_flush(struct conn *c)
{
    size_t taken;
    return tls_send(c, NULL, 0, &taken);
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
    *t = (struct tls){.wire.conn = c,
                      .report = report,
                      .ssl = ssl,
                      .on_ready = c->source.on_ready,
                      .wire.record_max = TLS_RECORD_BYTES,
                      .whole = true};
    BIO_set_data(bio, &t->wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* which owns it */
    if (early)
        buf_move_all(&t->wire.unread, early);
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
    clear_errors();
    if ((t->state == TLS_OPEN || t->state == TLS_ENDED) && t->wire.unsent.len == 0)
        (void)SSL_shutdown(t->ssl);
    if (t->was_open)
        count(t->report->connections, -1);
    SSL_free(t->ssl);
    tls_wire_fini(&t->wire);
    free(t);
}

bool tls_is_shaking(const struct tls *t)
{
    return t->state == TLS_SHAKING;
}

bool tls_has_unsent(const struct tls *t)
{
    return t->wire.unsent.len > 0;
}

const char *tls_why(const struct tls *t)
{
    return t->state == TLS_FAILED && t->why[0] ? t->why : NULL;
}
