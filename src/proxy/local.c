/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/local.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/client_commands.h"
#include "proxy/command_reply.h"
#include "proxy/guard.h"
#include "proxy/info.h"
#include "proxy/lanes.h"
#include "proxy/node_sums.h"
#include "proxy/own.h"
#include "proxy/session.h"
#include "proxy/slow_log.h"
#include "proxy/worker_internal.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct str arg(struct client *c, size_t index)
{
    return args_str(&c->worker->args, index);
}

static size_t arg_count(const struct client *c)
{
    return c->worker->args.count;
}

static bool arg_is(struct client *c, size_t index, const char *word)
{
    return str_eq_nocase(arg(c, index), str_of(word));
}

/* How much of what a client sent is worth showing in an error. */
static int shown_len(struct str s)
{
    return (int)(s.len < 512 ? s.len : 512);
}

static void syntax_error(struct reply_out *o)
{
    reply_error(o, "ERR syntax error");
}

static void wrong_arity(struct reply_out *o, const char *name)
{
    reply_error(o, "ERR wrong number of arguments for '%s' command", name);
}

/* ---- who the client is ---- */

static void answer_auth(struct client *c, struct reply_out *o)
{
    if (arg_count(c) > 3)
        syntax_error(o);
    else if (arg_count(c) == 2 && guard_needs_no_password(c))
        reply_error(o, "ERR AUTH <password> called without any password configured for the default "
                       "user. Are you sure your configuration is correct?");
    else if (arg_count(c) == 2 ? guard_login(c, STR("default"), arg(c, 1), o)
                               : guard_login(c, arg(c, 1), arg(c, 2), o))
        reply_simple(o, "OK");
}

static void change_lane(struct client *c, uint8_t proto, uint8_t database)
{
    /* Each lane has upstreams of its own, and this client's commands reach a node in order. */
    if (c->proto != proto || c->database != database) {
        lanes_set_apart(c);
        session_proto_changes(c);
    }
    c->proto = proto;
    c->database = database;
    c->lane = lane_of(proto, database);
}

static void write_hello(struct client *c, struct reply_out *o)
{
    char version[FIGURES_VERSION_MAX];
    reply_map(o, 7);
    reply_bulk(o, STR("server"));
    reply_bulk(o, STR("redis"));
    reply_bulk(o, STR("version"));
    reply_bulk(o, str_of(node_sums_version(c->worker, version)));
    reply_bulk(o, STR("proto"));
    reply_int(o, c->proto);
    reply_bulk(o, STR("id"));
    reply_int(o, (int64_t)c->id);
    reply_bulk(o, STR("mode"));
    reply_bulk(o, STR("standalone"));
    reply_bulk(o, STR("role"));
    reply_bulk(o, STR("master"));
    reply_bulk(o, STR("modules"));
    reply_array(o, 0);
}

static void answer_hello(struct client *c, struct reply_out *o)
{
    int64_t version = c->proto;
    size_t count = arg_count(c), user = 0, name = 0; /* arguments; 0: not given */
    if (count >= 2) {
        if (str_to_i64(arg(c, 1), &version) != 0) {
            reply_error(o, "ERR Protocol version is not an integer or out of range");
            return;
        }
        if (version < 2 || version > 3) {
            reply_error(o, "NOPROTO unsupported protocol version");
            return;
        }
    }
    for (size_t i = 2; i < count; i++) {
        size_t more = count - 1 - i;
        if (arg_is(c, i, "AUTH") && more >= 2) {
            user = i + 1;
            i += 2;
        } else if (arg_is(c, i, "SETNAME") && more >= 1) {
            name = ++i;
        } else {
            struct str option = arg(c, i);
            reply_error(o, "ERR Syntax error in HELLO option '%.*s'", shown_len(option), option.p);
            return;
        }
    }
    if (user > 0 && !guard_login(c, arg(c, user), arg(c, user + 1), o))
        return;
    if (c->guards & GUARD_LOGIN) {
        reply_error(o, "NOAUTH HELLO must be called with the client already authenticated, "
                       "otherwise the HELLO AUTH <user> <pass> option can be used to authenticate "
                       "the client and select the RESP protocol version at the same time");
        return;
    }
    if (name > 0 && !client_set_name(c, arg(c, name), o))
        return;
    change_lane(c, (uint8_t)version, c->database);
    o->proto = c->proto;
    write_hello(c, o);
}

static void answer_reset(struct client *c, struct reply_out *o)
{
    session_reset(c);
    change_lane(c, 2, 0);
    o->proto = 2;
    c->on_failure = (uint8_t)c->worker->settings->reads;
    free(take_ptr(c->name));
    guard_begin(c);
    reply_simple(o, "RESET");
}

/* ---- CONFIG GET ---- */

struct config_shown {
    const char *name;
    char value[32];
};

static void answer_config_get(struct client *c, struct reply_out *o)
{
    const struct proxy_settings *s = c->worker->settings;
    struct node_sums sums = node_sums_of(c->worker);
    const char *policy = figures_policy_name(sums.of[FIGURE_POLICY]);
    struct config_shown shown[] = {
        {"save", ""},
        {"appendonly", "no"},
        {"databases", ""},
        {"maxmemory-policy", "allkeys-lru"},
        {"replica-read-only", "yes"},
        {"timeout", ""},
        {"maxclients", ""},
        {"proto-max-bulk-len", ""},
        {"maxmemory", ""},
    };
    enum { SHOWN = sizeof(shown) / sizeof(shown[0]) };
    snprintf(shown[2].value, sizeof(shown[2].value), "%u", s->databases);
    snprintf(shown[5].value, sizeof(shown[5].value), "%" PRIu64, s->client_idle_timeout / NSEC_S);
    snprintf(shown[6].value, sizeof(shown[6].value), "%u", s->clients_max);
    snprintf(shown[7].value, sizeof(shown[7].value), "%" PRIu64, s->value_max);
    snprintf(shown[8].value, sizeof(shown[8].value), "%" PRIu64, sums.of[FIGURE_MAXMEMORY]);
    if (policy) /* else the nodes differ, or none has told: what nodes of a cache should have */
        str_fill(shown[3].value, sizeof(shown[3].value), str_of(policy));
    bool wanted[SHOWN] = {false};
    size_t count = 0;
    for (size_t i = 2; i < arg_count(c); i++) {
        struct str asked = arg(c, i);
        char pattern[64];
        if (asked.len >= sizeof(pattern))
            continue; /* longer than any name; no sensible pattern is */
        memcpy(pattern, asked.p, asked.len);
        pattern[asked.len] = '\0';
        for (size_t k = 0; k < SHOWN; k++) {
            if (wanted[k] || fnmatch(pattern, shown[k].name, FNM_CASEFOLD) != 0)
                continue;
            wanted[k] = true;
            count++;
        }
    }
    reply_map(o, count);
    for (size_t k = 0; k < SHOWN; k++) {
        if (!wanted[k])
            continue;
        reply_bulk(o, str_of(shown[k].name));
        reply_bulk(o, str_of(shown[k].value));
    }
}

/* ---- the rest ---- */

static void answer_ping(struct client *c, struct reply_out *o)
{
    if (arg_count(c) > 2) {
        wrong_arity(o, "ping");
        return;
    }
    if (subscriber_is_bound(c)) { /* looks like a message, so that libraries find it among those */
        reply_array(o, 2);
        reply_bulk(o, STR("pong"));
        reply_bulk(o, arg_count(c) == 2 ? arg(c, 1) : STR(""));
        return;
    }
    if (arg_count(c) == 2)
        reply_bulk(o, arg(c, 1));
    else
        reply_simple(o, "PONG");
}

static void answer_select(struct client *c, struct reply_out *o)
{
    int64_t index;
    if (str_to_i64(arg(c, 1), &index) != 0 || index > INT32_MAX || index < INT32_MIN)
        reply_error(o, "ERR value is not an integer or out of range");
    else if (index < 0 || index >= c->worker->settings->databases)
        reply_error(o, "ERR DB index is out of range");
    else {
        change_lane(c, c->proto, (uint8_t)index);
        reply_simple(o, "OK");
    }
}

/* Nodes have no replicas here, so none has to be waited for. */
static void answer_wait(struct client *c, struct reply_out *o)
{
    int64_t replicas, timeout;
    if (str_to_i64(arg(c, 1), &replicas) != 0)
        reply_error(o, "ERR value is not an integer or out of range");
    else if (str_to_i64(arg(c, 2), &timeout) != 0)
        reply_error(o, "ERR timeout is not an integer or out of range");
    else if (timeout < 0)
        reply_error(o, "ERR timeout is negative");
    else
        reply_int(o, 0);
}

static void write_number(struct reply_out *o, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRIu64, value);
    reply_bulk(o, (struct str){text, (size_t)n});
}

static void answer_time(struct client *c, struct reply_out *o)
{
    struct io *io = c->worker->loop.io;
    uint64_t us = io->ops->wall_us(io->ctx);
    reply_array(o, 2);
    write_number(o, us / 1000000);
    write_number(o, us % 1000000);
}

static void answer_failures(struct client *c, struct reply_out *o)
{
    if (arg_is(c, 1, "error"))
        c->on_failure = ON_FAILURE_ERROR;
    else if (arg_is(c, 1, "miss"))
        c->on_failure = ON_FAILURE_MISS;
    else {
        reply_error(o, "ERR SUMCACHE.FAILURES takes error or miss");
        return;
    }
    reply_simple(o, "OK");
}

void local_write(struct client *c, const struct command *command, struct reply_out *o)
{
    if (strncmp(command->name, "client|", 7) == 0) {
        client_commands_answer(c, command, o);
        return;
    }
    if (strncmp(command->name, "command", 7) == 0) {
        command_reply(c, command, o);
        return;
    }
    switch (command->id) {
    case COMMAND_ID_PING:
        answer_ping(c, o);
        return;
    case COMMAND_ID_ECHO:
        reply_bulk(o, arg(c, 1));
        return;
    case COMMAND_ID_HELLO:
        answer_hello(c, o);
        return;
    case COMMAND_ID_AUTH:
        answer_auth(c, o);
        return;
    case COMMAND_ID_SELECT:
        answer_select(c, o);
        return;
    case COMMAND_ID_QUIT:
        reply_simple(o, "OK");
        c->closing = true;
        return;
    case COMMAND_ID_RESET:
        answer_reset(c, o);
        return;
    case COMMAND_ID_TIME:
        answer_time(c, o);
        return;
    case COMMAND_ID_WAIT:
        answer_wait(c, o);
        return;
    case COMMAND_ID_READONLY:
    case COMMAND_ID_READWRITE:
        reply_simple(o, "OK");
        return;
    case COMMAND_ID_CONFIG_GET:
        answer_config_get(c, o);
        return;
    case COMMAND_ID_INFO:
        info_write(c, o);
        return;
    case COMMAND_ID_LOLWUT:
        reply_verbatim_txt(o, STR("1 + 1 + 1 = 1\nsumcache " SUMCACHE_VERSION "\n"));
        return;
    case COMMAND_ID_SUMCACHE_FAILURES:
        answer_failures(c, o);
        return;
    default:
        if (!own_answer(c, command, o))
            unreachable(); /* a row of the table says LOCAL and nobody answers it */
    }
}

void local_answer(struct client *c, const struct command *command)
{
    if (client_commands_take(c, command) || slow_log_take(c, command))
        return;
    if (command->id == COMMAND_ID_RESET) {
        c->mute = CLIENT_MUTE_NONE; /* its own answer is one already */
        subscriber_reset(c);
    }
    struct request *r;
    if (c->conn.source.dead)
        return;
    struct reply_out o = client_reply_begin(c, &r);
    local_write(c, command, &o);
    client_reply_end(c, r, &o);
}
