/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as the kernel has them. Pure. */
#pragma once
#include "base/addr.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

union sockaddr_any {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* Of IPv4 and IPv6 only. Returns its length. */
socklen_t sockaddr_write(const struct addr *a, union sockaddr_any *to);
/* ADDR_NONE for families that we do not know. */
void sockaddr_read(const union sockaddr_any *from, struct addr *ret);
