/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/command_rules.h"

#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 4 * COMMAND_RULES_NAMES_MAX, /* at most a quarter is taken: probes stay short */
    PLACE_MAX = 64,                      /* of a key; arity is an int8_t */
};

struct entry {
    char name[COMMAND_RULES_NAME_MAX + 1]; /* lower case */
    const struct command *command;         /* of the table; NULL: `own` */
    struct command own;
};

struct command_rules_names {
    size_t count, added;
    struct entry entries[COMMAND_RULES_NAMES_MAX];
    uint16_t slots[SLOTS]; /* index + 1; 0: empty */
};

void command_rules_init(struct command_rules *r)
{
    *r = (struct command_rules){0};
    for (size_t i = 0; i < command_count(); i++)
        if (command_gate(command_at(i)) != GATE_OPEN)
            r->of[i] = RULE_SHUT;
}

void command_rules_fini(struct command_rules *r)
{
    free(r->names);
    *r = (struct command_rules){0};
}

/* Is it the command itself, or a subcommand of it? */
static bool is_part_of(const struct command *c, const struct command *of)
{
    size_t len = strlen(of->name);
    return c == of || (of->flags & COMMAND_CONTAINER && strncmp(c->name, of->name, len) == 0 &&
                       c->name[len] == '|');
}

int command_rules_allow(struct command_rules *r, struct str name)
{
    bool all = str_eq(name, STR("all"));
    const struct command *of = all ? NULL : command_find_name(name);
    int err = !all && !of ? -ENOENT : -EINVAL;
    for (size_t i = 0; (all || of) && i < command_count(); i++) {
        const struct command *c = command_at(i);
        if (!all && !is_part_of(c, of))
            continue;
        if (command_gate(c) == GATE_NEVER && !all)
            return -EPERM;
        if (command_gate(c) != GATE_ALLOW)
            continue;
        r->of[i] &= (uint8_t)~RULE_SHUT;
        err = 0;
    }
    return err;
}

int command_rules_deny(struct command_rules *r, struct str name)
{
    const struct command *of = command_find_name(name);
    if (!of)
        return -ENOENT;
    for (size_t i = 0; i < command_count(); i++)
        if (is_part_of(command_at(i), of))
            r->of[i] |= RULE_DENIED;
    return 0;
}

/* ---- names ---- */

static bool lower(struct str name, char to[COMMAND_RULES_NAME_MAX + 1])
{
    if (name.len == 0 || name.len > COMMAND_RULES_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];
        if (c <= ' ' || c > '~')
            return false;
        to[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    to[name.len] = '\0';
    return true;
}

/* FNV-1a: what is hashed is short, and asked for where a request failed to be an ordinary one. */
static size_t slot_of(const char *name)
{
    uint32_t hash = 2166136261U;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619U;
    return hash % SLOTS;
}

static const struct entry *find_entry(const struct command_rules *r, struct str name)
{
    char wanted[COMMAND_RULES_NAME_MAX + 1];
    if (!r->names || !lower(name, wanted))
        return NULL;
    for (size_t slot = slot_of(wanted); r->names->slots[slot] > 0; slot = (slot + 1) % SLOTS) {
        const struct entry *e = &r->names->entries[r->names->slots[slot] - 1];
        if (strcmp(e->name, wanted) == 0)
            return e;
    }
    return NULL;
}

static const struct command *command_of(const struct entry *e)
{
    return !e ? NULL : e->command ? e->command : &e->own;
}

/* Makes an entry of this name, which must be one, and no other's. */
static int new_entry(struct command_rules *r, struct str name, struct entry **ret)
{
    char text[COMMAND_RULES_NAME_MAX + 1];
    if (!lower(name, text) || strchr(text, '|'))
        return -EINVAL;
    /* Not even that of a command which has been renamed: who reads the log must not guess. */
    if (command_find_name(name) || find_entry(r, name))
        return -EEXIST;
    if (!r->names)
        r->names = calloc(1, sizeof(*r->names));
    if (!r->names)
        return -ENOMEM;
    if (r->names->count == COMMAND_RULES_NAMES_MAX)
        return -ENOSPC;
    struct entry *e = &r->names->entries[r->names->count++];
    memcpy(e->name, text, sizeof(text));
    size_t slot = slot_of(text);
    while (r->names->slots[slot] > 0)
        slot = (slot + 1) % SLOTS;
    r->names->slots[slot] = (uint16_t)r->names->count;
    *ret = e;
    return 0;
}

int command_rules_rename(struct command_rules *r, struct str from, struct str to)
{
    const struct command *c = command_find_name(from);
    struct entry *e;
    if (!c)
        return -ENOENT;
    if (c->flags & COMMAND_SUBCOMMAND)
        return -EINVAL;
    if (r->of[c->id] & RULE_RENAMED)
        return -EEXIST;
    int err = new_entry(r, to, &e);
    if (err)
        return err;
    e->command = c;
    for (size_t i = 0; i < command_count(); i++)
        if (is_part_of(command_at(i), c))
            r->of[i] |= RULE_RENAMED;
    return 0;
}

int command_rules_add(struct command_rules *r, struct str name, int first, int last, int step)
{
    struct entry *e;
    bool is_place = first >= 1 && first <= PLACE_MAX && step >= 1 && step <= PLACE_MAX &&
                    last >= -PLACE_MAX && last <= PLACE_MAX && (last < 0 || last >= first);
    if (!is_place)
        return -EINVAL;
    int err = new_entry(r, name, &e);
    if (err)
        return err;
    /* What is looked at without asking how many arguments there are has to be there. */
    int least = (last > first ? last : first) + 1;
    e->own = (struct command){
        .name = e->name,
        .id = COMMAND_ID_COUNT,
        .arity = (int8_t)-least,
        .way = COMMAND_FORWARD,
        .keys = KEYS_RANGE,
        .first = (int8_t)first,
        .last = (int8_t)last,
        .step = (int8_t)step,
        .miss = MISS_NEVER,
        .flags = COMMAND_WRITE,
    };
    r->names->added++;
    return 0;
}

/* ---- look-up ---- */

const struct command *command_rules_find(const struct command_rules *r, const struct args *a)
{
    if (!r->names)
        return NULL;
    /* A name in several pieces is longer than any here, or was cut by the network: put it together.
     */
    char room[COMMAND_RULES_NAME_MAX + 1];
    size_t len = args_copy_head(a, 0, room, sizeof(room));
    const struct command *c = command_of(find_entry(r, (struct str){room, len}));
    return c ? command_find_sub(c, a) : NULL;
}

const struct command *command_rules_find_name(const struct command_rules *r, struct str name)
{
    const char *bar = name.len > 0 ? memchr(name.p, '|', name.len) : NULL;
    struct str head = {name.p, bar ? (size_t)(bar - name.p) : name.len};
    const struct entry *e = find_entry(r, head);
    if (e && !bar)
        return command_of(e);
    if (e && e->command) { /* a subcommand of what has been renamed */
        char full[2 * COMMAND_RULES_NAME_MAX + 2];
        size_t len = strlen(e->command->name);
        if (name.len - head.len > COMMAND_RULES_NAME_MAX)
            return NULL;
        memcpy(full, e->command->name, len);
        memcpy(full + len, bar, name.len - head.len);
        return command_find_name((struct str){full, len + name.len - head.len});
    }
    const struct command *c = command_find_name(name);
    return c && !(r->of[c->id] & RULE_RENAMED) ? c : NULL;
}

const char *command_rules_name(const struct command_rules *r, const struct command *c)
{
    if (r->of[c->id] & RULE_RENAMED)
        for (size_t i = 0; i < r->names->count; i++)
            if (r->names->entries[i].command == c)
                return r->names->entries[i].name;
    return c->name;
}

size_t command_rules_added(const struct command_rules *r)
{
    return r->names ? r->names->added : 0;
}

const struct command *command_rules_added_at(const struct command_rules *r, size_t index)
{
    for (size_t i = 0; r->names && i < r->names->count; i++)
        if (!r->names->entries[i].command && index-- == 0)
            return &r->names->entries[i].own;
    unreachable();
}
