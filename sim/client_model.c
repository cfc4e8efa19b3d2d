/* SPDX-License-Identifier: Apache-2.0 */
#include "client_model.h"

#include "base/nsec.h"
#include "workload.h"

#include <errno.h>
#include <inttypes.h>

enum {
    READ_BYTES = 64 * 1024,
};

static const struct io_socket_options NO_OPTIONS;

static uint64_t between(const struct client_model *m, uint64_t low, uint64_t high)
{
    return io_sim_between(m->checker->world, low, high);
}

struct client_model *client_model_new(struct io *io, struct checker *checker, unsigned number,
                                      const struct addr *proxy)
{
    struct client_model *m = calloc(1, sizeof(*m));
    must(m);
    m->scratch = malloc(READ_BYTES);
    must(m->scratch);
    m->io = io;
    m->checker = checker;
    m->options = checker->options;
    m->number = number;
    m->proxy = *proxy;
    m->s.handle = -1;
    m->state = MODEL_FINISHED;
    if (number < SIM_CLIENTS_MAX) {
        m->state = MODEL_WAITING;
        m->sessions_left = 1 + (uint32_t)between(m, 0, m->options->sessions - 1);
        m->commands_left = m->options->commands;
        m->start_at = io_now(io) + between(m, 0, 20 * NSEC_MS);
    }
    return m;
}

struct client_model *client_model_free(struct client_model *m)
{
    if (!m)
        return NULL;
    bytes_free(&m->s.out);
    bytes_free(&m->s.heard);
    free(m->scratch);
    free(m);
    return NULL;
}

void client_model_begin_strict(struct client_model *m, uint32_t sessions, uint32_t commands)
{
    must(m->state == MODEL_FINISHED);
    m->strict = true;
    m->state = MODEL_WAITING;
    m->sessions_left = sessions;
    m->commands_left = sessions * commands;
    m->start_at = io_now(m->io);
    m->io->ops->wake(m->io->ctx);
}

/* ---- records ---- */

struct check_command *client_model_add(struct client_model *m, enum check_kind kind, uint32_t parts,
                                       uint32_t *ret_seq)
{
    struct check_command *c = checker_command(m->checker, m->number, kind, parts, ret_seq);
    c->begin_offset = m->s.queued;
    m->s.queued -= m->s.out.len; /* client_model_added() adds what `out` holds then */
    return c;
}

void client_model_added(struct client_model *m, struct check_command *c)
{
    m->s.queued += m->s.out.len;
    c->end_offset = m->s.queued;
    c->process = m->s.process;
    c->session = m->session;
    c->proto = m->s.proto;
    c->errors = m->s.errors;
    c->strict = m->strict;
    c->sent_at = io_now(m->io);
    m->s.generated++;
}

void client_model_may_stop(struct client_model *m, const struct check_command *c)
{
    struct client_session *s = &m->s;
    const struct proxy_settings *p = &m->options->proxy;
    if (m->strict || s->stop_at != UINT64_MAX ||
        !io_sim_chance(m->checker->world, m->options->body_stop))
        return;
    s->stop_at = between(m, c->begin_offset + 1, c->end_offset - 1);
    bool long_one = between(m, 0, 1);
    s->stop_for = between(m, 1, long_one ? 2 * p->client_stall_timeout : 2 * p->stall_timeout);
    s->stop = between(m, 0, 1) ? STOP_GO_ON : (uint8_t)between(m, STOP_GO_ON, STOP_KINDS - 1);
}

static struct check_command *command(const struct client_model *m, uint32_t seq)
{
    return &m->checker->clients[m->number].commands[seq];
}

/* ---- what the proxy does at the other end ---- */

/* The proxy has had nothing to read since dry_since. If it is in the middle of a command, that is
 * the client's fault. */
static void note_idle(struct client_model *m)
{
    struct client_session *s = &m->s;
    if (s->read_by_proxy == s->generated)
        return;
    struct check_command *c = command(m, s->first + s->read_by_proxy);
    uint64_t idle = io_now(m->io) - s->dry_since;
    if (c->begun_at != 0 && idle > c->idle)
        c->idle = idle;
}

static void take_answer(struct client_model *m, const struct answer *a, uint64_t end)
{
    struct client_session *s = &m->s;
    uint32_t seq = s->first + s->judged;
    static const char FULL[] = "ERR max number of clients reached";
    if (s->judged == 0 && s->read_by_proxy == 0 && m->options->closes && a->top.type == '-' &&
        a->top.len == sizeof(FULL) - 1 && memcmp(a->top.text, FULL, a->top.len) == 0)
        return; /* refused at the door, whatever it was about to say */
    static const char NO_MEMORY[] = "ERR sumcache: out of buffer memory";
    bool unread = s->judged == s->generated || command(m, seq)->read_at == 0;
    if (s->dry_since != 0)
        note_idle(m);
    bool short_of_memory =
        m->options->tight || m->options->starved; /* this also at the inspection */
    if (unread && short_of_memory && a->top.type == '-' && a->top.len >= sizeof(NO_MEMORY) - 1 &&
        memcmp(a->top.text, NO_MEMORY, sizeof(NO_MEMORY) - 1) == 0)
        return; /* it read more than it can keep, says so, and closes */
    if (s->judged == s->generated) {
        checker_fail(m->checker, "client %u got a reply nobody asked for: %c%.*s", m->number,
                     a->top.type, a->top.len > 60 ? 60 : (int)a->top.len, a->top.text);
        return;
    }
    struct check_command *c = command(m, seq);
    bool gave_up = c->begun_at != 0 && a->top.type == '-' && checker_stopped_inside(m->checker, c);
    if (c->read_at == 0 && c->kind != CHECK_MALFORMED && !gave_up) {
        checker_fail(m->checker,
                     "client %u command %" PRIu32 " was answered before it was read: "
                     "%c%.*s",
                     m->number, seq, a->top.type, a->top.len > 60 ? 60 : (int)a->top.len,
                     a->top.text);
        return;
    }
    uint64_t due = client_model_due(m, seq), now = io_now(m->io);
    if (now > due)
        checker_fail(m->checker,
                     "late: client %u command %" PRIu32 " was read at %.3f ms, due at "
                     "%.3f ms, and answered at %.3f ms",
                     m->number, seq, (double)c->read_at / 1e6, (double)due / 1e6,
                     (double)now / 1e6);
    c->due = due;
    c->vague = s->vague;
    checker_judge(m->checker, m->number, seq, a);
    if (a->top.type == '-' &&
        (c->kind == CHECK_HELLO || c->kind == CHECK_FAILURES || c->kind == CHECK_QUIT))
        s->vague = true;
    c->reply_end = end;
    s->judged++;
}

static void on_peer_wrote(void *owner, const uint8_t *bytes, size_t len, uint64_t total)
{
    struct client_model *m = owner;
    struct client_session *s = &m->s;
    bytes_add(&s->heard, bytes, len);
    s->heard_total = total;
    s->heard_at = io_now(m->io);
    while (s->heard.len > 0 && s->heard.len >= s->heard_need && !m->checker->failed) {
        struct answer a;
        size_t used = 0, need = 0;
        enum answer_result result =
            answer_parse(bytes_at(&s->heard), s->heard.len, &a, &used, &need);
        if (result == ANSWER_MORE) {
            s->heard_need = need;
            return;
        }
        if (result == ANSWER_BAD) {
            checker_fail(m->checker, "client %u command %" PRIu32 " got what is no reply: %.60s",
                         m->number, s->first + s->judged, (const char *)bytes_at(&s->heard));
            return;
        }
        s->heard_need = 0;
        take_answer(m, &a, total - (s->heard.len - used));
        bytes_take(&s->heard, used);
    }
}

static void on_peer_read(void *owner, uint64_t total)
{
    struct client_model *m = owner;
    struct client_session *s = &m->s;
    s->taken_at = io_now(m->io);
    s->dry_since = total == s->queued - s->out.len ? s->taken_at : 0;
    for (; s->read_by_proxy < s->generated; s->read_by_proxy++) {
        struct check_command *c = command(m, s->first + s->read_by_proxy);
        if (c->begun_at == 0 && c->begin_offset < total)
            c->begun_at = s->taken_at;
        if (c->end_offset > total)
            return;
        c->read_at = s->taken_at;
    }
}

/* ---- a session's beginning and end ---- */

static void begin_session(struct client_model *m)
{
    const struct sim_options *o = m->options;
    struct io_sim *w = m->checker->world;
    struct bytes out = m->s.out, heard = m->s.heard;
    out.head = out.len = heard.head = heard.len = 0;
    m->s = (struct client_session){.out = out, .heard = heard, .proto = 2, .stop_at = UINT64_MAX};
    struct client_session *s = &m->s;
    s->first = m->checker->clients[m->number].count;
    s->errors = o->proxy.reads == ON_FAILURE_ERROR;
    s->budget = m->commands_left / m->sessions_left;
    m->commands_left -= s->budget;
    m->sessions_left--;
    s->depth = (uint32_t)between(m, 0, 2) ? (uint32_t)between(m, 1, o->pipeline_max) : 1;
    if (!m->strict) {
        s->piecewise = io_sim_chance(w, o->piecewise);
        s->slow = io_sim_chance(w, o->slow_reader);
        if (s->slow && between(m, 0, 1)) /* it begins to read when it is too late, perhaps */
            s->read_at = io_now(m->io) + between(m, 0, 2 * NSEC_S);
        if (io_sim_chance(w, o->odd_ends))
            s->end = (uint8_t)between(m, END_CLEAN, END_KINDS - 1);
    }
    s->may_be_closed = o->closes || o->starved || s->slow || o->proxy.client_idle_timeout > 0;
    s->handle = m->io->ops->connect(m->io->ctx, &m->proxy, &NO_OPTIONS);
    if (s->handle < 0) { /* the weather: once more, later */
        m->sessions_left++;
        m->commands_left += s->budget;
        m->start_at = io_now(m->io) + NSEC_MS;
        return;
    }
    struct io_sim_tap tap = {.peer_wrote = on_peer_wrote, .peer_read = on_peer_read, .owner = m};
    io_sim_set_tap(m->io, s->handle, &tap);
    int err = m->io->ops->watch(m->io->ctx, s->handle, m);
    must(err == 0);
    m->state = MODEL_CONNECTING;
    m->session++;
    io_sim_note(w, TRACE_SESSION, m->number, s->handle, s->end, NULL);
}

static void end_session(struct client_model *m)
{
    m->io->ops->close(m->io->ctx, m->s.handle);
    m->s.handle = -1;
    /* The inspector waits until the proxy has seen it go: limits.clients may be 1. */
    m->start_at = io_now(m->io) + between(m, 0, 5 * NSEC_MS) + (m->strict ? 50 * NSEC_MS : 0);
    m->state = m->sessions_left > 0 ? MODEL_WAITING : MODEL_FINISHED;
    if (m->state == MODEL_FINISHED)
        m->start_at = NSEC_NEVER;
}

/* A large reply of which it got the beginning broke off: then there is nothing else to do. */
static bool reply_was_cut(const struct client_model *m)
{
    const struct client_session *s = &m->s;
    if (s->judged == s->generated || s->heard.len == 0)
        return false;
    uint32_t seq = s->first + s->judged;
    uint64_t len = s->heard.len > s->heard_need ? s->heard.len : s->heard_need;
    const struct check_command *c = command(m, seq);
    for (uint32_t i = 0; i < c->part_count && c->kind == CHECK_MGET; i++)
        len += c->parts[i].len;
    return c->part_count > 0 && len > m->options->proxy.bulk_above &&
           checker_may_fail(m->checker, m->number, seq);
}

/* The proxy has closed the connection, or it was cut. */
static void was_closed(struct client_model *m, int err)
{
    struct client_session *s = &m->s;
    bool at_the_door = s->read_by_proxy == 0 && m->options->weather.accept_abort_chance > 0;
    bool asked_for = s->shut || s->cut || m->draining || at_the_door ||
                     (s->last_words && s->judged == s->generated &&
                      (s->end == END_QUIT || s->end == END_MALFORMED));
    if (!asked_for) {
        m->closed_for_limits++;
        if (!s->may_be_closed && !reply_was_cut(m))
            checker_fail(m->checker,
                         "client %u was closed without a reason (%d), %u of %u answered", m->number,
                         err, s->judged, s->generated);
    }
    if (s->last_words && s->end == END_QUIT && !s->cut && !m->draining && !s->may_be_closed &&
        s->heard.len > 0 && !reply_was_cut(m))
        checker_fail(m->checker, "client %u was closed inside a reply", m->number);
    end_session(m);
}

/* ---- turns ---- */

static void receive(struct client_model *m, uint64_t now)
{
    struct client_session *s = &m->s;
    while (s->readable && now >= s->read_at) {
        size_t size = s->slow ? (size_t)between(m, 1, 4000) : READ_BYTES;
        ssize_t n = m->io->ops->read(m->io->ctx, s->handle, m->scratch, size);
        if (n == -EAGAIN) {
            s->readable = false;
            break;
        }
        if (n <= 0) {
            was_closed(m, (int)n);
            return;
        }
        s->consumed += (uint64_t)n;
        if (s->slow)
            s->read_at = now + between(m, 10 * NSEC_US, 30 * NSEC_MS);
    }
    while (s->received < s->judged && command(m, s->first + s->received)->reply_end <= s->consumed)
        s->received++;
}

/* The pause inside a request is over. */
static void go_on(struct client_model *m)
{
    struct client_session *s = &m->s;
    s->stop_at = UINT64_MAX;
    switch ((enum client_model_stop)s->stop) {
    case STOP_VANISH:
        end_session(m);
        return;
    case STOP_HALF_CLOSE:
        io_sim_shutdown(m->io, s->handle);
        s->shut = true;
        return;
    case STOP_RESET:
        io_sim_reset(m->checker->world, s->handle);
        end_session(m);
        return;
    case STOP_GO_ON:
    case STOP_KINDS:
        return;
    }
}

static void note_begun(struct client_model *m)
{
    struct client_session *s = &m->s;
    for (; s->begun < s->generated; s->begun++) {
        struct check_command *c = command(m, s->first + s->begun);
        if (c->begin_offset >= s->queued - s->out.len)
            return;
        stale_begins(m->checker, c, s->handle);
    }
}

static void transmit(struct client_model *m, uint64_t now)
{
    struct client_session *s = &m->s;
    while (s->out.len > 0 && s->writable && now >= s->send_at && !s->shut) {
        size_t len = s->out.len;
        uint64_t sent = s->queued - len;
        if (sent == s->stop_at) {
            go_on(m);
            if (m->state != MODEL_OPEN)
                return;
            continue;
        }
        if (s->stop_at - sent < len)
            len = (size_t)(s->stop_at - sent);
        if (s->piecewise && len > 1)
            len = (size_t)between(m, 1, len < 3000 ? len : 3000);
        struct iovec iov = {bytes_at(&s->out), len};
        ssize_t n = m->io->ops->writev(m->io->ctx, s->handle, &iov, 1);
        if (n == -EAGAIN) {
            s->writable = false;
            return;
        }
        if (n < 0) { /* the end; reading tells which */
            s->writable = false;
            s->readable = true;
            return;
        }
        bytes_take(&s->out, (size_t)n);
        note_begun(m);
        if (s->dry_since != 0)
            note_idle(m);
        s->dry_since = 0;
        if ((size_t)n < len)
            s->writable = false;
        if (s->piecewise)
            s->send_at = now + between(m, 0, 2 * NSEC_MS);
        if (sent + (size_t)n == s->stop_at)
            s->send_at = now + s->stop_for;
    }
}

/* All commands of the session are made: how does it end? True: it has ended. */
static bool conclude(struct client_model *m, uint64_t now)
{
    struct client_session *s = &m->s;
    if (!s->last_words) {
        s->last_words = true;
        if (s->end == END_QUIT)
            workload_quit(m);
        else if (s->end == END_MALFORMED)
            workload_malformed(m);
        else if (s->end == END_VANISH_REQUEST || s->end == END_SILENCE)
            workload_half_command(m);
        s->end_at = now + between(m, 0, s->end == END_SILENCE ? 500 * NSEC_MS : 3 * NSEC_MS);
        return false;
    }
    if (s->out.len > 0)
        return false;
    bool all = s->received == s->generated;
    switch ((enum client_model_end)s->end) {
    case END_CLEAN:
        if (!all)
            return false;
        break;
    case END_HALF_CLOSE:
        if (now >= s->end_at && !s->shut) {
            io_sim_shutdown(m->io, s->handle);
            s->shut = true;
        }
        return false; /* the proxy closes */
    case END_VANISH_REQUEST:
    case END_VANISH_REPLY:
    case END_SILENCE:
        if (now < s->end_at)
            return false;
        break;
    case END_QUIT:
        if (!all || !s->vague)
            return false; /* the proxy closes, unless it had no memory to understand */
        break;
    case END_MALFORMED:
    case END_KINDS:
        return false; /* the proxy closes */
    }
    end_session(m);
    return true;
}

static uint64_t next_moment(const struct client_model *m)
{
    const struct client_session *s = &m->s;
    if (m->state == MODEL_WAITING)
        return m->start_at;
    if (m->state != MODEL_OPEN)
        return NSEC_NEVER;
    uint64_t next = NSEC_NEVER;
    if (s->readable)
        next = s->read_at;
    if (s->out.len > 0 && s->writable && !s->shut)
        next = nsec_min(next, s->send_at);
    if (s->last_words && s->out.len == 0 && s->end_at > io_now(m->io))
        next = nsec_min(next, s->end_at);
    if (s->budget > 0 && s->think_at > io_now(m->io))
        next = nsec_min(next, s->think_at);
    return next;
}

static void open_turn(struct client_model *m, uint64_t now)
{
    struct client_session *s = &m->s;
    receive(m, now);
    if (m->state != MODEL_OPEN)
        return;
    /* It says the next things when half of the former are answered, or one at a time. */
    bool speaks = s->generated - s->received <= s->depth / 2 && now >= s->think_at;
    if (s->budget > 0 && speaks && s->out.len == 0) {
        uint32_t count = s->depth - (s->generated - s->received);
        for (; count > 0 && s->budget > 0; count--, s->budget--)
            workload_command(m);
        if (m->options->think_max > 0 && !m->strict)
            s->think_at = now + between(m, 0, m->options->think_max);
    }
    if (s->budget == 0 && conclude(m, now))
        return;
    transmit(m, now);
}

void client_model_turn(struct client_model *m)
{
    struct io_event events[4];
    uint64_t now = io_now(m->io), next = next_moment(m);
    uint64_t timeout = next == NSEC_NEVER ? next : next > now ? next - now : 0;
    int n = m->io->ops->wait(m->io->ctx, events, 4, timeout);
    for (int i = 0; i < n; i++) {
        if (events[i].ready & (IO_IN | IO_HUP))
            m->s.readable = true;
        if (events[i].ready & IO_OUT)
            m->s.writable = true;
    }
    if (m->state == MODEL_WAITING && now >= m->start_at)
        begin_session(m);
    if (m->state == MODEL_CONNECTING && n > 0) {
        int err = m->io->ops->connect_result(m->io->ctx, m->s.handle);
        if (err == 0) {
            m->state = MODEL_OPEN;
            m->s.process = (uint8_t)checker_process_of(m->checker, m->proxy_number);
        } else if (err == -ECONNREFUSED && !m->draining) { /* its proxy is not there: later */
            m->sessions_left++;
            m->commands_left += m->s.budget;
            end_session(m);
        } else if (err != -EAGAIN) {
            end_session(m);
        }
    }
    if (m->state == MODEL_OPEN)
        open_turn(m, now);
}
