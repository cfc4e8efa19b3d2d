/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripts and functions at nodes that were not there when they were loaded, or have lost them: a
 * node gets them before it is admitted, and one that was restarted and still serves as soon as it
 * is found out. What fails is counted and told, and the node is used all the same: a cache that
 * lacks a script answers NOSCRIPT, which clients know; one that lacks a node lacks a share of its
 * keys.
 */
#include "cluster/control_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MAX = 32 }; /* under way at one node */

struct load_call {
    struct probe_call call;
    struct control_node *node;
    uint64_t number;
};

bool loader_is_done(const struct control_node *n)
{
    return n->loads == 0 && n->loaded >= n->control->scripts.last;
}

static void loaded(struct probe_call *call, const struct probe_reply *r)
{
    struct load_call *l = container_of(call, struct load_call, call);
    struct control_node *n = l->node;
    struct control *c = n->control;
    n->loads--;
    if (!r) {
        n->load_sent = n->loaded; /* what is not answered is sent again, when it is back */
    } else {
        n->loaded = l->number > n->loaded ? l->number : n->loaded;
        if (r->type == '-') {
            metric_add(&c->metrics.scripts_failed, 1);
            if (!n->load_failed)
                log_event(c->log, LOG_WARN, "node-script-failed", "node=%s reason=\"%.*s\"",
                          n->member.name, (int)(r->text.len < 120 ? r->text.len : 120), r->text.p);
            n->load_failed = true; /* not a line for each */
        } else {
            metric_add(&c->metrics.scripts_loaded, 1);
        }
    }
    free(l);
    if (r)
        loader_go_on(n);
    if (r && n->state == NODE_JOINING && loader_is_done(n))
        cleaner_loaded(n);
}

static size_t words_of(const struct script_entry *e, struct str words[4])
{
    static const struct str SCRIPT = {"SCRIPT", 6}, FUNCTION = {"FUNCTION", 8};
    static const struct str REPLACE = {"REPLACE", 7};
    words[0] = e->kind == SCRIPT_LOADED || e->kind == SCRIPTS_FLUSHED ? SCRIPT : FUNCTION;
    switch ((enum script_kind)e->kind) {
    case SCRIPT_LOADED:
        words[1] = STR("LOAD");
        words[2] = script_body(e);
        return 3;
    case FUNCTION_LOADED:
        words[1] = STR("LOAD");
        words[2] = REPLACE;
        words[3] = script_body(e);
        return 4;
    case FUNCTION_DELETED:
        words[1] = STR("DELETE");
        words[2] = script_name(e);
        return 3;
    case FUNCTIONS_RESTORED:
        words[1] = STR("RESTORE");
        words[2] = script_body(e);
        words[3] = REPLACE;
        return 4;
    case SCRIPTS_FLUSHED:
    case FUNCTIONS_FLUSHED:
        break;
    }
    words[1] = STR("FLUSH");
    return 2;
}

static bool send_one(struct control_node *n, const struct script_entry *e)
{
    struct str words[4];
    size_t count = words_of(e, words);
    struct load_call *l = calloc(1, sizeof(*l));
    if (!l)
        return false;
    l->call.done = loaded;
    l->node = n;
    l->number = e->number;
    if (probe_send_words(&n->probe, &l->call, words, count) != 0) {
        free(l);
        return false;
    }
    n->loads++;
    n->load_sent = e->number;
    return true;
}

/* Another process has nothing of what the one before was told. */
static void notice_restart(struct control_node *n)
{
    if (strcmp(n->load_run_id, n->probe.run_id) == 0)
        return;
    memcpy(n->load_run_id, n->probe.run_id, sizeof(n->load_run_id));
    n->loaded = n->load_sent = 0;
    n->load_failed = false;
}

void loader_go_on(struct control_node *n)
{
    struct control *c = n->control;
    if (!probe_is_ready(&n->probe))
        return;
    if (n->loads == 0)
        notice_restart(n);
    while (n->loads < CALLS_MAX) {
        const struct script_entry *e = scripts_after(&c->scripts, n->load_sent);
        if (!e) {
            if (n->loads == 0) /* what is between has been overtaken */
                n->loaded = n->load_sent = c->scripts.last;
            return;
        }
        if (!send_one(n, e))
            return; /* no memory: with the next step of its joining, or the next check */
    }
}

static void count(struct control *c)
{
    metric_set(&c->metrics.scripts_kept, c->scripts.count);
    metric_set(&c->metrics.scripts_bytes, c->scripts.bytes);
    metric_set(&c->metrics.scripts_forgotten, c->scripts.forgotten);
}

/* Those that were asked have it; of the others those that serve get it now, those that join before
 * they are admitted. */
static void deliver_script(struct message *m, void *receiver)
{
    struct control *c = receiver;
    struct control_script *s = container_of(m, struct control_script, message);
    uint64_t before = c->scripts.last;
    struct str name = {s->name, s->name_len}, body = {s->body, s->body_len};
    if (s->flushes_functions)
        (void)scripts_add(&c->scripts, FUNCTIONS_FLUSHED, STR(""), STR(""));
    (void)scripts_add(&c->scripts, s->kind, name, body);
    count(c);
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct control_node *n = control_node(c, s->nodes[i]);
        if (n && n->loads == 0 && n->loaded == before)
            n->loaded = n->load_sent = c->scripts.last;
    }
    control_script_free(s);
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && c->scripts.last != before &&
            (node_is_in_ring(c->nodes[i]) || c->nodes[i]->state == NODE_JOINING))
            loader_go_on(c->nodes[i]);
}

struct control_script *control_script_new(enum script_kind kind, struct str body,
                                          uint32_t node_room)
{
    struct control_script *s = malloc(sizeof(*s) + body.len);
    uint32_t *nodes = malloc((node_room > 0 ? node_room : 1) * sizeof(*nodes));
    if (!s || !nodes) {
        free(s);
        free(nodes);
        return NULL;
    }
    *s = (struct control_script){.kind = kind, .nodes = nodes, .body_len = body.len};
    if (body.len > 0)
        memcpy(s->body, body.p, body.len);
    return s;
}

int control_script_set_name(struct control_script *s, struct str name)
{
    char *copy = malloc(name.len > 0 ? name.len : 1);
    if (!copy)
        return -ENOMEM;
    if (name.len > 0)
        memcpy(copy, name.p, name.len);
    free(s->name);
    s->name = copy;
    s->name_len = name.len;
    return 0;
}

void control_script_free(struct control_script *s)
{
    if (!s)
        return;
    free(s->nodes);
    free(s->name);
    free(s);
}

void control_tell_script(struct control *c, struct control_script *s)
{
    s->message.deliver = deliver_script;
    mailbox_post(&c->mailbox, &s->message);
}
