/* SPDX-License-Identifier: Apache-2.0 */
/* Between tls_context.c, tls_wire.c and tls.c: the only files that know OpenSSL's types. */
#pragma once
#include "base/buf.h"
#include "net/tls_context.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;

/* A session for a new connection, in the state of its side; `peer` as in tls_start(). NULL: out of
 * memory. */
SSL *tls_context_session(struct tls_context *x, const char *peer);
/* How all connections reach the socket. */
BIO_METHOD *tls_context_method(const struct tls_context *x);

/* The functions behind that method; BIO_get_data() is a struct tls_wire. (tls_wire.c) */
int tls_bio_read(BIO *b, char *to, int size);
int tls_bio_write(BIO *b, const char *bytes, int len);
long tls_bio_ctrl(BIO *b, int what, long number, void *arg);

/* What OpenSSL's queue of errors of this thread says first, for people; a loan. */
const char *tls_error_text(void);

enum {
    TLS_RECORD_BYTES = 16 * 1024, /* plain; the most that TLS allows */
    TLS_GATHER_MAX = 128 * 1024,  /* encrypted bytes for one write: as much as a socket takes that
                                     has 128 KiB to send (TCP_NOTSENT_LOWAT) */
    TLS_UNSENT_MAX = 192 * 1024,  /* then OpenSSL's own words have to wait too */
};

/* What is read ahead, into the space of whoever reads, while it does. */
struct tls_ahead {
    uint8_t *bytes; /* that OpenSSL has not asked for yet */
    size_t len;
    uint8_t *room; /* where the next ones go */
    size_t room_len;
};

/* Encrypted bytes on their way between OpenSSL and the socket. */
struct tls_wire {
    struct conn *conn;       /* loan: it owns this */
    struct tls_ahead *ahead; /* loan; NULL: OpenSSL gets what it asks for, and no more is read */
    struct buf unread;       /* that OpenSSL has not asked for yet */
    struct buf unsent;       /* that the socket did not take yet, or was not given yet */
    int read_error;          /* -errno of the socket; 0: none */
    int write_error;         /* the same; what is written from then on is dropped */
    uint32_t owed;           /* plain bytes that were encrypted and not told as sent yet */
    uint16_t record_max;     /* plain bytes of one; the peer may want them short */
    bool gathers : 1;        /* more is about to be written: keep it for that */
    bool full : 1;           /* the socket took less than it was given */
    bool drained : 1;        /* the socket had no more when it was last read */
    bool hung_up : 1;        /* … but there may be its end */
    bool at_end : 1;         /* that has been read */
};

/* Gives the socket what is unsent, unless it is full. */
void tls_wire_send(struct tls_wire *w);
/* Ends reading ahead; what OpenSSL has not asked for stays for later. 0 or -ENOMEM. */
int tls_wire_keep_ahead(struct tls_wire *w) MUST_CHECK;
void tls_wire_fini(struct tls_wire *w);
