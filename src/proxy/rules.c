/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/rules.h"

#include "proxy/router.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>

void rules_forget_behind(struct worker *w)
{
    if (w->behind_count == 0)
        return;
    buf_clear(&w->behind, &w->chunks);
    w->behind_count = 0;
}

enum policy_verdict rules_judge(struct worker *w, const struct command *command, size_t index,
                                struct str key, const struct policy_rule **ret_rule)
{
    const struct policy_rule *rule = policy_find(&w->settings->policy, key);
    enum policy_verdict v = rule ? policy_judge(rule, command, &w->args, index) : POLICY_ADMITS;
    if (v == POLICY_DENIES)
        metric_add(&w->metrics.policy_denied, 1);
    else if (v == POLICY_TOO_LONG)
        metric_add(&w->metrics.policy_too_long, 1);
    *ret_rule = rule;
    return v;
}

/* By the rule for one of its keys, is there something to be sent behind the request? 0 or -ENOMEM.
 */
static int note_behind(struct worker *w, const struct command *command,
                       const struct policy_rule *rule, struct str key)
{
    if (!rule || !policy_limits_life(rule, command))
        return 0;
    return policy_append(rule, key, &w->behind, &w->chunks, &w->behind_count);
}

bool rules_admit(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    bool single = command->keys == KEYS_RANGE && command->first == command->last;
    size_t count = single ? 1 : w->keys.count;
    for (size_t i = 0; i < count; i++) {
        size_t index = single ? (size_t)command->first : w->keys.index[i];
        struct str key = args_str(&w->args, index);
        const struct policy_rule *rule = NULL;
        bool lost = !key.p && args_len(&w->args, index) > 0; /* whoever hashes it tells */
        enum policy_verdict v = lost ? POLICY_ADMITS : rules_judge(w, command, index, key, &rule);
        if (v != POLICY_ADMITS) {
            struct request *r;
            session_abort(c);
            struct reply_out o = client_reply_begin(c, &r);
            policy_write_refusal(rule, v, &o);
            client_reply_end(c, r, &o);
            return false;
        }
        if (note_behind(w, command, rule, key) != 0) {
            router_fail(c, command, FAILURE_MEMORY);
            return false;
        }
    }
    return true;
}

int rules_note_behind(struct worker *w, const struct command *command)
{
    int err = 0;
    for (size_t i = 0; i < w->keys.count && !err; i++) {
        struct str key = args_str(&w->args, w->keys.index[i]);
        if (key.p)
            err = note_behind(w, command, policy_find(&w->settings->policy, key), key);
    }
    return err;
}

int rules_take_behind(struct worker *w, struct part *p)
{
    if (w->behind_count == 0)
        return 0;
    p->behind_bytes = calloc(1, sizeof(*p->behind_bytes));
    if (!p->behind_bytes)
        return -ENOMEM;
    p->behind = w->behind_count;
    buf_move_all(p->behind_bytes, &w->behind);
    w->behind_count = 0;
    return 0;
}

bool rules_admit_upload(struct request *r, struct str key)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    const struct command *command = r->command;
    const struct policy_rule *rule;
    enum policy_verdict v = rules_judge(w, command, (size_t)command->first, key, &rule);
    if (v == POLICY_ADMITS && rule && rule->max_value > 0 && c->frame.body_left > 0 &&
        frame_body(&c->frame) > rule->max_value) {
        metric_add(&w->metrics.policy_too_long, 1);
        v = POLICY_TOO_LONG;
    }
    if (v == POLICY_ADMITS) {
        if (note_behind(w, command, rule, key) == 0)
            return true;
        request_fail(r, FAILURE_MEMORY, NULL);
        return false;
    }
    struct reply_out o = request_reply(r);
    policy_write_refusal(rule, v, &o);
    if (o.err)
        client_close(c);
    else
        request_finish(r);
    return false;
}

bool rules_limit_values(struct worker *w, const struct command *command)
{
    if (w->settings->policy.count == 0 || command->flags & COMMAND_READ)
        return false;
    const struct policy_rule *rule =
        policy_find(&w->settings->policy, args_str(&w->args, (size_t)command->first));
    return rule && rule->max_value > 0;
}
