/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/guard.h"

#include "base/nsec.h"
#include "proxy/peers.h"
#include "proxy/rate.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void refuse(struct client *c, const char *text, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct client *c, const char *text, ...)
{
    char line[REPLY_ERROR_MAX];
    va_list ap;
    va_start(ap, text);
    vsnprintf(line, sizeof(line), text, ap);
    va_end(ap);
    struct request *r;
    session_abort(c);
    struct reply_out o = client_reply_begin(c, &r);
    reply_error(&o, "%s", line);
    client_reply_end(c, r, &o);
}

/* ---- who it is ---- */

/* Whoever has not said who it is sends AUTH or HELLO and no more: less to lay on us. */
static void settle(struct client *c)
{
    struct worker *w = c->worker;
    const struct access_user *u = c->user;
    bool logs_in = !u && w->settings->access;
    c->guards = 0;
    if (logs_in)
        c->guards |= GUARD_LOGIN;
    if (u && !(u->all_keys && u->all_commands))
        c->guards |= GUARD_RIGHTS;
    if (w->settings->client_rate_max > 0 || (u && u->rate > 0))
        c->guards |= GUARD_RATE;
    c->frame.limits = logs_in ? &w->stranger_limits : &w->request_limits;
}

void guard_begin(struct client *c)
{
    const struct access *a = c->worker->settings->access;
    const struct access_user *u = a ? access_find(a, STR("default")) : NULL;
    c->user = u && u->nopass && !u->off ? u : NULL;
    settle(c);
}

bool guard_renew(struct client *c)
{
    const struct access *a = c->worker->settings->access;
    if (c->guards & GUARD_LOGIN) { /* it may need no password any more */
        guard_begin(c);
        return true;
    }
    const struct access_user *u = a ? access_find(a, str_of(guard_user_name(c))) : NULL;
    if (a && (!u || u->off))
        return false;
    c->user = u;
    settle(c);
    return true;
}

const char *guard_user_name(const struct client *c)
{
    return c->user ? c->user->name : c->guards & GUARD_LOGIN ? "(none)" : "default";
}

bool guard_needs_no_password(const struct client *c)
{
    const struct access *a = c->worker->settings->access;
    const struct access_user *u = a ? access_find(a, STR("default")) : NULL;
    return !a || (u && u->nopass);
}

/* A name that is no user's may be a password in the wrong place, and is not written down. */
static void note_failure(struct client *c, const struct access_user *u)
{
    struct worker *w = c->worker;
    char text[ADDR_TEXT_MAX];
    metric_add(&w->metrics.auth_failed, 1);
    if (w->peers)
        peers_failed(w->peers, &c->peer, worker_now(w), w->settings->auth_failures_max);
    if (worker_now(w) < w->auth_told + NSEC_S && w->auth_told > 0)
        return; /* one line a second */
    w->auth_told = worker_now(w);
    log_event(w->log, LOG_WARN, "auth-failed",
              "client=%" PRIu64 " address=%s user=%s failures=%" PRIu64, c->id,
              addr_print(&c->peer, text), u ? u->name : "?", metric_get(&w->metrics.auth_failed));
}

bool guard_login(struct client *c, struct str user, struct str password, struct reply_out *o)
{
    struct worker *w = c->worker;
    const struct access *a = w->settings->access;
    if (!a) { /* everybody is "default", by any password, and nobody else exists */
        if (str_eq(user, STR("default")))
            return true;
        reply_error(o, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    /* Not even looked at: else who guesses would learn by it that he was right. */
    if (w->peers &&
        peers_must_wait(w->peers, &c->peer, worker_now(w), w->settings->auth_failures_max)) {
        metric_add(&w->metrics.auth_slowed, 1);
        reply_error(o, "WRONGPASS sumcache: too many failures of this address, try again later");
        return false;
    }
    const struct access_user *u = access_find(a, user);
    if (!access_enters(u, password)) {
        note_failure(c, u);
        reply_error(o, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    c->user = u;
    settle(c);
    return true;
}

/* ---- what it may do ---- */

/* Those that Redis takes from whoever has not said who it is. */
static bool is_for_strangers(const struct command *command)
{
    return command->id == COMMAND_ID_AUTH || command->id == COMMAND_ID_HELLO ||
           command->id == COMMAND_ID_QUIT || command->id == COMMAND_ID_RESET;
}

static bool has_key_at(struct client *c, size_t index)
{
    struct str key = args_str(&c->worker->args, index);
    return key.p && access_has_key(c->user, key);
}

/* SCAN … MATCH, SUMCACHE.UNLINK MATCH: each pattern, and there is one. */
static bool has_match(struct client *c)
{
    struct args *a = &c->worker->args;
    bool given = false;
    for (size_t i = 1; i + 1 < a->count; i++) {
        if (!str_eq_nocase(args_str(a, i), STR("match")))
            continue;
        struct str pattern = args_str(a, ++i);
        if (!pattern.p || !access_has_pattern(c->user, pattern))
            return false;
        given = true;
    }
    return given;
}

static bool has_keys_from(struct client *c, size_t first)
{
    for (size_t i = first; i < c->worker->args.count; i++)
        if (!has_key_at(c, i))
            return false;
    return true;
}

/* Commands without keys that tell of others' keys, or change them. */
static bool has_keys_of_keyless(struct client *c, const struct command *command)
{
    struct str pattern;
    switch (command->id) {
    case COMMAND_ID_SCAN:
    case COMMAND_ID_SUMCACHE_UNLINK:
        return has_match(c);
    case COMMAND_ID_KEYS:
        pattern = args_str(&c->worker->args, 1);
        return pattern.p && access_has_pattern(c->user, pattern);
    case COMMAND_ID_SUMCACHE_INVALIDATE:
    case COMMAND_ID_SUMCACHE_TAGS:
        return has_keys_from(c, 1); /* tags are named as keys are */
    case COMMAND_ID_RANDOMKEY:
    case COMMAND_ID_SUMCACHE_JOBS:
    case COMMAND_ID_SUMCACHE_SLOWLOG: /* it names keys of all */
        return false;
    default:
        return command->way != COMMAND_ALL_NODES || !(command->flags & COMMAND_WRITE);
    }
}

static bool has_keys(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    if (c->user->all_keys)
        return true;
    if (command->keys == KEYS_NONE)
        return has_keys_of_keyless(c, command);
    if (command->keys == KEYS_RANGE && command->first == command->last)
        return has_key_at(c, (size_t)command->first);
    const char *refusal = NULL;
    int err = command_find_keys(command, &w->args, &w->keys, &refusal);
    /* What we cannot read a node might. */
    if (err == -EINVAL || err == -ENOMEM)
        return false;
    for (size_t i = 0; i < w->keys.count; i++)
        if (!has_key_at(c, w->keys.index[i]))
            return false;
    for (size_t i = w->keys.count; i < w->keys.count + w->keys.pinned; i++) {
        struct str pattern = args_str(&w->args, w->keys.index[i]);
        if (!pattern.p || !access_has_pattern(c->user, pattern))
            return false;
    }
    return true;
}

/* NULL: it has not asked too often. */
static const char *rate_limit(struct client *c)
{
    struct worker *w = c->worker;
    const struct access_user *u = c->user;
    const struct access *a = w->settings->access;
    uint32_t rate = w->settings->client_rate_max;
    if (rate > 0 && !rate_take(&c->rate_due, worker_now(w), rate))
        return "limits.client_rate";
    if (u && u->rate > 0 && !rate_take_shared(&a->meters[u - a->users].due, worker_now(w), u->rate))
        return "the rate of its user";
    return NULL;
}

bool guard_admits(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    if (c->guards & GUARD_LOGIN && !is_for_strangers(command)) {
        metric_add(&w->metrics.auth_required, 1);
        refuse(c, "NOAUTH Authentication required.");
        return false;
    }
    const char *limit = c->guards & GUARD_RATE ? rate_limit(c) : NULL;
    if (limit) {
        metric_add(&w->metrics.requests_rate_limit, 1);
        refuse(c, "ERR sumcache: too many requests a second: %s", limit);
        return false;
    }
    if (!(c->guards & GUARD_RIGHTS) || is_for_strangers(command))
        return true;
    if (!access_has_command(c->user, command)) {
        metric_add(&w->metrics.requests_forbidden, 1);
        refuse(c, "NOPERM this user has no permissions to run the '%s' command", command->name);
        return false;
    }
    if (!has_keys(c, command)) {
        metric_add(&w->metrics.requests_forbidden, 1);
        refuse(c, "NOPERM this user has no permissions to access one of the keys used as "
                  "arguments");
        return false;
    }
    return true;
}

bool guard_admits_upload(struct client *c, const struct command *command)
{
    if (c->guards & GUARD_LOGIN)
        return false;
    if (c->guards & GUARD_RIGHTS && !(access_has_command(c->user, command) &&
                                      (c->user->all_keys || has_key_at(c, (size_t)command->first))))
        return false;
    return !(c->guards & GUARD_RATE) || !rate_limit(c);
}
