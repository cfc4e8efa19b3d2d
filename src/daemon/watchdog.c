/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/watchdog.h"

#include "base/nsec.h"
#include "os/notify.h"

/* Rounds in the time in which the manager wants to hear of us: one may fail for lack of memory. */
enum { ROUNDS = 3 };

void watchdog_begin(struct watchdog *d, struct process_events *events,
                    struct worker *const *workers, unsigned worker_count,
                    struct control_thread *control)
{
    *d = (struct watchdog){.each = notify_watchdog() / ROUNDS,
                           .next = process_now_ns(),
                           .events = events,
                           .workers = workers,
                           .worker_count = worker_count,
                           .control = control};
    atomic_init(&d->waiting, 0);
}

/* Any thread. */
static void answer(void *owner)
{
    struct watchdog *d = owner;
    if (atomic_fetch_sub(&d->waiting, 1) == 1)
        process_events_poke(d->events);
}

/* Who cannot be asked for lack of memory is believed to live. */
static void ask_all(struct watchdog *d)
{
    atomic_store(&d->waiting, d->worker_count + 1);
    d->asking = true;
    for (unsigned i = 0; i < d->worker_count; i++)
        if (worker_post_settings(d->workers[i], NULL, answer, d) != 0)
            answer(d);
    if (control_thread_post(d->control, NULL, answer, d) != 0)
        answer(d);
}

uint64_t watchdog_step(struct watchdog *d)
{
    uint64_t now = process_now_ns();
    if (d->each == 0)
        return NSEC_NEVER;
    if (d->asking) {
        if (atomic_load(&d->waiting) > 0)
            return NSEC_NEVER;
        d->asking = false;
        (void)notify_manager("WATCHDOG=1");
        d->next = now + d->each;
    }
    if (now < d->next)
        return d->next;
    ask_all(d);
    return NSEC_NEVER;
}
