/* SPDX-License-Identifier: Apache-2.0 */
/* Looks up, once, which nodes a configuration names. Blocks; for the command line. */
#pragma once
#include "base/cleanup.h"
#include "cluster/member.h"
#include "daemon/config.h"

#include <stdint.h>

enum { ADVISE_SOURCE_ERROR_MAX = 400 };

/*
 * `logins` are those of c->logins, by the same index: a loan for as long as the members are used.
 * *ret_members is owned by the caller (free()); a member whose name has no address is among them,
 * as ADDR_NONE. Waits at most five seconds for DNS. 0, or -errno with a text in `error`; -ENOENT:
 * nothing was found.
 */
int advise_sources(const struct config *c, struct node_login *const *logins,
                   struct member **ret_members, uint32_t *ret_count,
                   char error[ADVISE_SOURCE_ERROR_MAX]) MUST_CHECK;
