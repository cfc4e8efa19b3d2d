/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.rules (policy.h) on the way of a request: may it be, and what has to be sent behind it?
 * That is gathered in w->behind, w->behind_count requests of it, until a part takes it along. All
 * on the worker's thread, of the present request, which is in w->args.
 */
#pragma once
#include "proxy/client.h"
#include "proxy/policy.h"
#include "proxy/request.h"
#include "resp/command.h"

/* Looks at all its keys, which are in w->keys unless it has but one. False: it is refused, and
 * answered. */
bool rules_admit(struct client *c, const struct command *command);
/* The same of an upload, whose value is on its way and whose key is `key`. */
bool rules_admit_upload(struct request *r, struct str key);

/* Of a request that was admitted, and whose keys are in w->keys: notes only what is to be sent
 * behind it. 0 or -ENOMEM. */
int rules_note_behind(struct worker *w, const struct command *command) MUST_CHECK;
/* Nothing is sent behind the present request. */
void rules_forget_behind(struct worker *w);
/* What is to be sent behind an upload's end is kept in its part. 0 or -ENOMEM. */
int rules_take_behind(struct worker *w, struct part *p) MUST_CHECK;

/* Is there a rule that forbids the request because of the key at argument `index`? Counts it, if
 * so. *ret_rule: the one that fits the key, or NULL. */
enum policy_verdict rules_judge(struct worker *w, const struct command *command, size_t index,
                                struct str key, const struct policy_rule **ret_rule);

/* Does a rule for its key limit the length of values? */
bool rules_limit_values(struct worker *w, const struct command *command);
