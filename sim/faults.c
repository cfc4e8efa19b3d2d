/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include "base/nsec.h"

enum { CONNECTIONS_MAX = 64, CUT_WITHIN = 2000 };

#define UPGRADE_STEP (100 * NSEC_US)

void faults_init(struct faults *f, struct io_sim *world, const struct sim_options *options,
                 struct redis_model **nodes, struct client_model **clients,
                 struct sim_proxy *proxies)
{
    uint64_t now = io_sim_now(world);
    *f = (struct faults){.world = world,
                         .options = options,
                         .nodes = nodes,
                         .clients = clients,
                         .proxies = proxies,
                         .next_at =
                             options->fault_interval ? now + options->fault_interval : NSEC_NEVER,
                         .end_at = now + options->end_of_faults};
}

uint64_t faults_next(const struct faults *f)
{
    uint64_t next = nsec_min(f->next_at, f->end_at);
    for (unsigned i = 0; i < f->options->nodes; i++) {
        if (f->road_until[i] != 0)
            next = nsec_min(next, f->road_until[i]);
        for (unsigned p = 0; p < f->options->proxies; p++) {
            if (f->proxies[p].road_until[i] != 0)
                next = nsec_min(next, f->proxies[p].road_until[i]);
        }
    }
    for (unsigned p = 0; p < f->options->proxies; p++) {
        next = nsec_min(next, f->proxies[p].up_at);
        if (f->proxies[p].upgrade_until != 0)
            next = nsec_min(next, io_sim_now(f->world) + UPGRADE_STEP);
    }
    return next;
}

static uint64_t until(struct faults *f)
{
    uint64_t at = io_sim_now(f->world) +
                  io_sim_between(f->world, f->options->fault_min, f->options->fault_max);
    return nsec_min(at, f->end_at);
}

/* The node's end of one of its connections, or -1. */
static int draw_connection(struct faults *f, unsigned host)
{
    int handles[CONNECTIONS_MAX];
    unsigned count = io_sim_connections(f->world, host, handles, CONNECTIONS_MAX);
    return count ? handles[rng_below(io_sim_rng(f->world), count)] : -1;
}

static void cut(struct faults *f, int handle)
{
    uint64_t how = rng_below(io_sim_rng(f->world), 6);
    uint64_t within = how > 3 ? CUT_WITHIN + f->options->value_max : CUT_WITHIN;
    if (how < 2)
        io_sim_reset(f->world, handle);
    else
        io_sim_cut_after(f->world, handle, rng_below(io_sim_rng(f->world), within));
}

/* Draws one after the other: C does not say which argument of a call comes first. */
static void clog_for_a_while(struct faults *f, int handle)
{
    uint64_t at = until(f);
    io_sim_clog(f->world, handle, at);
}

static void close_road(struct faults *f, unsigned i, enum io_sim_road road)
{
    io_sim_set_road(f->world, &f->nodes[i]->addr, road);
    f->road_until[i] = until(f);
}

static void hurt_node(struct faults *f, unsigned i)
{
    const struct sim_options *o = f->options;
    struct io_sim *w = f->world;
    struct redis_model *m = f->nodes[i];
    unsigned host = io_sim_host_number(m->io);
    if (io_sim_chance(w, o->hang))
        io_sim_freeze(w, host, until(f));
    if (io_sim_chance(w, o->crash) && m->listener >= 0) {
        uint64_t up_at = until(f);
        bool loading = io_sim_chance(w, o->loading);
        redis_model_crash(m, up_at, io_sim_chance(w, o->lose_memory),
                          loading ? nsec_min(up_at + 100 * NSEC_MS, f->end_at) : 0);
    }
    if (io_sim_chance(w, o->out_of_memory))
        m->out_of_memory_until = until(f);
    if (io_sim_chance(w, o->refuse))
        close_road(f, i, IO_SIM_ROAD_REFUSING);
    if (io_sim_chance(w, o->black_hole))
        close_road(f, i, IO_SIM_ROAD_BLACK_HOLE);
    if (io_sim_chance(w, o->node_reset))
        cut(f, draw_connection(f, host));
    if (io_sim_chance(w, o->node_clog))
        clog_for_a_while(f, draw_connection(f, host));
    if (io_sim_chance(w, o->sip))
        redis_model_sip(m, until(f));
    if (io_sim_chance(w, o->garbage))
        redis_model_sabotage(m, SABOTAGE_GARBAGE);
    if (io_sim_chance(w, o->push))
        redis_model_sabotage(m, SABOTAGE_PUSH);
    if (io_sim_chance(w, o->half_reply))
        redis_model_sabotage(m, SABOTAGE_HALF_REPLY);
    if (io_sim_chance(w, o->halt))
        redis_model_sabotage(m, SABOTAGE_HALT);
    if (io_sim_chance(w, o->early))
        redis_model_sabotage(m, SABOTAGE_EARLY);
    if (io_sim_chance(w, o->stray))
        redis_model_sabotage(m, SABOTAGE_STRAY);
}

static void hurt_client(struct faults *f, struct client_model *c)
{
    const struct sim_options *o = f->options;
    if (c->state != MODEL_OPEN)
        return;
    if (io_sim_chance(f->world, o->client_reset)) {
        c->s.cut = true;
        cut(f, c->s.handle);
    }
    if (io_sim_chance(f->world, o->client_clog))
        clog_for_a_while(f, c->s.handle);
}

static void open_roads_of(struct faults *f, struct sim_proxy *p, bool all)
{
    for (unsigned i = 0; i < f->options->nodes; i++) {
        if (p->road_until[i] != 0 && (all || p->road_until[i] <= io_sim_now(f->world)))
            proxy_cut_off(p, i, IO_SIM_ROAD_OPEN, 0);
    }
}

static void open_roads(struct faults *f, bool all)
{
    for (unsigned i = 0; i < f->options->proxies; i++)
        open_roads_of(f, &f->proxies[i], all);
    for (unsigned i = 0; i < f->options->nodes; i++) {
        if (f->road_until[i] == 0 || (!all && f->road_until[i] > io_sim_now(f->world)))
            continue;
        io_sim_set_road(f->world, &f->nodes[i]->addr, IO_SIM_ROAD_OPEN);
        f->road_until[i] = 0;
    }
}

/* Those whose time has come. */
static void revive_proxies(struct faults *f, bool all)
{
    for (unsigned i = 0; i < f->options->proxies; i++) {
        struct sim_proxy *p = &f->proxies[i];
        if (!p->alive && (all || p->up_at <= io_sim_now(f->world)))
            proxy_revive(p);
    }
}

/* Its clients have to live with it. */
static void cut_clients(struct faults *f, const struct sim_proxy *p)
{
    for (unsigned i = 0; i < f->options->clients; i++) {
        if (f->clients[i]->proxy_number == p->number)
            f->clients[i]->s.cut = true;
    }
}

static void upgrade_proxies(struct faults *f)
{
    for (unsigned i = 0; i < f->options->proxies; i++) {
        struct sim_proxy *p = &f->proxies[i];
        if (p->upgrade_until == 0)
            continue;
        if (p->upgrade_until <= io_sim_now(f->world))
            p->upgrade_until = 0;
        else if (proxy_upgrade(p))
            cut_clients(f, p);
    }
}

static void end_all(struct faults *f)
{
    for (unsigned i = 0; i < f->options->proxies; i++)
        f->proxies[i].upgrade_until = 0;
    revive_proxies(f, true);
    struct io_sim_weather weather = f->options->weather;
    weather.accept_abort_chance = weather.connect_fail_chance = weather.spike_chance = 0;
    io_sim_set_weather(f->world, &weather);
    io_sim_mend(f->world);
    open_roads(f, true);
    for (unsigned i = 0; i < f->options->nodes; i++)
        redis_model_heal(f->nodes[i]);
    f->next_at = f->end_at = NSEC_NEVER;
    io_sim_note(f->world, TRACE_PHASE, 0, 0, 0, "faults have ended");
}

/* Pauses do not follow at once upon each other: the checker's bounds allow for one. */
static void pause_host(struct faults *f, struct io *io, uint16_t chance, uint64_t longest,
                       uint64_t *until)
{
    uint64_t now = io_sim_now(f->world);
    if (now < *until + longest || !io_sim_chance(f->world, chance))
        return;
    *until = now + io_sim_between(f->world, 1, longest);
    io_sim_freeze(f->world, io_sim_host_number(io), *until);
}

/* Is there room in the checker's books for one more, and for those that are yet to come? */
static bool may_begin_again(const struct faults *f)
{
    const struct checker *k = f->proxies[0].checker;
    unsigned count = k->process_count + 1;
    for (unsigned i = 0; i < f->options->proxies; i++)
        count += !f->proxies[i].alive + f->proxies[i].upgrades + (f->proxies[i].upgrade_until != 0);
    return count <= CHECK_PROCESSES_MAX;
}

static void kill_proxy(struct faults *f, struct sim_proxy *p)
{
    cut_clients(f, p);
    uint64_t up_at = until(f);
    proxy_kill(p, up_at);
}

static void cut_off(struct faults *f, struct sim_proxy *p)
{
    for (unsigned i = 0; i < f->options->nodes; i++) {
        bool may = f->options->victims & (1U << i) && p->road_until[i] == 0;
        if (!may || !io_sim_chance(f->world, f->options->cut_off))
            continue;
        bool silent = io_sim_between(f->world, 0, 1);
        uint64_t at = until(f);
        proxy_cut_off(p, i, silent ? IO_SIM_ROAD_BLACK_HOLE : IO_SIM_ROAD_REFUSING, at);
    }
}

static void hurt_proxy(struct faults *f, struct sim_proxy *p)
{
    const struct sim_options *o = f->options;
    if (!p->alive)
        return;
    if (io_sim_chance(f->world, o->proxy_kill) && may_begin_again(f)) {
        kill_proxy(f, p);
        return;
    }
    if (p->upgrade_until == 0 && io_sim_chance(f->world, o->proxy_upgrade) && may_begin_again(f))
        p->upgrade_until = until(f);
    cut_off(f, p);
    for (unsigned i = 0; i < o->workers; i++) {
        unsigned host = io_sim_host_number(p->worker_ios[i]);
        if (io_sim_chance(f->world, o->accept_fail))
            io_sim_fail_accepts(f->world, host, until(f));
        pause_host(f, p->worker_ios[i], o->worker_pause, o->pause_max, &p->paused_until[i]);
    }
    if (p->control)
        pause_host(f, p->control_io, o->control_pause, o->control_pause_max,
                   &p->control_paused_until);
}

void faults_run(struct faults *f)
{
    const struct sim_options *o = f->options;
    uint64_t now = io_sim_now(f->world);
    if (now >= f->end_at) {
        end_all(f);
        return;
    }
    open_roads(f, false);
    revive_proxies(f, false);
    upgrade_proxies(f);
    if (now < f->next_at)
        return;
    f->next_at = now + io_sim_between(f->world, o->fault_interval / 2, o->fault_interval);
    f->count++;
    for (unsigned i = 0; i < o->nodes; i++) {
        if (o->victims & (1U << i))
            hurt_node(f, i);
    }
    for (unsigned i = 0; i < o->clients; i++)
        hurt_client(f, f->clients[i]);
    for (unsigned i = 0; i < o->proxies; i++)
        hurt_proxy(f, &f->proxies[i]);
}
