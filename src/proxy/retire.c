/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/retire.h"

#include "base/nsec.h"
#include "proxy/client.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* How many times clients are closed in the second half of the time: so many crowds at most come to
 * the next process at once. */
enum { RETIRE_STEPS = 100 };

/* A socket that another worker has accepted may yet be on its way to this one. */
#define RETIRE_MIN (100 * NSEC_MS)

static void close_listeners(struct worker *w)
{
    for (unsigned i = 0; i < w->listener_count; i++)
        listener_close(&w->listeners[i]);
}

static void end(struct worker *w)
{
    w->ended = true;
    if (!list_empty(&w->clients))
        log_event(w->log, LOG_WARN, "drain-over", "worker=%u clients=%" PRIu64, w->index,
                  metric_get(&w->metrics.clients));
    list_for_each_safe (link, &w->clients)
        client_close(list_item(link, struct client, link));
}

static void drain(struct worker *w)
{
    if (w->draining)
        return;
    w->draining = true;
    close_listeners(w);
    timer_set(&w->drain_timer, worker_now(w) + w->settings->drain_timeout);
    list_for_each_safe (link, &w->clients)
        client_drain(list_item(link, struct client, link));
}

/* ---- retiring ---- */

static uint64_t step_of(const struct worker *w)
{
    uint64_t step = w->settings->drain_timeout / (2 * RETIRE_STEPS);
    return step > NSEC_MS ? step : NSEC_MS;
}

/* Closes some of those that have nothing under way: as many are to be left as there is time left.
 */
static void close_some(struct worker *w, uint64_t left, uint64_t all)
{
    uint64_t clients = metric_get(&w->metrics.clients);
    if (w->retire_clients == 0)
        w->retire_clients = clients;
    uint64_t target = w->retire_clients * left / all;
    list_for_each_safe (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (clients <= target)
            return;
        if (client_is_at_rest(c)) {
            client_finish(c);
            clients--;
        }
    }
}

static void on_time(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, drain_timer);
    uint64_t now = worker_now(w);
    if (w->draining) {
        end(w);
        return;
    }
    uint64_t left = now < w->retired_at ? w->retired_at - now : 0;
    if (left == 0 || (list_empty(&w->clients) && left + RETIRE_MIN <= w->settings->drain_timeout)) {
        drain(w);
        return;
    }
    if (left <= w->settings->drain_timeout / 2)
        close_some(w, left, w->settings->drain_timeout / 2);
    timer_set(t, now + nsec_min(step_of(w), left));
}

static void deliver_retire(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    free(m);
    if (w->draining || w->retired_at > 0)
        return;
    close_listeners(w);
    w->retired_at = worker_now(w) + w->settings->drain_timeout;
    timer_set(&w->drain_timer, worker_now(w));
}

static void deliver_drain(struct message *m, void *receiver)
{
    free(m);
    drain(receiver);
}

static int post(struct worker *w, void (*deliver)(struct message *m, void *receiver))
{
    struct message *m = malloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct message){.deliver = deliver};
    mailbox_post(&w->mailbox, m);
    return 0;
}

int worker_post_drain(struct worker *w)
{
    return post(w, deliver_drain);
}

int worker_post_retire(struct worker *w)
{
    return post(w, deliver_retire);
}

int retire_init(struct worker *w)
{
    return timer_make(&w->drain_timer, &w->loop.timers, on_time);
}

void retire_fini(struct worker *w)
{
    close_listeners(w);
    timer_unmake(&w->drain_timer);
}
