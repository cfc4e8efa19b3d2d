/* SPDX-License-Identifier: Apache-2.0 */
#include "view_post.h"

#include "base/must.h"
#include "base/nsec.h"

#include <stdlib.h>
#include <string.h>

enum { OFTEN_PER_MILLE = 500 }; /* of views: a worker gets them soon, as in earnest */

struct view_post_item {
    struct view *view; /* a reference */
    uint64_t at;
};

void view_post_init(struct view_post *p, struct io_sim *world, const struct sim_options *options,
                    struct worker **workers)
{
    *p = (struct view_post){.world = world, .options = options, .workers = workers};
}

static void drop_all(struct view_post_queue *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        view_unref(q->items[i].view);
    q->count = 0;
}

void view_post_fini(struct view_post *p)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        drop_all(&p->queues[i]);
        free(p->queues[i].items);
    }
}

void view_post_close(struct view_post *p, unsigned worker)
{
    p->queues[worker].closed = true;
    drop_all(&p->queues[worker]);
}

static uint64_t draw_delay(struct view_post *p)
{
    uint64_t most = p->options->adopt_max;
    if (io_sim_chance(p->world, OFTEN_PER_MILLE))
        most = nsec_min(most, NSEC_MS);
    return most ? io_sim_between(p->world, 0, most) : 0;
}

void view_post_send(struct view_post *p, struct view *v)
{
    uint64_t now = io_sim_now(p->world);
    for (unsigned i = 0; i < p->options->workers; i++) {
        struct view_post_queue *q = &p->queues[i];
        if (q->closed)
            continue;
        if (q->count == q->room) {
            q->room = q->room ? 2 * q->room : 8;
            q->items = realloc(q->items, q->room * sizeof(*q->items));
            must(q->items);
        }
        uint64_t at = v->version <= 1 ? now : now + draw_delay(p);
        if (q->count > 0 && q->items[q->count - 1].at > at)
            at = q->items[q->count - 1].at;
        q->items[q->count++] = (struct view_post_item){view_ref(v), at};
    }
    view_post_run(p);
}

void view_post_hold(struct view_post *p, unsigned worker, uint64_t version, uint64_t until)
{
    struct view_post_queue *q = &p->queues[worker];
    for (uint32_t i = 0; i < q->count; i++)
        if (q->items[i].view->version >= version)
            q->items[i].at = until;
}

uint64_t view_post_next(const struct view_post *p)
{
    uint64_t next = NSEC_NEVER;
    for (unsigned i = 0; i < p->options->workers; i++) {
        if (p->queues[i].count > 0)
            next = nsec_min(next, p->queues[i].items[0].at);
    }
    return next;
}

void view_post_run(struct view_post *p)
{
    uint64_t now = io_sim_now(p->world);
    for (unsigned i = 0; i < p->options->workers; i++) {
        struct view_post_queue *q = &p->queues[i];
        uint32_t due = 0;
        for (; due < q->count && q->items[due].at <= now; due++) {
            int err = worker_post_view(p->workers[i], q->items[due].view);
            must(err == 0);
            view_unref(q->items[due].view);
        }
        q->count -= due;
        memmove(q->items, q->items + due, q->count * sizeof(*q->items));
    }
}
