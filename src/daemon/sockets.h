/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the process listens: for clients and for the admin page; opened here, or taken over from
 * whoever started it (os/handover.h). Main thread only.
 */
#pragma once
#include "base/cleanup.h"
#include "daemon/config.h"
#include "os/handover.h"
#include "proxy/worker.h"

#include <stdbool.h>
#include <stdio.h>

enum { SOCKETS_ERROR_MAX = 400, SOCKETS_TEXT_MAX = CONFIG_SOCKET_MAX + 8 };

struct sockets {
    struct handover inherited;
    struct addr listen[CONFIG_LISTEN_MAX];
    uint32_t listen_count;
    bool unix_is_ours[CONFIG_LISTEN_MAX]; /* the path, to be removed */
    struct addr admin_at;                 /* ADDR_NONE: there is no admin page */
    char error[SOCKETS_ERROR_MAX];        /* of what failed last */
};

/* What the process was started with. Before anything is opened, and before there are threads. */
int sockets_receive(struct sockets *s) MUST_CHECK;
void sockets_fini(struct sockets *s);

/* Reads where to listen, and tries whether that will be possible: what fails most often fails
 * before anything has been started. `--local` may take other ports than its own, and says so to
 * `out`. */
int sockets_choose(struct sockets *s, const struct config *c, FILE *out) MUST_CHECK;

/* Gives worker `index` of `count` the sockets that it listens with. In the order of the workers. */
int sockets_listen(struct sockets *s, const struct config *c, struct worker *w, unsigned index,
                   unsigned count) MUST_CHECK;
/* The admin page's, which is the caller's then; -1: it is to be opened. */
int sockets_take_admin(struct sockets *s);
/* All have what they need: what nobody took is closed. A service manager's must have been taken. */
int sockets_settle(struct sockets *s) MUST_CHECK;

/* An address of `listen` for people. Returns `to`. */
const char *sockets_text(const struct sockets *s, const struct config *c, uint32_t index,
                         char to[SOCKETS_TEXT_MAX]);
/* Says why the admin page's cannot be opened. Returns -ECANCELED. */
int sockets_refuse_admin(struct sockets *s, int err);

/* Removes the names of Unix sockets. */
void sockets_remove(const struct sockets *s, const struct config *c);
