/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/pubsub.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETTLED_AT_ONCE = 1000, /* topics per pubsub_run(): half a millisecond */
    SPARE_MAX = 1024,
    NAMES_SHARE = 4, /* names of topics take at most one fourth of limits.memory */
    /* In timeouts.feed. Publishing goes on by the old view for half of that after a change of
     * owners, and after a row of changes for twice that in all; an old subscription outlasts it by
     * far, for other proxies learn of the change at another time. It costs nearly nothing. */
    WINDOW_PARTS = 2,
    WINDOW_TIMES_MAX = 2,
    LINGER_TIMES = 5,
};

/* ---- finding ---- */

struct topic_key {
    enum topic_kind kind;
    struct str name;
};

static bool is_topic(const struct table_link *link, const void *key)
{
    const struct topic *t = container_of((struct table_link *)(uintptr_t)link, struct topic, link);
    const struct topic_key *k = key;
    return t->kind == k->kind && str_eq((struct str){t->name, t->len}, k->name);
}

static uint64_t topic_hash(struct pubsub *p, struct topic_key k)
{
    while (p->seed == 0) /* names come from outside: nobody may choose them to collide */
        p->seed = rng_next(&p->worker->rng);
    return murmur2_64(k.name, p->seed + k.kind);
}

struct topic *pubsub_topic(struct pubsub *p, enum topic_kind kind, struct str name)
{
    struct topic_key k = {kind, name};
    if (p->topics.count == 0)
        return NULL;
    struct table_link *link = table_find(&p->topics, topic_hash(p, k), is_topic, &k);
    return link ? container_of(link, struct topic, link) : NULL;
}

struct topic *pubsub_topic_make(struct pubsub *p, enum topic_kind kind, struct str name)
{
    struct topic *t = pubsub_topic(p, kind, name);
    if (t)
        return t;
    if (p->name_bytes + name.len > p->worker->chunks.limit / NAMES_SHARE)
        return NULL;
    t = malloc(sizeof(*t) + name.len);
    if (!t)
        return NULL;
    *t = (struct topic){.kind = (uint8_t)kind, .len = name.len};
    if (name.len > 0)
        memcpy(t->name, name.p, name.len);
    if (table_add(&p->topics, &t->link, topic_hash(p, (struct topic_key){kind, name})) != 0) {
        free(t);
        return NULL;
    }
    t->ring_hash = layout_hash(p->worker->settings->layout, name, p->worker->settings->hash_tags);
    list_init(&t->subscriptions);
    list_init(&t->feedings);
    list_init(&t->changed_link);
    list_push_tail(&p->all, &t->all_link);
    p->name_bytes += name.len;
    pubsub_changed(p, t);
    return t;
}

static void topic_free(struct pubsub *p, struct topic *t)
{
    table_remove(&p->topics, &t->link);
    list_remove(&t->all_link);
    list_remove(&t->changed_link);
    p->name_bytes -= t->len;
    free(t);
}

void pubsub_changed(struct pubsub *p, struct topic *t)
{
    t->fed = false; /* until it is settled */
    if (list_empty(&t->changed_link))
        list_push_tail(&p->changed, &t->changed_link);
}

struct subscription_key {
    const struct client *client;
    const struct topic *topic;
};

static bool is_subscription(const struct table_link *link, const void *key)
{
    const struct subscription *s =
        container_of((struct table_link *)(uintptr_t)link, struct subscription, link);
    const struct subscription_key *k = key;
    return s->client == k->client && s->topic == k->topic;
}

static uint64_t subscription_hash(const struct client *c, const struct topic *t)
{
    return t->link.hash ^ c->id * UINT64_C(0x9e3779b97f4a7c15);
}

struct subscription *pubsub_find(struct pubsub *p, const struct client *c, const struct topic *t)
{
    struct subscription_key k = {c, t};
    struct table_link *link =
        table_find(&p->subscriptions, subscription_hash(c, t), is_subscription, &k);
    return link ? container_of(link, struct subscription, link) : NULL;
}

static void count_subscriptions(struct pubsub *p)
{
    metric_set(&p->worker->metrics.subscriptions, p->subscriptions.count);
}

struct subscription *pubsub_add(struct pubsub *p, struct client *c, struct topic *t)
{
    struct subscription *s = pool_take(&p->subscriptions_pool);
    if (!s)
        return NULL;
    *s = (struct subscription){.topic = t, .client = c};
    if (table_add(&p->subscriptions, &s->link, subscription_hash(c, t)) != 0) {
        pool_give(&p->subscriptions_pool, s);
        return NULL;
    }
    list_push_tail(&t->subscriptions, &s->of_topic);
    list_init(&s->of_client);
    list_init(&s->of_confirming);
    count_subscriptions(p);
    return s;
}

void pubsub_remove(struct pubsub *p, struct subscription *s)
{
    table_remove(&p->subscriptions, &s->link);
    list_remove(&s->of_topic);
    list_remove(&s->of_client);
    list_remove(&s->of_confirming);
    if (list_empty(&s->topic->subscriptions))
        pubsub_changed(p, s->topic);
    pool_give(&p->subscriptions_pool, s);
    count_subscriptions(p);
}

/* ---- where from ---- */

static uint64_t publish_window(const struct pubsub *p)
{
    return p->worker->settings->feed_timeout / WINDOW_PARTS;
}

/* Index of the present view's node that owned this in the one before. UINT32_MAX: that is not to be
 * used any more. */
static uint32_t owner_before(const struct pubsub *p, uint64_t ring_hash)
{
    const struct worker *w = p->worker;
    if (!p->before)
        return UINT32_MAX;
    const char *name = p->before->nodes[maglev_lookup(p->before->ring, ring_hash)].name;
    for (uint32_t i = 0; i < w->upstreams.count; i++) {
        const struct upstream_node *n = w->upstreams.nodes[i];
        if (strcmp(n->name, name) == 0)
            return n->out || upstream_node_is_down(n) ? UINT32_MAX : i;
    }
    return UINT32_MAX;
}

uint32_t pubsub_owner(const struct pubsub *p, uint64_t ring_hash)
{
    uint32_t before = owner_before(p, ring_hash);
    return before != UINT32_MAX ? before : maglev_lookup(p->worker->view->ring, ring_hash);
}

/* False: it cannot be fed from there now. */
static bool want(struct pubsub *p, struct topic *t, uint32_t node)
{
    struct upstream_node *n = p->worker->upstreams.nodes[node];
    if (n->out || n->addr.family == ADDR_NONE)
        return false;
    struct feeding *g = NULL;
    list_for_each (link, &t->feedings) {
        g = list_item(link, struct feeding, of_topic);
        if (g->feed->node == n)
            break;
        g = NULL;
    }
    if (!g && !n->feed)
        n->feed = feed_new(p->worker, n);
    if (!g && n->feed)
        g = feeding_new(n->feed, t);
    if (!g) { /* no memory: tried again later */
        p->review_due = true;
        if (!timer_is_set(&p->review_timer))
            timer_set(&p->review_timer, worker_now(p->worker) + publish_window(p));
        return false;
    }
    g->wanted = true;
    list_remove(&g->lingering);
    return true;
}

static bool want_all(struct pubsub *p, struct topic *t)
{
    const struct worker *w = p->worker;
    if (!w->view || !w->view->ring)
        return false;
    if (t->kind != TOPIC_PATTERN) {
        uint32_t owner = maglev_lookup(w->view->ring, t->ring_hash);
        uint32_t before = owner_before(p, t->ring_hash);
        bool well = want(p, t, owner);
        return before != UINT32_MAX && before != owner ? want(p, t, before) && well : well;
    }
    bool any = false, well = true;
    for (uint32_t i = 0; i < w->upstreams.count; i++) {
        if (w->upstreams.nodes[i]->out)
            continue;
        any = true;
        well = want(p, t, i) && well;
    }
    return any && well;
}

/* ---- settling ---- */

static void leave(struct feeding *g)
{
    if (g->feed->state == FEED_READY && g->subscribed)
        feeding_unsubscribe(g);
    if (g->asked == 0) /* else when that is answered */
        feeding_free(g);
}

static void linger(struct pubsub *p, struct feeding *g)
{
    g->linger_until = worker_now(p->worker) + LINGER_TIMES * p->worker->settings->feed_timeout;
    list_push_tail(&p->lingering, &g->lingering);
    if (!timer_is_set(&p->review_timer))
        timer_set(&p->review_timer, g->linger_until);
}

/* Brings the feedings of a topic to what they should be. */
static void settle(struct pubsub *p, struct topic *t)
{
    bool needed = !list_empty(&t->subscriptions);
    list_for_each (link, &t->feedings)
        list_item(link, struct feeding, of_topic)->wanted = false;
    bool fed = needed && want_all(p, t);
    list_for_each_safe (link, &t->feedings) {
        struct feeding *g = list_item(link, struct feeding, of_topic);
        bool ready = g->feed->state == FEED_READY;
        if (g->wanted) {
            if (ready && !g->subscribed)
                feeding_subscribe(g);
            fed = fed && feeding_is_fed(g);
        } else if (needed && ready && g->subscribed && !g->refused) {
            if (list_empty(&g->lingering)) {
                metric_add(&p->worker->metrics.subscriptions_moved, 1);
                linger(p, g);
            }
        } else {
            leave(g);
        }
    }
    t->fed = fed;
    if (fed)
        list_for_each_safe (link, &t->subscriptions)
            subscriber_fed(list_item(link, struct subscription, of_topic));
    if (list_empty(&t->subscriptions) && list_empty(&t->feedings))
        topic_free(p, t);
}

void pubsub_run(struct pubsub *p)
{
    for (int i = 0; i < SETTLED_AT_ONCE && !list_empty(&p->changed); i++) {
        struct topic *t = list_first(&p->changed, struct topic, changed_link);
        list_remove(&t->changed_link);
        settle(p, t);
    }
    while (!list_empty(&p->dirty_feeds)) {
        struct feed *f = list_first(&p->dirty_feeds, struct feed, conn.dirty);
        list_remove(&f->conn.dirty);
        feed_flush(f);
    }
}

/* ---- views ---- */

static void review_all(struct pubsub *p)
{
    list_for_each (link, &p->all)
        pubsub_changed(p, list_item(link, struct topic, all_link));
}

/* Do the same nodes own the same slots? */
static bool is_same_ring(const struct view *a, const struct view *b)
{
    return a->ring && b->ring && a->ring_hash == b->ring_hash && a->ring_hash != 0;
}

/* Does it make a difference to anybody's feedings? */
static bool is_same(const struct view *a, const struct view *b)
{
    if (!is_same_ring(a, b) || a->node_count != b->node_count)
        return false;
    for (uint32_t i = 0; i < a->node_count; i++) {
        const struct view_node *m = &a->nodes[i], *n = &b->nodes[i];
        if (strcmp(m->name, n->name) != 0 || m->out != n->out || !addr_eq(&m->addr, &n->addr))
            return false;
    }
    return true;
}

void pubsub_adopt(struct pubsub *p, struct view *old)
{
    uint64_t now = worker_now(p->worker);
    struct view *view = p->worker->view;
    if (old && is_same(old, view))
        return;
    review_all(p);
    if (!old || !old->ring || !view->ring || is_same_ring(old, view))
        return;
    if (!p->before) {
        p->before = view_ref(old);
        p->before_since = now;
    }
    p->before_until =
        nsec_min(now + publish_window(p),
                 p->before_since + WINDOW_TIMES_MAX * p->worker->settings->feed_timeout);
    if (!timer_is_set(&p->review_timer) || p->review_timer.at > p->before_until)
        timer_set(&p->review_timer, p->before_until);
}

static void end_lingering(struct pubsub *p, uint64_t now)
{
    while (!list_empty(&p->lingering)) {
        struct feeding *g = list_first(&p->lingering, struct feeding, lingering);
        if (g->linger_until > now)
            return;
        list_remove(&g->lingering);
        if (g->topic->fed)
            leave(g);
        else
            linger(p, g); /* the new owner does not feed it yet: better than nothing */
    }
}

static void on_review_time(struct timer *timer)
{
    struct pubsub *p = container_of(timer, struct pubsub, review_timer);
    uint64_t now = worker_now(p->worker);
    end_lingering(p, now);
    if (p->before && p->before_until <= now) {
        p->before = view_unref(p->before);
        p->review_due = true;
    }
    if (p->review_due)
        review_all(p);
    p->review_due = false;
    uint64_t next = p->before ? p->before_until : NSEC_NEVER;
    if (!list_empty(&p->lingering))
        next = nsec_min(next, list_first(&p->lingering, struct feeding, lingering)->linger_until);
    if (next != NSEC_NEVER)
        timer_set(timer, next);
}

/* ---- what comes ---- */

void pubsub_deliver(struct pubsub *p, enum topic_kind kind, struct str name,
                    const struct feed_message *m)
{
    struct topic *t = pubsub_topic(p, kind, name);
    if (!t)
        return;
    list_for_each_safe (link, &t->subscriptions)
        subscriber_send(list_item(link, struct subscription, of_topic)->client, m);
}

void pubsub_refused(struct pubsub *p, struct topic *t, struct str error)
{
    (void)p;
    list_for_each_safe (link, &t->subscriptions)
        subscriber_refused(list_item(link, struct subscription, of_topic), error);
}

static void on_confirm_time(struct timer *timer)
{
    struct pubsub *p = container_of(timer, struct pubsub, confirm_timer);
    while (!list_empty(&p->confirming)) {
        struct confirming *f = list_first(&p->confirming, struct confirming, link);
        if (f->deadline > worker_now(p->worker)) {
            timer_set(timer, f->deadline);
            return;
        }
        subscriber_confirm(f);
    }
}

/* ---- life ---- */

int pubsub_init(struct pubsub *p, struct worker *w)
{
    *p = (struct pubsub){.worker = w};
    list_init(&p->all);
    list_init(&p->changed);
    list_init(&p->confirming);
    list_init(&p->lingering);
    list_init(&p->dirty_feeds);
    pool_init(&p->subscriptions_pool, sizeof(struct subscription), SIZE_MAX, SPARE_MAX);
    pool_init(&p->feedings_pool, sizeof(struct feeding), SIZE_MAX, SPARE_MAX);
    pool_init(&p->asks_pool, sizeof(struct feed_ask), SIZE_MAX, SPARE_MAX);
    pool_init(&p->confirmings_pool, sizeof(struct confirming), SIZE_MAX, SPARE_MAX);
    p->count_max = w->settings->subscriptions_max / w->count;
    if (p->count_max == 0)
        p->count_max = 1;
    if (timer_make(&p->confirm_timer, &w->loop.timers, on_confirm_time) != 0)
        return -ENOMEM;
    if (timer_make(&p->review_timer, &w->loop.timers, on_review_time) == 0)
        return 0;
    timer_unmake(&p->confirm_timer);
    return -ENOMEM;
}

void pubsub_fini(struct pubsub *p)
{
    pubsub_run(p);
    while (!list_empty(&p->changed)) /* topics without anything */
        pubsub_run(p);
    must(list_empty(&p->all));
    p->before = view_unref(p->before);
    timer_unmake(&p->confirm_timer);
    timer_unmake(&p->review_timer);
    pool_fini(&p->subscriptions_pool);
    pool_fini(&p->feedings_pool);
    pool_fini(&p->asks_pool);
    pool_fini(&p->confirmings_pool);
}
