/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/access.h"

#include "resp/command_facts.h"

#include <errno.h>
#include <string.h>

/* Every command is of one class; `read` and the other words give a user one of them. */
enum class {
    CLASS_FREE, /* of its own connection, or about the proxy alone: whoever is in may */
    CLASS_READ,
    CLASS_WRITE,
    CLASS_SCRIPT, /* a script may touch keys that it does not declare: see docs/security.md */
    CLASS_PUBSUB,
    CLASS_ADMIN, /* touches the data or the clients of others, or tells of them */
};

static bool is_any(const struct command *c, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(c->name, *names) == 0)
            return true;
    return false;
}

/* Groups of Redis's manual (command_fact_table.h) of which some commands are not like the rest. */
static enum class class_by_group(const struct command *c, const char *group) {
    static const char *const OF_OTHERS[] = {"client|list", "client|kill", "client|pause",
                                            "client|unpause", "client|unblock", "client|no-evict",
                                            NULL};
    static const char *const HARMLESS[] = {"info", "time", "lolwut", "command", "readonly",
                                           "readwrite", "role", NULL};
    if (strcmp(group, "connection") == 0) return is_any(c, OF_OTHERS) ? CLASS_ADMIN : CLASS_FREE;
    if (strcmp(group, "transactions") ==
        0) return CLASS_FREE; /* what is inside is judged one by one */
    if (strcmp(group, "pubsub") == 0) return CLASS_PUBSUB;
    if (strcmp(group, "scripting") == 0) return CLASS_SCRIPT;
    if (is_any(c, HARMLESS) || strncmp(c->name, "command|", 8) == 0) return CLASS_FREE;
    if (strcmp(group, "server") == 0 || strcmp(group, "cluster") == 0) return c->flags &
            COMMAND_READ
        ? CLASS_READ
        : CLASS_ADMIN;
    return c->flags & COMMAND_READ ? CLASS_READ : CLASS_WRITE;
}

static enum class class_of(const struct command *c) {
    static const char *const OWN_FREE[] = {"sumcache.failures", "sumcache.where", NULL};
    static const char *const OWN_ADMIN[] = {"sumcache.unlink", "sumcache.jobs", "sumcache.slowlog",
                                            NULL};
    const char *group = command_facts(c)->group;
    if (command_gate(c) != GATE_OPEN || is_any(c, OWN_ADMIN)) return CLASS_ADMIN;
    if (is_any(c, OWN_FREE)) return CLASS_FREE;
    return class_by_group(c, group);
}

/* ---- words ---- */

static void give_class(struct access_user *u, enum class class, bool gives)
{
    for (size_t i = 0; i < command_count(); i++)
        if (class_of(command_at(i)) == class)
            u->commands[i] = gives;
    if (class == CLASS_WRITE) /* what a module's command does nobody knows */
        u->commands[COMMAND_ID_COUNT] = gives;
}

static void give_all(struct access_user *u, bool gives)
{
    for (size_t i = 0; i <= COMMAND_ID_COUNT; i++)
        u->commands[i] = gives || (i < command_count() && class_of(command_at(i)) == CLASS_FREE);
}

/* Redis's names of categories that the manual calls otherwise. */
static struct str group_name(struct str category)
{
    if (str_eq_nocase(category, STR("sortedset")))
        return STR("sorted-set");
    if (str_eq_nocase(category, STR("keyspace")))
        return STR("generic");
    return category;
}

static int give_category(struct access_user *u, struct str name, bool gives)
{
    static const struct {
        const char *name;
        enum class class;
    } CLASSES[] = {{"read", CLASS_READ},        {"write", CLASS_WRITE},
                   {"admin", CLASS_ADMIN},      {"dangerous", CLASS_ADMIN},
                   {"scripting", CLASS_SCRIPT}, {"pubsub", CLASS_PUBSUB}};
    if (str_eq_nocase(name, STR("all"))) {
        give_all(u, gives);
        return 0;
    }
    for (size_t i = 0; i < sizeof(CLASSES) / sizeof(CLASSES[0]); i++) {
        if (!str_eq_nocase(name, str_of(CLASSES[i].name)))
            continue;
        give_class(u, CLASSES[i].class, gives);
        return 0;
    }
    int err = -ENOENT;
    struct str group = group_name(name);
    for (size_t i = 0; group.len > 0 && i < command_count(); i++) {
        const struct command *c = command_at(i);
        enum class class = class_of(c);
        if (!str_eq_nocase(str_of(command_facts(c)->group), group))
            continue;
        err = 0;
        /* A category of data gives what is done with that data; what is for admins is given as
         * such. */
        if (class != CLASS_FREE && (class != CLASS_ADMIN || !gives))
            u->commands[i] = gives;
    }
    return err;
}

static int give_command(struct access_user *u, struct str name, bool gives)
{
    const struct command *of = command_find_name(name);
    if (!of)
        return -ENOENT;
    size_t len = strlen(of->name);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        if (c == of || (of->flags & COMMAND_CONTAINER && strncmp(c->name, of->name, len) == 0 &&
                        c->name[len] == '|'))
            u->commands[i] = gives;
    }
    return 0;
}

static int add_prefix(struct access_user *u, struct str text)
{
    bool exact = text.len > 0 && text.p[text.len - 1] != '*';
    size_t len = text.len > 0 && !exact ? text.len - 1 : text.len;
    if (text.len == 0 || len > ACCESS_PREFIX_MAX)
        return -EINVAL;
    if (len == 0) {
        u->all_keys = true;
        return 0;
    }
    for (size_t i = 0; i < len; i++)
        if (text.p[i] < '!' || text.p[i] > '~' || strchr("\"\\*?[]", text.p[i]))
            return -EINVAL;
    if (u->prefix_count == ACCESS_PREFIXES_MAX)
        return -ENOSPC;
    struct access_prefix *p = &u->prefixes[u->prefix_count++];
    p->len = (uint8_t)len;
    p->exact = exact;
    memcpy(p->text, text.p, len);
    return 0;
}

static int set_rate(struct access_user *u, struct str value)
{
    int64_t rate;
    if (str_to_i64(value, &rate) != 0 || rate < 1 || rate > ACCESS_RATE_MAX)
        return -EINVAL;
    u->rate = (uint32_t)rate;
    return 0;
}

static struct str behind(struct str word, size_t len)
{
    return (struct str){word.p + len, word.len - len};
}

int access_user_apply(struct access_user *u, struct str word)
{
    if (str_eq(word, STR("all"))) {
        u->all_keys = true;
        give_all(u, true);
        return 0;
    }
    if (str_eq(word, STR("read")) || str_eq(word, STR("write")) || str_eq(word, STR("admin")))
        return give_category(u, word, true);
    if (str_eq(word, STR("off")) || str_eq(word, STR("nopass"))) {
        *(word.len == 3 ? &u->off : &u->nopass) = true;
        return 0;
    }
    if (word.len > 5 && memcmp(word.p, "rate=", 5) == 0)
        return set_rate(u, behind(word, 5));
    if (word.len > 1 && word.p[0] == '~')
        return add_prefix(u, behind(word, 1));
    if (word.len < 2 || (word.p[0] != '+' && word.p[0] != '-'))
        return -EINVAL;
    bool gives = word.p[0] == '+';
    return word.p[1] == '@' ? give_category(u, behind(word, 2), gives)
                            : give_command(u, behind(word, 1), gives);
}

int access_user_init(struct access_user *u, struct str name)
{
    if (name.len == 0 || name.len > ACCESS_NAME_MAX)
        return -EINVAL;
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] < '!' || name.p[i] > '~' || strchr("\"\\=~+@", name.p[i]))
            return -EINVAL;
    *u = (struct access_user){0};
    str_fill(u->name, sizeof(u->name), name);
    give_all(u, false);
    return 0;
}

void access_user_settle(struct access_user *u)
{
    u->all_commands = true;
    for (size_t i = 0; i <= COMMAND_ID_COUNT; i++)
        u->all_commands = u->all_commands && u->commands[i];
}

/* ---- asked by workers ---- */

const struct access_user *access_find(const struct access *a, struct str name)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (str_eq(str_of(a->users[i].name), name))
            return &a->users[i];
    return NULL;
}

bool access_enters(const struct access_user *u, struct str password)
{
    static const struct access_user NOBODY;
    uint8_t hash[SECRET_HASH_BYTES];
    bool is_right = false, is_there = u != NULL;
    if (!is_there)
        u = &NOBODY;
    secret_hash(password, hash);
    for (uint32_t i = 0; i < ACCESS_PASSWORDS_MAX; i++) {
        bool same = secret_eq(hash, u->hashes[i]);
        is_right = is_right || (same && i < u->hash_count);
    }
    return is_there && !u->off && (u->nopass || is_right);
}

bool access_has_key(const struct access_user *u, struct str key)
{
    if (u->all_keys)
        return true;
    for (uint32_t i = 0; i < u->prefix_count; i++) {
        const struct access_prefix *p = &u->prefixes[i];
        if (key.len >= p->len && memcmp(key.p, p->text, p->len) == 0 &&
            (!p->exact || key.len == p->len))
            return true;
    }
    return false;
}

bool access_has_pattern(const struct access_user *u, struct str pattern)
{
    size_t len = 0;
    while (len < pattern.len && (!pattern.p[len] || !strchr("*?[\\", pattern.p[len])))
        len++;
    if (u->all_keys)
        return true;
    for (uint32_t i = 0; i < u->prefix_count; i++) {
        const struct access_prefix *p = &u->prefixes[i];
        if (len >= p->len && memcmp(pattern.p, p->text, p->len) == 0 &&
            (!p->exact || pattern.len == p->len))
            return true;
    }
    return false;
}
