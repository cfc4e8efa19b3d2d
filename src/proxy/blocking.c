/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/blocking.h"

#include "proxy/private.h"
#include "proxy/session.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void blocking_start(struct client *c, const struct command *command, uint32_t node, bool with_keys,
                    uint64_t block_time, struct buf *from)
{
    struct worker *w = c->worker;
    struct session *s = session_open(c);
    int err = s ? 0 : -ENOMEM;
    if (!err && with_keys)
        err = session_add_keys(w, &s->waited);
    if (err) {
        if (s) {
            s->waited.count = 0;
            session_end_if_over(c);
        }
        if (err == -E2BIG)
            session_say_limit(c);
        else
            session_say_failure(c, FAILURE_MEMORY, NULL);
        return;
    }
    struct request *r = request_new(c, command, w->args.count);
    if (!r) {
        client_close(c);
        return;
    }
    memcpy(s->wait_node, w->upstreams.nodes[node]->name, sizeof(s->wait_node));
    session_wait_for(s, r);
    s->blocking = true;
    metric_add(&w->metrics.clients_blocked, 1);
    pace_client_served(&w->pace); /* it waits for others, not for us */
    struct part *p = session_new_part(r, node, w->args.frame_len);
    if (!p)
        return;
    p->blocks = true;
    p->block_time = block_time;
    session_forward(r, p, from);
}

/* ---- CLIENT UNBLOCK ---- */

/* To another worker and back. */
struct unblock_message {
    struct message message;
    struct worker *from;    /* loan: workers outlive the messages between them */
    uint64_t asker, number; /* the client that asked, and which of its requests that is */
    uint64_t id;            /* of the client that is to be unblocked */
    bool kick, was_blocked;
};

static struct client *find_client(struct worker *w, uint64_t id)
{
    list_for_each (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (c->id == id)
            return c;
    }
    return NULL;
}

/* → was it blocked? */
static bool unblock(struct worker *w, uint64_t id, bool kick)
{
    struct client *c = find_client(w, id);
    struct part *p = c && session_is_blocked(c) ? request_part(c->session->current) : NULL;
    if (!p)
        return false;
    private_unblock(p, kick);
    return true;
}

static void write_answer(struct request *r, bool was_blocked)
{
    struct reply_out o = request_reply(r);
    reply_int(&o, was_blocked);
    if (o.err)
        client_close(r->client);
    else
        request_finish(r);
}

static void deliver_answer(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    struct unblock_message *u = container_of(m, struct unblock_message, message);
    struct client *c = w->draining ? NULL : find_client(w, u->asker);
    if (c) {
        list_for_each (link, &c->requests) {
            struct request *r = list_item(link, struct request, link);
            if (r->done || !r->command || r->command->id != COMMAND_ID_CLIENT_UNBLOCK ||
                r->arg_count != u->number)
                continue;
            write_answer(r, u->was_blocked);
            break;
        }
    }
    free(u);
}

static void deliver_unblock(struct message *m, void *receiver)
{
    struct worker *w = receiver;
    struct unblock_message *u = container_of(m, struct unblock_message, message);
    if (w->draining) { /* all do, and those who ask will not hear the answer */
        free(u);
        return;
    }
    u->was_blocked = unblock(w, u->id, u->kick);
    u->message.deliver = deliver_answer;
    mailbox_post(&u->from->mailbox, &u->message);
}

/* Which of the workers has the client follows from its id: see client_new(). */
static void ask_worker(struct client *c, const struct command *command, uint64_t id, bool kick)
{
    struct worker *w = c->worker;
    struct worker *of = w->all_count > 1 ? w->all[id % w->all_count] : w;
    struct request *r = request_new(c, command, ++w->last_unblock);
    if (!r) {
        client_close(c);
        return;
    }
    if (of == w) {
        write_answer(r, unblock(w, id, kick));
        return;
    }
    struct unblock_message *u = malloc(sizeof(*u));
    if (!u) {
        request_fail(r, FAILURE_MEMORY, NULL);
        return;
    }
    *u = (struct unblock_message){.message.deliver = deliver_unblock,
                                  .from = w,
                                  .asker = c->id,
                                  .number = r->arg_count,
                                  .id = id,
                                  .kick = kick};
    mailbox_post(&of->mailbox, &u->message);
}

void blocking_answer_unblock(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    int64_t id;
    bool kick = false;
    if (w->args.count > 4) {
        session_say(c, "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try "
                       "CLIENT HELP.");
        return;
    }
    if (w->args.count == 4) {
        kick = str_eq_nocase(args_str(&w->args, 3), STR("error"));
        if (!kick && !str_eq_nocase(args_str(&w->args, 3), STR("timeout"))) {
            session_say(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (str_to_i64(args_str(&w->args, 2), &id) != 0)
        session_say(c, "ERR value is not an integer or out of range");
    else
        ask_worker(c, command, (uint64_t)id, kick);
}
