/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the virtual world. */
#include "base/must.h"
#include "base/nsec.h"
#include "io_sim_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECES_MAX = 4,
    BACKLOG_MAX = 128,  /* the kernel's somaxconn of old; above, a connect gets no answer */
    WRITABLE_SHARE = 3, /* a writer hears of room once a third of the buffer is free, as in Linux */
    WALL_START_US = 1700000000,
};

struct sim_socket *sim_socket(struct io_sim *w, int handle)
{
    if (handle < 0 || (uint32_t)handle >= w->socket_count)
        return NULL;
    struct sim_socket *s = w->sockets[handle];
    return s->state == SOCKET_CLOSED ? NULL : s;
}

static struct sim_socket *socket_new(struct io_sim *w, unsigned host, enum sim_socket_state state)
{
    w->sockets = sim_grow(w->sockets, w->socket_count, &w->socket_room, sizeof(*w->sockets));
    struct sim_socket *s = calloc(1, sizeof(*s));
    must(s);
    s->handle = (int)w->socket_count;
    s->peer = -1;
    s->host = host;
    s->state = (uint8_t)state;
    s->in.cut_at = UINT64_MAX;
    s->in.capacity = (uint32_t)io_sim_between(w, w->weather.buffer_min, w->weather.buffer_max);
    w->sockets[w->socket_count++] = s;
    return s;
}

void sim_socket_release(struct sim_socket *s)
{
    free(s->in.bytes);
    free(s->in.segments);
    free(s->backlog);
    s->in.bytes = NULL;
    s->in.segments = NULL;
    s->backlog = NULL;
    s->in.room = 0;
    s->in.segment_room = s->backlog_room = 0;
}

/* The socket a host may use: its own, or one that was handed over to it before it was watched. */
static struct sim_socket *own_socket(void *ctx, int handle)
{
    struct sim_host *h = ctx;
    struct sim_socket *s = sim_socket(h->world, handle);
    must(s && "a handle that is not open");
    if (s->host != h->number) {
        must(!s->watched && "a watched handle in another's hands");
        s->host = h->number;
    }
    h->idle = false;
    return s;
}

static uint64_t latency(struct io_sim *w)
{
    const struct io_sim_weather *x = &w->weather;
    uint64_t max = io_sim_chance(w, x->spike_chance) ? x->spike : x->latency_max;
    return io_sim_between(w, x->latency_min, max);
}

/* ---- readiness ---- */

void sim_tell(struct io_sim *w, struct sim_socket *s, unsigned ready)
{
    if (!s->watched)
        return;
    struct sim_host *h = w->hosts[s->host];
    if (s->pending == 0) {
        h->pending = sim_grow(h->pending, h->pending_count, &h->pending_room, sizeof(*h->pending));
        h->pending[h->pending_count++] = s->handle;
    }
    s->pending |= ready;
}

static void forget_pending(struct io_sim *w, struct sim_socket *s)
{
    if (s->pending == 0)
        return;
    struct sim_host *h = w->hosts[s->host];
    for (uint32_t i = 0; i < h->pending_count; i++) {
        if (h->pending[i] == s->handle) {
            h->pending[i] = h->pending[--h->pending_count];
            break;
        }
    }
    s->pending = 0;
}

static unsigned readiness(const struct sim_socket *s)
{
    if (s->state == SOCKET_LISTENING)
        return s->backlog_count > 0 ? IO_IN : 0;
    if (s->state == SOCKET_CONNECTING)
        return s->connect_error ? IO_OUT | IO_HUP : 0;
    unsigned ready = 0;
    if (s->in.delivered > s->in.consumed)
        ready |= IO_IN;
    if (s->in.fin_delivered || s->reset)
        ready |= IO_IN | IO_HUP;
    if (!s->blocked || s->reset)
        ready |= IO_OUT;
    return ready;
}

static int sim_watch(void *ctx, int handle, void *tag)
{
    struct sim_host *h = ctx;
    struct sim_socket *s = own_socket(ctx, handle);
    must(!s->watched);
    s->watched = true;
    s->tag = tag;
    unsigned ready = readiness(s);
    if (ready)
        sim_tell(h->world, s, ready);
    return 0;
}

static void sim_unwatch(void *ctx, int handle)
{
    own_socket(ctx, handle)->watched = false;
}

static int add_spurious(struct io_sim *w, struct sim_host *h, struct io_event *events, int count)
{
    uint32_t open = w->socket_count - w->first_open;
    if (open == 0)
        return count;
    const struct sim_socket *s = w->sockets[w->first_open + rng_below(&w->rng, open)];
    if (s->host != h->number || !s->watched || s->state == SOCKET_CLOSED || s->pending)
        return count;
    events[count] = (struct io_event){s->tag, s->state == SOCKET_OPEN ? IO_IN | IO_OUT : IO_IN};
    return count + 1;
}

static int sim_wait(void *ctx, struct io_event *events, int max, uint64_t timeout_ns)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    int count = 0;
    must(max > 0);
    if (w->now < h->rests_until) { /* time moves on only after the turn: the rest is a sleep */
        h->asleep = h->idle = true;
        h->deadline = h->rests_until;
        return 0;
    }
    while (h->pending_count > 0 && count < max) {
        uint32_t pick = (uint32_t)rng_below(&w->rng, h->pending_count);
        struct sim_socket *s = w->sockets[h->pending[pick]];
        h->pending[pick] = h->pending[--h->pending_count];
        unsigned ready = s->pending;
        if (s->state == SOCKET_OPEN)
            ready |= readiness(s) & (rng_below(&w->rng, 2) ? IO_OUT | IO_HUP : IO_HUP);
        s->pending = 0;
        events[count++] = (struct io_event){s->tag, ready};
    }
    if (count < max && io_sim_chance(w, w->weather.spurious_chance))
        count = add_spurious(w, h, events, count);
    /* The call that began a sleep has returned to its caller long ago; this one stands for its end,
     * so that who slept looks at the clock before it sleeps again. */
    bool ends_sleep = h->woken || (h->asleep && w->now >= h->deadline);
    h->woken = false;
    h->asleep = h->idle = count == 0 && !ends_sleep && timeout_ns > 0;
    h->deadline = timeout_ns > NSEC_NEVER - w->now ? NSEC_NEVER : w->now + timeout_ns;
    if (count > 0)
        trace_event(w->trace, w->now, TRACE_WAIT, h->number, count, 0, NULL);
    return count;
}

static void sim_wake(void *ctx)
{
    struct sim_host *h = ctx;
    h->woken = true;
}

static void sim_rest(void *ctx, uint64_t ns)
{
    struct sim_host *h = ctx;
    h->rests_until = h->world->now + ns;
    trace_event(h->world->trace, h->world->now, TRACE_REST, h->number, (int64_t)ns, 0, NULL);
}

/* ---- streams ---- */

static void add_segment(struct io_sim *w, struct sim_socket *reader, uint64_t end, bool fin)
{
    struct pipe *p = &reader->in;
    if (p->segment_head > 0 && p->segment_head + p->segment_count == p->segment_room) {
        memmove(p->segments, p->segments + p->segment_head,
                p->segment_count * sizeof(*p->segments));
        p->segment_head = 0;
    }
    p->segments = sim_grow(p->segments, p->segment_head + p->segment_count, &p->segment_room,
                           sizeof(*p->segments));
    uint64_t at = w->now + latency(w);
    if (at < p->last_at)
        at = p->last_at;
    p->last_at = at;
    p->segments[p->segment_head + p->segment_count++] = (struct segment){end, at, fin};
    sim_schedule(w, at, EVENT_DELIVER, reader->handle);
}

static uint8_t *pipe_room(struct pipe *p, size_t len)
{
    size_t held = (size_t)(p->written - p->consumed);
    if (p->head + held + len > p->room) {
        if (held > 0 && p->head > 0)
            memmove(p->bytes, p->bytes + p->head, held);
        p->head = 0;
        if (held + len > p->room) {
            size_t room = p->room ? p->room : 512;
            while (room < held + len)
                room *= 2;
            p->bytes = realloc(p->bytes, room);
            must(p->bytes);
            p->room = room;
        }
    }
    return p->bytes + p->head + held;
}

static void send_fin(struct io_sim *w, struct sim_socket *reader)
{
    if (reader->in.fin_sent || reader->reset)
        return;
    reader->in.fin_sent = true;
    add_segment(w, reader, reader->in.written, true);
}

void sim_reset_socket(struct io_sim *w, struct sim_socket *s)
{
    if (s->reset || s->state == SOCKET_CLOSED)
        return;
    s->reset = true;
    /* What had arrived can still be read; what was on its way is gone. */
    s->in.written = s->in.delivered;
    s->in.segment_count = 0;
    trace_event(w->trace, w->now, TRACE_RESET, s->handle, s->host, 0, NULL);
    sim_tell(w, s, IO_IN | IO_OUT | IO_HUP);
    if (s->tap.peer_closed)
        s->tap.peer_closed(s->tap.owner);
}

static void deliver(struct io_sim *w, struct sim_socket *s)
{
    struct pipe *p = &s->in;
    if (s->reset)
        return;
    if (w->now < s->clogged_until) {
        sim_schedule(w, s->clogged_until, EVENT_DELIVER, s->handle);
        return;
    }
    unsigned ready = 0;
    while (p->segment_count > 0 && p->segments[p->segment_head].at <= w->now) {
        const struct segment *g = &p->segments[p->segment_head];
        p->delivered = g->end;
        ready |= IO_IN;
        if (g->fin) {
            p->fin_delivered = true;
            ready |= IO_HUP;
        }
        p->segment_head++;
        p->segment_count--;
    }
    if (p->segment_count == 0)
        p->segment_head = 0;
    if (p->delivered >= p->cut_at) {
        if (p->delivered > p->cut_at && p->consumed <= p->cut_at)
            p->delivered = p->cut_at;
        p->cut_at = UINT64_MAX;
        struct sim_socket *peer = sim_socket(w, s->peer);
        sim_reset_socket(w, s);
        if (peer)
            sim_reset_socket(w, peer);
        return;
    }
    if (ready && s->state == SOCKET_OPEN)
        sim_tell(w, s, ready);
}

static ssize_t sim_read(void *ctx, int handle, void *to, size_t size)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    struct sim_socket *s = own_socket(ctx, handle);
    must(s->state != SOCKET_LISTENING);
    if (s->state == SOCKET_CONNECTING)
        return -EAGAIN;
    struct pipe *p = &s->in;
    size_t n = (size_t)(p->delivered - p->consumed);
    if (n == 0 || size == 0) {
        if (s->reset && !s->reset_told) {
            s->reset_told = true;
            return -ECONNRESET;
        }
        return s->reset || p->fin_delivered ? 0 : -EAGAIN;
    }
    if (n > size)
        n = size;
    if (n > 1 && io_sim_chance(w, w->weather.short_read_chance)) {
        n = 1 + rng_below(&w->rng, n - 1);
        sim_schedule(w, w->now + latency(w), EVENT_READABLE, handle);
    }
    memcpy(to, p->bytes + p->head, n);
    p->head += n;
    p->consumed += n;
    if (p->consumed == p->written)
        p->head = 0;
    w->bytes_moved += n;
    trace_event(w->trace, w->now, TRACE_READ, handle, (int64_t)n, h->number, NULL);
    struct sim_socket *peer = sim_socket(w, s->peer);
    if (!peer)
        return (ssize_t)n;
    if (peer->tap.peer_read)
        peer->tap.peer_read(peer->tap.owner, p->consumed);
    uint64_t free_room = p->capacity - nsec_min(p->capacity, p->written - p->consumed);
    if (peer->blocked && !peer->writable_soon && free_room > 0 &&
        free_room >= p->capacity / WRITABLE_SHARE) {
        peer->writable_soon = true;
        sim_schedule(w, w->now + latency(w), EVENT_WRITABLE, peer->handle);
    }
    return (ssize_t)n;
}

static void mark_blocked(struct io_sim *w, struct sim_socket *s)
{
    if (s->blocked)
        return;
    s->blocked = true;
    s->blocked_from = w->now;
}

/* The beginning of what is sent, for who reads the trace. */
static void preview(char *to, size_t size, const uint8_t *bytes, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 2 < size; i++) {
        if (bytes[i] == '\r')
            continue;
        to[n++] = (char)(bytes[i] == '\n'                   ? ' '
                         : bytes[i] < ' ' || bytes[i] > '~' ? '?'
                                                            : bytes[i]);
    }
    to[n] = '\0';
}

static void send_bytes(struct io_sim *w, struct sim_socket *s, struct sim_socket *reader,
                       const struct iovec *iov, size_t n)
{
    struct pipe *p = &reader->in;
    uint8_t *to = pipe_room(p, n);
    size_t done = 0;
    for (; done < n; iov++) {
        size_t part = iov->iov_len < n - done ? iov->iov_len : n - done;
        if (part > 0)
            memcpy(to + done, iov->iov_base, part);
        done += part;
    }
    uint64_t before = p->written;
    p->written += n;
    int pieces = 1;
    if (n > 1 && io_sim_chance(w, w->weather.piece_chance))
        pieces += (int)rng_below(&w->rng, PIECES_MAX);
    uint64_t from = before;
    for (; pieces > 1 && p->written - from > 1; pieces--) {
        from += 1 + rng_below(&w->rng, p->written - from - 1);
        add_segment(w, reader, from, false);
    }
    add_segment(w, reader, p->written, false);
    w->bytes_moved += n;
    char shown[48] = "";
    if (w->trace->print || w->trace->keep)
        preview(shown, sizeof(shown), to, n);
    trace_event(w->trace, w->now, TRACE_WRITE, s->handle, (int64_t)n, s->host, shown);
    if (reader->tap.peer_wrote)
        reader->tap.peer_wrote(reader->tap.owner, to, n, p->written);
}

static ssize_t sim_writev(void *ctx, int handle, const struct iovec *iov, int count)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    struct sim_socket *s = own_socket(ctx, handle);
    must(s->state != SOCKET_LISTENING && count > 0 && count <= 1024);
    if (s->state == SOCKET_CONNECTING)
        return -EAGAIN;
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    struct sim_socket *reader = sim_socket(w, s->peer);
    if (s->reset) {
        bool told = s->reset_told;
        s->reset_told = true;
        return told ? -EPIPE : -ECONNRESET;
    }
    if (!reader) { /* closed: the bytes go out, and the answer is a reset */
        sim_schedule(w, w->now + latency(w), EVENT_RESET, handle);
        return (ssize_t)total;
    }
    if (reader->in.fin_sent)
        return -EPIPE;
    uint64_t held = reader->in.written - reader->in.consumed;
    size_t room = held < reader->in.capacity ? (size_t)(reader->in.capacity - held) : 0;
    size_t n = total < room ? total : room;
    if (total == 0)
        return 0;
    bool cut_short = n > 1 && io_sim_chance(w, w->weather.short_write_chance);
    if (cut_short)
        n = 1 + rng_below(&w->rng, n - 1);
    if (n < total)
        mark_blocked(w, s);
    if (n == 0)
        return -EAGAIN;
    send_bytes(w, s, reader, iov, n);
    if (cut_short && !s->writable_soon) {
        s->writable_soon = true;
        sim_schedule(w, w->now + latency(w), EVENT_WRITABLE, handle);
    }
    return (ssize_t)n;
}

/* ---- connections ---- */

static int sim_listen(void *ctx, const struct addr *at, int backlog)
{
    struct sim_host *h = ctx;
    (void)backlog; /* every listener gets BACKLOG_MAX */
    struct sim_socket *s = socket_new(h->world, h->number, SOCKET_LISTENING);
    s->at = *at;
    trace_event(h->world->trace, h->world->now, TRACE_LISTEN, s->handle, at->port, h->number, NULL);
    return s->handle;
}

static int sim_connect(void *ctx, const struct addr *to, const struct io_socket_options *o)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    (void)o; /* times of probes: this network reports a lost peer by faults, not by probes */
    h->idle = false;
    if (!h->sheltered && io_sim_chance(w, w->weather.connect_fail_chance))
        return -ENETUNREACH;
    struct sim_socket *s = socket_new(w, h->number, SOCKET_CONNECTING);
    s->at = *to;
    w->connects++;
    sim_schedule(w, w->now + latency(w), EVENT_ARRIVE, s->handle);
    trace_event(w->trace, w->now, TRACE_CONNECT, s->handle, to->port, h->number, NULL);
    return s->handle;
}

static int sim_connect_result(void *ctx, int handle)
{
    struct sim_socket *s = own_socket(ctx, handle);
    if (s->state == SOCKET_CONNECTING)
        return s->connect_error ? s->connect_error : -EAGAIN;
    return 0;
}

static enum io_sim_road road_to(const struct io_sim *w, unsigned host, const struct addr *to)
{
    enum io_sim_road worst = IO_SIM_ROAD_OPEN;
    for (uint32_t i = 0; i < w->road_count; i++) {
        const struct sim_road *r = &w->roads[i];
        bool is_it = r->host == IO_SIM_HOSTS_MAX || r->host == host;
        if (is_it && r->road > worst && addr_eq(&r->to, to))
            worst = r->road;
    }
    return worst;
}

/* One of the listeners at that address, drawn, as SO_REUSEPORT deals them. */
static struct sim_socket *draw_listener(struct io_sim *w, const struct addr *at)
{
    struct sim_socket *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = w->first_open; i < w->socket_count; i++) {
        struct sim_socket *s = w->sockets[i];
        if (s->state == SOCKET_LISTENING && addr_eq(&s->at, at) && rng_below(&w->rng, ++count) == 0)
            found = s;
    }
    return found;
}

static void arrive(struct io_sim *w, struct sim_socket *s)
{
    enum io_sim_road road = road_to(w, s->host, &s->at);
    if (road == IO_SIM_ROAD_BLACK_HOLE)
        return;
    struct sim_socket *listener = road == IO_SIM_ROAD_OPEN ? draw_listener(w, &s->at) : NULL;
    if (!listener) {
        sim_schedule(w, w->now + latency(w), EVENT_REFUSED, s->handle);
        return;
    }
    if (listener->backlog_count >= BACKLOG_MAX)
        return;
    struct sim_socket *peer = socket_new(w, listener->host, SOCKET_OPEN);
    peer->peer = s->handle;
    s->peer = peer->handle;
    peer->at = (struct addr){.family = ADDR_V4, .port = w->next_port++, .ip = {10, 1, 0, 1}};
    listener->backlog = sim_grow(listener->backlog, listener->backlog_count,
                                 &listener->backlog_room, sizeof(*listener->backlog));
    listener->backlog[listener->backlog_count++] = peer->handle;
    sim_tell(w, listener, IO_IN);
    sim_schedule(w, w->now + latency(w), EVENT_CONNECTED, s->handle);
}

static void connected(struct io_sim *w, struct sim_socket *s)
{
    if (s->state != SOCKET_CONNECTING)
        return;
    s->state = SOCKET_OPEN;
    trace_event(w->trace, w->now, TRACE_CONNECTED, s->handle, s->peer, 0, NULL);
    sim_tell(w, s, readiness(s));
}

static void sim_close(void *ctx, int handle);

static int sim_accept(void *ctx, int listener, const struct io_socket_options *o,
                      struct addr *ret_peer)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    struct sim_socket *l = own_socket(ctx, listener);
    (void)o;
    must(l->state == SOCKET_LISTENING);
    if (l->backlog_count == 0)
        return -EAGAIN;
    if (w->now < h->accepts_fail_until) {
        trace_event(w->trace, w->now, TRACE_ACCEPT, -1, listener, h->number, "EMFILE");
        return -EMFILE;
    }
    int handle = l->backlog[0];
    memmove(l->backlog, l->backlog + 1, --l->backlog_count * sizeof(*l->backlog));
    struct sim_socket *s = sim_socket(w, handle);
    must(s);
    s->accepted = true;
    if (!h->sheltered && io_sim_chance(w, w->weather.accept_abort_chance)) {
        struct sim_socket *peer = sim_socket(w, s->peer);
        if (peer)
            sim_reset_socket(w, peer);
        sim_close(ctx, handle);
        return -ECONNABORTED;
    }
    *ret_peer = s->at;
    trace_event(w->trace, w->now, TRACE_ACCEPT, handle, listener, h->number, NULL);
    return handle;
}

static int sim_local_addr(void *ctx, int handle, struct addr *ret)
{
    struct sim_host *h = ctx;
    struct sim_socket *s = own_socket(ctx, handle);
    struct sim_socket *peer = sim_socket(h->world, s->peer);
    if (!s->accepted || !peer)
        return -ENOTCONN; /* connecting ones have no address in this world */
    *ret = peer->at;
    return 0;
}

static void sim_close(void *ctx, int handle)
{
    struct sim_host *h = ctx;
    struct io_sim *w = h->world;
    struct sim_socket *s = own_socket(ctx, handle);
    trace_event(w->trace, w->now, TRACE_CLOSE, handle, h->number, 0, NULL);
    forget_pending(w, s);
    struct sim_socket *peer = sim_socket(w, s->peer);
    bool unread = s->in.written > s->in.consumed;
    for (uint32_t i = 0; i < s->backlog_count; i++)
        sim_close(ctx, s->backlog[i]);
    s->state = SOCKET_CLOSED;
    s->closed_at = w->now;
    sim_socket_release(s);
    while (w->first_open < w->socket_count && w->sockets[w->first_open]->state == SOCKET_CLOSED)
        w->first_open++;
    if (!peer)
        return;
    if (unread && !s->reset)
        sim_schedule(w, w->now + latency(w), EVENT_RESET, peer->handle);
    else
        send_fin(w, peer);
    if (peer->tap.peer_closed && !peer->reset)
        peer->tap.peer_closed(peer->tap.owner);
}

void io_sim_shutdown(struct io *io, int handle)
{
    struct sim_host *h = io->ctx;
    struct sim_socket *s = own_socket(io->ctx, handle);
    struct sim_socket *peer = sim_socket(h->world, s->peer);
    if (peer)
        send_fin(h->world, peer);
}

void sim_handle_event(struct io_sim *w, const struct sim_event *e)
{
    struct sim_socket *s = sim_socket(w, e->handle);
    if (!s)
        return;
    switch ((enum sim_event_kind)e->kind) {
    case EVENT_DELIVER:
        deliver(w, s);
        break;
    case EVENT_WRITABLE:
        s->writable_soon = s->blocked = false;
        s->blocked_until = w->now;
        if (!s->reset)
            sim_tell(w, s, IO_OUT);
        break;
    case EVENT_READABLE:
        if (s->in.delivered > s->in.consumed || s->in.fin_delivered)
            sim_tell(w, s, readiness(s) & (IO_IN | IO_HUP));
        break;
    case EVENT_ARRIVE:
        arrive(w, s);
        break;
    case EVENT_CONNECTED:
        connected(w, s);
        break;
    case EVENT_REFUSED:
        s->connect_error = -ECONNREFUSED;
        trace_event(w->trace, w->now, TRACE_REFUSED, s->handle, 0, 0, NULL);
        sim_tell(w, s, IO_OUT | IO_HUP);
        break;
    case EVENT_RESET:
        sim_reset_socket(w, s);
        break;
    }
}

static uint64_t sim_now_ns(void *ctx)
{
    return ((struct sim_host *)ctx)->world->now;
}

static uint64_t sim_wall_us(void *ctx)
{
    return WALL_START_US * UINT64_C(1000000) + sim_now_ns(ctx) / NSEC_US;
}

static uint64_t sim_random(void *ctx)
{
    return rng_next(&((struct sim_host *)ctx)->world->rng);
}

const struct io_ops IO_SIM_OPS = {
    .now_ns = sim_now_ns,
    .wall_us = sim_wall_us,
    .random = sim_random,
    .listen = sim_listen,
    .accept = sim_accept,
    .connect = sim_connect,
    .local_addr = sim_local_addr,
    .connect_result = sim_connect_result,
    .read = sim_read,
    .writev = sim_writev,
    .close = sim_close,
    .watch = sim_watch,
    .unwatch = sim_unwatch,
    .wait = sim_wait,
    .wake = sim_wake,
    .finish = sim_close,
    .rest = sim_rest,
};
