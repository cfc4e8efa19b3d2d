/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/lookup.h"

#include "base/must.h"
#include "base/nsec.h"

#include <inttypes.h>
#include <string.h>

void lookups_init(struct lookups *s)
{
    s->asking = 0;
    list_init(&s->waiting);
}

void lookups_quit(struct lookups *s)
{
    while (!list_empty(&s->waiting))
        list_remove(s->waiting.next);
}

/* A tenth up or down, so that many proxies that started together do not ask together. */
static uint64_t jitter(struct lookups *s, uint64_t ns)
{
    uint64_t tenth = ns / 10;
    return ns - tenth + rng_below(&s->rng, 2 * tenth + 1);
}

static void ask(struct lookup *l)
{
    struct resolver *r = l->shared->resolver;
    l->counters->queries++;
    r->ops->ask(r->ctx, &l->query, l->question, l->host);
}

static void begin(struct lookup *l)
{
    struct lookups *s = l->shared;
    if (s->asking == LOOKUPS_ASKING_MAX) {
        list_push_tail(&s->waiting, &l->waiting);
        return;
    }
    s->asking++;
    l->asking = true;
    l->question = l->is_service                     ? RESOLVER_SRV
                  : s->settings.family == LOOKUP_V6 ? RESOLVER_AAAA
                                                    : RESOLVER_A;
    ask(l);
}

static void end(struct lookup *l)
{
    struct lookups *s = l->shared;
    l->asking = false;
    s->asking--;
    if (list_empty(&s->waiting))
        return;
    struct lookup *next = list_first(&s->waiting, struct lookup, waiting);
    list_remove(&next->waiting);
    begin(next);
}

static void on_due(struct timer *t)
{
    begin(container_of(t, struct lookup, timer));
}

/* The shortest TTL of an answer inside the bounds. */
static uint64_t refresh_after(const struct lookup *l, const struct resolver_answer *a)
{
    const struct lookup_settings *s = &l->shared->settings;
    uint32_t ttl = UINT32_MAX;
    for (size_t i = 0; i < a->count; i++) {
        uint32_t one = l->is_service ? a->services[i].ttl : a->addresses[i].ttl;
        ttl = one < ttl ? one : ttl;
    }
    uint64_t ns = ttl > 0 ? ttl * NSEC_S : s->refresh;
    ns = ns < s->refresh_min ? s->refresh_min : ns;
    return nsec_min(ns, s->refresh_max);
}

static uint64_t succeed(struct lookup *l, const struct resolver_answer *a)
{
    if (l->failing)
        log_event(l->shared->log, LOG_INFO, "resolve-recovered", "name=%s records=%zu", l->label,
                  a->count);
    l->failing = false;
    l->retry = l->shared->settings.retry_min;
    l->counters->last_success = l->shared->loop->now;
    return refresh_after(l, a);
}

static uint64_t fail(struct lookup *l, enum resolver_result why)
{
    uint64_t pause = l->retry;
    log_event(l->shared->log, l->failing ? LOG_DEBUG : LOG_WARN, "resolve-failed",
              "name=%s asked=%s reason=\"%s\" retry_ms=%" PRIu64, l->label, l->host,
              resolver_result_text(why), pause / NSEC_MS);
    l->failing = true;
    l->counters->failures[why]++;
    l->counters->last_failure = why;
    l->retry = nsec_min(2 * l->retry, l->shared->settings.retry_max);
    return pause;
}

/* Of a name without IPv4 addresses some servers say that it does not exist, so both are asked. But
 * when the first question failed, nothing is known: to go on to IPv6 then would make every member
 * another one because a packet was lost. */
static bool wants_other_family(const struct lookup *l, enum resolver_result result)
{
    return l->shared->settings.family == LOOKUP_AUTO && l->question == RESOLVER_A &&
           (result == RESOLVER_NO_DATA || result == RESOLVER_NXDOMAIN);
}

static void on_answer(struct resolver_query *q, const struct resolver_answer *a)
{
    struct lookup *l = container_of(q, struct lookup, query);
    enum resolver_result result = a->result;
    if (result == RESOLVER_OK && a->count == 0)
        result = RESOLVER_NO_DATA;
    if (wants_other_family(l, result)) {
        l->question = RESOLVER_AAAA;
        ask(l);
        return;
    }
    end(l);
    if (result == RESOLVER_OK)
        result = l->take(l, a);
    uint64_t pause = result == RESOLVER_OK ? succeed(l, a) : fail(l, result);
    timer_set(&l->timer, l->shared->loop->now + jitter(l->shared, pause));
}

int lookup_init(struct lookup *l, struct lookups *shared, struct lookup_counters *counters,
                bool is_service, const char *host)
{
    *l = (struct lookup){
        .shared = shared,
        .counters = counters,
        .query = {.on_answer = on_answer},
        .is_service = is_service,
        .retry = shared->settings.retry_min,
    };
    must(strlen(host) < sizeof(l->host));
    memcpy(l->host, host, strlen(host) + 1);
    list_init(&l->waiting);
    list_init(&l->query.link);
    return timer_make(&l->timer, &shared->loop->timers, on_due);
}

void lookup_fini(struct lookup *l)
{
    lookup_stop(l);
    timer_unmake(&l->timer);
}

void lookup_start(struct lookup *l)
{
    if (!l->asking && list_empty(&l->waiting) && !timer_is_set(&l->timer))
        timer_set(&l->timer, l->shared->loop->now);
}

void lookup_stop(struct lookup *l)
{
    struct resolver *r = l->shared->resolver;
    timer_clear(&l->timer);
    list_remove(&l->waiting);
    if (l->asking) {
        r->ops->cancel(r->ctx, &l->query);
        end(l);
    }
}
