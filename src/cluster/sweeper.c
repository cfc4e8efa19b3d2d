/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is cleared away when slots have come to rest:
 *
 *   tidy     the journal's keys are UNLINKed at nodes that had them meanwhile, and leave it
 *   sweep    a node is gone through by SCAN for keys of slots that are not its own: because the
 *            members have changed, or because the journal did not know all
 *   home     when all have been swept, where slots are now becomes their home
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_internal.h"
#include "cluster/scan_reply.h"
#include "ring/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_REST = 4 }; /* a sweep leaves a node alone for so many times what a step took */

#define RETRY (10 * NSEC_MS)

/* A write that was on its way when slots moved has been answered by now, or counts as unsettled. */
static bool stragglers_are_over(const struct control *c)
{
    const struct mover *m = &c->mover;
    return m->stage == MOVE_REST && m->fenced_count == 0 &&
           control_now(c) >= m->moved_at + 2 * c->settings->request_timeout;
}

/* ---- sweeping ---- */

void sweeper_ends(struct control_node *n)
{
    struct control *c = n->control;
    struct mover *m = &c->mover;
    n->sweeping = n->swept = false;
    if (m->moves != n->sweep_moves)
        return; /* it lost slots meanwhile, whose keys may have been passed over: again */
    n->lost = false;
    metric_add(&c->metrics.sweeps, 1);
    log_event(c->log, LOG_INFO, "node-swept", "node=%s", n->member.name);
    n->swept_early = !n->sweep_late;
    if (n->swept_early)
        return; /* its slots may open; it is swept once more, for what came behind this sweep */
    n->to_sweep = false;
    for (uint32_t i = 0; i < MAGLEV_SLOTS && c->journal.count > 0; i++)
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next)
            if (m->owner[i] != n->number)
                journal_entry_forget(e, (uint16_t)n->number);
}

/* UNLINKs those that are not its own. False: it is not what SCAN answers. */
static bool take_scanned(struct control_node *n, struct str whole)
{
    struct control *c = n->control;
    const struct mover *m = &c->mover;
    struct scan_reply r;
    struct str key;
    if (scan_reply_begin(whole, &r) != 0)
        return false;
    struct unlink_batch b;
    unlink_begin(&b, n, &n->cleaning);
    while (r.keys > 0 && !b.failed) {
        if (scan_reply_next(&r, &key) != 0) {
            unlink_drop(&b);
            return false;
        }
        uint32_t slot = maglev_slot(layout_hash(c->settings->layout, key, c->settings->hash_tags));
        bool ours = n->sweep_database == 0 && control_is_own_key(key);
        if (ours || (m->owner[slot] == n->number && !m->fenced[slot]))
            continue;
        metric_add(&c->metrics.swept_keys, 1);
        unlink_add(&b, n->sweep_database, key);
    }
    unlink_send(&b);
    if (!b.failed)
        n->sweep_cursor = r.cursor;
    return !b.failed;
}

/* Who cannot be gone through and must be, is flushed instead, by the way out and back. */
static void scan_refused(struct control_node *n, struct str text)
{
    char why[CONTROL_WHY_MAX];
    snprintf(why, sizeof(why), "SCAN: %.*s", (int)(text.len < 80 ? text.len : 80), text.p);
    n->sweeping = false;
    if (!n->cannot_scan)
        log_event(n->control->log, LOG_ERROR, "node-cannot-scan", "node=%s reason=\"%s\"",
                  n->member.name, why);
    n->cannot_scan = true;
    if (n->lost)
        health_eject(n, false, why);
}

static void swept(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = container_of(call, struct control_node, sweep_call);
    bool lacks = r && probe_lacks_database(call, r);
    if (!n->sweeping)
        return; /* it was ejected meanwhile */
    if (r && r->type == '-' && !lacks) {
        scan_refused(n, r->text);
        return;
    }
    if (!lacks && (!r || r->type != '*' || !take_scanned(n, r->whole))) {
        n->sweeping = false; /* from the beginning, later */
        return;
    }
    bool over = n->sweep_cursor == 0 || lacks; /* with this database */
    if (over && n->sweep_database + 1U < n->control->settings->databases) {
        n->sweep_database++;
        n->sweep_cursor = 0;
        over = false;
    }
    if (over) {
        n->swept = true;
        if (n->cleaning.out == 0)
            cleaner_unlinked(n);
    } else if (n->lost && n->control->mover.fenced_count > 0) {
        sweeper_go_on(n); /* somebody waits for it */
    } else {
        node_retry(n, SWEEP_REST * (n->latency + NSEC_MS));
    }
}

void sweeper_stop(struct control_node *n)
{
    n->sweeping = n->swept = false;
}

void sweeper_go_on(struct control_node *n)
{
    if (!list_empty(&n->sweep_call.link) || n->swept)
        return;
    if (!probe_is_ready(&n->probe)) { /* lost between two steps: there was no call to tell so */
        n->sweeping = false;
        return;
    }
    if (!n->sweeping) {
        if (!cleaner_is_settled(n)) {
            cleaner_settle(n);
            node_retry(n, RETRY);
            return;
        }
        n->sweeping = true;
        n->swept = false;
        n->sweep_cursor = n->sweep_database = 0;
        n->sweep_moves = n->control->mover.moves;
        n->sweep_late = stragglers_are_over(n->control);
    }
    char cursor[24];
    int len = snprintf(cursor, sizeof(cursor), "%" PRIu64, n->sweep_cursor);
    struct str words[] = {STR("SCAN"), {cursor, (size_t)len}, STR("COUNT"), STR("1000")};
    n->sweep_call.done = swept;
    n->sweep_call.database = n->sweep_database;
    if (probe_send_words(&n->probe, &n->sweep_call, words, 4) != 0)
        n->sweeping = false;
}

/* ---- tidying ---- */

/* Every key that a node holds of slots that are not its own has been swept: where a slot is now is
 * its home, if that is where it belongs when all are well. */
static void settle_home(struct control *c)
{
    struct mover *m = &c->mover;
    bool rest = false, moved = false;
    uint16_t *wanted CLEANUP(freep) = calloc(MAGLEV_SLOTS, sizeof(*wanted));
    if (!wanted || mover_home(c, wanted) != 0)
        return;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
        struct control_node *was = control_node(c, m->home[i]);
        if (m->home[i] == wanted[i])
            continue;
        if (m->owner[i] != wanted[i]) {
            rest = true;
            continue;
        }
        if (was && !node_is_in_ring(was)) { /* it was not swept */
            was->lost = true;
            was->lost_at = control_now(c);
        }
        m->home[i] = wanted[i];
        moved = true;
    }
    m->home_is_old = rest;
    if (!moved && rest)
        return; /* while a node is out, its slots cannot be at home; asked again and again */
    log_event(c->log, LOG_INFO, "home-moved", "complete=%s", rest ? "no" : "yes");
    mover_publish(c);
}

static bool sweep_all(struct control *c)
{
    bool done = true;
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n || !node_is_in_ring(n) || !n->to_sweep)
            continue;
        done = false;
        if (!n->sweeping && !n->cannot_scan)
            sweeper_go_on(n);
    }
    return done;
}

struct tidy {
    struct control *control;
    uint32_t slot;
};

/* The first holder of it that is not its owner, can be told, and is settled. */
static struct control_node *left_behind(struct control *c, uint32_t slot,
                                        const struct journal_entry *e)
{
    for (unsigned i = 0; i < JOURNAL_HOLDERS; i++) {
        struct control_node *n = control_node(c, e->holders[i]);
        if (n && n->number != c->mover.owner[slot] && node_is_in_ring(n) &&
            probe_is_ready(&n->probe) && cleaner_is_settled(n))
            return n;
    }
    return NULL;
}

struct tidy_call {
    struct probe_call call;
    struct control *control;
    uint32_t node, slot;
    uint64_t moves, hash;
};

static void tidied(struct probe_call *call, const struct probe_reply *r)
{
    struct tidy_call *t = container_of(call, struct tidy_call, call);
    struct control *c = t->control;
    bool gone = r && (r->type == ':' || probe_lacks_database(call, r));
    if (gone && c->mover.moves == t->moves)
        for (struct journal_entry *e = journal_slot(&c->journal, t->slot); e; e = e->next)
            if (e->hash == t->hash)
                journal_entry_forget(e, (uint16_t)t->node);
    free(t);
}

static void send_tidy(struct control_node *n, uint32_t slot, const struct journal_entry *e)
{
    struct tidy_call *t = malloc(sizeof(*t));
    if (!t)
        return;
    *t = (struct tidy_call){.call.done = tidied,
                            .call.database = e->database,
                            .control = n->control,
                            .node = n->number,
                            .slot = slot,
                            .moves = n->control->mover.moves,
                            .hash = e->hash};
    struct str words[] = {STR("UNLINK"), {e->key, e->len}};
    if (probe_send_words(&n->probe, &t->call, words, 2) != 0)
        free(t);
}

/* Its slot is at home, and nobody else holds it. (Its owner may: where it was written while that
 * was not yet its home.) */
static bool is_tidy(void *owner, struct journal_entry *e)
{
    const struct tidy *t = owner;
    const struct mover *m = &t->control->mover;
    if (m->owner[t->slot] != m->home[t->slot])
        return false;
    journal_entry_forget(e, m->owner[t->slot]);
    return !journal_entry_is_anywhere(e);
}

bool sweeper_has_work(const struct control *c)
{
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (n && node_is_in_ring(n) && n->to_sweep && !n->cannot_scan)
            return true;
    }
    return c->journal.count > 0 || c->mover.home_is_old;
}

void sweeper_tidy(struct control *c)
{
    enum { AT_ONCE = 2000 };
    struct mover *m = &c->mover;
    if (!stragglers_are_over(c))
        return;
    unsigned sent = 0;
    for (uint32_t i = 0; i < MAGLEV_SLOTS && c->journal.count > 0; i++) {
        struct tidy t = {c, i};
        journal_drop(&c->journal, i, is_tidy, &t);
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next) {
            struct control_node *n = sent < AT_ONCE ? left_behind(c, i, e) : NULL;
            if (!n)
                continue;
            send_tidy(n, i, e);
            sent++;
        }
    }
    if (sweep_all(c) && m->home_is_old)
        settle_home(c);
}
