/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that begin alike: "10.0.0.0/8", "2001:db8::/32", or one address. Pure. */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct addr_range {
    struct addr first; /* port 0 */
    uint8_t bits;      /* of it that count */
};

/* Bits that do not count must be 0: "10.0.0.1/8" is a mistake. 0 or -EINVAL. */
int addr_range_parse(struct str text, struct addr_range *ret) MUST_CHECK;
/* As addr_range_parse() reads it. Returns `to`. */
char *addr_range_print(const struct addr_range *r, char to[ADDR_TEXT_MAX]);
bool addr_range_has(const struct addr_range *r, const struct addr *a);
