/* SPDX-License-Identifier: Apache-2.0 */
#include "net/timer.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <stdlib.h>

void timers_init(struct timers *ts)
{
    *ts = (struct timers){0};
}

void timers_fini(struct timers *ts)
{
    must(ts->made == 0);
    free(ts->heap);
    timers_init(ts);
}

int timer_make(struct timer *t, struct timers *ts, void (*on_time)(struct timer *))
{
    if (ts->made == ts->room) {
        size_t room = ts->room ? 2 * ts->room : 16;
        struct timer **heap = realloc(ts->heap, room * sizeof(struct timer *));
        if (!heap)
            return -ENOMEM;
        ts->heap = heap;
        ts->room = room;
    }
    ts->made++;
    *t = (struct timer){.place = TIMER_UNSET, .timers = ts, .on_time = on_time};
    return 0;
}

void timer_unmake(struct timer *t)
{
    timer_clear(t);
    t->timers->made--;
}

static void put(struct timers *ts, size_t place, struct timer *t)
{
    ts->heap[place] = t;
    t->place = place;
}

static void sift_up(struct timers *ts, struct timer *t)
{
    size_t i = t->place;
    while (i > 0 && ts->heap[(i - 1) / 2]->at > t->at) {
        put(ts, i, ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(ts, i, t);
}

static void sift_down(struct timers *ts, struct timer *t)
{
    size_t i = t->place;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= ts->count)
            break;
        if (child + 1 < ts->count && ts->heap[child + 1]->at < ts->heap[child]->at)
            child++;
        if (ts->heap[child]->at >= t->at)
            break;
        put(ts, i, ts->heap[child]);
        i = child;
    }
    put(ts, i, t);
}

void timer_clear(struct timer *t)
{
    if (!timer_is_set(t))
        return;
    struct timers *ts = t->timers;
    struct timer *last = ts->heap[--ts->count];
    size_t place = t->place;
    t->place = TIMER_UNSET;
    if (last == t)
        return;
    put(ts, place, last);
    sift_up(ts, last);
    sift_down(ts, last);
}

void timer_set(struct timer *t, uint64_t at)
{
    timer_clear(t);
    t->at = at;
    put(t->timers, t->timers->count++, t);
    sift_up(t->timers, t);
}

uint64_t timers_next(const struct timers *ts)
{
    return ts->count > 0 ? ts->heap[0]->at : NSEC_NEVER;
}

void timers_run(struct timers *ts, uint64_t now)
{
    while (ts->count > 0 && ts->heap[0]->at <= now) {
        struct timer *t = ts->heap[0];
        timer_clear(t);
        t->on_time(t);
    }
}
