/* SPDX-License-Identifier: Apache-2.0 */
/* MD5 (RFC 1321), as a hash that spreads: ketama puts its points by it. Nothing is kept secret by
 * it.
 */
#pragma once
#include "base/str.h"

#include <stdint.h>

/* The 16 bytes of the digest. */
void md5(struct str bytes, uint8_t ret_digest[16]);
