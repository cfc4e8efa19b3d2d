/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything happens on the tables that the proxy itself would build from the same identities, so
 * the answers are exact, not an estimate. Nothing is looked up and no node is asked.
 */
#include "daemon/ring_command.h"

#include "base/addr.h"
#include "base/must.h"
#include "cluster/view.h"
#include "daemon/arguments.h"
#include "ring/layout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PORT = 6379 }; /* Redis's own */

enum exit_status { RING_OK = 0, RING_FAILED = 1, RING_USAGE = 2 };

static const char HELP[] =
    "Usage: sumcache ring --nodes A,B,C [--key K]... [--hash-tags on|off]\n"
    "                     [--remove X]... [--add Y]... [--kind KIND] [--hash HASH]\n"
    "\n"
    "Prints `key<TAB>node` for each key, then `node<TAB>slots<TAB>percent` for each node.\n"
    "\n"
    "  --nodes A,B,C       the nodes by identity, host:port; without a port :6379 is appended\n"
    "  --key K             a key to place; `--key -` reads keys from standard input, one a line\n"
    "  --hash-tags on|off  hash only the part in braces, user1 in {user1}.name (default: on)\n"
    "  --remove X          what moves if node X (or a list) goes\n"
    "  --add Y             what moves if node Y (or a list) comes\n"
    "  --kind KIND         maglev (the default), ketama or modula, as ring.kind; nodes of the last "
    "two\n"
    "                      stand as in twemproxy, by name or host:port, and nothing is appended\n"
    "  --hash HASH         with these, as ring.hash (default: fnv1a_64)\n"
    "  --help              this text\n"
    "\n"
    "With --remove or --add four lines `what<TAB>slots<TAB>percent` follow: `moved` (all that\n"
    "changes its node), and of that `from removed`, `to added` and `between others`. What goes\n"
    "from a removed node to an added one counts in both.\n";

struct ring_node {
    char id[VIEW_NODE_NAME_MAX];
    bool before, after; /* is it in the ring before and after the change? */
};

struct request {
    struct ring_node *nodes; /* room for MAGLEV_NODES_MAX; a loan */
    size_t node_count;
    struct argument_list keys;
    bool hash_tags, change, help;
    enum layout_kind kind;
    enum hash32_kind hash;
    struct layout *layout; /* owned by ring_command(); NULL: Maglev */
    FILE *err;
};

__attribute__((format(printf, 3, 4))) static int fail(FILE *err, enum exit_status status,
                                                      const char *what, ...)
{
    va_list ap;
    fputs("sumcache ring: ", err);
    va_start(ap, what);
    vfprintf(err, what, ap);
    va_end(ap);
    fputc('\n', err);
    return (int)status;
}

/* The identity that a node written like this has in a static list. */
static int make_id(struct request *r, const char *option, struct str text, char *to)
{
    struct str host;
    uint16_t port;
    int shown = (int)(text.len < 300 ? text.len : 300);
    if (text.len == 0)
        return fail(r->err, RING_USAGE, "%s: a node is empty", option);
    if (r->kind != LAYOUT_MAGLEV && text.len < VIEW_NODE_NAME_MAX) {
        str_fill(to, VIEW_NODE_NAME_MAX, text);
        return RING_OK;
    }
    if (addr_split_host_port(text, &host, &port) != 0)
        return fail(r->err, RING_USAGE, "%s: not a node: %.*s", option, shown, text.p);
    /* A port that is given has only one spelling, so the text is the identity as it stands. */
    if (port != 0)
        snprintf(to, VIEW_NODE_NAME_MAX, "%.*s", (int)text.len, text.p);
    else if (memchr(host.p, ':', host.len))
        snprintf(to, VIEW_NODE_NAME_MAX, "[%.*s]:%d", (int)host.len, host.p, DEFAULT_PORT);
    else
        snprintf(to, VIEW_NODE_NAME_MAX, "%.*s:%d", (int)host.len, host.p, DEFAULT_PORT);
    return RING_OK;
}

static struct ring_node *find(struct request *r, const char *id)
{
    for (size_t i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].id, id) == 0)
            return &r->nodes[i];
    return NULL;
}

static int put_node(struct request *r, const char *option, struct str text, bool before)
{
    if (r->node_count == MAGLEV_NODES_MAX)
        return fail(r->err, RING_USAGE, "%s: more than %d nodes", option, MAGLEV_NODES_MAX);
    struct ring_node *n = &r->nodes[r->node_count];
    int status = make_id(r, option, text, n->id);
    if (status != RING_OK)
        return status;
    if (find(r, n->id))
        return fail(r->err, RING_USAGE, "%s: node given twice: %s", option, n->id);
    n->before = before;
    n->after = true;
    r->node_count++;
    return RING_OK;
}

static int put_before(struct request *r, const char *option, struct str text)
{
    return put_node(r, option, text, true);
}

static int put_added(struct request *r, const char *option, struct str text)
{
    return put_node(r, option, text, false);
}

static int mark_removed(struct request *r, const char *option, struct str text)
{
    char id[VIEW_NODE_NAME_MAX];
    int status = make_id(r, option, text, id);
    if (status != RING_OK)
        return status;
    struct ring_node *n = find(r, id);
    if (!n)
        return fail(r->err, RING_USAGE, "%s: not among the nodes: %s", option, id);
    n->after = false;
    return RING_OK;
}

/* Calls `take` for each part of a list with commas, until one fails. */
static int each_node(struct request *r, const char *option, struct str list,
                     int (*take)(struct request *, const char *, struct str))
{
    for (;;) {
        const char *comma = list.len > 0 ? memchr(list.p, ',', list.len) : NULL;
        struct str one = {list.p, comma ? (size_t)(comma - list.p) : list.len};
        int status = take(r, option, one);
        if (status != RING_OK || !comma)
            return status;
        list = (struct str){comma + 1, list.len - one.len - 1};
    }
}

/* What was given, before anything is made of it: --remove and --add refer to --nodes, which may
 * stand behind them. */
struct words {
    const char *kind, *hash, *hash_tags;
    struct argument_list nodes, removed, added;
};

static int read_kind(struct request *r, const char *value)
{
    static const char *const KINDS[] = {"maglev", "ketama", "modula"}; /* enum layout_kind */
    for (unsigned i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
        if (strcmp(value, KINDS[i]) == 0) {
            r->kind = (enum layout_kind)i;
            return RING_OK;
        }
    return fail(r->err, RING_USAGE, "--kind: not maglev, ketama or modula: %s", value);
}

static int read_hash(struct request *r, const struct words *w)
{
    r->hash = w->hash ? hash32_find(str_of(w->hash)) : HASH32_FNV1A_64;
    if (r->hash >= HASH32_KINDS)
        return fail(r->err, RING_USAGE, "--hash: unknown: %s", w->hash);
    r->hash_tags = !w->hash_tags || strcmp(w->hash_tags, "on") == 0;
    if (!r->hash_tags && strcmp(w->hash_tags, "off") != 0)
        return fail(r->err, RING_USAGE, "--hash-tags: neither on nor off: %s", w->hash_tags);
    return RING_OK;
}

static int each_list(struct request *r, const char *option, const struct argument_list *lists,
                     int (*take)(struct request *, const char *, struct str))
{
    int status = RING_OK;
    for (size_t i = 0; i < lists->count && status == RING_OK; i++)
        status = each_node(r, option, str_of(lists->values[i]), take);
    return status;
}

static int read_nodes(struct request *r, const struct words *w)
{
    int status = each_list(r, "--nodes", &w->nodes, put_before);
    if (status == RING_OK && r->node_count == 0)
        return fail(r->err, RING_USAGE, "--nodes is missing (see --help)");
    if (status == RING_OK)
        status = each_list(r, "--remove", &w->removed, mark_removed);
    if (status == RING_OK)
        status = each_list(r, "--add", &w->added, put_added);
    r->change = w->removed.count > 0 || w->added.count > 0;
    return status;
}

static int read_words(struct request *r, const struct words *w)
{
    int status = w->kind ? read_kind(r, w->kind) : RING_OK;
    if (status == RING_OK)
        status = read_hash(r, w);
    if (status == RING_OK)
        status = read_nodes(r, w);
    if (status != RING_OK)
        return status;
    if (r->change && r->kind == LAYOUT_MODULA)
        return fail(r->err, RING_USAGE, "--add and --remove: with modula nearly all keys move");
    for (size_t i = 0; i < r->node_count; i++)
        if (r->nodes[i].after)
            return RING_OK;
    return fail(r->err, RING_USAGE, "--remove: no node would be left");
}

/* `lists`: room for each of the three, and for the keys. */
static int parse(struct request *r, int argc, char **argv, const char **lists)
{
    size_t room = (size_t)argc;
    struct words w = {
        .nodes = {lists, 0}, .removed = {lists + room, 0}, .added = {lists + 2 * room, 0}};
    r->keys = (struct argument_list){lists + 3 * room, 0};
    const struct argument rows[] = {{.name = "--nodes", .all = &w.nodes},
                                    {.name = "--remove", .all = &w.removed},
                                    {.name = "--add", .all = &w.added},
                                    {.name = "--key", .all = &r->keys},
                                    {.name = "--hash-tags", .value = &w.hash_tags},
                                    {.name = "--kind", .value = &w.kind},
                                    {.name = "--hash", .value = &w.hash},
                                    {.name = "--help", .given = &r->help}};
    char why[ARGUMENTS_WHY_MAX];
    if (arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why) != 0)
        return fail(r->err, RING_USAGE, "%s", why);
    return r->help ? RING_OK : read_words(r, &w);
}

/* A node that is not in the ring keeps its index and has no weight, so that the tables before and
 * after the change speak of the same indexes. */
static int build(const struct request *r, bool after, struct maglev **ret_table)
{
    must(r->node_count > 0); /* parse() saw to it */
    struct maglev_node *nodes CLEANUP(freep) = calloc(r->node_count, sizeof(*nodes));
    if (!nodes)
        return fail(r->err, RING_FAILED, "out of memory");
    for (size_t i = 0; i < r->node_count; i++) {
        const struct ring_node *n = &r->nodes[i];
        nodes[i] = (struct maglev_node){str_of(n->id), (after ? n->after : n->before) ? 1 : 0};
    }
    uint16_t *owners CLEANUP(freep) = calloc(MAGLEV_SLOTS, sizeof(*owners));
    int err = owners ? layout_owners(r->layout, nodes, r->node_count, owners) : -ENOMEM;
    if (!err)
        err = maglev_of_owners(owners, r->node_count, ret_table);
    return err ? fail(r->err, RING_FAILED, "no ring: %s", strerror(-err)) : RING_OK;
}

static void print_key(const struct request *r, const struct maglev *m, struct str key, FILE *out)
{
    uint32_t node = maglev_lookup(m, layout_hash(r->layout, key, r->hash_tags));
    fwrite(key.p, 1, key.len, out);
    fprintf(out, "\t%s\n", r->nodes[node].id);
}

static int print_keys_of_stdin(const struct request *r, const struct maglev *m, FILE *out)
{
    char *line CLEANUP(freep) = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) >= 0) {
        struct str key = {line, (size_t)len};
        if (key.len > 0 && key.p[key.len - 1] == '\n')
            key.len--;
        print_key(r, m, key, out);
    }
    return ferror(stdin) ? fail(r->err, RING_FAILED, "cannot read the keys: %s", strerror(errno))
                         : RING_OK;
}

static void print_part(FILE *out, const char *what, uint32_t slots)
{
    fprintf(out, "%s\t%u\t%.3f%%\n", what, (unsigned)slots, 100.0 * slots / MAGLEV_SLOTS);
}

static int print_shares(const struct request *r, const struct maglev *m, FILE *out)
{
    uint32_t *slots CLEANUP(freep) = calloc(r->node_count, sizeof(*slots));
    if (!slots)
        return fail(r->err, RING_FAILED, "out of memory");
    for (uint32_t i = 0; i < maglev_slots(m); i++)
        slots[maglev_node_of_slot(m, i)]++;
    for (size_t i = 0; i < r->node_count; i++)
        if (r->nodes[i].before)
            print_part(out, r->nodes[i].id, slots[i]);
    return RING_OK;
}

static void print_change(const struct request *r, const struct maglev *before,
                         const struct maglev *after, FILE *out)
{
    uint32_t moved = 0, removed = 0, added = 0, others = 0;
    for (uint32_t i = 0; i < maglev_slots(before); i++) {
        uint32_t from = maglev_node_of_slot(before, i), to = maglev_node_of_slot(after, i);
        if (from == to)
            continue;
        bool was_removed = !r->nodes[from].after, is_added = !r->nodes[to].before;
        moved++;
        removed += was_removed;
        added += is_added;
        others += !was_removed && !is_added;
    }
    print_part(out, "moved", moved);
    print_part(out, "from removed", removed);
    print_part(out, "to added", added);
    print_part(out, "between others", others);
}

/* Over all nodes before and after, so that both tables speak of the same slots. */
static int lay_out(struct request *r)
{
    if (r->kind == LAYOUT_MAGLEV)
        return RING_OK;
    struct layout_node *nodes CLEANUP(freep) = calloc(r->node_count, sizeof(*nodes));
    if (!nodes)
        return fail(r->err, RING_FAILED, "out of memory");
    for (size_t i = 0; i < r->node_count; i++)
        nodes[i] = (struct layout_node){str_of(r->nodes[i].id), str_of(r->nodes[i].id), 1};
    int err = layout_new(r->kind, r->hash, nodes, r->node_count, &r->layout);
    return err == -E2BIG || err == -EINVAL
               ? fail(r->err, RING_USAGE, "--nodes: too many, or a name is too long, for this kind")
           : err ? fail(r->err, RING_FAILED, "no ring: %s", strerror(-err))
                 : RING_OK;
}

static int answer(const struct request *r, FILE *out)
{
    struct maglev *before = NULL, *after = NULL;
    int status = build(r, false, &before);
    for (size_t i = 0; i < r->keys.count && status == RING_OK; i++) {
        if (strcmp(r->keys.values[i], "-") == 0)
            status = print_keys_of_stdin(r, before, out);
        else
            print_key(r, before, str_of(r->keys.values[i]), out);
    }
    if (status == RING_OK)
        status = print_shares(r, before, out);
    if (status == RING_OK && r->change)
        status = build(r, true, &after);
    if (status == RING_OK && r->change)
        print_change(r, before, after, out);
    maglev_free(after);
    maglev_free(before);
    return status;
}

int ring_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct ring_node *nodes CLEANUP(freep) = calloc(MAGLEV_NODES_MAX, sizeof(*nodes));
    const char **lists CLEANUP(freep) = calloc(4 * (size_t)argc, sizeof(*lists));
    if (!nodes || !lists)
        return fail(err, RING_FAILED, "out of memory");
    struct request r = {.nodes = nodes, .err = err};
    int status = parse(&r, argc, argv, lists);
    if (status != RING_OK)
        return status;
    if (r.help)
        fputs(HELP, out);
    else
        status = lay_out(&r);
    if (!r.help && status == RING_OK)
        status = answer(&r, out);
    layout_free(r.layout);
    if (status == RING_OK && (fflush(out) != 0 || ferror(out)))
        return fail(err, RING_FAILED, "cannot write: %s", strerror(errno));
    return status;
}
