/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/command_reply.h"

#include "proxy/worker_internal.h"
#include "resp/command_facts.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_MAX = 2 * COMMAND_RULES_NAME_MAX + 2, /* a container's new name, '|', a subcommand */
    WORDS_MAX = 8,                             /* in a text of words, such as key flags */
};

static const struct command_rules *rules_of(const struct client *c)
{
    return &c->worker->settings->commands;
}

static struct str arg(struct client *c, size_t index)
{
    return args_str(&c->worker->args, index);
}

/* ---- which commands, and by what names ---- */

/* May a client of ours use it? A container is worth what its subcommands are. */
static bool is_offered(const struct client *c, const struct command *command)
{
    if (rules_of(c)->of[command->id] & (RULE_SHUT | RULE_DENIED))
        return false;
    if (command->way != COMMAND_REFUSE || !(command->flags & COMMAND_CONTAINER))
        return command->way != COMMAND_REFUSE;
    size_t len = strlen(command->name);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *sub = command_at(i);
        if (strncmp(sub->name, command->name, len) == 0 && sub->name[len] == '|' &&
            is_offered(c, sub))
            return true;
    }
    return false;
}

static struct str name_of(const struct client *c, const struct command *command, char to[NAME_MAX])
{
    const char *bar = strchr(command->name, '|');
    if (!bar)
        return str_of(command_rules_name(rules_of(c), command));
    struct str head = {command->name, (size_t)(bar - command->name)};
    const char *container = command_rules_name(rules_of(c), command_find_name(head));
    int len = snprintf(to, NAME_MAX, "%s%s", container, bar);
    return (struct str){to, (size_t)len};
}

/* All that are offered, with subcommands or without, one after the other; NULL behind the last. */
static const struct command *next_offered(const struct client *c, size_t *at, bool subcommands)
{
    size_t added = command_rules_added(rules_of(c));
    while (*at < command_count()) {
        const struct command *command = command_at((*at)++);
        if ((subcommands || !(command->flags & COMMAND_SUBCOMMAND)) && is_offered(c, command))
            return command;
    }
    if (*at < command_count() + added)
        return command_rules_added_at(rules_of(c), (*at)++ - command_count());
    return NULL;
}

static size_t offered_count(const struct client *c)
{
    size_t at = 0, count = 0;
    while (next_offered(c, &at, false))
        count++;
    return count;
}

/* ---- COMMAND INFO ---- */

/* The words of a text that are not empty; returns how many. */
static size_t split(const char *text, struct str words[WORDS_MAX])
{
    size_t count = 0;
    while (*text != '\0' && count < WORDS_MAX) {
        size_t len = strcspn(text, " ");
        words[count++] = (struct str){text, len};
        text += len + (text[len] == ' ');
    }
    return count;
}

static void write_words(struct reply_out *o, const char *text)
{
    struct str words[WORDS_MAX];
    size_t count = split(text, words);
    reply_set(o, count);
    for (size_t i = 0; i < count; i++) {
        char word[32];
        reply_simple(o, str_fill(word, sizeof(word), words[i]));
    }
}

static bool has_movable_keys(const struct command *command)
{
    return command->keys != KEYS_NONE && command->keys != KEYS_RANGE && command->keys < KEYS_COPY;
}

/* Those of Redis's flags that say what to do with a command; we do not have the others. */
static void write_flags(struct reply_out *o, const struct command *command)
{
    const struct {
        bool is;
        const char *name;
    } flags[] = {
        {command->flags & COMMAND_WRITE, "write"},
        {command->flags & COMMAND_READ, "readonly"},
        {command->flags & COMMAND_BLOCKS, "blocking"},
        {command->flags & COMMAND_KEYS_OPTIONAL, "no_mandatory_keys"},
        {has_movable_keys(command), "movablekeys"},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        count += flags[i].is;
    reply_set(o, count);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (flags[i].is)
            reply_simple(o, flags[i].name);
}

static void write_tips(struct reply_out *o, const struct command *command)
{
    static const char *const REQUESTS[] = {
        [REQUEST_DEFAULT] = NULL,
        [REQUEST_ALL_NODES] = "request_policy:all_nodes",
        [REQUEST_ALL_SHARDS] = "request_policy:all_shards",
        [REQUEST_MULTI_SHARD] = "request_policy:multi_shard",
        [REQUEST_SPECIAL] = "request_policy:special",
    };
    static const char *const RESPONSES[] = {
        [RESPONSE_DEFAULT] = NULL,
        [RESPONSE_ONE_SUCCEEDED] = "response_policy:one_succeeded",
        [RESPONSE_ALL_SUCCEEDED] = "response_policy:all_succeeded",
        [RESPONSE_AGG_LOGICAL_AND] = "response_policy:agg_logical_and",
        [RESPONSE_AGG_LOGICAL_OR] = "response_policy:agg_logical_or",
        [RESPONSE_AGG_MIN] = "response_policy:agg_min",
        [RESPONSE_AGG_MAX] = "response_policy:agg_max",
        [RESPONSE_AGG_SUM] = "response_policy:agg_sum",
        [RESPONSE_SPECIAL] = "response_policy:special",
    };
    const char *request = REQUESTS[command->request_policy];
    const char *response = RESPONSES[command->response_policy];
    reply_set(o, (size_t)(request != NULL) + (response != NULL));
    if (request)
        reply_bulk(o, str_of(request));
    if (response)
        reply_bulk(o, str_of(response));
}

static void write_pair(struct reply_out *o, const char *name, int value)
{
    reply_bulk(o, str_of(name));
    reply_int(o, value);
}

static void write_type(struct reply_out *o, const char *type, size_t pairs)
{
    reply_map(o, 2);
    reply_bulk(o, STR("type"));
    reply_bulk(o, str_of(type));
    reply_bulk(o, STR("spec"));
    reply_map(o, pairs);
}

/* One key specification, down to "find_keys", whose map is to follow. */
static void begin_spec(struct reply_out *o, const char *flags, const char *keyword, int place)
{
    reply_map(o, 3);
    reply_bulk(o, STR("flags"));
    write_words(o, flags);
    reply_bulk(o, STR("begin_search"));
    write_type(o, keyword ? "keyword" : "index", keyword ? 2 : 1);
    if (keyword) {
        reply_bulk(o, STR("keyword"));
        reply_bulk(o, str_of(keyword));
        write_pair(o, "startfrom", place);
    } else {
        write_pair(o, "index", place);
    }
    reply_bulk(o, STR("find_keys"));
}

static void write_range(struct reply_out *o, int last, int step, int limit)
{
    write_type(o, "range", 3);
    write_pair(o, "lastkey", last);
    write_pair(o, "keystep", step);
    write_pair(o, "limit", limit);
}

static void write_index_spec(struct reply_out *o, const char *flags, int index)
{
    begin_spec(o, flags, NULL, index);
    write_range(o, 0, 1, 0);
}

static void write_keyword_spec(struct reply_out *o, const char *flags, const char *word, int from,
                               int last, int limit)
{
    begin_spec(o, flags, word, from);
    write_range(o, last, 1, limit);
}

static void write_count_spec(struct reply_out *o, const char *flags, int index, int step)
{
    begin_spec(o, flags, NULL, index);
    write_type(o, "keynum", 3);
    write_pair(o, "keynumidx", 0);
    write_pair(o, "firstkey", 1);
    write_pair(o, "keystep", step);
}

static void write_unknown_spec(struct reply_out *o, const char *flags)
{
    reply_map(o, 3);
    reply_bulk(o, STR("flags"));
    write_words(o, flags);
    reply_bulk(o, STR("begin_search"));
    write_type(o, "unknown", 0);
    reply_bulk(o, STR("find_keys"));
    write_type(o, "unknown", 0);
}

/* Keys one after the other, of which the first may be used in another way than the rest. */
static void write_range_specs(struct reply_out *o, const struct command *command,
                              const struct command_facts *facts)
{
    bool two = strcmp(facts->first_key, facts->other_keys) != 0;
    reply_set(o, two ? 2 : 1);
    if (two)
        write_index_spec(o, facts->first_key, command->first);
    const int begin = command->first + (two ? command->step : 0);
    begin_spec(o, facts->other_keys, NULL, begin);
    write_range(o, command->last < 0 ? command->last : command->last - begin, command->step, 0);
}

/* As Redis has them, but for its notes. */
static void write_key_specs(struct reply_out *o, const struct command *command)
{
    const struct command_facts *facts = command_facts(command);
    const char *first = facts->first_key, *others = facts->other_keys;
    switch ((enum command_keys)command->keys) {
    case KEYS_NONE:
        reply_set(o, 0);
        return;
    case KEYS_RANGE:
        write_range_specs(o, command, facts);
        return;
    case KEYS_NUM:
    case KEYS_NUM_PAIRS:
        reply_set(o, 1);
        write_count_spec(o, first, 1, command->keys == KEYS_NUM_PAIRS ? 2 : 1);
        return;
    case KEYS_NUM_AT_2:
        reply_set(o, 1);
        write_count_spec(o, first, 2, 1);
        return;
    case KEYS_NUM_STORE:
        reply_set(o, 2);
        write_index_spec(o, first, 1);
        write_count_spec(o, others, 2, 1);
        return;
    case KEYS_SORT:
        reply_set(o, command->id == COMMAND_ID_SORT ? 3 : 2);
        write_index_spec(o, first, 1);
        write_unknown_spec(o, first);
        if (command->id == COMMAND_ID_SORT)
            write_unknown_spec(o, others);
        return;
    case KEYS_GEORADIUS:
        reply_set(o, 3);
        write_index_spec(o, first, 1);
        write_keyword_spec(o, others, "STORE", -command->arity, 0, 0);
        write_keyword_spec(o, others, "STOREDIST", -command->arity, 0, 0);
        return;
    case KEYS_STREAMS: {
        int from = command->id == COMMAND_ID_XREAD ? 1 : 4;
        reply_set(o, 1);
        write_keyword_spec(o, first, "STREAMS", from, -1, 2);
        return;
    }
    case KEYS_MIGRATE:
        reply_set(o, 2);
        write_index_spec(o, first, 3);
        write_keyword_spec(o, others, "KEYS", -2, -1, 0);
        return;
    case KEYS_COPY:
        reply_set(o, 2);
        write_index_spec(o, first, 1);
        write_index_spec(o, others, 2);
        return;
    case KEYS_MOVE:
        reply_set(o, 1);
        write_index_spec(o, first, 1);
        return;
    }
}

static bool is_subcommand(const struct command *sub, const struct command *of)
{
    size_t len = strlen(of->name);
    return strncmp(sub->name, of->name, len) == 0 && sub->name[len] == '|';
}

/* ACL categories are left empty: there are no ACLs. */
static void write_info(struct client *c, struct reply_out *o, const struct command *command,
                       bool subcommands)
{
    char name[NAME_MAX];
    reply_array(o, 10);
    reply_bulk(o, name_of(c, command, name));
    reply_int(o, command->arity);
    write_flags(o, command);
    reply_int(o, command->first);
    reply_int(o, command->last);
    reply_int(o, command->step);
    reply_set(o, 0);
    write_tips(o, command);
    write_key_specs(o, command);
    size_t count = 0;
    bool nested = subcommands && command->flags & COMMAND_CONTAINER;
    for (size_t i = 0; nested && i < command_count(); i++)
        count += is_subcommand(command_at(i), command) && is_offered(c, command_at(i));
    if (count == 0)
        reply_set(o, 0);
    else
        reply_array(o, count);
    for (size_t i = 0; count > 0 && i < command_count(); i++)
        if (is_subcommand(command_at(i), command) && is_offered(c, command_at(i)))
            write_info(c, o, command_at(i), false);
}

static void answer_info(struct client *c, struct reply_out *o, size_t first_name)
{
    size_t count = c->worker->args.count;
    if (count <= first_name) {
        const struct command *command;
        reply_array(o, offered_count(c));
        for (size_t at = 0; (command = next_offered(c, &at, false));)
            write_info(c, o, command, true);
        return;
    }
    reply_array(o, count - first_name);
    for (size_t i = first_name; i < count; i++) {
        const struct command *asked = command_rules_find_name(rules_of(c), arg(c, i));
        if (asked)
            write_info(c, o, asked, true);
        else
            reply_null(o); /* not a null array: redis-server 7.0 has it so */
    }
}

/* ---- COMMAND DOCS ---- */

/* Not what Redis's manual says, for that is known, but what becomes of it here. */
static const char *summary_of(const struct client *c, const struct command *command)
{
    uint8_t rule = rules_of(c)->of[command->id];
    if (rule & RULE_DENIED)
        return "Denied by commands.deny.";
    if (rule & RULE_SHUT)
        return "Shut; the operator may open it by commands.allow.";
    switch ((enum command_way)command->way) {
    case COMMAND_FORWARD:
        return "Sent to the node of its keys, which have to be on one node.";
    case COMMAND_SPLIT:
        return "Split over the nodes of its keys.";
    case COMMAND_LOCAL:
        return "Answered by the proxy.";
    case COMMAND_PUBSUB:
        return "Of publish and subscribe, over all nodes.";
    case COMMAND_SESSION:
        return "Of a transaction, or of what a client waits for.";
    case COMMAND_REFUSE:
        return command->flags & COMMAND_CONTAINER ? "A container of subcommands." : "Refused.";
    default:
        return "Answered by the proxy for all nodes.";
    }
}

static void write_docs(struct client *c, struct reply_out *o, const struct command *command)
{
    const struct command_facts *facts = command_facts(command);
    char name[NAME_MAX];
    bool known = *facts->group != '\0';
    reply_bulk(o, name_of(c, command, name));
    reply_map(o, known ? 3 : 1);
    reply_bulk(o, STR("summary"));
    reply_bulk(o, str_of(summary_of(c, command)));
    if (!known)
        return;
    reply_bulk(o, STR("since"));
    reply_bulk(o, str_of(facts->since));
    reply_bulk(o, STR("group"));
    reply_bulk(o, str_of(facts->group));
}

static void answer_docs(struct client *c, struct reply_out *o)
{
    const struct command *command;
    size_t count = c->worker->args.count, found = 0;
    if (count == 2) {
        reply_map(o, offered_count(c));
        for (size_t at = 0; (command = next_offered(c, &at, false));)
            write_docs(c, o, command);
        return;
    }
    for (size_t i = 2; i < count; i++)
        found += command_rules_find_name(rules_of(c), arg(c, i)) != NULL;
    reply_map(o, found);
    for (size_t i = 2; i < count; i++)
        if ((command = command_rules_find_name(rules_of(c), arg(c, i))))
            write_docs(c, o, command);
}

/* ---- COMMAND LIST ---- */

enum filter { FILTER_NONE, FILTER_PATTERN, FILTER_CATEGORY, FILTER_MODULE };

static bool passes_filter(const struct client *c, const struct command *command, enum filter by,
                          const char *what)
{
    char name[NAME_MAX], text[NAME_MAX];
    switch (by) {
    case FILTER_NONE:
        return true;
    case FILTER_PATTERN:
        str_fill(text, sizeof(text), name_of(c, command, name));
        return fnmatch(what, text, FNM_CASEFOLD) == 0;
    case FILTER_CATEGORY:
        return (str_eq_nocase(str_of(what), STR("read")) && command->flags & COMMAND_READ) ||
               (str_eq_nocase(str_of(what), STR("write")) && command->flags & COMMAND_WRITE) ||
               (str_eq_nocase(str_of(what), STR("blocking")) && command->flags & COMMAND_BLOCKS);
    case FILTER_MODULE:
        break; /* nobody here knows modules */
    }
    return false;
}

static void answer_list(struct client *c, struct reply_out *o)
{
    const struct command *command;
    enum filter by = FILTER_NONE;
    char what[NAME_MAX] = "";
    size_t count = c->worker->args.count, found = 0;
    if (count == 5 && str_eq_nocase(arg(c, 2), STR("filterby"))) {
        struct str kind = arg(c, 3), value = arg(c, 4);
        by = str_eq_nocase(kind, STR("pattern"))  ? FILTER_PATTERN
             : str_eq_nocase(kind, STR("aclcat")) ? FILTER_CATEGORY
             : str_eq_nocase(kind, STR("module")) ? FILTER_MODULE
                                                  : FILTER_NONE;
        /* What is longer than any name matches none, nor does a part of it. */
        if (value.len < sizeof(what))
            str_fill(what, sizeof(what), value);
    }
    if (count > 2 && by == FILTER_NONE) {
        reply_error(o, "ERR syntax error");
        return;
    }
    bool subcommands = by != FILTER_NONE;
    for (size_t at = 0; (command = next_offered(c, &at, subcommands));)
        found += passes_filter(c, command, by, what);
    reply_array(o, found);
    for (size_t at = 0; (command = next_offered(c, &at, subcommands));) {
        char name[NAME_MAX];
        if (passes_filter(c, command, by, what))
            reply_bulk(o, name_of(c, command, name));
    }
}

/* ---- COMMAND GETKEYS ---- */

static const struct command *find(const struct client *c, struct args *a)
{
    const struct command *command = command_find(a);
    if (command && !(rules_of(c)->of[command->id] & RULE_RENAMED))
        return command;
    return command_rules_find(rules_of(c), a);
}

/* What is done to key `index`; of two commands their options say. */
static const char *key_flags(const struct command *command, struct args *a, size_t index)
{
    const struct command_facts *facts = command_facts(command);
    bool gets = false, other = false;
    if (command->id == COMMAND_ID_SET) {
        for (size_t i = 3; i < a->count; i++)
            gets = gets || str_eq_nocase(args_str(a, i), STR("get"));
        return gets ? "RW access update" : "OW update";
    }
    if (command->id == COMMAND_ID_BITFIELD) {
        for (size_t i = 2; i + 2 < a->count; i += 3) {
            bool is_get = str_eq_nocase(args_str(a, i), STR("get"));
            other = other || !is_get;
        }
        return other ? "RW access update" : "RO access";
    }
    return index == 0 ? facts->first_key : facts->other_keys;
}

static void write_keys(struct client *c, struct reply_out *o, const struct command *command,
                       struct args *tail, bool flags)
{
    struct command_keys_found *k = &c->worker->keys;
    const char *refusal = NULL;
    int err = command_find_keys(command, tail, k, &refusal);
    bool found = err == 0 || err == -ENOTSUP; /* a form that we refuse has keys all the same */
    if (err == -ENOMEM) {
        failure_write(o, FAILURE_MEMORY, NULL);
    } else if (!found || (k->count == 0 && !(command->flags & COMMAND_KEYS_OPTIONAL))) {
        reply_error(o, "ERR Invalid arguments specified for command");
    } else {
        reply_array(o, k->count);
        for (size_t i = 0; i < k->count; i++) {
            if (flags)
                reply_array(o, 2);
            reply_bulk(o, args_str(tail, k->index[i]));
            if (flags)
                write_words(o, key_flags(command, tail, i));
        }
    }
}

static void answer_getkeys(struct client *c, struct reply_out *o, bool flags)
{
    struct args tail;
    if (args_tail(&c->worker->args, 2, &tail) != 0) {
        failure_write(o, FAILURE_MEMORY, NULL);
        return;
    }
    const struct command *command = find(c, &tail);
    if (!command || (command->flags & COMMAND_CONTAINER && tail.count > 1))
        reply_error(o, "ERR Invalid command specified");
    else if (command->keys == KEYS_NONE)
        reply_error(o, "ERR The command has no key arguments");
    else if (!command_arity_ok(command, tail.count))
        reply_error(o, "ERR Invalid number of arguments specified for command");
    else
        write_keys(c, o, command, &tail, flags);
    args_fini(&tail);
}

void command_reply(struct client *c, const struct command *command, struct reply_out *o)
{
    switch (command->id) {
    case COMMAND_ID_COMMAND_COUNT:
        reply_int(o, (int64_t)offered_count(c));
        return;
    case COMMAND_ID_COMMAND_DOCS:
        answer_docs(c, o);
        return;
    case COMMAND_ID_COMMAND_GETKEYS:
        answer_getkeys(c, o, false);
        return;
    case COMMAND_ID_COMMAND_GETKEYSANDFLAGS:
        answer_getkeys(c, o, true);
        return;
    case COMMAND_ID_COMMAND_LIST:
        answer_list(c, o);
        return;
    case COMMAND_ID_COMMAND:
    case COMMAND_ID_COMMAND_INFO:
        answer_info(c, o, 2);
        return;
    default:
        reply_array(o, 1);
        reply_simple(o, "COMMAND [COUNT | DOCS [name ...] | GETKEYS ... | GETKEYSANDFLAGS ... | "
                        "INFO [name ...] | LIST [FILTERBY ...] | HELP]");
        return;
    }
}
