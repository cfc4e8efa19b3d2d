/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL reads from and writes to memory; what is between that and the socket may wait. */
#include "net/talk.h"

#include "net/tls_internal.h"
#include "os/host.h"
#include "os/process.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 16 * 1024 };

struct talk {
    int fd;
    uint64_t until; /* process_now_ns() */
    SSL *ssl;       /* owned; NULL: no TLS */
    BIO *in, *out;  /* of the session, which owns them: what has come, what is to be sent */
    char *why;      /* loan */
};

static int fail_tls(struct talk *t)
{
    long verified = SSL_get_verify_result(t->ssl);
    if (verified != X509_V_OK)
        snprintf(t->why, TALK_WHY_MAX, "TLS: certificate: %s",
                 X509_verify_cert_error_string(verified));
    else
        snprintf(t->why, TALK_WHY_MAX, "TLS: %s", tls_error_text());
    return -ECONNABORTED;
}

/* ---- what is encrypted ---- */

static int push(struct talk *t)
{
    char piece[PIECE];
    int n;
    while ((n = BIO_read(t->out, piece, sizeof(piece))) > 0) {
        int err = host_send(t->fd, (struct str){piece, (size_t)n}, t->until);
        if (err)
            return err;
    }
    return 0;
}

static int pull(struct talk *t)
{
    char piece[PIECE];
    ssize_t n = host_receive(t->fd, piece, sizeof(piece), t->until);
    if (n <= 0)
        return n == 0 ? -ECONNRESET : (int)n;
    return BIO_write(t->in, piece, (int)n) == n ? 0 : -ENOMEM;
}

/* An operation of OpenSSL gave `result`, which is no success. 0: it may be tried again. */
static int move(struct talk *t, int result)
{
    int what = SSL_get_error(t->ssl, result);
    int err = push(t); /* a last word of ours, too */
    if (what == SSL_ERROR_ZERO_RETURN)
        return -ECONNRESET;
    if (what != SSL_ERROR_WANT_READ)
        return fail_tls(t);
    return err ? err : pull(t);
}

static int begin_tls(struct talk *t, const struct talk_server *server)
{
    t->ssl = tls_context_session(server->tls, server->name);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out) {
        BIO_free(t->in);
        BIO_free(t->out);
        return -ENOMEM;
    }
    BIO_set_mem_eof_return(t->in, -1); /* empty is no end */
    BIO_set_mem_eof_return(t->out, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    ERR_clear_error();
    for (;;) {
        int done = SSL_do_handshake(t->ssl);
        int err = done == 1 ? push(t) : move(t, done);
        if (done == 1 || err)
            return err;
    }
}

/* ---- plain bytes ---- */

static int say(struct talk *t, struct str bytes)
{
    if (!t->ssl)
        return host_send(t->fd, bytes, t->until);
    while (bytes.len > 0) {
        int n = SSL_write(t->ssl, bytes.p, bytes.len < PIECE ? (int)bytes.len : PIECE);
        int err = n > 0 ? push(t) : move(t, n);
        if (err)
            return err;
        if (n > 0)
            bytes = (struct str){bytes.p + n, bytes.len - (size_t)n};
    }
    return 0;
}

/* Some bytes, at least one, or -errno. */
static ssize_t hear(struct talk *t, char *to, size_t size)
{
    while (t->ssl) {
        int n = SSL_read(t->ssl, to, (int)size);
        int err = n > 0 ? 0 : move(t, n);
        if (n > 0 || err)
            return n > 0 ? n : err;
    }
    ssize_t n = host_receive(t->fd, to, size, t->until);
    return n == 0 ? -ECONNRESET : n;
}

static int talk_over(struct talk *t, const struct talk_server *server, struct str question,
                     bool (*take)(void *owner, const char *bytes, size_t len), void *owner)
{
    char got[PIECE];
    int err = server->tls ? begin_tls(t, server) : 0;
    if (!err)
        err = say(t, question);
    while (!err) {
        ssize_t n = hear(t, got, sizeof(got));
        if (n < 0)
            return (int)n;
        if (take(owner, got, (size_t)n))
            return 0;
    }
    return err;
}

int talk(const struct talk_server *server, struct str question, uint64_t timeout_ns,
         bool (*take)(void *owner, const char *bytes, size_t len), void *owner,
         char why[TALK_WHY_MAX])
{
    struct talk t = {.until = process_now_ns() + timeout_ns, .why = why};
    why[0] = '\0';
    t.fd = server->unix_path ? host_connect_unix(server->unix_path, t.until)
                             : host_connect(&server->addr, t.until);
    int err = t.fd < 0 ? t.fd : talk_over(&t, server, question, take, owner);
    SSL_free(t.ssl);
    if (t.fd >= 0)
        host_close(t.fd);
    if (err && !why[0])
        snprintf(why, TALK_WHY_MAX, "%s", strerror(-err));
    return err;
}
