/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP address as a plain value: IPv4 or IPv6 and a port. */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { ADDR_TEXT_MAX = 64 }; /* "[" IPv6 with scope "]:65535" and NUL */

enum addr_family { ADDR_NONE, ADDR_V4, ADDR_V6, ADDR_UNIX /* a socket of this host */ };

struct addr {
    uint8_t family; /* enum addr_family */
    uint16_t port;  /* host byte order */
    uint8_t ip[16]; /* network byte order; 4 bytes for IPv4, the rest 0 */
};

/* "1.2.3.4:6379", "[::1]:6379", and with `default_port` not 0 also without the port ("::1" then
 * needs no brackets). Numbers only, no look-up and no scope. Port 0 may be given, for a listener
 * that takes any. 0 or -EINVAL. */
int addr_parse(struct str text, uint16_t default_port, struct addr *ret) MUST_CHECK;

/* "host:port", "[::1]:port", "::1": the parts as loans of `text`, the host without brackets. Port 0
 * if none is given; given, it is 1 to 65535 without leading zeros. A host is an IPv6 address, or
 * letters, digits, '.', '-' and '_' (IPv4 and DNS names), at most 254. 0 or -EINVAL. */
int addr_split_host_port(struct str text, struct str *ret_host, uint16_t *ret_port) MUST_CHECK;

/* As addr_parse() reads it; "unresolved" for ADDR_NONE, "unix:0" for ADDR_UNIX. Returns `to`. */
char *addr_print(const struct addr *a, char to[ADDR_TEXT_MAX]);

bool addr_eq(const struct addr *a, const struct addr *b);
