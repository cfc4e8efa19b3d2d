/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_commands.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool has_value(enum config_commands_list list)
{
    return list == CONFIG_COMMANDS_RENAME || list == CONFIG_COMMANDS_UNKNOWN;
}

void config_commands_clear(struct config_commands *c, enum config_commands_list list)
{
    c->lists[list].count = 0;
}

static struct str trim(struct str s)
{
    for (; s.len > 0 && *s.p == ' '; s.len--)
        s.p++;
    while (s.len > 0 && s.p[s.len - 1] == ' ')
        s.len--;
    return s;
}

/* Takes the first number off `text`; 0 where there is none left: no number of a place is 0. */
static int next_number(struct str *text, int64_t *ret)
{
    *text = trim(*text);
    *ret = 0;
    if (text->len == 0)
        return 0;
    const char *blank = memchr(text->p, ' ', text->len);
    struct str word = {text->p, blank ? (size_t)(blank - text->p) : text->len};
    *text = (struct str){word.p + word.len, text->len - word.len};
    int err = str_to_i64(word, ret);
    return err || *ret == 0 || *ret < INT16_MIN || *ret > INT16_MAX ? -EINVAL : 0;
}

static int add_unknown(struct command_rules *rules, const struct config_command *item)
{
    struct str text = str_of(item->value);
    int64_t first, last, step;
    if (next_number(&text, &first) != 0 || next_number(&text, &last) != 0 ||
        next_number(&text, &step) != 0 || trim(text).len > 0)
        return -EINVAL;
    return command_rules_add(rules, str_of(item->name), (int)first, (int)(last ? last : first),
                             (int)(step ? step : 1));
}

static int apply_one(struct command_rules *rules, enum config_commands_list list,
                     const struct config_command *item)
{
    switch (list) {
    case CONFIG_COMMANDS_ALLOW:
        return command_rules_allow(rules, str_of(item->name));
    case CONFIG_COMMANDS_DENY:
        return command_rules_deny(rules, str_of(item->name));
    case CONFIG_COMMANDS_RENAME:
        return command_rules_rename(rules, str_of(item->name), str_of(item->value));
    case CONFIG_COMMANDS_UNKNOWN:
        return add_unknown(rules, item);
    case CONFIG_COMMANDS_LISTS:
        break;
    }
    return -EINVAL;
}

/* Rules are few and made at start-up only: all of them anew is simpler than taking one back. */
static int apply_all(const struct config_commands *c, struct command_rules *rules)
{
    int err = 0;
    command_rules_fini(rules);
    command_rules_init(rules);
    for (unsigned list = 0; list < CONFIG_COMMANDS_LISTS && !err; list++)
        for (uint32_t i = 0; i < c->lists[list].count && !err; i++)
            err = apply_one(rules, (enum config_commands_list)list, &c->lists[list].items[i]);
    return err;
}

static const char *expected(enum config_commands_list list, int err)
{
    switch (err) {
    case -ENOENT:
        return "expected the name of a command (a subcommand: 'config|set')";
    case -EPERM:
        return "expected no command that is for one node alone, whatever is allowed";
    case -ENOSPC:
        return "expected at most 128 commands, in commands.rename and commands.unknown together";
    case -EEXIST:
        return list == CONFIG_COMMANDS_RENAME
                   ? "expected a command not renamed yet, and a name no command has"
                   : "expected a name no command has";
    default:
        break;
    }
    switch (list) {
    case CONFIG_COMMANDS_ALLOW:
        return "expected all, or a command that is shut without this, such as flushall";
    case CONFIG_COMMANDS_RENAME:
        return "expected COMMAND: NEW-NAME; a subcommand keeps its name";
    default:
        return "expected NAME: FIRST [LAST [STEP]], the places of its keys, from 1 to 64";
    }
}

/* Printed, it stands between double quotes. */
static bool is_plain(struct str s)
{
    bool plain = s.len > 0 && s.len <= COMMAND_RULES_NAME_MAX;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = s.p[i] >= ' ' && s.p[i] <= '~' && s.p[i] != '"' && s.p[i] != '\\';
    return plain;
}

int config_commands_add(struct config_commands *c, enum config_commands_list list, struct str item,
                        struct command_rules *rules, char why[CONFIG_COMMANDS_WHY_MAX])
{
    struct config_commands_items *to = &c->lists[list];
    struct str name = trim(item), value = {0};
    const char *colon = has_value(list) && item.len > 0 ? memchr(item.p, ':', item.len) : NULL;
    if (colon) {
        name = trim((struct str){item.p, (size_t)(colon - item.p)});
        value = trim((struct str){colon + 1, item.len - (size_t)(colon - item.p) - 1});
    }
    int err = !is_plain(name) || (has_value(list) && !is_plain(value)) ? -EINVAL : 0;
    if (!err && to->count == CONFIG_COMMANDS_MAX)
        err = -ENOSPC;
    if (!err) {
        struct config_command *added = &to->items[to->count++];
        str_fill(added->name, sizeof(added->name), name);
        str_fill(added->value, sizeof(added->value), value);
        err = apply_all(c, rules);
    }
    if (err == 0 || err == -ENOMEM)
        return err;
    if (err == -EINVAL && !has_value(list) && !is_plain(name))
        err = -ENOENT;
    snprintf(why, CONFIG_COMMANDS_WHY_MAX, "%s", expected(list, err));
    return -EINVAL;
}

const char *config_commands_item(const struct config_commands *c, enum config_commands_list list,
                                 uint32_t index, char *to, size_t size)
{
    if (index >= c->lists[list].count)
        return NULL;
    const struct config_command *item = &c->lists[list].items[index];
    if (!has_value(list))
        return item->name;
    snprintf(to, size, "\"%s\": \"%s\"", item->name, item->value);
    return to;
}
