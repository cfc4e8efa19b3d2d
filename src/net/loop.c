/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include "base/must.h"
#include "base/nsec.h"

void loop_init(struct loop *l, struct io *io)
{
    *l = (struct loop){.io = io, .now = io_now(io)};
    timers_init(&l->timers);
    list_init(&l->again);
}

void loop_fini(struct loop *l)
{
    loop_end_turn(l);
    must(list_empty(&l->again));
    timers_fini(&l->timers);
}

void source_init(struct source *s, void (*on_ready)(struct source *s, unsigned ready))
{
    *s = (struct source){.on_ready = on_ready};
    list_init(&s->again);
}

void loop_again(struct loop *l, struct source *s)
{
    must(!s->dead);
    if (list_empty(&s->again))
        list_push_tail(&l->again, &s->again);
}

static int run_again(struct loop *l)
{
    /* Those that ask again while they run are served at the next poll. */
    struct list now;
    list_init(&now);
    list_append_all(&now, &l->again);
    int count = 0;
    while (!list_empty(&now)) {
        struct source *s = list_first(&now, struct source, again);
        list_remove(&s->again);
        s->on_ready(s, IO_IN);
        count++;
    }
    return count;
}

bool loop_rest(struct loop *l, uint64_t ns, uint64_t until)
{
    until = nsec_min(until, timers_next(&l->timers));
    if (!list_empty(&l->again) || until < l->now + ns)
        return false;
    l->io->ops->rest(l->io->ctx, ns);
    l->now = io_now(l->io);
    return true;
}

int loop_poll(struct loop *l, uint64_t until)
{
    if (!list_empty(&l->again))
        until = 0;
    until = nsec_min(until, timers_next(&l->timers));
    uint64_t timeout = until == NSEC_NEVER ? NSEC_NEVER : until > l->now ? until - l->now : 0;
    int n = l->io->ops->wait(l->io->ctx, l->events, LOOP_EVENTS_MAX, timeout);
    must(n >= 0);
    l->now = io_now(l->io);
    for (int i = 0; i < n; i++) {
        struct source *s = l->events[i].tag;
        if (!s->dead)
            s->on_ready(s, l->events[i].ready);
    }
    n += run_again(l);
    timers_run(&l->timers, l->now);
    return n;
}

void loop_bury(struct loop *l, struct source *s, struct grave *g, void (*bury)(struct grave *))
{
    must(!s->dead);
    s->dead = true;
    list_remove(&s->again);
    g->bury = bury;
    g->next = l->graves;
    l->graves = g;
}

void loop_end_turn(struct loop *l)
{
    while (l->graves) {
        struct grave *g = l->graves;
        l->graves = g->next;
        g->bury(g);
    }
}
