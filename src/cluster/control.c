/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control.h"

#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Numbers are not used twice soon: what workers tell may still speak of the old node. */
    NUMBERS_MAX = 4 * MAGLEV_NODES_MAX,
    BUFFER_BYTES = 64 * 1024 * 1024, /* what is to be sent to nodes */
    BUFFER_RESERVE = 1024 * 1024,
};

struct control_settings control_settings_default(void)
{
    return (struct control_settings){
        .interval = 5 * NSEC_S,
        .interval_out = 500 * NSEC_MS,
        .timeout = 2 * NSEC_S,
        .unhealthy = 2,
        .healthy = 3,
        .eject_after = 200 * NSEC_MS,
        .eject_misses = 3,
        .max_ejected = 50,
        .hold_min = NSEC_S,
        .hold_max = 60 * NSEC_S,
        .on_return = ON_RETURN_REPLAY,
        .flush_interval = 60 * NSEC_S,
        .grace = 10 * NSEC_S,
        .request_timeout = 100 * NSEC_MS,
        .journal_max = 64 * 1024 * 1024,
        .jobs_max = 8,
        .scripts_max = 16 * 1024 * 1024,
        .databases = 1,
        .hash_tags = true,
    };
}

/* ---- nodes ---- */

static void bury_node(struct grave *g)
{
    struct control_node *n = container_of(g, struct control_node, grave);
    node_login_unref(n->member.login);
    pulse_unref(n->pulse);
    free(n);
}

static void node_free(struct control_node *n)
{
    struct control *c = n->control;
    c->nodes[n->number] = NULL;
    probe_fini(&n->probe);
    jobs_node_gone(n);
    departed_free_ghosts(&n->ghosts);
    timer_unmake(&n->check);
    timer_unmake(&n->look);
    timer_unmake(&n->wait);
    loop_bury(&c->loop, &n->probe.conn.source, &n->grave, bury_node);
}

static int make_timers(struct control_node *n, struct timers *timers)
{
    if (timer_make(&n->check, timers, health_on_check_time) != 0)
        return -ENOMEM;
    if (timer_make(&n->look, timers, health_on_look_time) != 0) {
        timer_unmake(&n->check);
        return -ENOMEM;
    }
    if (timer_make(&n->wait, timers, cleaner_on_wait) != 0) {
        timer_unmake(&n->check);
        timer_unmake(&n->look);
        return -ENOMEM;
    }
    return 0;
}

/* For its next check and connection. */
static void tell_probe(struct control_node *n)
{
    const struct control_settings *s = n->control->settings;
    const struct node_login *own = n->member.login;
    n->probe.timeout = s->timeout;
    n->probe.user = own ? own->user : s->user;
    n->probe.password = own ? own->password : s->password;
}

/* Takes `pulse`, which may be NULL: no memory. */
static struct control_node *node_new(struct control *c, uint32_t number, const struct member *m,
                                     struct pulse *pulse)
{
    struct control_node *n = calloc(1, sizeof(*n));
    if (!n || !pulse || make_timers(n, &c->loop.timers) != 0) {
        free(n);
        pulse_unref(pulse);
        return NULL;
    }
    if (probe_init(&n->probe, &c->loop, &c->chunks, &c->dirty, &HEALTH_PROBE_EVENTS) != 0) {
        timer_unmake(&n->check);
        timer_unmake(&n->look);
        timer_unmake(&n->wait);
        free(n);
        pulse_unref(pulse);
        return NULL;
    }
    n->control = c;
    n->number = number;
    n->member = *m;
    node_login_ref(m->login);
    n->pulse = pulse;
    cleaner_init(n);
    n->probe.tls = c->settings->tls;
    n->probe.name = n->member.name;
    tell_probe(n);
    list_init(&n->ghosts);
    list_init(&n->kill_call.link);
    list_init(&n->join_call.link);
    list_init(&n->relock_call.link);
    list_init(&n->unlock_call.link);
    list_init(&n->sweep_call.link);
    list_init(&n->scans);
    list_init(&n->figures_call.link);
    return n;
}

static struct control_node *find_node(const struct control *c, const char *name)
{
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && strcmp(c->nodes[i]->member.name, name) == 0)
            return c->nodes[i];
    return NULL;
}

int control_free_number(const struct control *c)
{
    if (c->node_room < NUMBERS_MAX)
        return (int)c->node_room;
    for (uint32_t i = 0; i < c->node_room; i++)
        if (!c->nodes[i] && !departed_has_number(c, i))
            return (int)i;
    return -E2BIG;
}

/* It comes when scripts are in use: it is admitted with them, as one that comes back; else it would
 * be used at once, and as it is. */
static void wait_for_scripts(struct control_node *n)
{
    n->fresh = true;
    n->out_since = control_now(n->control);
    n->state = NODE_OUT;
    n->out_version = n->control->version + 1;
    n->successes = n->control->settings->healthy - 1; /* one good check is enough */
    str_fill(n->why, sizeof(n->why), STR("scripts are to be loaded"));
}

static int add_node(struct control *c, const struct member *m)
{
    struct departed *d = departed_find(c, m->name);
    int number = d ? (int)d->number : control_free_number(c);
    if (number < 0)
        return number;
    struct pulse *pulse = d ? pulse_ref(d->pulse) : pulse_new((uint32_t)number, c->worker_count);
    struct control_node *n = node_new(c, (uint32_t)number, m, pulse);
    if (!n)
        return -ENOMEM;
    c->nodes[number] = n;
    if ((uint32_t)number == c->node_room)
        c->node_room++;
    if (c->heir)
        node_lose(n);
    if (d)
        departed_return(d, n);
    else if (c->began && c->scripts.count > 0)
        wait_for_scripts(n);
    jobs_node_added(n);
    health_start(n);
    return 0;
}

/* ---- members ---- */

/* A node that no source names is kept while it is well and its grace lasts, so that proxies that
 * hear of it at different times work by the same ring for most of the time. */
static bool is_over(const struct control_node *n)
{
    if (n->member.gone_since == 0)
        return false;
    bool well = n->state == NODE_NEW || n->state == NODE_UP;
    uint64_t kept_until = n->member.gone_since + n->control->settings->grace;
    return !well || control_now(n->control) >= kept_until;
}

/* Lets those go whose grace is over; frees those that own nothing any more. */
static void review_members(struct control *c)
{
    struct mover *m = &c->mover;
    bool changed = false;
    uint64_t next = NSEC_NEVER;
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n || n->leaving || n->member.gone_since == 0)
            continue;
        if (is_over(n)) {
            n->leaving = changed = true;
            log_event(c->log, LOG_INFO, "node-leaves", "node=%s state=%s", n->member.name,
                      node_state_name((enum node_state)n->state));
        } else {
            next = nsec_min(next, n->member.gone_since + c->settings->grace);
        }
    }
    if (changed)
        mover_members_changed(c);
    bool at_rest = m->stage == MOVE_REST && m->fenced_count == 0;
    bool freed = false;
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n || !n->leaving)
            continue;
        /* What was under way there when it lost its slots is answered by then. */
        uint64_t free_at = m->moved_at + 2 * c->settings->request_timeout;
        if (!at_rest || control_now(c) < free_at) {
            next = nsec_min(next, at_rest ? free_at : control_now(c) + 50 * NSEC_MS);
            continue;
        }
        log_event(c->log, LOG_INFO, "node-left", "node=%s", n->member.name);
        if (c->ops.dropped)
            c->ops.dropped(c->ops.dropped_owner, n->member.name);
        departed_remember(n);
        mover_forget_node(c, i);
        node_free(n);
        freed = true;
    }
    if (freed)
        mover_publish(c);
    if (next != NSEC_NEVER)
        timer_set(&c->members_timer, next);
}

static void on_members_time(struct timer *t)
{
    review_members(container_of(t, struct control, members_timer));
}

/* Takes over what a source says of a node that is there. True: its place in the ring changes. */
static bool update_node(struct control_node *n, const struct member *m, bool *ret_publish)
{
    struct control *c = n->control;
    bool weight = n->member.weight != m->weight;
    bool back = n->leaving && m->gone_since == 0;
    if (!addr_eq(&n->member.addr, &m->addr)) {
        char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
        log_event(c->log, LOG_INFO, "node-address", "node=%s from=%s to=%s", n->member.name,
                  addr_print(&n->member.addr, from), addr_print(&m->addr, to));
        *ret_publish = true;
        /* What was told to the old address does not say anything of the new one. */
        if (probe_is_ready(&n->probe))
            probe_close(&n->probe);
        timer_set(&n->check, control_now(c));
    }
    /* Views say so of a node. */
    if ((n->member.gone_since != 0) != (m->gone_since != 0) || n->member.login != m->login)
        mover_publish_soon(c);
    node_login_ref(m->login);
    node_login_unref(n->member.login);
    n->member = *m;
    tell_probe(n);
    if (back)
        n->leaving = false;
    return weight || back;
}

int control_set_members(struct control *c, const struct member *members, uint32_t count)
{
    bool changed = !c->began, publish = false;
    c->loop.now = io_now(c->loop.io); /* it may not have had a turn for long */
    if (count > MAGLEV_NODES_MAX)
        return -E2BIG;
    for (uint32_t i = 0; i < count; i++) {
        struct control_node *n = find_node(c, members[i].name);
        if (n) {
            changed = update_node(n, &members[i], &publish) || changed;
            continue;
        }
        int err = add_node(c, &members[i]);
        if (err)
            return err; /* those before it are in; whoever asks again goes on from there */
        changed = true;
        if (c->began)
            log_event(c->log, LOG_INFO, "node-added", "node=%s", members[i].name);
    }
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n || n->member.gone_since != 0)
            continue;
        bool named = false;
        for (uint32_t k = 0; k < count && !named; k++)
            named = strcmp(members[k].name, n->member.name) == 0;
        if (!named) {
            n->member.gone_since = control_now(c);
            mover_publish_soon(c);
        }
    }
    if (changed && (count > 0 || c->began))
        mover_members_changed(c);
    else if (publish || c->version == 0)
        mover_publish(c);
    review_members(c);
    return 0;
}

/* ---- what workers tell ---- */

static void deliver_adopted(struct message *m, void *receiver)
{
    struct control *c = receiver;
    struct control_adopted *a = container_of(m, struct control_adopted, message);
    if (a->refused)
        mover_publish_soon(c);
    else if (a->version > c->adopted[a->worker])
        c->adopted[a->worker] = a->version;
    free(a);
    if (c->ends)
        return;
    mover_step(c);
    wiper_step(c);
}

void control_tell_adopted(struct control *c, struct control_adopted *a)
{
    a->message.deliver = deliver_adopted;
    mailbox_post(&c->mailbox, &a->message);
}

struct trouble_message {
    struct message message;
    uint32_t node;
    enum trouble what;
    char why[PROBE_WHY_MAX];
};

static void deliver_trouble(struct message *m, void *receiver)
{
    struct trouble_message *t = container_of(m, struct trouble_message, message);
    struct control_node *n = control_node(receiver, t->node);
    if (n)
        health_trouble(n, t->what, t->why);
    free(t);
}

void control_tell_trouble(struct control *c, const struct pulse *p, enum trouble what,
                          const char *why)
{
    struct trouble_message *t = malloc(sizeof(*t));
    if (!t)
        return;
    *t =
        (struct trouble_message){.message.deliver = deliver_trouble, .node = p->node, .what = what};
    str_fill(t->why, sizeof(t->why), str_of(why));
    mailbox_post(&c->mailbox, &t->message);
}

static void deliver_ghost(struct message *m, void *receiver)
{
    struct control *c = receiver;
    struct control_ghost *g = container_of(m, struct control_ghost, message);
    struct control_node *n = control_node(c, g->pulse->node);
    metric_add(&c->metrics.ghosts, 1);
    if (!n || n->pulse != g->pulse) {
        departed_take_ghost(c, g);
        return;
    }
    list_push_tail(&n->ghosts, &g->link);
    cleaner_settle(n);
    if (!probe_is_ready(&n->probe) && !n->probe.asking)
        timer_set(&n->check, control_now(c));
}

void control_tell_ghost(struct control *c, struct control_ghost *g)
{
    g->message.deliver = deliver_ghost;
    mailbox_post(&c->mailbox, &g->message);
}

static void deliver_written(struct message *m, void *receiver)
{
    struct written *w = container_of(m, struct written, message);
    mover_note(receiver, w);
    written_free(w);
}

void control_tell_written(struct control *c, struct written *w)
{
    w->message.deliver = deliver_written;
    mailbox_post(&c->mailbox, &w->message);
}

static void deliver_stop(struct message *m, void *receiver)
{
    struct control *c = receiver;
    free(m);
    c->stopping = true;
}

int control_post_stop(struct control *c)
{
    struct message *m = malloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct message){.deliver = deliver_stop};
    mailbox_post(&c->mailbox, m);
    return 0;
}

void control_post(struct control *c, struct message *m)
{
    mailbox_post(&c->mailbox, m);
}

/* ---- settings ---- */

void control_set_settings(struct control *c, const struct control_settings *settings)
{
    must(settings->jobs_max == c->settings->jobs_max);
    must(settings->hash_tags == c->settings->hash_tags);
    must(settings->databases == c->settings->databases);
    must(settings->layout == c->settings->layout);
    must(settings->tls == c->settings->tls);
    c->settings = settings;
    c->journal.bytes_max = (size_t)settings->journal_max;
    c->scripts.bytes_max = (size_t)settings->scripts_max;
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n)
            continue;
        tell_probe(n);
        health_interval_changed(n);
    }
    /* The grace of those that are gone may be over now. */
    timer_set(&c->members_timer, control_now(c));
}

/* ---- a turn ---- */

static void flush_probes(struct control *c)
{
    while (!list_empty(&c->dirty)) {
        struct conn *conn = list_first(&c->dirty, struct conn, dirty);
        list_remove(&conn->dirty);
        probe_flush(container_of(conn, struct probe, conn));
    }
}

bool control_turn(struct control *c, uint64_t max_wait_ns)
{
    uint64_t until = max_wait_ns == NSEC_NEVER ? NSEC_NEVER : control_now(c) + max_wait_ns;
    (void)loop_poll(&c->loop, until);
    mailbox_empty(&c->mailbox, c);
    mover_end_turn(c);
    flush_probes(c);
    loop_end_turn(&c->loop);
    return !c->stopping;
}

bool control_is_calm(const struct control *c)
{
    const struct mover *m = &c->mover;
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && c->nodes[i]->state != NODE_UP && !c->nodes[i]->twin)
            return false;
    return m->stage == MOVE_REST && m->fenced_count == 0 && !m->republish && !m->retarget_due;
}

const struct control_metrics *control_metrics(const struct control *c)
{
    return &c->metrics;
}

struct control_metrics *control_own_metrics(struct control *c)
{
    return &c->metrics;
}

struct loop *control_loop(struct control *c)
{
    return &c->loop;
}

/* ---- life ---- */

int control_new(const struct control_settings *settings, const struct control_ops *ops,
                struct io *io, struct log *log, unsigned worker_count, struct control **ret_control)
{
    struct control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->settings = settings;
    c->ops = *ops;
    c->log = log;
    c->worker_count = worker_count;
    c->adopted = calloc(worker_count + 1, sizeof(*c->adopted));
    c->nodes = calloc(NUMBERS_MAX, sizeof(struct control_node *));
    loop_init(&c->loop, io);
    mailbox_init(&c->mailbox, io);
    c->rng.state = io->ops->random(io->ctx);
    list_init(&c->dirty);
    list_init(&c->wipes);
    c->departed = calloc(DEPARTED_MAX, sizeof(*c->departed));
    int err = c->adopted && c->nodes && c->departed ? 0 : -ENOMEM;
    bool has_jobs = !err && (err = jobs_init(&c->jobs, settings)) == 0;
    if (!err)
        err = timer_make(&c->members_timer, &c->loop.timers, on_members_time);
    if (!err) {
        err = mover_init(&c->mover, c);
        if (err)
            timer_unmake(&c->members_timer);
    }
    if (err) {
        if (has_jobs)
            jobs_fini(&c->jobs);
        loop_fini(&c->loop);
        free(c->adopted);
        free(c->nodes);
        free(c->departed);
        free(c);
        return err;
    }
    chunk_pool_init(&c->chunks, BUFFER_BYTES, BUFFER_RESERVE);
    journal_init(&c->journal, (size_t)settings->journal_max);
    scripts_init(&c->scripts, (size_t)settings->scripts_max);
    *ret_control = c;
    return 0;
}

struct control *control_free(struct control *c)
{
    if (!c)
        return NULL;
    c->began = false; /* nobody is there any more to be answered */
    c->ends = true;
    mailbox_empty(&c->mailbox, c);
    wiper_fini(c);
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i])
            node_free(c->nodes[i]);
    jobs_fini(&c->jobs);
    for (unsigned i = 0; i < DEPARTED_MAX; i++)
        departed_forget(&c->departed[i]);
    journal_fini(&c->journal);
    scripts_fini(&c->scripts);
    mover_fini(&c->mover);
    timer_unmake(&c->members_timer);
    loop_fini(&c->loop);
    chunk_pool_fini(&c->chunks);
    free(c->adopted);
    free(c->nodes);
    free(c->departed);
    free(c);
    return NULL;
}
