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
    RUN_SECONDS_MAX = 600, /* of virtual time, until the drawn clients must be done */
    PROXY_PORT = 6379,
    NODE_PORT = 7000,
    /* What workers may hold above memory_max, for what must get through; and a chunk, since that is
     * how memory is counted. */
    CHUNK_RESERVE = 1024 * 1024 + 16 * 1024,
    READ_AT_ONCE = 256 * 1024, /* from a node */
    FRAME_SLACK = 64,          /* what replies have beside values */
    UNSENT_MAX = 64 * 1024,    /* of a reply that is passed on: then its node is not read */
    INSPECTIONS_PER_WORKER = 3,
    COMMANDS_PER_INSPECTION = 25,
    VIEW_CHANGES_MAX = 60,
};

static void log_sink(void *owner, const char *line, size_t len)
{
    const struct sim *s = owner;
    if (s->show_log)
        fprintf(s->trace.print ? s->trace.print : stderr, "%.*s", (int)len, line);
}

static struct addr node_addr(unsigned i)
{
    return (struct addr){.family = ADDR_V4, .port = NODE_PORT, .ip = {10, 0, 0, (uint8_t)(i + 1)}};
}

static int publish(void *owner, struct view *v)
{
    struct sim *s = owner;
    int node_of[SIM_NODES_MAX + CHECK_GONE_MAX] = {0};
    must(v->node_count <= SIM_NODES_MAX);
    for (uint32_t i = 0; i < v->node_count; i++)
        node_of[i] = (int)sources_node_of(v->nodes[i].name);
    s->view_version = v->version;
    sources_check_view(&s->sources, v);
    checker_view_posted(&s->checker, v, node_of);
    ejections_check_view(&s->ejections, &s->checker.views[s->checker.view_count - 1]);
    view_post_send(&s->view_post, v);
    return 0;
}

static void dropped(void *owner, const char *name)
{
    sources_dropped(owner, name);
}

static void make_control(struct sim *s)
{
    struct control_ops ops = {
        .publish = publish, .owner = s, .dropped = dropped, .dropped_owner = &s->sources};
    s->control_io = io_sim_host(s->world);
    io_sim_shelter(s->control_io);
    if (!s->options.has_control) {
        io_sim_freeze(s->world, s->options.workers, NSEC_NEVER);
        return;
    }
    int err = control_new(&s->options.control, &ops, s->control_io, &s->log, s->options.workers,
                          &s->control);
    must(err == 0);
}

/* Workers are the first hosts, the control plane is the one behind them. */
static void make_workers(struct sim *s)
{
    for (unsigned i = 0; i < s->options.workers; i++)
        s->worker_ios[i] = io_sim_host(s->world);
    make_control(s);
    for (unsigned i = 0; i < s->options.workers; i++) {
        struct worker_config config = {.settings = &s->options.proxy,
                                       .log = &s->log,
                                       .index = i,
                                       .count = s->options.workers,
                                       .control = s->control};
        int err = worker_new(&config, s->worker_ios[i], &s->workers[i]);
        must(err == 0);
    }
    for (unsigned i = 0; i < s->options.workers; i++) {
        worker_meet(s->workers[i], s->workers, s->options.workers);
        int err = worker_listen(s->workers[i], &s->proxy_addr);
        must(err == 0);
    }
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
        snprintf(names[count], sizeof(names[count]), i % FORMS ? "n%u.sim:%d" : "10.0.0.%u:%d",
                 i / FORMS + 1, NODE_PORT);
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
    must(s);
    s->seed = seed;
    s->options = *options;
    make_layout(s);
    trace_init(&s->trace, print, keep);
    s->world = io_sim_new(seed, &s->trace);
    io_sim_set_weather(s->world, &options->weather);
    checker_init(&s->checker, s->world, &s->options);
    view_post_init(&s->view_post, s->world, &s->options, s->workers);
    s->log.sink = log_sink;
    s->log.owner = s;
    atomic_init(&s->log.level, print ? LOG_DEBUG : LOG_WARN);
    s->show_log = print != NULL;
    s->proxy_addr = (struct addr){.family = ADDR_V4, .port = PROXY_PORT, .ip = {10, 0, 1, 1}};
    s->started_at = io_sim_now(s->world);
    make_workers(s);
    for (unsigned i = 0; i < options->nodes; i++) {
        struct addr addr = node_addr(i);
        s->nodes[i] = redis_model_new(io_sim_host(s->world), &s->checker, i, &addr);
        s->node_present[i] = true;
        s->node_weight[i] = 1;
    }
    for (unsigned i = 0; i < options->clients; i++)
        s->clients[i] = client_model_new(io_sim_host(s->world), &s->checker, i, &s->proxy_addr);
    s->inspector =
        client_model_new(io_sim_host(s->world), &s->checker, SIM_CLIENTS_MAX, &s->proxy_addr);
    faults_init(&s->faults, s->world, &s->options, s->nodes, s->clients, s->worker_ios,
                s->control ? s->control_io : NULL);
    ejections_init(&s->ejections, &s->checker, s->control);
    sources_init(&s->sources, s->world, &s->options, &s->checker, s->control, &s->log);
    s->view_at = s->started_at + options->view_at;
    s->drain_at = options->drain_at ? s->started_at + options->drain_at : NSEC_NEVER;
    return s;
}

struct sim *sim_free(struct sim *s)
{
    if (!s)
        return NULL;
    for (unsigned i = 0; i < s->options.workers; i++)
        worker_free(s->workers[i]);
    sources_fini(&s->sources);
    if (s->control)
        loop_end_turn(control_loop(s->control));
    control_free(s->control);
    for (unsigned i = 0; i < s->options.nodes; i++)
        redis_model_free(s->nodes[i]);
    for (unsigned i = 0; i < s->options.clients; i++)
        client_model_free(s->clients[i]);
    client_model_free(s->inspector);
    view_post_fini(&s->view_post);
    checker_fini(&s->checker);
    io_sim_free(s->world);
    trace_fini(&s->trace);
    layout_free(s->layout);
    free(s);
    return NULL;
}

/* ---- views ---- */

void sim_post_view(struct sim *s)
{
    if (s->control) {
        sources_set(&s->sources, s->node_present, s->node_weight);
        return;
    }
    struct view_node nodes[SIM_NODES_MAX] = {0};
    uint32_t count = 0;
    for (unsigned i = 0; i < s->options.nodes; i++) {
        if (!s->node_present[i])
            continue;
        nodes[count].addr = node_addr(i);
        nodes[count].weight = s->node_weight[i];
        char text[ADDR_TEXT_MAX];
        snprintf(nodes[count].name, sizeof(nodes[count].name), "%s",
                 addr_print(&nodes[count].addr, text));
        count++;
    }
    struct view *v;
    int err = view_new(s->view_version + 1, nodes, count, &v);
    must(err == 0);
    err = publish(s, v);
    must(err == 0);
    view_unref(v);
}

/* The next picture of the cluster: only victims come and go, so that the others stay blameless. */
static void change_view(struct sim *s)
{
    struct rng *r = io_sim_rng(s->world);
    uint64_t now = io_sim_now(s->world);
    if (s->view_version > 0 && now < s->faults.end_at) {
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
    sources_heal(&s->sources);
    for (unsigned i = 0; i < s->options.nodes; i++)
        s->node_present[i] = true;
    sim_post_view(s);
    s->view_at = NSEC_NEVER;
}

static void post_drain(struct sim *s)
{
    io_sim_note(s->world, TRACE_DRAIN, 0, 0, 0, NULL);
    for (unsigned i = 0; i < s->options.workers; i++) {
        int err = worker_post_drain(s->workers[i]);
        must(err == 0);
    }
    for (unsigned i = 0; i < s->options.clients; i++)
        s->clients[i]->draining = true;
    s->drain_at = NSEC_NEVER;
}

/* ---- steps ---- */

static uint64_t metric_sum(const struct sim *s, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->options.workers; i++) {
        const char *at = (const char *)worker_metrics(s->workers[i]) + offset;
        sum += metric_get((const atomic_uint_least64_t *)(const void *)at);
    }
    return sum;
}

#define METRIC_SUM(s, name) metric_sum(s, offsetof(struct metrics, name))

/* Per RESP version a shared upstream, the bulk ones, and as many again that were shared ones. */
static void check_upstreams(struct sim *s, unsigned i)
{
    uint64_t connects = io_sim_connects(s->world);
    if (connects == s->connects_checked[i])
        return;
    s->connects_checked[i] = connects;
    unsigned most = 2 * (1 + 2 * s->options.proxy.bulk_max);
    for (unsigned n = 0; n < s->options.nodes; n++) {
        unsigned count = io_sim_connections_to(s->world, i, &s->nodes[n]->addr);
        if (count > most)
            checker_fail(&s->checker, "upstreams: worker %u has %u to node %u, bulk_max is %u", i,
                         count, n, s->options.proxy.bulk_max);
    }
}

static void check_worker(struct sim *s, unsigned i)
{
    struct worker_debt debt = worker_debt(s->workers[i]);
    uint64_t most = s->options.proxy.memory_max / s->options.workers + CHUNK_RESERVE;
    if (debt.chunk_bytes > most)
        checker_fail(&s->checker, "memory: worker %u holds %zu bytes in buffers", i,
                     debt.chunk_bytes);
    if (debt.reserved > s->options.proxy.memory_max / s->options.workers / 2)
        checker_fail(&s->checker, "memory: worker %u has reserved %" PRIu64 " bytes", i,
                     debt.reserved);
    check_upstreams(s, i);
    s->checker.aside = METRIC_SUM(s, replies_absorbed) + METRIC_SUM(s, upstreams_promoted);
}

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

/* Hosts are numbered as they were made: workers, nodes, clients, the inspector. */
static void run_host(struct sim *s, unsigned host)
{
    const struct sim_options *o = &s->options;
    io_sim_note(s->world, TRACE_TURN, host, 0, 0, NULL);
    unsigned at = host;
    if (at < o->workers) {
        bool more = worker_turn(s->workers[at], NSEC_NEVER);
        if (!more) {
            s->worker_ended[at] = true;
            view_post_close(&s->view_post, at);
            io_sim_freeze(s->world, host, NSEC_NEVER);
        }
        check_worker(s, at);
        return;
    }
    at -= o->workers;
    if (at == 0) {
        (void)control_turn(s->control, NSEC_NEVER);
        return;
    }
    at--;
    if (at < o->nodes) {
        redis_model_turn(s->nodes[at]);
        return;
    }
    at -= o->nodes;
    if (at < o->clients)
        client_model_turn(s->clients[at]);
    else if (at == o->clients)
        client_model_turn(s->inspector);
}

/* A host that is ours to run; scenarios may have made others, which they run themselves. */
static bool is_ours(const struct sim *s, unsigned host)
{
    if (host < s->options.workers)
        return !s->worker_ended[host];
    if (host == s->options.workers)
        return s->control != NULL;
    return host <= s->options.workers + 1 + s->options.nodes + s->options.clients;
}

static void time_moved(struct sim *s)
{
    uint64_t now = io_sim_now(s->world);
    if (now >= faults_next(&s->faults))
        faults_run(&s->faults);
    if (now >= sources_next(&s->sources))
        sources_run(&s->sources);
    if (now >= view_post_next(&s->view_post))
        view_post_run(&s->view_post);
    if (now >= s->view_at)
        change_view(s);
    if (now >= s->drain_at)
        post_drain(s);
    for (unsigned i = 0; i < s->options.clients; i++) {
        client_model_check(s->clients[i]);
        check_owed(s, s->clients[i]);
    }
    client_model_check(s->inspector);
    ejections_check(&s->ejections);
}

/* Of all that is no host. */
static uint64_t next_event(const struct sim *s)
{
    uint64_t next = nsec_min(faults_next(&s->faults), view_post_next(&s->view_post));
    next = nsec_min(next, sources_next(&s->sources));
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

/* What is still open is what pools may keep. */
static bool check_pools(struct sim *s)
{
    uint64_t most = 2 * (uint64_t)s->options.proxy.bulk_max * s->options.nodes;
    for (unsigned i = 0; i < s->options.workers; i++) {
        uint64_t open = metric_get(&worker_metrics(s->workers[i])->upstreams_bulk);
        if (open > most)
            checker_fail(&s->checker, "pools: worker %u has %" PRIu64 " bulk upstreams", i, open);
    }
    return !s->checker.failed;
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

static bool check_debts(struct sim *s)
{
    for (unsigned i = 0; i < s->options.workers; i++) {
        struct worker_debt d = worker_debt(s->workers[i]);
        if (d.clients || d.requests || d.parts || d.chunk_bytes || d.upstream_queue || d.reserved)
            checker_fail(
                &s->checker,
                "debt: worker %u still has %zu clients, %zu requests, %zu parts, %zu bytes "
                "in buffers, %zu in upstream queues, %" PRIu64 " bytes reserved",
                i, d.clients, d.requests, d.parts, d.chunk_bytes, d.upstream_queue, d.reserved);
    }
    return !s->checker.failed;
}

/* No more clients were closed for a limit than the workers say. */
static bool check_closed(struct sim *s)
{
    uint64_t seen = 0, told = 0;
    for (unsigned i = 0; i < s->options.clients; i++)
        seen += s->clients[i]->closed_for_limits;
    for (unsigned i = 0; i < s->options.workers; i++) {
        const struct metrics *m = worker_metrics(s->workers[i]);
        told += metric_get(&m->clients_refused) + metric_get(&m->clients_idle_closed) +
                metric_get(&m->clients_stalled) + metric_get(&m->clients_output_limit) +
                metric_get(&m->clients_too_slow) + metric_get(&m->clients_reply_cut) +
                metric_get(&m->memory_limit_hits);
    }
    if (seen > told)
        checker_fail(&s->checker,
                     "closed: %" PRIu64 " clients were closed for a limit, the workers "
                     "count %" PRIu64,
                     seen, told);
    return !s->checker.failed;
}

/*
 * Nodes that are down are not knocked at too often. A lane may begin at once after a connection
 * that lived for backoff_min; else it waits for half of that at least. Each worker has two shared
 * lanes per node and the bulk ones, and new ones whenever a node comes back into the view. A bulk
 * one may also end because of a client, and be needed again.
 */
static bool check_pace(struct sim *s)
{
    uint64_t elapsed = io_sim_now(s->world) - s->started_at;
    uint64_t per_lane = 2 + 2 * elapsed / (s->options.proxy.backoff_min / 2);
    for (unsigned i = 0; i < s->options.workers; i++) {
        const struct metrics *m = worker_metrics(s->workers[i]);
        uint64_t for_bulk = metric_get(&m->requests_bulk) + metric_get(&m->upstreams_promoted);
        uint64_t lanes = 2 * s->options.nodes;
        uint64_t most = lanes * (per_lane + s->view_version) + for_bulk;
        uint64_t opened = metric_get(&m->upstreams_opened);
        if (opened > most)
            checker_fail(&s->checker,
                         "pace: worker %u began %" PRIu64 " connects in %" PRIu64 " ms", i, opened,
                         elapsed / NSEC_MS);
    }
    return !s->checker.failed;
}

static bool workers_have_ended(const struct sim *s)
{
    for (unsigned i = 0; i < s->options.workers; i++) {
        if (!s->worker_ended[i])
            return false;
    }
    return true;
}

static bool wait_for_drain(struct sim *s, uint64_t posted_at)
{
    /* A worker that rests hears of it afterwards. */
    uint64_t limit = posted_at + s->options.proxy.drain_timeout + s->options.proxy.gather_window +
                     2 * s->options.pause_max + NSEC_MS;
    while (!workers_have_ended(s)) {
        if (!sim_step(s, limit))
            return false;
        if (io_sim_now(s->world) >= limit && !workers_have_ended(s)) {
            checker_fail(&s->checker, "drain: a worker has not ended in its drain time");
            return false;
        }
    }
    return true;
}

static bool is_calm(const struct sim *s)
{
    return !s->control || (control_is_calm(s->control) && sources_are_complete(&s->sources));
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
    if (!inspect(s))
        return false;
    if (!sim_run_until(s, io_sim_now(s->world) + recovery_time(&s->options)) || !check_debts(s) ||
        !check_closed(s) || !check_pace(s) || !check_pools(s))
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
