/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_commands.h"

#include "base/nsec.h"
#include "proxy/client_line.h"
#include "proxy/roll_call.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { QUOTED_MAX = 512 }; /* bytes of what a client sent that are worth showing in an error */

static struct str arg(struct client *c, size_t index)
{
    return args_str(&c->worker->args, index);
}

static bool arg_is(struct client *c, size_t index, const char *word)
{
    return str_eq_nocase(arg(c, index), str_of(word));
}

static int shown_len(struct str s)
{
    return (int)(s.len < QUOTED_MAX ? s.len : QUOTED_MAX);
}

static void syntax_error(struct reply_out *o)
{
    reply_error(o, "ERR syntax error");
}

/* An error, or +OK, as the whole answer to the present request. */
static void answer_line(struct client *c, const char *error)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    if (error)
        reply_error(&o, "%s", error);
    else
        reply_simple(&o, "OK");
    client_reply_end(c, r, &o);
}

static void answer_no_memory(struct client *c)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    failure_count(c->worker, FAILURE_MEMORY);
    failure_write(&o, FAILURE_MEMORY, NULL);
    client_reply_end(c, r, &o);
}

/* ---- names ---- */

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '!' || s.p[i] > '~')
            return false;
    return true;
}

/* False: out of memory, and the error is written. */
static bool replace(char **text, struct str by, struct reply_out *o)
{
    char *copy = by.len > 0 ? strndup(by.p, by.len) : NULL;
    if (by.len > 0 && !copy) {
        failure_write(o, FAILURE_MEMORY, NULL);
        return false;
    }
    free(*text);
    *text = copy;
    return true;
}

bool client_set_name(struct client *c, struct str name, struct reply_out *o)
{
    if (!is_plain(name)) {
        reply_error(o, "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    return replace(&c->name, name, o);
}

static void answer_setinfo(struct client *c, struct reply_out *o)
{
    bool name = arg_is(c, 2, "lib-name");
    struct str value = arg(c, 3);
    if (!name && !arg_is(c, 2, "lib-ver")) {
        reply_error(o, "ERR Unrecognized option '%.*s'", shown_len(arg(c, 2)), arg(c, 2).p);
    } else if (!is_plain(value)) {
        reply_error(o, "ERR %s cannot contain spaces, newlines or special characters.",
                    name ? "lib-name" : "lib-ver");
    } else {
        if (value.len > CLIENT_LIB_MAX) /* for people; no library's is so long */
            value.len = CLIENT_LIB_MAX;
        if (replace(name ? &c->lib_name : &c->lib_ver, value, o))
            reply_simple(o, "OK");
    }
}

/* ---- LIST and KILL ---- */

static bool show(const struct roll_question *q, struct client *c, struct roll_text *t)
{
    char line[CLIENT_LINE_MAX];
    (void)q;
    roll_text_add(t, line, client_line_print(c, line));
    return true;
}

static void finish_list(const struct roll_question *q, uint64_t count, struct str text,
                        struct reply_out *o)
{
    (void)q;
    (void)count;
    reply_verbatim_txt(o, text.p ? text : STR(""));
}

static bool kill(const struct roll_question *q, struct client *c, struct roll_text *t)
{
    (void)t;
    metric_add(&c->worker->metrics.clients_killed, 1);
    if (c->id == q->filter.me)
        client_close_after_replies(c); /* it is told first */
    else
        client_close(c);
    return true;
}

static void finish_kill(const struct roll_question *q, uint64_t count, struct str text,
                        struct reply_out *o)
{
    (void)text;
    if (!q->filter.old_style)
        reply_int(o, (int64_t)count);
    else if (count > 0)
        reply_simple(o, "OK");
    else
        reply_error(o, "ERR No such client");
}

static const struct roll_kind LIST = {.visit = show, .finish = finish_list};
static const struct roll_kind KILL = {.visit = kill, .finish = finish_kill};

static void ask_list_or_kill(struct client *c, const struct command *command)
{
    struct client_filter f;
    struct client_filter_error error;
    struct args *a = &c->worker->args;
    bool kills = command->id == COMMAND_ID_CLIENT_KILL;
    int err = kills ? client_filter_parse_kill(&f, a, c->id, c->worker->settings->access, &error)
                    : client_filter_parse_list(&f, a, &error);
    if (err == -EINVAL) {
        answer_line(c, error.text);
        return;
    }
    struct roll_question *q = err ? NULL : roll_question_new(kills ? &KILL : &LIST, &f);
    if (!q) {
        if (!err)
            client_filter_fini(&f);
        answer_no_memory(c);
        return;
    }
    bool dies = kills && client_filter_matches(&q->filter, c);
    roll_call_start(c, command, q);
    if (dies && !c->conn.source.dead)
        c->closing = true; /* what it has sent behind this is not done any more */
}

/* ---- PAUSE ---- */

static void enter_pause(const struct roll_question *q, struct worker *w, struct roll_text *t)
{
    (void)t;
    client_pause_set(w, q->until, q->writes_only);
}

static void finish_pause(const struct roll_question *q, uint64_t count, struct str text,
                         struct reply_out *o)
{
    (void)q;
    (void)count;
    (void)text;
    reply_simple(o, "OK");
}

static const struct roll_kind PAUSE = {.enter = enter_pause, .finish = finish_pause};

/* The error, or NULL. */
static const char *parse_pause(struct client *c, uint64_t *ret_until, bool *ret_writes_only)
{
    struct worker *w = c->worker;
    int64_t ms;
    *ret_writes_only = false;
    if (w->args.count > 4)
        return "ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.";
    if (w->args.count == 4) {
        *ret_writes_only = arg_is(c, 3, "write");
        if (!*ret_writes_only && !arg_is(c, 3, "all"))
            return "ERR CLIENT PAUSE mode must be WRITE or ALL";
    }
    if (str_to_i64(arg(c, 2), &ms) != 0)
        return "ERR timeout is not an integer or out of range";
    if (ms < 0)
        return "ERR timeout is negative";
    uint64_t most = (NSEC_NEVER - 1 - worker_now(w)) / NSEC_MS;
    *ret_until = worker_now(w) + nsec_min((uint64_t)ms, most) * NSEC_MS;
    return NULL;
}

static void ask_pause(struct client *c, const struct command *command)
{
    uint64_t until = 0;
    bool writes_only = false;
    const char *error =
        command->id == COMMAND_ID_CLIENT_PAUSE ? parse_pause(c, &until, &writes_only) : NULL;
    if (error) {
        answer_line(c, error);
        return;
    }
    static const struct client_filter EVERYBODY;
    struct roll_question *q = roll_question_new(&PAUSE, &EVERYBODY);
    if (!q) {
        answer_no_memory(c);
        return;
    }
    q->until = until;
    q->writes_only = writes_only;
    roll_call_start(c, command, q);
}

/* ---- REPLY ---- */

static void take_reply_mode(struct client *c)
{
    if (arg_is(c, 2, "off")) {
        c->mute = CLIENT_MUTE_ALL;
    } else if (arg_is(c, 2, "skip")) {
        if (c->mute == CLIENT_MUTE_NONE || c->mute == CLIENT_MUTE_NEXT)
            c->mute = CLIENT_MUTE_NEXT;
    } else if (arg_is(c, 2, "on")) {
        c->mute = CLIENT_MUTE_NONE;
        answer_line(c, NULL);
    } else {
        answer_line(c, "ERR syntax error");
    }
}

bool client_commands_asks(const struct command *command)
{
    switch (command->id) {
    case COMMAND_ID_CLIENT_LIST:
    case COMMAND_ID_CLIENT_KILL:
    case COMMAND_ID_CLIENT_PAUSE:
    case COMMAND_ID_CLIENT_UNPAUSE:
    case COMMAND_ID_CLIENT_REPLY:
    case COMMAND_ID_SUMCACHE_SLOWLOG:
        return true;
    default:
        return false;
    }
}

bool client_commands_take(struct client *c, const struct command *command)
{
    switch (command->id) {
    case COMMAND_ID_CLIENT_LIST:
    case COMMAND_ID_CLIENT_KILL:
        ask_list_or_kill(c, command);
        return true;
    case COMMAND_ID_CLIENT_PAUSE:
    case COMMAND_ID_CLIENT_UNPAUSE:
        ask_pause(c, command);
        return true;
    case COMMAND_ID_CLIENT_REPLY:
        take_reply_mode(c);
        return true;
    default:
        return false;
    }
}

/* ---- what is answered at once ---- */

static void answer_on_off(struct client *c, struct reply_out *o)
{
    if (arg_is(c, 2, "on") || arg_is(c, 2, "off"))
        reply_simple(o, "OK");
    else
        syntax_error(o);
}

/* As a server where it is off, which it always is. */
static void answer_tracking(struct client *c, struct reply_out *o)
{
    if (arg_is(c, 2, "off"))
        reply_simple(o, "OK");
    else if (arg_is(c, 2, "on"))
        reply_error(o,
                    "ERR sumcache: CLIENT TRACKING needs messages pushed by the nodes, which are "
                    "not offered");
    else
        syntax_error(o);
}

static void write_tracking_info(struct reply_out *o)
{
    reply_map(o, 3);
    reply_bulk(o, STR("flags"));
    reply_set(o, 1);
    reply_bulk(o, STR("off"));
    reply_bulk(o, STR("redirect"));
    reply_int(o, -1);
    reply_bulk(o, STR("prefixes"));
    reply_array(o, 0);
}

static void write_help(struct reply_out *o)
{
    static const char *const HELP[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME, SETNAME <name>, ID, INFO, SETINFO <attr> <value>,",
        "LIST [TYPE <type> | ID <id> ...], of all clients of this proxy,",
        "KILL <ip:port> | [ID|TYPE|USER|ADDR|LADDR|SKIPME|MAXAGE <value>] ...,",
        "PAUSE <timeout> [WRITE|ALL], UNPAUSE, REPLY ON|OFF|SKIP,",
        "GETREDIR, TRACKINGINFO, TRACKING OFF, NO-EVICT ON|OFF, NO-TOUCH ON|OFF, HELP",
    };
    size_t count = sizeof(HELP) / sizeof(HELP[0]);
    reply_array(o, count);
    for (size_t i = 0; i < count; i++)
        reply_simple(o, HELP[i]);
}

void client_commands_answer(struct client *c, const struct command *command, struct reply_out *o)
{
    char line[CLIENT_LINE_MAX];
    switch (command->id) {
    case COMMAND_ID_CLIENT_ID:
        reply_int(o, (int64_t)c->id);
        return;
    case COMMAND_ID_CLIENT_GETNAME:
        if (c->name)
            reply_bulk(o, str_of(c->name));
        else
            reply_null(o);
        return;
    case COMMAND_ID_CLIENT_SETNAME:
        if (client_set_name(c, arg(c, 2), o))
            reply_simple(o, "OK");
        return;
    case COMMAND_ID_CLIENT_SETINFO:
        answer_setinfo(c, o);
        return;
    case COMMAND_ID_CLIENT_NO_EVICT:
    case COMMAND_ID_CLIENT_NO_TOUCH:
        answer_on_off(c, o);
        return;
    case COMMAND_ID_CLIENT_INFO:
        reply_verbatim_txt(o, (struct str){line, client_line_print(c, line)});
        return;
    case COMMAND_ID_CLIENT_GETREDIR:
        reply_int(o, -1);
        return;
    case COMMAND_ID_CLIENT_TRACKINGINFO:
        write_tracking_info(o);
        return;
    case COMMAND_ID_CLIENT_TRACKING:
        answer_tracking(c, o);
        return;
    case COMMAND_ID_CLIENT_CAPA:
        reply_simple(o, "OK"); /* as Valkey does of what it does not know */
        return;
    case COMMAND_ID_CLIENT_CACHING:
        reply_error(o, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                       "with OPTIN or OPTOUT mode enabled");
        return;
    default:
        write_help(o);
        return;
    }
}
