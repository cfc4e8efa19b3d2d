/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/upload.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/lanes.h"
#include "proxy/worker_internal.h"

static void fail(struct part *p, enum failure f)
{
    struct worker *w = p->client->worker;
    struct upstream *u = p->upstream;
    part_fail(w, p, f);
    if (u) {
        lanes_abandon(u); /* and with it the part: half a request was sent */
        return;
    }
    list_remove(&p->queue);
    part_leave(w, p);
}

void upload_take(struct client *c, const uint8_t *bytes, size_t len)
{
    struct part *p = request_part(c->upload);
    if (!p)
        return; /* it has failed: the rest is dropped */
    int err = p->upstream ? upstream_send_more(p->upstream, bytes, len)
                          : buf_append(&p->bytes, &c->worker->chunks, bytes, len);
    if (err)
        fail(p, FAILURE_MEMORY);
}

void upload_end(struct client *c)
{
    struct request *r = take_ptr(c->upload);
    struct part *p = request_part(r);
    if (p && p->upstream) {
        if (p->behind_bytes)
            upstream_send_behind(p->upstream, p->behind_bytes);
        upstream_upload_ends(p->upstream);
    }
    request_uploaded(r);
}

void upload_abort(struct client *c)
{
    struct request *r = take_ptr(c->upload);
    struct part *p = request_part(r);
    request_free(r);
    if (!p)
        return;
    if (p->upstream)
        lanes_abandon(p->upstream);
    else
        part_leave(c->worker, p);
}

static bool has_moved(const struct part *p, uint32_t node)
{
    const struct view *v = p->client->worker->view;
    return p->size == PART_UPLOAD && p->request && p->request->uploading &&
           (!v->ring || maglev_lookup(v->ring, p->hash) != node);
}

static void fail_moved(struct list *waiting, uint32_t node)
{
    list_for_each_safe (link, waiting) {
        struct part *p = list_item(link, struct part, queue);
        if (has_moved(p, node))
            fail(p, FAILURE_MOVING);
    }
}

void upload_view_changed(struct worker *w)
{
    for (uint32_t i = 0; i < w->upstreams.count; i++) {
        struct upstream_node *n = w->upstreams.nodes[i];
        fail_moved(&n->held, i);
        for (uint32_t k = 0; k < n->lane_count; k++) {
            fail_moved(&n->lanes[k].line, i);
            list_for_each_safe (link, &n->lanes[k].bulk) {
                struct upstream *u = list_item(link, struct upstream, pool);
                if (u->upload && has_moved(u->upload, i))
                    fail(u->upload, FAILURE_MOVING);
            }
        }
    }
}

bool upload_is_blocked(const struct client *c)
{
    const struct part *p = request_part(c->upload);
    return p && (!p->upstream || p->upstream->conn.out.len > STREAM_PAUSE);
}

static void look_again(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    timer_set(&u->timer, nsec_min(worker_now(u->worker) + s->stall_timeout,
                                  u->last_byte + s->client_stall_timeout));
}

void upload_start_clock(struct upstream *u)
{
    u->window_began = u->last_byte = worker_now(u->worker);
    u->window_bytes = 0;
    look_again(u);
}

void upload_judge_client(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    uint64_t now = worker_now(u->worker);
    if (now - u->last_byte >= s->client_stall_timeout ||
        (lanes_is_wanted(u) && upstream_client_is_slow(u)))
        fail(u->upload, FAILURE_SLOW_BODY);
    else
        look_again(u);
}
