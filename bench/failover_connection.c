/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to a proxy: opened, written, read, lost and opened again. */
#include "failover_load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_TEXT_MAX = 128 }; /* of one request without its value */

static const uint64_t backoff_min_ns = 5000000;
static const uint64_t backoff_max_ns = 100000000;
static const uint64_t connect_ns = 1000000000; /* then it is tried again */

void failover_connection_init(struct failover_connection *c, unsigned address)
{
    c->fd = -1;
    c->address = address;
    c->queue_size = 64;
    c->queue = failover_alloc(c->queue_size, sizeof(*c->queue));
}

static void connection_closed(struct failover *f, struct failover_connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->state = FAILOVER_DOWN;
    c->backoff_ns = c->backoff_ns == 0 ? backoff_min_ns : 2 * c->backoff_ns;
    if (c->backoff_ns > backoff_max_ns)
        c->backoff_ns = backoff_max_ns;
    c->wake_ns = f->now_ns + c->backoff_ns / 2 + failover_random(f) % c->backoff_ns;
}

void failover_connection_lose(struct failover *f, struct failover_connection *c,
                              enum failover_probe_result result)
{
    if (c->fd < 0)
        return;
    bool was_up = c->state == FAILOVER_UP;
    connection_closed(f, c);
    for (; c->head != c->tail; c->head++)
        failover_request_fail(f, &c->queue[c->head & (c->queue_size - 1)]);
    c->unsent = c->tail;
    c->out_len = c->out_done = 0;
    c->reply.in_body = false;
    c->reply.elements_left = c->reply.line_len = 0;
    if (c->probe) {
        if (c->probe->result == FAILOVER_PROBE_UNDER_WAY)
            c->probe->result = result;
        c->probe = NULL;
        return;
    }
    f->lost_count += was_up && !f->is_over;
    f->connect_failures += !was_up;
}

void failover_connection_open(struct failover *f, struct failover_connection *c)
{
    const struct sockaddr_in *address = &f->options.addresses[c->address];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    const int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fprintf(stderr, "bench_failover_load: socket: %s\n", strerror(errno));
        exit(1);
    }
    c->state = FAILOVER_CONNECTING;
    c->wake_ns = f->now_ns + connect_ns;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
        errno != EINPROGRESS) {
        failover_connection_lose(f, c, FAILOVER_PROBE_REFUSED);
        return;
    }
    epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

struct failover_request *failover_connection_queue(struct failover_connection *c)
{
    if (c->tail - c->head == c->queue_size) {
        size_t size = 2 * c->queue_size;
        struct failover_request *queue = failover_alloc(size, sizeof(*queue));
        for (size_t at = c->head; at != c->tail; at++)
            queue[at & (size - 1)] = c->queue[at & (c->queue_size - 1)];
        free(c->queue);
        c->queue = queue;
        c->queue_size = size;
    }
    struct failover_request *q = &c->queue[c->tail++ & (c->queue_size - 1)];
    *q = (struct failover_request){.write = FAILOVER_NONE, .record = FAILOVER_NONE};
    return q;
}

static size_t set_write(const struct failover *f, const struct failover_request *q,
                        const char *name, char *to)
{
    /* A SET without a write of its own fills. */
    uint32_t version = q->write == FAILOVER_NONE ? 1 : f->keys.writes[q->write].version;
    char value[FAILOVER_VALUE_MAX];
    size_t len = failover_value_write(&f->keys, q->key, version, value);
    size_t at = (size_t)snprintf(to, REQUEST_TEXT_MAX, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n",
                                 strlen(name), name, len);

    memcpy(to + at, value, len);
    at += len;
    to[at++] = '\r';
    to[at++] = '\n';
    return at;
}

static size_t request_write(const struct failover *f, const struct failover_request *q, char *to)
{
    static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    static const char setinfo[] =
        "*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$8\r\nfailover\r\n";
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    char name[FAILOVER_KEY_NAME_MAX];

    failover_key_name(q->key, name);
    switch (q->command) {
    case FAILOVER_GET:
        return (size_t)snprintf(to, REQUEST_TEXT_MAX, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
                                strlen(name), name);
    case FAILOVER_SET:
        return set_write(f, q, name, to);
    case FAILOVER_DEL:
        return (size_t)snprintf(to, REQUEST_TEXT_MAX, "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n",
                                strlen(name), name);
    case FAILOVER_HELLO:
        return (size_t)snprintf(to, REQUEST_TEXT_MAX, "%s", hello);
    case FAILOVER_SETINFO:
        return (size_t)snprintf(to, REQUEST_TEXT_MAX, "%s", setinfo);
    case FAILOVER_PING:
        return (size_t)snprintf(to, REQUEST_TEXT_MAX, "%s", ping);
    }
    return 0;
}

/* Puts queued requests into `out`, as many as have room. Here a GET starts: what is acknowledged
 * now is what it must not fall behind. */
static void out_fill(struct failover *f, struct failover_connection *c)
{
    uint64_t now = failover_clock_ns();

    c->out_len = c->out_done = 0;
    while (c->unsent != c->tail &&
           c->out_len + REQUEST_TEXT_MAX + f->keys.value_max <= FAILOVER_OUT_BYTES) {
        struct failover_request *q = &c->queue[c->unsent++ & (c->queue_size - 1)];
        const struct failover_key *key = &f->keys.list[q->key];
        q->sent_ns = now;
        q->floor = failover_key_floor(key);
        q->floor_same = key->acknowledged[c->address];
        if (q->write != FAILOVER_NONE)
            f->keys.writes[q->write].sent_ns = now;
        c->out_len += request_write(f, q, c->out + c->out_len);
    }
}

void failover_connection_write(struct failover *f, struct failover_connection *c)
{
    if (c->state != FAILOVER_UP)
        return;
    for (;;) {
        if (c->out_done == c->out_len) {
            if (c->unsent == c->tail)
                return;
            out_fill(f, c);
        }
        ssize_t n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            failover_connection_lose(f, c, FAILOVER_PROBE_CLOSED);
            return;
        }
        c->out_done += (size_t)n;
    }
}

/* Until the socket is empty. The moment of reading is that of all replies in it. */
static void connection_read(struct failover *f, struct failover_connection *c)
{
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, f->scratch, sizeof(f->scratch), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            failover_connection_lose(f, c, FAILOVER_PROBE_CLOSED);
            return;
        }
        f->now_ns = failover_clock_ns();
        c->backoff_ns = 0;
        if (failover_reply_take(f, c, f->scratch, (size_t)n) != 0) {
            failover_connection_lose(f, c, FAILOVER_PROBE_CLOSED);
            return;
        }
    }
}

static void connection_opened(struct failover *f, struct failover_connection *c)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        failover_connection_lose(f, c, FAILOVER_PROBE_REFUSED);
        return;
    }
    c->state = FAILOVER_UP;
}

void failover_connection_event(struct failover *f, struct failover_connection *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == FAILOVER_CONNECTING)
        connection_opened(f, c);
    if (c->state == FAILOVER_UP && (events & EPOLLOUT))
        failover_connection_write(f, c);
    if (c->state == FAILOVER_UP && (events & ~(uint32_t)EPOLLOUT))
        connection_read(f, c);
}
