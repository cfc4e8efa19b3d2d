/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How slots change their owner, so that a read that begins after a write was acknowledged never
 * gets an older value, though workers adopt views at different moments (docs/decisions/0007).
 *
 *   REST ──target differs──► PART ──all have adopted──► FENCE ──all have adopted──► REST
 *
 * PART: of a slot that is to leave, writes still go to its owner and are noted, reads are misses.
 *       So when all workers are here, nobody reads it anywhere.
 * FENCE: its new owner gets its writes, reads are still misses. So when all are here, nobody sends
 *       anything to the old owner, and all keys written there meanwhile are in the journal.
 * Then the new owner is cleaned (cleaner.c): it UNLINKs the journal's keys of its fenced slots. A
 * node that has nothing left to be UNLINKed is opened by the next view.
 *
 * If the target changes meanwhile, PART begins anew; slots that are fenced stay so until they are
 * at rest and clean. A slot's home is its owner when all members are well; writes elsewhere are
 * noted, so that what is left behind, here and there, can be named.
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY              (20 * NSEC_MS)
#define SOON               (50 * NSEC_MS)
#define TIDY_EACH          (200 * NSEC_MS)
#define OVERFLOW_TOLD_EACH (60 * NSEC_S)

static bool keeps(const struct control *c)
{
    return c->settings->on_return == ON_RETURN_KEEP;
}

/* ---- rings ---- */

static void fill_nobody(uint16_t *slots)
{
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        slots[i] = CONTROL_NO_NODE;
}

static bool is_of_target(const struct control_node *n)
{
    return node_is_in_ring(n);
}

static bool is_of_home(const struct control_node *n)
{
    return !n->leaving && !n->twin;
}

/* The ring over the nodes for which `wanted` says yes, by their numbers. 0 or -ENOMEM. */
static int build(const struct control *c, bool (*wanted)(const struct control_node *),
                 uint16_t *slots)
{
    struct maglev_node *nodes CLEANUP(freep) = calloc(c->node_room + 1, sizeof(*nodes));
    uint16_t *numbers CLEANUP(freep) = calloc(c->node_room + 1, sizeof(*numbers));
    if (!nodes || !numbers)
        return -ENOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (!n || !wanted(n) || n->member.weight == 0)
            continue;
        nodes[count] = (struct maglev_node){str_of(n->member.name), n->member.weight};
        numbers[count++] = (uint16_t)i;
    }
    if (count == 0) {
        fill_nobody(slots);
        return 0;
    }
    int err = layout_owners(c->settings->layout, nodes, count, slots);
    for (uint32_t i = 0; i < MAGLEV_SLOTS && !err; i++)
        slots[i] = numbers[slots[i]];
    return err;
}

int mover_home(const struct control *c, uint16_t *ret_home)
{
    return build(c, is_of_home, ret_home);
}

/* ---- publishing ---- */

static uint8_t flags_of(const struct mover *m, uint32_t slot)
{
    uint8_t flags = 0;
    if (m->owner[slot] != m->home[slot])
        flags |= VIEW_LOGGED;
    if (m->stage == MOVE_PART && m->owner[slot] != m->target[slot])
        flags |= VIEW_PARTING;
    if (m->fenced[slot])
        flags |= VIEW_FENCED;
    return flags;
}

static uint32_t list_nodes(const struct control *c, struct view_node *nodes, uint16_t *index_of)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (!n)
            continue;
        index_of[i] = (uint16_t)count;
        struct view_node *v = &nodes[count++];
        memcpy(v->name, n->member.name, sizeof(v->name));
        v->addr = n->member.addr;
        v->weight = n->member.weight;
        v->login = n->member.login;
        v->out = n->state >= NODE_OUT;
        v->state = n->leaving || n->member.gone_since != 0 ? VIEW_LEAVING : n->state;
        v->since = n->since;
        str_fill(v->why, sizeof(v->why), str_of(n->why));
        v->pulse = n->pulse;
    }
    return count;
}

static int make_view(const struct control *c, struct view **ret_view)
{
    const struct mover *m = &c->mover;
    struct view_node *nodes CLEANUP(freep) = calloc(c->node_room + 1, sizeof(*nodes));
    uint16_t *index_of CLEANUP(freep) = calloc(c->node_room + 1, sizeof(*index_of));
    uint16_t *owners CLEANUP(freep) = calloc(MAGLEV_SLOTS, sizeof(*owners));
    uint8_t *flags CLEANUP(freep) = calloc(MAGLEV_SLOTS, 1);
    if (!nodes || !index_of || !owners || !flags)
        return -ENOMEM;
    uint32_t count = list_nodes(c, nodes, index_of);
    bool nobody = m->owner[0] == CONTROL_NO_NODE; /* then no slot has an owner */
    for (uint32_t i = 0; !nobody && i < MAGLEV_SLOTS; i++) {
        owners[i] = index_of[m->owner[i]];
        flags[i] = keeps(c) ? 0 : flags_of(m, i);
    }
    return view_of_owners(c->version + 1, nodes, count, nobody ? NULL : owners,
                          nobody ? NULL : flags, ret_view);
}

static void count_slots(struct control *c, const struct view *v)
{
    const struct mover *m = &c->mover;
    uint64_t away = 0, in_ring = 0, up = 0, out = 0;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        away += m->owner[i] != m->home[i];
    for (uint32_t i = 0; i < v->node_count; i++) {
        in_ring += v->nodes[i].slots > 0;
        up += v->nodes[i].slots > 0 && v->nodes[i].state == VIEW_UP;
        out += v->nodes[i].out;
    }
    metric_set(&c->metrics.slots_away, away);
    metric_set(&c->metrics.slots_fenced, m->fenced_count);
    metric_set(&c->metrics.nodes_in_ring, in_ring);
    metric_set(&c->metrics.nodes_up, up);
    metric_set(&c->metrics.nodes_out, out);
    metric_set(&c->metrics.ring_hash, v->ring_hash);
}

void mover_publish_soon(struct control *c)
{
    struct mover *m = &c->mover;
    m->stale_view = true;
    if (!timer_is_set(&m->timer) || m->timer.at > control_now(c) + SOON)
        timer_set(&m->timer, control_now(c) + SOON);
}

void mover_publish(struct control *c)
{
    struct view *v;
    int err = make_view(c, &v);
    c->mover.stale_view = false;
    if (!err) {
        count_slots(c, v);
        c->version++; /* also if only some workers get it: the next one is newer */
        err = c->ops.publish(c->ops.owner, v);
        view_unref(v);
    }
    c->mover.republish = err != 0;
    if (err) {
        log_event(c->log, LOG_ERROR, "view-failed", "reason=\"%s\"", strerror(-err));
        timer_set(&c->mover.timer, control_now(c) + RETRY);
        return;
    }
    metric_add(&c->metrics.views, 1);
}

bool mover_all_have_adopted(const struct control *c, uint64_t version)
{
    for (unsigned i = 0; i < c->worker_count; i++)
        if (c->adopted[i] < version)
            return false;
    return true;
}

/* ---- moving ---- */

static bool target_differs(const struct mover *m)
{
    return memcmp(m->owner, m->target, MAGLEV_SLOTS * sizeof(m->owner[0])) != 0;
}

static void enter(struct control *c, enum move_stage stage)
{
    c->mover.stage = (uint8_t)stage;
    mover_publish(c);
    c->mover.barrier = c->version;
}

/*
 * `n` is about to lose a slot. What it holds of one that is at home there is in no journal: if that
 * is to have another home, it goes by a sweep, which must come after the loss. What it holds of one
 * that is not is in the journal, unless that has forgotten it.
 */
static void must_be_swept(const struct control *c, uint32_t slot, struct control_node *n)
{
    const struct mover *m = &c->mover;
    bool at_home = m->home[slot] == m->owner[slot];
    if (n && at_home && m->home_is_old)
        n->to_sweep = true;
    if (n && !at_home && m->forgot)
        node_lose(n);
}

/* `n` is about to get a slot. What came to it behind its last sweep is in no journal. */
static void may_hold_more(struct control_node *n)
{
    if (n && n->swept_early)
        node_lose(n);
}

static void give_slots(struct control *c)
{
    struct mover *m = &c->mover;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
        if (m->owner[i] == m->target[i])
            continue;
        must_be_swept(c, i, control_node(c, m->owner[i]));
        may_hold_more(control_node(c, m->target[i]));
        m->owner[i] = m->target[i];
        m->fenced_count += !m->fenced[i];
        m->fenced[i] = 1;
    }
    m->moves++;
}

/* Opens the fenced slots of nodes that have nothing left to be cleaned. True: some were. */
static bool open_clean(struct control *c)
{
    struct mover *m = &c->mover;
    bool opened = false;
    bool *clean CLEANUP(freep) = calloc(c->node_room + 1, sizeof(*clean));
    if (!clean) {
        timer_set(&m->timer, control_now(c) + RETRY);
        return false;
    }
    for (uint32_t i = 0; i < c->node_room; i++)
        clean[i] = c->nodes[i] && cleaner_clean(c->nodes[i]);
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
        if (!m->fenced[i] || (m->owner[i] != CONTROL_NO_NODE && !clean[m->owner[i]]))
            continue;
        m->fenced[i] = 0;
        m->fenced_count--;
        opened = true;
    }
    return opened;
}

static void come_to_rest(struct control *c)
{
    struct mover *m = &c->mover;
    m->moved_at = control_now(c);
    if (memcmp(m->owner, m->home, MAGLEV_SLOTS * sizeof(m->owner[0])) == 0)
        m->forgot = false;
    log_event(c->log, LOG_DEBUG, "view-settled", "version=%" PRIu64 " journal=%" PRIu64, c->version,
              c->journal.count);
    if (!timer_is_set(&m->timer))
        timer_set(&m->timer, control_now(c) + TIDY_EACH);
}

void mover_step(struct control *c)
{
    struct mover *m = &c->mover;
    if (!c->began || m->republish)
        return; /* the timer tries again */
    if (m->stage != MOVE_REST && !mover_all_have_adopted(c, m->barrier))
        return;
    if (m->stage == MOVE_PART) {
        give_slots(c);
        enter(c, MOVE_FENCE);
        if (!mover_all_have_adopted(c, m->barrier))
            return;
    }
    m->stage = MOVE_REST;
    if (target_differs(m)) {
        enter(c, MOVE_PART);
        mover_step(c); /* without workers there is nobody to wait for */
        return;
    }
    if (m->fenced_count > 0 && open_clean(c)) {
        mover_publish(c);
        if (m->fenced_count == 0)
            come_to_rest(c);
    }
}

void mover_retarget(struct control *c)
{
    struct mover *m = &c->mover;
    m->retarget_due = false;
    if (!c->began)
        return;
    int err = build(c, is_of_target, m->target);
    if (err) {
        log_event(c->log, LOG_ERROR, "view-failed", "reason=\"%s\"", strerror(-err));
        timer_set(&m->timer, control_now(c) + RETRY);
        m->republish = true;
        return;
    }
    if (keeps(c)) {
        memcpy(m->owner, m->target, MAGLEV_SLOTS * sizeof(m->owner[0]));
        mover_publish(c);
        return;
    }
    switch ((enum move_stage)m->stage) {
    case MOVE_FENCE: /* to its end first, for some workers may be there */
        mover_publish(c);
        m->barrier = c->version;
        return;
    case MOVE_PART:
    case MOVE_REST:
        enter(c, target_differs(m) ? MOVE_PART : MOVE_REST);
        mover_step(c);
        return;
    }
    unreachable();
}

void mover_retarget_soon(struct control *c)
{
    c->mover.retarget_due = true;
}

void mover_end_turn(struct control *c)
{
    if (c->mover.retarget_due)
        mover_retarget(c);
}

void mover_members_changed(struct control *c)
{
    struct mover *m = &c->mover;
    if (c->began) {
        m->home_is_old = true;
        for (uint32_t i = 0; i < c->node_room; i++)
            if (c->nodes[i])
                c->nodes[i]->to_sweep = true;
        mover_retarget(c);
        if (!keeps(c) && !timer_is_set(&m->timer)) /* it may be that no slot moves */
            timer_set(&m->timer, control_now(c) + TIDY_EACH);
        return;
    }
    /* The first: nothing is known of anybody, so all is as it should be, unless a process before
     * this one said otherwise. */
    c->began = true;
    m->forgot = c->heir;
    if (build(c, is_of_home, m->home) != 0 || build(c, is_of_target, m->target) != 0) {
        c->began = false;
        m->republish = true;
        timer_set(&m->timer, control_now(c) + RETRY);
        return;
    }
    memcpy(m->owner, m->target, MAGLEV_SLOTS * sizeof(m->owner[0]));
    mover_publish(c);
}

/* ---- the journal ---- */

static void count_journal(struct control *c)
{
    metric_set(&c->metrics.journal_keys, c->journal.count);
    metric_set(&c->metrics.journal_bytes, c->journal.bytes);
}

/* Where next to nothing fits, each batch of keys is one too many. */
static void tell_overflow(struct control *c)
{
    struct mover *m = &c->mover;
    metric_add(&c->metrics.journal_overflows, 1);
    m->overflows_untold++;
    if (m->overflow_told_at != 0 && control_now(c) < m->overflow_told_at + OVERFLOW_TOLD_EACH)
        return;
    log_event(c->log, LOG_WARN, "journal-overflow",
              "keys=%" PRIu64 " bytes=%zu times=%" PRIu64 " limit=limits.journal", c->journal.count,
              c->journal.bytes, m->overflows_untold);
    m->overflow_told_at = control_now(c);
    m->overflows_untold = 0;
}

/* What it no longer knows it can't name: from now on any node may hold old values of slots that it
 * does not own. */
void mover_overflow(struct control *c)
{
    tell_overflow(c);
    journal_clear(&c->journal);
    c->mover.forgot = true;
    for (uint32_t i = 0; i < c->node_room; i++) {
        if (c->nodes[i])
            node_lose(c->nodes[i]);
    }
}

void mover_note(struct control *c, const struct written *w)
{
    struct mover *m = &c->mover;
    struct written_record r;
    bool fits = !w->lost;
    for (size_t at = 0; fits && written_next(w, &at, &r);) {
        bool leaves = m->stage == MOVE_PART && m->owner[r.slot] != m->target[r.slot];
        bool dirty = leaves || r.node != m->owner[r.slot];
        uint16_t away = r.node == m->home[r.slot] ? CONTROL_NO_NODE : (uint16_t)r.node;
        fits = journal_note(&c->journal, r.slot, r.database, r.key, away, dirty) == 0;
    }
    if (!fits)
        mover_overflow(c);
    count_journal(c);
    if (!timer_is_set(&m->timer))
        timer_set(&m->timer, control_now(c) + TIDY_EACH);
}

void mover_forget_node(struct control *c, uint32_t number)
{
    struct mover *m = &c->mover;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
        must(m->owner[i] != number && m->target[i] != number);
        if (m->home[i] == number)
            m->home[i] = CONTROL_NO_NODE;
        for (struct journal_entry *e = journal_slot(&c->journal, i); e; e = e->next)
            journal_entry_forget(e, (uint16_t)number);
    }
}

/* ---- life ---- */

static void on_time(struct timer *t)
{
    struct control *c = container_of(t, struct control, mover.timer);
    struct mover *m = &c->mover;
    if (m->republish) {
        m->republish = false;
        if (!c->began)
            mover_members_changed(c);
        else
            mover_retarget(c);
    }
    mover_step(c);
    if (m->stale_view)
        mover_publish(c);
    if (c->began && m->stage == MOVE_REST && m->fenced_count == 0)
        sweeper_tidy(c);
    count_journal(c);
    if (!timer_is_set(t) && (m->fenced_count > 0 || sweeper_has_work(c)))
        timer_set(t, control_now(c) + TIDY_EACH);
}

int mover_init(struct mover *m, struct control *c)
{
    *m = (struct mover){0};
    m->owner = malloc(MAGLEV_SLOTS * sizeof(*m->owner));
    m->target = malloc(MAGLEV_SLOTS * sizeof(*m->target));
    m->home = malloc(MAGLEV_SLOTS * sizeof(*m->home));
    m->fenced = calloc(MAGLEV_SLOTS, 1);
    if (!m->owner || !m->target || !m->home || !m->fenced ||
        timer_make(&m->timer, &c->loop.timers, on_time) != 0) {
        free(m->owner);
        free(m->target);
        free(m->home);
        free(m->fenced);
        return -ENOMEM;
    }
    fill_nobody(m->owner);
    fill_nobody(m->target);
    fill_nobody(m->home);
    return 0;
}

void mover_fini(struct mover *m)
{
    timer_unmake(&m->timer);
    free(m->owner);
    free(m->target);
    free(m->home);
    free(m->fenced);
}
