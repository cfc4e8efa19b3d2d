/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/private.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/session.h"
#include "proxy/settle.h"
#include "proxy/worker_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* What is kept for the next client: enough for some that come and go, no more than a node bears. */
enum { IDLE_MAX = 16 };

static const char UNWATCH[] = "*1\r\n$7\r\nUNWATCH\r\n";

/* ---- the pool of a node ---- */

static void enter(struct upstream *u, enum private_state to)
{
    struct upstream_node *n = u->node;
    n->idle_count -= u->private == PRIVATE_IDLE;
    n->idle_count += to == PRIVATE_IDLE;
    n->private_moves++;
    u->private = (uint8_t)to;
    list_remove(&u->pool);
    list_push_tail(to == PRIVATE_BUSY     ? &n->busy
                   : to == PRIVATE_DOOMED ? &n->doomed
                                          : &n->lanes[u->lane].idle,
                   &u->pool);
}

static void close_one(struct upstream *u)
{
    struct upstream_node *n = u->node;
    struct metrics *m = &u->worker->metrics;
    enter(u, PRIVATE_DOOMED);
    if (u->owner)
        session_upstream_lost(take_ptr(u->owner), u);
    list_remove(&u->pool);
    n->private_count--;
    metric_set(&m->upstreams_private, metric_get(&m->upstreams_private) - 1);
    upstream_close(u);
}

void private_doom(struct upstream *u)
{
    if (u->private == PRIVATE_DOOMED)
        return;
    enter(u, PRIVATE_DOOMED);
    if (u->owner)
        session_upstream_lost(take_ptr(u->owner), u);
    lanes_changed(u->node);
}

void private_run(struct upstream_node *n)
{
    while (!list_empty(&n->doomed))
        close_one(list_first(&n->doomed, struct upstream, pool));
}

void private_answered(struct upstream *u)
{
    if (u->owner || u->private != PRIVATE_BUSY || u->state != UPSTREAM_READY ||
        !list_empty(&u->sent) || !list_empty(&u->waiting))
        return;
    if (u->node->idle_count < IDLE_MAX)
        enter(u, PRIVATE_IDLE);
    else
        private_doom(u);
}

void private_release(struct upstream *u, bool watches)
{
    u->owner = NULL;
    u->watches = u->watches || watches;
    private_answered(u);
}

/* One of any lane, if there is one. */
static void close_idle(struct upstream_node *n)
{
    for (uint32_t i = 0; i < n->lane_count; i++) {
        if (list_empty(&n->lanes[i].idle))
            continue;
        close_one(list_first(&n->lanes[i].idle, struct upstream, pool));
        return;
    }
}

/* One that nobody uses, or a new one. NULL: limits.private, or out of memory. */
static struct upstream *take(struct upstream_node *n, uint8_t lane)
{
    struct worker *w = n->worker;
    if (!list_empty(&n->lanes[lane].idle)) {
        struct upstream *u = list_first(&n->lanes[lane].idle, struct upstream, pool);
        enter(u, PRIVATE_BUSY);
        return u;
    }
    if (n->private_count >= w->private_max)
        close_idle(n);
    if (n->private_count >= w->private_max)
        return NULL;
    struct upstream *u = upstream_new(w, n, lane);
    if (!u)
        return NULL;
    enter(u, PRIVATE_BUSY);
    n->private_count++;
    metric_add(&w->metrics.upstreams_private, 1);
    upstream_start(u);
    return u;
}

/* ---- parts ---- */

/* Of those that block only these store what they take: done late, they could undo what somebody
 * else has written meanwhile. What the others do late is that something is missing. */
static bool stores(const struct command *c)
{
    return c->id == COMMAND_ID_BLMOVE || c->id == COMMAND_ID_BRPOPLPUSH;
}

void private_waits(struct part *p)
{
    struct worker *w = p->client->worker;
    metric_add(&w->metrics.requests_blocking, 1);
    p->deadline = p->block_time == NSEC_NEVER
                      ? NSEC_NEVER
                      : worker_now(w) + p->block_time + w->settings->request_timeout;
    p->writes = p->writes && p->request && stores(p->request->command);
}

/* What the one before may have left watched there is forgotten first. 0 or -ENOMEM. */
static int clean_first(struct upstream *u, struct part *p)
{
    struct buf bytes = {0};
    if (!u->watches)
        return 0;
    int err = buf_append_urgent(&bytes, &u->worker->chunks, UNWATCH, sizeof(UNWATCH) - 1);
    if (err)
        return err;
    buf_move_all(&bytes, &p->bytes);
    buf_move_all(&p->bytes, &bytes);
    p->swallow++;
    u->watches = false;
    return 0;
}

void private_place(struct part *p)
{
    struct client *c = p->client;
    struct upstream *u = session_upstream(c, p);
    bool is_exec = !p->blocks && p->request->command->id == COMMAND_ID_EXEC;
    if (is_exec && (!u || c->session->unwatched)) {
        lanes_fail(p, FAILURE_UNWATCHED);
        return;
    }
    must(!u || u->node == p->node);
    if (!u) {
        u = take(p->node, p->lane);
        if (!u) {
            lanes_fail(p, p->node->private_count >= c->worker->private_max ? FAILURE_PRIVATE
                                                                           : FAILURE_MEMORY);
            return;
        }
        u->owner = c;
        session_take_upstream(c, p, u);
    }
    if (lanes_fails_unsettled(p, u))
        return;
    if (clean_first(u, p) != 0) {
        lanes_fail(p, FAILURE_MEMORY);
        return;
    }
    if (p->blocks && u->state == UPSTREAM_READY)
        private_waits(p);
    lanes_put_on(p, u);
}

/* ---- ending what blocks ---- */

/* On the shared upstream, for nothing is read from one on which a client is blocked. */
static bool ask_to_end(struct part *p, bool kick)
{
    struct upstream *u = p->upstream;
    struct worker *w = u->worker;
    struct upstream *shared = u->client_id ? upstream_node_shared(u->node, u->lane) : NULL;
    char text[128], id[24];
    int id_len = snprintf(id, sizeof(id), "%" PRIu64, u->client_id);
    int len = snprintf(text, sizeof(text),
                       "*4\r\n$6\r\nCLIENT\r\n$7\r\nUNBLOCK\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", id_len,
                       id, kick ? 5 : 7, kick ? "ERROR" : "TIMEOUT");
    if (!shared || shared->state != UPSTREAM_READY ||
        upstream_admits(shared, (size_t)len) != FAILURE_NONE)
        return false;
    struct part *asks = part_new_quiet(p->client, u->node, shared->lane);
    if (!asks)
        return false;
    if (buf_append_urgent(&shared->conn.out, &w->chunks, text, (size_t)len) != 0) {
        part_free(w, asks);
        return false;
    }
    part_enter(asks, (size_t)len);
    upstream_enqueue(shared, asks);
    return true;
}

void private_unblock(struct part *p, bool kick)
{
    struct worker *w = p->client->worker;
    struct upstream *u = p->upstream;
    enum failure f = kick ? FAILURE_KICKED : FAILURE_UNBLOCKED;
    if (p->unblocked)
        return;
    metric_add(&w->metrics.requests_unblocked, 1);
    if (!u || u->state != UPSTREAM_READY) { /* not sent yet */
        lanes_fail(p, f);
        return;
    }
    p->unblocked = true;
    if (ask_to_end(p, kick)) {
        p->deadline = worker_now(w) + w->settings->request_timeout;
        w->next_deadline = nsec_min(w->next_deadline, p->deadline);
        return;
    }
    private_doom(u);
    part_fail(w, p, f);
}

/* ---- deadlines, and the end ---- */

uint64_t private_expire(struct upstream_node *n)
{
    uint64_t next = NSEC_NEVER, moves;
    /* What fails may take others out of the list: then it is walked anew. Those that have expired
     * are not in it any more, so this ends. */
    do {
        moves = n->private_moves;
        next = NSEC_NEVER;
        list_for_each (link, &n->busy) {
            next = nsec_min(next, upstream_expire(list_item(link, struct upstream, pool)));
            if (n->private_moves != moves)
                break;
        }
    } while (n->private_moves != moves);
    return next;
}

static void close_all(struct list *l)
{
    while (!list_empty(l)) {
        struct upstream *u = list_first(l, struct upstream, pool);
        if (!list_empty(&u->sent)) {
            struct part *p = list_first(&u->sent, struct part, queue);
            if (p->blocks)
                part_fail(u->worker, p, FAILURE_UNBLOCKED);
        }
        if (l->next == &u->pool) /* what has failed took nothing out of the list */
            close_one(u);
    }
}

void private_close(struct upstream_node *n)
{
    close_all(&n->busy);
    for (uint32_t i = 0; i < n->lane_count; i++)
        close_all(&n->lanes[i].idle);
    private_run(n);
}
