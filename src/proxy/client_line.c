/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_line.h"

#include "base/nsec.h"
#include "proxy/guard.h"
#include "proxy/session.h"
#include "proxy/subscriber.h"
#include "proxy/worker_internal.h"

#include <inttypes.h>
#include <stdio.h>

struct addr client_local_addr(struct client *c)
{
    struct io *io = c->worker->loop.io;
    struct addr at = {.family = ADDR_NONE};
    if (io->ops->local_addr(io->ctx, c->conn.handle, &at) != 0)
        at = (struct addr){.family = ADDR_NONE};
    return at;
}

static const char *shown(const char *text)
{
    return text ? text : "";
}

/* As redis-server has them: b blocked, c closing, P subscriber, x in a transaction; N none of it.
 */
static void print_flags(const struct client *c, char to[8])
{
    char *at = to;
    if (subscriber_is_one(c))
        *at++ = 'P';
    if (session_queued(c) >= 0)
        *at++ = 'x';
    if (session_is_blocked(c))
        *at++ = 'b';
    if (c->closing)
        *at++ = 'c';
    if (at == to)
        *at++ = 'N';
    *at = '\0';
}

size_t client_line_print(struct client *c, char to[CLIENT_LINE_MAX])
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], flags[8];
    struct addr at = client_local_addr(c);
    uint64_t now = worker_now(c->worker);
    const struct command *last = c->last_command;
    print_flags(c, flags);
    int n =
        snprintf(to, CLIENT_LINE_MAX,
                 "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%.*s age=%" PRIu64 " idle=%" PRIu64
                 " flags=%s db=%u sub=%u psub=%u ssub=%u multi=%" PRId64
                 " qbuf=%zu qbuf-free=0 argv-mem=0 multi-mem=0"
                 " rbs=0 rbp=0 obl=%zu oll=%u omem=%" PRIu64 " tot-mem=%" PRIu64
                 " events=%s cmd=%s user=%s redir=-1 resp=%u lib-name=%.*s lib-ver=%.*s\n",
                 c->id, addr_print(&c->peer, peer), addr_print(&at, local), c->conn.handle,
                 CLIENT_NAME_SHOWN, shown(c->name), (now - c->since) / NSEC_S,
                 (now - c->last_active) / NSEC_S, flags, c->database,
                 subscriber_count(c, TOPIC_CHANNEL), subscriber_count(c, TOPIC_PATTERN),
                 subscriber_count(c, TOPIC_SHARD), session_queued(c), c->in.len, c->conn.out.len,
                 c->pending, client_owed(c), (uint64_t)client_bytes() + c->in.len + client_owed(c),
                 c->conn.blocked ? "rw" : "r", last ? last->name : "NULL", guard_user_name(c),
                 c->proto, CLIENT_LIB_MAX, shown(c->lib_name), CLIENT_LIB_MAX, shown(c->lib_ver));
    return n > 0 && n < CLIENT_LINE_MAX ? (size_t)n : 0;
}
