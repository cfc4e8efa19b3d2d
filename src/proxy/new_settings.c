/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/new_settings.h"

#include "base/nsec.h"
#include "proxy/guard.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"

#include <inttypes.h>

enum {
    /* As redis-server has it: an AUTH or HELLO needs no more. */
    STRANGER_BULK_MAX = 16384,
    STRANGER_ELEMENTS_MAX = 10,
};

void settings_fill_limits(struct worker *w)
{
    const struct proxy_settings *s = w->settings;
    w->request_limits = (struct frame_limits){
        .bulk_max = s->value_max, .elements_max = s->elements_max, .line_max = FRAME_LINE_MAX};
    w->stranger_limits = w->request_limits;
    w->stranger_limits.bulk_max = nsec_min(STRANGER_BULK_MAX, s->value_max);
    w->stranger_limits.elements_max =
        s->elements_max < STRANGER_ELEMENTS_MAX ? s->elements_max : STRANGER_ELEMENTS_MAX;
    w->stranger_limits.stranger = true;
    w->reply_limits = w->request_limits;
    w->reply_limits.depth_max = FRAME_DEPTH_MAX;
    w->client_options = (struct io_socket_options){s->tcp_keepalive, s->tcp_user_timeout};
    w->node_options = w->client_options;
    /* Each worker gets its share, at least 1. */
    w->node_requests_max = s->node_requests_max / w->count;
    w->node_bytes_max = s->node_bytes_max / w->count;
    if (w->node_requests_max == 0)
        w->node_requests_max = 1;
    w->private_max = (s->private_max + w->count - 1) / w->count;
    w->handshakes_max = (s->handshakes_max + w->count - 1) / w->count;
}

/* ---- what points into the old settings ---- */

/* A row like the operator's own: a write, no miss, keys that have been found already. It stands for
 * one that commands.unknown does not name any more, while the last requests of it are under way. */
static const struct command FORMER = {.name = "(unknown)",
                                      .id = COMMAND_ID_COUNT,
                                      .arity = -1,
                                      .way = COMMAND_FORWARD,
                                      .keys = KEYS_NONE,
                                      .miss = MISS_NEVER,
                                      .flags = COMMAND_WRITE};

static const struct command *same(const struct worker *w, const struct command *old)
{
    if (!old || old->id != COMMAND_ID_COUNT)
        return old;
    const struct command *now = command_rules_find_name(&w->settings->commands, str_of(old->name));
    return now && now->id == COMMAND_ID_COUNT ? now : &FORMER;
}

/* What is queued behind MULTI is looked at again at EXEC, by its command: where that is gone, EXEC
 * is refused. */
static void let_go_of_queued(const struct worker *w, struct session *s)
{
    struct transaction *t = s->transaction;
    for (uint32_t i = 0; t && i < t->count; i++) {
        t->queue[i].command = same(w, t->queue[i].command);
        s->aborted = s->aborted || t->queue[i].command == &FORMER;
    }
}

static void let_go_of_commands(struct worker *w, const struct proxy_settings *was)
{
    if (command_rules_added(&was->commands) == 0)
        return;
    list_for_each (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        c->last_command = same(w, c->last_command);
        if (c->session)
            let_go_of_queued(w, c->session);
        list_for_each (of, &c->requests) {
            struct request *r = list_item(of, struct request, link);
            r->command = same(w, r->command);
        }
    }
}

/* As redis-server does with those of ACL DELUSER: what they have under way is theirs no more. */
static void review_users(struct worker *w)
{
    uint64_t closed = 0;
    list_for_each_safe (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (guard_renew(c))
            continue;
        client_close(c);
        closed++;
    }
    if (closed == 0)
        return;
    metric_add(&w->metrics.clients_user_gone, closed);
    log_event(w->log, LOG_INFO, "clients-user-gone", "worker=%u clients=%" PRIu64, w->index,
              closed);
}

/* ---- the rest ---- */

/* The list of idle clients exists only with a time-out. Made anew it is in the order of connecting,
 * so the first closes may come late, by as much as the time-out. */
static void review_idle(struct worker *w, bool was_on)
{
    bool is_on = w->settings->client_idle_timeout > 0;
    if (was_on == is_on)
        return;
    list_for_each (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        list_remove(&c->idle_link);
        if (is_on)
            list_push_tail(&w->idle, &c->idle_link);
    }
}

void settings_adopt(struct worker *w, const struct proxy_settings *s)
{
    const struct proxy_settings *was = w->settings;
    outcomes_turn_over(w, &w->run); /* counted by a command that may be gone */
    w->settings = s;
    settings_fill_limits(w);
    for (unsigned i = 0; i < w->listener_count; i++)
        w->listeners[i].options = w->client_options;
    chunk_pool_set_limit(&w->chunks, s->memory_max / w->count);
    w->pace.rest_max = s->gather_window;
    w->pace.share = s->gather_share;
    let_go_of_commands(w, was);
    review_users(w);
    review_idle(w, was->client_idle_timeout > 0);
}
