/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/slow_log.h"

#include "base/nsec.h"
#include "proxy/roll_call.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_DEFAULT = 10, FIELDS = 6 }; /* both as of SLOWLOG GET */

/* What a worker tells of a request. */
struct told {
    int64_t id;
    int64_t at; /* s since 1970 */
    char node[VIEW_NODE_NAME_MAX];
    struct slow_request slow;
};

/* ---- at each worker ---- */

static const char *node_name(const struct worker *w, uint32_t number)
{
    for (uint32_t i = 0; w->view && i < w->view->node_count; i++)
        if (w->view->nodes[i].pulse && w->view->nodes[i].pulse->node == number)
            return w->view->nodes[i].name;
    return ""; /* none answered, or it has left */
}

static void tell(const struct roll_question *q, struct worker *w, struct roll_text *t)
{
    struct io *io = w->loop.io;
    uint64_t wall_ms = io->ops->wall_us(io->ctx) / 1000;
    const struct slow_request *slow;
    uint32_t number;
    (void)q;
    for (unsigned age = 0; (slow = samples_slow(&w->samples, age, &number)) != NULL; age++) {
        uint64_t ago = nsec_min((worker_now(w) - slow->ended) / NSEC_MS, wall_ms);
        struct told told = {.id = (int64_t)((uint64_t)number * w->all_count + w->index),
                            .at = (int64_t)((wall_ms - ago) / 1000),
                            .slow = *slow};
        str_fill(told.node, sizeof(told.node), str_of(node_name(w, slow->node)));
        roll_text_add(t, (const char *)&told, sizeof(told));
    }
}

static void forget(const struct roll_question *q, struct worker *w, struct roll_text *t)
{
    (void)q;
    (void)t;
    samples_forget_slow(&w->samples);
}

/* ---- at the one who asks ---- */

static int newest_first(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    return x->slow.ended != y->slow.ended ? (x->slow.ended < y->slow.ended ? 1 : -1)
                                          : (x->id < y->id) - (x->id > y->id);
}

static void write_name(const char *name, struct reply_out *o)
{
    const char *bar = strchr(name, '|');
    if (bar)
        reply_bulk(o, (struct str){name, (size_t)(bar - name)});
    reply_bulk(o, str_of(bar ? bar + 1 : name));
}

/* "get" "key"; what is left out is said as redis-server says it. */
static void write_words(const struct told *t, struct reply_out *o)
{
    const struct slow_key *k = &t->slow.key;
    const char *name = command_at(t->slow.command)->name;
    struct str key = slow_key_text(k);
    char text[SLOW_KEY_MAX + 64];
    reply_array(o, 1U + (strchr(name, '|') != NULL) + (k->count > 0) + (k->count > 1));
    write_name(name, o);
    if (k->count == 0)
        return;
    size_t len = key.len;
    if (key.len > 0)
        memcpy(text, key.p, key.len);
    if (key.len < k->len)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "... (%zu more bytes)",
                                (size_t)k->len - key.len);
    reply_bulk(o, (struct str){text, len});
    if (k->count == 1)
        return;
    len = (size_t)snprintf(text, sizeof(text), "... (%" PRIu32 " more keys)", k->count - 1);
    reply_bulk(o, (struct str){text, len});
}

static void write_one(const struct told *t, struct reply_out *o)
{
    char peer[ADDR_TEXT_MAX];
    reply_array(o, FIELDS);
    reply_int(o, t->id);
    reply_int(o, t->at);
    reply_int(o, (int64_t)t->slow.total_us);
    write_words(t, o);
    reply_bulk(o, str_of(addr_print(&t->slow.client, peer)));
    reply_bulk(o, str_of(t->node));
}

static void finish_get(const struct roll_question *q, uint64_t clients, struct str text,
                       struct reply_out *o)
{
    size_t count = text.len / sizeof(struct told);
    (void)clients;
    if (count == 0) {
        reply_array(o, 0);
        return;
    }
    struct told *all = malloc(text.len);
    if (!all) {
        o->err = -ENOMEM;
        return;
    }
    memcpy(all, text.p, text.len);
    qsort(all, count, sizeof(*all), newest_first);
    if (q->wanted >= 0 && (uint64_t)q->wanted < count)
        count = (size_t)q->wanted;
    reply_array(o, count);
    for (size_t i = 0; i < count && !o->err; i++)
        write_one(&all[i], o);
    free(all);
}

static void finish_len(const struct roll_question *q, uint64_t clients, struct str text,
                       struct reply_out *o)
{
    (void)q;
    (void)clients;
    reply_int(o, (int64_t)(text.len / sizeof(struct told)));
}

static void finish_reset(const struct roll_question *q, uint64_t clients, struct str text,
                         struct reply_out *o)
{
    (void)q;
    (void)clients;
    (void)text;
    reply_simple(o, "OK");
}

static const struct roll_kind GET = {.enter = tell, .finish = finish_get};
static const struct roll_kind LEN = {.enter = tell, .finish = finish_len};
static const struct roll_kind RESET = {.enter = forget, .finish = finish_reset};

static void refuse(struct client *c, const char *error)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    if (error)
        reply_error(&o, "%s", error);
    else
        failure_write(&o, FAILURE_MEMORY, NULL);
    client_reply_end(c, r, &o);
}

/* What is asked; NULL: *ret_error is the answer. */
static const struct roll_kind *parse(struct args *a, int64_t *ret_wanted, const char **ret_error)
{
    struct str word = args_str(a, 1);
    *ret_wanted = COUNT_DEFAULT;
    *ret_error = "ERR syntax error";
    if (str_eq_nocase(word, STR("len")))
        return a->count == 2 ? &LEN : NULL;
    if (str_eq_nocase(word, STR("reset")))
        return a->count == 2 ? &RESET : NULL;
    if (!str_eq_nocase(word, STR("get")) || a->count > 3)
        return NULL;
    if (a->count == 2)
        return &GET;
    *ret_error = "ERR value is not an integer or out of range";
    if (str_to_i64(args_str(a, 2), ret_wanted) != 0)
        return NULL;
    *ret_error = "ERR count should be greater than or equal to -1";
    return *ret_wanted >= -1 ? &GET : NULL;
}

bool slow_log_take(struct client *c, const struct command *command)
{
    static const struct client_filter NOBODY;
    struct worker *w = c->worker;
    const char *error;
    int64_t wanted;
    if (command->id != COMMAND_ID_SUMCACHE_SLOWLOG)
        return false;
    const struct roll_kind *kind = parse(&w->args, &wanted, &error);
    if (kind && w->settings->slow_above == 0) {
        kind = NULL;
        error = "ERR sumcache: no slow requests are kept (admin.listen, admin.slow_above)";
    }
    if (!kind) {
        refuse(c, error);
        return true;
    }
    struct roll_question *q = roll_question_new(kind, &NOBODY);
    if (!q) {
        refuse(c, NULL);
        return true;
    }
    q->wanted = wanted;
    roll_call_start(c, command, q);
    return true;
}
