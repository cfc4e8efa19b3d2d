/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes are made to forget, so that no old value can come up:
 *
 *   settle   connections that were closed with writes on them are killed by their CLIENT ID: a
 *            frozen node would execute those writes when it thaws
 *   join     a node that comes back is settled, and given the scripts that it lacks (loader.c);
 *            then it is gone through for the jobs that it has missed, and the journal's keys are
 *            UNLINKed there; or, if the journal does not know them all, it is flushed
 *   clean    the journal's keys of slots that a node has just been given are UNLINKed there
 *
 * All of it goes on the nodes' probes, so it never waits behind requests, nor they behind it. What
 * is cleared away once all is at rest: sweeper.c.
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_internal.h"
#include "ring/key_hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARK_MS = 3600 * 1000, /* how long it can be told when a node was flushed */
    LOCK_MS = 10 * 1000,   /* for a proxy that dies while it flushes */
};

#define RETRY      (10 * NSEC_MS)
#define RETRY_SLOW (100 * NSEC_MS)

static void join_step(struct control_node *n);

/* ---- settling ---- */

bool cleaner_is_settled(const struct control_node *n)
{
    return list_empty(&n->ghosts) &&
           atomic_load_explicit(&n->pulse->unsettled, memory_order_acquire) == 0;
}

static void drop_ghost(struct control_ghost *g)
{
    list_remove(&g->link);
    atomic_fetch_sub_explicit(&g->pulse->unsettled, g->writes, memory_order_release);
    pulse_unref(g->pulse);
    free(g);
}

static void killed(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = container_of(call, struct control_node, kill_call);
    n->killing = 0;
    if (!r)
        return; /* again, when the node is back */
    if (r->type == '-' && r->text.len > 6 && memcmp(r->text.p, "NOPERM", 6) == 0)
        log_event(n->control->log, LOG_ERROR, "node-cannot-kill", "node=%s reason=\"%.*s\"",
                  n->member.name, (int)r->text.len, r->text.p);
    n->settled_at = control_now(n->control);
    /* :1 it is dead now; :0 or an error: it was before. */
    if (!list_empty(&n->ghosts))
        drop_ghost(list_first(&n->ghosts, struct control_ghost, link));
    cleaner_settle(n);
    if (n->state == NODE_JOINING)
        join_step(n);
    else
        mover_step(n->control);
}

static bool is_another_process(const struct control_node *n)
{
    return n->probe.run_id[0] && n->run_id[0] && strcmp(n->probe.run_id, n->run_id) != 0;
}

void cleaner_settle(struct control_node *n)
{
    if (is_another_process(n)) {
        /* What the old one had in its sockets is gone with it, and its ids are others' now. */
        list_for_each_safe (link, &n->ghosts)
            if (!n->killing)
                drop_ghost(list_item(link, struct control_ghost, link));
        return;
    }
    list_for_each_safe (link, &n->ghosts) {
        struct control_ghost *g = list_item(link, struct control_ghost, link);
        if (n->killing || !probe_is_ready(&n->probe))
            return;
        if (g->client_id == 0) { /* it cannot be named */
            drop_ghost(g);
            continue;
        }
        char id[24];
        int len = snprintf(id, sizeof(id), "%" PRIu64, g->client_id);
        struct str words[] = {STR("CLIENT"), STR("KILL"), STR("ID"), {id, (size_t)len}};
        n->kill_call.done = killed;
        if (probe_send_words(&n->probe, &n->kill_call, words, 4) != 0) {
            node_retry(n, RETRY);
            return;
        }
        n->killing = 1;
    }
}

/* ---- UNLINKs ---- */

static void forget_unlinks(struct control *c, const struct control_node *n)
{
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next)
            if (e->clean == n->number)
                e->clean = JOURNAL_NO_NODE;
}

void cleaner_unlinked(struct control_node *n)
{
    struct control *c = n->control;
    if (n->cleaning.failed) {
        n->cleaning.failed = false;
        n->sweeping = n->swept = false;
        forget_unlinks(c, n);
        node_retry(n, RETRY);
        return;
    }
    if (n->swept)
        sweeper_ends(n);
    if (n->state == NODE_JOINING)
        join_step(n);
    else
        mover_step(c);
}

static void on_unlinked(struct unlink_group *g)
{
    cleaner_unlinked(container_of(g, struct control_node, cleaning));
}

static void on_refused(struct unlink_group *g, const char *why)
{
    /* Who cannot be cleaned cannot be used. */
    health_eject(container_of(g, struct control_node, cleaning), false, why);
}

void cleaner_init(struct control_node *n)
{
    n->cleaning = (struct unlink_group){.done = on_unlinked, .refused = on_refused};
}

/* Is an UNLINK of this entry at `n` still to be sent? */
static bool wants_unlink(const struct control_node *n, uint32_t slot, const struct journal_entry *e)
{
    const struct mover *m = &n->control->mover;
    if (n->state == NODE_JOINING)
        return e->clean != n->number &&
               (m->home[slot] == n->number || journal_entry_is_at(e, (uint16_t)n->number));
    /* Another proxy may have written it here before we wrote it elsewhere. No more of that comes
     * now, so there is an end to it. */
    return m->fenced[slot] && m->owner[slot] == n->number &&
           (e->clean != n->number || e->elsewhere);
}

/* Sends all that are to be sent. → how many keys */
static uint64_t send_unlinks(struct control_node *n)
{
    struct control *c = n->control;
    struct unlink_batch b;
    uint64_t sent = 0;
    unlink_begin(&b, n, &n->cleaning);
    for (uint32_t i = 0; i < MAGLEV_SLOTS && !b.failed; i++) {
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next) {
            if (!wants_unlink(n, i, e))
                continue;
            e->clean = (uint16_t)n->number; /* taken back if it goes wrong */
            e->elsewhere = e->again = false;
            unlink_add(&b, e->database, (struct str){e->key, e->len});
            sent++;
        }
    }
    unlink_send(&b);
    if (b.failed) {
        if (n->cleaning.out > 0)
            n->cleaning.failed = true;
        else
            forget_unlinks(c, n);
        node_retry(n, RETRY);
    }
    metric_add(&c->metrics.replayed_keys, b.sent);
    return sent;
}

static bool has_unlinks(const struct control_node *n)
{
    const struct control *c = n->control;
    if (c->journal.count == 0)
        return false;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next)
            if (wants_unlink(n, i, e))
                return true;
    return false;
}

bool cleaner_clean(struct control_node *n)
{
    if (!node_is_in_ring(n))
        return false; /* it loses its slots anyway */
    if (n->lost) {
        n->to_sweep = true;
        sweeper_go_on(n);
        return false;
    }
    if (n->cleaning.out > 0 || n->cleaning.failed)
        return false;
    if (!has_unlinks(n))
        return true;
    if (!probe_is_ready(&n->probe))
        return false; /* on_well() comes back here */
    if (!cleaner_is_settled(n)) {
        cleaner_settle(n);
        node_retry(n, RETRY);
        return false;
    }
    metric_add(&n->control->metrics.replays, 1);
    (void)send_unlinks(n);
    return false;
}

/* ---- joining ---- */

static void go_to(struct control_node *n, enum join_step step)
{
    n->join = (uint8_t)step;
    join_step(n);
}

/* It holds no copy of what it was made to forget, and did not get again: of all, if it was flushed.
 */
static void forget_at(struct control_node *n, bool all)
{
    struct control *c = n->control;
    for (uint32_t i = 0; i < MAGLEV_SLOTS && c->journal.count > 0; i++)
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next)
            if (all || (e->clean == n->number && !e->again))
                journal_entry_forget(e, (uint16_t)n->number);
}

static void joined(struct control_node *n)
{
    n->join = JOIN_NONE;
    n->fresh = false;
    health_admit(n);
}

void cleaner_loaded(struct control_node *n)
{
    if (n->join == JOIN_LOAD)
        join_step(n);
}

static void ask_to_join(struct control_node *n,
                        void (*done)(struct probe_call *, const struct probe_reply *),
                        const struct str *words, size_t count)
{
    n->join_call.done = done;
    if (probe_send_words(&n->probe, &n->join_call, words, count) != 0)
        node_retry(n, RETRY);
}

/* A step was answered. NULL: it is not joining any more, or the probe has failed and says so. */
static struct control_node *answered(struct probe_call *call, const struct probe_reply *r,
                                     enum join_step step)
{
    struct control_node *n = container_of(call, struct control_node, join_call);
    if (!r || n->state != NODE_JOINING || n->join != step)
        return NULL;
    if (r->type == '-') {
        char why[CONTROL_WHY_MAX];
        snprintf(why, sizeof(why), "cannot be flushed: %.*s",
                 (int)(r->text.len < 80 ? r->text.len : 80), r->text.p);
        health_eject(n, false, why);
        return NULL;
    }
    return n;
}

static const struct str LOCK[] = {{"SET", 3}, {CONTROL_LOCK_KEY, sizeof(CONTROL_LOCK_KEY) - 1},
                                  {"1", 1},   {"NX", 2},
                                  {"PX", 2},  {"10000", 5}};

static const struct str UNLOCK[] = {{"UNLINK", 6},
                                    {CONTROL_LOCK_KEY, sizeof(CONTROL_LOCK_KEY) - 1}};

static void ignore_reply(struct probe_call *call, const struct probe_reply *r)
{
    (void)call;
    (void)r;
}

/* What goes right behind the command of a step. Without memory it is not sent, and another proxy
 * may flush once more, or wait until the lock expires. */
static void also(struct control_node *n, struct probe_call *call, const struct str *words,
                 size_t count)
{
    call->done = ignore_reply;
    if (probe_is_ready(&n->probe) && list_empty(&call->link))
        (void)!probe_send_words(&n->probe, call, words, count);
}

/* Others may be waiting for it, and so may this one, when it comes back to that step. */
static void unlock(struct control_node *n)
{
    also(n, &n->unlock_call, UNLOCK, 2);
}

static void locked(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = answered(call, r, JOIN_LOCK);
    if (!n)
        return;
    if (r->type == '+')
        go_to(n, JOIN_ASK);
    else
        node_retry(n, RETRY_SLOW); /* another proxy is at it */
}

static void was_flushed(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = answered(call, r, JOIN_ASK);
    if (!n)
        return;
    struct control *c = n->control;
    /* Until then something may have been done there that the journal does not know, or that was
     * overtaken by what it has forgotten. */
    uint64_t since = n->out_since;
    if (n->lost && n->settled_at > since)
        since = n->settled_at;
    if (n->lost && n->lost_at > since)
        since = n->lost_at;
    since = n->wiped_at > since ? n->wiped_at : since;
    uint64_t age = NSEC_NEVER; /* when it was asked, or a little less */
    if (r->type == ':' && r->number > 0 && r->number <= MARK_MS)
        age = (uint64_t)(MARK_MS - r->number + 1) * NSEC_MS;
    if (n->mark_asked_at > since && age < n->mark_asked_at - since) { /* by another proxy */
        metric_add(&c->metrics.flushes_spared, 1);
        n->lost = false;
        n->wiped_at = 0;
        unlock(n);
        go_to(n, JOIN_SCAN); /* jobs may be younger than that flush, and other proxies fill it */
    } else if (age < c->settings->flush_interval && n->wiped_at == 0) {
        unlock(n);
        node_retry(n, nsec_min(c->settings->flush_interval - age, NSEC_S));
        n->join = JOIN_LOCK;
    } else {
        go_to(n, JOIN_FLUSH);
    }
}

static void flushed(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = answered(call, r, JOIN_FLUSH);
    if (n)
        go_to(n, JOIN_MARK);
}

static void marked(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = answered(call, r, JOIN_MARK);
    if (!n)
        return;
    metric_add(&n->control->metrics.flushes, 1);
    log_event(n->control->log, LOG_WARN, "node-flushed", "node=%s reason=\"%s\"", n->member.name,
              n->lost       ? "the journal does not know all that it missed"
              : n->wiped_at ? "FLUSHALL while it was out"
                            : "on_return");
    if (n->wiped_at != n->wipe_sent) { /* once more since: another proxy may have filled it */
        go_to(n, JOIN_LOCK);
        return;
    }
    n->wiped_at = 0;
    n->lost = n->to_sweep = n->swept_early = false;
    forget_at(n, true);
    jobs_node_emptied(n, n->flush_sent);
    if (list_empty(&n->scans))
        joined(n);
    else
        go_to(n, JOIN_SCAN); /* for a job that was asked for meanwhile */
}

static bool wants_flush(const struct control_node *n)
{
    return n->lost || n->wiped_at != 0 ||
           (n->control->settings->on_return == ON_RETURN_FLUSH && !n->fresh);
}

/* Is it another process, in which none of our workers can have written? One that did not know yet
 * that it was out may have been quick to connect to it, also for the first time. By now all know.
 */
static bool is_empty(const struct control_node *n)
{
    return is_another_process(n) && pulse_last_greeted(n->pulse) <= n->run_at;
}

static void join_settle(struct control_node *n)
{
    cleaner_settle(n);
    if (!cleaner_is_settled(n) || !mover_all_have_adopted(n->control, n->out_version)) {
        node_retry(n, RETRY); /* workers may not yet have told of all */
        return;
    }
    if (is_empty(n)) { /* of ours. If it is lost it stays so: another proxy may have been quicker */
        n->to_sweep = n->swept_early = false;
        forget_at(n, true);
        jobs_node_emptied(n, control_now(n->control));
    }
    go_to(n, JOIN_LOAD);
}

/* Nothing that it holds is taken from it. */
static bool keeps_all(const struct control_node *n)
{
    return n->control->settings->on_return == ON_RETURN_KEEP && n->wiped_at == 0 &&
           list_empty(&n->scans);
}

/* Before it is made to forget, since nothing may come between that and its admission. */
static void join_load(struct control_node *n)
{
    loader_go_on(n);
    if (!loader_is_done(n))
        node_retry(n, RETRY_SLOW);
    else if (keeps_all(n))
        joined(n);
    else
        go_to(n, wants_flush(n) ? JOIN_LOCK : JOIN_SCAN);
}

static void join_scan(struct control_node *n)
{
    if (!jobs_node_joins(n))
        cleaner_scanned(n);
}

void cleaner_scanned(struct control_node *n)
{
    if (n->state == NODE_JOINING && n->join == JOIN_SCAN)
        go_to(n, n->lost ? JOIN_LOCK : JOIN_UNLINK);
}

static void join_unlink(struct control_node *n)
{
    if (n->cleaning.out > 0)
        return;
    if (has_unlinks(n)) {
        metric_add(&n->control->metrics.replays, 1);
        uint64_t keys = send_unlinks(n);
        log_event(n->control->log, LOG_INFO, "node-replay", "node=%s keys=%" PRIu64, n->member.name,
                  keys);
        return;
    }
    if (n->lost || n->wiped_at != 0) { /* the journal has overflowed meanwhile, or a client asked */
        go_to(n, JOIN_LOCK);
        return;
    }
    if (!list_empty(&n->scans)) { /* another job was asked for meanwhile */
        go_to(n, JOIN_SCAN);
        return;
    }
    forget_at(n, false);
    joined(n);
}

static void join_step(struct control_node *n)
{
    if (n->state != NODE_JOINING)
        return;
    if (keeps_all(n))
        n->join = JOIN_LOAD;
    if (!probe_is_ready(&n->probe) || !list_empty(&n->join_call.link))
        return;
    static const struct str ASK[] = {{"PTTL", 4}, {CONTROL_MARK_KEY, sizeof(CONTROL_MARK_KEY) - 1}};
    static const struct str FLUSH[] = {{"FLUSHALL", 8}, {"ASYNC", 5}};
    static const struct str MARK[] = {{"SET", 3},
                                      {CONTROL_MARK_KEY, sizeof(CONTROL_MARK_KEY) - 1},
                                      {"1", 1},
                                      {"PX", 2},
                                      {"3600000", 7}};
    switch ((enum join_step)n->join) {
    case JOIN_SETTLE:
        join_settle(n);
        return;
    case JOIN_SCAN:
        join_scan(n);
        return;
    case JOIN_UNLINK:
        join_unlink(n);
        return;
    case JOIN_LOCK:
        ask_to_join(n, locked, LOCK, 6);
        return;
    case JOIN_ASK:
        n->mark_asked_at = control_now(n->control);
        ask_to_join(n, was_flushed, ASK, 2);
        return;
    case JOIN_FLUSH:
        n->wipe_sent = n->wiped_at;
        n->flush_sent = control_now(n->control);
        /* It takes the lock away, too; nobody is to have it before the mark is set. */
        ask_to_join(n, flushed, FLUSH, 2);
        also(n, &n->relock_call, LOCK, 6);
        return;
    case JOIN_MARK:
        ask_to_join(n, marked, MARK, 5);
        unlock(n);
        return;
    case JOIN_LOAD:
        join_load(n);
        return;
    case JOIN_NONE:
        break;
    }
    unreachable();
}

void cleaner_join(struct control_node *n)
{
    n->join = JOIN_SETTLE;
    join_step(n);
}

void cleaner_unjoin(struct control_node *n)
{
    n->join = JOIN_NONE;
    timer_clear(&n->wait);
}

void cleaner_on_wait(struct timer *t)
{
    struct control_node *n = container_of(t, struct control_node, wait);
    if (n->state == NODE_JOINING)
        join_step(n);
    else if (n->sweeping)
        sweeper_go_on(n);
    mover_step(n->control);
}
