/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/flush.h"

#include "base/must.h"
#include "proxy/all_nodes.h"
#include "proxy/gather.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>

struct ask;

struct flush {
    struct gather gather;
    struct request *request; /* loan: its owner */
    struct ask *ask;         /* under way at the control plane; NULL: none */
    struct timer timer;      /* when it is given up */
    bool sync;
};

/* Belongs to the control plane until it comes back. */
struct ask {
    struct control_flush control;
    struct worker *worker; /* loan */
    struct flush *flush;   /* NULL: nobody wants the answer any more; the worker's thread only */
};

static void free_flush(struct gather *g)
{
    struct flush *f = container_of(g, struct flush, gather);
    if (f->ask)
        f->ask->flush = NULL;
    timer_unmake(&f->timer);
    free(f);
}

static int merge(struct request *r, struct reply_out *o)
{
    struct gather *g = r->gather;
    if (gather_write_error(g, o))
        return 0;
    for (uint32_t i = 0; i < g->count; i++)
        if (g->results[i].type != '+')
            return -EBADMSG;
    reply_simple(o, "OK");
    return o->err;
}

static const struct gather_ops OPS = {.merge = merge, .free = free_flush};

/* To all nodes of the present view that are not out, be it without slots: they may get some. */
static void send_to_all(struct flush *f)
{
    struct request *r = f->request;
    struct worker *w = r->client->worker;
    const struct view *v = w->view;
    bool db = r->command->id == COMMAND_ID_FLUSHDB;
    struct str words[] = {db ? STR("FLUSHDB") : STR("FLUSHALL"),
                          f->sync ? STR("SYNC") : STR("ASYNC")};
    timer_clear(&f->timer); /* from now on parts have the deadline */
    int err = gather_make_room(&f->gather, v->node_count);
    for (uint32_t i = 0; i < v->node_count && !err; i++)
        if (!v->nodes[i].out)
            err = gather_add_words(&f->gather, w, i, words, 2);
    if (err)
        request_fail(r, FAILURE_MEMORY, NULL);
    else
        gather_send(r);
}

/* ---- asking the control plane ---- */

static void begin_ask(struct flush *f);

static void deliver_answer(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    struct ask *a = container_of(m, struct ask, control.message);
    struct flush *f = a->flush;
    bool same = w->view && w->view->version == a->control.version;
    free(a);
    if (!f)
        return;
    f->ask = NULL;
    if (same)
        send_to_all(f);
    else
        begin_ask(f); /* it knows more by now than it did then */
}

/* On the control plane's thread. */
static void answer(struct control_flush *control)
{
    struct ask *a = container_of(control, struct ask, control);
    control->message.deliver = deliver_answer;
    mailbox_post(&a->worker->mailbox, &control->message);
}

static void begin_ask(struct flush *f)
{
    struct worker *w = f->request->client->worker;
    struct ask *a = malloc(sizeof(*a));
    if (!a) {
        request_fail(f->request, FAILURE_MEMORY, NULL);
        return;
    }
    *a = (struct ask){.control.answer = answer, .worker = w, .flush = f};
    f->ask = a;
    control_tell_flush(w->control, &a->control);
}

static void on_time(struct timer *t)
{
    struct flush *f = container_of(t, struct flush, timer);
    request_fail(f->request, FAILURE_NODES_CHANGE, NULL);
}

static bool read_options(struct client *c, bool *ret_sync)
{
    struct args *a = &c->worker->args;
    *ret_sync = a->count == 2 && str_eq_nocase(args_str(a, 1), STR("sync"));
    return a->count == 1 || *ret_sync ||
           (a->count == 2 && str_eq_nocase(args_str(a, 1), STR("async")));
}

void flush_start(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    bool sync;
    if (!read_options(c, &sync)) {
        all_nodes_refuse(c, "ERR syntax error");
        return;
    }
    struct request *r = all_nodes_request(c, command);
    if (!r)
        return;
    struct flush *f = calloc(1, sizeof(*f));
    if (!f || timer_make(&f->timer, &w->loop.timers, on_time) != 0) {
        free(f);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    if (gather_init(&f->gather, &OPS, w->view->node_count) != 0) {
        timer_unmake(&f->timer);
        free(f);
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    f->request = r;
    f->sync = sync;
    gather_begin(&f->gather, r, true);
    gather_set_timeout(&f->gather, w, w->settings->fanout_timeout);
    timer_set(&f->timer, f->gather.deadline);
    if (w->control)
        begin_ask(f);
    else
        send_to_all(f);
}
