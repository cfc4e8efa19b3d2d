/* SPDX-License-Identifier: Apache-2.0 */
#include "io_sim.h"

#include "base/must.h"
#include "base/nsec.h"
#include "io_sim_world.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CLIENT_PORT = 20000, ROADS_MAX = 256 };

void *sim_grow(void *array, uint32_t count, uint32_t *room, size_t element_size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    void *bigger = realloc(array, *room * element_size);
    must(bigger);
    return bigger;
}

struct io_sim *io_sim_new(uint64_t seed, struct trace *trace)
{
    struct io_sim *w = calloc(1, sizeof(*w));
    must(w);
    w->trace = trace;
    w->rng.state = seed;
    w->now = NSEC_S; /* not 0, so that "never yet" and "at the start" differ */
    w->next_port = FIRST_CLIENT_PORT;
    w->weather = (struct io_sim_weather){
        .latency_min = 20 * NSEC_US,
        .latency_max = 200 * NSEC_US,
        .buffer_min = 64 * 1024,
        .buffer_max = 256 * 1024,
    };
    w->roads = calloc(ROADS_MAX, sizeof(*w->roads));
    must(w->roads);
    return w;
}

struct io_sim *io_sim_free(struct io_sim *w)
{
    if (!w)
        return NULL;
    for (uint32_t i = 0; i < w->socket_count; i++) {
        sim_socket_release(w->sockets[i]);
        free(w->sockets[i]);
    }
    for (unsigned i = 0; i < w->host_count; i++) {
        free(w->hosts[i]->pending);
        free(w->hosts[i]);
    }
    free(w->sockets);
    free(w->heap);
    free(w->roads);
    free(w);
    return NULL;
}

void io_sim_set_weather(struct io_sim *w, const struct io_sim_weather *weather)
{
    must(weather->latency_min <= weather->latency_max);
    must(weather->buffer_min > 0 && weather->buffer_min <= weather->buffer_max);
    w->weather = *weather;
}

struct rng *io_sim_rng(struct io_sim *w)
{
    return &w->rng;
}

uint64_t io_sim_now(const struct io_sim *w)
{
    return w->now;
}

uint64_t io_sim_bytes_moved(const struct io_sim *w)
{
    return w->bytes_moved;
}

void io_sim_note(struct io_sim *w, enum trace_kind kind, int64_t a, int64_t b, int64_t c,
                 const char *note)
{
    trace_event(w->trace, w->now, kind, a, b, c, note);
}

bool io_sim_chance(struct io_sim *w, uint32_t per_mille)
{
    return per_mille > 0 && rng_below(&w->rng, 1000) < per_mille;
}

uint64_t io_sim_between(struct io_sim *w, uint64_t low, uint64_t high)
{
    return low >= high ? low : low + rng_below(&w->rng, high - low + 1);
}

struct io *io_sim_host(struct io_sim *w)
{
    must(w->host_count < IO_SIM_HOSTS_MAX);
    struct sim_host *h = calloc(1, sizeof(*h));
    must(h);
    *h = (struct sim_host){.world = w, .number = w->host_count, .deadline = NSEC_NEVER};
    h->io = (struct io){&IO_SIM_OPS, h};
    w->hosts[w->host_count++] = h;
    return &h->io;
}

unsigned io_sim_host_number(const struct io *io)
{
    return ((const struct sim_host *)io->ctx)->number;
}

unsigned io_sim_host_count(const struct io_sim *w)
{
    return w->host_count;
}

void io_sim_shelter(struct io *io)
{
    ((struct sim_host *)io->ctx)->sheltered = true;
}

/* ---- time ---- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_schedule(struct io_sim *w, uint64_t at, enum sim_event_kind kind, int handle)
{
    w->heap = sim_grow(w->heap, w->heap_count, &w->heap_room, sizeof(*w->heap));
    struct sim_event e = {.at = at, .order = w->order++, .handle = handle, .kind = (uint8_t)kind};
    uint32_t i = w->heap_count++;
    while (i > 0 && event_before(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
}

static struct sim_event pop_event(struct io_sim *w)
{
    struct sim_event top = w->heap[0];
    struct sim_event last = w->heap[--w->heap_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && event_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!event_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

bool io_sim_can_run(const struct io_sim *w, unsigned host)
{
    const struct sim_host *h = w->hosts[host];
    if (w->now < h->frozen_until || w->now < h->rests_until)
        return false;
    return !h->idle || h->woken || h->pending_count > 0 || w->now >= h->deadline;
}

void io_sim_advance(struct io_sim *w, uint64_t limit)
{
    uint64_t next = limit;
    if (w->heap_count > 0)
        next = nsec_min(next, w->heap[0].at);
    for (unsigned i = 0; i < w->host_count; i++) {
        const struct sim_host *h = w->hosts[i];
        bool busy = !h->idle || h->woken || h->pending_count > 0;
        uint64_t at = busy ? w->now : h->deadline;
        at = at < h->rests_until ? h->rests_until : at;
        next = nsec_min(next, at < h->frozen_until ? h->frozen_until : at);
    }
    must(next != NSEC_NEVER);
    if (next > w->now) {
        w->now = next;
        trace_event(w->trace, w->now, TRACE_TIME, 0, 0, 0, NULL);
    }
    while (w->heap_count > 0 && w->heap[0].at <= w->now) {
        struct sim_event e = pop_event(w);
        sim_handle_event(w, &e);
    }
}

/* ---- faults ---- */

void io_sim_freeze(struct io_sim *w, unsigned host, uint64_t until)
{
    if (w->hosts[host]->frozen_until == NSEC_NEVER)
        return;
    trace_event(w->trace, w->now, TRACE_FAULT, host, (int64_t)until, 0, "freeze");
    w->hosts[host]->frozen_until = until;
}

void io_sim_fail_accepts(struct io_sim *w, unsigned host, uint64_t until)
{
    trace_event(w->trace, w->now, TRACE_FAULT, host, (int64_t)until, 0, "accepts fail");
    w->hosts[host]->accepts_fail_until = until;
}

void io_sim_set_road(struct io_sim *w, const struct addr *to, enum io_sim_road road)
{
    io_sim_set_road_of(w, IO_SIM_HOSTS_MAX, to, road);
}

void io_sim_set_road_of(struct io_sim *w, unsigned host, const struct addr *to,
                        enum io_sim_road road)
{
    trace_event(w->trace, w->now, TRACE_FAULT, to->port, road, 0, "road");
    for (uint32_t i = 0; i < w->road_count; i++) {
        if (w->roads[i].host == host && addr_eq(&w->roads[i].to, to)) {
            w->roads[i].road = road;
            return;
        }
    }
    must(w->road_count < ROADS_MAX);
    w->roads[w->road_count++] = (struct sim_road){host, *to, road};
}

void io_sim_clog(struct io_sim *w, int handle, uint64_t until)
{
    struct sim_socket *s = sim_socket(w, handle);
    if (!s || s->state != SOCKET_OPEN)
        return;
    trace_event(w->trace, w->now, TRACE_FAULT, handle, (int64_t)until, 0, "clog");
    struct sim_socket *peer = sim_socket(w, s->peer);
    s->clogged_until = until;
    if (peer)
        peer->clogged_until = until;
}

void io_sim_clog_to(struct io_sim *w, unsigned host, const struct addr *to, uint64_t until)
{
    for (uint32_t i = w->first_open; i < w->socket_count; i++) {
        const struct sim_socket *s = w->sockets[i];
        if (s->state == SOCKET_OPEN && !s->accepted && s->host == host && addr_eq(&s->at, to))
            io_sim_clog(w, s->handle, until);
    }
}

void io_sim_reset(struct io_sim *w, int handle)
{
    struct sim_socket *s = sim_socket(w, handle);
    if (!s || s->state != SOCKET_OPEN)
        return;
    trace_event(w->trace, w->now, TRACE_FAULT, handle, 0, 0, "reset");
    struct sim_socket *peer = sim_socket(w, s->peer);
    sim_reset_socket(w, s);
    if (peer)
        sim_reset_socket(w, peer);
}

void io_sim_cut_after(struct io_sim *w, int handle, uint64_t after)
{
    struct sim_socket *s = sim_socket(w, handle);
    if (!s || s->state != SOCKET_OPEN)
        return;
    trace_event(w->trace, w->now, TRACE_FAULT, handle, (int64_t)after, 0, "cut after");
    s->in.cut_at = s->in.delivered + after;
}

void io_sim_mend(struct io_sim *w)
{
    for (uint32_t i = w->first_open; i < w->socket_count; i++) {
        w->sockets[i]->in.cut_at = UINT64_MAX;
        w->sockets[i]->clogged_until = 0;
    }
    for (unsigned i = 0; i < w->host_count; i++) {
        struct sim_host *h = w->hosts[i];
        h->accepts_fail_until = 0;
        if (h->frozen_until != NSEC_NEVER)
            h->frozen_until = 0;
    }
}

/* ---- what models ask ---- */

static struct sim_socket *model_socket(struct io *io, int handle)
{
    struct sim_host *h = io->ctx;
    struct sim_socket *s = sim_socket(h->world, handle);
    must(s && s->host == h->number);
    return s;
}

void io_sim_set_tap(struct io *io, int handle, const struct io_sim_tap *tap)
{
    model_socket(io, handle)->tap = *tap;
}

uint64_t io_sim_unread(struct io *io, int handle)
{
    struct sim_socket *s = model_socket(io, handle);
    struct sim_socket *peer = sim_socket(((struct sim_host *)io->ctx)->world, s->peer);
    return peer ? peer->in.written - peer->in.consumed : 0;
}

uint64_t io_sim_waiting(struct io *io, int handle)
{
    struct sim_socket *s = model_socket(io, handle);
    struct sim_socket *peer = sim_socket(((struct sim_host *)io->ctx)->world, s->peer);
    return peer ? peer->in.delivered - peer->in.consumed + peer->in.fin_delivered : 0;
}

bool io_sim_is_cut(struct io *io, int handle)
{
    struct sim_socket *s = model_socket(io, handle);
    struct io_sim *w = ((struct sim_host *)io->ctx)->world;
    return s->reset || (s->state == SOCKET_OPEN && !sim_socket(w, s->peer));
}

uint64_t io_sim_peer_closed_at(const struct io_sim *w, int handle)
{
    must(handle >= 0 && (uint32_t)handle < w->socket_count);
    int peer = w->sockets[handle]->peer;
    if (peer < 0)
        return 0;
    const struct sim_socket *s = w->sockets[peer];
    return s->state == SOCKET_CLOSED ? s->closed_at : NSEC_NEVER;
}

void io_sim_peer_blocked(struct io *io, int handle, uint64_t *ret_from, uint64_t *ret_until)
{
    struct sim_socket *s = model_socket(io, handle);
    struct sim_socket *peer = sim_socket(((struct sim_host *)io->ctx)->world, s->peer);
    *ret_from = peer ? peer->blocked_from : 0;
    *ret_until = !peer ? 0 : peer->blocked ? NSEC_NEVER : peer->blocked_until;
}

unsigned io_sim_connections(struct io_sim *w, unsigned host, int *handles, unsigned max)
{
    unsigned count = 0;
    for (uint32_t i = w->first_open; i < w->socket_count && count < max; i++) {
        const struct sim_socket *s = w->sockets[i];
        if (s->state == SOCKET_OPEN && s->host == host)
            handles[count++] = s->handle;
    }
    return count;
}

uint64_t io_sim_connects(const struct io_sim *w)
{
    return w->connects;
}

unsigned io_sim_connections_to(const struct io_sim *w, unsigned host, const struct addr *to)
{
    unsigned count = 0;
    for (uint32_t i = w->first_open; i < w->socket_count; i++) {
        const struct sim_socket *s = w->sockets[i];
        bool open = s->state == SOCKET_CONNECTING || s->state == SOCKET_OPEN;
        if (open && !s->accepted && s->host == host && addr_eq(&s->at, to))
            count++;
    }
    return count;
}
