/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a proxy's model that knows what its workers may hold, how often they may knock, and
 * what they may tell. */
#include "base/nsec.h"
#include "proxy.h"

#include <inttypes.h>

enum {
    /* What workers may hold above memory_max, for what must get through; and a chunk, since that is
     * how memory is counted. */
    CHUNK_RESERVE = 1024 * 1024 + 16 * 1024,
    PRIVATE_IDLE_MAX = 16, /* that a worker keeps at one node: private.c */
};

/* Per RESP version and database a shared upstream, the bulk ones, and as many again that were
 * shared ones; private ones, of which few are kept that no client has; and a feed. */
static void check_upstreams(struct sim_proxy *p, unsigned index)
{
    uint64_t connects = io_sim_connects(p->world);
    if (connects == p->connects_checked[index])
        return;
    p->connects_checked[index] = connects;
    unsigned host = io_sim_host_number(p->worker_ios[index]);
    const struct proxy_settings *o = &p->options->proxy;
    unsigned share = (o->private_max + p->options->workers - 1) / p->options->workers;
    unsigned needed = 2 * (SIM_CLIENTS_MAX + 1) + PRIVATE_IDLE_MAX;
    unsigned most =
        2 * o->databases * (1 + 2 * o->bulk_max) + (share < needed ? share : needed) + 1;
    for (unsigned n = 0; n < p->options->nodes; n++) {
        struct addr addr = sources_node_addr(n);
        unsigned count = io_sim_connections_to(p->world, host, &addr);
        if (count > most)
            checker_fail(p->checker, "upstreams: worker %u has %u to node %u, not %u", index, count,
                         n, most);
    }
}

/* The keys of slow requests are keys that clients send, and nothing else. */
static void check_slow(struct sim_proxy *p, unsigned index)
{
    struct slow_request slow;
    while (samples_take_slow(worker_samples(p->workers[index]), &slow)) {
        struct str key = slow_key_text(&slow.key);
        struct check_key parsed;
        if (slow.key.count > 0 && !check_key_parse(key.p, key.len, &parsed))
            checker_fail(p->checker, "slow: worker %u tells of a key nobody sent: %.*s", index,
                         (int)key.len, key.p);
    }
}

void proxy_check_worker(struct sim_proxy *p, unsigned index)
{
    const struct proxy_settings *o = &p->options->proxy;
    struct worker_debt debt = worker_debt(p->workers[index]);
    uint64_t most = o->memory_max / p->options->workers + CHUNK_RESERVE;
    if (debt.chunk_bytes > most)
        checker_fail(p->checker, "memory: worker %u holds %zu bytes in buffers", index,
                     debt.chunk_bytes);
    if (debt.reserved > o->memory_max / p->options->workers / 2)
        checker_fail(p->checker, "memory: worker %u has reserved %" PRIu64 " bytes", index,
                     debt.reserved);
    check_upstreams(p, index);
    check_slow(p, index);
}

static void check_debt(struct sim_proxy *p, unsigned index)
{
    struct worker_debt d = worker_debt(p->workers[index]);
    if (d.clients || d.requests || d.parts || d.chunk_bytes || d.upstream_queue || d.reserved ||
        d.sessions || d.owned_upstreams || d.topics)
        checker_fail(p->checker,
                     "debt: worker %u still has %zu clients, %zu requests, %zu parts, %zu bytes "
                     "in buffers, %zu in upstream queues, %" PRIu64
                     " bytes reserved, %zu sessions, %zu upstreams of clients, %zu topics",
                     index, d.clients, d.requests, d.parts, d.chunk_bytes, d.upstream_queue,
                     d.reserved, d.sessions, d.owned_upstreams, d.topics);
}

/*
 * Nodes that are down are not knocked at too often. A lane may begin at once after a connection
 * that lived for backoff_min; else it waits for half of that at least. Each worker has two shared
 * lanes per node and database, and the bulk ones, and new ones whenever a node comes back into the
 * view. A bulk one may also end because of a client, and be needed again.
 */
static void check_pace(struct sim_proxy *p, unsigned index)
{
    uint64_t elapsed = io_sim_now(p->world) - p->started_at;
    uint64_t per_lane = 2 + 2 * elapsed / (p->options->proxy.backoff_min / 2);
    const struct metrics *m = worker_metrics(p->workers[index]);
    uint64_t for_bulk = metric_get(&m->requests_bulk) + metric_get(&m->upstreams_promoted);
    uint64_t lanes = 2 * (uint64_t)p->options->nodes * p->options->proxy.databases;
    uint64_t rested = metric_get(&m->upstreams_idle_closed);
    uint64_t most = lanes * (per_lane + p->view_version) + for_bulk + rested;
    uint64_t opened = metric_get(&m->upstreams_opened);
    if (opened > most)
        checker_fail(p->checker, "pace: worker %u began %" PRIu64 " connects in %" PRIu64 " ms",
                     index, opened, elapsed / NSEC_MS);
}

/* What is still open is what pools may keep. */
static void check_pools(struct sim_proxy *p, unsigned index)
{
    const struct proxy_settings *s = &p->options->proxy;
    uint64_t most = 2 * (uint64_t)s->bulk_max * s->databases * p->options->nodes;
    uint64_t open = metric_get(&worker_metrics(p->workers[index])->upstreams_bulk);
    if (open > most)
        checker_fail(p->checker, "pools: worker %u has %" PRIu64 " bulk upstreams", index, open);
}

void proxy_check_debts(struct sim_proxy *p)
{
    for (unsigned i = 0; i < p->options->workers; i++) {
        check_debt(p, i);
        check_pace(p, i);
        check_pools(p, i);
    }
}
