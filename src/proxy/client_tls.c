/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_tls.h"

#include "base/nsec.h"
#include "proxy/worker_internal.h"

#include <inttypes.h>

bool client_tls_begin(struct client *c)
{
    struct worker *w = c->worker;
    c->tls_due = false;
    if (w->handshakes_count >= w->handshakes_max) {
        metric_add(&w->metrics.tls_handshakes_refused, 1);
        client_close(c);
        return false;
    }
    if (tls_start(&c->conn, w->settings->client_tls, NULL, &c->in, &w->client_tls) != 0) {
        failure_count(w, FAILURE_MEMORY);
        client_close(c);
        return false;
    }
    c->last_active = worker_now(w); /* and nothing else changes it until that has ended */
    list_push_tail(&w->handshakes, &c->handshake_link);
    w->handshakes_count++;
    return true;
}

void client_tls_leave(struct client *c)
{
    if (list_empty(&c->handshake_link))
        return;
    list_remove(&c->handshake_link);
    c->worker->handshakes_count--;
}

void client_tls_opened(struct conn *conn)
{
    client_tls_leave(container_of(conn, struct client, conn));
}

void client_tls_failed(struct conn *conn, const char *why)
{
    struct client *c = container_of(conn, struct client, conn);
    char text[ADDR_TEXT_MAX];
    client_tls_leave(c);
    log_event(c->worker->log, LOG_DEBUG, "tls-handshake-failed",
              "client=%" PRIu64 " address=%s reason=\"%s\"", c->id, addr_print(&c->peer, text),
              why);
}

uint64_t client_tls_due(const struct worker *w)
{
    if (list_empty(&w->handshakes))
        return NSEC_NEVER;
    return list_first(&w->handshakes, struct client, handshake_link)->last_active +
           w->settings->connect_timeout;
}

void client_tls_expire(struct worker *w)
{
    while (client_tls_due(w) <= worker_now(w)) {
        struct client *c = list_first(&w->handshakes, struct client, handshake_link);
        metric_add(&w->metrics.tls_handshakes_failed, 1);
        client_tls_failed(&c->conn, "not done in time");
        client_close(c);
    }
}
