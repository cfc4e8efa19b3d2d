/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SRV records of a DNS answer, with their TTLs, which c-ares does not tell. Pure; the bytes are
 * a server's and not trusted.
 */
#pragma once
#include "base/cleanup.h"
#include "net/resolver.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Reads the answer section of a whole message (RFC 1035 §4.1, RFC 2782). Records of other kinds are
 * passed over; but the TTL of a CNAME on the way counts for all, so each gets the smaller one. The
 * caller frees *ret_services, which is NULL if *ret_count is 0. 0; -EINVAL: not a DNS message, or a
 * target that is no host name; -ENOMEM.
 */
int dns_srv_parse(const uint8_t *bytes, size_t len, struct resolver_service **ret_services,
                  size_t *ret_count) MUST_CHECK;
