/* SPDX-License-Identifier: Apache-2.0 */
/* Between tls_context.c and tls.c: the only files that know OpenSSL's types. */
#pragma once
#include "net/tls_context.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

/* A session for a new connection, in the state of its side; `peer` as in tls_start(). NULL: out of
 * memory. */
SSL *tls_context_session(struct tls_context *x, const char *peer);
/* How all connections reach the socket. */
BIO_METHOD *tls_context_method(const struct tls_context *x);

/* The functions behind that method (tls.c). */
int tls_bio_read(BIO *b, char *to, int size);
int tls_bio_write(BIO *b, const char *bytes, int len);
long tls_bio_ctrl(BIO *b, int what, long number, void *arg);

/* What OpenSSL's queue of errors of this thread says first, for people; a loan. */
const char *tls_error_text(void);
