/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/lanes.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/private.h"
#include "proxy/settle.h"
#include "proxy/upload.h"
#include "proxy/worker_internal.h"

enum {
    SHARED_BYTES = 2 * UPSTREAM_READ_BYTES
}; /* of replies on one bulk upstream: see find_for() */

static struct lane *lane_of_part(const struct part *p)
{
    return &p->node->lanes[p->lane];
}

static struct lane *lane_of_upstream(const struct upstream *u)
{
    return &u->node->lanes[u->lane];
}

/* ---- budgets ---- */

bool lanes_has_room(const struct worker *w, uint64_t bytes)
{
    return chunk_pool_bytes(&w->chunks) + w->reserved + bytes <= w->chunks.limit / 2;
}

void lanes_reserve(struct part *p, uint64_t bytes)
{
    p->reserved += bytes;
    p->client->reserved += bytes;
    p->client->worker->reserved += bytes;
}

void lanes_release(struct part *p, uint64_t bytes)
{
    if (bytes > p->reserved)
        bytes = p->reserved;
    p->reserved -= bytes;
    p->client->reserved -= bytes;
    p->client->worker->reserved -= bytes;
}

/* Could the reply be kept if its client does not take it, beside what is streamed to it? */
static bool fits(const struct part *p)
{
    const struct client *c = p->client;
    uint64_t streamed = STREAM_PAUSE + UPSTREAM_READ_BYTES;
    return client_owed(c) + c->reserved + p->guess + streamed <=
               c->worker->settings->client_output_max &&
           lanes_has_room(c->worker, p->guess);
}

/* Would the reply be passed on as it comes? */
static bool goes_out_at_once(const struct part *p)
{
    return request_is_next(p->request) && p->client->conn.out.len <= STREAM_PAUSE;
}

/* ---- where to ---- */

static bool is_free(const struct upstream *u)
{
    return u->state == UPSTREAM_READY && list_empty(&u->sent) && list_empty(&u->waiting) &&
           u->conn.out.len == 0;
}

static struct upstream *find_free(const struct lane *l)
{
    list_for_each (link, &l->bulk) {
        struct upstream *u = list_item(link, struct upstream, pool);
        if (is_free(u))
            return u;
    }
    return NULL;
}

void lanes_set_part_apart(struct part *p)
{
    if (p->apart)
        return;
    p->apart = true;
    p->client->apart++;
}

void lanes_set_apart(struct client *c)
{
    list_for_each (link, &c->parts)
        lanes_set_part_apart(list_item(link, struct part, of_client));
}

void lanes_fail(struct part *p, enum failure f)
{
    struct worker *w = p->client->worker;
    list_remove(&p->queue);
    part_fail(w, p, f);
    part_leave(w, p);
}

static void hold(struct part *p)
{
    if (p->held)
        return;
    metric_add(&p->client->worker->metrics.requests_held, 1);
    lanes_set_part_apart(p);
    p->held = true;
    p->client->held_parts++;
    list_push_tail(&p->node->held, &p->queue);
}

static void release_held(struct part *p)
{
    if (!p->held)
        return;
    p->held = false;
    p->client->held_parts--;
    list_remove(&p->queue);
    if (p->behind_retry) { /* that was not its client's doing */
        p->behind_retry = false;
        part_set_early(p);
        return;
    }
    /* What came before was its client's own: its time begins now. */
    p->deadline = worker_now(p->client->worker) + part_timeout(p);
    outcomes_note_queue(p->client->worker, p);
}

/* A write that could be done before an earlier one of somebody else is not sent: that one was given
 * up, but it may yet be done. True: it is gone. */
bool lanes_fails_unsettled(struct part *p, struct upstream *u)
{
    if (!p->writes || settle_allows(u))
        return false;
    metric_add(&u->worker->metrics.requests_unsettled, 1);
    release_held(p);
    lanes_fail(p, FAILURE_TIMED_OUT);
    return true;
}

void lanes_put_on(struct part *p, struct upstream *u)
{
    release_held(p);
    if (u->bulk || u->private)
        lanes_set_part_apart(p);
    struct buf *to = upstream_target(u, p);
    if (to != &p->bytes)
        buf_move_all(to, &p->bytes);
    upstream_enqueue(u, p);
}

static void put_in_line(struct part *p)
{
    struct worker *w = p->client->worker;
    release_held(p);
    lanes_set_part_apart(p);
    w->next_deadline = nsec_min(w->next_deadline, p->deadline);
    metric_add(&w->metrics.requests_bulk, 1);
    struct lane *l = lane_of_part(p);
    list_push_tail(&l->line, &p->queue);
    lanes_changed(p->node);
    if (!find_free(l) && l->bulk_count >= w->settings->bulk_max)
        metric_add(&w->metrics.bulk_waits, 1);
}

/* Nothing of its client comes before it at this node. */
static void place_freely(struct part *p)
{
    struct upstream *u = upstream_node_shared(p->node, p->lane);
    enum failure f = u ? upstream_admits(u, 0) : FAILURE_MEMORY;
    if (f == FAILURE_NODE_LIMIT) /* it was admitted, and is among those that are counted */
        f = FAILURE_NONE;
    if (f != FAILURE_NONE) {
        release_held(p);
        lanes_fail(p, f);
        return;
    }
    if (p->size == PART_PRIVATE) {
        private_place(p);
        return;
    }
    if (p->size == PART_SMALL) {
        if (!lanes_fails_unsettled(p, u))
            lanes_put_on(p, u);
        return;
    }
    if (p->size == PART_LARGE && p->guess > 0 && !goes_out_at_once(p)) {
        if (!fits(p)) {
            hold(p);
            return;
        }
        if (p->reserved == 0)
            lanes_reserve(p, p->guess);
    }
    put_in_line(p);
}

/* The last part of the same client for the same node before this one. What is left of a tail may be
 * done later as well: it sets no life that a newer write would not have. */
static struct part *before(const struct part *p)
{
    struct list *head = &p->client->parts;
    for (struct list *link = p->of_client.prev; link != head; link = link->prev) {
        struct part *q = list_item(link, struct part, of_client);
        if (q->node == p->node && !q->is_tail && !q->quiet)
            return q;
    }
    return NULL;
}

static bool only_tombstones_before(const struct part *p)
{
    struct list *head = &p->client->parts;
    for (struct list *link = p->of_client.prev; link != head; link = link->prev) {
        const struct part *q = list_item(link, struct part, of_client);
        if (q->node == p->node && q->request)
            return false;
    }
    return true;
}

/* They were answered before their time, by an error, though their replies are still coming (one is
 * longer than may be); and none is a write. So it matters to nobody which is done first. */
static bool may_overtake(const struct part *p)
{
    struct list *head = &p->client->parts;
    uint64_t now = worker_now(p->client->worker);
    for (struct list *link = p->of_client.prev; link != head; link = link->prev) {
        const struct part *q = list_item(link, struct part, of_client);
        if (q->node == p->node && !q->is_tail && !q->quiet && (q->writes || q->deadline <= now))
            return false;
    }
    return true;
}

void lanes_place(struct part *p)
{
    if (p->client->retries > 0 && !p->again) { /* what came before it is to be sent again first */
        p->behind_retry = !p->held || p->behind_retry;
        hold(p);
        return;
    }
    p->behind_retry = p->behind_retry && p->held;
    struct part *q = before(p);
    if (!q) {
        place_freely(p);
        return;
    }
    struct upstream *u = q->upstream;
    /* A private one is soon closed, or free for others. */
    bool private = u && u->private;
    bool may_follow =
        u && !private && u->lane == p->lane && p->size != PART_UPLOAD && p->size != PART_PRIVATE;
    if (may_follow && lanes_fails_unsettled(p, u))
        return;
    if (may_follow && p->size == PART_SMALL) {
        lanes_put_on(p, u);
    } else if (!u || private || !only_tombstones_before(p)) {
        hold(p);
    } else if (may_follow) {
        lanes_put_on(p, u); /* nobody waits for what comes before it there */
    } else if (may_overtake(p)) {
        place_freely(p);
    } else {
        release_held(p);
        lanes_fail(p, FAILURE_TIMED_OUT);
    }
}

/* ---- the pool of a node ---- */

/* Bytes of replies that are on their way on it, as far as they are known; UINT64_MAX: it has
 * something that is not known, or an upload, or its client does not take its reply. */
static uint64_t known_bytes(const struct upstream *u)
{
    uint64_t bytes = 0;
    if (u->state != UPSTREAM_READY || u->paused_for || u->upload)
        return UINT64_MAX;
    list_for_each (link, &u->sent) {
        const struct part *p = list_item(link, struct part, queue);
        if (p->size != PART_LARGE || p->guess == 0)
            return UINT64_MAX;
        bytes += p->guess;
    }
    return bytes;
}

/* A free one; or, for a part whose reply is known and fits one read, one with little on it: so that
 * such requests and replies can still share reads and writes (decision 0006). */
static struct upstream *find_for(const struct part *p)
{
    const struct lane *l = lane_of_part(p);
    struct upstream *best = find_free(l);
    uint64_t least = SHARED_BYTES + 1;
    if (best || p->size != PART_LARGE || p->guess == 0 || p->guess > UPSTREAM_READ_BYTES)
        return best;
    list_for_each (link, &l->bulk) {
        struct upstream *u = list_item(link, struct upstream, pool);
        uint64_t bytes = known_bytes(u);
        if (bytes < least && bytes + p->guess <= SHARED_BYTES) {
            best = u;
            least = bytes;
        }
    }
    return best;
}

static void add_to_pool(struct upstream *u)
{
    struct lane *l = lane_of_upstream(u);
    u->bulk = true;
    list_push_tail(&l->bulk, &u->pool);
    l->bulk_count++;
    metric_add(&u->worker->metrics.upstreams_bulk, 1);
}

static void take_from_pool(struct upstream *u)
{
    struct metrics *m = &u->worker->metrics;
    u->bulk = false;
    list_remove(&u->pool);
    lane_of_upstream(u)->bulk_count--;
    metric_set(&m->upstreams_bulk, metric_get(&m->upstreams_bulk) - 1);
}

void lanes_abandon(struct upstream *u)
{
    must(u->bulk);
    lanes_changed(u->node);
    take_from_pool(u);
    upstream_close(u);
}

/* Connects as many as there are parts in line, as far as the pool may grow. */
static void open_more(struct upstream_node *n, uint8_t lane)
{
    struct worker *w = n->worker;
    struct lane *l = &n->lanes[lane];
    uint32_t wanted = 0;
    list_for_each (link, &l->line)
        if (++wanted == w->settings->bulk_max)
            break;
    list_for_each (link, &l->bulk) {
        struct upstream *u = list_item(link, struct upstream, pool);
        upstream_start(u);
        if (u->state == UPSTREAM_CONNECTING || u->state == UPSTREAM_GREETING)
            wanted -= wanted > 0;
    }
    while (wanted > 0 && l->bulk_count < w->settings->bulk_max) {
        struct upstream *u = upstream_new(w, n, lane);
        if (!u)
            return; /* those in line wait for others, or for their deadline */
        add_to_pool(u);
        upstream_start(u);
        wanted--;
    }
}

void lanes_promote(struct upstream *u)
{
    struct worker *w = u->worker;
    struct lane *l = lane_of_upstream(u);
    must(!u->bulk && l->shared == u);
    struct upstream *instead = find_free(l);
    /* Surprises may double the pool, until they are over. */
    if (!instead && l->bulk_count >= 2 * w->settings->bulk_max)
        return;
    if (instead)
        take_from_pool(instead);
    l->shared = instead;
    add_to_pool(u);
    metric_add(&w->metrics.upstreams_promoted, 1);
    list_for_each (link, &u->sent)
        lanes_set_part_apart(list_item(link, struct part, queue));
    instead = upstream_node_shared(u->node, u->lane);
    if (instead) /* else it is made with the next request */
        upstream_start(instead);
}

bool lanes_is_wanted(const struct upstream *u)
{
    return !u->private && !list_empty(&lane_of_upstream(u)->line);
}

/* ---- acting on what has changed ---- */

void lanes_review(struct client *c)
{
    if (list_empty(&c->review_link) && !c->conn.source.dead)
        list_push_tail(&c->worker->reviewed, &c->review_link);
}

void lanes_changed(struct upstream_node *n)
{
    if (list_empty(&n->changed_link))
        list_push_tail(&n->worker->changed_nodes, &n->changed_link);
}

static void review(struct client *c)
{
    /* Placing one never removes another of the same client, but it may close the client. */
    list_for_each_safe (link, &c->parts) {
        struct part *p = list_item(link, struct part, of_client);
        if (!p->held)
            continue;
        lanes_place(p);
        if (c->conn.source.dead)
            return;
    }
}

static void serve_line(struct upstream_node *n, uint8_t lane)
{
    const struct worker *w = n->worker;
    const struct lane *l = &n->lanes[lane];
    const struct list *line = &l->line;
    while (!list_empty(line)) {
        struct part *p = list_first(line, struct part, queue);
        if (upstream_node_is_down(n)) {
            lanes_fail(p, FAILURE_DOWN);
            continue;
        }
        struct upstream *u = find_for(p);
        if (!u || (!is_free(u) && l->bulk_count < w->settings->bulk_max))
            open_more(n, lane);
        if (!u)
            break;
        if (lanes_fails_unsettled(p, u))
            continue;
        list_remove(&p->queue);
        /* Its client still sends it: no deadline until that is done. */
        if (p->size == PART_UPLOAD && p->request->uploading) {
            p->deadline = NSEC_NEVER;
            u->upload = p;
            metric_add(&n->worker->metrics.requests_streamed, 1);
        }
        lanes_put_on(p, u);
        if (u->upload) {
            upload_start_clock(u);
            client_wake(p->client);
        }
    }
}

/* One that carries nothing, and better one that is not connected. */
static struct upstream *find_spare(const struct lane *l)
{
    list_for_each (link, &l->bulk) {
        struct upstream *u = list_item(link, struct upstream, pool);
        if (u->state == UPSTREAM_IDLE || u->state == UPSTREAM_BACKOFF)
            return u;
    }
    return find_free(l);
}

/* Those that surprises made too many. */
static void shrink(const struct lane *l, uint32_t max)
{
    struct upstream *u;
    while (l->bulk_count > max && (u = find_spare(l)) != NULL) {
        take_from_pool(u);
        upstream_close(u);
    }
}

void lanes_run(struct worker *w)
{
    while (!list_empty(&w->reviewed) || !list_empty(&w->changed_nodes)) {
        while (!list_empty(&w->reviewed)) {
            struct client *c = list_first(&w->reviewed, struct client, review_link);
            list_remove(&c->review_link);
            review(c);
        }
        while (!list_empty(&w->changed_nodes)) {
            struct upstream_node *n =
                list_first(&w->changed_nodes, struct upstream_node, changed_link);
            list_remove(&n->changed_link);
            for (uint32_t i = 0; i < n->lane_count; i++) {
                serve_line(n, (uint8_t)i);
                shrink(&n->lanes[i], w->settings->bulk_max);
            }
            private_run(n);
        }
    }
}

uint64_t lanes_expire(struct upstream_node *n)
{
    uint64_t next = NSEC_NEVER;
    for (uint32_t i = 0; i < n->lane_count; i++) {
        struct part *p;
        while ((p = part_first_timely(&n->lanes[i].line)) != NULL) {
            if (p->deadline > worker_now(n->worker)) {
                next = nsec_min(next, p->deadline);
                break;
            }
            lanes_fail(p, FAILURE_TIMED_OUT);
        }
    }
    return next;
}

static void fail_list(struct list *parts, enum failure f)
{
    while (!list_empty(parts))
        lanes_fail(list_first(parts, struct part, queue), f);
}

void lanes_close(struct upstream_node *n, bool but_streams)
{
    private_close(n);
    for (uint32_t i = 0; i < n->lane_count; i++) {
        list_for_each_safe (link, &n->lanes[i].bulk) {
            struct upstream *u = list_item(link, struct upstream, pool);
            if (but_streams && u->streaming)
                continue;
            take_from_pool(u);
            upstream_close(u);
        }
        fail_list(&n->lanes[i].line, FAILURE_DOWN);
    }
    fail_list(&n->held, FAILURE_DOWN);
    list_remove(&n->changed_link);
}
