/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/router.h"

#include "base/must.h"
#include "proxy/fanout.h"
#include "proxy/lanes.h"
#include "proxy/local.h"
#include "proxy/retry.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUOTED_MAX = 128 }; /* bytes of client input that redis-server puts into an error */

static void refuse(struct client *c, const char *text, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct client *c, const char *text, ...)
{
    char line[REPLY_ERROR_MAX];
    va_list ap;
    va_start(ap, text);
    vsnprintf(line, sizeof(line), text, ap);
    va_end(ap);
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    reply_error(&o, "%s", line);
    client_reply_end(c, r, &o);
}

/* printf's "%.*s" of an argument, as redis-server cuts it: at QUOTED_MAX and at a NUL. */
static int quoted_len(struct str s, size_t max)
{
    return (int)(s.len < max ? s.len : max);
}

/* The first bytes of an argument, however long it is: gathering 5 MB to quote 128 would be a waste.
 */
static struct str arg_begin(const struct args *a, size_t index, char to[QUOTED_MAX])
{
    const struct arg *v = &a->v[index];
    size_t len = 0, wanted = v->len < QUOTED_MAX ? v->len : QUOTED_MAX;
    size_t at = v->at;
    for (uint32_t piece = v->piece; len < wanted; piece++, at = 0) {
        must(piece < a->iov_count);
        const struct iovec *iov = &a->iov[piece];
        size_t here = iov->iov_len - at;
        if (here > wanted - len)
            here = wanted - len;
        memcpy(to + len, (const char *)iov->iov_base + at, here);
        len += here;
    }
    return (struct str){to, len};
}

static void refuse_unknown(struct client *c)
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
        struct str s = arg_begin(&w->args, i, bytes);
        int n = snprintf(begin + len, sizeof(begin) - len, "'%.*s' ",
                         quoted_len(s, QUOTED_MAX - len), s.p);
        len += (size_t)n;
    }
    refuse(c, "ERR unknown command '%.*s', with args beginning with: %s",
           quoted_len(name, QUOTED_MAX), name.p, begin);
}

static void refuse_subcommand(struct client *c)
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
    refuse(c, "ERR unknown subcommand '%.*s'. Try %s HELP.", quoted_len(sub, QUOTED_MAX), sub.p,
           upper);
}

/* Copies or moves the whole present request to `to`. 0 or -ENOMEM. */
static int forward_bytes(struct worker *w, struct buf *to, struct buf *from)
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

/* A request that fails before it has a part. */
static void fail_at_once(struct client *c, const struct command *command, enum failure f)
{
    struct request *r = request_new(c, command, c->worker->args.count);
    if (r)
        request_fail(r, f, NULL);
    else
        client_close(c);
}

/* ---- policy.rules ---- */

/* The bytes of what is to be sent behind the present request. */
static void forget_behind(struct worker *w)
{
    if (w->behind_count == 0)
        return;
    buf_clear(&w->behind, &w->chunks);
    w->behind_count = 0;
}

/* Is there a rule that forbids the request because of the key at argument `index`? */
static enum policy_verdict judge(struct worker *w, const struct command *command, size_t index,
                                 struct str key, const struct policy_rule **ret_rule)
{
    const struct policy_rule *rule = policy_find(&w->settings->policy, key);
    enum policy_verdict v = rule ? policy_judge(rule, command, &w->args, index) : POLICY_ADMITS;
    if (v == POLICY_DENIES)
        metric_add(&w->metrics.policy_denied, 1);
    else if (v == POLICY_TOO_LONG)
        metric_add(&w->metrics.policy_too_long, 1);
    *ret_rule = rule;
    return v;
}

/* By the rule for one of its keys, is there something to be sent behind the request? 0 or -ENOMEM.
 */
static int note_behind(struct worker *w, const struct command *command,
                       const struct policy_rule *rule, struct str key)
{
    if (!rule || !policy_limits_life(rule, command))
        return 0;
    return policy_append(rule, key, &w->behind, &w->chunks, &w->behind_count);
}

/* Looks at all its keys. False: it is refused, and answered. */
static bool rules_admit(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    bool single = command->keys == KEYS_RANGE && command->first == command->last;
    size_t count = single ? 1 : w->keys.count;
    for (size_t i = 0; i < count; i++) {
        size_t index = single ? (size_t)command->first : w->keys.index[i];
        struct str key = args_str(&w->args, index);
        const struct policy_rule *rule = NULL;
        bool lost = !key.p && args_len(&w->args, index) > 0; /* whoever hashes it tells */
        enum policy_verdict v = lost ? POLICY_ADMITS : judge(w, command, index, key, &rule);
        if (v != POLICY_ADMITS) {
            struct request *r;
            struct reply_out o = client_reply_begin(c, &r);
            policy_write_refusal(rule, v, &o);
            client_reply_end(c, r, &o);
            return false;
        }
        if (note_behind(w, command, rule, key) != 0) {
            fail_at_once(c, command, FAILURE_MEMORY);
            return false;
        }
    }
    return true;
}

/* No node has any slot. *ret_name: if there is but one node, it is to blame. */
static enum failure no_node(const struct worker *w, const char **ret_name)
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
static bool note_written(struct worker *w, struct str key, uint64_t hash)
{
    const struct view_node *node = &w->view->nodes[maglev_lookup(w->view->ring, hash)];
    if (!w->control || !node->pulse)
        return true;
    if (!w->written)
        w->written = written_new(w->view->version);
    if (!w->written)
        return false;
    written_add(w->written, maglev_slot(hash), node->pulse->node, key);
    return true;
}

/* May a request be sent for a key whose slot has these flags (VIEW_…)? Notes what it writes. */
static bool passes(struct worker *w, const struct command *command, uint8_t flags, struct str key,
                   uint64_t hash)
{
    if (command->flags & COMMAND_READ)
        return !(flags & (VIEW_PARTING | VIEW_FENCED));
    if (flags & VIEW_FENCED && !command_is_blind(command, &w->args))
        return false;
    return note_written(w, key, hash);
}

/* ---- one node ---- */

/* `size_id`: of what is asked, in the size table; 0: it is not looked up. `hash`: of its only key;
 * NULL: it has not just one. */
static void forward(struct request *r, uint32_t node, uint64_t size_id, const uint64_t *hash,
                    struct buf *from)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    struct upstream_node *n = w->upstreams.nodes[node];
    struct upstream *u = upstream_node_shared(n, r->proto);
    size_t len = w->args.frame_len + w->behind.len;
    bool reads = r->command->flags & COMMAND_READ;
    enum failure f = u ? upstream_admits(u, len) : FAILURE_MEMORY;
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (!p) {
        request_fail(r, f == FAILURE_NONE ? FAILURE_MEMORY : f, n->name);
        return;
    }
    p->writes = !reads;
    if (reads && hash)
        retry_keep(w, p, *hash);
    p->size_id = size_id;
    p->guess = size_id ? size_table_find(&w->sizes, size_id) : 0;
    p->size = p->guess > 0 || len > w->settings->bulk_above ? PART_LARGE : PART_SMALL;
    bool plain = lanes_is_plain(c, p->size) && (reads || settle_allows(u));
    struct buf *to = plain ? upstream_target(u, p) : &p->bytes;
    if (forward_bytes(w, to, from) != 0) {
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
    struct key_hashes h;
    h.ring = h.whole = key_hash(tag, false);
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
        fail_at_once(c, command, FAILURE_MEMORY);
        return;
    }
    struct key_hashes hash = hash_key(w, key);
    maglev_prefetch(w->view->ring, hash.ring);
    uint8_t flags = view_flags(w->view, hash.ring);
    if (flags && !passes(w, command, flags, key, hash.ring)) {
        fail_at_once(c, command, FAILURE_MOVING);
        return;
    }
    struct request *r = request_new(c, command, w->args.count);
    uint64_t size_id =
        command->flags & COMMAND_READ ? size_table_id(hash.whole, command->id) | 1 : 0;
    if (r)
        forward(r, maglev_lookup(w->view->ring, hash.ring), size_id, &hash.ring, from);
    else
        client_close(c);
}

static void forward_to_node(struct client *c, const struct command *command, uint32_t node,
                            struct buf *from)
{
    struct request *r = request_new(c, command, c->worker->args.count);
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

/* Fills w->node_of_key for all keys. → how many different nodes (2 means: more than one), or
 * -ENOMEM; -EBUSY: some of them are moving. Of a read that can be split those go to FANOUT_NOBODY.
 */
static int find_nodes(struct worker *w, const struct command *command)
{
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
        if (flags && !passes(w, command, flags, key, hash)) {
            if (command->way != COMMAND_SPLIT || !(command->flags & COMMAND_READ))
                return -EBUSY;
            w->node_of_key[i] = FANOUT_NOBODY;
        }
        if (w->node_of_key[i] != w->node_of_key[0])
            different = 2;
    }
    return different;
}

/* The node for what has no key of its own, or whose arguments make no sense: any will answer the
 * same, so always the one of the empty key. */
static uint32_t node_for_keyless(const struct worker *w)
{
    return node_of(w, STR(""));
}

static void route_by_keys(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    if (!w->view || !w->view->ring) {
        struct request *r = request_new(c, command, w->args.count);
        const char *name;
        enum failure f = no_node(w, &name);
        if (r)
            request_fail(r, f, name);
        else
            client_close(c);
        return;
    }
    bool ruled = w->settings->policy.count > 0;
    if (command->keys == KEYS_RANGE && command->first == command->last) {
        if (!ruled || rules_admit(c, command))
            forward_by_key(c, command, from);
        return;
    }
    const char *refusal = NULL;
    int err = command_find_keys(command, &w->args, &w->keys, &refusal);
    if (err == -ENOTSUP) {
        metric_add(&w->metrics.requests_refused, 1);
        refuse(c, "ERR %s", refusal);
        return;
    }
    if (err == -EINVAL || (!err && w->keys.count == 0)) {
        forward_to_node(c, command, node_for_keyless(w), from);
        return;
    }
    if (!err && ruled && !rules_admit(c, command))
        return;
    int different = err ? err : find_nodes(w, command);
    if (different < 0) {
        fail_at_once(c, command, different == -EBUSY ? FAILURE_MOVING : FAILURE_MEMORY);
    } else if (different == 1 && w->node_of_key[0] == FANOUT_NOBODY) {
        fail_at_once(c, command, FAILURE_MOVING);
    } else if (different == 1) {
        forward_to_node(c, command, w->node_of_key[0], from);
    } else if (command->way == COMMAND_SPLIT) {
        forget_behind(w); /* each part gets its own */
        fanout_start(c, command, w->node_of_key);
    } else {
        metric_add(&w->metrics.requests_crossslot, 1);
        refuse(c, "CROSSSLOT Keys in request don't hash to the same node");
    }
}

void router_route(struct client *c, struct buf *from)
{
    struct worker *w = c->worker;
    const struct command *command = command_find(&w->args);
    if (!command) {
        refuse_unknown(c);
        return;
    }
    if (command->flags & COMMAND_CONTAINER && w->args.count > 1) {
        refuse_subcommand(c);
        return;
    }
    if (!command_arity_ok(command, w->args.count)) {
        refuse(c, "ERR wrong number of arguments for '%s' command", command->name);
        return;
    }
    switch ((enum command_way)command->way) {
    case COMMAND_LOCAL:
        metric_add(&w->metrics.requests_local, 1);
        local_answer(c, command);
        return;
    case COMMAND_REFUSE:
        metric_add(&w->metrics.requests_refused, 1);
        refuse(c, "ERR sumcache: '%s' %s", command->name, command->refusal);
        return;
    case COMMAND_FORWARD:
    case COMMAND_SPLIT:
        route_by_keys(c, command, from);
        forget_behind(w); /* there is something left if it failed */
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

/* What is to be sent behind the upload's end is kept in its part. 0 or -ENOMEM. */
static int take_behind(struct worker *w, struct part *p)
{
    if (w->behind_count == 0)
        return 0;
    p->behind_bytes = calloc(1, sizeof(*p->behind_bytes));
    if (!p->behind_bytes)
        return -ENOMEM;
    p->behind = w->behind_count;
    buf_move_all(p->behind_bytes, &w->behind);
    w->behind_count = 0;
    return 0;
}

/* As rules_admit(), of an upload, whose value is on its way. False: it is answered. */
static bool rules_admit_upload(struct request *r, struct str key)
{
    struct client *c = r->client;
    struct worker *w = c->worker;
    const struct command *command = r->command;
    const struct policy_rule *rule;
    enum policy_verdict v = judge(w, command, (size_t)command->first, key, &rule);
    if (v == POLICY_ADMITS && rule && rule->max_value > 0 && c->frame.body_left > 0 &&
        frame_body(&c->frame) > rule->max_value) {
        metric_add(&w->metrics.policy_too_long, 1);
        v = POLICY_TOO_LONG;
    }
    if (v == POLICY_ADMITS) {
        if (note_behind(w, command, rule, key) == 0)
            return true;
        request_fail(r, FAILURE_MEMORY, NULL);
        return false;
    }
    struct reply_out o = request_reply(r);
    policy_write_refusal(rule, v, &o);
    if (o.err)
        client_close(c);
    else
        request_finish(r);
    return false;
}

/* Does a rule for its key limit the length of values? */
static bool has_value_limit(struct worker *w, const struct command *command)
{
    if (w->settings->policy.count == 0 || command->flags & COMMAND_READ)
        return false;
    const struct policy_rule *rule =
        policy_find(&w->settings->policy, args_str(&w->args, (size_t)command->first));
    return rule && rule->max_value > 0;
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
        f = no_node(w, &name);
    else if (!key.p && args_len(&w->args, (size_t)command->first) > 0)
        f = FAILURE_MEMORY;
    struct upstream_node *n = NULL;
    uint64_t len = c->frame.len + c->frame.body_left; /* as far as it is known */
    uint64_t size_id = 0;
    struct key_hashes hash = {0};
    if (f == FAILURE_NONE) {
        hash = hash_key(w, key);
        uint8_t flags = view_flags(w->view, hash.ring);
        if (flags && !passes(w, command, flags, key, hash.ring))
            f = FAILURE_MOVING;
    }
    if (f == FAILURE_NONE) {
        n = w->upstreams.nodes[maglev_lookup(w->view->ring, hash.ring)];
        struct upstream *u = upstream_node_shared(n, r->proto);
        /* What is only announced costs the node nothing yet; limits.bulk_max bounds the rest. */
        f = u ? upstream_admits(u, c->in.len) : FAILURE_MEMORY;
        if (sets_whole_value(command))
            size_id = size_table_id(hash.whole, COMMAND_ID_GET) | 1;
    }
    struct part *p = f == FAILURE_NONE ? part_new(r, n, 0) : NULL;
    if (p && take_behind(w, p) != 0) {
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
    p->guess = len;
    part_enter(p, c->in.len);
    buf_move_all(&p->bytes, &c->in);
    lanes_place(p);
}

enum router_begin router_begin(struct client *c, const struct iovec *iov, size_t iov_count)
{
    enum { LOOKED_AT = 4 }; /* arguments: the name, and a key among the three behind it */
    struct worker *w = c->worker;
    size_t count = frame_arguments(&c->frame);
    if (count > LOOKED_AT)
        count = LOOKED_AT;
    if (count == 0)
        return ROUTER_WAIT;
    if (args_parse_begin(&w->args, iov, iov_count, count) != 0)
        return ROUTER_WAIT;
    const struct command *command = command_find(&w->args);
    if (!command)
        return ROUTER_GATHER;
    if (command->flags & COMMAND_CONTAINER)
        return count == 1 ? ROUTER_WAIT : ROUTER_GATHER;
    bool one_key = command->way == COMMAND_FORWARD && command->keys == KEYS_RANGE &&
                   command->first == command->last && command->first > 0 &&
                   command->first < LOOKED_AT;
    if (!one_key || !command_arity_ok(command, (size_t)c->frame.number))
        return ROUTER_GATHER;
    if (count <= (size_t)command->first)
        return ROUTER_WAIT;
    if (!sets_whole_value(command) && has_value_limit(w, command))
        return ROUTER_GATHER; /* each of its values is looked at when all are there */
    begin_upload(c, command);
    forget_behind(w);
    return ROUTER_UPLOAD;
}
