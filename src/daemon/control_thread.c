/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control_thread.h"

#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_metrics.h"
#include "daemon/config_sources.h"
#include "net/resolver_ares.h"
#include "os/io_epoll.h"
#include "os/process.h"
#include "os/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_EACH NSEC_S /* how often the figures of DNS are copied to where all can read them */

struct control_thread {
    const struct generation *generation; /* loan, until it is replaced */
    char (*local_names)[ADDR_TEXT_MAX];  /* owned: of the nodes of --local, which stay */
    uint32_t local_count;
    struct log *log;
    struct io io;
    struct control *control;
    struct resolver_ares *ares;
    struct discovery *discovery;
    struct thread *thread;
    struct timer count_timer;
    bool counts;
};

static void take_members(void *owner)
{
    struct control_thread *t = owner;
    uint32_t count;
    const struct member *members = discovery_members(t->discovery, &count);
    int err = control_set_members(t->control, members, count);
    /* What does not fit into memory now is told again with the next change. */
    if (err)
        log_event(t->log, LOG_ERROR, "members-failed", "reason=\"out of memory\"");
}

static void drop_member(void *owner, const char *name)
{
    struct control_thread *t = owner;
    (void)discovery_drop(t->discovery, name);
}

static void count_dns(struct control_thread *t)
{
    struct control_metrics *m = control_own_metrics(t->control);
    uint64_t queries = 0, failures = 0, failing = 0;
    for (uint32_t i = 0; i < discovery_source_count(t->discovery); i++) {
        struct discovery_stats s;
        discovery_source_stats(t->discovery, i, &s);
        queries += s.lookups.queries;
        for (unsigned k = 0; k < RESOLVER_RESULT_COUNT; k++)
            failures += s.lookups.failures[k];
        failing += s.state == DISCOVERY_FAILING;
    }
    metric_set(&m->dns_queries, queries);
    metric_set(&m->dns_failures, failures);
    metric_set(&m->dns_failing, failing);
}

static void on_count_time(struct timer *timer)
{
    struct control_thread *t = container_of(timer, struct control_thread, count_timer);
    count_dns(t);
    timer_set(timer, control_loop(t->control)->now + COUNT_EACH);
}

int control_thread_new(const struct generation *g, struct log *log, unsigned worker_count,
                       int (*publish)(void *owner, struct view *v), void *owner,
                       struct control_thread **ret)
{
    struct control_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->generation = g;
    t->log = log;
    int err = io_epoll_new(&t->io);
    if (err) {
        free(t);
        return err;
    }
    struct control_ops ops = {
        .publish = publish, .owner = owner, .dropped = drop_member, .dropped_owner = t};
    err = control_new(&g->control, &ops, &t->io, log, worker_count, &t->control);
    if (!err) {
        err = timer_make(&t->count_timer, &control_loop(t->control)->timers, on_count_time);
        t->counts = !err;
    }
    if (err) {
        control_thread_free(t);
        return err;
    }
    *ret = t;
    return 0;
}

struct control *control_thread_control(struct control_thread *t)
{
    return t->control;
}

/* Begins to discover, or goes on with what the present settings say. */
static int discover(struct control_thread *t)
{
    const struct config *c = &t->generation->config;
    struct discovery_source *sources CLEANUP(freep) =
        calloc(config_sources_count(c) + t->local_count + 1, sizeof(*sources));
    if (!sources)
        return -ENOMEM;
    struct discovery_config config = {
        .sources = sources,
        .source_count =
            config_sources(c, t->generation->logins, t->local_names, t->local_count, sources),
        .lookup = config_lookup(c),
    };
    if (t->discovery)
        return discovery_set_sources(t->discovery, &config);
    static const struct discovery_events EVENTS = {.changed = take_members};
    return discovery_new(&config, resolver_ares_resolver(t->ares), control_loop(t->control), t->log,
                         &EVENTS, t, &t->discovery);
}

static int name_local_nodes(struct control_thread *t, const struct local_nodes *local)
{
    uint32_t count = local ? local_nodes_count(local) : 0;
    t->local_names = calloc(count + 1, sizeof(*t->local_names));
    if (!t->local_names)
        return -ENOMEM;
    for (; t->local_count < count; t->local_count++)
        addr_print(local_nodes_addr(local, t->local_count), t->local_names[t->local_count]);
    return 0;
}

int control_thread_begin(struct control_thread *t, const struct local_nodes *local)
{
    const struct config_dns *dns = &t->generation->config.dns;
    struct resolver_ares_config ares = {
        .servers = dns->servers, .server_count = dns->server_count, .timeout = dns->timeout};
    int err = resolver_ares_new(&ares, control_loop(t->control), &t->ares);
    if (!err)
        err = name_local_nodes(t, local);
    if (!err)
        err = discover(t);
    if (err)
        return err;
    timer_set(&t->count_timer, control_loop(t->control)->now + COUNT_EACH);
    uint32_t count;
    const struct member *members = discovery_members(t->discovery, &count);
    return control_set_members(t->control, members, count);
}

/* ---- other settings ---- */

struct settings_message {
    struct message message;
    struct control_thread *thread;
    const struct generation *generation; /* NULL: they stay */
    enum control_thread_failure failed;  /* for the counter */
    void (*done)(void *owner);           /* NULL: nobody wants to know */
    void *owner;
};

static void deliver_settings(struct message *m, void *receiver)
{
    struct settings_message *s = container_of(m, struct settings_message, message);
    struct control_thread *t = s->thread;
    struct control_metrics *metrics = control_own_metrics(t->control);
    (void)receiver;
    metric_add(&metrics->reloads_failed, s->failed == CONTROL_THREAD_RELOAD_FAILED);
    metric_add(&metrics->upgrades_failed, s->failed == CONTROL_THREAD_UPGRADE_FAILED);
    if (s->generation && t->discovery) { /* else it ends */
        t->generation = s->generation;
        control_set_settings(t->control, &s->generation->control);
        int err = discover(t);
        if (err)
            log_event(t->log, LOG_ERROR, "members-failed", "reason=\"%s\"", strerror(-err));
        metric_add(&metrics->reloads, 1);
    }
    if (s->done)
        s->done(s->owner);
    free(s);
}

static int post(struct control_thread *t, const struct generation *g,
                enum control_thread_failure failed, void (*done)(void *owner), void *owner)
{
    struct settings_message *s = malloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct settings_message){{.deliver = deliver_settings}, t, g, failed, done, owner};
    control_post(t->control, &s->message);
    return 0;
}

int control_thread_post(struct control_thread *t, const struct generation *g,
                        void (*done)(void *owner), void *owner)
{
    return post(t, g, CONTROL_THREAD_WELL, done, owner);
}

void control_thread_count_failure(struct control_thread *t, enum control_thread_failure what)
{
    (void)!post(t, NULL, what, NULL, NULL);
}

static void deliver_testament(struct message *m, void *receiver)
{
    struct control_thread_testament *a = container_of(m, struct control_thread_testament, message);
    a->err = control_write_testament(receiver, a->forgets, &a->text);
    atomic_store_explicit(&a->answered, true, memory_order_release);
}

void control_thread_ask_testament(struct control_thread *t, struct control_thread_testament *ask)
{
    ask->message = (struct message){.deliver = deliver_testament};
    ask->text = (struct text){0};
    atomic_store_explicit(&ask->answered, false, memory_order_relaxed);
    control_post(t->control, &ask->message);
}

static void run(void *owner)
{
    struct control_thread *t = owner;
    while (control_turn(t->control, NSEC_NEVER))
        ;
}

int control_thread_start(struct control_thread *t)
{
    return thread_start("sumcache-ctl", run, t, &t->thread);
}

void control_thread_stop(struct control_thread *t)
{
    if (!t || !t->thread)
        return;
    /* It waits for nothing but its poll, so it hears of this at once; without memory it never
     * would. */
    while (control_post_stop(t->control) != 0)
        process_sleep_ns(NSEC_MS);
    if (thread_join(take_ptr(t->thread), NSEC_NEVER) != 0)
        unreachable();
}

struct control_thread *control_thread_free(struct control_thread *t)
{
    if (!t)
        return NULL;
    must(!t->thread);
    t->discovery = discovery_free(t->discovery);
    resolver_ares_free(t->ares);
    if (t->control)
        loop_end_turn(control_loop(t->control));
    if (t->counts)
        timer_unmake(&t->count_timer);
    control_free(t->control);
    io_epoll_free(&t->io);
    free(t->local_names);
    free(t);
    return NULL;
}
