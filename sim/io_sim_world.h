/* SPDX-License-Identifier: Apache-2.0 */
/* What io_sim.c (time, hosts, faults) and io_sim_net.c (sockets) share; private to the two. */
#pragma once
#include "io_sim.h"

#include "base/addr.h"

enum sim_event_kind {
    EVENT_DELIVER,   /* segments of a socket's inbound pipe are due */
    EVENT_WRITABLE,  /* a blocked writer may try again */
    EVENT_READABLE,  /* the rest after a read that was cut short */
    EVENT_ARRIVE,    /* a connect reaches its address */
    EVENT_CONNECTED, /* its answer is back */
    EVENT_REFUSED,
    EVENT_RESET,
};

struct sim_event {
    uint64_t at, order; /* order keeps events of one moment as they were made */
    int handle;
    uint8_t kind;
};

struct segment {
    uint64_t end; /* total bytes of the stream after it */
    uint64_t at;
    bool fin;
};

/* One direction of a connection; lives in the socket that reads it. Totals count from the start. */
struct pipe {
    uint8_t *bytes; /* owned: those from `consumed` to `written`, from `head` on */
    size_t room, head;
    uint64_t written, delivered, consumed, cut_at;
    uint64_t last_at; /* arrival of the newest segment: nothing overtakes it */
    uint32_t capacity;
    bool fin_sent, fin_delivered;
    struct segment *segments; /* owned: a queue from segment_head on */
    uint32_t segment_head, segment_count, segment_room;
};

enum sim_socket_state { SOCKET_LISTENING, SOCKET_CONNECTING, SOCKET_OPEN, SOCKET_CLOSED };

struct sim_socket {
    int handle, peer; /* peer: -1 until it exists */
    unsigned host;
    uint8_t state;
    bool watched, accepted, blocked, writable_soon, reset, reset_told;
    unsigned pending; /* IO_… not yet told; > 0: it is in its host's pending list */
    int connect_error;
    void *tag;
    struct addr at; /* listening or connecting: the address; accepted: the peer's */
    struct pipe in;
    struct io_sim_tap tap;
    uint64_t clogged_until;
    uint64_t blocked_from, blocked_until;
    uint64_t closed_at; /* by its host */
    int *backlog;       /* owned; listening: established, not yet accepted */
    uint32_t backlog_count, backlog_room;
};

struct sim_host {
    struct io io;
    struct io_sim *world;
    unsigned number;
    bool idle, asleep, woken; /* idle: asleep, and has done nothing since */
    bool sheltered;
    uint64_t deadline;
    uint64_t frozen_until, accepts_fail_until;
    uint64_t rests_until; /* it asked not to be told of anything before */
    int *pending;         /* owned: handles with something to tell */
    uint32_t pending_count, pending_room;
};

struct sim_road {
    unsigned host; /* IO_SIM_HOSTS_MAX: any */
    struct addr to;
    enum io_sim_road road;
};

struct io_sim {
    struct trace *trace;
    struct rng rng;
    struct io_sim_weather weather;
    uint64_t now, order, bytes_moved, connects;
    struct sim_host *hosts[IO_SIM_HOSTS_MAX];
    unsigned host_count;
    struct sim_socket **sockets; /* by handle, the closed ones too */
    uint32_t socket_count, socket_room;
    uint32_t first_open; /* no open socket below it */
    struct sim_event *heap;
    uint32_t heap_count, heap_room;
    struct sim_road *roads;
    uint32_t road_count;
    uint16_t next_port;
};

extern const struct io_ops IO_SIM_OPS;

/* Room for one more element in a growing array; aborts when there is no memory. */
void *sim_grow(void *array, uint32_t count, uint32_t *room, size_t element_size);

void sim_schedule(struct io_sim *w, uint64_t at, enum sim_event_kind kind, int handle);
void sim_handle_event(struct io_sim *w, const struct sim_event *e); /* io_sim_net.c */
struct sim_socket *sim_socket(struct io_sim *w, int handle);        /* NULL: closed */
void sim_tell(struct io_sim *w, struct sim_socket *s, unsigned ready);
void sim_reset_socket(struct io_sim *w, struct sim_socket *s);
void sim_socket_release(struct sim_socket *s); /* the memory it holds, not itself */
