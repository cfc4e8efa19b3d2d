/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that is replaced leaves to its successor (docs/decisions/0021). Lines of text, for
 * the two need not be of one version:
 *
 *   sumcache-testament 1
 *   forgets                 any node may hold old values of slots that are not its own
 *   node RUN_ID NAME        out, or gone: what it holds is old; RUN_ID may be -
 *   ghost CLIENT_ID         a connection to the node above, at which a write may yet be done
 *   wiped                   a client wanted that node flushed
 *
 * The successor takes these nodes for such as were members before (departed.c): they are flushed
 * before they are used.
 */
#include "base/text.h"
#include "cluster/control_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FIRST_LINE "sumcache-testament 1"

/* ---- writing ---- */

static bool is_moving(const struct control *c)
{
    const struct mover *m = &c->mover;
    return !c->began || m->stage != MOVE_REST || m->fenced_count > 0 || m->retarget_due ||
           m->republish || !mover_all_have_adopted(c, c->version) || c->jobs.active > 0;
}

/* A second name of a server that is in the ring has nothing of its own. */
static bool is_out(const struct control_node *n)
{
    return n && n->state >= NODE_OUT && !n->twin;
}

/* Do nodes hold what they are to forget, and a successor would not know? */
static bool owes(const struct control *c)
{
    const struct mover *m = &c->mover;
    if (c->settings->on_return == ON_RETURN_KEEP)
        return false; /* nothing was noted */
    for (uint32_t i = 0; i < c->node_room; i++)
        if (c->nodes[i] && (is_out(c->nodes[i]) || c->nodes[i]->lost))
            return true;
    return c->journal.count > 0 || m->forgot ||
           memcmp(m->owner, m->home, MAGLEV_SLOTS * sizeof(m->owner[0])) != 0;
}

/* False: workers have yet to tell of some, or to close them. */
static bool are_all_told(const struct pulse *p, const struct list *ghosts)
{
    unsigned writes = 0;
    list_for_each_safe (link, ghosts)
        writes += list_item(link, struct control_ghost, link)->writes;
    return atomic_load_explicit(&p->unsettled, memory_order_acquire) == writes;
}

struct entry {
    const char *name, *run_id;
    const struct pulse *pulse;
    const struct list *ghosts;
    bool wiped;
};

static int write_entry(struct text *t, const struct entry *e)
{
    if (!are_all_told(e->pulse, e->ghosts))
        return -EAGAIN;
    text_add(t, "node %s %s\n%s", e->run_id[0] ? e->run_id : "-", e->name,
             e->wiped ? "wiped\n" : "");
    list_for_each_safe (link, e->ghosts)
        text_add(t, "ghost %" PRIu64 "\n", list_item(link, struct control_ghost, link)->client_id);
    return 0;
}

int control_write_testament(struct control *c, bool forgets, struct text *ret)
{
    bool owing = owes(c);
    unsigned count = 0;
    if (is_moving(c))
        return -EAGAIN;
    if (owing && !forgets)
        return -EBUSY;
    text_add(ret, FIRST_LINE "\n%s", owing ? "forgets\n" : "");
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (!is_out(n))
            continue;
        if (++count > DEPARTED_MAX)
            return -E2BIG;
        struct entry e = {n->member.name, n->run_id, n->pulse, &n->ghosts, n->wiped_at != 0};
        int err = write_entry(ret, &e);
        if (err)
            return err;
    }
    for (unsigned i = 0; i < DEPARTED_MAX && count < DEPARTED_MAX; i++) {
        const struct departed *d = &c->departed[i];
        if (d->left_at == 0)
            continue;
        count++;
        bool wiped = d->wiped || c->wiped_at > d->left_at;
        struct entry e = {d->name, d->run_id, d->pulse, &d->ghosts, wiped};
        int err = write_entry(ret, &e);
        if (err)
            return err;
    }
    return ret->failed ? -ENOMEM : 0;
}

/* ---- reading ---- */

struct heritage {
    struct control *control;
    struct departed *last; /* the node whose ghosts come */
    unsigned nodes, ghosts;
};

static int take_node(struct heritage *h, struct str words)
{
    char name[VIEW_NODE_NAME_MAX], run_id[PROBE_RUN_ID_MAX];
    struct str id = str_cut(&words, ' ');
    if (id.len == 0 || id.len >= sizeof(run_id) || words.len == 0 || words.len >= sizeof(name))
        return -EINVAL;
    if (h->nodes++ == DEPARTED_MAX)
        return -EINVAL;
    str_fill(run_id, sizeof(run_id), str_eq(id, STR("-")) ? STR("") : id);
    str_fill(name, sizeof(name), words);
    h->last = departed_new(h->control, name, run_id);
    return h->last ? 0 : -ENOMEM;
}

static int take_ghost(struct heritage *h, struct str word)
{
    int64_t id;
    if (!h->last || str_to_i64(word, &id) != 0 || id < 0)
        return -EINVAL;
    h->ghosts++;
    return departed_add_ghost(h->last, (uint64_t)id) ? 0 : -ENOMEM;
}

static int take_line(struct heritage *h, struct str line)
{
    struct str word = str_cut(&line, ' ');
    if (str_eq(word, STR("node")))
        return take_node(h, line);
    if (str_eq(word, STR("ghost")))
        return take_ghost(h, line);
    if (line.len == 0 && str_eq(word, STR("wiped")) && h->last) {
        h->last->wiped = true;
        return 0;
    }
    if (line.len == 0 && str_eq(word, STR("forgets"))) {
        h->control->heir = true;
        return 0;
    }
    return -EINVAL;
}

int control_inherit(struct control *c, struct str testament)
{
    struct heritage h = {.control = c};
    c->loop.now = io_now(c->loop.io);
    if (!str_eq(str_cut_line(&testament), STR(FIRST_LINE)))
        return -EINVAL;
    while (testament.len > 0) {
        int err = take_line(&h, str_cut_line(&testament));
        if (err)
            return err;
    }
    if (h.nodes > 0 || c->heir)
        log_event(c->log, LOG_INFO, "inherited", "nodes=%u connections=%u forgets=%s", h.nodes,
                  h.ghosts, c->heir ? "yes" : "no");
    return 0;
}
