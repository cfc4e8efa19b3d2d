/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the client model that knows the time: until when the proxy must have answered, read
 * on, or closed, and what it may not be blamed for. */
#include "client_model.h"

#include "base/nsec.h"

#include <inttypes.h>

enum {
    OUTPUT_PAUSE = 256 * 1024, /* the proxy reads no further while it owes a client more */
    LOG_LEN_MAX = 256 * 1024,  /* how long what is appended to may become, about */
};

static struct check_command *command(const struct client_model *m, uint32_t seq)
{
    return &m->checker->clients[m->number].commands[seq];
}

/* ---- what the proxy may not be blamed for ---- */

/* What replies to the commands from `first` on up to `seq` may make up at most. */
static uint64_t owed_at_most(const struct client_model *m, uint32_t first, uint32_t seq)
{
    uint64_t sum = 0;
    for (uint32_t i = first; i < seq; i++) {
        const struct check_command *c = command(m, i);
        sum += 512; /* errors, headers, HELLO */
        if (c->kind == CHECK_ECHO_LARGE)
            sum += (uint64_t)c->argument;
        for (uint32_t k = 0; k < c->part_count && (c->kind == CHECK_GET || c->kind == CHECK_MGET ||
                                                   c->kind == CHECK_EXEC_GET);
             k++)
            sum += c->parts[k].key.class == KEY_STRING ? m->options->value_max
                   : c->parts[k].key.class == KEY_LOG  ? LOG_LEN_MAX
                                                       : 64;
    }
    return sum;
}

/* May a value that is not the next one owed be left at its node until it is? Then there are limits
 * that all values which may be under way do not fit. */
static bool budgets_are_tight(const struct sim_options *o)
{
    const struct proxy_settings *p = &o->proxy;
    uint64_t one = (uint64_t)(o->value_max > 1000 ? o->value_max : 1000) * o->pipeline_max;
    return one > p->client_output_max || one * o->clients > p->memory_max / o->workers / 2;
}

/* The database of a key is its number modulo how many there are (options.h). */
static bool databases_differ(const struct client_model *m, const struct check_command *a,
                             const struct check_command *b)
{
    uint32_t databases = m->options->proxy.databases;
    return a->parts[0].key.number % databases != b->parts[0].key.number % databases;
}

/*
 * A client's own order: while it has an earlier request to a node unanswered, a later one that
 * would go on another upstream of that node is held, and its time begins when that one is answered
 * or has timed out.
 */
static uint64_t held_until(const struct client_model *m, uint32_t seq)
{
    const struct check_command *c = command(m, seq);
    bool mixed = checker_lanes_mix(m->checker);
    uint64_t until = 0;
    if (check_kind_is_of_all((enum check_kind)c->kind) && seq > m->s.first)
        return command(m, seq - 1)->answered_at;
    if (mixed && c->part_count > 0 && seq > m->s.first && budgets_are_tight(m->options))
        return command(m, seq - 1)->answered_at;
    for (uint32_t i = seq; i-- > m->s.first && command(m, i)->answered_at > c->read_at;) {
        const struct check_command *a = command(m, i);
        uint64_t decided = nsec_min(a->answered_at, a->due);
        if (check_is_private(a) && a->answered_at > until)
            until = a->answered_at; /* nothing behind it is looked at before */
        if (decided <= until || a->part_count == 0 || c->part_count == 0)
            continue;
        bool apart = mixed || a->proto != c->proto || databases_differ(m, a, c) ||
                     check_is_private(a) || check_is_private(c);
        if (apart && checker_share_node(m->checker, a, c))
            until = decided;
    }
    return until;
}

/*
 * When the answer to a command is due. What is the client's own doing does not count against the
 * proxy: more than client_pending_max under way, a change of the RESP version with commands under
 * way, replies it does not read.
 */
static uint64_t due_after(const struct client_model *m, uint32_t seq, uint64_t floor)
{
    const struct proxy_settings *p = &m->options->proxy;
    const struct check_command *c = command(m, seq);
    uint64_t due = checker_due(m->checker, c, floor);
    uint64_t blocked_from, blocked_until;
    io_sim_peer_blocked(m->io, m->s.handle, &blocked_from, &blocked_until);
    if (blocked_until == NSEC_NEVER)
        return NSEC_NEVER;
    if (blocked_until + p->request_timeout > due && blocked_until >= c->read_at)
        due = blocked_until + p->request_timeout + 2 * m->options->pause_max;
    /* While its client takes nothing a reply is not read on; from then on it may stall. */
    uint64_t stalled = blocked_until + p->stall_timeout + 2 * m->options->pause_max + NSEC_MS;
    if (c->reply_began_at != 0 && blocked_until >= c->reply_moved_at && stalled > due)
        due = stalled;
    uint64_t before = seq > m->s.first ? command(m, seq - 1)->answered_at : 0;
    return due > before ? due : before;
}

/* What comes behind a command for all nodes is not looked at before that is answered. */
static uint64_t alone_until(const struct client_model *m, uint32_t seq, uint64_t floor)
{
    uint64_t read_at = command(m, seq)->read_at;
    const struct sim_options *o = m->options;
    for (uint32_t i = seq; i-- > m->s.first && (o->flush_chance > 0 || o->all_chance > 0);) {
        const struct check_command *c = command(m, i);
        if (c->answered_at <= read_at || c->answered_at <= floor)
            break;
        if (check_kind_is_of_all((enum check_kind)c->kind))
            return c->answered_at;
    }
    return floor;
}

uint64_t client_model_due(const struct client_model *m, uint32_t seq)
{
    const struct proxy_settings *p = &m->options->proxy;
    uint64_t floor = 0;
    /* The proxy takes no more while it owes a client much. */
    bool last_counts =
        seq > m->s.first && owed_at_most(m, m->s.first + m->s.received, seq) > OUTPUT_PAUSE;
    uint32_t back = last_counts ? 1 : p->client_pending_max;
    if (seq - m->s.first >= back)
        floor = command(m, seq - back)->answered_at;
    floor = alone_until(m, seq, floor);
    uint64_t due = due_after(m, seq, floor);
    if (io_now(m->io) <= due)
        return due;
    uint64_t held = held_until(m, seq); /* dear to find out, so only if it matters */
    return held > floor ? due_after(m, seq, held) : due;
}

/* ---- checks ---- */

/* It has got nothing for as long as a client may be deaf: is it still there? */
static void check_stalled(struct client_model *m, uint64_t late)
{
    const struct client_session *s = &m->s;
    uint64_t from, until;
    io_sim_peer_blocked(m->io, s->handle, &from, &until);
    if (until != NSEC_NEVER)
        return;
    from = from > s->heard_at ? from : s->heard_at;
    if (io_now(m->io) > from + m->options->proxy.client_stall_timeout + late)
        checker_fail(m->checker,
                     "stalled: client %u has taken nothing since %.3f ms and is not closed",
                     m->number, (double)from / 1e6);
}

/* All it asked is answered, and it takes what it gets. Then the proxy reads what has come from it,
 * or closes when it has said that this is the end. */
static void check_heard(struct client_model *m, uint64_t late)
{
    struct client_session *s = &m->s;
    const struct proxy_settings *p = &m->options->proxy;
    uint64_t from, since;
    io_sim_peer_blocked(m->io, s->handle, &from, &since);
    uint64_t waiting = io_sim_waiting(m->io, s->handle);
    if (waiting == 0 || since == NSEC_NEVER || m->draining || s->taken_at == 0) {
        s->nothing_since = io_now(m->io);
        return;
    }
    uint64_t moments[] = {s->taken_at, s->heard_at, s->nothing_since};
    for (unsigned i = 0; i < sizeof(moments) / sizeof(moments[0]); i++)
        since = since > moments[i] ? since : moments[i];
    /* A node may not take what is being sent on to it, until it is given up. */
    uint64_t limit = p->request_timeout + p->stall_timeout + p->connect_timeout + late;
    if (io_now(m->io) > since + limit)
        checker_fail(m->checker,
                     "deaf: %" PRIu64 " bytes or the end of client %u are not read since %.3f ms",
                     waiting, m->number, (double)since / 1e6);
}

void client_model_check(struct client_model *m)
{
    struct client_session *s = &m->s;
    const struct sim_options *o = m->options;
    if (m->state != MODEL_OPEN || io_sim_is_cut(m->io, s->handle))
        return;
    uint64_t late = 2 * o->pause_max + NSEC_MS; /* how late a worker may be */
    check_stalled(m, late);
    if (s->judged >= s->read_by_proxy) {
        check_heard(m, late);
        return;
    }
    s->nothing_since = io_now(m->io);
    uint32_t seq = s->first + s->judged;
    uint64_t due = client_model_due(m, seq);
    if (io_now(m->io) > due)
        checker_fail(m->checker,
                     "late: client %u command %" PRIu32 " was read at %.3f ms, due at "
                     "%.3f ms, and is not answered",
                     m->number, seq, (double)command(m, seq)->read_at / 1e6, (double)due / 1e6);
}
