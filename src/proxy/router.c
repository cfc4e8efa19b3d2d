/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/router.h"

#include "base/must.h"
#include "proxy/all_nodes.h"
#include "proxy/blocking.h"
#include "proxy/databases.h"
#include "proxy/fanout.h"
#include "proxy/guard.h"
#include "proxy/lanes.h"
#include "proxy/local.h"
#include "proxy/multi.h"
#include "proxy/retry.h"
#include "proxy/rules.h"
#include "proxy/session.h"
#include "proxy/settle.h"
#include "proxy/tags.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kept out of router_route(), which each request goes through: with their buffers in it, it would
 * guard its stack each time. */
#define SLOW_PATH __attribute__((noinline))

enum { QUOTED_MAX = 128 }; /* bytes of client input that redis-server puts into an error */

void router_refuse(struct client *c, const char *text, ...)
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

/* printf's "%.*s" of an argument, as redis-server cuts it: at QUOTED_MAX and at a NUL. */
static int quoted_len(struct str s, size_t max)
{
    return (int)(s.len < max ? s.len : max);
}

static SLOW_PATH void refuse_unknown(struct client *c)
{
    struct worker *w = c->worker;
    metric_add(&w->metrics.requests_unknown, 1);
    struct str name = args_str(&w->args, 0);
    /* What redis-server does against HTTP requests that were tricked into its port. */
    if (str_eq_nocase(name, STR("post")) || str_eq_nocase(name, STR("host:"))) {
        client_close(c);
        return;
    }
    char begin[QUOTED_MAX + 8 * sizeof("'' ")] = "";
    size_t len = 0;
    for (size_t i = 1; i < w->args.count && len < QUOTED_MAX; i++) {
        char bytes[QUOTED_MAX];
        struct str s = {bytes, args_copy_head(&w->args, i, bytes, sizeof(bytes))};
        int n = snprintf(begin + len, sizeof(begin) - len, "'%.*s' ",
                         quoted_len(s, QUOTED_MAX - len), s.p);
        len += (size_t)n;
    }
    router_refuse(c, "ERR unknown command '%.*s', with args beginning with: %s",
                  quoted_len(name, QUOTED_MAX), name.p, begin);
}

static SLOW_PATH void refuse_subcommand(struct client *c)
{
    struct worker *w = c->worker;
    metric_add(&w->metrics.requests_unknown, 1);
    char upper[QUOTED_MAX];
    struct str name = args_str(&w->args, 0);
    size_t len = name.len < sizeof(upper) - 1 ? name.len : sizeof(upper) - 1;
    for (size_t i = 0; i < len; i++)
        upper[i] = (char)toupper((unsigned char)name.p[i]);
    upper[len] = '\0';
    struct str sub = args_str(&w->args, 1);
    router_refuse(c, "ERR unknown subcommand '%.*s'. Try %s HELP.", quoted_len(sub, QUOTED_MAX),
                  sub.p, upper);
}

/* The row says what it does; that clients may not use it is a rule of the operator's. Redis's own
 * words for what an ACL forbids, so that clients know it as that, and the setting behind them. */
static SLOW_PATH void refuse_denied(struct client *c, const struct command *command, uint8_t rule)
{
    metric_add(&c->worker->metrics.requests_denied, 1);
    bool never = command_gate(command) == GATE_NEVER;
    router_refuse(c, "NOPERM This user has no permissions to run the '%s' command (sumcache: %s)",
                  command->name,
                  never                ? "it is for one node alone"
                  : rule & RULE_DENIED ? "commands.deny"
                                       : "commands.allow");
}

int router_bytes(struct worker *w, struct buf *to, struct buf *from)
{
    const struct args *a = &w->args;
    if (from && a->frame_len > BUF_COPY_MAX)
        return buf_move(to, from, &w->chunks, a->frame_len);
    size_t before = to->len;
    for (size_t i = 0; i < a->iov_count; i++) {
        int err = buf_append(to, &w->chunks, a->iov[i].iov_base, a->iov[i].iov_len);
        if (err) {
            buf_truncate(to, &w->chunks, before);
            return err;
        }
    }
    return 0;
}

void router_fail(struct client *c, const struct command *command, enum failure f)
{
    session_abort(c);
    struct request *r = request_new(c, command, c->worker->args.count);
    if (r)
        request_fail(r, f, NULL);
    else
        client_close(c);
}

enum failure router_no_node(const struct worker *w, const char **ret_name)
{
    *ret_name = NULL;
    if (w->upstreams.count == 1) {
        *ret_name = w->upstreams.nodes[0]->name;
        return FAILURE_DOWN;
    }
    return w->upstreams.count == 0 ? FAILURE_NO_NODE : FAILURE_ALL_OUT;
}

/* ---- slots that are not as usual ---- */

/* The key of a write goes to a node that is not its home or will not keep it: the control plane is
 * told. False: out of memory. */
static bool note_written(struct worker *w, uint8_t database, struct str key, uint64_t hash)
{
    const struct view_node *node = &w->view->nodes[maglev_lookup(w->view->ring, hash)];
    if (!w->control || !node->pulse)
        return true;
    if (!w->written)
        w->written = written_new(w->view->version);
    if (!w->written)
        return false;
    written_add(w->written, maglev_slot(hash), node->pulse->node, database, key);
    return true;
}

bool router_may_use(struct worker *w, uint8_t database, enum router_use use, struct str key,
                    uint64_t hash)
{
    uint8_t flags = view_flags(w->view, hash);
    if (flags == 0)
        return true;
    if (use == ROUTER_READS)
        return !(flags & (VIEW_PARTING | VIEW_FENCED));
    if (flags & VIEW_FENCED && use != ROUTER_OVERWRITES)
        return false;
    return note_written(w, database, key, hash);
}

/* May a request be sent for a key whose slot has these flags (VIEW_…)? Notes what it writes. */
static bool passes(struct client *c, const struct command *command, uint8_t flags, struct str key,
                   uint64_t hash)
{
    struct worker *w = c->worker;
    if (command->flags & COMMAND_READ)
        return !(flags & (VIEW_PARTING | VIEW_FENCED));
    if (flags & VIEW_FENCED && !command_is_blind(command, &w->args))
        return false;
    uint8_t target = databases_target(c, command);
    return note_written(w, c->database, key, hash) &&
           (target == c->database || note_written(w, target, key, hash));
}

/* ---- one node ---- */

/* `size_id`: of what is asked, in the size table; 0: it is not looked up. `hash`: of its only key;
 * NULL: it has not just one, and those it has are in w->keys. */
static void forward(struct request *r, uint32_t node, uint64_t size_id, const uint64_t *hash,
                    struct buf *from)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    struct upstream_node *n = w->upstreams.nodes[node];
    struct upstream *u = upstream_node_shared(n, r->lane);
    size_t len = w->args.frame_len + w->behind.len;
    bool reads = r->command->flags & COMMAND_READ;
    enum failure f = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (!p) {
        request_fail(r, f == FAILURE_NONE ? FAILURE_MEMORY : f, n->name);
        return;
    }
    p->writes = !reads && r->command->way != COMMAND_PUBSUB;
    if (reads && hash)
        retry_keep(w, p, *hash);
    else if (hash)
        slow_key_note(w, p, (size_t)r->command->first);
    else
        slow_key_note_found(w, p, w->keys.count - w->keys.pinned);
    p->size_id = size_id;
    p->guess = size_id ? size_table_find(&w->sizes, size_id) : 0;
    p->size = p->guess > 0 || len > w->settings->bulk_above ? PART_LARGE : PART_SMALL;
    bool plain = lanes_is_plain(c, p->size) && (!p->writes || settle_allows(u));
    struct buf *to = plain ? upstream_target(u, p) : &p->bytes;
    const struct iovec *iov = w->args.iov;
    int err = from || w->args.iov_count > 1
                  ? router_bytes(w, to, from)
                  : buf_append(to, &w->chunks, iov->iov_base, iov->iov_len);
    if (err) {
        p->request = NULL;
        part_free(w, p);
        request_fail(r, FAILURE_MEMORY, n->name);
        return;
    }
    if (w->behind_count > 0) {
        p->behind = w->behind_count;
        buf_move_all(to, &w->behind);
        w->behind_count = 0;
    }
    r->part = p;
    part_enter(p, len);
    if (plain)
        upstream_enqueue(u, p);
    else
        lanes_place(p);
}

/* Of the hash tag, and of the whole key. */
struct key_hashes {
    uint64_t ring, whole;
};

static struct key_hashes hash_key(const struct worker *w, struct str key)
{
    struct str tag = w->settings->hash_tags ? key_tag(key) : key;
    uint64_t hash = key_hash(tag, false);
    struct key_hashes h = {.ring = hash, .whole = hash};
    if (tag.len != key.len)
        h.whole = key_hash(key, false);
    if (__builtin_expect(w->settings->layout != NULL, 0))
        h.ring = layout_hash(w->settings->layout, tag, false);
    return h;
}

/* The common case: one key, found by its place. */
static void forward_by_key(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    struct str key = args_str(&w->args, (size_t)command->first);
    if (!key.p && args_len(&w->args, (size_t)command->first) > 0) {
        router_fail(c, command, FAILURE_MEMORY);
        return;
    }
    struct key_hashes hash = hash_key(w, key);
    maglev_prefetch(w->view->ring, hash.ring);
    uint8_t flags = view_flags(w->view, hash.ring);
    if (flags && !passes(c, command, flags, key, hash.ring)) {
        router_fail(c, command, FAILURE_MOVING);
        return;
    }
    struct request *r = request_new(c, command, w->args.count);
    if (r && --w->samples.left == 0)
        samples_begin(w, r, key, hash.whole);
    uint64_t size_id =
        command->flags & COMMAND_READ ? size_table_id(hash.whole, command->id) | 1 : 0;
    if (r)
        forward(r, maglev_lookup(w->view->ring, hash.ring), size_id, &hash.ring, from);
    else
        client_close(c);
}

/* with_keys: they are in w->keys. */
static SLOW_PATH void forward_to_node(struct client *c, const struct command *command,
                                      uint32_t node, bool with_keys, struct buf *from)
{
    uint64_t block_time;
    if (command->flags & COMMAND_BLOCKS &&
        command_may_block(command, &c->worker->args, &block_time)) {
        blocking_start(c, command, node, with_keys, block_time, from);
        return;
    }
    struct request *r = request_new(c, command, c->worker->args.count);
    if (!with_keys)
        c->worker->keys.count = c->worker->keys.pinned = 0;
    if (r)
        forward(r, node, 0, NULL, from);
    else
        client_close(c);
}

static uint32_t node_of(const struct worker *w, struct str key)
{
    return maglev_lookup(w->view->ring,
                         layout_hash(w->settings->layout, key, w->settings->hash_tags));
}

int router_find_keys(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    const char *refusal = NULL;
    int err = command_find_keys(command, &w->args, &w->keys, &refusal);
    if (err == -ENOTSUP) {
        metric_add(&w->metrics.requests_refused, 1);
        router_refuse(c, "ERR %s", refusal);
        return -ECANCELED;
    }
    if (err)
        return err;
    if (!databases_admit(c, command))
        return -ECANCELED;
    if (w->keys.pinned > 0 && !w->settings->hash_tags) {
        metric_add(&w->metrics.requests_refused, 1);
        router_refuse(c, "ERR sumcache: '%s' by a pattern needs ring.hash_tags", command->name);
        return -ECANCELED;
    }
    if (w->settings->policy.count > 0 && !rules_admit(c, command))
        return -ECANCELED;
    w->keys.count += w->keys.pinned; /* they decide about the node, as keys do */
    return 0;
}

int router_find_nodes(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct command_keys_found *k = &w->keys;
    if (k->count > w->node_of_key_room) {
        uint32_t *nodes = realloc(w->node_of_key, k->count * sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        w->node_of_key = nodes;
        w->node_of_key_room = k->count;
    }
    int different = 1;
    for (size_t i = 0; i < k->count; i++) {
        struct str key = args_str(&w->args, k->index[i]);
        if (!key.p && args_len(&w->args, k->index[i]) > 0)
            return -ENOMEM;
        uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
        uint8_t flags = view_flags(w->view, hash);
        w->node_of_key[i] = maglev_lookup(w->view->ring, hash);
        if (flags && !passes(c, command, flags, key, hash)) {
            if (command->way != COMMAND_SPLIT || !(command->flags & COMMAND_READ))
                return -EBUSY;
            w->node_of_key[i] = GATHER_NOBODY;
        }
        if (w->node_of_key[i] != w->node_of_key[0])
            different = 2;
    }
    return different;
}

uint32_t router_node_for_keyless(const struct worker *w)
{
    return node_of(w, STR(""));
}

/* There is no node at all, or none of them is well. */
static void fail_without_node(struct client *c, const struct command *command)
{
    struct request *r = request_new(c, command, c->worker->args.count);
    const char *name;
    enum failure f = router_no_node(c->worker, &name);
    if (r)
        request_fail(r, f, name);
    else
        client_close(c);
}

void router_to_node(struct client *c, const struct command *command, uint32_t node,
                    struct buf *from)
{
    if (node == ROUTER_NO_NODE)
        fail_without_node(c, command);
    else
        forward_to_node(c, command, node, false, from);
}

static void route_by_keys(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    if (!w->view || !w->view->ring) {
        fail_without_node(c, command);
        return;
    }
    if (command->keys == KEYS_RANGE && command->first == command->last) {
        if (w->settings->policy.count == 0 || rules_admit(c, command))
            forward_by_key(c, command, from);
        return;
    }
    int err = router_find_keys(c, command);
    if (err == -ECANCELED)
        return;
    if (err == -EINVAL || (!err && w->keys.count == 0)) {
        forward_to_node(c, command, router_node_for_keyless(w), false, from);
        return;
    }
    int different = err ? err : router_find_nodes(c, command);
    if (different < 0) {
        router_fail(c, command, different == -EBUSY ? FAILURE_MOVING : FAILURE_MEMORY);
    } else if (different == 1 && w->node_of_key[0] == GATHER_NOBODY) {
        router_fail(c, command, FAILURE_MOVING);
    } else if (different == 1) {
        forward_to_node(c, command, w->node_of_key[0], true, from);
    } else if (command->way == COMMAND_SPLIT) {
        rules_forget_behind(w); /* each part gets its own */
        fanout_start(c, command, w->node_of_key);
    } else {
        metric_add(&w->metrics.requests_crossslot, 1);
        router_refuse(c, "CROSSSLOT Keys in request don't hash to the same node");
    }
}

static int rename_request(struct worker *w, const struct command *command)
{
    const char *bar = strchr(command->name, '|');
    struct str name = str_of(command->name);
    if (bar)
        name.len = (size_t)(bar - command->name);
    return args_rename(&w->args, name);
}

/* Whether anything stands between the present request, whose arity is right, and its way, but for
 * the command itself. For nearly all there is nothing: one look at all of it together. */
static bool is_plain(const struct client *c, uint8_t rule)
{
    return (c->guards | rule | c->worker->pause.is_on | (uintptr_t)c->session |
            (uintptr_t)c->subscriber) == 0;
}

/* The same, looked at one by one. False: it has been answered, queued or put off. With a rule it is
 * encoded anew, and not in `from` any more. */
static SLOW_PATH bool goes_on(struct client *c, const struct command *command, uint8_t rule,
                              struct buf *from)
{
    struct worker *w = c->worker;
    if (c->guards && !guard_admits(c, command))
        return false;
    if (rule && rule != RULE_RENAMED) {
        refuse_denied(c, command, rule);
        return false;
    }
    c->last_command = command;
    if (w->pause.is_on && client_pause_holds(c, command))
        return false;
    if (rule) { /* nodes know it by its own name */
        if (rename_request(w, command) != 0) {
            router_fail(c, command, FAILURE_MEMORY);
            return false;
        }
        from = NULL;
    }
    if (c->subscriber && !subscriber_allows(c, command)) {
        router_refuse(c,
                      "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                      "QUIT / RESET are allowed in this context",
                      command->name);
        return false;
    }
    return !c->session || !multi_takes(c, command, from);
}

void router_route(struct client *c, struct buf *from)
{
    struct worker *w = c->worker;
    const struct command_rules *rules = &w->settings->commands;
    const struct command *command = command_find(&w->args);
    uint8_t rule = command ? rules->of[command->id] : RULE_RENAMED;
    if (rule & RULE_RENAMED) {
        command = command_rules_find(rules, &w->args);
        if (!command) {
            refuse_unknown(c);
            return;
        }
        rule = rules->of[command->id];
    }
    if (command->flags & COMMAND_CONTAINER && w->args.count > 1) {
        refuse_subcommand(c);
        return;
    }
    if (!command_arity_ok(command, w->args.count)) {
        if (command->id == COMMAND_ID_EXEC) {
            session_discard(c);
            router_refuse(c, "EXECABORT Transaction discarded because of: wrong number of "
                             "arguments for 'exec' command");
            return;
        }
        router_refuse(c, "ERR wrong number of arguments for '%s' command", command->name);
        return;
    }
    if (!is_plain(c, rule)) {
        if (!goes_on(c, command, rule, from))
            return;
        if (rule)
            from = NULL;
    }
    c->last_command = command;
    switch ((enum command_way)command->way) {
    case COMMAND_SESSION:
        session_answer(c, command);
        return;
    case COMMAND_LOCAL:
        metric_add(&w->metrics.requests_local, 1);
        local_answer(c, command);
        return;
    case COMMAND_REFUSE:
        metric_add(&w->metrics.requests_refused, 1);
        router_refuse(c, "ERR sumcache: '%s' %s", command->name, command->refusal);
        return;
    case COMMAND_ALL_NODES:
        all_nodes_start(c, command);
        return;
    case COMMAND_TAGS:
        tags_start(c, command);
        return;
    case COMMAND_FORWARD:
    case COMMAND_SPLIT:
        route_by_keys(c, command, from);
        rules_forget_behind(w); /* there is something left if it failed */
        return;
    case COMMAND_PUBSUB:
        subscriber_route(c, command, from);
        return;
    }
    unreachable();
}

/* ---- uploads ---- */

/* What GET will answer for a key after these. */
static bool sets_whole_value(const struct command *command)
{
    switch (command->id) {
    case COMMAND_ID_SET:
    case COMMAND_ID_SETEX:
    case COMMAND_ID_PSETEX:
    case COMMAND_ID_SETNX:
    case COMMAND_ID_GETSET:
        return true;
    default:
        return false;
    }
}

static void begin_upload(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct request *r = request_new(c, command, (uint64_t)c->frame.number);
    if (!r) {
        client_close(c);
        return;
    }
    metric_add(&w->metrics.requests, 1);
    r->uploading = true;
    c->upload = r;
    struct str key = args_str(&w->args, (size_t)command->first);
    enum failure f = FAILURE_NONE;
    const char *name = NULL;
    if (w->settings->policy.count > 0 && !rules_admit_upload(r, key)) {
        buf_clear(&c->in, &w->chunks);
        return;
    }
    if (!w->view || !w->view->ring)
        f = router_no_node(w, &name);
    else if (!key.p && args_len(&w->args, (size_t)command->first) > 0)
        f = FAILURE_MEMORY;
    struct upstream_node *n = NULL;
    uint64_t len = c->frame.len + c->frame.body_left; /* as far as it is known */
    uint64_t size_id = 0;
    struct key_hashes hash = {0};
    if (f == FAILURE_NONE) {
        hash = hash_key(w, key);
        uint8_t flags = view_flags(w->view, hash.ring);
        if (flags && !passes(c, command, flags, key, hash.ring))
            f = FAILURE_MOVING;
    }
    if (f == FAILURE_NONE) {
        n = w->upstreams.nodes[maglev_lookup(w->view->ring, hash.ring)];
        struct upstream *u = upstream_node_shared(n, r->lane);
        /* What is only announced costs the node nothing yet; limits.bulk_max bounds the rest. */
        f = u ? upstream_admits(u, c->in.len) : FAILURE_MEMORY;
        if (sets_whole_value(command))
            size_id = size_table_id(hash.whole, COMMAND_ID_GET) | 1;
    }
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (p && rules_take_behind(w, p) != 0) {
        p->request = NULL;
        part_free(w, p);
        p = NULL;
    }
    if (!p) {
        buf_clear(&c->in, &w->chunks);
        request_fail(r, f == FAILURE_NONE ? FAILURE_MEMORY : f, n ? n->name : name);
        return;
    }
    r->part = p;
    p->size = PART_UPLOAD;
    p->writes = !(command->flags & COMMAND_READ);
    p->size_id = size_id;
    p->hash = hash.ring;
    p->guess = len;
    slow_key_note(w, p, (size_t)command->first);
    part_enter(p, c->in.len);
    buf_move_all(&p->bytes, &c->in);
    lanes_place(p);
}

enum router_begin router_begin(struct client *c, const struct iovec *iov, size_t iov_count)
{
    enum { LOOKED_AT = 4 }; /* arguments: the name, and a key among the three behind it */
    struct worker *w = c->worker;
    size_t count = frame_arguments(&c->frame);
    if (session_gathers(c))
        return ROUTER_GATHER;
    if (count > LOOKED_AT)
        count = LOOKED_AT;
    if (count == 0)
        return ROUTER_WAIT;
    if (args_parse_begin(&w->args, iov, iov_count, count) != 0)
        return ROUTER_WAIT;
    const struct command_rules *rules = &w->settings->commands;
    const struct command *command = command_find(&w->args);
    if (!command)
        command = command_rules_find(rules, &w->args);
    if (!command || rules->of[command->id])
        return ROUTER_GATHER;
    if (command->flags & COMMAND_CONTAINER)
        return count == 1 ? ROUTER_WAIT : ROUTER_GATHER;
    bool one_key = command->way == COMMAND_FORWARD && command->keys == KEYS_RANGE &&
                   command->first == command->last && command->first > 0 &&
                   command->first < LOOKED_AT;
    if (c->subscriber && !subscriber_allows(c, command))
        return ROUTER_GATHER; /* it will be refused */
    if (!one_key || !command_arity_ok(command, (size_t)c->frame.number))
        return ROUTER_GATHER;
    if (count <= (size_t)command->first)
        return ROUTER_WAIT;
    if (!sets_whole_value(command) && rules_limit_values(w, command))
        return ROUTER_GATHER; /* each of its values is looked at when all are there */
    if (c->guards && !guard_admits_upload(c, command))
        return ROUTER_GATHER;
    if (c->worker->pause.is_on && client_pause_holds(c, command))
        return ROUTER_WAIT;
    c->last_command = command;
    begin_upload(c, command);
    rules_forget_behind(w);
    return ROUTER_UPLOAD;
}
