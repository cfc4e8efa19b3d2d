/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all TLS connections of one side begin with: our certificate, whom we trust. It may be
 * renewed while connections are made from it: those that exist keep what they began with.
 *
 * Any thread. Behind it is a lock, which is taken once for each new connection: that costs less
 * than a thousandth of a handshake, and the other way, a message to each worker, would have to wait
 * for all of them before old certificates can be freed.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>

enum { TLS_ERROR_MAX = 400, TLS_NAME_MAX = 256 };

enum tls_certificates {
    TLS_CERTIFICATES_OFF,
    TLS_CERTIFICATES_OPTIONAL,
    TLS_CERTIFICATES_REQUIRED
};
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* All strings are loans for the call; "": none. */
struct tls_config {
    bool server;
    const char *certificate_file; /* PEM: the certificate, then those between it and the CA */
    const char *key_file;         /* "": it is in certificate_file */
    const char *ca_file;          /* PEM; "": no client is trusted, nodes by the system's CAs */
    enum tls_version min_version;
    enum tls_certificates client_certificates; /* server: are clients asked for one? */
    bool verify_name;        /* client: the node's certificate must have its name, not only a CA */
    const char *server_name; /* client: the name that all nodes have; "": each its own host */
};

struct tls_context; /* opaque */

/* Reads the files; may block. 0, or -EINVAL or -ENOMEM with the error's text, which names the file.
 * The caller owns *ret. */
int tls_context_new(const struct tls_config *config, struct tls_context **ret,
                    char error[TLS_ERROR_MAX]) MUST_CHECK;
/* Connections to come begin with what `fresh`, which is of the same side and which nobody else
 * knows, has read; those that exist keep theirs. Owns `fresh`. */
void tls_context_renew(struct tls_context *x, struct tls_context *fresh);
/* All its connections are closed. NULL is fine; always returns NULL. */
struct tls_context *tls_context_free(struct tls_context *x);
