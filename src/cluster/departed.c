/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that have left, or that a process before this one knew to be out: the last DEPARTED_MAX of
 * them. What they hold is old, should they come back.
 */
#include "cluster/control_internal.h"

#include <stdlib.h>
#include <string.h>

struct departed *departed_find(struct control *c, const char *name)
{
    for (unsigned i = 0; i < DEPARTED_MAX; i++)
        if (c->departed[i].left_at != 0 && strcmp(c->departed[i].name, name) == 0)
            return &c->departed[i];
    return NULL;
}

bool departed_has_number(const struct control *c, uint32_t number)
{
    for (unsigned i = 0; i < DEPARTED_MAX; i++)
        if (c->departed[i].left_at != 0 && c->departed[i].number == number)
            return true;
    return false;
}

void departed_free_ghosts(struct list *ghosts)
{
    list_for_each_safe (link, ghosts) {
        struct control_ghost *g = list_item(link, struct control_ghost, link);
        pulse_unref(g->pulse);
        free(g);
    }
    list_init(ghosts);
}

static void move_ghosts(struct list *from, struct list *to)
{
    list_for_each_safe (link, from) {
        list_remove(link);
        list_push_tail(to, link);
    }
}

void departed_forget(struct departed *d)
{
    if (d->left_at == 0)
        return;
    departed_free_ghosts(&d->ghosts);
    pulse_unref(d->pulse);
    *d = (struct departed){0};
}

/* Room for one more: that of the one who left first, if there is no other. */
static struct departed *make_room(struct control *c)
{
    struct departed *d = &c->departed[0];
    for (unsigned i = 0; i < DEPARTED_MAX && d->left_at != 0; i++)
        if (c->departed[i].left_at < d->left_at)
            d = &c->departed[i];
    departed_forget(d);
    return d;
}

struct departed *departed_new(struct control *c, const char *name, const char *run_id)
{
    int number = control_free_number(c);
    struct pulse *pulse = number < 0 ? NULL : pulse_new((uint32_t)number, c->worker_count);
    if (!pulse)
        return NULL;
    if ((uint32_t)number == c->node_room)
        c->node_room++;
    struct departed *d = make_room(c);
    d->left_at = control_now(c);
    d->number = (uint32_t)number;
    d->pulse = pulse;
    d->run_at = control_now(c);
    list_init(&d->ghosts);
    str_fill(d->name, sizeof(d->name), str_of(name));
    str_fill(d->run_id, sizeof(d->run_id), str_of(run_id));
    return d;
}

bool departed_add_ghost(struct departed *d, uint64_t client_id)
{
    struct control_ghost *g = calloc(1, sizeof(*g));
    if (!g)
        return false;
    g->pulse = pulse_ref(d->pulse);
    g->client_id = client_id;
    g->writes = 1;
    atomic_fetch_add_explicit(&d->pulse->unsettled, g->writes, memory_order_relaxed);
    list_push_tail(&d->ghosts, &g->link);
    return true;
}

void departed_remember(struct control_node *n)
{
    struct control *c = n->control;
    struct departed *d = make_room(c);
    d->left_at = control_now(c);
    d->number = n->number;
    d->pulse = pulse_ref(n->pulse);
    d->wiped = n->wiped_at != 0;
    list_init(&d->ghosts);
    move_ghosts(&n->ghosts, &d->ghosts);
    memcpy(d->name, n->member.name, sizeof(d->name));
    memcpy(d->run_id, n->run_id, sizeof(d->run_id));
    d->run_at = n->run_at;
}

void departed_return(struct departed *d, struct control_node *n)
{
    memcpy(n->run_id, d->run_id, sizeof(n->run_id));
    n->run_at = d->run_at;
    n->out_since = d->left_at;
    n->lost = n->to_sweep = true;
    n->state = NODE_OUT;
    n->out_version = n->control->version + 1;
    str_fill(n->why, sizeof(n->why), STR("was a member before"));
    wiper_recall(n);
    if (d->wiped)
        n->wiped_at = control_now(n->control);
    move_ghosts(&d->ghosts, &n->ghosts);
    departed_forget(d);
}

void departed_take_ghost(struct control *c, struct control_ghost *g)
{
    for (unsigned i = 0; i < DEPARTED_MAX; i++) {
        struct departed *d = &c->departed[i];
        if (d->left_at != 0 && d->pulse == g->pulse) {
            list_push_tail(&d->ghosts, &g->link);
            return;
        }
    }
    pulse_unref(g->pulse); /* should it come back it will be new */
    free(g);
}
