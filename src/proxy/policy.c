/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/policy.h"

#include "base/nsec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct policy_rule *policy_find(const struct policy *p, struct str key)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct policy_rule *r = &p->rules[i];
        if (r->prefix_len <= key.len && memcmp(r->prefix, key.p, r->prefix_len) == 0)
            return r;
    }
    return NULL;
}

enum policy_verdict policy_judge(const struct policy_rule *r, const struct command *c,
                                 const struct args *a, size_t key_index)
{
    if (r->deny)
        return POLICY_DENIES;
    if (r->max_value == 0 || c->flags & COMMAND_READ)
        return POLICY_ADMITS;
    size_t end = a->count;
    if (c->keys == KEYS_RANGE && c->step == 2 && key_index + 2 < end)
        end = key_index + 2;
    for (size_t i = key_index + 1; i < end; i++)
        if (args_len(a, i) > r->max_value)
            return POLICY_TOO_LONG;
    return POLICY_ADMITS;
}

void policy_write_refusal(const struct policy_rule *r, enum policy_verdict v, struct reply_out *o)
{
    if (v == POLICY_DENIES)
        reply_error(o, "NOPERM sumcache: policy.rules denies keys of '%.*s*'", (int)r->prefix_len,
                    r->prefix);
    else
        reply_error(o, "ERR sumcache: value is longer than max_value of '%.*s*' (policy.rules)",
                    (int)r->prefix_len, r->prefix);
}

bool policy_limits_life(const struct policy_rule *r, const struct command *c)
{
    if ((r->default_ttl == 0 && r->max_ttl == 0) || c->flags & COMMAND_READ)
        return false;
    switch (c->id) {
    case COMMAND_ID_DEL: /* nothing is there afterwards */
    case COMMAND_ID_UNLINK:
    case COMMAND_ID_GETDEL:
        return false;
    default:
        return true;
    }
}

static int append_pexpire(struct str key, uint64_t ttl, const char *how, struct buf *to,
                          struct chunk_pool *chunks)
{
    char head[64], ms[24], tail[64];
    int ms_len = snprintf(ms, sizeof(ms), "%" PRIu64, ttl / NSEC_MS);
    int head_len = snprintf(head, sizeof(head), "*4\r\n$7\r\nPEXPIRE\r\n$%zu\r\n", key.len);
    int tail_len = snprintf(tail, sizeof(tail), "\r\n$%d\r\n%s\r\n$2\r\n%s\r\n", ms_len, ms, how);
    int err = buf_append_shared(to, chunks, head, (size_t)head_len);
    if (!err)
        err = buf_append_shared(to, chunks, key.p, key.len);
    if (!err)
        err = buf_append_shared(to, chunks, tail, (size_t)tail_len);
    return err;
}

int policy_append(const struct policy_rule *r, struct str key, struct buf *to,
                  struct chunk_pool *chunks, uint32_t *count)
{
    int err = 0;
    if (r->default_ttl > 0) {
        err = append_pexpire(key, r->default_ttl, "NX", to, chunks);
        ++*count;
    }
    if (!err && r->max_ttl > 0) { /* LT takes a life without an end for an endless one */
        err = append_pexpire(key, r->max_ttl, "LT", to, chunks);
        ++*count;
    }
    return err;
}
