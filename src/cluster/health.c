/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is well. Two sources: checks (probe.h) in their intervals, and what workers meet with
 * (control_tell_trouble, pulse.h), which is quicker: a node that refuses is ejected at once, one
 * that is silent while requests wait after eject_after.
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    DOUBLINGS_MAX = 16,
    CALM_HOLDS = 4, /* a node that was well for so many times its last hold begins anew */
};

const char *node_state_name(enum node_state s)
{
    static const char *const NAMES[] = {
        [NODE_NEW] = "new", [NODE_UP] = "up", [NODE_OUT] = "out", [NODE_JOINING] = "joining"};
    return NAMES[s];
}

static void enter(struct control_node *n, enum node_state to, const char *why)
{
    static const uint8_t FROM[] = {
        [NODE_NEW] = 0,
        [NODE_UP] = 1 << NODE_NEW | 1 << NODE_JOINING,
        [NODE_OUT] = 1 << NODE_NEW | 1 << NODE_UP | 1 << NODE_JOINING,
        [NODE_JOINING] = 1 << NODE_OUT,
    };
    must(FROM[to] & (1 << n->state));
    n->state = (uint8_t)to;
    n->since = control_now(n->control);
    if (why)
        str_fill(n->why, sizeof(n->why), str_of(why));
}

/* Three quarters to five quarters, so that nodes are not all asked at once. */
static uint64_t jittered(struct control *c, uint64_t interval)
{
    return interval - interval / 4 + rng_below(&c->rng, interval / 2 + 1);
}

static void check_again(struct control_node *n)
{
    const struct control_settings *s = n->control->settings;
    bool calm = n->state == NODE_UP && n->failures == 0;
    timer_set(&n->check,
              control_now(n->control) + jittered(n->control, calm ? s->interval : s->interval_out));
}

void health_interval_changed(struct control_node *n)
{
    const struct control_settings *s = n->control->settings;
    uint64_t longest = s->interval > s->interval_out ? s->interval : s->interval_out;
    if (timer_is_set(&n->check) && n->check.at > control_now(n->control) + longest)
        check_again(n);
}

void health_start(struct control_node *n)
{
    n->since = control_now(n->control);
    timer_set(&n->check, control_now(n->control));
}

void health_on_check_time(struct timer *t)
{
    struct control_node *n = container_of(t, struct control_node, check);
    metric_add(&n->control->metrics.checks, 1);
    n->probe.addr = n->member.addr;
    probe_check(&n->probe);
}

/* ---- out ---- */

static bool may_go_for_silence(const struct control *c)
{
    uint32_t members = 0, out = 0;
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (!n || n->leaving)
            continue;
        members++;
        out += n->state >= NODE_OUT && n->soft;
    }
    uint64_t most = (uint64_t)members * c->settings->max_ejected / 100;
    return out < (most > 0 ? most : 1);
}

static uint64_t hold(struct control_node *n)
{
    const struct control_settings *s = n->control->settings;
    uint32_t doublings = n->ejections < DOUBLINGS_MAX ? n->ejections : DOUBLINGS_MAX;
    return nsec_min(s->hold_min << doublings, s->hold_max);
}

void health_eject(struct control_node *n, bool soft, const char *why)
{
    struct control *c = n->control;
    uint64_t now = control_now(c);
    if (n->state == NODE_OUT)
        return;
    if (n->state == NODE_JOINING) {
        enter(n, NODE_OUT, why);
        log_event(c->log, LOG_WARN, "node-join-failed", "node=%s reason=\"%s\"", n->member.name,
                  n->why);
        cleaner_unjoin(n);
        jobs_node_stops(n);
        n->successes = 0;
        n->hold_until = now + hold(n);
        n->ejections += n->ejections < UINT32_MAX;
        check_again(n);
        mover_publish_soon(c);
        return;
    }
    if (soft && !may_go_for_silence(c)) {
        if (n->kept_at == 0 || now - n->kept_at > NSEC_S) /* not a line for each look */
            log_event(c->log, LOG_WARN, "node-kept", "node=%s reason=\"%s\" limit=max_ejected",
                      n->member.name, why);
        n->kept_at = now;
        metric_add(&c->metrics.node_ejections_refused, 1);
        return;
    }
    if (n->state == NODE_UP && now - n->since > CALM_HOLDS * hold(n))
        n->ejections = 0;
    uint64_t held = hold(n);
    n->ejections += n->ejections < UINT32_MAX;
    n->hold_until = now + held;
    n->out_since = now;
    n->out_version = c->version + 1;
    n->soft = soft;
    n->successes = 0;
    enter(n, NODE_OUT, why);
    jobs_node_stops(n);
    sweeper_stop(n);
    metric_add(&c->metrics.node_ejections, 1);
    log_event(c->log, LOG_WARN, "node-ejected", "node=%s reason=\"%s\" hold_ms=%" PRIu64,
              n->member.name, n->why, held / NSEC_MS);
    timer_clear(&n->look);
    timer_set(&n->check, now + jittered(c, c->settings->interval_out));
    mover_retarget_soon(c);
    if (n->member.gone_since != 0) /* only a node that is well is kept without a source */
        timer_set(&c->members_timer, now);
}

/* ---- in ---- */

/* Flapping is damped as long as those that do not are enough: where more than max_ejected would be
 * out for it, or all are, it is their common road that flaps, and who is well again is needed. */
static bool are_too_few(const struct control *c)
{
    uint32_t members = 0, in_ring = 0;
    for (uint32_t i = 0; i < c->node_room; i++) {
        const struct control_node *n = c->nodes[i];
        if (!n || n->leaving || n->twin)
            continue;
        members++;
        in_ring += node_is_in_ring(n);
    }
    uint64_t least = (uint64_t)members * (100 - c->settings->max_ejected);
    return in_ring == 0 || (uint64_t)in_ring * 100 < least;
}

/* The process that answers serves; it was alive at `at`. */
static void note_process(struct control_node *n, uint64_t at)
{
    memcpy(n->run_id, n->probe.run_id, sizeof(n->run_id));
    n->run_at = at;
}

void health_admit(struct control_node *n)
{
    struct control *c = n->control;
    enter(n, NODE_UP, "well");
    note_process(n, control_now(c)); /* it has just answered, and no worker is connected */
    metric_add(&c->metrics.node_admissions, 1);
    log_event(c->log, LOG_INFO, "node-admitted", "node=%s out_ms=%" PRIu64, n->member.name,
              (control_now(c) - n->out_since) / NSEC_MS);
    mover_retarget_soon(c);
}

/* What keeps old values away needs rights at the node; without them it is used all the same. */
static void tell_rights(struct control_node *n)
{
    const struct probe *p = &n->probe;
    bool lacks = !p->may_unlink || !p->may_kill || !p->may_flush;
    const char *effect = !p->may_kill     ? "old values may come back"
                         : !p->may_unlink ? "once out, it may have to stay out"
                                          : "if it has to be flushed, it stays out";
    if (lacks && !n->lacks_rights)
        log_event(n->control->log, LOG_ERROR, "node-forbids",
                  "node=%s unlink=%s client_kill=%s flushall=%s effect=\"%s\"", n->member.name,
                  p->may_unlink ? "yes" : "no", p->may_kill ? "yes" : "no",
                  p->may_flush ? "yes" : "no", effect);
    n->lacks_rights = lacks;
}

/* Another name of the same server, of those in the ring (two addresses of one pod, say). The
 * smaller name is the one that counts, for all proxies. */
static struct control_node *find_twin(const struct control_node *n)
{
    const struct control *c = n->control;
    for (uint32_t i = 0; i < c->node_room && n->probe.run_id[0]; i++) {
        struct control_node *o = c->nodes[i];
        if (o && o != n && o->state == NODE_UP && !o->leaving &&
            strcmp(o->run_id, n->probe.run_id) == 0)
            return o;
    }
    return NULL;
}

static void set_twin(struct control_node *n, const struct control_node *of)
{
    char why[CONTROL_WHY_MAX];
    snprintf(why, sizeof(why), "the same server as %.80s", of->member.name);
    if (n->twin)
        return;
    n->twin = true;
    log_event(n->control->log, LOG_WARN, "node-twin", "node=%s of=%s run_id=%s", n->member.name,
              of->member.name, of->run_id);
    health_eject(n, false, why);
    mover_members_changed(n->control);
}

/* Is it to be left alone, for it is another's second name? */
static bool is_twin(struct control_node *n)
{
    struct control_node *other = find_twin(n);
    if (!other) {
        if (n->twin) {
            n->twin = false;
            mover_members_changed(n->control);
        }
        return false;
    }
    if (n->state != NODE_OUT && strcmp(n->member.name, other->member.name) < 0) {
        set_twin(other, n);
        return false;
    }
    set_twin(n, other);
    return true;
}

/* ---- what it says of itself ---- */

static void take_figures(struct probe_call *call, const struct probe_reply *r)
{
    struct control_node *n = container_of(call, struct control_node, figures_call);
    uint64_t values[FIGURE_COUNT];
    if (!r || r->is_null || (r->type != '$' && r->type != '+'))
        return; /* it may not, or the probe was lost: those from before get older */
    figures_parse(r->text, values);
    figures_store(&n->pulse->figures, values, control_now(n->control));
}

/* Right behind a good check, so that a node is not woken twice. */
static void ask_figures(struct control_node *n)
{
    static const struct str INFO[] = {{"INFO", 4}};
    n->figures_call.done = take_figures;
    if (probe_is_ready(&n->probe) && list_empty(&n->figures_call.link))
        (void)!probe_send_words(&n->probe, &n->figures_call, INFO,
                                1); /* without memory: next time */
}

static void on_well(struct probe *p, uint64_t took_ns)
{
    struct control_node *n = container_of(p, struct control_node, probe);
    struct control *c = n->control;
    tell_rights(n);
    n->failures = 0;
    n->successes += n->successes < UINT32_MAX;
    n->latency = took_ns;
    atomic_store_explicit(&n->pulse->check_ns, took_ns, memory_order_relaxed);
    ask_figures(n);
    if (n->state != NODE_OUT) /* it gets them when it joins */
        loader_go_on(n);
    cleaner_settle(n);
    if (is_twin(n)) {
        check_again(n);
        return;
    }
    switch ((enum node_state)n->state) {
    case NODE_NEW:
        enter(n, NODE_UP, "well");
        note_process(n, control_now(c) - took_ns);
        log_event(c->log, LOG_INFO, "node-well", "node=%s took_us=%" PRIu64, n->member.name,
                  took_ns / NSEC_US);
        mover_publish_soon(c);
        break;
    case NODE_UP:
        /* Restarted faster than anybody noticed: it is empty, and what was to be killed is gone. */
        note_process(n, control_now(c) - took_ns);
        break;
    case NODE_OUT:
        if (n->successes >= c->settings->healthy && !n->leaving &&
            (control_now(c) >= n->hold_until || are_too_few(c))) {
            enter(n, NODE_JOINING, NULL);
            mover_publish_soon(c);
            cleaner_join(n);
        }
        break;
    case NODE_JOINING:
        break;
    }
    check_again(n);
    mover_step(c); /* it may have waited for this node */
}

static void on_failed(struct probe *p, enum probe_fault fault, const char *why)
{
    struct control_node *n = container_of(p, struct control_node, probe);
    struct control *c = n->control;
    const struct control_settings *s = c->settings;
    metric_add(&c->metrics.checks_failed, 1);
    n->successes = 0;
    n->failures += n->failures < UINT32_MAX;
    if (fault == PROBE_LOST && n->failures == 1 && n->state != NODE_JOINING) {
        timer_set(&n->check, control_now(c)); /* is somebody there? */
        return;
    }
    bool hard = fault == PROBE_GONE || fault == PROBE_UNREADY;
    if (n->state == NODE_JOINING || (hard && n->state != NODE_OUT) || n->failures >= s->unhealthy)
        health_eject(n, fault == PROBE_SILENT || fault == PROBE_LOST, why);
    if (n->state == NODE_OUT && strcmp(n->why, why) != 0) { /* what keeps it out now */
        str_fill(n->why, sizeof(n->why), str_of(why));
        mover_publish_soon(c);
    }
    check_again(n);
}

const struct probe_events HEALTH_PROBE_EVENTS = {.well = on_well, .failed = on_failed};

/* ---- what workers meet with ---- */

static void look(struct control_node *n)
{
    struct control *c = n->control;
    const struct control_settings *s = c->settings;
    uint64_t since = 0;
    if (!node_is_in_ring(n))
        return;
    unsigned missed = pulse_missed(n->pulse, &since);
    if (missed < s->eject_misses)
        return; /* the next miss is told too */
    uint64_t at = since + s->eject_after;
    if (control_now(c) < at) {
        timer_set(&n->look, at);
        return;
    }
    char why[CONTROL_WHY_MAX];
    snprintf(why, sizeof(why), "silent for %" PRIu64 " ms, %u deadlines missed",
             (control_now(c) - since) / NSEC_MS, missed);
    health_eject(n, true, why);
    if (n->state == NODE_UP || n->state == NODE_NEW) /* it may not go: look again later */
        timer_set(&n->look, control_now(c) + s->eject_after);
}

void health_on_look_time(struct timer *t)
{
    look(container_of(t, struct control_node, look));
}

void health_trouble(struct control_node *n, enum trouble what, const char *why)
{
    if (!node_is_in_ring(n))
        return;
    switch (what) {
    case TROUBLE_MISSED:
        look(n);
        return;
    case TROUBLE_UNREADY: /* many tell this; once is enough */
        if (!n->probe.asking)
            timer_set(&n->check, control_now(n->control));
        return;
    case TROUBLE_REFUSED:
        health_eject(n, false, why);
        return;
    }
    unreachable();
}
