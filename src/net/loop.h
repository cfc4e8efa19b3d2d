/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of one thread: one poll hands events to their sources. What a turn is made of
 * beyond that (flushing, deadlines) is the worker's; see worker_turn().
 *
 * Nobody dies inside a callback: loop_bury() marks an object dead; it gets no more events and is
 * freed by loop_end_turn().
 */
#pragma once
#include "base/list.h"
#include "net/timer.h"
#include "os/io.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOOP_EVENTS_MAX = 256 };

struct source {
    void (*on_ready)(struct source *s, unsigned ready); /* IO_… */
    struct list again; /* in loop.again: wants to be called without an event */
    bool dead;
};

struct grave {
    struct grave *next;
    void (*bury)(struct grave *g); /* frees the object */
};

struct loop {
    struct io *io; /* loan */
    uint64_t now;  /* ns; read once per poll. Nobody else asks the clock */
    struct timers timers;
    struct list again;
    struct grave *graves;
    struct io_event events[LOOP_EVENTS_MAX];
};

void loop_init(struct loop *l, struct io *io);
void loop_fini(struct loop *l);

void source_init(struct source *s, void (*on_ready)(struct source *s, unsigned ready));

/* Call this source with IO_IN at the next poll, which then does not wait: it stopped before its
 * input was used up. */
void loop_again(struct loop *l, struct source *s);

/* Lets `ns` pass without looking, so that the next poll finds more. Does nothing, and returns
 * false, if something is due meanwhile: `until` (ns), a timer, a source that asked to be called
 * again. */
bool loop_rest(struct loop *l, uint64_t ns, uint64_t until);

/* Waits at most until `until` (ns; 0: not at all), hands out the events, runs due timers. Returns
 * how many sources were called. */
int loop_poll(struct loop *l, uint64_t until);

void loop_bury(struct loop *l, struct source *s, struct grave *g, void (*bury)(struct grave *));
void loop_end_turn(struct loop *l);
