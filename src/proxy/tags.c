/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tags.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/all_nodes.h"
#include "proxy/gather.h"
#include "proxy/policy.h"
#include "proxy/router.h"
#include "proxy/rules.h"
#include "proxy/tag_args.h"
#include "proxy/tag_list.h"
#include "proxy/worker_internal.h"
#include "resp/reply_read.h"
#include "ring/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Of each key its generation; of one that is not there, the candidate with its number. Each lives
 * for ARGV[1] ms from now on, or longer. */
static const char GENERATIONS[] =
    "local out={} "
    "for i,key in ipairs(KEYS) do "
    "local g=redis.call('GET',key) "
    "if not g then g=ARGV[i+1] redis.call('SET',key,g,'PX',ARGV[1]) "
    "elseif redis.call('PTTL',key)<tonumber(ARGV[1]) then redis.call('PEXPIRE',key,ARGV[1]) end "
    "out[i]=g end "
    "return out";

/* ARGV: PEXPIRE, PEXPIREAT or nothing; ms; the list of tags; the value. */
static const char STORE[] = "redis.call('UNLINK',KEYS[1]) "
                            "redis.call('HSET',KEYS[1],'t',ARGV[3],'v',ARGV[4]) "
                            "if ARGV[1]~='' then redis.call(ARGV[1],KEYS[1],ARGV[2]) end "
                            "return redis.status_reply('OK')";

enum step { STEP_GENERATIONS, STEP_STORE, STEP_VALUE, STEP_CHECK, STEP_INVALIDATE };

struct tagged_tag {
    struct str name;
    char generation[TAG_GENERATION + 1]; /* that it has, or that the value was stored with */
    uint8_t result;                      /* of this round, by which it is asked for */
};

struct tagged {
    struct gather gather;
    struct worker *worker;
    uint8_t step;     /* enum step */
    uint8_t database; /* of its client, when it came */
    struct buf value; /* "$5\r\nhello\r\n": to be stored, or to be given */
    struct str key;   /* of SET */
    struct tag_expiry expiry;
    uint64_t size_id;        /* of GET, in the size table */
    char *text;              /* owned: what names and key are loans of */
    struct tagged_tag *tags; /* owned */
    uint32_t tag_count;
};

static struct tagged *tagged_of(const struct request *r)
{
    return container_of(r->gather, struct tagged, gather);
}

static void free_tagged(struct gather *g)
{
    struct tagged *t = container_of(g, struct tagged, gather);
    buf_clear(&t->value, &t->worker->chunks);
    free(t->text);
    free(t->tags);
    free(t);
}

/* ---- asking ---- */

/* The node of a key that is read, or written (`blind`: whatever is there); what is written is
 * noted. GATHER_NOBODY: nobody may be asked now. */
static uint32_t place(struct tagged *t, struct str key, enum router_use use)
{
    struct worker *w = t->worker;
    if (!w->view || !w->view->ring)
        return GATHER_NOBODY;
    uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
    return router_may_use(w, t->database, use, key, hash) ? maglev_lookup(w->view->ring, hash)
                                                          : GATHER_NOBODY;
}

static void place_tags(struct tagged *t, enum router_use use)
{
    for (uint32_t i = 0; i < t->tag_count; i++) {
        char key[TAG_KEY_MAX];
        size_t len = tag_key(t->tags[i].name, key);
        uint32_t node = place(t, (struct str){key, len}, use), k = 0;
        while (k < t->gather.count && t->gather.results[k].node != node)
            k++;
        if (k == t->gather.count)
            (void)gather_add(&t->gather, node);
        t->gather.results[k].count++;
        t->tags[i].result = (uint8_t)k;
    }
}

static void write_keys(struct tagged *t, uint32_t result, struct reply_out *o)
{
    for (uint32_t i = 0; i < t->tag_count; i++) {
        char key[TAG_KEY_MAX];
        if (t->tags[i].result == result)
            reply_bulk(o, (struct str){key, tag_key(t->tags[i].name, key)});
    }
}

static void write_number(struct reply_out *o, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, value);
    reply_bulk(o, (struct str){text, (size_t)len});
}

static struct reply_out request_to(struct tagged *t, uint32_t result)
{
    return (struct reply_out){
        .to = &t->gather.results[result].bytes, .chunks = &t->worker->chunks, .proto = 2};
}

/* MGET or UNLINK of the tags' keys, at each node its own. 0 or -ENOMEM. */
static int ask_of_tags(struct tagged *t, enum step step, enum router_use use, struct str word)
{
    t->step = (uint8_t)step;
    place_tags(t, use);
    for (uint32_t k = 0; k < t->gather.count; k++) {
        struct reply_out o = request_to(t, k);
        reply_array(&o, 1 + t->gather.results[k].count);
        reply_bulk(&o, word);
        write_keys(t, k, &o);
        if (o.err)
            return o.err;
    }
    return 0;
}

/* 0 or -ENOMEM. */
static int ask_for_generations(struct tagged *t)
{
    struct worker *w = t->worker;
    struct io *io = w->loop.io;
    uint64_t ttl_ms = w->settings->tag_ttl / NSEC_MS;
    uint64_t expiry_ms = tag_expiry_ms(&t->expiry, io->ops->wall_us(io->ctx) / 1000);
    t->step = STEP_GENERATIONS;
    place_tags(t, ROUTER_CHANGES);
    for (uint32_t k = 0; k < t->gather.count; k++) {
        struct reply_out o = request_to(t, k);
        uint32_t count = t->gather.results[k].count;
        reply_array(&o, 4 + 2 * (size_t)count);
        reply_bulk(&o, STR("EVAL"));
        reply_bulk(&o, STR(GENERATIONS));
        write_number(&o, count);
        write_keys(t, k, &o);
        write_number(&o, ttl_ms > expiry_ms ? ttl_ms : expiry_ms);
        for (uint32_t i = 0; i < count; i++) {
            char generation[TAG_GENERATION + 1];
            tag_generation(rng_next(&w->rng), generation);
            reply_bulk(&o, str_of(generation));
        }
        if (o.err)
            return o.err;
    }
    return 0;
}

/* 0 or -ENOMEM. */
static int ask_to_store(struct tagged *t)
{
    char *list CLEANUP(freep) = malloc((size_t)t->tag_count * TAG_ENTRY_MAX + 1);
    size_t len = 0;
    if (!list)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->tag_count; i++) {
        struct tag tag = {t->tags[i].name, str_of(t->tags[i].generation)};
        len += tag_entry(&tag, list + len);
    }
    t->step = STEP_STORE;
    struct gather_result *result = gather_add(&t->gather, place(t, t->key, ROUTER_OVERWRITES));
    struct reply_out o = request_to(t, 0);
    reply_array(&o, 8);
    reply_bulk(&o, STR("EVAL"));
    reply_bulk(&o, STR(STORE));
    reply_bulk(&o, STR("1"));
    reply_bulk(&o, t->key);
    reply_bulk(&o, str_of(t->expiry.command));
    write_number(&o, t->expiry.ms);
    reply_bulk(&o, (struct str){list, len});
    if (o.err)
        return o.err;
    buf_move_all(&result->bytes, &t->value);
    const struct policy_rule *rule = policy_find(&t->worker->settings->policy, t->key);
    return rule ? policy_append(rule, t->key, &result->bytes, &t->worker->chunks, &result->behind)
                : 0;
}

static int ask_for_value(struct tagged *t)
{
    struct worker *w = t->worker;
    const struct str words[] = {STR("HMGET"), t->key, STR("t"), STR("v")};
    t->step = STEP_VALUE;
    t->size_id = size_table_id(key_hash(t->key, false), COMMAND_ID_SUMCACHE_GET) | 1;
    int err = gather_add_words(&t->gather, w, place(t, t->key, ROUTER_READS), words, 4);
    t->gather.results[0].large = size_table_find(&w->sizes, t->size_id) > 0;
    return err;
}

/* ---- answers ---- */

/* The bulk strings that nodes have answered, one for each tag, in the tags' order. `take` is given
 * each, or a NULL for a nil. 0, -EBADMSG or -ENOMEM. */
static int each_answer(struct tagged *t, void (*take)(struct tagged_tag *tag, const struct str *s))
{
    for (uint32_t k = 0; k < t->gather.count; k++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        int64_t count;
        reply_reader_init(&in, &t->gather.results[k].bytes, &t->worker->chunks);
        if (reply_read_number(&in, '*', &count) != 0 || count != t->gather.results[k].count)
            return -EBADMSG;
        for (uint32_t i = 0; i < t->tag_count; i++) {
            struct str s;
            if (t->tags[i].result != k)
                continue;
            int err = reply_read_bulk(&in, &s);
            if (err == -ENOMEM || err == -EINVAL)
                return err == -ENOMEM ? err : -EBADMSG;
            take(&t->tags[i], err ? NULL : &s);
        }
    }
    return 0;
}

static void take_generation(struct tagged_tag *tag, const struct str *s)
{
    tag->generation[0] = '\0'; /* a key of somebody else's has none */
    if (s && tag_is_generation(*s))
        str_fill(tag->generation, sizeof(tag->generation), *s);
}

static void compare_generation(struct tagged_tag *tag, const struct str *s)
{
    if (!s || !str_eq(*s, str_of(tag->generation)))
        tag->generation[0] = '\0';
}

static bool all_have_generations(const struct tagged *t)
{
    for (uint32_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].generation[0])
            return false;
    return true;
}

static int merge_generations(struct request *r, struct tagged *t, struct reply_out *o)
{
    int err = each_answer(t, take_generation);
    if (err || !all_have_generations(t))
        return err ? err : -EBADMSG;
    if (r->command->id == COMMAND_ID_SUMCACHE_TAGS) {
        reply_array(o, t->tag_count);
        for (uint32_t i = 0; i < t->tag_count; i++)
            reply_bulk(o, str_of(t->tags[i].generation));
        return o->err;
    }
    gather_clear(&t->gather, t->worker);
    err = ask_to_store(t);
    if (err)
        return err;
    gather_send(r);
    return GATHER_ON;
}

static int give_nothing(struct tagged *t, struct reply_out *o)
{
    metric_add(&t->worker->metrics.tagged_misses, 1);
    reply_null(o);
    return o->err;
}

/* Keeps what the list names. 0; -EBADMSG: it is no list; -ENOMEM. */
static int keep_tags(struct tagged *t, struct str list)
{
    struct tag tags[TAGS_MAX];
    int count = tag_list_read(list, tags);
    if (count < 0)
        return count;
    t->text = malloc(list.len);
    t->tags = calloc((size_t)count, sizeof(*t->tags));
    if (!t->text || !t->tags)
        return -ENOMEM;
    memcpy(t->text, list.p, list.len);
    t->tag_count = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        t->tags[i].name = (struct str){t->text + (tags[i].name.p - list.p), tags[i].name.len};
        str_fill(t->tags[i].generation, sizeof(t->tags[i].generation), tags[i].generation);
    }
    return 0;
}

/* "*2 $tags $value": the value stays behind as it is. 0; -ENOENT: there is none; -EBADMSG, -ENOMEM.
 */
static int take_value(struct tagged *t)
{
    struct buf *bytes = &t->gather.results[0].bytes;
    struct reply_reader in CLEANUP(reply_reader_fini);
    struct str list;
    int64_t two, len;
    reply_reader_init(&in, bytes, &t->worker->chunks);
    if (reply_read_number(&in, '*', &two) != 0 || two != 2)
        return -EBADMSG;
    int err = reply_read_bulk(&in, &list);
    if (err == 0)
        err = keep_tags(t, list);
    if (err == -ENOENT || err == -EBADMSG)
        return -ENOENT; /* no value of ours is as good as none */
    if (err)
        return err == -ENOMEM ? err : -EBADMSG;
    if (reply_read_number(&in, '$', &len) != 0 || len < 0 || (uint64_t)len + 2 != bytes->len)
        return -ENOENT;
    struct reply_out o = {.to = &t->value, .chunks = &t->worker->chunks, .proto = 2};
    char header[24];
    int n = snprintf(header, sizeof(header), "$%" PRId64 "\r\n", len);
    reply_raw(&o, header, (size_t)n);
    buf_move_all(&t->value, bytes);
    if (t->value.len > t->worker->settings->bulk_above)
        size_table_learn(&t->worker->sizes, t->size_id, t->value.len);
    return o.err;
}

static int merge_value(struct request *r, struct tagged *t, struct reply_out *o)
{
    int err = take_value(t);
    if (err == -ENOENT)
        return give_nothing(t, o);
    if (err)
        return err;
    gather_clear(&t->gather, t->worker);
    err = ask_of_tags(t, STEP_CHECK, ROUTER_READS, STR("MGET"));
    if (err)
        return err;
    gather_send(r);
    return GATHER_ON;
}

static int merge_check(struct tagged *t, struct reply_out *o)
{
    int err = each_answer(t, compare_generation);
    if (err)
        return err;
    if (!all_have_generations(t)) {
        metric_add(&t->worker->metrics.tagged_outdated, 1);
        return give_nothing(t, o);
    }
    metric_add(&t->worker->metrics.tagged_hits, 1);
    buf_move_all(o->to, &t->value);
    return 0;
}

static int merge_removed(struct tagged *t, struct reply_out *o)
{
    int64_t sum = 0;
    for (uint32_t k = 0; k < t->gather.count; k++) {
        struct reply_reader in CLEANUP(reply_reader_fini);
        int64_t removed;
        reply_reader_init(&in, &t->gather.results[k].bytes, &t->worker->chunks);
        if (reply_read_number(&in, ':', &removed) != 0)
            return -EBADMSG;
        sum += removed;
    }
    reply_int(o, sum);
    return o->err;
}

static int merge(struct request *r, struct reply_out *o)
{
    struct tagged *t = tagged_of(r);
    if (gather_write_error(&t->gather, o))
        return o->err;
    if (t->gather.failed) { /* of a read, that is answered as a miss */
        metric_add(&t->worker->metrics.requests_masked, 1);
        return give_nothing(t, o);
    }
    switch ((enum step)t->step) {
    case STEP_GENERATIONS:
        return merge_generations(r, t, o);
    case STEP_STORE:
        if (t->gather.results[0].type != '+')
            return -EBADMSG;
        reply_simple(o, "OK");
        return o->err;
    case STEP_VALUE:
        return merge_value(r, t, o);
    case STEP_CHECK:
        return merge_check(t, o);
    case STEP_INVALIDATE:
        return merge_removed(t, o);
    }
    unreachable();
}

static const struct gather_ops OPS = {.merge = merge, .free = free_tagged};

/* ---- beginning ---- */

static int append_piece(void *owner, const void *bytes, size_t len)
{
    struct reply_out *o = owner;
    reply_raw(o, bytes, len);
    return o->err;
}

/* Copies what the request says, for it is gone before the second round. 0 or -ENOMEM. */
static int keep_args(struct tagged *t, const struct tag_args *a)
{
    struct args *args = &t->worker->args;
    size_t len = a->key.len, at = a->key.len;
    for (size_t i = 0; i < a->tag_count; i++)
        len += args_len(args, a->first_tag + i);
    t->text = malloc(len + 1);
    t->tags = calloc(a->tag_count + 1, sizeof(*t->tags));
    if (!t->text || !t->tags)
        return -ENOMEM;
    if (a->key.len > 0)
        memcpy(t->text, a->key.p, a->key.len);
    t->key = (struct str){t->text, a->key.len};
    t->expiry = a->expiry;
    t->tag_count = (uint32_t)a->tag_count;
    for (size_t i = 0; i < a->tag_count; i++) {
        struct str name = args_str(args, a->first_tag + i);
        if (name.len > 0)
            memcpy(t->text + at, name.p, name.len);
        t->tags[i].name = (struct str){t->text + at, name.len};
        at += name.len;
        if (a->first_generation > 0)
            str_fill(t->tags[i].generation, sizeof(t->tags[i].generation),
                     args_str(args, a->first_generation + i));
    }
    struct reply_out o = {.to = &t->value, .chunks = &t->worker->chunks, .proto = 2};
    return a->value > 0 ? args_each_piece(args, a->value, append_piece, &o) : 0;
}

/* What GET needs of the request is gone with its first round. 0 or -ENOMEM. */
static int begin(struct tagged *t, const struct command *command, const struct tag_args *a)
{
    if (command->id == COMMAND_ID_SUMCACHE_GET) {
        t->key = a->key;
        return ask_for_value(t);
    }
    int err = keep_args(t, a);
    if (err)
        return err;
    if (command->id == COMMAND_ID_SUMCACHE_INVALIDATE)
        return ask_of_tags(t, STEP_INVALIDATE, ROUTER_OVERWRITES, STR("UNLINK"));
    return a->first_generation > 0 ? ask_to_store(t) : ask_for_generations(t);
}

/* False: it is refused, and answered. */
static bool admits(struct client *c, const struct command *command, struct tag_args *ret_args)
{
    struct worker *w = c->worker;
    const char *refusal = tag_args_read(&w->args, command, ret_args);
    if (!refusal && w->args.frame_len > w->settings->split_request_max) {
        metric_add(&w->metrics.requests_split_limit, 1);
        refusal = "ERR sumcache: request is longer than limits.max_split_request";
    }
    if (refusal) {
        all_nodes_refuse(c, refusal);
        return false;
    }
    const struct policy_rule *rule;
    enum policy_verdict v = command->keys == KEYS_NONE
                                ? POLICY_ADMITS
                                : rules_judge(w, command, 1, ret_args->key, &rule);
    if (v == POLICY_ADMITS)
        return true;
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    policy_write_refusal(rule, v, &o);
    client_reply_end(c, r, &o);
    return false;
}

void tags_start(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct tag_args a;
    if (!admits(c, command, &a))
        return;
    struct request *r = all_nodes_request(c, command);
    if (!r)
        return;
    struct tagged *t = calloc(1, sizeof(*t));
    if (!t || gather_init(&t->gather, &OPS, TAGS_MAX) != 0) {
        free(t);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    t->worker = w;
    t->database = c->database;
    /* What a client sends behind a SET of two rounds must not come before its second. Behind a GET
     * it may: what is invalidated meanwhile is a miss. */
    gather_begin(&t->gather, r, command->id == COMMAND_ID_SUMCACHE_SET && a.first_generation == 0);
    gather_set_timeout(&t->gather, w, w->settings->request_timeout);
    if (command->keys != KEYS_NONE)
        slow_key_set(&t->gather.key, a.key, 1);
    if (begin(t, command, &a) != 0)
        request_fail(r, FAILURE_MEMORY, NULL);
    else
        gather_send(r);
}
