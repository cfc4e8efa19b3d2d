/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real resolver: c-ares on a loop. Asks as the system's own does (resolv.conf with its search
 * domains and ndots, /etc/hosts), but never waits.
 *
 * Nothing is opened before the first question, and a machine without any DNS only means questions
 * that fail. A changed resolv.conf is noticed and followed. After a time-out the next question goes
 * out through a new socket: a NAT on the way may have the old one tied to a server that has gone.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "net/loop.h"
#include "net/resolver.h"

#include <stdint.h>

struct resolver_ares_config {
    const struct addr *servers; /* instead of those of resolv.conf; a loan for the call */
    unsigned server_count;      /* 0: those of resolv.conf */
    uint64_t timeout;           /* ns; a question is given up after this, whatever was tried */
    const char *resolv_conf;    /* a loan; NULL: /etc/resolv.conf */
};

struct resolver_ares; /* opaque */

/* `loop` is a loan, its io must be io_epoll. 0 or -ENOMEM. */
int resolver_ares_new(const struct resolver_ares_config *config, struct loop *loop,
                      struct resolver_ares **ret) MUST_CHECK;
/* Every query must have been answered or cancelled. NULL is fine; always returns NULL. What is
 * left of sockets is freed at the end of the loop's turn. */
struct resolver_ares *resolver_ares_free(struct resolver_ares *r);

struct resolver *resolver_ares_resolver(struct resolver_ares *r); /* a loan */
