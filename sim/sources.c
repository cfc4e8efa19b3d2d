/* SPDX-License-Identifier: Apache-2.0 */
#include "sources.h"

#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NODE_PORT = 7000,
    TTL_MAX_S = 2,
    NAMES = 2,
    TEXT_MAX = SIM_NODES_MAX * 16,
};

static const char *const NAME_OF[NAMES] = {"nodes.sim", "more.sim"};
static const char SERVICE[] = "_redis._tcp.sim";

/* ---- what DNS says ---- */

static void set_addresses(struct sources *s, unsigned which)
{
    char text[TEXT_MAX];
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < s->options->nodes; i++) {
        bool here = s->options->sources == SOURCES_DNS || i % NAMES == which;
        if (here && s->named[i])
            len += (size_t)snprintf(text + len, sizeof(text) - len, "10.0.0.%u ", i + 1);
    }
    resolver_sim_set_addresses(s->dns, NAME_OF[which], RESOLVER_A, text,
                               (uint32_t)io_sim_between(s->world, 0, TTL_MAX_S));
}

static void set_services(struct sources *s, const uint32_t *weights)
{
    struct resolver_service services[SIM_NODES_MAX] = {0};
    size_t count = 0;
    for (unsigned i = 0; i < s->options->nodes; i++) {
        if (!s->named[i])
            continue;
        struct resolver_service *v = &services[count++];
        snprintf(v->target, sizeof(v->target), "n%u.sim", i + 1);
        v->port = NODE_PORT;
        v->weight = (uint16_t)weights[i];
        v->ttl = (uint32_t)io_sim_between(s->world, 0, TTL_MAX_S);
    }
    resolver_sim_set_services(s->dns, SERVICE, services, count);
}

static void set_targets(struct sources *s)
{
    for (unsigned i = 0; i < s->options->nodes; i++) {
        char name[24], text[24];
        snprintf(name, sizeof(name), "n%u.sim", i + 1);
        snprintf(text, sizeof(text), "10.0.0.%u", i + 1);
        resolver_sim_set_addresses(s->dns, name, RESOLVER_A, text, 1);
    }
}

static void tell_control(struct sources *s, const bool *present, const uint32_t *weights)
{
    struct member members[SIM_NODES_MAX] = {0};
    uint32_t count = 0;
    for (unsigned i = 0; i < s->options->nodes; i++) {
        if (!present[i])
            continue;
        struct member *m = &members[count++];
        m->addr = sources_node_addr(i);
        m->weight = weights[i];
        snprintf(m->name, sizeof(m->name), "10.0.0.%u:%d", i + 1, NODE_PORT);
    }
    int err = control_set_members(s->control, members, count);
    must(err == 0);
    control_loop(s->control)->io->ops->wake(control_loop(s->control)->io->ctx);
}

void sources_set(struct sources *s, const bool *present, const uint32_t *weights)
{
    if (!s->discovery) {
        tell_control(s, present, weights);
        return;
    }
    for (unsigned i = 0; i < s->options->nodes; i++) {
        s->was_removed[i] = s->was_removed[i] || (s->named[i] && !present[i]);
        s->named[i] = present[i];
        s->weights[i] = weights[i];
    }
    if (s->options->sources == SOURCES_SRV) {
        set_services(s, weights);
        return;
    }
    for (unsigned n = 0; n < NAMES; n++)
        set_addresses(s, n);
}

/* ---- how it fails ---- */

static void draw_failure(struct sources *s, const char *name, enum resolver_question what)
{
    enum resolver_result why = RESOLVER_OK;
    if (io_sim_chance(s->world, s->options->dns_fail)) {
        why = (enum resolver_result)io_sim_between(s->world, RESOLVER_NXDOMAIN,
                                                   RESOLVER_RESULT_COUNT - 1);
        s->failures++;
    }
    resolver_sim_fail(s->dns, name, what, why);
}

uint64_t sources_next(const struct sources *s)
{
    return s->next_fault;
}

void sources_run(struct sources *s)
{
    const struct sim_options *o = s->options;
    if (io_sim_now(s->world) < s->next_fault)
        return;
    s->next_fault = io_sim_now(s->world) + io_sim_between(s->world, NSEC_MS, o->dns_fault_max);
    for (unsigned n = 0; n < NAMES; n++)
        draw_failure(s, NAME_OF[n], RESOLVER_A);
    draw_failure(s, SERVICE, RESOLVER_SRV);
    uint64_t slowest = io_sim_between(s->world, NSEC_MS, o->dns_fault_max);
    resolver_sim_set_latency(s->dns, 0, slowest);
}

void sources_heal(struct sources *s)
{
    s->next_fault = NSEC_NEVER;
    if (!s->dns)
        return;
    for (unsigned n = 0; n < NAMES; n++)
        resolver_sim_fail(s->dns, NAME_OF[n], RESOLVER_A, RESOLVER_OK);
    resolver_sim_fail(s->dns, SERVICE, RESOLVER_SRV, RESOLVER_OK);
    resolver_sim_set_latency(s->dns, 0, 5 * NSEC_MS);
}

/* ---- what comes of it ---- */

struct addr sources_node_addr(unsigned node)
{
    return (struct addr){
        .family = ADDR_V4, .port = NODE_PORT, .ip = {10, 0, 0, (uint8_t)(node + 1)}};
}

unsigned sources_node_of(const char *name)
{
    unsigned number = 0;
    if (sscanf(name, "10.0.0.%u:", &number) != 1 && sscanf(name, "n%u.sim:", &number) != 1)
        unreachable();
    must(number >= 1 && number <= SIM_NODES_MAX);
    return number - 1;
}

void sources_check_view(struct sources *s, const struct view *v)
{
    bool here[SIM_NODES_MAX] = {false}, leaves[SIM_NODES_MAX] = {false};
    if (!s->discovery)
        return;
    for (uint32_t i = 0; i < v->node_count; i++) {
        unsigned n = sources_node_of(v->nodes[i].name);
        here[n] = s->seen[n] = true;
        leaves[n] = v->nodes[i].state == VIEW_LEAVING;
    }
    for (unsigned n = 0; n < s->options->nodes; n++) {
        if (s->seen[n] && !s->was_removed[n] && (!here[n] || leaves[n]))
            checker_fail(s->checker, "dns: node %u %s, though it was always named", n,
                         here[n] ? "is to leave" : "was let go");
    }
}

bool sources_are_complete(const struct sources *s)
{
    const struct check_view *cv = checker_newest_view(s->checker, s->process);
    if (!cv)
        return false;
    const struct view *v = cv->view;
    unsigned well = 0;
    bool weighs = s->discovery && s->options->sources == SOURCES_SRV;
    for (uint32_t i = 0; i < v->node_count; i++) {
        const struct view_node *n = &v->nodes[i];
        bool told = !weighs || n->weight == s->weights[sources_node_of(n->name)];
        well += told && !n->out && n->slots > 0 && n->state != VIEW_LEAVING;
    }
    return well == s->options->nodes;
}

static void members_changed(void *owner)
{
    struct sources *s = owner;
    uint32_t count;
    const struct member *members = discovery_members(s->discovery, &count);
    int err = control_set_members(s->control, members, count);
    must(err == 0);
}

void sources_dropped(struct sources *s, const char *name)
{
    if (s->discovery)
        (void)discovery_drop(s->discovery, name);
}

static void begin_discovery(struct sources *s)
{
    static const struct discovery_source SOURCES[SOURCES_KINDS][NAMES] = {
        [SOURCES_DNS] = {{DISCOVERY_DNS, "nodes.sim:7000", 0, NULL}},
        [SOURCES_TWO] = {{DISCOVERY_DNS, "nodes.sim:7000", 0, NULL},
                         {DISCOVERY_DNS, "more.sim:7000", 0, NULL}},
        [SOURCES_SRV] = {{DISCOVERY_SRV, SERVICE, 0, NULL}},
    };
    static const struct discovery_events EVENTS = {.changed = members_changed};
    struct discovery_config config = {.sources = SOURCES[s->options->sources],
                                      .source_count = s->options->sources == SOURCES_TWO ? 2 : 1,
                                      .lookup = s->options->lookup};
    s->dns = resolver_sim_new(s->world);
    s->resolver = resolver_sim_resolver_new(s->dns, control_loop(s->control));
    set_targets(s);
    int err = discovery_new(&config, s->resolver, control_loop(s->control), s->log, &EVENTS, s,
                            &s->discovery);
    must(err == 0);
    members_changed(s);
    if (s->options->dns_fail > 0)
        s->next_fault = io_sim_now(s->world); /* it may be dead from the start */
}

void sources_init(struct sources *s, struct io_sim *world, const struct sim_options *options,
                  struct checker *checker, unsigned process, struct control *control,
                  struct log *log)
{
    *s = (struct sources){.world = world,
                          .options = options,
                          .checker = checker,
                          .process = process,
                          .control = control,
                          .log = log,
                          .next_fault = NSEC_NEVER};
    if (control && options->sources != SOURCES_GIVEN)
        begin_discovery(s);
}

void sources_fini(struct sources *s)
{
    s->discovery = discovery_free(s->discovery);
    s->resolver = resolver_sim_resolver_free(s->resolver);
    s->dns = resolver_sim_free(s->dns);
}
