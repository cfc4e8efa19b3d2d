/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control_thread.h"

#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_metrics.h"
#include "cluster/discovery.h"
#include "net/resolver_ares.h"
#include "os/io_epoll.h"
#include "os/process.h"
#include "os/thread.h"

#include <errno.h>
#include <stdlib.h>

#define COUNT_EACH NSEC_S /* how often the figures of DNS are copied to where all can read them */

struct control_thread {
    const struct config *config;
    const struct node_login *logins;  /* loan; of config->logins, by the same index */
    struct control_settings settings; /* with what the data plane's say too */
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

int control_thread_new(const struct config *config, const struct proxy_settings *proxy,
                       const struct node_login *logins, struct log *log, unsigned worker_count,
                       int (*publish)(void *owner, struct view *v), void *owner,
                       struct control_thread **ret)
{
    struct control_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->config = config;
    t->log = log;
    t->logins = logins;
    int err = io_epoll_new(&t->io);
    if (err) {
        free(t);
        return err;
    }
    struct control_ops ops = {
        .publish = publish, .owner = owner, .dropped = drop_member, .dropped_owner = t};
    t->settings = config->control;
    t->settings.hash_tags = proxy->hash_tags;
    t->settings.databases = proxy->databases;
    t->settings.layout = proxy->layout;
    t->settings.request_timeout = proxy->request_timeout;
    t->settings.user = proxy->node_user;
    t->settings.password = proxy->node_password;
    t->settings.tls = proxy->node_tls;
    err = control_new(&t->settings, &ops, &t->io, log, worker_count, &t->control);
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

/* In the order in which they count, should two name the same node. */
static uint32_t list_sources(const struct config *c, const struct node_login *logins,
                             const struct local_nodes *local, struct discovery_source *sources,
                             char (*names)[ADDR_TEXT_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->node_count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_STATIC, c->nodes[i].name, c->nodes[i].weight, NULL};
    for (uint32_t i = 0; local && i < local_nodes_count(local); i++)
        sources[count++] = (struct discovery_source){
            DISCOVERY_STATIC, addr_print(local_nodes_addr(local, i), names[i]), 1, NULL};
    for (uint32_t i = 0; i < c->node_names.count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_DNS, c->node_names.names[i], 0, NULL};
    for (uint32_t i = 0; i < c->node_services.count; i++)
        sources[count++] =
            (struct discovery_source){DISCOVERY_SRV, c->node_services.names[i], 0, NULL};
    for (uint32_t i = 0; i < count; i++) {
        const struct config_login *l = config_login_of(c, sources[i].name);
        sources[i].login = l ? &logins[l - c->logins] : NULL;
    }
    return count;
}

static int begin_discovery(struct control_thread *t, const struct local_nodes *local)
{
    const struct config *c = t->config;
    uint32_t local_count = local ? local_nodes_count(local) : 0;
    uint32_t most = c->node_count + local_count + c->node_names.count + c->node_services.count;
    struct discovery_source *sources CLEANUP(freep) = calloc(most + 1, sizeof(*sources));
    char(*names)[ADDR_TEXT_MAX] CLEANUP(freep) = calloc(local_count + 1, sizeof(*names));
    if (!sources || !names)
        return -ENOMEM;
    struct discovery_config config = {
        .sources = sources,
        .source_count = list_sources(c, t->logins, local, sources, names),
        .lookup = {.family = (enum lookup_family)c->node_family,
                   .refresh_min = c->dns.min_refresh,
                   .refresh_max = c->dns.max_refresh,
                   .refresh = c->dns.refresh,
                   .retry_min = c->dns.retry_min,
                   .retry_max = c->dns.retry_max},
    };
    static const struct discovery_events EVENTS = {.changed = take_members};
    return discovery_new(&config, resolver_ares_resolver(t->ares), control_loop(t->control), t->log,
                         &EVENTS, t, &t->discovery);
}

int control_thread_begin(struct control_thread *t, const struct local_nodes *local)
{
    const struct config_dns *dns = &t->config->dns;
    struct resolver_ares_config ares = {
        .servers = dns->servers, .server_count = dns->server_count, .timeout = dns->timeout};
    int err = resolver_ares_new(&ares, control_loop(t->control), &t->ares);
    if (!err)
        err = begin_discovery(t, local);
    if (err)
        return err;
    timer_set(&t->count_timer, control_loop(t->control)->now + COUNT_EACH);
    uint32_t count;
    const struct member *members = discovery_members(t->discovery, &count);
    return control_set_members(t->control, members, count);
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
    discovery_free(t->discovery);
    resolver_ares_free(t->ares);
    if (t->control)
        loop_end_turn(control_loop(t->control));
    if (t->counts)
        timer_unmake(&t->count_timer);
    control_free(t->control);
    io_epoll_free(&t->io);
    free(t);
    return NULL;
}
