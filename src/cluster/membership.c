/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/membership.h"

#include "base/must.h"
#include "os/thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Up to so many nodes a new address is published at once, for the next name may be one whose
 * look-up hangs. It costs a ring (a few ms) per name; above, a round makes one view.
 */
enum { PUBLISH_AT_ONCE_NODES = 64 };

/* A node that has a name. */
struct lookup {
    uint32_t node; /* index into nodes[] */
    uint16_t port;
    char host[VIEW_NODE_NAME_MAX];
    uint64_t due_ns;
    uint64_t retry_ns; /* pause after the next failure */
    bool failing;      /* the last look-up failed; logged when that began */
};

struct membership {
    struct membership_ops ops;
    struct log *log;
    uint64_t version; /* of the last view that was published */
    bool changed;     /* since then */
    struct view_node *nodes;
    uint32_t node_count;
    struct lookup *lookups;
    uint32_t lookup_count;

    /* Held while looking at or changing what follows, and while calling `ops` and `log` (but not
     * resolve), so that membership_stop() can be sure of what it promises. */
    struct thread_lock lock;
    bool stopped;
    bool ended;     /* the thread does not use this struct any more */
    bool abandoned; /* the thread was in a look-up when it was stopped: it frees */
    struct thread *thread;
};

static struct membership *membership_free(struct membership *m)
{
    thread_lock_fini(&m->lock);
    free(m->nodes);
    free(m->lookups);
    free(m);
    return NULL;
}

static void add_node(struct membership *m, const struct membership_node *node)
{
    struct view_node *n = &m->nodes[m->node_count];
    n->weight = 1;
    n->addr = node->addr;
    must(strlen(node->name) < sizeof(n->name));
    memcpy(n->name, node->name, strlen(node->name) + 1);
    if (node->addr.family == ADDR_NONE) {
        struct lookup *l = &m->lookups[m->lookup_count++];
        struct str host;
        /* Names come normalised from the configuration. */
        must(addr_split_host_port(str_of(node->name), &host, &l->port) == 0 && l->port != 0);
        must(host.len < sizeof(l->host));
        memcpy(l->host, host.p, host.len);
        l->node = m->node_count;
        l->retry_ns = MEMBERSHIP_RETRY_MIN;
    }
    m->node_count++;
}

/* Lock held. */
static int publish_if_changed(struct membership *m)
{
    if (!m->changed)
        return 0;
    struct view *v;
    int err = view_new(m->version + 1, m->nodes, m->node_count, &v);
    if (err)
        return err;
    err = m->ops.publish(m->ops.owner, v);
    view_unref(v);
    if (err)
        return err; /* some workers may have it: the next try is a newer view to them */
    m->version++;
    m->changed = false;
    return 0;
}

int membership_new(const struct membership_node *nodes, uint32_t count,
                   const struct membership_ops *ops, struct log *log,
                   struct membership **ret_membership)
{
    struct membership *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->ops = *ops;
    m->log = log;
    m->nodes = calloc(count + 1, sizeof(*m->nodes));
    m->lookups = calloc(count + 1, sizeof(*m->lookups));
    thread_lock_init(&m->lock);
    int err = m->nodes && m->lookups ? 0 : -ENOMEM;
    if (!err) {
        for (uint32_t i = 0; i < count; i++)
            add_node(m, &nodes[i]);
        m->changed = true;
        err = publish_if_changed(m);
    }
    if (err) {
        membership_free(m);
        return err;
    }
    *ret_membership = m;
    return 0;
}

/* Which of a name's addresses to use: the present one as long as it is among them, for resolvers
 * give them in a new order each time. */
static const struct addr *choose(const struct addr *present, const struct addr *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (addr_eq(present, &addrs[i]))
            return present;
    return &addrs[0];
}

/* Lock held. */
static void take_answer(struct membership *m, struct lookup *l, const struct addr *addrs,
                        size_t count)
{
    struct view_node *n = &m->nodes[l->node];
    const struct addr *chosen = choose(&n->addr, addrs, count);
    char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
    if (l->failing)
        log_event(m->log, LOG_INFO, "resolve-recovered", "node=%s", n->name);
    if (chosen != &n->addr) {
        log_event(m->log, LOG_INFO, "node-address", "node=%s from=%s to=%s", n->name,
                  addr_print(&n->addr, from), addr_print(chosen, to));
        n->addr = *chosen;
        m->changed = true;
    }
    l->failing = false;
    l->retry_ns = MEMBERSHIP_RETRY_MIN;
}

/* Lock held. The last good address stays. */
static void take_failure(struct membership *m, struct lookup *l, const char *reason)
{
    char kept[ADDR_TEXT_MAX];
    log_event(m->log, l->failing ? LOG_DEBUG : LOG_WARN, "resolve-failed",
              "node=%s keeps=%s reason=\"%s\"", m->nodes[l->node].name,
              addr_print(&m->nodes[l->node].addr, kept), reason);
    l->failing = true;
    l->retry_ns = nsec_min(l->retry_ns * 2, MEMBERSHIP_RETRY_MAX);
}

/* Gives the lock while it asks: that may take for ever, and somebody may want to stop us. */
static void look_up(struct membership *m, struct lookup *l)
{
    struct addr addrs[MEMBERSHIP_ADDRS_MAX];
    size_t count = 0;
    const char *reason = "";
    thread_lock_give(&m->lock);
    int err = m->ops.resolve(l->host, l->port, addrs, MEMBERSHIP_ADDRS_MAX, &count, &reason);
    thread_lock_take(&m->lock);
    if (m->stopped)
        return;
    l->due_ns = m->ops.now_ns() + (err ? l->retry_ns : MEMBERSHIP_REFRESH);
    if (err)
        take_failure(m, l, err == -ENOMEM ? "Out of memory" : reason);
    else
        take_answer(m, l, addrs, count);
}

/* Lock held, but for the look-ups themselves. One name after the other: one that hangs delays the
 * others' news, never a request. */
static uint64_t step(struct membership *m)
{
    uint64_t next = NSEC_NEVER, now_ns = m->ops.now_ns();
    for (uint32_t i = 0; i < m->lookup_count && !m->stopped; i++) {
        struct lookup *l = &m->lookups[i];
        if (l->due_ns <= now_ns) {
            look_up(m, l);
            if (!m->stopped && m->node_count <= PUBLISH_AT_ONCE_NODES)
                (void)!publish_if_changed(m); /* tried again below */
        }
        next = nsec_min(next, l->due_ns);
    }
    if (!m->stopped && publish_if_changed(m)) {
        log_event(m->log, LOG_ERROR, "view-failed", "reason=\"out of memory\"");
        next = nsec_min(next, m->ops.now_ns() + MEMBERSHIP_RETRY_MIN);
    }
    return next;
}

uint64_t membership_step(struct membership *m)
{
    thread_lock_take(&m->lock);
    uint64_t next = step(m);
    thread_lock_give(&m->lock);
    return next;
}

static void run(void *owner)
{
    struct membership *m = owner;
    thread_lock_take(&m->lock);
    while (!m->stopped) {
        uint64_t next = step(m), now = m->ops.now_ns();
        if (!m->stopped && next > now)
            thread_lock_wait(&m->lock, next == NSEC_NEVER ? NSEC_NEVER : next - now);
    }
    m->ended = true;
    bool mine = m->abandoned;
    thread_lock_give(&m->lock);
    if (mine)
        membership_free(m);
}

int membership_run(struct membership *m)
{
    if (m->lookup_count == 0)
        return 0;
    return thread_start("sumcache-names", run, m, &m->thread);
}

struct membership *membership_stop(struct membership *m)
{
    /* Enough for a thread that is not inside the resolver, on a machine under load. */
    const uint64_t patience_ns = 100 * NSEC_MS;
    if (!m)
        return NULL;
    thread_lock_take(&m->lock);
    m->stopped = true;
    thread_lock_notify(&m->lock);
    thread_lock_give(&m->lock);
    if (!m->thread)
        return membership_free(m);
    struct thread *t = m->thread;
    if (thread_join(t, patience_ns) == 0)
        return membership_free(m);
    thread_lock_take(&m->lock);
    bool mine = m->ended;
    m->abandoned = !mine;
    thread_lock_give(&m->lock);
    if (mine) {
        must(thread_join(t, NSEC_NEVER) == 0);
        return membership_free(m);
    }
    thread_abandon(t);
    return NULL;
}
