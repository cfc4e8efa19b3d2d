/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/subscriber.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/channels.h"
#include "proxy/router.h"
#include "proxy/worker_internal.h"
#include "ring/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const char *const SUBSCRIBED[] = {"subscribe", "psubscribe", "ssubscribe"};
static const char *const UNSUBSCRIBED[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};

static struct pubsub *pubsub_of(const struct client *c)
{
    return &c->worker->pubsub;
}

/* ---- what it is ---- */

uint32_t subscriber_count(const struct client *c, unsigned kind)
{
    return c->subscriber ? c->subscriber->count[kind] : 0;
}

/* Of all kinds. */
static uint32_t count_all(const struct client *c)
{
    uint32_t count = 0;
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++)
        count += subscriber_count(c, kind);
    return count;
}

bool subscriber_is_one(const struct client *c)
{
    return c->subscriber && count_all(c) > 0;
}

bool subscriber_is_bound(const struct client *c)
{
    return c->proto == 2 && subscriber_is_one(c);
}

bool subscriber_allows(const struct client *c, const struct command *command)
{
    if (!subscriber_is_bound(c))
        return true;
    switch (command->id) {
    case COMMAND_ID_SUBSCRIBE:
    case COMMAND_ID_PSUBSCRIBE:
    case COMMAND_ID_SSUBSCRIBE:
    case COMMAND_ID_UNSUBSCRIBE:
    case COMMAND_ID_PUNSUBSCRIBE:
    case COMMAND_ID_SUNSUBSCRIBE:
    case COMMAND_ID_PING:
    case COMMAND_ID_QUIT:
    case COMMAND_ID_RESET:
        return true;
    default:
        return false;
    }
}

/* NULL: out of memory. */
static struct subscriber *subscriber_of(struct client *c)
{
    if (c->subscriber)
        return c->subscriber;
    c->subscriber = calloc(1, sizeof(*c->subscriber));
    for (int i = 0; c->subscriber && i < TOPIC_KINDS; i++)
        list_init(&c->subscriber->subscriptions[i]);
    return c->subscriber;
}

/* The number of its subscriptions has changed. */
static void count_subscriber(struct client *c, bool was_one)
{
    struct metrics *m = &c->worker->metrics;
    bool is_one = subscriber_is_one(c);
    if (is_one && !was_one)
        metric_add(&m->subscribers, 1);
    else if (was_one && !is_one)
        metric_set(&m->subscribers, metric_get(&m->subscribers) - 1);
}

/* ---- replies ---- */

/* As Redis counts: channels and patterns together, shard channels apart. */
static uint32_t shown_count(const struct client *c, enum topic_kind kind)
{
    return kind == TOPIC_SHARD
               ? subscriber_count(c, TOPIC_SHARD)
               : subscriber_count(c, TOPIC_CHANNEL) + subscriber_count(c, TOPIC_PATTERN);
}

/* `name` NULL is Redis's answer to who unsubscribes from nothing. */
static void write_confirmation(struct reply_out *o, const char *word, const struct str *name,
                               uint32_t count)
{
    reply_raw(o, o->proto == 3 ? ">3\r\n" : "*3\r\n", 4);
    reply_bulk(o, str_of(word));
    if (name)
        reply_bulk(o, *name);
    else
        reply_null(o);
    reply_int(o, count);
}

/* A request at the end of the queue that holds what the client is told. NULL: out of memory, and it
 * is closed. */
static struct request *take_place(struct client *c, const struct command *command)
{
    struct request *r = request_new(c, command, c->worker->args.count);
    if (!r) {
        client_close(c);
        return NULL;
    }
    r->tells = true;
    c->subscriber->queued++;
    return r;
}

void subscriber_request_left(struct client *c)
{
    must(c->subscriber->queued > 0);
    c->subscriber->queued--;
}

static void answer(struct request *r, struct buf *text)
{
    struct reply_out o = request_reply(r);
    buf_move_all(o.to, text);
    request_finish(r);
}

static void refuse(struct client *c, const char *text)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    reply_error(&o, "%s", text);
    client_reply_end(c, r, &o);
}

/* ---- subscribing ---- */

/* True: it was the last that its client waits for. */
static bool ends_waiting(struct subscription *s)
{
    struct confirming *f = take_ptr(s->confirming);
    list_remove(&s->of_confirming);
    return f && list_empty(&f->waiting);
}

/* None of its subscriptions waits any more. Returns how many did. */
static uint64_t end_waiting(struct confirming *f)
{
    uint64_t count = 0;
    for (; !list_empty(&f->waiting); count++)
        (void)ends_waiting(list_first(&f->waiting, struct subscription, of_confirming));
    return count;
}

static void confirming_free(struct pubsub *p, struct confirming *f)
{
    must(list_empty(&f->waiting));
    list_remove(&f->link);
    buf_clear(&f->text, &p->worker->chunks);
    pool_give(&p->confirmings_pool, f);
}

static void tell(struct confirming *f)
{
    struct pubsub *p = pubsub_of(f->client);
    struct request *r = f->request;
    struct buf text = f->text;
    buf_init(&f->text);
    confirming_free(p, f);
    answer(r, &text); /* may close the client */
}

void subscriber_fed(struct subscription *s)
{
    struct confirming *f = s->confirming;
    if (ends_waiting(s))
        tell(f);
}

void subscriber_confirm(struct confirming *f)
{
    metric_add(&f->client->worker->metrics.subscriptions_unfed, end_waiting(f));
    tell(f);
}

static void drop(struct subscription *s)
{
    struct client *c = s->client;
    bool was_one = subscriber_is_one(c);
    struct confirming *f = s->confirming;
    bool was_last = ends_waiting(s);
    c->subscriber->count[s->topic->kind]--;
    pubsub_remove(pubsub_of(c), s);
    count_subscriber(c, was_one);
    if (was_last)
        tell(f);
}

/* The whole command is answered by the error, and what it subscribed to before that stays. */
void subscriber_refused(struct subscription *s, struct str error)
{
    struct confirming *f = s->confirming;
    struct client *c = s->client;
    if (!f)
        return; /* it has been told that it is subscribed, and may yet be fed */
    struct worker *w = c->worker;
    struct reply_out o = {.to = &f->text, .chunks = &w->chunks, .proto = c->proto};
    (void)end_waiting(f);
    buf_clear(&f->text, &w->chunks);
    reply_error(&o, "%.*s", (int)(error.len < REPLY_ERROR_MAX ? error.len : REPLY_ERROR_MAX),
                error.p);
    drop(s);
    if (o.err)
        client_close(c);
    else
        tell(f);
}

/* May it have so many more, and of such names? Else it is told why not. */
static bool has_room(struct client *c)
{
    struct worker *w = c->worker;
    size_t more = w->args.count - 1;
    if (!subscriber_of(c)) {
        client_close(c);
        return false;
    }
    for (size_t i = 1; i <= more; i++) {
        if (args_len(&w->args, i) <= TOPIC_NAME_MAX)
            continue;
        metric_add(&w->metrics.subscriptions_refused, 1);
        refuse(c, "ERR sumcache: the name of a channel or pattern is longer than 16384 bytes");
        return false;
    }
    bool client_full = count_all(c) + more > w->settings->client_subscriptions_max;
    if (!client_full && w->pubsub.subscriptions.count + more <= w->pubsub.count_max)
        return true;
    metric_add(&w->metrics.subscriptions_refused, 1);
    refuse(c, client_full ? "ERR sumcache: limits.client_subscriptions reached"
                          : "ERR sumcache: limits.subscriptions reached");
    return false;
}

/* 0 or -ENOMEM. */
static int subscribe_one(struct client *c, enum topic_kind kind, struct str name,
                         struct confirming *f)
{
    struct pubsub *p = pubsub_of(c);
    struct topic *t = pubsub_topic_make(p, kind, name);
    if (!t)
        return -ENOMEM;
    if (pubsub_find(p, c, t))
        return 0;
    struct subscription *s = pubsub_add(p, c, t);
    if (!s)
        return -ENOMEM;
    bool was_one = subscriber_is_one(c);
    list_push_tail(&c->subscriber->subscriptions[kind], &s->of_client);
    c->subscriber->count[kind]++;
    count_subscriber(c, was_one);
    if (!t->fed) {
        s->confirming = f;
        list_push_tail(&f->waiting, &s->of_confirming);
    }
    return 0;
}

static void subscribe(struct client *c, const struct command *command, enum topic_kind kind)
{
    struct worker *w = c->worker;
    struct pubsub *p = &w->pubsub;
    if (!has_room(c))
        return;
    struct request *r = take_place(c, command);
    if (!r)
        return;
    struct confirming *f = pool_take(&p->confirmings_pool);
    if (!f) {
        client_close(c);
        return;
    }
    *f = (struct confirming){
        .client = c, .request = r, .deadline = worker_now(w) + w->settings->request_timeout};
    list_init(&f->waiting);
    list_push_tail(&p->confirming, &f->link);
    struct reply_out o = {.to = &f->text, .chunks = &w->chunks, .proto = c->proto};
    for (size_t i = 1; i < w->args.count && !o.err; i++) {
        struct str name = args_str(&w->args, i);
        if (!name.p && args_len(&w->args, i) > 0)
            o.err = -ENOMEM;
        else
            o.err = subscribe_one(c, kind, name, f);
        write_confirmation(&o, SUBSCRIBED[kind], &name, shown_count(c, kind));
    }
    if (o.err) { /* half of it is done, and could not be told */
        failure_count(w, FAILURE_MEMORY);
        if (list_empty(&f->waiting))
            confirming_free(p, f);
        client_close(c);
    } else if (list_empty(&f->waiting)) {
        tell(f);
    } else if (!timer_is_set(&p->confirm_timer)) {
        timer_set(&p->confirm_timer, f->deadline);
    }
}

/* ---- unsubscribing ---- */

static void unsubscribe_one(struct client *c, enum topic_kind kind, struct str name,
                            struct reply_out *o)
{
    struct pubsub *p = pubsub_of(c);
    struct topic *t = pubsub_topic(p, kind, name);
    struct subscription *s = t ? pubsub_find(p, c, t) : NULL;
    write_confirmation(o, UNSUBSCRIBED[kind], &name, shown_count(c, kind) - (s ? 1 : 0));
    if (s)
        drop(s);
}

static void unsubscribe_all(struct client *c, enum topic_kind kind, struct reply_out *o)
{
    struct list *all = &c->subscriber->subscriptions[kind];
    if (list_empty(all))
        write_confirmation(o, UNSUBSCRIBED[kind], NULL, shown_count(c, kind));
    while (!c->conn.source.dead && !list_empty(all)) {
        struct subscription *s = list_first(all, struct subscription, of_client);
        struct str name = {s->topic->name, s->topic->len};
        write_confirmation(o, UNSUBSCRIBED[kind], &name, shown_count(c, kind) - 1);
        drop(s);
    }
}

static void unsubscribe(struct client *c, const struct command *command, enum topic_kind kind)
{
    struct worker *w = c->worker;
    struct buf text;
    buf_init(&text);
    struct reply_out o = {.to = &text, .chunks = &w->chunks, .proto = c->proto};
    if (!subscriber_of(c)) {
        client_close(c);
        return;
    }
    if (w->args.count == 1)
        unsubscribe_all(c, kind, &o);
    for (size_t i = 1; i < w->args.count && !o.err && !c->conn.source.dead; i++) {
        struct str name = args_str(&w->args, i);
        if (!name.p && args_len(&w->args, i) > 0)
            o.err = -ENOMEM;
        else
            unsubscribe_one(c, kind, name, &o);
    }
    struct request *r = NULL;
    if (!c->conn.source.dead && !o.err)
        r = take_place(c, command);
    if (r) {
        answer(r, &text);
        return;
    }
    buf_clear(&text, &w->chunks);
    if (c->conn.source.dead)
        return;
    failure_count(w, FAILURE_MEMORY);
    client_close(c);
}

void subscriber_reset(struct client *c)
{
    for (int kind = 0; c->subscriber && kind < TOPIC_KINDS; kind++)
        while (!c->conn.source.dead && !list_empty(&c->subscriber->subscriptions[kind]))
            drop(list_first(&c->subscriber->subscriptions[kind], struct subscription, of_client));
}

void subscriber_free(struct client *c)
{
    struct pubsub *p = pubsub_of(c);
    struct metrics *m = &c->worker->metrics;
    if (!c->subscriber)
        return;
    if (subscriber_is_one(c))
        metric_set(&m->subscribers, metric_get(&m->subscribers) - 1);
    struct subscriber *s = take_ptr(c->subscriber);
    for (int kind = 0; kind < TOPIC_KINDS; kind++) {
        while (!list_empty(&s->subscriptions[kind])) {
            struct subscription *one =
                list_first(&s->subscriptions[kind], struct subscription, of_client);
            struct confirming *f = one->confirming;
            if (ends_waiting(one))
                confirming_free(p, f);
            pubsub_remove(p, one);
        }
    }
    free(s);
}

/* ---- publishing ---- */

static void publish(struct client *c, const struct command *command, struct buf *from)
{
    struct worker *w = c->worker;
    struct str name = args_str(&w->args, 1);
    uint32_t node = ROUTER_NO_NODE;
    if (!name.p && args_len(&w->args, 1) > 0) {
        failure_count(w, FAILURE_MEMORY);
        client_close(c);
        return;
    }
    if (w->view && w->view->ring)
        node = pubsub_owner(&w->pubsub,
                            layout_hash(w->settings->layout, name, w->settings->hash_tags));
    metric_add(&w->metrics.messages_published, 1);
    router_to_node(c, command, node, from);
}

void subscriber_route(struct client *c, const struct command *command, struct buf *from)
{
    switch (command->id) {
    case COMMAND_ID_SUBSCRIBE:
        subscribe(c, command, TOPIC_CHANNEL);
        return;
    case COMMAND_ID_PSUBSCRIBE:
        subscribe(c, command, TOPIC_PATTERN);
        return;
    case COMMAND_ID_SSUBSCRIBE:
        subscribe(c, command, TOPIC_SHARD);
        return;
    case COMMAND_ID_UNSUBSCRIBE:
        unsubscribe(c, command, TOPIC_CHANNEL);
        return;
    case COMMAND_ID_PUNSUBSCRIBE:
        unsubscribe(c, command, TOPIC_PATTERN);
        return;
    case COMMAND_ID_SUNSUBSCRIBE:
        unsubscribe(c, command, TOPIC_SHARD);
        return;
    case COMMAND_ID_PUBLISH:
    case COMMAND_ID_SPUBLISH:
        publish(c, command, from);
        return;
    default:
        channels_start(c, command);
        return;
    }
}

/* ---- sending ---- */

/* May a message go before what is still pending? */
static bool may_overtake(const struct client *c)
{
    const struct request *first = list_first(&c->requests, struct request, link);
    bool begun = first->given > 0 && !first->uploading; /* of an upload nothing goes out yet */
    return c->proto == 3 && c->subscriber->queued == 0 && !begun;
}

/* The request behind everything that is pending, if it is one for messages already. */
static struct request *last_place(const struct client *c)
{
    struct request *last = list_item(c->requests.prev, struct request, link);
    return last->tells && last->done ? last : NULL;
}

static int append(struct buf *to, struct chunk_pool *chunks, const struct client *c,
                  const struct feed_message *m)
{
    bool push = c->proto == 3;
    if (m->short_len > 0) {
        uint8_t first = m->short_bytes[0];
        m->short_bytes[0] = push ? '>' : first;
        int err = buf_append_shared(to, chunks, m->short_bytes, m->short_len);
        m->short_bytes[0] = first;
        return err;
    }
    if (push && buf_append_shared(to, chunks, ">", 1) != 0)
        return -ENOMEM;
    return buf_share(to, m->whole, chunks, push ? 1 : 0);
}

void subscriber_send(struct client *c, const struct feed_message *m)
{
    struct worker *w = c->worker;
    struct request *r = NULL;
    struct buf *to = &c->conn.out;
    if (c->closing)
        return;
    if (!list_empty(&c->requests) && !may_overtake(c)) {
        r = last_place(c);
        if (!r)
            r = take_place(c, NULL);
        if (!r)
            return;
        to = &r->reply;
    }
    if (append(to, &w->chunks, c, m) != 0) {
        failure_count(w, FAILURE_MEMORY);
        client_close(c);
        return;
    }
    metric_add(&w->metrics.messages_sent, 1);
    if (r) {
        r->done = true;
        request_count_held(r);
    }
    c->hurry = true;
    conn_mark_dirty(&c->conn, &w->dirty_clients);
    if (client_owed(c) <= w->settings->client_pubsub_output_max)
        return;
    metric_add(&w->metrics.clients_pubsub_limit, 1);
    log_event(w->log, LOG_WARN, "client-pubsub-limit", "client=%" PRIu64 " owed=%" PRIu64, c->id,
              client_owed(c));
    client_close(c);
}
