/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conn {
    int fd;
    struct conn_notes notes;
    uint64_t bytes_in;
    bool has_received;
    struct incoming in;
};

struct conn *conn_new(const struct address *address, size_t value_max)
{
    struct conn *c = malloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    memset(c, 0, offsetof(struct conn, in));
    int rc = incoming_init(&c->in, value_max);
    int family = address->storage.ss_family;
    c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || rc != 0) {
        return conn_free(c);
    }
    if (family != AF_UNIX) {
        int on = 1;
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (connect(c->fd, (const struct sockaddr *)&address->storage, address->len) != 0 &&
        errno != EINPROGRESS) {
        return conn_free(c); /* EAGAIN of a full AF_UNIX backlog, too */
    }
    return c;
}

struct conn *conn_free(struct conn *c)
{
    if (c != NULL) {
        if (c->fd >= 0) {
            close(c->fd);
        }
        incoming_fini(&c->in);
        free(c);
    }
    return NULL;
}

int conn_fd(const struct conn *c)
{
    return c->fd;
}

struct conn_notes *conn_notes(struct conn *c)
{
    return &c->notes;
}

bool conn_has_received(const struct conn *c)
{
    return c->has_received;
}

uint64_t conn_take_bytes_in(struct conn *c)
{
    uint64_t bytes = c->bytes_in;
    c->bytes_in = 0;
    return bytes;
}

/* A port that nobody listens on may be given to the very socket that wants to connect to it. */
static bool is_own_peer(int fd)
{
    struct sockaddr_storage a = {0}, b = {0};
    socklen_t a_len = sizeof(a), b_len = sizeof(b);
    return getsockname(fd, (struct sockaddr *)&a, &a_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&b, &b_len) == 0 && a.ss_family != AF_UNIX &&
           a_len == b_len && memcmp(&a, &b, a_len) == 0;
}

int conn_finish(struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0 ||
        is_own_peer(c->fd)) {
        return -ECONNREFUSED;
    }
    return 0;
}

/* 0 when one of the events is there. */
static int wait_for(int fd, short events, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t now = clock_ns();
        int n = poll(&p, 1, clock_poll_ms(deadline_ns, now));
        if (n > 0) {
            return 0;
        }
        if (n == 0 && clock_ns() >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return -ECONNRESET;
        }
        if (n < 0 && clock_ns() >= deadline_ns) { /* a signal that comes all the time */
            return -ETIMEDOUT;
        }
    }
}

int conn_wait_connected(struct conn *c, int64_t deadline_ns)
{
    int rc = wait_for(c->fd, POLLOUT, deadline_ns);
    return rc != 0 ? rc : conn_finish(c);
}

int64_t conn_send(struct conn *c, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    ssize_t n;
    do {
        n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN || errno == ENOBUFS ? 0 : -ECONNRESET;
    }
    return n;
}

int conn_send_all(struct conn *c, struct iovec *parts, int count, int64_t deadline_ns)
{
    while (count > 0) {
        int64_t n = conn_send(c, parts, count);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            int rc = wait_for(c->fd, POLLOUT, deadline_ns);
            if (rc != 0) {
                return rc;
            }
        }
        for (; count > 0 && (size_t)n >= parts->iov_len; parts++, count--) {
            n -= (int64_t)parts->iov_len;
        }
        if (count > 0 && n > 0) {
            parts->iov_base = (char *)parts->iov_base + n;
            parts->iov_len -= (size_t)n;
            if (clock_ns() >= deadline_ns) { /* who reads a little now and then */
                return -ETIMEDOUT;
            }
        }
    }
    return 0;
}

int conn_receive(struct conn *c)
{
    char *to;
    size_t room = incoming_room(&c->in, &to);
    if (room == 0) {
        return -EPROTO; /* cannot be: whoever fills the room has been told before */
    }
    ssize_t n;
    do {
        n = recv(c->fd, to, room, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        return -ECONNRESET;
    }
    c->has_received = true;
    c->bytes_in += (uint64_t)n;
    incoming_add(&c->in, to, (size_t)n);
    return 1;
}

int conn_next(struct conn *c, struct item *ret)
{
    return incoming_next(&c->in, ret);
}

int conn_wait_next(struct conn *c, int64_t deadline_ns, struct item *ret)
{
    for (;;) {
        int rc = incoming_next(&c->in, ret);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
        rc = wait_for(c->fd, POLLIN, deadline_ns);
        if (rc != 0) {
            return rc;
        }
        rc = conn_receive(c);
        if (rc < 0) {
            return rc;
        }
        if (clock_ns() >= deadline_ns) { /* who sends a byte now and then */
            rc = incoming_next(&c->in, ret);
            return rc > 0 ? 0 : rc < 0 ? rc : -ETIMEDOUT;
        }
    }
}
