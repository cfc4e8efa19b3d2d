/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator allows for keys of a prefix: rules of the setting `policy.rules`. Of several
 * that fit a key the one with the longest prefix counts, and only that one.
 *
 * A life that a write leaves without an end, or with too far a one, is cut by commands that are
 * sent right behind the write, on the same upstream: PEXPIRE with NX (default_ttl) and with LT
 * (max_ttl), which redis-server has since 7.0. So whatever a write does, scripts included, no
 * option of any command has to be understood here. Their replies are dropped.
 */
#pragma once
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "resp/command.h"
#include "resp/reply.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    POLICY_RULES_MAX = 64, /* each write looks at them in turn */
    POLICY_PREFIX_MAX = 128,
};

struct policy_rule {
    char prefix[POLICY_PREFIX_MAX];
    uint32_t prefix_len; /* 0: every key */
    bool deny;
    uint64_t default_ttl; /* ns; 0: none; so are the next two */
    uint64_t max_ttl;     /* ns */
    uint64_t max_value;   /* bytes of one argument */
};

struct policy {
    const struct policy_rule *rules; /* loan; longest prefixes first */
    uint32_t count;
};

enum policy_verdict { POLICY_ADMITS, POLICY_DENIES, POLICY_TOO_LONG };

/* The rule for a key; NULL: there is none. */
const struct policy_rule *policy_find(const struct policy *p, struct str key);

/* May this be done with the key at argument `key_index`? Too long is a value; where values
 * alternate with keys (MSET), only the one behind that key is looked at. */
enum policy_verdict policy_judge(const struct policy_rule *r, const struct command *c,
                                 const struct args *a, size_t key_index);

/* The error for a verdict that is not POLICY_ADMITS. */
void policy_write_refusal(const struct policy_rule *r, enum policy_verdict v, struct reply_out *o);

/* Must commands follow behind this one to keep to the rule? */
bool policy_limits_life(const struct policy_rule *r, const struct command *c);

/* Appends them, and adds their number to *count. 0 or -ENOMEM; then some may be there. */
int policy_append(const struct policy_rule *r, struct str key, struct buf *to,
                  struct chunk_pool *chunks, uint32_t *count) MUST_CHECK;
