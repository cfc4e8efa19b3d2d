/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to a server and its answer, with TLS or without: for commands of the command line.
 * It blocks; workers never make it.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "net/tls_context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TALK_WHY_MAX = 200 };

/* Whom to ask; all of it are loans. */
struct talk_server {
    struct addr addr;
    const char *unix_path;   /* in place of `addr`; NULL: none */
    const char *name;        /* "host:port", which its certificate must bear; with TLS only */
    struct tls_context *tls; /* of the client's side; NULL: no TLS */
};

/*
 * Connects, sends `question`, and hands what is answered to `take`, piece by piece, until that
 * returns true. 0; -ETIMEDOUT after timeout_ns; -ECONNRESET if it is closed before; -ECONNABORTED:
 * TLS failed, as why says; or another -errno, with its text in `why`.
 */
int talk(const struct talk_server *server, struct str question, uint64_t timeout_ns,
         bool (*take)(void *owner, const char *bytes, size_t len), void *owner,
         char why[TALK_WHY_MAX]) MUST_CHECK;
