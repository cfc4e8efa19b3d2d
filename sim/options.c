/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "base/nsec.h"

enum { STARVED_BYTES = 256 * 1024 };

/* A stream of its own, so that what is drawn here does not move what the run draws. */
static uint64_t between(struct rng *r, uint64_t low, uint64_t high)
{
    return low + rng_below(r, high - low + 1);
}

static bool one_in(struct rng *r, uint32_t n)
{
    return rng_below(r, n) == 0;
}

static uint16_t maybe(struct rng *r, uint32_t one_in_n, uint32_t max)
{
    return one_in(r, one_in_n) ? (uint16_t)between(r, 1, max) : 0;
}

static void draw_weather(struct io_sim_weather *x, struct rng *r)
{
    x->latency_min = between(r, 0, 50) * NSEC_US;
    x->latency_max = x->latency_min + between(r, 1, 400) * NSEC_US;
    x->spike = x->latency_max + 5 * NSEC_MS;
    x->spike_chance = maybe(r, 3, 20);
    x->piece_chance = maybe(r, 2, 400);
    x->short_read_chance = maybe(r, 2, 300);
    x->short_write_chance = maybe(r, 2, 300);
    x->spurious_chance = maybe(r, 3, 50);
    x->buffer_min = one_in(r, 4) ? (uint32_t)between(r, 1, 3000) : 16 * 1024;
    x->buffer_max = x->buffer_min + (uint32_t)between(r, 0, 200 * 1024);
}

static void draw_node_faults(struct sim_options *o, struct rng *r)
{
    o->victims = (uint32_t)between(r, 1, (1U << o->nodes) - 1);
    o->hang = maybe(r, 2, 250);
    o->crash = maybe(r, 3, 250);
    o->lose_memory = (uint16_t)between(r, 0, 1000);
    o->loading = (uint16_t)between(r, 0, 1000);
    o->out_of_memory = maybe(r, 4, 200);
    o->refuse = maybe(r, 4, 200);
    o->black_hole = maybe(r, 4, 200);
    o->node_reset = maybe(r, 2, 300);
    o->node_clog = maybe(r, 3, 200);
    o->garbage = maybe(r, 4, 200);
    o->push = maybe(r, 4, 200);
    o->half_reply = maybe(r, 4, 200);
    o->halt = maybe(r, 4, 200);
    o->stray = maybe(r, 8, 100);
    o->view_changes = maybe(r, 4, 300);
    o->view_at = one_in(r, 8) ? between(r, 0, 100) * NSEC_MS : 0;
}

static void draw_other_faults(struct sim_options *o, struct rng *r)
{
    o->client_reset = maybe(r, 3, 100);
    o->client_clog = maybe(r, 3, 100);
    o->accept_fail = maybe(r, 5, 100);
    o->weather.accept_abort_chance = maybe(r, 6, 200);
    o->worker_pause = maybe(r, 3, 300);
    o->pause_max = o->worker_pause ? between(r, 1, 8) * NSEC_MS : 0;
    if (one_in(r, 10)) { /* hits the way to every node */
        o->weather.connect_fail_chance = (uint16_t)between(r, 1, 300);
        o->victims = (1U << o->nodes) - 1;
    }
    if (one_in(r, 10))
        o->drain_at = between(r, 1, 400) * NSEC_MS;
}

static void draw_times(struct proxy_settings *p, struct rng *r)
{
    p->request_timeout = between(r, 25, 120) * NSEC_MS;
    p->stall_timeout = between(r, 30, 250) * NSEC_MS;
    p->connect_timeout = between(r, 30, 300) * NSEC_MS;
    p->backoff_min = between(r, 5, 50) * NSEC_MS;
    p->backoff_max = p->backoff_min * between(r, 1, 8);
    p->drain_timeout = between(r, 50, 1000) * NSEC_MS;
    p->client_idle_timeout = 0;
    p->client_stall_timeout = 5 * NSEC_S;
    p->hash_tags = !one_in(r, 8);
    p->reads = one_in(r, 2) ? ON_FAILURE_MISS : ON_FAILURE_ERROR;
    p->value_max = 1024 * 1024; /* what a malformed command asks for is more */
}

static void draw_limits(struct sim_options *o, struct rng *r)
{
    struct proxy_settings *p = &o->proxy;
    if (one_in(r, 3))
        p->client_pending_max = (uint32_t)between(r, 1, 4);
    if (one_in(r, 8)) {
        p->node_requests_max = (uint32_t)between(r, 1, 12);
        o->tight = true;
    }
    if (one_in(r, 12)) {
        p->node_bytes_max = between(r, 1, 100000);
        o->tight = true;
    }
    if (one_in(r, 8)) {
        p->memory_max = between(r, 1, 64) * 16 * 1024 * o->workers;
        o->tight = o->closes = true;
        o->starved = p->memory_max / o->workers < STARVED_BYTES;
    }
    if (one_in(r, 12)) {
        p->split_request_max = between(r, 50, 5000);
        o->tight = true;
    }
    if (one_in(r, 12)) {
        p->client_output_max = between(r, 1, one_in(r, 2) ? 1000 : 200000);
        o->closes = true;
    }
    if (one_in(r, 12)) {
        p->clients_max = (uint32_t)between(r, 1, o->clients);
        o->closes = true;
    }
    if (one_in(r, 10)) {
        p->client_idle_timeout = between(r, 20, 400) * NSEC_MS;
        o->closes = true;
    }
    if (one_in(r, 6) || (o->slow_reader && one_in(r, 2))) {
        p->client_stall_timeout = between(r, 50, 500) * NSEC_MS;
        o->closes = true;
    }
}

static void draw_workload(struct sim_options *o, struct rng *r)
{
    o->commands = (uint32_t)between(r, 5, 90);
    o->sessions = (uint32_t)between(r, 1, 4);
    o->pipeline_max = one_in(r, 6) ? 60 : (uint32_t)between(r, 1, 12);
    o->keys = (uint32_t)between(r, 1, one_in(r, 2) ? CHECK_KEYS_FEW : CHECK_KEYS_MANY);
    o->split_max = (uint32_t)between(r, 1, one_in(r, 5) ? 100 : 12);
    o->local_chance = (uint16_t)between(r, 0, 300);
    o->split_chance = (uint16_t)between(r, 0, 500);
    o->inline_chance = maybe(r, 2, 200);
    o->empty_chance = maybe(r, 3, 100);
    o->odd_ends = maybe(r, 2, 600);
    o->slow_reader = maybe(r, 4, 400);
    o->piecewise = maybe(r, 2, 400);
    if (o->slow_reader && one_in(r, 2)) { /* so that they are felt */
        o->weather.buffer_min = (uint32_t)between(r, 10, 500);
        o->weather.buffer_max = o->weather.buffer_min + 500;
    }
    o->value_max = 200;
    if (one_in(r, 3) && o->weather.buffer_min > 1000) {
        o->big_chance = (uint16_t)between(r, 5, 120);
        o->value_max = (uint32_t)between(r, 1000, one_in(r, 4) ? 400 * 1024 : 70 * 1024);
        /* What moves through a run is bounded, so that one seed takes some ten milliseconds. */
        o->split_max = o->split_max < 12 ? o->split_max : 12;
        if (o->value_max > 70 * 1024)
            o->commands = o->commands < 30 ? o->commands : 30;
    }
}

static void draw_all(struct sim_options *o, uint64_t seed)
{
    struct rng rng = {seed ^ UINT64_C(0x6f7074696f6e7321)};
    struct rng *r = &rng;
    rng_next(r);
    *o = (struct sim_options){.proxy = proxy_settings_default()};
    o->workers = (uint32_t)between(r, 1, SIM_WORKERS_MAX);
    o->nodes = (uint32_t)between(r, 1, SIM_NODES_MAX);
    o->clients = (uint32_t)between(r, 1, one_in(r, 4) ? SIM_CLIENTS_MAX : 5);
    draw_weather(&o->weather, r);
    draw_times(&o->proxy, r);
    draw_workload(o, r);
    o->node_cost_min = between(r, 0, 5) * NSEC_US;
    o->node_cost_max = o->node_cost_min + between(r, 0, 50) * NSEC_US;
    o->drip_chance = 0;
    o->fault_min = NSEC_MS;
    o->fault_max = between(r, 5, one_in(r, 2) ? 60 : 900) * NSEC_MS;
    o->end_of_faults = between(r, 100, 1500) * NSEC_MS;
    if (one_in(r, 6)) {
        o->calm = true;
        return;
    }
    draw_limits(o, r);
    if (one_in(r, 8))
        return; /* tiny limits alone */
    o->fault_interval = between(r, 5, 60) * NSEC_MS;
    draw_node_faults(o, r);
    draw_other_faults(o, r);
    if (one_in(r, 5)) { /* slow at times, all of them: then no node is above suspicion */
        o->slow_chance = (uint16_t)between(r, 1, 60);
        o->slow_cost = between(r, 1, 60) * NSEC_MS;
        o->drip_chance = maybe(r, 2, 60);
        o->victims = (1U << o->nodes) - 1;
    }
}

void sim_options_draw(struct sim_options *o, uint64_t seed)
{
    draw_all(o, seed);
    /* Large values through narrow pipes take many round trips: that alone may pass a deadline. */
    if (o->big_chance && o->weather.buffer_min < 16 * 1024) {
        o->victims = (1U << o->nodes) - 1;
        o->calm = false;
    }
}
