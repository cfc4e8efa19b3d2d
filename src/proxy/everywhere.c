/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/everywhere.h"

#include "base/must.h"
#include "proxy/all_nodes.h"
#include "proxy/node_logs.h"
#include "proxy/node_stats.h"
#include "proxy/roll_call.h"
#include "proxy/worker_internal.h"
#include "resp/reply_cursor.h"
#include "resp/reply_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct everywhere *everywhere_of(const struct request *r)
{
    return container_of(r->gather, struct everywhere, gather);
}

void everywhere_free(struct gather *g)
{
    struct everywhere *e = container_of(g, struct everywhere, gather);
    view_unref(e->view);
    control_script_free(e->script);
    free(e);
}

/* ---- asking ---- */

static struct everywhere *everywhere_new(struct request *r, const struct gather_ops *ops)
{
    struct worker *w = r->client->worker;
    struct everywhere *e = calloc(1, sizeof(*e));
    if (!e || gather_init(&e->gather, ops, w->view->node_count) != 0) {
        free(e);
        return NULL;
    }
    e->view = view_ref(w->view);
    e->gather.harmless = true; /* scripts, logs and settings are no keys */
    e->gather.reply_max = w->settings->fanout_reply_max;
    gather_begin(&e->gather, r, false);
    return e;
}

static int add_node(struct everywhere *e, struct worker *w, uint32_t node)
{
    const struct args *a = &w->args;
    struct gather_result *result = gather_add(&e->gather, node);
    for (size_t i = 0; i < a->iov_count; i++) {
        int err = buf_append(&result->bytes, &w->chunks, a->iov[i].iov_base, a->iov[i].iov_len);
        if (err)
            return err;
    }
    return 0;
}

/* At most so many nodes. */
static void ask(struct client *c, const struct command *command, const struct gather_ops *ops,
                struct control_script *script, int64_t wanted, uint32_t most)
{
    struct worker *w = c->worker;
    struct request *r = all_nodes_request(c, command);
    if (!r) {
        control_script_free(script);
        return;
    }
    struct everywhere *e = everywhere_new(r, ops);
    if (!e) {
        control_script_free(script);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    e->script = script;
    e->wanted = wanted;
    for (uint32_t i = 0; i < e->view->node_count && e->gather.count < most; i++) {
        if (!gather_is_asked(&e->view->nodes[i]))
            continue;
        if (add_node(e, w, i) != 0) {
            request_fail(r, FAILURE_MEMORY, NULL);
            return;
        }
    }
    gather_send(r);
}

void everywhere_ask(struct client *c, const struct command *command, const struct gather_ops *ops,
                    struct control_script *script, int64_t wanted)
{
    ask(c, command, ops, script, wanted, UINT32_MAX);
}

/* ---- errors ---- */

static bool is_error(const struct gather_result *result)
{
    return result->type == '-' || result->type == '!';
}

/* The first bytes of an answer. */
static struct str begin_of(const struct gather_result *result, char to[REPLY_ERROR_MAX])
{
    size_t len = result->bytes.len < REPLY_ERROR_MAX ? result->bytes.len : REPLY_ERROR_MAX;
    buf_copy_out(&result->bytes, 0, to, len);
    return (struct str){to, len};
}

static bool all_the_same(const struct gather *g)
{
    char first[REPLY_ERROR_MAX], other[REPLY_ERROR_MAX];
    struct str text = begin_of(&g->results[0], first);
    for (uint32_t i = 1; i < g->count; i++)
        if (!str_eq(text, begin_of(&g->results[i], other)))
            return false;
    return true;
}

/* "-CODE text" of one node → "-CODE sumcache: node NAME: text" */
static void write_named(struct reply_out *o, const struct gather_result *result, const char *name)
{
    char bytes[REPLY_ERROR_MAX];
    struct str text = begin_of(result, bytes);
    text.p++;
    text.len -= text.len > 3 ? 3 : text.len; /* "-", CR and LF */
    const char *blank = text.len > 0 ? memchr(text.p, ' ', text.len) : NULL;
    int code = blank ? (int)(blank - text.p) : (int)text.len;
    int rest = (int)text.len - code - (blank ? 1 : 0);
    reply_error(o, "%.*s sumcache: node %s: %.*s", code, text.p, name, rest,
                blank ? blank + 1 : "");
}

bool everywhere_write_error(struct request *r, struct reply_out *o)
{
    struct everywhere *e = everywhere_of(r);
    struct gather *g = &e->gather;
    if (g->error.len > 0)
        return gather_write_error(g, o);
    for (uint32_t i = 0; i < g->count; i++) {
        struct gather_result *result = &g->results[i];
        if (!is_error(result))
            continue;
        if (all_the_same(g))
            buf_move_all(o->to, &result->bytes);
        else
            write_named(o, result, e->view->nodes[result->node].name);
        return true;
    }
    return false;
}

/* ---- answers ---- */

/* All have done it: one answer is as good as another. */
static int merge_same(struct request *r, struct reply_out *o)
{
    if (!everywhere_write_error(r, o))
        buf_move_all(o->to, &r->gather->results[0].bytes);
    return 0;
}

/* Whoever could do it did; the others had nothing to do. */
static int merge_one(struct request *r, struct reply_out *o)
{
    struct gather *g = r->gather;
    struct gather_result *told = NULL;
    for (uint32_t i = 0; i < g->count; i++) {
        char bytes[REPLY_ERROR_MAX];
        struct gather_result *result = &g->results[i];
        if (result->type == '+') {
            buf_move_all(o->to, &result->bytes);
            return 0;
        }
        struct str text = begin_of(result, bytes);
        bool idle = text.len > 9 && memcmp(text.p, "-NOTBUSY ", 9) == 0;
        if (is_error(result) && !idle)
            told = result; /* UNKILLABLE, say */
    }
    if (told)
        write_named(o, told, everywhere_of(r)->view->nodes[told->node].name);
    else if (!everywhere_write_error(r, o))
        return -EBADMSG;
    return o->err;
}

static int merge_sum(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    int64_t sum = 0;
    if (everywhere_write_error(r, o))
        return 0;
    for (uint32_t i = 0; i < r->gather->count; i++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        int64_t number;
        reply_reader_init(&in, &r->gather->results[i].bytes, &w->chunks);
        if (reply_read_number(&in, ':', &number) != 0)
            return -EBADMSG;
        sum += number;
    }
    reply_int(o, sum);
    return o->err;
}

/* SCRIPT EXISTS: it exists if it does at every node. */
static int merge_exists(struct request *r, struct reply_out *o)
{
    struct worker *w = r->client->worker;
    struct gather *g = r->gather;
    int64_t count = -1, here, one;
    if (everywhere_write_error(r, o))
        return 0;
    for (uint32_t i = 0; i < g->count; i++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        reply_reader_init(&in, &g->results[i].bytes, &w->chunks);
        if (reply_read_number(&in, '*', &here) != 0 || (count >= 0 && here != count))
            return -EBADMSG;
        count = here;
    }
    reply_array(o, (size_t)count);
    for (int64_t k = 0; k < count; k++) {
        int64_t all = 1;
        for (uint32_t i = 0; i < g->count; i++) {
            struct reply_reader in CLEANUP(reply_reader_fini);
            reply_reader_init(&in, &g->results[i].bytes, &w->chunks);
            if (reply_read_number(&in, ':', &one) != 0)
                return -EBADMSG;
            all &= one;
        }
        reply_int(o, all);
    }
    return o->err;
}

/* FUNCTION STATS: of the node where something runs, if there is one. */
static int merge_stats(struct request *r, struct reply_out *o)
{
    static const struct str NAME = STR("$14\r\nrunning_script\r\n");
    struct gather *g = r->gather;
    struct gather_result *shown = &g->results[0];
    if (everywhere_write_error(r, o))
        return 0;
    for (uint32_t i = 0; i < g->count; i++) {
        char bytes[REPLY_ERROR_MAX];
        struct str text = begin_of(&g->results[i], bytes);
        const char *at = memmem(text.p, text.len, NAME.p, NAME.len);
        size_t behind = at ? (size_t)(at - text.p) + NAME.len : text.len;
        if (behind + 1 < text.len && text.p[behind] != '_' && text.p[behind + 1] != '-')
            shown = &g->results[i];
    }
    buf_move_all(o->to, &shown->bytes);
    return 0;
}

/* A text of each, under its name. */
static int merge_texts(struct request *r, struct reply_out *o)
{
    struct everywhere *e = everywhere_of(r);
    struct roll_text all = {0};
    if (everywhere_write_error(r, o))
        return 0;
    for (uint32_t i = 0; i < e->gather.count; i++) {
        const struct gather_result *result = &e->gather.results[i];
        const char *name = e->view->nodes[result->node].name;
        char *bytes CLEANUP(freep) = malloc(result->bytes.len + 1);
        if (!bytes)
            all.failed = true;
        else
            buf_copy_out(&result->bytes, 0, bytes, result->bytes.len);
        struct str text = STR("");
        struct reply_cursor at = reply_cursor_at((struct str){bytes, result->bytes.len});
        if (bytes && reply_cursor_text(&at, &text) != 0)
            text = STR("");
        roll_text_add(&all, name, strlen(name));
        roll_text_add(&all, ":\n", 2);
        roll_text_add(&all, text.p, text.len);
        if (text.len == 0 || text.p[text.len - 1] != '\n')
            roll_text_add(&all, "\n", 1);
    }
    int err = all.failed ? -ENOMEM : 0;
    if (!err)
        reply_verbatim_txt(o, (struct str){all.bytes, all.len});
    free(all.bytes);
    return err ? err : o->err;
}

/* ---- scripts and functions ---- */

/* The name that a node has given to what was loaded. 0 or -errno. */
static int name_script(struct control_script *s, struct gather_result *result, struct worker *w,
                       struct reply_out *o)
{
    struct reply_reader in CLEANUP(reply_reader_fini);
    struct str name;
    reply_reader_init(&in, &result->bytes, &w->chunks);
    int err = reply_read_bulk(&in, &name);
    if (err)
        return err == -ENOMEM ? -ENOMEM : -EBADMSG;
    reply_bulk(o, name);
    return control_script_set_name(s, name);
}

static int merge_script(struct request *r, struct reply_out *o)
{
    struct everywhere *e = everywhere_of(r);
    struct worker *w = r->client->worker;
    struct control_script *s = e->script;
    int err = 0;
    if (everywhere_write_error(r, o))
        return 0;
    for (uint32_t i = 0; i < e->gather.count; i++) {
        const struct pulse *p = e->view->nodes[e->gather.results[i].node].pulse;
        if (p)
            s->nodes[s->node_count++] = p->node;
    }
    if (s->kind == SCRIPT_LOADED || s->kind == FUNCTION_LOADED)
        err = name_script(s, &e->gather.results[0], w, o);
    else
        buf_move_all(o->to, &e->gather.results[0].bytes);
    if (!err && w->control)
        control_tell_script(w->control, take_ptr(e->script));
    return err ? err : o->err;
}

static void start_script(struct client *c, const struct command *command, enum script_kind kind,
                         size_t body_at, size_t name_at)
{
    static const struct gather_ops OPS = {.merge = merge_script, .free = everywhere_free};
    struct worker *w = c->worker;
    struct str none = STR("");
    struct str body = body_at > 0 ? args_str(&w->args, body_at) : none;
    bool failed = body_at > 0 && !body.p && args_len(&w->args, body_at) > 0;
    uint32_t nodes = w->view ? w->view->node_count : 0;
    struct control_script *s = failed ? NULL : control_script_new(kind, body, nodes);
    if (!s || (name_at > 0 && control_script_set_name(s, args_str(&w->args, name_at)) != 0)) {
        control_script_free(s);
        failure_count(w, FAILURE_MEMORY);
        all_nodes_refuse(c, "ERR sumcache: out of buffer memory (limits.memory)");
        return;
    }
    if (kind == FUNCTIONS_RESTORED && w->args.count > 3)
        s->flushes_functions = str_eq_nocase(args_str(&w->args, 3), STR("flush"));
    everywhere_ask(c, command, &OPS, s, 0);
}

/* ---- CONFIG SET ---- */

/* What makes sense for all nodes alike. The rest is a node's own, like its memory and its files. */
static const char *const SETTABLE[] = {
    "activedefrag",
    "active-expire-effort",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "hz",
    "latency-monitor-threshold",
    "latency-tracking",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
    "lfu-decay-time",
    "lfu-log-factor",
    "list-compress-depth",
    "list-max-listpack-size",
    "loglevel",
    "lua-time-limit",
    "busy-reply-threshold",
    "maxmemory-eviction-tenacity",
    "maxmemory-policy",
    "maxmemory-samples",
    "set-max-intset-entries",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
};

static bool is_settable(struct str name)
{
    for (size_t i = 0; i < sizeof(SETTABLE) / sizeof(SETTABLE[0]); i++)
        if (str_eq_nocase(name, str_of(SETTABLE[i])))
            return true;
    return false;
}

/* True: it may be sent. */
static bool judge_config(struct client *c)
{
    enum { FIRST_NAME = 2, SHOWN = 64 };
    struct worker *w = c->worker;
    for (size_t i = FIRST_NAME; i < w->args.count; i += 2) {
        struct str name = args_str(&w->args, i);
        char text[256];
        if (is_settable(name))
            continue;
        snprintf(text, sizeof(text),
                 "ERR sumcache: CONFIG SET of '%.*s' is not for all nodes alike; set it at each "
                 "node, or in the configuration of the proxy",
                 (int)(name.len < SHOWN ? name.len : SHOWN), name.p ? name.p : "");
        metric_add(&w->metrics.requests_refused, 1);
        all_nodes_refuse(c, text);
        return false;
    }
    return true;
}

/* ---- which is which ---- */

static const struct gather_ops SAME = {.merge = merge_same, .free = everywhere_free};
static const struct gather_ops ONE = {.merge = merge_one, .free = everywhere_free};
static const struct gather_ops SUM = {.merge = merge_sum, .free = everywhere_free};
static const struct gather_ops EXISTS = {.merge = merge_exists, .free = everywhere_free};
static const struct gather_ops STATS = {.merge = merge_stats, .free = everywhere_free};
static const struct gather_ops TEXTS = {.merge = merge_texts, .free = everywhere_free};

void everywhere_start(struct client *c, const struct command *command)
{
    size_t last = c->worker->args.count - 1;
    switch (command->id) {
    case COMMAND_ID_SCRIPT_LOAD:
        start_script(c, command, SCRIPT_LOADED, 2, 0);
        return;
    case COMMAND_ID_SCRIPT_FLUSH:
        start_script(c, command, SCRIPTS_FLUSHED, 0, 0);
        return;
    case COMMAND_ID_FUNCTION_LOAD:
        start_script(c, command, FUNCTION_LOADED, last, 0);
        return;
    case COMMAND_ID_FUNCTION_DELETE:
        start_script(c, command, FUNCTION_DELETED, 0, 2);
        return;
    case COMMAND_ID_FUNCTION_FLUSH:
        start_script(c, command, FUNCTIONS_FLUSHED, 0, 0);
        return;
    case COMMAND_ID_FUNCTION_RESTORE:
        start_script(c, command, FUNCTIONS_RESTORED, 2, 0);
        return;
    case COMMAND_ID_SCRIPT_EXISTS:
        everywhere_ask(c, command, &EXISTS, NULL, 0);
        return;
    case COMMAND_ID_SCRIPT_KILL:
    case COMMAND_ID_FUNCTION_KILL:
        everywhere_ask(c, command, &ONE, NULL, 0);
        return;
    case COMMAND_ID_FUNCTION_STATS:
        everywhere_ask(c, command, &STATS, NULL, 0);
        return;
    case COMMAND_ID_SLOWLOG_LEN:
    case COMMAND_ID_LATENCY_RESET:
        everywhere_ask(c, command, &SUM, NULL, 0);
        return;
    case COMMAND_ID_LATENCY_DOCTOR:
    case COMMAND_ID_LATENCY_GRAPH:
    case COMMAND_ID_MEMORY_DOCTOR:
    case COMMAND_ID_MEMORY_MALLOC_STATS:
        everywhere_ask(c, command, &TEXTS, NULL, 0);
        return;
    case COMMAND_ID_CONFIG_SET:
        if (judge_config(c))
            everywhere_ask(c, command, &SAME, NULL, 0);
        return;
    case COMMAND_ID_FUNCTION_DUMP:
    case COMMAND_ID_FUNCTION_LIST: /* all have the same */
        ask(c, command, &SAME, NULL, 0, 1);
        return;
    case COMMAND_ID_CONFIG_RESETSTAT:
    case COMMAND_ID_SLOWLOG_RESET:
    case COMMAND_ID_MEMORY_PURGE:
        everywhere_ask(c, command, &SAME, NULL, 0);
        return;
    case COMMAND_ID_MEMORY_STATS:
    case COMMAND_ID_LATENCY_HISTOGRAM:
        node_stats_start(c, command);
        return;
    default:
        node_logs_start(c, command);
        return;
    }
}
