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
/* That of the nodes' side alone; NULL: nodes_tls is not enabled. Errors as above. */
int certificates_read_nodes(const struct config *c, struct tls_context **ret,
                            char error[TLS_ERROR_MAX]) MUST_CHECK;
/* Connections to come use what has been read into `fresh`, which is emptied; those that exist keep
 * what they began with. Workers may run. A side that spoke no TLS does not begin with it, one that
 * did goes on: that takes a restart. */
void certificates_renew(struct certificates *all, struct certificates *fresh);
/* No connection uses them any more. */
void certificates_free(struct certificates *all);
