/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/node_sums.h"

#include "proxy/info.h"
#include "proxy/worker_internal.h"

#include <string.h>

/* As far as the databases go that there are. */
static void add_one(struct node_sums *s, const struct figures *f, unsigned count)
{
    bool first = s->nodes == 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = metric_get(&f->of[i]), *sum = &s->of[i];
        switch ((enum figure)i) {
        case FIGURE_VERSION:
            if (value > 0 && (*sum == 0 || value < *sum))
                *sum = value;
            break;
        case FIGURE_MAXMEMORY:
            *sum = value == 0 || (!first && *sum == 0) ? 0 : *sum + value;
            break;
        case FIGURE_POLICY:
            *sum = first || *sum == value ? value : 0;
            break;
        default:
            *sum += value;
        }
    }
    s->nodes++;
}

struct node_sums node_sums_of(const struct worker *w)
{
    struct node_sums s = {0};
    unsigned count = figure_keys(w->settings->databases);
    for (uint32_t i = 0; w->view && i < w->view->node_count; i++) {
        const struct view_node *n = &w->view->nodes[i];
        uint64_t at = n->pulse ? metric_get(&n->pulse->figures.taken_at) : 0;
        if (n->out || at == 0)
            continue;
        add_one(&s, &n->pulse->figures, count);
        uint64_t age = worker_now(w) > at ? worker_now(w) - at : 0;
        if (age > s.age)
            s.age = age;
    }
    return s;
}

char *node_sums_version(const struct worker *w, char to[FIGURES_VERSION_MAX])
{
    struct node_sums s = node_sums_of(w);
    if (s.of[FIGURE_VERSION] > 0)
        return figures_print_version(s.of[FIGURE_VERSION], to);
    return str_fill(to, FIGURES_VERSION_MAX, STR(INFO_REDIS_VERSION));
}
