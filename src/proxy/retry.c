/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/retry.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/gather.h"
#include "proxy/lanes.h"
#include "proxy/worker_internal.h"

#include <string.h>

void retry_keep(struct worker *w, struct part *p, uint64_t key_hash)
{
    const struct args *a = &w->args;
    if (a->frame_len > PART_COPY_MAX || !w->control) {
        slow_key_note(w, p, (size_t)p->request->command->first);
        return;
    }
    size_t len = 0;
    for (size_t i = 0; i < a->iov_count; i++) {
        memcpy(p->copy + len, a->iov[i].iov_base, a->iov[i].iov_len);
        len += a->iov[i].iov_len;
    }
    p->copy_len = (uint8_t)len;
    p->hash = key_hash;
}

/* Has something that its client sent later been done already, or may it be? Then it comes too late,
 * for it might see what that did. What is on the same upstream fails with it. */
static bool is_overtaken(const struct part *p)
{
    const struct client *c = p->client;
    for (struct list *link = p->of_client.next; link != &c->parts; link = link->next) {
        const struct part *q = list_item(link, struct part, of_client);
        if (q->upstream && q->upstream != p->upstream)
            return true;
    }
    for (struct list *link = p->request->link.next; link != &c->requests; link = link->next) {
        const struct request *r = list_item(link, struct request, link);
        if (r->done || (r->gather && r->gather->answered))
            return true;
    }
    return false;
}

/* Before those of its client's that are to come after it, whichever broke first. */
static void wait_in_order(struct worker *w, struct part *p)
{
    struct list *at = &w->retries;
    const struct list *end = &p->client->parts;
    for (struct list *link = p->of_client.next; link != end && at == &w->retries;
         link = link->next) {
        struct part *q = list_item(link, struct part, of_client);
        if (q->again && !q->node) /* it waits here, too */
            at = &q->queue;
    }
    p->client->retries++;
    list_insert_before(at, &p->queue);
}

bool retry_take(struct worker *w, struct part *p, enum failure f)
{
    struct request *r = p->request;
    bool broke = p->upstream && (f == FAILURE_CLOSED || f == FAILURE_DOWN);
    if (p->copy_len == 0 || p->begun || p->again || !broke || r->given > 0 || r->reply.len > 0 ||
        p->deadline <= worker_now(w) || w->draining || is_overtaken(p))
        return false;
    struct part *again = part_new(r, NULL, 0);
    if (!again)
        return false;
    again->again = true;
    again->deadline = p->deadline;
    again->hash = p->hash;
    again->size_id = p->size_id;
    again->copy_len = p->copy_len;
    memcpy(again->copy, p->copy, p->copy_len);
    p->request = NULL;
    r->part = again;
    /* In its old place, so that its client's parts stay in the order of requests. */
    list_remove(&again->of_client);
    list_insert_before(p->of_client.next, &again->of_client);
    lanes_set_part_apart(again);
    wait_in_order(w, again);
    w->next_deadline = nsec_min(w->next_deadline, again->deadline);
    metric_add(&w->metrics.requests_retried, 1);
    return true;
}

/* It does not wait here any more. */
static void take_out(struct part *p)
{
    list_remove(&p->queue);
    must(p->client->retries > 0);
    if (--p->client->retries == 0)
        lanes_review(p->client);
}

static void give_up(struct worker *w, struct part *p, enum failure f, const char *node_name)
{
    struct request *r = p->request;
    take_out(p);
    list_remove(&p->of_client); /* whoever ends with its request does not find it any more */
    p->request = NULL;
    if (r)
        request_fail(r, f, node_name);
    part_free(w, p);
}

void retry_abandon(struct part *p)
{
    give_up(p->client->worker, p, FAILURE_NONE, NULL);
}

static void send_again(struct worker *w, struct part *p, struct upstream_node *n)
{
    struct upstream *u = upstream_node_shared(n, p->lane);
    enum failure f = u ? upstream_admits(u, p->copy_len) : FAILURE_MEMORY;
    if (f == FAILURE_NONE && buf_append(&p->bytes, &w->chunks, p->copy, p->copy_len) != 0)
        f = FAILURE_MEMORY;
    if (f != FAILURE_NONE) {
        give_up(w, p, f, n->name);
        return;
    }
    take_out(p);
    p->node = n;
    p->guess = p->size_id ? size_table_find(&w->sizes, p->size_id) : 0;
    p->size = p->guess > 0 ? PART_LARGE : PART_SMALL;
    part_enter(p, p->copy_len);
    part_set_early(p);
    lanes_place(p);
}

/* Is it being connected to? Or is it about to be ejected, so that another will have the key? */
static bool is_coming(const struct worker *w, const struct upstream_node *n, uint8_t lane)
{
    const struct upstream *u = n->lanes[lane].shared;
    if (n->out || !u || u->state == UPSTREAM_READY || u->state == UPSTREAM_IDLE)
        return false;
    return u->failures == 0 || (n->refused && w->upstreams.count > 1);
}

void retry_run(struct worker *w)
{
    w->retry_due = false;
    w->retry_round++;
    list_for_each_safe (link, &w->retries) {
        struct part *p = list_item(link, struct part, queue);
        if (!p->request) {
            give_up(w, p, FAILURE_NONE, NULL);
            continue;
        }
        if (!w->view || !w->view->ring) {
            give_up(w, p, FAILURE_ALL_OUT, NULL);
            continue;
        }
        struct upstream_node *n = w->upstreams.nodes[maglev_lookup(w->view->ring, p->hash)];
        bool moves = view_flags(w->view, p->hash) & (VIEW_PARTING | VIEW_FENCED);
        bool behind = p->client->retry_round == w->retry_round; /* another that still waits */
        if (moves || behind || is_coming(w, n, p->lane))
            p->client->retry_round = w->retry_round;
        else
            send_again(w, p, n);
    }
}

/* The first byte of its reply has come. */
static bool is_answered(const struct part *p)
{
    const struct upstream *u = p->upstream;
    return u && u->state == UPSTREAM_READY && u->sent.next == &p->queue && u->frame.len > 0;
}

/* An upstream's queue is in the order of deadlines, but for these: they are looked at one by one.
 */
static uint64_t expire_early(struct worker *w)
{
    uint64_t next = NSEC_NEVER;
    struct list kept;
    list_init(&kept);
    /* One after the other from the front: what fails may take others with it, which leave the
     * lists, and may bring new ones. */
    while (!list_empty(&w->early)) {
        struct part *p = list_first(&w->early, struct part, early_link);
        list_remove(&p->early_link);
        if (!p->request || is_answered(p))
            continue;
        if (p->deadline > worker_now(w)) {
            list_push_tail(&kept, &p->early_link);
            next = nsec_min(next, p->deadline);
        } else if (p->upstream) { /* its place there is kept for the late reply */
            if (p->late)
                upstream_missed(p->upstream, p);
            upstream_give_up(p);
            part_fail(w, p, FAILURE_TIMED_OUT);
        } else {
            list_remove(&p->queue);
            part_fail(w, p, FAILURE_TIMED_OUT);
            part_leave(w, p);
        }
    }
    list_append_all(&w->early, &kept);
    return next;
}

uint64_t retry_expire(struct worker *w)
{
    uint64_t next = expire_early(w);
    list_for_each_safe (link, &w->retries) {
        struct part *p = list_item(link, struct part, queue);
        if (p->deadline > worker_now(w))
            next = nsec_min(next, p->deadline);
        else
            give_up(w, p, FAILURE_MOVING, NULL);
    }
    return next;
}

void retry_drop(struct worker *w)
{
    list_for_each_safe (link, &w->retries)
        give_up(w, list_item(link, struct part, queue), FAILURE_NO_NODE, NULL);
}
