/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin.h"

#include "admin/admin_internal.h"
#include "admin/assets.h"
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control.h"
#include "net/conn.h"
#include "proxy/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 1024,
    COLLECT_MS = 100, /* a worker keeps 256 samples until they are taken */
    FADE_SECONDS = 60,
    /* All answers that have not been taken yet. A page that finds no room is answered 503. */
    OUTPUT_MAX = 64 * 1024 * 1024,
    OUTPUT_RESERVE = 64 * 1024, /* for the heads and texts of errors */
    DROP_READS = 64,            /* of READ_BYTES, before a connection is closed */
};

/* One connection: a request, its answer, the end. */
struct visit {
    struct conn conn;
    struct grave grave;
    struct timer timer; /* its end, whatever it is doing */
    struct list link;   /* in admin.visits */
    struct admin *admin;
    size_t len;
    bool answered;
    char in[HTTP_HEAD_MAX];
};

/* ---- answers ---- */

#define JSON "application/json"

struct page {
    const char *path, *type;
    void (*write)(const struct admin *a, struct text *t);
};

static const struct page PAGES[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
    {"/api/summary", JSON, page_summary},
    {"/api/nodes", JSON, page_nodes},
    {"/api/history", JSON, page_history},
    {"/api/events", JSON, page_events},
    {"/api/keys", JSON, page_keys},
    {"/api/slowlog", JSON, page_slowlog},
};

static const char *more_fields(const char *status)
{
    if (strncmp(status, "405", 3) == 0)
        return "Allow: GET, HEAD\r\n";
    if (strncmp(status, "401", 3) == 0) /* so that a browser asks for it */
        return "WWW-Authenticate: Basic realm=\"sumcache: the token is the password\"\r\n";
    return "";
}

/* What an answer has beside its body. */
struct head {
    const char *status, *type;
    const char *policy; /* what a browser may do with it */
    const char *more;   /* lines */
};

static void send_head(struct visit *v, const struct head *h, struct str body, bool head)
{
    char text[1024];
    /* Nothing here is to be guessed at, framed, or read by a script of another origin. */
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\nReferrer-Policy: no-referrer\r\n"
                     "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
                     "Content-Security-Policy: %s\r\n"
                     "Cross-Origin-Resource-Policy: same-origin\r\n%s\r\n",
                     h->status, h->type, body.len, h->policy, h->more);
    must(n > 0 && (size_t)n < sizeof(text));
    struct chunk_pool *chunks = &v->admin->chunks;
    int err = buf_append_urgent(&v->conn.out, chunks, text, (size_t)n);
    if (!err && !head)
        err = buf_append(&v->conn.out, chunks, body.p, body.len);
    if (err) /* half an answer is none: it is closed without */
        buf_clear(&v->conn.out, chunks);
    v->answered = true;
    v->admin->answered++;
}

static void send_answer(struct visit *v, const char *status, const char *type, struct str body,
                        bool head)
{
    char more[256];
    int n = snprintf(more, sizeof(more), "Cache-Control: no-store\r\n%s", more_fields(status));
    must(n > 0 && (size_t)n < sizeof(more));
    const struct head h = {status, type, "default-src 'none'", more};
    send_head(v, &h, body, head);
}

/* A file of the page: a browser may keep it, but asks each time whether it is still the same. */
static void send_asset(struct visit *v, const struct asset *asset, const struct http_request *r)
{
    static const char POLICY[] =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    bool packed = http_takes_gzip(r->encodings);
    bool known = http_knows_tag(r->known, str_of(asset->tag));
    struct str body = packed ? (struct str){(const char *)asset->packed, asset->packed_len}
                             : (struct str){(const char *)asset->plain, asset->plain_len};
    char more[256];
    /* Weak: packed or not, it is the same. */
    int n = snprintf(more, sizeof(more),
                     "Cache-Control: no-cache\r\nVary: Accept-Encoding\r\nETag: W/%s\r\n%s",
                     asset->tag, packed ? "Content-Encoding: gzip\r\n" : "");
    must(n > 0 && (size_t)n < sizeof(more));
    const struct head h = {known ? "304 Not Modified" : "200 OK", asset->type, POLICY, more};
    send_head(v, &h, body, r->head || known);
}

static void send_text(struct visit *v, const char *status, struct str body, bool head)
{
    send_answer(v, status, "text/plain; charset=utf-8", body, head);
}

static void send_page(struct visit *v, const char *type, struct text *t, bool head)
{
    if (t->failed || t->len > OUTPUT_MAX - chunk_pool_bytes(&v->admin->chunks))
        send_text(v, "503 Service Unavailable", STR("out of memory\n"), head);
    else
        send_answer(v, "200 OK", type, (struct str){t->bytes, t->len}, head);
    text_fini(t);
}

static void answer(struct visit *v, const struct http_request *r)
{
    struct admin *a = v->admin;
    struct text t = {0};
    if (!a->config.remote && !a->has_token && r->host.len > 0 && !http_host_is_local(r->host)) {
        send_text(v, "403 Forbidden", STR("ask by an address, or say admin.remote: on\n"), r->head);
        return;
    }
    if (str_eq(r->path, STR("/healthz"))) {
        send_text(v, "200 OK", STR("ok\n"), r->head);
        return;
    }
    if (str_eq(r->path, STR("/readyz"))) {
        bool ready = admin_is_ready(a);
        send_text(v, ready ? "200 OK" : "503 Service Unavailable",
                  ready ? STR("ready\n") : STR("not ready\n"), r->head);
        return;
    }
    if (a->has_token && !authorization_shows(r->authorization, a->token_hash)) {
        a->unauthorized++;
        send_text(v, "401 Unauthorized", STR("the token is missing or wrong\n"), r->head);
        return;
    }
    if (str_eq(r->path, STR("/api/where"))) {
        if (page_where(a, r->query, &t))
            send_page(v, JSON, &t, r->head);
        else
            send_text(v, "400 Bad Request", STR("expected /api/where?key=KEY\n"), r->head);
        return;
    }
    const struct asset *asset = asset_find(r->path);
    if (asset) {
        send_asset(v, asset, r);
        return;
    }
    for (size_t i = 0; i < sizeof(PAGES) / sizeof(PAGES[0]); i++) {
        if (!str_eq(r->path, str_of(PAGES[i].path)))
            continue;
        PAGES[i].write(a, &t);
        send_page(v, PAGES[i].type, &t, r->head);
        return;
    }
    send_text(v, "404 Not Found", STR("there is no such page\n"), r->head);
}

/* ---- connections ---- */

static void bury_visit(struct grave *g)
{
    free(container_of(g, struct visit, grave));
}

static void close_visit(struct visit *v)
{
    struct admin *a = v->admin;
    conn_close(&v->conn);
    timer_unmake(&v->timer);
    list_remove(&v->link);
    a->visit_count--;
    loop_bury(a->config.loop, &v->conn.source, &v->grave, bury_visit);
}

static void on_visit_time(struct timer *timer)
{
    close_visit(container_of(timer, struct visit, timer));
}

/* False: closed. */
static bool read_visit(struct visit *v)
{
    while (!v->answered) {
        struct http_request r;
        size_t room = sizeof(v->in) - v->len;
        ssize_t n = conn_read(&v->conn, v->in + v->len, room < READ_BYTES ? room : READ_BYTES);
        if (n == -EAGAIN || n == -EINTR)
            return true;
        if (n <= 0) {
            close_visit(v);
            return false;
        }
        v->len += (size_t)n;
        switch (http_request_parse(v->in, v->len, &r)) {
        case HTTP_MORE:
            break;
        case HTTP_READY:
            answer(v, &r);
            break;
        case HTTP_BAD:
            send_text(v, "400 Bad Request", STR("no request that is understood here\n"), false);
            break;
        case HTTP_NO_METHOD:
            send_text(v, "405 Method Not Allowed", STR("all here is to be read only\n"), false);
            break;
        case HTTP_TOO_LONG:
            send_text(v, "431 Request Header Fields Too Large", STR("too long\n"), false);
            break;
        }
    }
    return true;
}

/* What is closed with bytes unread is reset, and the peer may lose an answer that it has not read.
 */
static void drop_rest(struct visit *v)
{
    for (unsigned i = 0; i < DROP_READS; i++)
        if (conn_read(&v->conn, v->in, READ_BYTES) <= 0)
            return;
}

static void on_visit_ready(struct source *s, unsigned ready)
{
    struct visit *v = container_of(s, struct visit, conn.source);
    if (ready & IO_OUT)
        v->conn.blocked = false;
    if (!v->answered && !read_visit(v))
        return;
    if (!v->answered)
        return;
    bool broken = !v->conn.blocked && conn_flush(&v->conn) < 0;
    if (!broken && v->conn.out.len > 0)
        return;
    if (!broken)
        drop_rest(v);
    close_visit(v);
}

static void on_accept(void *owner, const struct listener *at, int handle, const struct addr *peer)
{
    struct admin *a = owner;
    struct io *io = a->config.loop->io;
    (void)at;
    (void)peer;
    struct visit *v = a->visit_count < a->config.connections_max ? calloc(1, sizeof(*v)) : NULL;
    if (!v || timer_make(&v->timer, &a->config.loop->timers, on_visit_time) != 0) {
        free(v);
        a->refused++;
        io->ops->close(io->ctx, handle);
        return;
    }
    v->admin = a;
    conn_init(&v->conn, a->config.loop, &a->chunks, on_visit_ready);
    if (conn_open(&v->conn, handle) != 0) {
        timer_unmake(&v->timer);
        free(v);
        a->refused++;
        return;
    }
    list_push_tail(&a->visits, &v->link);
    a->visit_count++;
    timer_set(&v->timer, a->config.loop->now + a->config.timeout);
}

static void on_pause(void *owner, int err)
{
    struct admin *a = owner;
    log_event(a->config.log, LOG_WARN, "accept-paused", "listener=admin reason=\"%s\"",
              strerror(-err));
}

/* ---- the whole ---- */

static void on_collect_time(struct timer *timer)
{
    struct admin *a = container_of(timer, struct admin, collect);
    for (unsigned i = 0; i < a->config.worker_count; i++) {
        struct samples *s = worker_samples(a->config.workers[i]);
        struct sample sample;
        struct slow_request slow;
        /* A worker may go on to write while this reads: no more than one ring each time. */
        for (unsigned k = 0; k < SAMPLES_MAX && samples_take(s, &sample); k++)
            keys_take(&a->keys, &sample, a->config.prefix_separator, a->config.prefix_depth);
        for (unsigned k = 0; k < SAMPLES_SLOW_MAX && samples_take_slow(s, &slow); k++)
            keys_take_slow(&a->keys, &slow);
    }
    timer_set(timer, a->config.loop->now + COLLECT_MS * NSEC_MS);
}

static void on_second(struct timer *timer)
{
    struct admin *a = container_of(timer, struct admin, second);
    struct history_totals totals = admin_totals(a);
    struct history_gauges gauges = admin_gauges(a);
    history_second(&a->history, admin_wall_ms(a), &totals, &gauges);
    if (a->visit_count == 0 && chunk_pool_has_spares(&a->chunks))
        chunk_pool_trim(&a->chunks);
    if (++a->seconds % FADE_SECONDS == 0)
        keys_fade(&a->keys);
    timer_set(timer, a->config.loop->now + NSEC_S);
}

int admin_new(const struct admin_config *config, struct admin **ret)
{
    static const struct listener_events EVENTS = {.on_accept = on_accept, .on_pause = on_pause};
    const struct io_socket_options options = {0};
    struct admin *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->config = *config;
    a->started = config->loop->now;
    a->has_token = config->token.len > 0;
    secret_hash(config->token, a->token_hash);
    a->config.token = STR("");
    list_init(&a->visits);
    int err = timer_make(&a->second, &config->loop->timers, on_second);
    if (err) {
        free(a);
        return err;
    }
    err = timer_make(&a->collect, &config->loop->timers, on_collect_time);
    if (!err) {
        err = listener_open(&a->listener, config->loop, config->handle, &config->listen, &options,
                            &EVENTS, a);
        if (err)
            timer_unmake(&a->collect);
    }
    if (err) {
        timer_unmake(&a->second);
        free(a);
        return err;
    }
    chunk_pool_init(&a->chunks, OUTPUT_MAX, OUTPUT_RESERVE);
    timer_set(&a->second, config->loop->now);
    timer_set(&a->collect, config->loop->now);
    *ret = a;
    return 0;
}

struct admin *admin_free(struct admin *a)
{
    if (!a)
        return NULL;
    listener_close(&a->listener);
    timer_unmake(&a->second);
    timer_unmake(&a->collect);
    while (!list_empty(&a->visits))
        close_visit(list_first(&a->visits, struct visit, link));
    loop_end_turn(a->config.loop);
    chunk_pool_fini(&a->chunks);
    view_unref(a->view);
    free(a);
    return NULL;
}

void admin_see_view(struct admin *a, struct view *v)
{
    if (!a)
        return;
    history_views(&a->history, admin_wall_ms(a), a->view, v);
    view_unref(a->view);
    a->view = view_ref(v);
}

void admin_say_draining(struct admin *a)
{
    if (a)
        atomic_store(&a->draining, true);
}

static void deliver_leave(struct message *m, void *receiver)
{
    (void)receiver;
    listener_close(&container_of(m, struct admin, leave)->listener);
}

void admin_leave(struct admin *a)
{
    if (!a)
        return;
    a->leave.deliver = deliver_leave;
    control_post(a->config.control, &a->leave);
}

int admin_listener(const struct admin *a)
{
    return a->listener.handle;
}
