/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TLS needs from files: our certificates, and whom we trust. Read when the daemon starts, and
 * whenever its settings or those files are read anew; these calls may block. Errors name the file.
 */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"
#include "net/tls_context.h"

/* Owned; NULL: that side speaks no TLS. */
struct certificates {
    struct tls_context *clients, *nodes;
};

/* 0, or -EINVAL or -ENOMEM with the error's text and *ret empty. */
int certificates_read(const struct config *c, struct certificates *ret,
                      char error[TLS_ERROR_MAX]) MUST_CHECK;
/* The same files, or those that `c` names now, for connections to come: while others use them. A
 * side that spoke TLS goes on to, one that did not begins with a restart only. On failure the error
 * says which side goes on with what it had. */
int certificates_reload(struct certificates *all, const struct config *c,
                        char error[TLS_ERROR_MAX]) MUST_CHECK;
/* No connection uses them any more. */
void certificates_free(struct certificates *all);
