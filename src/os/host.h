/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and ports of hosts, for start-up and the control plane: these calls may block, the first
 * one for as long as the resolver likes. Workers never call them.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The addresses of a host name or a numeric address (answered without any look-up), each with
 * `port`, IPv4 before IPv6 and else in the order of the system's resolver: at least one, at most
 * `max`. -ENOMEM, or -EHOSTUNREACH for all that the resolver may say; *ret_reason, a static text,
 * then says what it was.
 */
int host_resolve(const char *host, uint16_t port, struct addr *ret_addrs, size_t max,
                 size_t *ret_count, const char **ret_reason) MUST_CHECK;

/*
 * Could a socket listen there? Asks without SO_REUSEPORT, so that a second process of the same user
 * is told -EADDRINUSE instead of getting a share of the first one's clients. 0 or -errno.
 */
int host_can_listen(const struct addr *at) MUST_CHECK;

/* The first port from `first` to `last` on which 127.0.0.1 could be listened on at this moment.
 * -EADDRINUSE: there is none; or another -errno. */
int host_free_port(uint16_t first, uint16_t last, uint16_t *ret_port) MUST_CHECK;

/* Connects, sends `question` and reads as many bytes as `answer` has: are they the same? Takes at
 * most timeout_ns. */
bool host_answers(const struct addr *at, struct str question, struct str answer,
                  uint64_t timeout_ns);
