/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/feed.h"

#include "base/must.h"
#include "base/nsec.h"
#include "proxy/greeting.h"
#include "proxy/lanes.h"
#include "proxy/node_error.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACKOFF_DOUBLINGS_MAX = 16,
    /* Of a message this much is looked at in one piece: its kind and the longest topic's name. What
     * is no message is shorter, and kept whatever limits.memory says. */
    HEAD_MAX = 2 * TOPIC_NAME_MAX,
    ERROR_SHOWN_MAX = 128, /* bytes of a node's error in the log */
};
_Static_assert((int)HEAD_MAX <= (int)CLIENT_READ_BYTES,
               "a head is gathered in the clients' scratch");

static void feed_enter(struct feed *f, enum feed_state to)
{
    static const uint8_t FROM[] = {
        /* bit s: may be entered from state s */
        [FEED_CONNECTING] = 1 << FEED_BACKOFF,
        [FEED_GREETING] = 1 << FEED_CONNECTING,
        [FEED_READY] = 1 << FEED_GREETING,
        [FEED_BACKOFF] = 1 << FEED_CONNECTING | 1 << FEED_GREETING | 1 << FEED_READY,
        [FEED_CLOSED] = 0xff,
    };
    must(FROM[to] & (1 << f->state));
    struct metrics *m = &f->worker->metrics;
    if (f->state == FEED_READY)
        metric_set(&m->feeds_ready, metric_get(&m->feeds_ready) - 1);
    else
        metric_set(&m->feeds_waiting, metric_get(&m->feeds_waiting) - 1);
    if (to != FEED_CLOSED)
        metric_add(to == FEED_READY ? &m->feeds_ready : &m->feeds_waiting, 1);
    f->state = (uint8_t)to;
}

/* ---- connecting and failing ---- */

static void mark_dirty(struct feed *f)
{
    conn_mark_dirty(&f->conn, &f->worker->pubsub.dirty_feeds);
}

/* As of upstreams: jitter, and as many times longer as there are workers. */
static uint64_t backoff(struct feed *f)
{
    const struct proxy_settings *s = f->worker->settings;
    uint32_t doublings = f->failures > 0 ? f->failures - 1 : 0;
    if (doublings > BACKOFF_DOUBLINGS_MAX)
        doublings = BACKOFF_DOUBLINGS_MAX;
    uint64_t delay = nsec_min(s->backoff_min << doublings, s->backoff_max);
    delay = delay / 2 + rng_below(&f->worker->rng, delay + 1);
    return delay * f->worker->count;
}

static void drop_connection(struct feed *f)
{
    struct worker *w = f->worker;
    conn_close(&f->conn);
    buf_clear(&f->in, &w->chunks);
    frame_reset(&f->frame);
    while (!list_empty(&f->asks)) {
        struct feed_ask *a = list_first(&f->asks, struct feed_ask, link);
        list_remove(&a->link);
        pool_give(&w->pubsub.asks_pool, a);
    }
    list_for_each (link, &f->feedings) {
        struct feeding *g = list_item(link, struct feeding, of_feed);
        g->asked = 0;
        g->subscribed = g->refused = false;
        pubsub_changed(&w->pubsub, g->topic);
    }
    f->dropping = f->pinged = f->hung_up = false;
    f->broken = NULL;
    timer_clear(&f->timer);
}

static void fail(struct feed *f, const char *why)
{
    struct worker *w = f->worker;
    bool was_ready = f->state == FEED_READY;
    drop_connection(f);
    /* The first try comes at once, unless the last one was of no use for long. */
    bool at_once = was_ready && worker_now(w) - f->ready_since >= w->settings->backoff_min;
    if (!at_once && f->failures < UINT32_MAX)
        f->failures++;
    metric_add(&w->metrics.feeds_failed, 1);
    if (was_ready || f->failures == 1)
        log_event(w->log, LOG_WARN, "feed-failed", "node=%s worker=%u reason=\"%s\"", f->node->name,
                  w->index, why);
    feed_enter(f, FEED_BACKOFF);
    timer_set(&f->timer, worker_now(w) + (at_once ? 0 : backoff(f)));
}

/* Who finds it out is in the middle of something: the timer does it. */
static void fail_soon(struct feed *f, const char *why)
{
    f->broken = why;
    timer_set(&f->timer, worker_now(f->worker));
}

static void begin_connect(struct feed *f)
{
    struct worker *w = f->worker;
    struct io *io = w->loop.io;
    int handle = io->ops->connect(io->ctx, &f->node->addr, &w->node_options);
    int err = handle < 0 ? handle : conn_open(&f->conn, handle);
    if (err)
        fail_soon(f, strerror(-err));
    else
        timer_set(&f->timer, worker_now(w) + w->settings->connect_timeout);
}

static void step_connecting(struct feed *f)
{
    static const char PING[] = "*1\r\n$4\r\nPING\r\n";
    struct worker *w = f->worker;
    struct io *io = w->loop.io;
    int err = io->ops->connect_result(io->ctx, f->conn.handle);
    if (err == -EAGAIN)
        return;
    if (err) {
        fail(f, strerror(-err));
        return;
    }
    feed_enter(f, FEED_GREETING);
    f->greeting_left = 1;
    struct tls_context *tls = w->settings->node_tls;
    if (tls)
        err = tls_start(&f->conn, tls, f->node->name, NULL, &w->node_tls);
    if (!err)
        err = greeting_append_auth(f->node, &f->conn.out, &f->greeting_left);
    if (!err)
        err = buf_append_urgent(&f->conn.out, &w->chunks, PING, sizeof(PING) - 1);
    if (err)
        fail(f, "limits.memory");
    else
        mark_dirty(f);
}

static void became_ready(struct feed *f)
{
    struct worker *w = f->worker;
    feed_enter(f, FEED_READY);
    if (f->failures > 0)
        log_event(w->log, LOG_INFO, "feed-back", "node=%s worker=%u failed=%u", f->node->name,
                  w->index, f->failures);
    f->failures = 0;
    f->unused = false;
    f->ready_since = f->last_byte = worker_now(w);
    timer_set(&f->timer, f->ready_since + w->settings->feed_timeout);
    list_for_each (link, &f->feedings)
        pubsub_changed(&w->pubsub, list_item(link, struct feeding, of_feed)->topic);
}

/* ---- asking ---- */

static bool append_bulk(struct feed *f, struct str s)
{
    char head[32];
    int n = snprintf(head, sizeof(head), "$%zu\r\n", s.len);
    struct buf *out = &f->conn.out;
    struct chunk_pool *chunks = &f->worker->chunks;
    return buf_append(out, chunks, head, (size_t)n) == 0 &&
           buf_append(out, chunks, s.p, s.len) == 0 && buf_append(out, chunks, "\r\n", 2) == 0;
}

/* Sends "WORD name" ("PING" without a feeding). */
static void ask(struct feed *f, const char *word, struct feeding *g)
{
    struct worker *w = f->worker;
    must(f->state == FEED_READY);
    if (g)
        g->asked++;
    if (f->broken)
        return;
    struct feed_ask *a = pool_take(&w->pubsub.asks_pool);
    const char *head = g ? "*2\r\n" : "*1\r\n";
    if (!a || buf_append(&f->conn.out, &w->chunks, head, strlen(head)) != 0 ||
        !append_bulk(f, str_of(word)) ||
        (g && !append_bulk(f, (struct str){g->topic->name, g->topic->len}))) {
        if (a)
            pool_give(&w->pubsub.asks_pool, a);
        fail_soon(f, "limits.memory");
        return;
    }
    a->feeding = g;
    list_push_tail(&f->asks, &a->link);
    mark_dirty(f);
}

void feeding_subscribe(struct feeding *g)
{
    static const char *const WORDS[] = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"};
    g->subscribed = true;
    ask(g->feed, WORDS[g->topic->kind], g);
}

void feeding_unsubscribe(struct feeding *g)
{
    static const char *const WORDS[] = {"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"};
    g->subscribed = false;
    ask(g->feed, WORDS[g->topic->kind], g);
}

static void on_time(struct timer *t)
{
    struct feed *f = container_of(t, struct feed, timer);
    struct worker *w = f->worker;
    uint64_t patience = w->settings->feed_timeout;
    if (f->broken) {
        fail(f, f->broken);
        return;
    }
    switch ((enum feed_state)f->state) {
    case FEED_CONNECTING:
        fail(f, "connect timed out");
        return;
    case FEED_GREETING:
        fail(f, conn_late(&f->conn, "greeting timed out"));
        return;
    case FEED_READY:
        /* A dead peer that says nothing looks like one that has nothing to say: so it is asked. */
        if (f->unused && list_empty(&f->feedings)) {
            feed_close(f);
        } else if (worker_now(w) < f->last_byte + patience) {
            f->unused = list_empty(&f->feedings);
            timer_set(t, f->last_byte + patience);
        } else if (f->pinged) {
            fail(f, "silent");
        } else {
            f->unused = list_empty(&f->feedings);
            f->pinged = true;
            timer_set(t, worker_now(w) + patience);
            ask(f, "PING", NULL);
        }
        return;
    case FEED_BACKOFF:
        if (list_empty(&f->feedings)) {
            feed_close(f);
            return;
        }
        feed_enter(f, FEED_CONNECTING);
        begin_connect(f);
        return;
    case FEED_CLOSED:
        break;
    }
    unreachable();
}

/* ---- what comes ---- */

/* The next bulk string at *at; moves on. False: there is none, or it is not whole. */
static bool next_bulk(const uint8_t *bytes, size_t len, size_t *at, struct str *ret)
{
    size_t i = *at, size = 0;
    if (i >= len || bytes[i++] != '$')
        return false;
    for (; i < len && bytes[i] >= '0' && bytes[i] <= '9'; i++)
        size = 10 * size + (bytes[i] - '0'); /* the frame has seen that it fits */
    if (len - i < 2 || size > len - i - 2)
        return false;
    *ret = (struct str){(const char *)bytes + i + 2, size};
    *at = i + 2 + size + 2;
    return true;
}

struct word {
    const char *text;
    uint8_t kind; /* enum topic_kind */
};

/* → index, or -1 */
static int find_word(const struct word words[TOPIC_KINDS], struct str word)
{
    for (int i = 0; i < TOPIC_KINDS; i++)
        if (str_eq(word, str_of(words[i].text)))
            return i;
    return -1;
}

/* The answer to the oldest ask; `error` is empty unless it is one. */
static void take_answer(struct feed *f, struct str error)
{
    struct worker *w = f->worker;
    struct feed_ask *a = list_first(&f->asks, struct feed_ask, link);
    struct feeding *g = a->feeding;
    list_remove(&a->link);
    pool_give(&w->pubsub.asks_pool, a);
    if (!g)
        return;
    must(g->asked > 0);
    g->asked--;
    pubsub_changed(&w->pubsub, g->topic);
    if (error.len == 0 || !g->subscribed)
        return;
    g->refused = true;
    metric_add(&w->metrics.feeds_refused, 1);
    pubsub_refused(&w->pubsub, g->topic, error);
}

/* An error that is no answer to a subscription in particular, or does not last, ends the
 * connection: what comes after it could not be told apart. False: it has. */
static bool take_error(struct feed *f, const uint8_t *bytes, size_t len)
{
    struct worker *w = f->worker;
    char text[ERROR_SHOWN_MAX];
    size_t shown = len - 2 < sizeof(text) - 1 ? len - 2 : sizeof(text) - 1;
    for (size_t i = 0; i < shown; i++)
        text[i] = (char)(bytes[i] < ' ' || bytes[i] > '~' || bytes[i] == '"' ? '?' : bytes[i]);
    text[shown] = '\0';
    struct buf none;
    buf_init(&none);
    bool cannot_serve = node_error_count(&w->metrics, &none, bytes, len);
    if (cannot_serve || list_empty(&f->asks) ||
        !list_first(&f->asks, struct feed_ask, link)->feeding) {
        fail(f, text);
        return false;
    }
    log_event(w->log, LOG_WARN, "feed-refused", "node=%s worker=%u reason=\"%s\"", f->node->name,
              w->index, text);
    take_answer(f, (struct str){(const char *)bytes + 1, len - 3});
    return true;
}

/* A complete message, or an answer. `head` is its beginning, or all of it if it is no longer.
 * False: the connection has been closed. */
static bool take(struct feed *f, const uint8_t *head, size_t len, const struct feed_message *m)
{
    static const struct word MESSAGES[] = {
        {"message", TOPIC_CHANNEL}, {"pmessage", TOPIC_PATTERN}, {"smessage", TOPIC_SHARD}};
    static const struct word ANSWERS[] = {
        {"subscribe", TOPIC_CHANNEL}, {"psubscribe", TOPIC_PATTERN}, {"ssubscribe", TOPIC_SHARD}};
    static const struct word FAREWELLS[] = {{"unsubscribe", TOPIC_CHANNEL},
                                            {"punsubscribe", TOPIC_PATTERN},
                                            {"sunsubscribe", TOPIC_SHARD}};
    struct worker *w = f->worker;
    struct feed_ask *a = list_empty(&f->asks) ? NULL : list_first(&f->asks, struct feed_ask, link);
    struct str word = {0}, name;
    size_t at = 4; /* behind "*3\r\n" */
    if (f->frame.type == '-')
        return take_error(f, head, len);
    bool is_array = f->frame.type == '*' && next_bulk(head, len, &at, &word);
    int kind = is_array ? find_word(MESSAGES, word) : -1;
    if (kind >= 0) {
        metric_add(&w->metrics.feed_messages, 1);
        if (next_bulk(head, len, &at, &name)) /* else it is longer than any topic */
            pubsub_deliver(&w->pubsub, MESSAGES[kind].kind, name, m);
        return true;
    }
    bool is_pong = f->frame.type == '+' || (is_array && str_eq(word, STR("pong")));
    bool is_answer = is_array && (find_word(ANSWERS, word) >= 0 || find_word(FAREWELLS, word) >= 0);
    if (!a || (a->feeding ? !is_answer : !is_pong)) {
        metric_add(&w->metrics.upstreams_protocol_error, 1);
        fail(f, "an answer nobody asked for");
        return false;
    }
    if (!a->feeding)
        f->pinged = false;
    take_answer(f, (struct str){0});
    return true;
}

static bool take_greeting(struct feed *f, const uint8_t *bytes, size_t len)
{
    char why[GREETING_WHY_MAX];
    bool is_pong = len == 7 && memcmp(bytes, "+PONG\r\n", 7) == 0;
    f->greeting_left--;
    if (f->frame.type != '+' || (f->greeting_left == 0 && !is_pong)) {
        greeting_complain(bytes, len, why);
        fail(f, why);
        return false;
    }
    if (f->greeting_left == 0)
        became_ready(f);
    return true;
}

/* A complete frame: what is in f->in and then `bytes`. False: the connection has been closed. */
static bool take_frame(struct feed *f, uint8_t *bytes, size_t len)
{
    struct worker *w = f->worker;
    struct feed_message m = {.whole = &f->in};
    uint8_t *head = bytes;
    size_t head_len = len;
    if (f->dropping) { /* nothing but a message is that long */
        f->dropping = false;
        metric_add(&w->metrics.feed_messages, 1);
        metric_add(&w->metrics.feed_messages_dropped, 1);
        return true;
    }
    if (f->in.len > 0 || len > BUF_COPY_MAX) {
        if (buf_append_urgent(&f->in, &w->chunks, bytes, len) != 0) {
            fail(f, "limits.memory");
            return false;
        }
        head_len = f->in.len < HEAD_MAX ? f->in.len : HEAD_MAX;
        head = w->client_scratch;
        buf_copy_out(&f->in, 0, head, head_len);
    }
    if (f->in.len <= BUF_COPY_MAX) {
        m.short_bytes = head;
        m.short_len = head_len;
    }
    bool goes_on =
        f->state == FEED_GREETING ? take_greeting(f, head, head_len) : take(f, head, head_len, &m);
    buf_clear(&f->in, &w->chunks);
    return goes_on;
}

/* Keeps what has come of a frame that goes on. False: the connection has been closed. */
static bool keep(struct feed *f, const uint8_t *bytes, size_t len)
{
    struct worker *w = f->worker;
    uint64_t so_far = f->in.len + len;
    if (f->dropping)
        return true;
    if (so_far <= HEAD_MAX) {
        if (buf_append_urgent(&f->in, &w->chunks, bytes, len) == 0)
            return true;
        fail(f, "limits.memory");
        return false;
    }
    /* Longer than any client may be owed, or than there is room for. */
    if (so_far + f->frame.body_left > w->settings->client_pubsub_output_max ||
        !lanes_has_room(w, len) || buf_append(&f->in, &w->chunks, bytes, len) != 0) {
        f->dropping = true;
        buf_clear(&f->in, &w->chunks);
    }
    return true;
}

/* False: the connection has been closed. */
static bool feed_bytes(struct feed *f, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t used;
        enum frame_result result = frame_feed(&f->frame, bytes, len, &used);
        if (result == FRAME_BAD) {
            char why[FRAME_ERROR_MAX];
            metric_add(&f->worker->metrics.upstreams_protocol_error, 1);
            fail(f, frame_error(&f->frame, why));
            return false;
        }
        if (result == FRAME_MORE)
            return keep(f, bytes, used);
        if (!take_frame(f, bytes, used))
            return false;
        frame_reset(&f->frame);
        bytes += used;
        len -= used;
    }
    return true;
}

static void read_feed(struct feed *f)
{
    struct worker *w = f->worker;
    for (;;) {
        ssize_t n = conn_read(&f->conn, w->upstream_scratch, UPSTREAM_READ_BYTES);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n <= 0) {
            char why[CONN_WHY_MAX];
            fail(f, n == 0 ? "closed by the node" : conn_why(&f->conn, (int)n, why));
            return;
        }
        metric_add(&w->metrics.bytes_from_nodes, (uint64_t)n);
        f->last_byte = worker_now(w);
        if (!feed_bytes(f, w->upstream_scratch, (size_t)n))
            return;
        if (n < UPSTREAM_READ_BYTES && !f->hung_up)
            return;
        if (!f->hung_up) { /* more may be there; others first */
            loop_again(&w->loop, &f->conn.source);
            return;
        }
    }
}

static void on_ready(struct source *s, unsigned ready)
{
    struct feed *f = container_of(s, struct feed, conn.source);
    if (!conn_is_open(&f->conn))
        return;
    if (f->state == FEED_CONNECTING) {
        step_connecting(f);
        return;
    }
    if (ready & IO_OUT && f->conn.blocked) {
        f->conn.blocked = false;
        if (f->conn.out.len > 0)
            mark_dirty(f);
    }
    if (ready & IO_HUP)
        f->hung_up = true;
    if (ready & (IO_IN | IO_HUP))
        read_feed(f);
}

void feed_flush(struct feed *f)
{
    ssize_t n = conn_flush(&f->conn);
    if (n > 0)
        metric_add(&f->worker->metrics.bytes_to_nodes, (uint64_t)n);
    char why[CONN_WHY_MAX];
    if (n < 0)
        fail(f, conn_why(&f->conn, (int)n, why));
}

/* ---- life ---- */

struct feeding *feeding_new(struct feed *f, struct topic *t)
{
    struct feeding *g = pool_take(&f->worker->pubsub.feedings_pool);
    if (!g)
        return NULL;
    *g = (struct feeding){.topic = t, .feed = f};
    list_init(&g->lingering);
    list_push_tail(&t->feedings, &g->of_topic);
    list_push_tail(&f->feedings, &g->of_feed);
    return g;
}

void feeding_free(struct feeding *g)
{
    must(g->asked == 0);
    list_remove(&g->of_topic);
    list_remove(&g->of_feed);
    list_remove(&g->lingering);
    pool_give(&g->feed->worker->pubsub.feedings_pool, g);
}

struct feed *feed_new(struct worker *w, struct upstream_node *node)
{
    struct feed *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    if (timer_make(&f->timer, &w->loop.timers, on_time) != 0) {
        free(f);
        return NULL;
    }
    conn_init(&f->conn, &w->loop, &w->chunks, on_ready);
    frame_init(&f->frame, FRAME_REPLY, &w->reply_limits);
    f->worker = w;
    f->node = node;
    list_init(&f->feedings);
    list_init(&f->asks);
    f->state = FEED_CONNECTING;
    metric_add(&w->metrics.feeds_waiting, 1);
    begin_connect(f);
    return f;
}

static void bury(struct grave *g)
{
    free(container_of(g, struct feed, grave));
}

void feed_close(struct feed *f)
{
    struct worker *w = f->worker;
    must(f->node->feed == f);
    f->node->feed = NULL;
    drop_connection(f);
    list_for_each_safe (link, &f->feedings)
        feeding_free(list_item(link, struct feeding, of_feed));
    feed_enter(f, FEED_CLOSED);
    timer_unmake(&f->timer);
    loop_bury(&w->loop, &f->conn.source, &f->grave, bury);
}
