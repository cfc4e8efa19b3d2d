/* SPDX-License-Identifier: Apache-2.0 */
/* An item of `policy.rules` as text: "shows:* default_ttl=1h max_ttl=24h max_value=1mb", "tmp:*
 * deny".
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/policy.h"

/* 0, or -EINVAL with *ret_expected, what was expected instead: a constant. */
int config_policy_read(struct str text, struct policy_rule *ret_rule,
                       const char **ret_expected) MUST_CHECK;

/* Returns `to`. `to_len` must be enough for any rule: POLICY_PREFIX_MAX + 128. */
char *config_policy_print(const struct policy_rule *r, char *to, size_t to_len);
