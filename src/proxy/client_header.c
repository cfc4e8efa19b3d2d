/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Until the header has ended, its bytes lie in c->in and count as seen (c->in_fed), so that nobody
 * takes them for a request.
 */
#include "proxy/client_header.h"

#include "net/proxy_header.h"
#include "proxy/worker_internal.h"

#include <inttypes.h>

bool client_header_is_due(const struct client *c)
{
    const struct proxy_settings *s = c->worker->settings;
    for (uint32_t i = 0; i < s->balancer_count; i++)
        if (addr_range_has(&s->balancers[i], &c->peer))
            return true;
    return false;
}

void client_header_begin(struct client *c)
{
    c->header_due = true;
    list_push_tail(&c->worker->headers, &c->header_link);
}

static void give_up(struct client *c, const char *why)
{
    struct worker *w = c->worker;
    char text[ADDR_TEXT_MAX];
    metric_add(&w->metrics.clients_header_error, 1);
    log_event(w->log, LOG_DEBUG, "proxy-header-bad", "client=%" PRIu64 " address=%s reason=\"%s\"",
              c->id, addr_print(&c->peer, text), why);
    client_close(c);
}

bool client_header_take(struct client *c, const void *bytes, size_t len)
{
    struct worker *w = c->worker;
    uint8_t head[PROXY_HEADER_MAX];
    struct proxy_header h;
    if (buf_append_slowly(&c->in, &w->chunks, bytes, len) != 0) {
        failure_count(w, FAILURE_MEMORY);
        client_close(c);
        return false;
    }
    size_t count = 0;
    while (count < sizeof(head) && count < c->in.len) {
        struct iovec piece;
        buf_iov(&c->in, count, &piece, 1);
        size_t n = piece.iov_len < sizeof(head) - count ? piece.iov_len : sizeof(head) - count;
        memcpy(head + count, piece.iov_base, n);
        count += n;
    }
    c->in_fed = c->in.len;
    switch (proxy_header_parse(head, count, &h)) {
    case PROXY_HEADER_MORE:
        return false;
    case PROXY_HEADER_BAD:
        give_up(c, "not a header of the PROXY protocol");
        return false;
    case PROXY_HEADER_READY:
        break;
    }
    buf_consume(&c->in, &w->chunks, h.len);
    c->in_fed = 0;
    c->header_due = false;
    list_remove(&c->header_link);
    if (h.client.family != ADDR_NONE)
        c->peer = h.client;
    client_enter(c);
    return !c->conn.source.dead;
}

void client_header_expire(struct worker *w)
{
    while (!list_empty(&w->headers)) {
        struct client *c = list_first(&w->headers, struct client, header_link);
        if (c->since + w->settings->header_timeout > worker_now(w))
            return;
        give_up(c, "none came in time");
    }
}
