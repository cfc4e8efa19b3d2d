/* SPDX-License-Identifier: Apache-2.0 */
#include "ejections.h"

#include "base/nsec.h"
#include "cluster/control_metrics.h"

#include <inttypes.h>

void ejections_init(struct ejections *e, struct checker *checker, unsigned process,
                    struct control *control)
{
    *e = (struct ejections){.checker = checker, .process = process, .control = control};
}

/* Has anything been drawn that may make a node look bad that is well? */
static bool may_be_blamed(const struct checker *k, unsigned node)
{
    return k->options->victims & (1U << node);
}

void ejections_check_view(struct ejections *e, const struct check_view *v)
{
    const struct checker *k = e->checker;
    for (uint32_t i = 0; i < v->view->node_count && e->control; i++) {
        const struct view_node *n = &v->view->nodes[i];
        unsigned node = (unsigned)v->node_of[i];
        if (n->state == VIEW_OUT && !may_be_blamed(k, node))
            checker_fail(e->checker, "ejected: node %u, which is well: %s", node, n->why);
        if (!n->out || n->state == VIEW_LEAVING)
            continue;
        e->count += n->state == VIEW_OUT;
        e->in_time += e->due[node] != 0;
        e->due[node] = 0;
    }
}

static void check_node(struct ejections *e, const struct view_node *n, unsigned node)
{
    const struct sim_options *o = e->checker->options;
    uint64_t now = io_sim_now(e->checker->world), since = 0;
    unsigned missed = n->pulse ? pulse_missed(n->pulse, &since) : 0;
    bool is_in = n->state == VIEW_NEW || n->state == VIEW_UP;
    /* What was missed before it came back is told no more. */
    if (!is_in || missed < e->before[node])
        e->before[node] = missed;
    missed -= e->before[node];
    if (!is_in || missed < o->control.eject_misses) {
        e->due[node] = 0;
        return;
    }
    /* Who is kept by max_ejected is looked at again after as long. */
    uint64_t from = since > e->refused_at ? since : e->refused_at;
    uint64_t at = from + o->control.eject_after;
    /* Who tells the control plane, and the control plane itself, may be paused. */
    uint64_t late = 2 * o->control_pause_max + o->pause_max + NSEC_MS;
    if (e->due[node] < at + late)
        e->due[node] = (at > now ? at : now) + late;
    if (now > e->due[node])
        checker_fail(e->checker,
                     "not ejected: node %u has missed %u deadlines since %.3f ms, and is in the "
                     "ring",
                     node, missed, (double)since / NSEC_MS);
}

void ejections_check(struct ejections *e)
{
    const struct checker *k = e->checker;
    const struct check_view *v = e->control ? checker_newest_view(k, e->process) : NULL;
    if (!v)
        return;
    uint64_t refused = metric_get(&control_metrics(e->control)->node_ejections_refused);
    if (refused != e->refused)
        e->refused_at = io_sim_now(k->world);
    e->refused = refused;
    for (uint32_t i = 0; i < v->view->node_count; i++)
        check_node(e, &v->view->nodes[i], (unsigned)v->node_of[i]);
}
