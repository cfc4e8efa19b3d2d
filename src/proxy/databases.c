/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/databases.h"

#include "proxy/policy.h"
#include "proxy/router.h"
#include "proxy/worker_internal.h"

#include <string.h>

/* As redis-server compares: up to a NUL byte. */
static bool is_db(struct str word)
{
    if (word.len > 0)
        word.len = strnlen(word.p, word.len);
    return str_eq_nocase(word, STR("db"));
}

/* The next argument from *at on that is a database. False: there are no more. */
static bool next(struct args *a, const struct command *command, size_t *at, int64_t *ret)
{
    bool moves = command->keys == KEYS_MOVE;
    for (size_t i = *at; i < a->count; i++) {
        bool here = moves ? i == 2 : i > 3 && is_db(args_str(a, i - 1));
        if (!here || str_to_i64(args_str(a, i), ret) != 0)
            continue;
        *at = i + 1;
        return true;
    }
    return false;
}

uint8_t databases_target(const struct client *c, const struct command *command)
{
    int64_t database = c->database;
    size_t at = 0;
    while (command->keys >= KEYS_COPY && next(&c->worker->args, command, &at, &database))
        ;
    return (uint8_t)database; /* of several the last one counts */
}

/* What policy.rules want behind a write goes to its client's database. */
static bool is_ruled(struct worker *w, const struct command *command)
{
    if (command->keys != KEYS_COPY)
        return false; /* what is moved has a life already */
    const struct policy_rule *rule = policy_find(&w->settings->policy, args_str(&w->args, 2));
    return rule && policy_limits_life(rule, command);
}

bool databases_admit(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    const char *refusal = NULL;
    int64_t database;
    size_t at = 0;
    if (command->keys < KEYS_COPY)
        return true;
    while (!refusal && next(&w->args, command, &at, &database))
        if (database > INT32_MAX || database < INT32_MIN)
            refusal = "ERR value is out of range, value must between -2147483648 and 2147483647";
        else if (database < 0 || database >= w->settings->databases)
            refusal = "ERR DB index is out of range";
    if (!refusal && databases_target(c, command) != c->database && is_ruled(w, command))
        refusal = "ERR sumcache: 'copy' to another database of a key that policy.rules give a life";
    if (!refusal)
        return true;
    metric_add(&w->metrics.requests_refused, 1);
    router_refuse(c, "%s", refusal);
    return false;
}

bool databases_changes(const struct client *c, const struct command *command)
{
    int64_t database;
    return command->id == COMMAND_ID_SELECT &&
           str_to_i64(args_str(&c->worker->args, 1), &database) == 0 && database >= 0 &&
           database < c->worker->settings->databases && database != c->database;
}
