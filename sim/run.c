/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include "base/must.h"
#include "base/nsec.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    TURNS_WITHOUT_PROGRESS_MAX = 1000,
    STEPS_MAX = 5000000,
    RUN_SECONDS_MAX = 600,     /* of virtual time, until the drawn clients must be done */
    READ_AT_ONCE = 256 * 1024, /* from a node */
    FRAME_SLACK = 64,          /* what replies have beside values */
    UNSENT_MAX = 64 * 1024,    /* of a reply that is passed on: then its node is not read */
    INSPECTIONS_PER_WORKER = 3,
    COMMANDS_PER_INSPECTION = 25,
    VIEW_CHANGES_MAX = 60,
    REST_SECONDS_MAX = 10,
};

static void log_sink(void *owner, const char *line, size_t len)
{
    const struct sim *s = owner;
    if (s->show_log)
        fprintf(s->trace.print ? s->trace.print : stderr, "%.*s", (int)len, line);
}

static struct io *make_host(struct sim *s, enum host_kind kind, unsigned index)
{
    struct io *io = io_sim_host(s->world);
    s->roles[io_sim_host_number(io)] = (struct host_role){(uint8_t)kind, 0, (uint8_t)index};
    return io;
}

/* A ring as twemproxy has it, over all nodes there may ever be, by each name that they may have. */
static void make_layout(struct sim *s)
{
    enum { FORMS = 2 };
    char names[FORMS * SIM_NODES_MAX][32], ids[FORMS * SIM_NODES_MAX][8];
    struct layout_node nodes[FORMS * SIM_NODES_MAX];
    size_t count = 0;
    if (s->options.layout == LAYOUT_MAGLEV)
        return;
    for (unsigned i = 0; i < FORMS * s->options.nodes; i++) {
        snprintf(names[count], sizeof(names[count]), i % FORMS ? "n%u.sim:%u" : "10.0.0.%u:%u",
                 i / FORMS + 1, sources_node_addr(0).port);
        snprintf(ids[count], sizeof(ids[count]), "id%u", i);
        nodes[count] = (struct layout_node){str_of(names[count]), str_of(ids[count]), 1};
        count++;
    }
    int err = layout_new(s->options.layout, HASH32_MURMUR, nodes, count, &s->layout);
    must(err == 0);
    s->options.proxy.layout = s->options.control.layout = s->layout;
}

struct sim *sim_new(uint64_t seed, const struct sim_options *options, FILE *print, bool keep)
{
    struct sim *s = calloc(1, sizeof(*s));
    must(s && options->proxies > 0);
    s->seed = seed;
    s->options = *options;
    make_layout(s);
    trace_init(&s->trace, print, keep);
    s->world = io_sim_new(seed, &s->trace);
    io_sim_set_weather(s->world, &options->weather);
    checker_init(&s->checker, s->world, &s->options);
    agreement_init(&s->agreement, &s->checker, s->proxies, options->proxies);
    s->lagging = true;
    s->log.sink = log_sink;
    s->log.owner = s;
    atomic_init(&s->log.level, print ? LOG_DEBUG : LOG_WARN);
    s->show_log = print != NULL;
    s->started_at = io_sim_now(s->world);
    for (unsigned i = 0; i < options->proxies; i++)
        proxy_init(&s->proxies[i], s->world, &s->options, &s->checker, &s->log, s->roles,
                   &s->agreement, i);
    for (unsigned i = 0; i < options->nodes; i++) {
        struct addr addr = sources_node_addr(i);
        s->nodes[i] = redis_model_new(make_host(s, HOST_NODE, i), &s->checker, i, &addr);
        s->node_present[i] = true;
        s->node_weight[i] = 1;
    }
    for (unsigned i = 0; i < options->clients; i++) {
        unsigned proxy = i % options->proxies;
        s->clients[i] =
            client_model_new(make_host(s, HOST_CLIENT, i), &s->checker, i, &s->proxies[proxy].addr);
        s->clients[i]->proxy_number = proxy;
    }
    s->inspector = client_model_new(make_host(s, HOST_INSPECTOR, 0), &s->checker, SIM_CLIENTS_MAX,
                                    &s->proxies[0].addr);
    faults_init(&s->faults, s->world, &s->options, s->nodes, s->clients, s->proxies);
    for (unsigned i = 0; i < options->proxies; i++)
        proxy_begin(&s->proxies[i]);
    s->view_at = s->started_at + options->view_at;
    s->drain_at = options->drain_at ? s->started_at + options->drain_at : NSEC_NEVER;
    return s;
}

struct sim *sim_free(struct sim *s)
{
    if (!s)
        return NULL;
    for (unsigned i = 0; i < s->options.proxies; i++)
        proxy_fini(&s->proxies[i]);
    for (unsigned i = 0; i < s->options.nodes; i++)
        redis_model_free(s->nodes[i]);
    for (unsigned i = 0; i < s->options.clients; i++)
        client_model_free(s->clients[i]);
    client_model_free(s->inspector);
    checker_fini(&s->checker);
    io_sim_free(s->world);
    trace_fini(&s->trace);
    layout_free(s->layout);
    free(s);
    return NULL;
}

/* ---- views ---- */

/* Proxies whose time it is hear of the present members. */
static void tell_members(struct sim *s)
{
    for (unsigned i = 0; i < s->options.proxies; i++) {
        struct sim_proxy *p = &s->proxies[i];
        if (p->alive && io_sim_now(s->world) >= p->told_at)
            proxy_tell_members(p, s->node_present, s->node_weight);
    }
}

void sim_post_view(struct sim *s)
{
    for (unsigned i = 0; i < s->options.proxies; i++) {
        struct sim_proxy *p = &s->proxies[i];
        uint64_t lag = s->lagging ? io_sim_between(s->world, 0, s->options.members_lag) : 0;
        if (p->alive) /* else it hears when it is there again */
            p->told_at = io_sim_now(s->world) + lag;
    }
    tell_members(s);
}

/* The next picture of the cluster: only victims come and go, so that the others stay blameless. */
static void change_view(struct sim *s)
{
    struct rng *r = io_sim_rng(s->world);
    uint64_t now = io_sim_now(s->world);
    if (s->proxies[0].view_version > 0 && now < s->faults.end_at) {
        for (unsigned i = 0; i < s->options.nodes; i++) {
            bool victim = s->options.victims & (1U << i);
            if (victim && rng_below(r, 3) == 0)
                s->node_present[i] = !s->node_present[i];
            if (rng_below(r, 4) == 0)
                s->node_weight[i] = 1 + (uint32_t)rng_below(r, 3);
        }
    }
    sim_post_view(s);
    s->view_at = NSEC_NEVER;
    if (s->options.view_changes && now < s->faults.end_at && ++s->view_changes < VIEW_CHANGES_MAX &&
        rng_below(r, 1000) >= s->options.view_changes / 2)
        s->view_at = now + io_sim_between(s->world, 0, 200 * NSEC_MS);
}

static void restore_view(struct sim *s)
{
    s->lagging = false;
    for (unsigned i = 0; i < s->options.proxies; i++)
        sources_heal(&s->proxies[i].sources);
    for (unsigned i = 0; i < s->options.nodes; i++)
        s->node_present[i] = true;
    sim_post_view(s);
    s->view_at = NSEC_NEVER;
}

static void post_drain(struct sim *s)
{
    io_sim_note(s->world, TRACE_DRAIN, 0, 0, 0, NULL);
    for (unsigned i = 0; i < s->options.proxies; i++)
        proxy_post_drain(&s->proxies[i]);
    for (unsigned i = 0; i < s->options.clients; i++)
        s->clients[i]->draining = true;
    s->drain_at = NSEC_NEVER;
}

/* ---- steps ---- */

/* Of all proxies. */
static uint64_t metric_sum(const struct sim *s, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->options.proxies; i++)
        sum += proxy_metric(&s->proxies[i], offset);
    return sum;
}

#define METRIC_SUM(s, name) metric_sum(s, offsetof(struct metrics, name))

/*
 * What the proxy has read from nodes for a client and not written to it. All of it fits the
 * client's budget, but for one that is just coming. What is passed on as it comes is no more than a
 * little and one read, unless an upstream had to be freed.
 */
static void check_owed(struct sim *s, const struct client_model *m)
{
    const struct client_session *c = &m->s;
    const struct check_client *cc = &s->checker.clients[m->number];
    if (m->state != MODEL_OPEN || c->judged >= c->generated)
        return;
    if (io_sim_is_cut(m->io, c->handle)) /* closed: what still comes for it is dropped */
        return;
    uint64_t owed = 0, sent = c->heard.len;
    const struct check_command *head = &cc->commands[c->first + c->judged];
    for (uint32_t seq = c->first + c->judged; seq < c->first + c->generated; seq++) {
        const struct check_command *k = &cc->commands[seq];
        /* One that began late may have been answered without it, and is dropped as it comes. */
        bool late = k->reply_began_at > k->read_at + s->options.proxy.request_timeout;
        if (k->part_count == 1 && !late)
            owed += k->reply_read;
    }
    owed -= nsec_min(owed, sent);
    if (owed > s->options.proxy.client_output_max + s->options.value_max + FRAME_SLACK)
        checker_fail(&s->checker, "owed: %" PRIu64 " bytes wait for client %u", owed, m->number);
    uint64_t unsent =
        head->part_count == 1 ? head->reply_read - nsec_min(head->reply_read, sent) : 0;
    bool streams = head->aside_then == s->checker.aside && !head->out_of_turn &&
                   METRIC_SUM(s, replies_streamed) > 0;
    if (streams && unsent > UNSENT_MAX + READ_AT_ONCE)
        checker_fail(&s->checker,
                     "owed: %" PRIu64 " bytes of what is passed on to client %u are unsent", unsent,
                     m->number);
}

static void check_progress(struct sim *s, unsigned host)
{
    uint64_t bytes = io_sim_bytes_moved(s->world), now = io_sim_now(s->world);
    if (bytes != s->bytes_at_progress || now != s->time_at_progress) {
        s->bytes_at_progress = bytes;
        s->time_at_progress = now;
        memset(s->turns_without_progress, 0, sizeof(s->turns_without_progress));
        return;
    }
    if (++s->turns_without_progress[host] > TURNS_WITHOUT_PROGRESS_MAX)
        checker_fail(&s->checker, "livelock: host %u turns without time or bytes moving", host);
}

static void run_host(struct sim *s, unsigned host)
{
    const struct host_role *role = &s->roles[host];
    io_sim_note(s->world, TRACE_TURN, host, 0, 0, NULL);
    switch ((enum host_kind)role->kind) {
    case HOST_WORKER:
        proxy_run_worker(&s->proxies[role->proxy], role->index);
        s->checker.aside = METRIC_SUM(s, replies_absorbed) + METRIC_SUM(s, upstreams_promoted);
        return;
    case HOST_CONTROL:
        proxy_run_control(&s->proxies[role->proxy]);
        return;
    case HOST_NODE:
        redis_model_turn(s->nodes[role->index]);
        return;
    case HOST_CLIENT:
        client_model_turn(s->clients[role->index]);
        return;
    case HOST_INSPECTOR:
        client_model_turn(s->inspector);
        return;
    case HOST_STRANGER:
        break;
    }
    unreachable();
}

/* A host that is ours to run. Those of a proxy that has ended are frozen. */
static bool is_ours(const struct sim *s, unsigned host)
{
    return s->roles[host].kind != HOST_STRANGER;
}

static void time_moved(struct sim *s)
{
    uint64_t now = io_sim_now(s->world);
    if (now >= faults_next(&s->faults))
        faults_run(&s->faults);
    for (unsigned i = 0; i < s->options.proxies; i++)
        proxy_time_moved(&s->proxies[i]);
    if (now >= s->view_at)
        change_view(s);
    tell_members(s);
    if (now >= s->drain_at)
        post_drain(s);
    for (unsigned i = 0; i < s->options.clients; i++) {
        client_model_check(s->clients[i]);
        check_owed(s, s->clients[i]);
    }
    client_model_check(s->inspector);
    agreement_check(&s->agreement);
    for (unsigned i = 0; i < s->options.proxies; i++)
        ejections_check(&s->proxies[i].ejections);
}

/* Of all that is no host. */
static uint64_t next_event(const struct sim *s)
{
    uint64_t next = faults_next(&s->faults);
    for (unsigned i = 0; i < s->options.proxies; i++)
        next = nsec_min(next, proxy_next(&s->proxies[i]));
    return nsec_min(next, nsec_min(s->view_at, s->drain_at));
}

bool sim_step(struct sim *s, uint64_t limit)
{
    unsigned pick = IO_SIM_HOSTS_MAX, count = 0;
    unsigned hosts = io_sim_host_count(s->world);
    for (unsigned i = 0; i < hosts; i++) {
        if (is_ours(s, i) && io_sim_can_run(s->world, i) &&
            rng_below(io_sim_rng(s->world), ++count) == 0)
            pick = i;
    }
    if (count > 0) {
        run_host(s, pick);
        check_progress(s, pick);
    } else {
        io_sim_advance(s->world, nsec_min(limit, next_event(s)));
        time_moved(s);
    }
    if (++s->steps > STEPS_MAX)
        checker_fail(&s->checker, "endless: %d steps and no end", STEPS_MAX);
    return !s->checker.failed;
}

bool sim_run_until(struct sim *s, uint64_t at)
{
    while (io_sim_now(s->world) < at) {
        if (!sim_step(s, at))
            return false;
    }
    return !s->checker.failed;
}

/* ---- the story ---- */

static bool clients_are_done(const struct sim *s)
{
    for (unsigned i = 0; i < s->options.clients; i++) {
        if (s->clients[i]->state != MODEL_FINISHED)
            return false;
    }
    return true;
}

static bool run_clients(struct sim *s)
{
    uint64_t limit = s->started_at + RUN_SECONDS_MAX * NSEC_S;
    while (!clients_are_done(s) || s->faults.end_at != NSEC_NEVER) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit) {
            checker_fail(&s->checker, "endless: clients are not done after %d s", RUN_SECONDS_MAX);
            return false;
        }
    }
    return true;
}

/* As long as it may take until every upstream of every worker is ready again, tombstones gone. */
static uint64_t recovery_time(const struct sim_options *o)
{
    const struct proxy_settings *p = &o->proxy;
    return 2 * p->backoff_max * o->workers + 2 * p->connect_timeout + 8 * p->request_timeout +
           2 * p->stall_timeout + 50 * NSEC_MS;
}

static bool inspect_proxy(struct sim *s, const struct sim_proxy *p)
{
    s->inspector->proxy = p->addr;
    s->inspector->proxy_number = p->number;
    client_model_begin_strict(s->inspector, INSPECTIONS_PER_WORKER * s->options.workers,
                              COMMANDS_PER_INSPECTION);
    uint64_t limit = io_sim_now(s->world) + RUN_SECONDS_MAX * NSEC_S;
    while (s->inspector->state != MODEL_FINISHED) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit) {
            checker_fail(&s->checker, "liveness: the inspection does not end");
            return false;
        }
    }
    return true;
}

/* Everybody must get right answers again. One client after another, so that no limit is in the way.
 */
static bool inspect(struct sim *s)
{
    io_sim_note(s->world, TRACE_PHASE, 1, 0, 0, "inspection");
    s->options.odd_ends = 0;
    s->options.pipeline_max = 1;
    s->options.tight = s->options.closes = false;
    s->options.big_chance = 0;
    s->options.split_max = 3;
    /* Limits that would refuse even one client's ordinary commands; workers see the change. */
    s->options.proxy.split_request_max = proxy_settings_default().split_request_max;
    s->options.proxy.client_output_max = proxy_settings_default().client_output_max;
    for (unsigned i = 0; i < s->options.proxies; i++) {
        /* Of one that a story has drained there is nobody left to ask. */
        if (!proxy_has_ended(&s->proxies[i]) && !inspect_proxy(s, &s->proxies[i]))
            return false;
    }
    return true;
}

static bool check_debts(struct sim *s)
{
    for (unsigned i = 0; i < s->options.proxies; i++)
        proxy_check_debts(&s->proxies[i]);
    return !s->checker.failed;
}

/* No more clients were closed for a limit than the workers say. */
static bool check_closed(struct sim *s)
{
    uint64_t seen = 0, told = 0;
    for (unsigned i = 0; i < s->options.clients; i++)
        seen += s->clients[i]->closed_for_limits;
    told = METRIC_SUM(s, clients_refused) + METRIC_SUM(s, clients_idle_closed) +
           METRIC_SUM(s, clients_stalled) + METRIC_SUM(s, clients_output_limit) +
           METRIC_SUM(s, clients_too_slow) + METRIC_SUM(s, clients_reply_cut) +
           METRIC_SUM(s, memory_limit_hits);
    if (seen > told)
        checker_fail(&s->checker,
                     "closed: %" PRIu64 " clients were closed for a limit, the workers "
                     "count %" PRIu64,
                     seen, told);
    return !s->checker.failed;
}

static bool proxies_have_ended(const struct sim *s)
{
    for (unsigned i = 0; i < s->options.proxies; i++) {
        if (!proxy_has_ended(&s->proxies[i]))
            return false;
    }
    return true;
}

static bool wait_for_drain(struct sim *s, uint64_t posted_at)
{
    /* A worker that rests hears of it afterwards. */
    uint64_t limit = posted_at + s->options.proxy.drain_timeout + s->options.proxy.gather_window +
                     2 * s->options.pause_max + NSEC_MS;
    while (!proxies_have_ended(s)) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit && !proxies_have_ended(s)) {
            checker_fail(&s->checker, "drain: a worker has not ended in its drain time");
            return false;
        }
    }
    return true;
}

static bool is_calm(const struct sim *s)
{
    for (unsigned i = 0; i < s->options.proxies; i++) {
        if (!proxy_is_calm(&s->proxies[i]))
            return false;
    }
    return true;
}

/* Nodes that are well are admitted, and slots come to rest, however often things went wrong. */
static bool wait_for_control(struct sim *s)
{
    const struct control_settings *o = &s->options.control;
    uint64_t most = 4 * (o->hold_max + o->timeout + o->flush_interval + o->grace) +
                    2 * (o->healthy + 2) * (o->interval_out + o->timeout) + 30 * NSEC_S;
    uint64_t limit = io_sim_now(s->world) + most;
    while (!is_calm(s)) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit) {
            checker_fail(&s->checker, "liveness: the control plane does not come to rest");
            return false;
        }
    }
    return true;
}

/* … and what was left behind is cleared away. */
static bool wait_for_rest(struct sim *s)
{
    if (!s->options.has_control)
        return true;
    uint64_t limit = io_sim_now(s->world) + REST_SECONDS_MAX * NSEC_S;
    while (!agreement_all_rest(&s->agreement)) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit) {
            checker_fail(&s->checker, "liveness: something is left in a journal, or to be swept");
            return false;
        }
    }
    agreement_check_leftovers(&s->agreement, s->nodes, s->options.nodes);
    return !s->checker.failed;
}

bool sim_conclude(struct sim *s)
{
    if (!s->checker.failed && s->faults.end_at != NSEC_NEVER) {
        s->faults.end_at = io_sim_now(s->world);
        faults_run(&s->faults);
    }
    restore_view(s);
    s->options.slow_chance = s->options.drip_chance = 0; /* the control plane asks on, meanwhile */
    uint64_t calm_at = io_sim_now(s->world) + recovery_time(&s->options);
    do { /* an answer of DNS may come late, with other weights */
        if (!wait_for_control(s))
            return false;
        /* The last views have been posted, and are yet to be adopted. */
        uint64_t adopted_at = io_sim_now(s->world) + checker_view_lag(&s->checker);
        calm_at = calm_at > adopted_at ? calm_at : adopted_at;
        if (!sim_run_until(s, calm_at))
            return false;
    } while (!is_calm(s));
    if (!wait_for_rest(s) || !inspect(s))
        return false;
    if (!sim_run_until(s, io_sim_now(s->world) + recovery_time(&s->options)) || !check_debts(s) ||
        !check_closed(s))
        return false;
    uint64_t posted_at = io_sim_now(s->world);
    post_drain(s);
    return wait_for_drain(s, posted_at);
}

/* The proxy is told to end while clients are busy: all must come to an end in time. */
static bool run_with_early_drain(struct sim *s)
{
    uint64_t at = s->drain_at;
    return sim_run_until(s, at) && wait_for_drain(s, at);
}

bool sim_run(struct sim *s)
{
    if (s->options.drain_at)
        return run_with_early_drain(s);
    return run_clients(s) && sim_conclude(s);
}
