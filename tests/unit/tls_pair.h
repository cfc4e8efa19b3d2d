/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of ours that speaks TLS over a socket in memory, and OpenSSL itself at the other
 * end: for tests that say how many bytes each system call moves.
 */
#pragma once
#include "base/must.h"
#include "base/nsec.h"
#include "net/conn.h"
#include "net/tls_internal.h"
#include "os/file.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAIR_STREAM_BYTES = 4 << 20, PAIR_LIMIT = 8 << 20, PAIR_ALL = 1 << 30 };

struct stream {
    uint8_t *bytes; /* of PAIR_STREAM_BYTES */
    size_t begin, end;
};

struct pair {
    char dir[200], file[300];
    struct stream in, out; /* what we have to read, and what we have written */
    size_t read_max;       /* bytes that one call brings at most … */
    size_t takes;          /* … that the socket takes before it is full */
    size_t reads, writes;  /* calls that moved something */
    size_t vain;           /* calls that did not */
    int write_error;
    bool at_end;
    bool wants_short_records; /* of 512 bytes; the peer is a client */
    struct io io;
    struct loop loop;
    struct chunk_pool chunks;
    struct conn conn;
    struct tls_report report;
    struct tls_context *ours;
    SSL_CTX *theirs;
    SSL *peer;
    unsigned told; /* IO_… that the owner has heard of since pair_ready() */
};

static inline uint64_t pair_now(void *ctx)
{
    (void)ctx;
    return NSEC_S;
}

static inline int pair_watch(void *ctx, int handle, void *tag)
{
    (void)ctx;
    (void)handle;
    (void)tag;
    return 0;
}

static inline void pair_close(void *ctx, int handle)
{
    (void)ctx;
    (void)handle;
}

static inline ssize_t pair_read(void *ctx, int handle, void *to, size_t size)
{
    struct pair *p = ctx;
    (void)handle;
    size_t n = p->in.end - p->in.begin;
    if (n > size)
        n = size;
    if (n > p->read_max)
        n = p->read_max;
    if (n == 0) {
        p->vain++;
        return p->at_end ? 0 : -EAGAIN;
    }
    memcpy(to, p->in.bytes + p->in.begin, n);
    p->in.begin += n;
    p->reads++;
    return (ssize_t)n;
}

static inline ssize_t pair_writev(void *ctx, int handle, const struct iovec *iov, int count)
{
    struct pair *p = ctx;
    size_t sent = 0;
    (void)handle;
    if (p->write_error)
        return p->write_error;
    for (int i = 0; i < count; i++) {
        size_t n = iov[i].iov_len < p->takes ? iov[i].iov_len : p->takes;
        assert_true(p->out.end + n <= PAIR_STREAM_BYTES);
        memcpy(p->out.bytes + p->out.end, iov[i].iov_base, n);
        p->out.end += n;
        p->takes -= n;
        sent += n;
    }
    if (sent == 0)
        p->vain++;
    else
        p->writes++;
    return sent > 0 ? (ssize_t)sent : -EAGAIN;
}

static const struct io_ops PAIR_OPS = {.now_ns = pair_now,
                                       .watch = pair_watch,
                                       .read = pair_read,
                                       .writev = pair_writev,
                                       .close = pair_close,
                                       .finish = pair_close};

static inline void pair_on_ready(struct source *s, unsigned ready)
{
    container_of(s, struct pair, conn.source)->told |= ready;
}

/* A certificate that signed itself, and its key behind it. */
static inline void write_certificate(const char *path, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    FILE *f = fopen(path, "w");
    assert_non_null(key);
    assert_non_null(x);
    assert_non_null(f);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* What the peer has to say goes into our socket, and what we have sent to the peer. */
static inline void pair_carry(struct pair *p)
{
    char *said;
    if (p->in.begin == p->in.end)
        p->in.begin = p->in.end = 0;
    long len = BIO_get_mem_data(SSL_get_wbio(p->peer), &said);
    assert_true(p->in.end + (size_t)len <= PAIR_STREAM_BYTES);
    if (len > 0)
        memcpy(p->in.bytes + p->in.end, said, (size_t)len);
    p->in.end += (size_t)len;
    (void)BIO_reset(SSL_get_wbio(p->peer));
    size_t heard = p->out.end - p->out.begin;
    if (heard > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->peer), p->out.bytes + p->out.begin, (int)heard),
                         heard);
    p->out.begin = p->out.end = 0;
}

/* The socket has something to read, or room again. */
static inline void pair_ready(struct pair *p, unsigned ready)
{
    p->told = 0;
    p->conn.source.on_ready(&p->conn.source, ready);
    if (p->told & IO_OUT)
        p->conn.blocked = false;
}

static inline void pair_shake(struct pair *p)
{
    for (int i = 0; i < 10 && tls_is_shaking(p->conn.tls); i++) {
        pair_ready(p, IO_IN | IO_OUT);
        pair_carry(p);
        (void)SSL_do_handshake(p->peer);
        pair_carry(p);
    }
    assert_false(tls_is_shaking(p->conn.tls));
    assert_true(SSL_is_init_finished(p->peer));
    char none[1];
    assert_int_equal(SSL_read(p->peer, none, 1), -1); /* takes the tickets */
    pair_ready(p, IO_IN | IO_OUT);
    assert_int_equal(conn_read(&p->conn, none, 1), -EAGAIN);
    p->reads = p->writes = p->vain = 0;
}

/* `ours`: the connection is a server's. `version`: TLS1_2_VERSION, TLS1_3_VERSION. */
static inline void pair_open(struct pair *p, bool ours, int version)
{
    char error[TLS_ERROR_MAX];
    struct tls_config c = {.server = ours,
                           .certificate_file = ours ? p->file : "",
                           .key_file = "",
                           .ca_file = ours ? "" : p->file,
                           .server_name = ""};
    assert_int_equal(tls_context_new(&c, &p->ours, error), 0);
    p->theirs = SSL_CTX_new(ours ? TLS_client_method() : TLS_server_method());
    assert_non_null(p->theirs);
    SSL_CTX_set_max_proto_version(p->theirs, version);
    if (!ours) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(p->theirs, p->file), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(p->theirs, p->file, SSL_FILETYPE_PEM), 1);
    }
    p->peer = SSL_new(p->theirs);
    assert_non_null(p->peer);
    if (p->wants_short_records)
        assert_int_equal(
            SSL_set_tlsext_max_fragment_length(p->peer, TLSEXT_max_fragment_length_512), 1);
    SSL_set_bio(p->peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(p->peer), -1);
    if (ours)
        SSL_set_connect_state(p->peer);
    else
        SSL_set_accept_state(p->peer);
    p->read_max = p->takes = PAIR_ALL;
    p->write_error = 0;
    p->at_end = false;
    p->in.begin = p->in.end = p->out.begin = p->out.end = 0;
    p->io = (struct io){&PAIR_OPS, p};
    loop_init(&p->loop, &p->io);
    chunk_pool_init(&p->chunks, PAIR_LIMIT, 1 << 20);
    conn_init(&p->conn, &p->loop, &p->chunks, pair_on_ready);
    assert_int_equal(conn_open(&p->conn, 1), 0);
    assert_int_equal(tls_start(&p->conn, p->ours, ours ? NULL : "node:1", NULL, &p->report), 0);
    pair_shake(p);
}

/* Nothing of it may be left behind. */
static inline void pair_end(struct pair *p)
{
    conn_close(&p->conn);
    assert_int_equal(chunk_pool_bytes(&p->chunks), 0);
    chunk_pool_fini(&p->chunks);
    loop_fini(&p->loop);
    SSL_free(p->peer);
    SSL_CTX_free(p->theirs);
    p->ours = tls_context_free(p->ours);
}

static inline int pair_make(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->in.bytes = malloc(PAIR_STREAM_BYTES);
    p->out.bytes = malloc(PAIR_STREAM_BYTES);
    assert_non_null(p->in.bytes);
    assert_non_null(p->out.bytes);
    assert_int_equal(file_temp_dir("sumcache-test-", p->dir, sizeof(p->dir)), 0);
    snprintf(p->file, sizeof(p->file), "%s/one", p->dir);
    write_certificate(p->file, "one");
    *state = p;
    return 0;
}

static inline int pair_unmake(void **state)
{
    struct pair *p = *state;
    file_remove_tree(p->dir);
    free(p->in.bytes);
    free(p->out.bytes);
    free(p);
    return 0;
}

/* Bytes of which each place has its own. To be freed. */
static inline uint8_t *pattern(size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    uint32_t x = 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525U + 1013904223U;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return bytes;
}
