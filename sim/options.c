/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "base/must.h"
#include "base/nsec.h"
#include "sources.h"

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
    o->early = maybe(r, 6, 200);
    o->sip = maybe(r, 4, 200);
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
    /* Longer than in earnest, and with less of a crowd: there are few simulated clients. */
    p->gather_window = one_in(r, 2) ? 0 : between(r, 1, 30) * 100 * NSEC_US;
    p->gather_share = 1;
    p->client_idle_timeout = 0;
    p->client_stall_timeout = 5 * NSEC_S;
    p->hash_tags = !one_in(r, 8);
    p->reads = one_in(r, 2) ? ON_FAILURE_MISS : ON_FAILURE_ERROR;
    /* More than APPENDs make of any value, less than what a malformed command asks for. */
    p->value_max = UINT64_C(256) * 1024 * 1024;
}

/* Slots that move between nodes that are well, again and again, under clients that share a few keys
 * and work by different views: then an old value is at hand if a step is missed. */
static void draw_churn(struct sim_options *o, struct rng *r)
{
    o->workers = (uint32_t)between(r, 2, SIM_WORKERS_MAX);
    o->keys = (uint32_t)between(r, 1, 4);
    o->pipeline_max = (uint32_t)between(r, 1, 4);
    o->think_max = between(r, 1, 20) * NSEC_MS;
    o->view_changes = (uint16_t)between(r, 1, 30);
    o->adopt_max = between(r, 2, 60) * NSEC_MS;
    o->plain_chance = 800;
    if (one_in(r, 2)) /* nothing else */
        o->fault_interval = 0;
}

/* Quicker than in earnest, for a run takes a second or two of virtual time. */
/* With TTLs of some ten ms; the virtual DNS's own are whole seconds. */
static void draw_sources(struct sim_options *o, struct rng *r)
{
    struct lookup_settings *l = &o->lookup;
    l->refresh_min = between(r, 2, 20) * NSEC_MS;
    l->refresh_max = l->refresh_min + between(r, 0, 80) * NSEC_MS;
    l->refresh = between(r, 5, 50) * NSEC_MS;
    l->retry_min = between(r, 1, 20) * NSEC_MS;
    l->retry_max = l->retry_min * between(r, 1, 8);
    if (o->calm || !one_in(r, 3)) /* nobody can be asked before DNS has answered once */
        return;
    o->sources = (uint8_t)between(r, SOURCES_DNS, SOURCES_SRV);
    o->dns_fail = maybe(r, 2, 500);
    o->dns_fault_max = between(r, 5, one_in(r, 2) ? 50 : 400) * NSEC_MS;
    if (one_in(r, 2))
        o->view_changes = (uint16_t)between(r, 1, 200);
    if (o->sources == SOURCES_SRV) /* one whose address is not known yet is in the ring */
        o->victims = (1U << o->nodes) - 1;
}

static void draw_control(struct sim_options *o, struct rng *r)
{
    struct control_settings *s = &o->control;
    *s = control_settings_default();
    o->has_control = !one_in(r, 5);
    s->interval = between(r, 20, 300) * NSEC_MS;
    s->interval_out = between(r, 3, 40) * NSEC_MS;
    s->timeout = between(r, 20, 200) * NSEC_MS;
    s->unhealthy = (uint32_t)between(r, 1, 3);
    s->healthy = (uint32_t)between(r, 1, 3);
    s->eject_after = between(r, 20, 250) * NSEC_MS;
    s->eject_misses = (uint32_t)between(r, 1, 4);
    s->max_ejected = (uint32_t)between(r, 0, 100);
    s->hold_min = between(r, 1, 40) * NSEC_MS;
    s->hold_max = s->hold_min * between(r, 1, 4);
    s->on_return = one_in(r, 4) ? ON_RETURN_FLUSH : ON_RETURN_REPLAY;
    s->flush_interval = between(r, 1, 50) * NSEC_MS;
    s->grace = between(r, 0, 100) * NSEC_MS;
    s->request_timeout = o->proxy.request_timeout;
    s->journal_max = one_in(r, 4) ? between(r, 0, 2000) : 1024 * 1024;
    s->hash_tags = o->proxy.hash_tags;
    draw_sources(o, r);
    if (!o->calm && !o->tight && o->nodes > 1 && one_in(r, 4)) {
        draw_churn(o, r);
        return;
    }
    if (one_in(r, 3))
        return;
    o->adopt_max = between(r, 1, one_in(r, 2) ? 10 : 120) * NSEC_MS;
    o->control_pause = maybe(r, 2, 300);
    o->control_pause_max = between(r, 1, 60) * NSEC_MS;
}

/* Readers so slow, and pipes so narrow, that the proxy is left with what it owes. */
static void draw_slow_readers(struct sim_options *o, struct rng *r)
{
    o->slow_reader = (uint16_t)between(r, 100, 600);
    o->weather.buffer_min = o->value_max / 20 + (uint32_t)between(r, 10, 200);
    o->weather.buffer_max = 2 * o->weather.buffer_min;
}

/* What they want is sent behind most writes; values of keys "s…" get two such commands. */
static const struct policy_rule RULES[] = {
    {.prefix = "s", .prefix_len = 1, .default_ttl = NSEC_S, .max_ttl = 2 * NSEC_S},
    {.default_ttl = 5 * NSEC_S},
};

static void draw_limits(struct sim_options *o, struct rng *r)
{
    struct proxy_settings *p = &o->proxy;
    if (one_in(r, 3))
        p->client_pending_max = (uint32_t)between(r, 1, 4);
    if (one_in(r, 4))
        p->transaction_commands_max = (uint32_t)between(r, 1, SIM_TRANSACTION_MAX);
    if (one_in(r, 4))
        p->private_max = (uint32_t)between(r, 1, 3);
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
        /* What three values take at once, and the chunks around them. */
        o->starved = p->memory_max / o->workers < STARVED_BYTES + 4 * (uint64_t)o->value_max;
    }
    if (one_in(r, 12))
        p->split_request_max = between(r, 50, one_in(r, 2) ? 5000 : 200000);
    if (one_in(r, 8))
        p->policy = (struct policy){RULES, sizeof(RULES) / sizeof(RULES[0])};
    bool low = one_in(r, 12), some = o->big_chance && one_in(r, o->slow_reader ? 2 : 4);
    if (low)
        p->client_output_max = between(r, 1, one_in(r, 2) ? 1000 : 200000);
    else if (some) /* holds some of the large values, not all */
        p->client_output_max = 1000 + between(r, o->value_max / 4, 3 * (uint64_t)o->value_max);
    if (low || some) {
        o->closes = true;
        o->pipeline_max = one_in(r, 2) ? 60 : o->pipeline_max;
    }
    if (o->closes && one_in(r, 2))
        draw_slow_readers(o, r);
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
    /* So that there are some left when nodes come back. */
    o->think_max = one_in(r, 3) ? 0 : between(r, 1, one_in(r, 2) ? 10 : 60) * NSEC_MS;
    o->odd_ends = maybe(r, 2, 600);
    o->slow_reader = maybe(r, 4, 400);
    o->piecewise = maybe(r, 2, 400);
    if (o->slow_reader && one_in(r, 2)) { /* so that they are felt */
        o->weather.buffer_min = (uint32_t)between(r, 10, 500);
        o->weather.buffer_max = o->weather.buffer_min + 500;
    }
}

static uint32_t at_most(uint32_t value, uint32_t most)
{
    return value < most ? value : most;
}

/*
 * A few readers so slow that nodes are not read on for them, and that others wait for the same
 * upstreams: what the proxy then reads for them, leaves where it is, or ends.
 */
static void draw_jams(struct sim_options *o, struct rng *r)
{
    o->proxy.bulk_max = 1;
    o->proxy.stall_timeout = nsec_min(o->proxy.stall_timeout, 60 * NSEC_MS);
    o->proxy.bulk_above = between(r, 4, 32) * 1024;
    o->value_max = (uint32_t)between(r, 200, 600) * 1024;
    o->big_chance = (uint16_t)between(r, 300, 800);
    o->slow_reader = (uint16_t)between(r, 300, 700);
    o->weather.buffer_min = (uint32_t)between(r, 4, 16) * 1024;
    o->weather.buffer_max = 2 * o->weather.buffer_min;
    o->commands = at_most(o->commands, 15);
    o->sessions = at_most(o->sessions, 2);
    o->nodes = at_most(o->nodes, 2);
    o->clients = 2 + at_most(o->clients, 3);
    o->keys = at_most(o->keys, 3);
    o->split_chance = (uint16_t)at_most(o->split_chance, 100);
    o->local_chance = (uint16_t)at_most(o->local_chance, 100);
}

/*
 * How long values are, and from where on they count as large. The lower that mark, the cheaper it
 * is to have both sorts beside each other; what the buffers' own sizes bring about needs some runs
 * with large ones in earnest. What moves through a run is bounded, so that one seed takes some ten
 * milliseconds.
 */
static void draw_sizes(struct sim_options *o, struct rng *r)
{
    struct proxy_settings *p = &o->proxy;
    p->bulk_max = one_in(r, 2) ? 1 : (uint32_t)between(r, 1, 4);
    p->client_min_rate = one_in(r, 2) ? 0 : between(r, 16, 2048) * 1024;
    o->value_max = 200;
    switch (rng_below(r, 8)) {
    case 0: /* a few bytes more are large */
    case 1:
        p->bulk_above = between(r, 128, 400);
        o->value_max = (uint32_t)between(r, 200, 2000);
        o->big_chance = (uint16_t)between(r, 50, 500);
        break;
    case 2:
        p->bulk_above = between(r, 400, 8 * 1024);
        o->value_max = (uint32_t)(p->bulk_above * between(r, 2, 8));
        o->big_chance = (uint16_t)between(r, 20, 300);
        break;
    case 3: /* around the sizes of our buffers */
        p->bulk_above = between(r, 4, 64) * 1024;
        o->value_max = (uint32_t)between(r, 1000, 150 * 1024);
        o->big_chance = (uint16_t)between(r, 20, 120);
        o->commands = at_most(o->commands, 40);
        break;
    case 4: /* more than any of them holds */
        if (one_in(r, 2)) {
            draw_jams(o, r);
            break;
        }
        if (!one_in(r, 2))
            return;
        p->bulk_above = between(r, 16, 64) * 1024;
        o->value_max = (uint32_t)between(r, 300, 700) * 1024;
        o->big_chance = (uint16_t)between(r, 50, 200);
        o->commands = at_most(o->commands, 15);
        o->clients = at_most(o->clients, 4);
        break;
    default: /* nothing is large */
        return;
    }
    if (o->value_max > 2000)
        o->split_max = at_most(o->split_max, 12);
    /* The narrowest pipes would take thousands of round trips. */
    if (o->value_max > 50 * o->weather.buffer_min) {
        o->weather.buffer_min = o->value_max / 50;
        o->weather.buffer_max += o->weather.buffer_min;
    }
    o->body_stop = maybe(r, 3, 200);
    o->crossing = one_in(r, 3);
}

static void calm_clients(struct sim_options *o)
{
    if ((uint64_t)o->value_max * o->split_max > o->proxy.bulk_above &&
        o->proxy.bulk_max < o->clients)
        o->slow_reader = o->piecewise = o->odd_ends = o->body_stop = 0;
}

/* Nothing may go wrong: then nobody may hold up others either, for as long as a request may wait.
 */
static void calm_down(struct sim_options *o)
{
    struct proxy_settings *p = &o->proxy;
    if ((uint64_t)o->value_max * o->split_max <= p->bulk_above)
        return;
    p->request_timeout += 100 * NSEC_MS;
    calm_clients(o);
}

static void draw_all(struct sim_options *o, uint64_t seed)
{
    struct rng rng = {seed ^ UINT64_C(0x6f7074696f6e7321)};
    struct rng *r = &rng;
    rng_next(r);
    *o = (struct sim_options){.proxies = 1, .proxy = proxy_settings_default()};
    must(command_rules_allow(&o->proxy.commands, STR("all")) == 0);
    o->workers = (uint32_t)between(r, 1, SIM_WORKERS_MAX);
    o->nodes = (uint32_t)between(r, 1, SIM_NODES_MAX);
    o->clients = (uint32_t)between(r, 1, one_in(r, 4) ? SIM_CLIENTS_MAX : 5);
    draw_weather(&o->weather, r);
    draw_times(&o->proxy, r);
    draw_workload(o, r);
    draw_sizes(o, r);
    o->node_cost_min = between(r, 0, 5) * NSEC_US;
    o->node_cost_max = o->node_cost_min + between(r, 0, 50) * NSEC_US;
    o->drip_chance = 0;
    o->fault_min = NSEC_MS;
    o->fault_max = between(r, 5, one_in(r, 2) ? 60 : 900) * NSEC_MS;
    o->end_of_faults = between(r, 100, 1500) * NSEC_MS;
    if (one_in(r, 6)) {
        o->calm = true;
        calm_down(o);
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

/* Commands that concern all nodes. */
static void draw_all_nodes(struct sim_options *o, uint64_t seed)
{
    struct rng r = {seed ^ UINT64_C(0x666c757368657331)};
    rng_next(&r);
    o->proxy.fanout_timeout = o->proxy.request_timeout * between(&r, 1, 5);
    o->flush_chance = maybe(&r, 3, 60);
    o->all_chance = maybe(&r, 2, 150);
    if (!o->calm && one_in(&r, 6))
        o->proxy.fanout_reply_max = between(&r, 1, 1000);
}

/* What one wrote is read through another: a few keys, nodes that go and come again and again, for
 * each proxy at another time, and time enough between for all to be at rest. */
static void draw_rivals(struct sim_options *o, struct rng *r)
{
    struct control_settings *s = &o->control;
    o->nodes = (uint32_t)between(r, 2, 3);
    o->victims = (1U << o->nodes) - 1;
    o->keys = (uint32_t)between(r, 1, CHECK_KEYS_FEW);
    o->commands = (uint32_t)between(r, 60, 150);
    o->pipeline_max = (uint32_t)between(r, 1, 3);
    o->think_max = between(r, 10, 60) * NSEC_MS;
    o->plain_chance = 850;
    o->big_chance = 0;
    o->value_max = 200;
    o->slow_reader = o->view_changes = o->garbage = o->push = o->stray = o->early = 0;
    o->end_of_faults = between(r, 1000, 3000) * NSEC_MS;
    o->fault_interval = between(r, 20, 60) * NSEC_MS;
    o->fault_max = between(r, 20, 300) * NSEC_MS;
    o->crash = (uint16_t)between(r, 0, 40);
    o->lose_memory = one_in(r, 2) ? 0 : o->lose_memory;
    o->hang = (uint16_t)between(r, 0, 40);
    o->cut_off = (uint16_t)between(r, 10, 150);
    o->adopt_max = one_in(r, 2) ? 0 : o->adopt_max;
    s->interval = between(r, 10, 100) * NSEC_MS;
    s->timeout = between(r, 10, 60) * NSEC_MS;
    s->healthy = 1;
    s->flush_interval = between(r, 1, 10) * NSEC_MS;
    s->on_return = one_in(r, 3) ? ON_RETURN_FLUSH : ON_RETURN_REPLAY;
    s->journal_max = one_in(r, 2) ? between(r, 0, 700) : s->journal_max;
}

/* Proxies that know nothing of each other, over the same nodes; and processes that die. */
static void draw_proxies(struct sim_options *o, struct rng *r, unsigned proxies)
{
    unsigned drawn = !one_in(r, 4) ? 1 : one_in(r, 6) ? 3 : 2;
    bool dies = one_in(r, 2);
    if (proxies > 1) /* by hand: there is no way of nodes out and back */
        o->has_control = true;
    o->proxies = proxies ? proxies : o->has_control ? drawn : 1;
    if (o->calm || o->drain_at > 0)
        dies = false;
    if (o->proxies == 1) {
        if (dies && o->has_control && one_in(r, 6))
            o->proxy_kill = (uint16_t)between(r, 1, 40);
        return;
    }
    while (o->clients < 2 * o->proxies)
        o->clients++;
    if (o->calm) {
        calm_clients(o);
        return;
    }
    if (dies)
        o->proxy_kill = (uint16_t)between(r, 1, 40);
    o->members_lag = one_in(r, 2) ? 0 : between(r, 1, 100) * NSEC_MS;
    o->cut_off = maybe(r, 2, 100);
    if (one_in(r, 2)) /* the same members for all, so that they may agree */
        o->view_changes = 0;
    if (!o->tight && one_in(r, 2))
        draw_rivals(o, r);
}

/* A process that hands over what it knows counts as the one it takes the place of. */
static void draw_upgrades(struct sim_options *o, uint64_t seed)
{
    struct rng r = {seed ^ UINT64_C(0x7570677261646573)};
    rng_next(&r);
    if (!o->has_control || o->calm || o->drain_at > 0 || !one_in(&r, 6))
        return;
    o->proxy_upgrade = (uint16_t)between(&r, 1, 40);
}

/* Where memory is short a SELECT may be refused, and nobody knows where its client is. A job goes
 * through one database. */
static void draw_databases(struct sim_options *o, uint64_t seed)
{
    struct rng r = {seed ^ UINT64_C(0x6461746162617365)};
    rng_next(&r);
    if (o->starved || !one_in(&r, 5))
        return;
    o->proxy.databases = (uint32_t)between(&r, 2, 4);
    o->control.databases = o->proxy.databases;
    o->proxy.database_idle_timeout = between(&r, 10, 500) * NSEC_MS;
    o->job_interval = 0;
}

void sim_options_draw(struct sim_options *o, uint64_t seed, unsigned proxies)
{
    draw_all(o, seed);
    struct rng rng = {seed ^ UINT64_C(0x636f6e74726f6c31)};
    rng_next(&rng);
    draw_control(o, &rng);
    struct rng more = {seed ^ UINT64_C(0x70726f7869657321)};
    rng_next(&more);
    draw_proxies(o, &more, proxies);
    /* Large values through narrow pipes take many round trips: that alone may pass a deadline. */
    if (o->value_max > o->weather.buffer_min) {
        o->victims = (1U << o->nodes) - 1;
        o->calm = false;
    }
    o->stale_checked = o->calm || o->has_control;
    if (o->has_control && !o->calm && one_in(&rng, 4))
        o->job_interval = between(&rng, 20, 400) * NSEC_MS;
    draw_all_nodes(o, seed);
    draw_databases(o, seed);
    draw_upgrades(o, seed);
    /* Not drawn: other seeds go on as they did. */
    o->layout = seed % 8 == 6 ? LAYOUT_KETAMA : seed % 8 == 7 ? LAYOUT_MODULA : LAYOUT_MAGLEV;
}
