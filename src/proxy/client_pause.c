/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_pause.h"

#include "proxy/session.h"
#include "proxy/worker_internal.h"

/* What redis-server's flags `write` and `may_replicate` say: scripts that may write, and what is
 * told to others. */
static bool may_write(const struct client *c, const struct command *command)
{
    switch (command->id) {
    case COMMAND_ID_EVAL:
    case COMMAND_ID_EVALSHA:
    case COMMAND_ID_FCALL:
    case COMMAND_ID_PFCOUNT:
    case COMMAND_ID_PUBLISH:
    case COMMAND_ID_SPUBLISH:
    case COMMAND_ID_SCRIPT_LOAD:
        return true;
    case COMMAND_ID_EXEC:
        return c->session && c->session->transaction && c->session->transaction->writes;
    default:
        return command->flags & COMMAND_WRITE;
    }
}

void client_pause_over(struct worker *w)
{
    w->pause = (struct client_pause){0};
    timer_clear(&w->pause_timer);
    list_for_each_safe (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (!c->postponed)
            continue;
        c->postponed = false;
        client_wake(c);
    }
}

void client_pause_set(struct worker *w, uint64_t until, bool writes_only)
{
    if (until <= worker_now(w)) {
        if (w->pause.is_on && until == 0)
            client_pause_over(w);
        return;
    }
    w->pause.writes_only = writes_only && (!w->pause.is_on || w->pause.writes_only);
    w->pause.is_on = true;
    if (!timer_is_set(&w->pause_timer) || w->pause_timer.at < until)
        timer_set(&w->pause_timer, until);
}

bool client_pause_holds(struct client *c, const struct command *command)
{
    if (c->worker->pause.writes_only && !may_write(c, command))
        return false;
    c->postponed = true;
    return true;
}
