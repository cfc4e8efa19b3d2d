/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the checker that judges replies: is this one a right answer to that command?
 * Long: one judge per kind of answer, and what excuses an error is shared by most of them. */
#include "base/must.h"
#include "base/nsec.h"
#include "checker.h"
#include "ring/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BULK_FRAME = 8 }; /* "$", two digits, two CRLF, and one to spare */

static const char *const KIND_NAMES[CHECK_KINDS] = {
    [CHECK_GET] = "GET",
    [CHECK_SET] = "SET",
    [CHECK_SETEX] = "SETEX",
    [CHECK_INCR] = "INCR",
    [CHECK_APPEND] = "APPEND",
    [CHECK_STRLEN] = "STRLEN",
    [CHECK_HGETALL] = "HGETALL",
    [CHECK_SUNION] = "SUNION",
    [CHECK_MGET] = "MGET",
    [CHECK_MSET] = "MSET",
    [CHECK_DEL] = "DEL",
    [CHECK_UNLINK] = "UNLINK",
    [CHECK_EXISTS] = "EXISTS",
    [CHECK_TOUCH] = "TOUCH",
    [CHECK_FLUSH] = "FLUSHALL",
    [CHECK_COUNT_ALL] = "DBSIZE",
    [CHECK_NAME_ALL] = "KEYS",
    [CHECK_NAME_SOME] = "SCAN",
    [CHECK_NAME_ONE] = "RANDOMKEY",
    [CHECK_EXEC_GET] = "EXEC of GETs",
    [CHECK_EXEC_SET] = "EXEC of SETs",
    [CHECK_WATCH] = "WATCH",
    [CHECK_PING] = "PING",
    [CHECK_PING_TEXT] = "PING x",
    [CHECK_ECHO] = "ECHO",
    [CHECK_ECHO_LARGE] = "ECHO of much",
    [CHECK_HELLO] = "HELLO",
    [CHECK_FAILURES] = "SUMCACHE.FAILURES",
    [CHECK_CLIENT_ID] = "CLIENT ID",
    [CHECK_SELECT] = "SELECT",
    [CHECK_MULTI] = "MULTI",
    [CHECK_QUEUED] = "a command behind MULTI",
    [CHECK_UNKNOWN] = "an unknown command",
    [CHECK_REFUSED] = "a refused command",
    [CHECK_ARITY] = "a command with too few arguments",
    [CHECK_QUIT] = "QUIT",
    [CHECK_MALFORMED] = "malformed input",
};

const char *check_kind_name(enum check_kind kind)
{
    return KIND_NAMES[kind];
}

struct judgement {
    struct checker *k;
    unsigned client;
    uint32_t seq;
    struct check_command *c;
    const struct answer *a;
};

static void wrong(const struct judgement *j, const char *why)
{
    const struct answer_item *top = &j->a->top;
    int shown = top->len > 80 ? 80 : (int)top->len;
    char text[81];
    for (int i = 0; i < shown; i++)
        text[i] = top->text[i] >= ' ' && top->text[i] < 127 ? top->text[i] : '?';
    text[shown] = '\0';
    checker_fail(j->k, "answer: client %u command %" PRIu32 " (%s, RESP%u, %u keys) got %c%s: %s",
                 j->client, j->seq, KIND_NAMES[j->c->kind], j->c->proto, j->c->part_count,
                 top->type, text, why);
}

static bool starts_with(const struct answer_item *item, const char *text)
{
    size_t len = strlen(text);
    return item->len >= len && memcmp(item->text, text, len) == 0;
}

static bool contains(const struct answer_item *item, const char *text)
{
    return memmem(item->text, item->len, text, strlen(text)) != NULL;
}

static bool text_is(const struct answer_item *item, const char *text)
{
    return item->len == strlen(text) && memcmp(item->text, text, item->len) == 0;
}

/* Has it waited for as long as a request may, and is there a reason for which one may have to? */
static bool may_have_timed_out(const struct judgement *j)
{
    const struct sim_options *o = j->k->options;
    /* Where buffers are small and values large, a well node's link may be busy for a whole
     * deadline, and where lanes mix, its bulk upstreams. */
    uint64_t from = checker_may_stream(j->k, j->c) ? j->c->begun_at : j->c->read_at;
    return from != 0 && io_sim_now(j->k->world) >= from + o->proxy.request_timeout;
}

/* Has one before it failed whose reply may still come, so that this one cannot go another way? */
static bool follows_a_failure(const struct judgement *j)
{
    const struct check_command *commands = j->k->clients[j->client].commands;
    for (uint32_t i = j->seq; i-- > 0 && commands[i].session == j->c->session;) {
        if (commands[i].failed && checker_share_node(j->k, &commands[i], j->c))
            return true;
    }
    return false;
}

static bool owner_is_victim(const struct judgement *j, const struct check_part *p)
{
    const struct sim_options *o = j->k->options;
    char text[64];
    struct str key = {text, check_key_print(&p->key, text, sizeof(text))};
    uint64_t hash = layout_hash(o->proxy.layout, key, o->proxy.hash_tags);
    bool had_view = false;
    for (uint32_t i = 0; i < j->k->view_count; i++) {
        const struct check_view *cv = &j->k->views[i];
        if (!checker_view_counts(j->k, cv, j->c->process, j->c->sent_at))
            continue;
        if (cv->posted_at + o->pause_max + o->adopt_max <= j->c->sent_at && cv->view->ring)
            had_view = true;
        if (!cv->view->ring || view_flags(cv->view, hash) & (VIEW_PARTING | VIEW_FENCED))
            return true;
        int node = cv->node_of[maglev_lookup(cv->view->ring, hash)];
        if (o->victims & (1U << node))
            return true;
    }
    return !had_view;
}

/*
 * May what nodes still say to commands for all of them that have failed, which nobody waits for any
 * more, be all that a node's share of limits.node_requests lets be under way? One answer per
 * command.
 */
static bool node_is_full(const struct judgement *j)
{
    const struct sim_options *o = j->k->options;
    const struct check_command *commands = j->k->clients[j->client].commands;
    uint64_t lasts = o->proxy.request_timeout + o->proxy.stall_timeout;
    uint32_t share = o->proxy.node_requests_max / o->workers, left = 0;
    for (uint32_t i = j->seq; i-- > 0 && commands[i].answered_at + lasts >= j->c->sent_at;)
        left += commands[i].failed && check_kind_is_of_all((enum check_kind)commands[i].kind);
    return left > 0 && left >= share;
}

/* May the nodes that have this key have failed? */
static bool node_may_fail(const struct judgement *j, const struct check_part *p)
{
    const struct sim_options *o = j->k->options;
    if (j->c->strict && node_is_full(j))
        return true;
    if (o->calm || j->c->strict)
        return false;
    if (o->tight || owner_is_victim(j, p) || may_have_timed_out(j))
        return true;
    return (checker_lanes_mix(j->k) || check_is_private(j->c)) && follows_a_failure(j);
}

static bool any_may_fail(const struct judgement *j)
{
    if (checker_stopped_inside(j->k, j->c))
        return true;
    for (uint32_t i = 0; i < j->c->part_count; i++) {
        if (node_may_fail(j, &j->c->parts[i]))
            return true;
    }
    return false;
}

bool checker_may_fail(struct checker *k, unsigned client, uint32_t seq)
{
    struct judgement j = {k, client, seq, checker_find(k, client, seq), NULL};
    return any_may_fail(&j);
}

static bool any_outcome_is(const struct check_command *c, enum check_outcome outcome)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].outcome == outcome)
            return true;
    }
    return false;
}

static bool all_outcomes_are(const struct check_command *c, enum check_outcome outcome)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].outcome != outcome)
            return false;
    }
    return c->part_count > 0;
}

/* A read: its failure is told as a miss, unless the client wants errors. */
static bool is_read(enum check_kind kind)
{
    switch (kind) {
    case CHECK_GET:
    case CHECK_STRLEN:
    case CHECK_HGETALL:
    case CHECK_SUNION:
    case CHECK_MGET:
    case CHECK_EXISTS:
    case CHECK_TOUCH:
        return true;
    default:
        return false;
    }
}

static bool may_be_masked(const struct judgement *j, const struct check_part *p)
{
    return is_read(j->c->kind) && !j->c->errors && node_may_fail(j, p);
}

/* Refused because it has to be gathered and is longer than may be. */
static bool is_too_long(const struct judgement *j, const struct answer_item *top)
{
    uint64_t len = check_command_len(j->c);
    if (j->c->is_inline) /* what counts is how it goes on to the nodes */
        len += (j->c->part_count + 2) * (uint64_t)BULK_FRAME;
    return starts_with(top, "ERR sumcache: request is longer") && !checker_may_stream(j->k, j->c) &&
           len > j->k->options->proxy.split_request_max;
}

/* Its value came in pieces, and its slot has moved between them, which happens to well nodes too.
 */
static bool has_moved_inside(const struct judgement *j, const struct answer_item *top)
{
    const struct check_view *newest = checker_newest_view(j->k, j->c->process);
    return starts_with(top, "ERR sumcache: the key is moving") && checker_may_stream(j->k, j->c) &&
           newest && newest->posted_at + j->k->options->adopt_max >= j->c->begun_at;
}

/* All nodes are asked, and each may be the one that fails. */
static void judge_error_of_all(const struct judgement *j)
{
    const struct answer_item *top = &j->a->top;
    const struct sim_options *o = j->k->options;
    j->k->failures_told++;
    j->c->failed = true;
    /* It waits until all workers go by the newest view: the first check of a node makes one. */
    bool may_wait = o->adopt_max + o->control_pause_max + o->pause_max >= o->proxy.fanout_timeout;
    if (may_wait && starts_with(top, "ERR sumcache: the nodes are changing"))
        return;
    if (o->calm)
        wrong(j, "its nodes are well");
    else if (!starts_with(top, "ERR sumcache: ") && !starts_with(top, "LOADING "))
        wrong(j, "an error that nothing explains");
}

/* ---- transactions ---- */

static bool is_exec(const struct check_command *c)
{
    return c->kind == CHECK_EXEC_GET || c->kind == CHECK_EXEC_SET;
}

/* Of this EXEC: it was refused, so what came behind it was not queued. */
static bool multi_failed(const struct check_command *exec)
{
    return exec[-1 - (int64_t)exec->part_count].failed;
}

/* One of the commands of this EXEC was refused. */
static bool queued_failed(const struct check_command *exec)
{
    for (int64_t i = 1; i <= exec->part_count; i++) {
        if (exec[-i].failed)
            return true;
    }
    return false;
}

/* It stands behind a WATCH: its own, or one whose EXEC was none, since MULTI had been refused. That
 * WATCH holds on, as Redis has it, even if it was refused itself: better a nil too much. */
static bool is_behind_watch(const struct judgement *j)
{
    if (j->c->watched)
        return true;
    const struct check_command *c = j->c;
    for (uint32_t seq = j->seq; seq-- > 0;) {
        c--;
        if (c->session != j->c->session || (is_exec(c) && !multi_failed(c)))
            return false;
        if (is_exec(c) && c->watched)
            return true;
    }
    return false;
}

/* Behind a MULTI that was refused it is a command like others, for the key that EXEC has it for. */
static bool is_right_alone(const struct judgement *j)
{
    const struct check_command *exec = j->c;
    while (!is_exec(exec))
        exec++;
    if (!multi_failed(exec))
        return false;
    const struct answer_item *top = &j->a->top;
    const struct check_part *p = &exec->parts[exec->part_count - (uint32_t)(exec - j->c)];
    bool known = j->k->options->proxy.hash_tags;
    if (exec->kind == CHECK_EXEC_SET)
        return text_is(top, "OK") && (!known || p->outcome == OUTCOME_OK);
    if (top->null || top->type != '$')
        return top->null && (!known || p->outcome == OUTCOME_NIL);
    return !known || (p->outcome == OUTCOME_BULK && p->len == top->len &&
                      p->value == check_digest(top->text, top->len));
}

/* Its keys had another owner when it began, or one of its commands was refused. */
static void judge_abort(const struct judgement *j)
{
    bool may_abort = j->k->view_count > 1 || j->k->options->tight || j->k->options->starved;
    j->c->failed = true;
    if (!is_exec(j->c) || (!may_abort && !queued_failed(j->c)))
        wrong(j, "nothing has aborted it");
}

static void judge_error(const struct judgement *j)
{
    const struct answer_item *top = &j->a->top;
    enum check_kind kind = j->c->kind;
    if (check_kind_is_of_all(kind)) {
        judge_error_of_all(j);
        return;
    }
    if (starts_with(top, "CROSSSLOT ")) {
        bool differ =
            kind == CHECK_SUNION &&
            (j->k->view_count > 1 || j->c->parts[0].key.number != j->c->parts[1].key.number);
        if (!differ)
            wrong(j, "its keys are on one node");
        return;
    }
    if (starts_with(top, "EXECABORT ")) {
        judge_abort(j);
        return;
    }
    if (starts_with(top, "ERR EXEC without MULTI") && is_exec(j->c) && multi_failed(j->c)) {
        j->c->failed = true;
        return;
    }
    if (starts_with(top, "ERR sumcache: ")) {
        j->k->failures_told++;
        j->c->failed = true;
        if (is_too_long(j, top) || has_moved_inside(j, top))
            return;
        bool ours = starts_with(top, "ERR sumcache: out of buffer memory");
        if (j->k->options->starved && starts_with(top, "ERR sumcache: out of buffer memory"))
            return;
        if (kind == CHECK_WATCH && starts_with(top, "ERR sumcache: too many clients watch") &&
            j->k->options->proxy.private_max < SIM_CLIENTS_MAX)
            return;
        bool full = contains(top, " has too much in flight (limits.node_requests");
        if (!any_may_fail(j) || (j->c->strict && !full))
            wrong(j, "its nodes are well");
        else if (is_read(kind) && !j->c->errors && !(ours && j->k->options->tight))
            wrong(j, "a failed read is to be a miss");
        return;
    }
    if (starts_with(top, "WRONGTYPE ") || starts_with(top, "LOADING ") ||
        starts_with(top, "OOM ")) {
        if (!any_outcome_is(j->c, OUTCOME_ERROR) && j->k->options->proxy.hash_tags)
            wrong(j, "no node said that");
        return;
    }
    if (starts_with(top, "ERR Protocol error: invalid bulk length") && j->k->options->early) {
        j->c->failed = true;
        if (!any_may_fail(j))
            wrong(j, "its nodes are well");
        return;
    }
    wrong(j, "an error that nothing explains");
}

/* One value that stands for one key: GET, or an element of MGET. */
static void judge_value(const struct judgement *j, const struct check_part *p,
                        const struct answer_item *item)
{
    bool known = j->k->options->proxy.hash_tags;
    if (item->null) {
        if (item->type != (j->c->proto == 3 ? '_' : '$'))
            wrong(j, "a nil of the other RESP version");
        bool wrong_type = j->c->kind == CHECK_MGET && p->key.class == KEY_HASH;
        if (known && p->outcome != OUTCOME_NIL && !wrong_type && !may_be_masked(j, p))
            wrong(j, p->outcome == OUTCOME_NONE ? "a miss, but no node was asked"
                                                : "a miss, but the node had a value");
        if (known && p->outcome != OUTCOME_NIL) {
            j->k->masked++;
            j->c->failed = true;
        }
        return;
    }
    if (item->type != '$') {
        wrong(j, "not a bulk string");
        return;
    }
    struct check_key writer;
    if (p->key.class == KEY_STRING && item->len > 0 &&
        (!check_value_parse(item->text, item->len, &writer) || writer.class != p->key.class ||
         writer.number != p->key.number))
        wrong(j, "a value that nobody wrote to this key");
    if (known && (p->outcome != OUTCOME_BULK || p->len != item->len ||
                  p->value != check_digest(item->text, item->len)))
        wrong(j, p->outcome == OUTCOME_NONE ? "a value, but no node was asked"
                                            : "not the value that the node gave");
    stale_judge(j->k, j->client, j->seq, (uint32_t)(p - j->c->parts), item->text, item->len);
}

static void judge_mget(const struct judgement *j)
{
    const struct answer *a = j->a;
    if (a->top.type != '*' || a->item_count != j->c->part_count) {
        wrong(j, "not an array of as many elements as keys");
        return;
    }
    for (uint32_t i = 0; i < a->item_count && !j->k->failed; i++)
        judge_value(j, &j->c->parts[i], &a->items[i]);
}

static void judge_number(const struct judgement *j)
{
    const struct check_part *p = &j->c->parts[0];
    if (j->a->top.type != ':') {
        wrong(j, "not an integer");
        return;
    }
    if (!j->k->options->proxy.hash_tags)
        return;
    if (p->outcome == OUTCOME_NUMBER && (int64_t)p->value == j->a->top.number)
        return;
    if (j->a->top.number == 0 && may_be_masked(j, p)) {
        j->k->masked++;
        j->c->failed = true;
    } else {
        wrong(j, p->outcome == OUTCOME_NONE ? "but no node was asked" : "the node said otherwise");
    }
}

/* DEL, UNLINK, EXISTS, TOUCH: the sum over the keys; a part that failed counts for nothing if the
 * command may be masked, else it is an error. */
static void judge_sum(const struct judgement *j)
{
    if (j->a->top.type != ':') {
        wrong(j, "not an integer");
        return;
    }
    if (!j->k->options->proxy.hash_tags)
        return;
    int64_t least = 0, most = 0;
    for (uint32_t i = 0; i < j->c->part_count; i++) {
        const struct check_part *p = &j->c->parts[i];
        bool optional = may_be_masked(j, p);
        if (p->outcome == OUTCOME_NUMBER)
            most += (int64_t)p->value;
        if (p->outcome == OUTCOME_NUMBER && !optional)
            least += (int64_t)p->value;
        if (p->outcome != OUTCOME_NUMBER && !optional)
            wrong(j, "a part of it was not done");
        if (p->outcome != OUTCOME_NUMBER)
            j->c->failed = true;
    }
    if (j->a->top.number < least || j->a->top.number > most)
        wrong(j, "not the sum of what the nodes said");
}

static void judge_ok(const struct judgement *j)
{
    if (j->a->top.type != '+' || !text_is(&j->a->top, "OK"))
        wrong(j, "not +OK");
    else if (j->k->options->proxy.hash_tags && !all_outcomes_are(j->c, OUTCOME_OK))
        wrong(j, "OK, but a part of it was not done");
}

/* One element for each command; they were all done, or none. */
static void judge_exec(const struct judgement *j)
{
    const struct answer *a = j->a;
    if (a->top.null && is_behind_watch(j) && a->top.type == (j->c->proto == 3 ? '_' : '*')) {
        j->c->failed = true;
        if (j->k->options->proxy.hash_tags && !all_outcomes_are(j->c, OUTCOME_NONE))
            wrong(j, "nil, but some of it was done");
        return;
    }
    if (a->top.type != '*' || a->top.null || a->item_count != j->c->part_count) {
        wrong(j, "not an array of as many elements as commands");
        return;
    }
    if (multi_failed(j->c) || queued_failed(j->c)) {
        wrong(j, "done, though a part of it was refused");
        return;
    }
    for (uint32_t i = 0; i < a->item_count && !j->k->failed; i++) {
        const struct check_part *p = &j->c->parts[i];
        const struct answer_item *item = &a->items[i];
        bool known = j->k->options->proxy.hash_tags;
        if (item->type == '-' && known && p->outcome != OUTCOME_ERROR)
            wrong(j, "an error that the node did not tell");
        else if (item->type != '-' && j->c->kind == CHECK_EXEC_GET)
            judge_value(j, p, item);
        else if (item->type != '-' && (!text_is(item, "OK") || (known && p->outcome != OUTCOME_OK)))
            wrong(j, "OK, but a part of it was not done");
    }
}

static void judge_map(const struct judgement *j, char type3)
{
    const struct check_part *p = &j->c->parts[0];
    const struct answer *a = j->a;
    if (a->top.type != (j->c->proto == 3 ? type3 : '*')) {
        wrong(j, "not what this RESP version calls for");
        return;
    }
    if (!j->k->options->proxy.hash_tags)
        return;
    if (a->item_count == 0) {
        bool masked = false; /* each of the keys of SUNION may be the reason */
        for (uint32_t i = 0; i < j->c->part_count; i++)
            masked = masked || may_be_masked(j, &j->c->parts[i]);
        if (p->outcome != OUTCOME_EMPTY && !masked)
            wrong(j, "empty, but the node did not say so");
        if (p->outcome != OUTCOME_EMPTY)
            j->c->failed = true;
        return;
    }
    char name[16];
    snprintf(name, sizeof(name), "%c%u", p->key.class, p->key.number);
    if (p->outcome != OUTCOME_MAP || a->item_count != 2 || !text_is(&a->items[1], name))
        wrong(j, "not the hash of this key");
}

static void judge_hello(const struct judgement *j)
{
    const struct answer *a = j->a;
    if (a->top.type != (j->c->argument == 3 ? '%' : '*')) {
        wrong(j, "HELLO answers in the version it asks for");
        return;
    }
    for (uint32_t i = 0; i + 1 < a->item_count && i + 1 < ANSWER_ITEMS_MAX; i += 2) {
        if (text_is(&a->items[i], "proto")) {
            if (a->items[i + 1].number != j->c->argument)
                wrong(j, "another version than asked for");
            return;
        }
    }
    wrong(j, "no proto in it");
}

/* ECHO of a value as long as large ones are. */
static void judge_echo(const struct judgement *j)
{
    const struct answer_item *top = &j->a->top;
    if (top->type == '-' && is_too_long(j, top))
        return;
    struct check_key writer;
    if (top->type != '$' || (int64_t)top->len != j->c->argument ||
        !check_value_parse(top->text, top->len, &writer) || writer.client != j->client ||
        writer.seq != j->seq)
        wrong(j, "not the answer to this command");
}

static void judge_local(const struct judgement *j)
{
    const struct answer_item *top = &j->a->top;
    char text[64];
    snprintf(text, sizeof(text), "echo-%u-%" PRId64, j->client, j->c->argument);
    bool right = false;
    bool short_of_memory = j->k->options->tight || j->k->options->starved;
    j->c->failed = top->type == '-';
    if (short_of_memory && top->type == '-' &&
        starts_with(top, "ERR sumcache: out of buffer memory"))
        return;
    switch ((enum check_kind)j->c->kind) {
    case CHECK_PING:
        right = top->type == '+' && text_is(top, "PONG");
        break;
    case CHECK_PING_TEXT:
    case CHECK_ECHO:
        right = top->type == '$' && text_is(top, text);
        break;
    case CHECK_FAILURES:
    case CHECK_SELECT:
    case CHECK_QUIT:
        right = top->type == '+' && text_is(top, "OK");
        break;
    case CHECK_MULTI:
        right = top->type == '+' && text_is(top, "OK");
        break;
    case CHECK_QUEUED: /* the owner of its key may just have changed */
        right = (top->type == '+' && text_is(top, "QUEUED")) ||
                (j->k->options->proxy.transaction_commands_max < SIM_TRANSACTION_MAX &&
                 starts_with(top, "ERR sumcache: limits.transaction_commands")) ||
                (j->k->view_count > 1 && top->type == '-' && starts_with(top, "CROSSSLOT ")) ||
                (top->type == '-' && is_too_long(j, top)) || is_right_alone(j);
        break;
    case CHECK_CLIENT_ID:
        right = top->type == ':' && top->number > 0;
        break;
    case CHECK_UNKNOWN:
        snprintf(text, sizeof(text), "ERR unknown command 'xyzzy%" PRId64 "', with args beginning",
                 j->c->argument);
        right = top->type == '-' && starts_with(top, text);
        break;
    case CHECK_REFUSED:
        right = top->type == '-' && starts_with(top, "ERR sumcache: '");
        break;
    case CHECK_ARITY:
        right = top->type == '-' && starts_with(top, "ERR wrong number of arguments for '");
        break;
    case CHECK_MALFORMED:
        right = top->type == '-' && starts_with(top, "ERR Protocol error");
        break;
    case CHECK_ECHO_LARGE:
        judge_echo(j);
        return;
    case CHECK_HELLO:
        judge_hello(j);
        return;
    default:
        unreachable();
    }
    if (!right)
        wrong(j, "not the answer to this command");
}

static bool is_key(const struct answer_item *item)
{
    struct check_key key;
    return item->type == '$' && !item->null && check_key_parse(item->text, item->len, &key);
}

/* What is named is a key of ours, and none of the proxy's own. */
static void judge_names(const struct judgement *j)
{
    const struct answer *a = j->a;
    bool right = false;
    switch ((enum check_kind)j->c->kind) {
    case CHECK_COUNT_ALL:
        right = a->top.type == ':' && a->top.number >= 0;
        break;
    case CHECK_NAME_SOME:
        right = a->top.type == '*' && a->item_count == 2 && a->items[0].type == '$' &&
                a->items[1].type == '*';
        break;
    case CHECK_NAME_ONE:
        right = a->top.null ? a->top.type == (j->c->proto == 3 ? '_' : '$') : is_key(&a->top);
        break;
    default:
        right = a->top.type == '*';
        for (uint32_t i = 0; i < a->item_count && i < ANSWER_ITEMS_MAX; i++)
            right = right && is_key(&a->items[i]);
    }
    if (!right)
        wrong(j, "not the answer to this command");
}

static void judge_node_answer(const struct judgement *j)
{
    switch ((enum check_kind)j->c->kind) {
    case CHECK_GET:
        judge_value(j, &j->c->parts[0], &j->a->top);
        return;
    case CHECK_MGET:
        judge_mget(j);
        return;
    case CHECK_SET:
    case CHECK_SETEX:
    case CHECK_MSET:
    case CHECK_WATCH:
        judge_ok(j);
        return;
    case CHECK_INCR:
    case CHECK_APPEND:
    case CHECK_STRLEN:
        judge_number(j);
        return;
    case CHECK_DEL:
    case CHECK_UNLINK:
    case CHECK_EXISTS:
    case CHECK_TOUCH:
        judge_sum(j);
        return;
    case CHECK_HGETALL:
        judge_map(j, '%');
        return;
    case CHECK_SUNION:
        judge_map(j, '~');
        return;
    case CHECK_COUNT_ALL:
    case CHECK_NAME_ALL:
    case CHECK_NAME_SOME:
    case CHECK_NAME_ONE:
        judge_names(j);
        return;
    case CHECK_FLUSH: /* what it has left is for stale.h to tell */
        if (j->a->top.type != '+' || !text_is(&j->a->top, "OK"))
            wrong(j, "not +OK");
        return;
    case CHECK_EXEC_GET:
    case CHECK_EXEC_SET:
        judge_exec(j);
        return;
    default:
        unreachable();
    }
}

/* … and of EXEC each command. */
static bool was_done(const struct check_command *c, const struct answer *a)
{
    bool done = a->top.type != '-' && !(c->kind == CHECK_EXEC_SET && a->top.null);
    for (uint32_t i = 0; c->kind == CHECK_EXEC_SET && i < a->item_count && i < ANSWER_ITEMS_MAX;
         i++)
        done = done && a->items[i].type != '-';
    return done;
}

void checker_judge(struct checker *k, unsigned client, uint32_t seq, const struct answer *a)
{
    struct check_command *c = checker_find(k, client, seq);
    must(c && !c->answered);
    c->answered = true;
    c->answered_at = io_sim_now(k->world);
    k->judged++;
    struct judgement j = {k, client, seq, c, a};
    io_sim_note(k->world, TRACE_REPLY, client, seq, a->top.type, KIND_NAMES[c->kind]);
    bool tainted = checker_is_tainted(k, c);
    stale_answered(k, c, was_done(c, a), !tainted);
    if (check_kind_is_local((enum check_kind)c->kind))
        judge_local(&j);
    else if (c->vague || tainted)
        return;
    else if (a->top.type == '-')
        judge_error(&j);
    else
        judge_node_answer(&j);
}
