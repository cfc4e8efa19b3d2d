/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/settle.h"

#include "base/must.h"
#include "proxy/worker_internal.h"

static void add_unsettled(struct upstream *u, unsigned writes)
{
    /* Before their clients are answered: who then writes the same key must see it. */
    if (writes > 0)
        atomic_fetch_add_explicit(&u->node->pulse->unsettled, writes, memory_order_seq_cst);
}

static void sub_unsettled(struct upstream *u, unsigned writes)
{
    if (writes > 0)
        atomic_fetch_sub_explicit(&u->node->pulse->unsettled, writes, memory_order_release);
}

bool settle_allows(const struct upstream *u)
{
    const struct pulse *p = u->node->pulse;
    /* Those on this upstream are done before whatever comes behind them. */
    return !p || atomic_load_explicit(&p->unsettled, memory_order_seq_cst) <= u->unsettled;
}

/* A write's deadline has passed, or its client has gone; its late reply may still come. */
void settle_later(struct upstream *u, struct part *p)
{
    if (!p->writes || p->unsettled || !u->worker->control || !u->node->pulse)
        return;
    p->unsettled = true;
    u->unsettled++;
    add_unsettled(u, 1);
}

void settle_now(struct upstream *u, struct part *p)
{
    if (!p->unsettled)
        return;
    p->unsettled = false;
    must(u->unsettled > 0);
    u->unsettled--;
    sub_unsettled(u, 1);
}

/* The connection is lost: what the node may still do of it is for the control plane to prevent. */
void settle_by_ghost(struct upstream *u)
{
    unsigned writes = 0;
    list_for_each (link, &u->sent) {
        struct part *p = list_item(link, struct part, queue);
        bool whole = p != u->upload; /* half a request is never executed */
        writes += p->writes && whole;
        p->unsettled = false;
    }
    unsigned counted = u->unsettled;
    u->unsettled = 0;
    if (!u->worker->control || !u->node->pulse)
        return;
    if (u->at_end || writes == 0) {
        sub_unsettled(u, counted);
        return;
    }
    must(writes >= counted);
    add_unsettled(u, writes - counted);
    struct control_ghost *g = take_ptr(u->ghost);
    must(g);
    *g = (struct control_ghost){
        .pulse = pulse_ref(u->node->pulse), .client_id = u->client_id, .writes = writes};
    control_tell_ghost(u->worker->control, g);
}
