/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): by what a TCP balancer
 * says, before the first byte of a client, who that is. Pure.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum {
    /* The longest header that is taken. Version 1 has 107 bytes, version 2 as many as it likes:
     * what follows the addresses there may be certificates. */
    PROXY_HEADER_MAX = 2048,
};

enum proxy_header_result {
    PROXY_HEADER_MORE,  /* it may be one; its end has not come */
    PROXY_HEADER_READY, /* … it is */
    PROXY_HEADER_BAD,   /* it never can be, or is too long */
};

struct proxy_header {
    size_t len;         /* bytes of it */
    struct addr client; /* ADDR_NONE: the balancer itself (LOCAL), or it does not say (UNKNOWN) */
};

/* Looks at the first bytes of a connection. `ret` is set on READY only. */
enum proxy_header_result proxy_header_parse(const void *bytes, size_t len,
                                            struct proxy_header *ret);
