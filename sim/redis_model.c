/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_model.h"

#include "base/nsec.h"
#include "redis_commands.h"
#include "redis_pubsub.h"
#include "redis_sessions.h"

#include <errno.h>

enum { READ_BYTES = 64 * 1024, SIP_MAX = 4000, EARLY_AFTER = 60 };

static const struct io_socket_options NO_OPTIONS;

struct redis_model *redis_model_new(struct io *io, struct checker *checker, unsigned number,
                                    const struct addr *addr)
{
    struct redis_model *m = calloc(1, sizeof(*m));
    must(m);
    m->io = io;
    io_sim_shelter(io); /* its faults are its own */
    m->checker = checker;
    m->options = checker->options;
    m->number = number;
    m->addr = *addr;
    m->listener = -1;
    m->up_at = 0; /* it begins to listen in its first turn */
    for (unsigned i = 0; i < REDIS_MODEL_CONNECTIONS_MAX; i++)
        m->connections[i].handle = -1;
    return m;
}

static void release(struct redis_connection *c)
{
    bytes_free(&c->in);
    bytes_free(&c->out);
    bytes_free(&c->queue);
    free(c->marks);
    redis_pubsub_free(c);
    *c = (struct redis_connection){.handle = -1};
}

struct redis_model *redis_model_free(struct redis_model *m)
{
    if (!m)
        return NULL;
    for (unsigned i = 0; i < m->connection_count; i++)
        release(&m->connections[i]);
    for (unsigned class = 0; class < 4; class ++) {
        for (unsigned i = 0; i < CHECK_KEYS_MAX; i++)
            bytes_free(&m->values[class][i].bytes);
    }
    for (unsigned i = 0; i < REDIS_NOTES_MAX; i++)
        bytes_free(&m->notes[i].value);
    free(m);
    return NULL;
}

/* ---- what the proxy does at the other end ---- */

static void on_peer_read(void *owner, uint64_t total)
{
    struct redis_connection *c = owner;
    while (c->mark_count > 0 && c->marks[c->mark_head].from < total) {
        struct redis_mark *mark = &c->marks[c->mark_head];
        uint64_t to = mark->to < total ? mark->to : total;
        checker_reply_moves(c->model->checker, mark->client, mark->seq, !mark->begun,
                            to - mark->from);
        mark->begun = true;
        mark->from = to;
        if (mark->to > total)
            return;
        c->mark_head++;
        c->mark_count--;
    }
}

static void on_peer_closed(void *owner)
{
    struct redis_connection *c = owner;
    if (c->died_step == 0)
        c->died_step = c->model->checker->step + 1;
}

void redis_mark_reply(struct redis_connection *c, uint64_t from, uint64_t to, uint16_t client,
                      uint32_t seq)
{
    if (c->mark_head > 0 && c->mark_head + c->mark_count == c->mark_room) {
        memmove(c->marks, c->marks + c->mark_head, c->mark_count * sizeof(*c->marks));
        c->mark_head = 0;
    }
    if (c->mark_head + c->mark_count == c->mark_room) {
        c->mark_room = c->mark_room ? c->mark_room * 2 : 16;
        c->marks = realloc(c->marks, c->mark_room * sizeof(*c->marks));
        must(c->marks);
    }
    c->marks[c->mark_head + c->mark_count++] = (struct redis_mark){from, to, client, seq, false};
}

/* ---- what it knows ---- */

struct redis_value *redis_model_value(struct redis_model *m, const struct check_key *key)
{
    unsigned class = key->class == KEY_STRING   ? 0
                     : key->class == KEY_NUMBER ? 1
                     : key->class == KEY_LOG    ? 2
                                                : 3;
    return &m->values[class][key->number];
}

void redis_model_forget(struct redis_model *m)
{
    for (unsigned class = 0; class < 4; class ++) {
        for (unsigned i = 0; i < CHECK_KEYS_MAX; i++) {
            bytes_free(&m->values[class][i].bytes);
            m->values[class][i].exists = false;
        }
    }
    for (unsigned i = 0; i < REDIS_NOTES_MAX; i++)
        m->notes[i].name[0] = '\0';
}

/* ---- connections ---- */

/* It is about to close. From then on nobody sees what the proxy reads of what was sent to it. */
static void leave_unread(const struct redis_connection *c)
{
    for (uint32_t i = 0; i < c->mark_count; i++) {
        const struct redis_mark *mark = &c->marks[c->mark_head + i];
        if (mark->from < c->sent)
            checker_reply_unseen(c->model->checker, mark->client, mark->seq);
    }
}

static void close_connection(struct redis_connection *c)
{
    struct redis_model *m = c->model;
    leave_unread(c);
    if (c->tainted && --m->tainted_count == 0)
        m->checker->tainted_until[m->number] =
            io_sim_now(m->checker->world) + m->options->proxy.request_timeout;
    m->io->ops->close(m->io->ctx, c->handle);
    if (m->flushed_on == c->id)
        m->flushed_on = 0;
    release(c);
}

bool redis_model_kill(struct redis_model *m, const struct redis_connection *by, uint64_t id)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle < 0 || c->id != id || c == by)
            continue;
        close_connection(c);
        return true;
    }
    return false;
}

static void accept_all(struct redis_model *m)
{
    for (;;) {
        struct addr peer;
        int handle = m->io->ops->accept(m->io->ctx, m->listener, &NO_OPTIONS, &peer);
        if (handle == -ECONNABORTED)
            continue;
        if (handle < 0)
            return;
        unsigned i = 0;
        while (i < m->connection_count && m->connections[i].handle >= 0)
            i++;
        if (i == REDIS_MODEL_CONNECTIONS_MAX) {
            checker_fail(m->checker, "node %u has %u connections: the proxy leaks them", m->number,
                         i);
            m->io->ops->close(m->io->ctx, handle);
            return;
        }
        if (i == m->connection_count)
            m->connection_count++;
        struct redis_connection *c = &m->connections[i];
        *c = (struct redis_connection){.model = m,
                                       .io = m->io,
                                       .handle = handle,
                                       .id = ++m->clients_seen,
                                       .proto = 2,
                                       .readable = true};
        struct io_sim_tap tap = {
            .peer_read = on_peer_read, .peer_closed = on_peer_closed, .owner = c};
        io_sim_set_tap(m->io, handle, &tap);
        if (io_sim_is_cut(m->io, handle))
            on_peer_closed(c);
        int err = m->io->ops->watch(m->io->ctx, handle, c);
        must(err == 0);
    }
}

static void read_all(struct redis_connection *c, uint64_t now)
{
    struct redis_model *m = c->model;
    while (now >= c->read_at) {
        bool sips = now < c->sips_until;
        size_t size = sips ? (size_t)io_sim_between(m->checker->world, 1, SIP_MAX) : READ_BYTES;
        uint8_t *to = bytes_room(&c->in, size);
        ssize_t n = m->io->ops->read(m->io->ctx, c->handle, to, size);
        if (n <= 0) {
            c->readable = false;
            c->ended = n != -EAGAIN;
            return;
        }
        c->in.len += (size_t)n;
        if (sips)
            c->read_at = now + io_sim_between(m->checker->world, 50 * NSEC_US, 5 * NSEC_MS);
    }
}

/* "*3" or "$5" and CRLF at `at`. 0: not all there. */
static size_t take_header(const uint8_t *p, size_t len, size_t at, char type, uint64_t *ret,
                          bool *ret_bad)
{
    if (at >= len)
        return 0;
    if (p[at] != (uint8_t)type) {
        *ret_bad = true;
        return 0;
    }
    uint64_t value = 0;
    size_t i = at + 1;
    for (; i < len && p[i] >= '0' && p[i] <= '9' && i - at < 12; i++)
        value = value * 10 + (uint64_t)(p[i] - '0');
    if (i + 1 >= len && !(i < len && p[i] != '\r'))
        return 0;
    if (i == at + 1 || p[i] != '\r' || p[i + 1] != '\n' || (p[at + 1] == '0' && i > at + 2)) {
        *ret_bad = true;
        return 0;
    }
    *ret = value;
    return i + 2 - at;
}

size_t redis_model_parse(struct redis_model *m, const uint8_t *p, size_t len)
{
    if (len == 0)
        return 0;
    uint64_t count = 0, size = 0;
    bool bad = false;
    size_t at = take_header(p, len, 0, '*', &count, &bad);
    if (at > 0 && (count == 0 || count > REDIS_MODEL_ARGS_MAX))
        bad = true;
    for (uint64_t i = 0; at > 0 && !bad && i < count; i++) {
        size_t n = take_header(p, len, at, '$', &size, &bad);
        if (n == 0)
            at = 0;
        else if (len - at - n < size + 2)
            return 0;
        else {
            at += n;
            m->args[i] = (struct redis_arg){(const char *)p + at, (size_t)size};
            at += size;
            bad = p[at] != '\r' || p[at + 1] != '\n';
            at += 2;
        }
    }
    if (bad)
        checker_fail(m->checker, "node %u was sent what no client library writes: %.60s", m->number,
                     (const char *)p);
    m->arg_count = (uint32_t)count;
    return bad ? 0 : at;
}

/* ---- replies go out ---- */

static void send_replies(struct redis_model *m, struct redis_connection *c, uint64_t now)
{
    while (c->out.len > 0 && now >= c->send_at) {
        size_t len = c->halt_after ? c->halt_after : c->out.len;
        if (c->dripping && len > 1)
            len = 1 + rng_below(io_sim_rng(m->checker->world), len - 1);
        struct iovec iov = {bytes_at(&c->out), len};
        ssize_t n = m->io->ops->writev(m->io->ctx, c->handle, &iov, 1);
        if (n == -EAGAIN) {
            c->send_at = NSEC_NEVER; /* until IO_OUT */
            return;
        }
        if (n < 0) {
            c->ended = true;
            break;
        }
        bytes_take(&c->out, (size_t)n);
        c->sent += (uint64_t)n;
        bool halts = c->halt_after == (size_t)n;
        c->halt_after -= c->halt_after ? (size_t)n : 0;
        if (halts)
            c->send_at = now + io_sim_between(m->checker->world, NSEC_MS, 600 * NSEC_MS);
        else if (c->dripping)
            c->send_at = now + io_sim_between(m->checker->world, 50 * NSEC_US, 5 * NSEC_MS);
        else if ((size_t)n < len)
            c->send_at = NSEC_NEVER;
    }
    if (c->ended)
        c->out.head = c->out.len = c->halt_after = 0;
    if (c->out.len == 0) {
        c->dripping = false;
        c->send_at = 0;
        if (c->close_when_sent)
            c->ended = true;
    }
}

/* ---- turns ---- */

/* As a redis-server that finds a request longer than it likes, before it has come. */
static void refuse_early(struct redis_connection *c)
{
    static const char TEXT[] = "-ERR Protocol error: invalid bulk length\r\n";
    io_sim_note(c->model->checker->world, TRACE_FAULT, c->model->number, c->handle, 0, "early");
    bytes_add(&c->out, TEXT, sizeof(TEXT) - 1);
    c->written += sizeof(TEXT) - 1;
    c->sabotage = SABOTAGE_NONE;
    c->close_when_sent = true;
    c->model->checker->refused_early_at = io_sim_now(c->model->checker->world);
}

/* Looks for a whole request at the front of each connection's input. */
static void find_requests(struct redis_model *m)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle >= 0 && c->frame_len == 0 && !c->close_when_sent)
            c->frame_len = redis_model_parse(m, bytes_at(&c->in), c->in.len);
        if (c->handle >= 0 && c->sabotage == SABOTAGE_EARLY && c->frame_len == 0 &&
            c->in.len > EARLY_AFTER && !c->close_when_sent)
            refuse_early(c);
    }
}

/* Executes complete requests, drawing whose turn it is, until one takes time. */
static void execute(struct redis_model *m, uint64_t now)
{
    struct io_sim *w = m->checker->world;
    while (now >= m->busy_until && !m->checker->failed) {
        struct redis_connection *pick = NULL;
        uint32_t count = 0;
        find_requests(m);
        for (unsigned i = 0; i < m->connection_count; i++) {
            struct redis_connection *c = &m->connections[i];
            if (c->handle < 0 || c->close_when_sent || c->waits)
                continue;
            if (c->frame_len > 0 && rng_below(io_sim_rng(w), ++count) == 0)
                pick = c;
        }
        if (!pick)
            break;
        size_t len = redis_model_parse(m, bytes_at(&pick->in), pick->in.len);
        redis_execute(m, pick, now);
        redis_sessions_serve(m);
        bytes_take(&pick->in, len);
        pick->frame_len = 0;
        m->executed++;
        if (io_sim_chance(w, m->options->drip_chance))
            pick->dripping = true;
        uint64_t cost =
            io_sim_chance(w, m->options->slow_chance)
                ? m->options->slow_cost
                : io_sim_between(w, m->options->node_cost_min, m->options->node_cost_max);
        m->busy_until = now + cost;
    }
    find_requests(m); /* so that next_moment() knows there is more to do */
}

static void begin_to_listen(struct redis_model *m)
{
    m->listener = m->io->ops->listen(m->io->ctx, &m->addr, 128);
    must(m->listener >= 0);
    int err = m->io->ops->watch(m->io->ctx, m->listener, m);
    must(err == 0);
    m->up_at = NSEC_NEVER;
    io_sim_note(m->checker->world, TRACE_FAULT, m->number, 0, 0, "node is up");
}

static uint64_t next_moment(struct redis_model *m, uint64_t now)
{
    uint64_t next = m->up_at;
    for (unsigned i = 0; i < m->connection_count; i++) {
        const struct redis_connection *c = &m->connections[i];
        if (c->handle < 0)
            continue;
        if (c->frame_len > 0 && !c->close_when_sent && !c->waits)
            next = nsec_min(next, m->busy_until);
        if (c->waits)
            next = nsec_min(next, c->waits_until);
        if (c->out.len > 0)
            next = nsec_min(next, c->send_at);
        if (c->readable)
            next = nsec_min(next, c->read_at);
    }
    return next > now ? next : now;
}

void redis_model_turn(struct redis_model *m)
{
    uint64_t now = io_now(m->io);
    struct io_event events[16];
    uint64_t next = next_moment(m, now);
    int n = m->io->ops->wait(m->io->ctx, events, 16, next == NSEC_NEVER ? next : next - now);
    if (m->listener < 0 && now >= m->up_at)
        begin_to_listen(m);
    for (int i = 0; i < n; i++) {
        if (events[i].tag == m) {
            accept_all(m);
            continue;
        }
        struct redis_connection *c = events[i].tag;
        if (events[i].ready & IO_OUT && c->send_at == NSEC_NEVER)
            c->send_at = 0;
        if (events[i].ready & (IO_IN | IO_HUP))
            c->readable = true;
    }
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle >= 0 && c->readable)
            read_all(c, now);
    }
    redis_sessions_expire(m, now);
    execute(m, now);
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle < 0)
            continue;
        send_replies(m, c, now);
        /* What came before the end is executed, as by a redis-server that reads it in one go. */
        if (c->ended && (c->frame_len == 0 || c->close_when_sent))
            close_connection(c);
    }
}

/* ---- faults ---- */

void redis_model_crash(struct redis_model *m, uint64_t up_at, bool lose_memory,
                       uint64_t loading_until)
{
    io_sim_note(m->checker->world, TRACE_FAULT, m->number, (int64_t)up_at, lose_memory, "crash");
    if (m->listener >= 0)
        m->io->ops->close(m->io->ctx, m->listener);
    m->listener = -1;
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle < 0)
            continue;
        io_sim_reset(m->checker->world, c->handle);
        close_connection(c);
    }
    if (lose_memory) {
        redis_model_forget(m);
        m->life++;
        m->flushed_on = m->lock_slipped_at = 0;
        m->clients_seen = 0;
    }
    m->up_at = up_at;
    m->busy_until = 0;
    m->loading_until = loading_until;
    m->io->ops->wake(m->io->ctx);
}

static void speak_out_of_turn(struct redis_model *m, struct redis_connection *c)
{
    uint64_t now = io_sim_now(m->checker->world);
    if (!c->tainted)
        m->tainted_count++;
    c->tainted = true;
    if (m->checker->tainted_from[m->number] == 0)
        m->checker->tainted_from[m->number] = now;
    m->checker->tainted_until[m->number] = NSEC_NEVER;
    bytes_add(&c->out, "+OK\r\n", 5);
    c->written += 5;
    m->io->ops->wake(m->io->ctx);
}

static struct redis_connection *draw_connection(struct redis_model *m)
{
    struct redis_connection *pick = NULL;
    uint32_t count = 0;
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle >= 0 && !c->ended && !c->sabotage &&
            rng_below(io_sim_rng(m->checker->world), ++count) == 0)
            pick = c;
    }
    return pick;
}

void redis_model_sip(struct redis_model *m, uint64_t until)
{
    struct redis_connection *c = draw_connection(m);
    if (c)
        c->sips_until = until;
}

bool redis_model_sabotage(struct redis_model *m, enum redis_sabotage what)
{
    struct io_sim *w = m->checker->world;
    struct redis_connection *pick = draw_connection(m);
    if (!pick)
        return false;
    io_sim_note(w, TRACE_FAULT, m->number, pick->handle, what, "sabotage");
    if (what == SABOTAGE_STRAY)
        speak_out_of_turn(m, pick);
    else
        pick->sabotage = (uint8_t)what;
    return true;
}

void redis_model_heal(struct redis_model *m)
{
    uint64_t now = io_sim_now(m->checker->world);
    m->loading_until = m->out_of_memory_until = 0;
    if (m->listener < 0)
        m->up_at = now;
    for (unsigned i = 0; i < m->connection_count; i++) {
        m->connections[i].sabotage = SABOTAGE_NONE;
        m->connections[i].sips_until = 0;
    }
    m->io->ops->wake(m->io->ctx);
}
