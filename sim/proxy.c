/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy.h"

#include "base/must.h"
#include "base/nsec.h"
#include "base/text.h"
#include "cluster/control_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { PROXY_PORT = 6379 };

/* ---- views ---- */

int proxy_publish(void *owner, struct view *v)
{
    struct sim_proxy *p = owner;
    int node_of[SIM_NODES_MAX + CHECK_GONE_MAX] = {0};
    must(v->node_count <= SIM_NODES_MAX);
    for (uint32_t i = 0; i < v->node_count; i++)
        node_of[i] = (int)sources_node_of(v->nodes[i].name);
    p->view_version = v->version;
    sources_check_view(&p->sources, v);
    checker_view_posted(p->checker, p->process, v, node_of);
    ejections_check_view(&p->ejections, checker_newest_view(p->checker, p->process));
    agreement_view_posted(p->agreement, v);
    view_post_send(&p->view_post, v);
    return 0;
}

static void dropped(void *owner, const char *name)
{
    sources_dropped(owner, name);
}

void proxy_tell_members(struct sim_proxy *p, const bool *present, const uint32_t *weights)
{
    p->told_at = NSEC_NEVER;
    if (p->control) {
        sources_set(&p->sources, present, weights);
        return;
    }
    struct view_node nodes[SIM_NODES_MAX] = {0};
    uint32_t count = 0;
    for (unsigned i = 0; i < p->options->nodes; i++) {
        if (!present[i])
            continue;
        nodes[count].addr = sources_node_addr(i);
        nodes[count].weight = weights[i];
        char text[ADDR_TEXT_MAX];
        snprintf(nodes[count].name, sizeof(nodes[count].name), "%s",
                 addr_print(&nodes[count].addr, text));
        count++;
    }
    struct view *v;
    int err = view_new(p->view_version + 1, nodes, count, &v);
    must(err == 0);
    err = proxy_publish(p, v);
    must(err == 0);
    view_unref(v);
}

/* ---- life ---- */

static struct io *make_host(struct sim_proxy *p, enum host_kind kind, unsigned index)
{
    struct io *io = io_sim_host(p->world);
    p->roles[io_sim_host_number(io)] =
        (struct host_role){(uint8_t)kind, (uint8_t)p->number, (uint8_t)index};
    return io;
}

static void make_control(struct sim_proxy *p, struct str testament)
{
    struct control_ops ops = {
        .publish = proxy_publish, .owner = p, .dropped = dropped, .dropped_owner = &p->sources};
    p->control_io = make_host(p, HOST_CONTROL, 0);
    io_sim_shelter(p->control_io);
    if (!p->options->has_control) {
        io_sim_freeze(p->world, io_sim_host_number(p->control_io), NSEC_NEVER);
        return;
    }
    int err = control_new(&p->options->control, &ops, p->control_io, p->log, p->options->workers,
                          &p->control);
    must(err == 0);
    if (testament.len > 0)
        err = control_inherit(p->control, testament);
    must(err == 0);
}

/* Workers are the first hosts, the control plane is the one behind them. */
static void make_process(struct sim_proxy *p, struct str testament)
{
    for (unsigned i = 0; i < p->options->workers; i++)
        p->worker_ios[i] = make_host(p, HOST_WORKER, i);
    make_control(p, testament);
    for (unsigned i = 0; i < p->options->workers; i++) {
        struct worker_config config = {.settings = &p->options->proxy,
                                       .log = p->log,
                                       .index = i,
                                       .count = p->options->workers,
                                       .control = p->control};
        int err = worker_new(&config, p->worker_ios[i], &p->workers[i]);
        must(err == 0);
    }
    for (unsigned i = 0; i < p->options->workers; i++) {
        worker_meet(p->workers[i], p->workers, p->options->workers);
        int err = worker_listen(p->workers[i], -1, &p->addr, false);
        must(err == 0);
    }
    if (testament.len == 0)
        p->process = checker_process_begins(p->checker, p->number);
    p->started_at = io_sim_now(p->world);
    p->up_at = NSEC_NEVER;
    p->alive = true;
}

void proxy_init(struct sim_proxy *p, struct io_sim *world, const struct sim_options *options,
                struct checker *checker, struct log *log, struct host_role *roles,
                struct agreement *agreement, unsigned number)
{
    *p = (struct sim_proxy){
        .world = world,
        .options = options,
        .checker = checker,
        .log = log,
        .roles = roles,
        .agreement = agreement,
        .number = number,
        .addr = {.family = ADDR_V4, .port = PROXY_PORT, .ip = {10, 0, 1, (uint8_t)(number + 1)}},
        .told_at = NSEC_NEVER};
    view_post_init(&p->view_post, world, options, p->workers);
    make_process(p, STR(""));
}

void proxy_begin(struct sim_proxy *p)
{
    ejections_init(&p->ejections, p->checker, p->process, p->control);
    sources_init(&p->sources, p->world, p->options, p->checker, p->process, p->control, p->log);
    job_draws_init(&p->jobs, p->world, p->checker, p->options, p->process, p->control);
}

void proxy_fini(struct sim_proxy *p)
{
    for (unsigned i = 0; i < p->options->workers; i++)
        p->workers[i] = worker_free(p->workers[i]);
    sources_fini(&p->sources);
    if (p->control)
        loop_end_turn(control_loop(p->control));
    p->control = control_free(p->control);
    view_post_fini(&p->view_post);
    view_post_init(&p->view_post, p->world, p->options, p->workers);
    p->sources.next_fault = p->told_at = NSEC_NEVER;
    p->ejections.control = NULL;
    p->jobs.control = NULL;
    p->alive = false;
}

static void keep_counters(struct sim_proxy *p)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        char *at = (char *)&p->past + METRIC_INFO[m].offset;
        if (METRIC_INFO[m].kind == METRIC_COUNTER)
            metric_set((atomic_uint_least64_t *)(void *)at, proxy_metric(p, METRIC_INFO[m].offset));
    }
    for (unsigned m = 0; m < CONTROL_METRIC_COUNT; m++) {
        char *at = (char *)&p->control_past + CONTROL_METRIC_INFO[m].offset;
        if (CONTROL_METRIC_INFO[m].kind == METRIC_COUNTER)
            metric_set((atomic_uint_least64_t *)(void *)at,
                       proxy_control_metric(p, CONTROL_METRIC_INFO[m].offset));
    }
}

static void end_process(struct sim_proxy *p)
{
    keep_counters(p);
    for (unsigned i = 0; i < p->options->workers; i++)
        io_sim_freeze(p->world, io_sim_host_number(p->worker_ios[i]), NSEC_NEVER);
    io_sim_freeze(p->world, io_sim_host_number(p->control_io), NSEC_NEVER);
    proxy_fini(p);
    p->upgrade_until = 0;
}

void proxy_kill(struct sim_proxy *p, uint64_t up_at)
{
    io_sim_note(p->world, TRACE_FAULT, p->number, (int64_t)up_at, 0, "proxy killed");
    checker_process_ends(p->checker, p->process);
    end_process(p);
    p->up_at = up_at;
}

static void begin_again(struct sim_proxy *p, struct str testament)
{
    memset(p->worker_ended, 0, sizeof(p->worker_ended));
    memset(p->connects_checked, 0, sizeof(p->connects_checked));
    memset(p->paused_until, 0, sizeof(p->paused_until));
    memset(p->road_until, 0, sizeof(p->road_until)); /* the hosts are others */
    p->view_version = p->control_paused_until = 0;
    make_process(p, testament);
    proxy_begin(p);
    p->told_at = p->started_at;
}

void proxy_revive(struct sim_proxy *p)
{
    io_sim_note(p->world, TRACE_FAULT, p->number, 0, 0, "proxy started again");
    begin_again(p, STR(""));
}

/* Nodes owe it nothing: what would be done there late, only the old process could know. */
static bool is_between_requests(const struct sim_proxy *p)
{
    for (unsigned i = 0; i < p->options->workers; i++) {
        struct worker_debt d = worker_debt(p->workers[i]);
        if (d.requests || d.parts || d.upstream_queue || d.owned_upstreams)
            return false;
    }
    for (uint32_t i = 0; i < p->control->node_room; i++) {
        const struct control_node *n = p->control->nodes[i];
        if (n && n->state < NODE_OUT && atomic_load(&n->pulse->unsettled) > 0)
            return false;
    }
    return true;
}

bool proxy_upgrade(struct sim_proxy *p)
{
    struct text testament = {0};
    if (!is_between_requests(p))
        return false;
    if (control_write_testament(p->control, true, &testament) != 0) {
        text_fini(&testament);
        return false;
    }
    io_sim_note(p->world, TRACE_FAULT, p->number, 0, 0, "proxy upgraded");
    end_process(p);
    begin_again(p, (struct str){testament.bytes, testament.len});
    p->upgrades++;
    static const struct str OWING = STR("\nforgets\n");
    p->upgrades_owing += memmem(testament.bytes, testament.len, OWING.p, OWING.len) != NULL;
    text_fini(&testament);
    return true;
}

void proxy_cut_off(struct sim_proxy *p, unsigned node, enum io_sim_road road, uint64_t until)
{
    struct addr addr = sources_node_addr(node);
    for (unsigned i = 0; i <= p->options->workers; i++) {
        struct io *io = i < p->options->workers ? p->worker_ios[i] : p->control_io;
        unsigned host = io_sim_host_number(io);
        io_sim_set_road_of(p->world, host, &addr, road);
        if (road != IO_SIM_ROAD_OPEN)
            io_sim_clog_to(p->world, host, &addr, until);
    }
    p->road_until[node] = road == IO_SIM_ROAD_OPEN ? 0 : until;
}

/* ---- turns ---- */

void proxy_run_worker(struct sim_proxy *p, unsigned index)
{
    if (!worker_turn(p->workers[index], NSEC_NEVER)) {
        p->worker_ended[index] = true;
        view_post_close(&p->view_post, index);
        io_sim_freeze(p->world, io_sim_host_number(p->worker_ios[index]), NSEC_NEVER);
    }
    proxy_check_worker(p, index);
}

void proxy_run_control(struct sim_proxy *p)
{
    (void)control_turn(p->control, NSEC_NEVER);
}

uint64_t proxy_next(const struct sim_proxy *p)
{
    uint64_t next = nsec_min(view_post_next(&p->view_post), sources_next(&p->sources));
    next = nsec_min(next, job_draws_next(&p->jobs));
    return nsec_min(next, p->told_at);
}

void proxy_time_moved(struct sim_proxy *p)
{
    uint64_t now = io_sim_now(p->world);
    if (now >= sources_next(&p->sources))
        sources_run(&p->sources);
    if (now >= view_post_next(&p->view_post))
        view_post_run(&p->view_post);
    job_draws_run(&p->jobs);
}

/* ---- questions ---- */

bool proxy_is_calm(const struct sim_proxy *p)
{
    return p->alive &&
           (!p->control || (control_is_calm(p->control) && sources_are_complete(&p->sources) &&
                            !job_draws_is_busy(&p->jobs)));
}

void proxy_post_drain(struct sim_proxy *p)
{
    for (unsigned i = 0; i < p->options->workers; i++) {
        int err = worker_post_drain(p->workers[i]);
        must(err == 0);
    }
}

bool proxy_has_ended(const struct sim_proxy *p)
{
    for (unsigned i = 0; i < p->options->workers; i++) {
        if (!p->worker_ended[i])
            return false;
    }
    return true;
}

uint64_t proxy_metric(const struct sim_proxy *p, size_t offset)
{
    const char *past = (const char *)&p->past + offset;
    uint64_t sum = metric_get((const atomic_uint_least64_t *)(const void *)past);
    for (unsigned i = 0; i < p->options->workers && p->alive; i++) {
        const char *at = (const char *)worker_metrics(p->workers[i]) + offset;
        sum += metric_get((const atomic_uint_least64_t *)(const void *)at);
    }
    return sum;
}

uint64_t proxy_control_metric(const struct sim_proxy *p, size_t offset)
{
    const char *past = (const char *)&p->control_past + offset;
    uint64_t sum = metric_get((const atomic_uint_least64_t *)(const void *)past);
    const char *at = p->control ? (const char *)control_metrics(p->control) + offset : NULL;
    return at ? sum + metric_get((const atomic_uint_least64_t *)(const void *)at) : sum;
}
