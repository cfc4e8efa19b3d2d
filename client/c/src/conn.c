/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "clock.h"

#include <errno.h>
#include <hiredis/read.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ROOM = 2 * CONN_DIRECT_MIN,     /* of what came in and is not parsed yet */
    LINE_MAX_LEN = CONN_DIRECT_MIN, /* of a status or an error */
    ARRAY_MAX = 1 << 20,            /* elements: they are read one by one, so this costs nothing */
};

struct conn {
    int fd;
    size_t value_max;
    struct conn_notes notes;
    redisReader *reader;
    struct bytes *large; /* being read from the socket */
    size_t large_at;     /* of it, so many bytes are here; two more end it */
    uint64_t bytes_in;
    bool has_received;
    size_t from, to; /* of `in`, what is not parsed */
    char in[ROOM];
};

/* hiredis's reader makes our items. Its strings point into its buffer: copied here, once. */
static void *made_bytes(const redisReadTask *task, char *text, size_t len)
{
    struct item *item = task->privdata;
    item->type = task->type == REDIS_REPLY_STRING   ? ITEM_BYTES
                 : task->type == REDIS_REPLY_STATUS ? ITEM_STATUS
                                                    : ITEM_ERROR;
    item->bytes = bytes_copy(text, len);
    return item->bytes == NULL ? NULL : item;
}

static void *made_array(const redisReadTask *task, int count)
{
    (void)task;
    (void)count;
    return NULL; /* heads of arrays do not get here */
}

static void *made_integer(const redisReadTask *task, long long number)
{
    struct item *item = task->privdata;
    item->type = ITEM_INTEGER;
    item->number = number;
    return item;
}

static void *made_nil(const redisReadTask *task)
{
    struct item *item = task->privdata;
    item->type = ITEM_NIL;
    return item;
}

static void ended(void *item)
{
    (void)item; /* on the stack of whoever asked */
}

struct conn *conn_new(const struct address *address, size_t value_max)
{
    static redisReplyObjectFunctions items = {made_bytes, made_array, made_integer, made_nil,
                                              ended};
    struct conn *c = malloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    memset(c, 0, offsetof(struct conn, in));
    c->value_max = value_max;
    c->reader = redisReaderCreateWithFunctions(&items);
    int family = address->storage.ss_family;
    c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || c->reader == NULL) {
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
        if (c->reader != NULL) {
            redisReaderFree(c->reader);
        }
        bytes_unref(c->large);
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
    size_t room;
    if (c->large != NULL && c->from == c->to && c->large_at < c->large->len) {
        to = c->large->data + c->large_at;
        room = c->large->len - c->large_at;
    } else {
        if (c->from > 0) {
            memmove(c->in, c->in + c->from, c->to - c->from);
            c->to -= c->from;
            c->from = 0;
        }
        to = c->in + c->to;
        room = ROOM - c->to;
    }
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
    if (to == c->in + c->to) {
        c->to += (size_t)n;
    } else {
        c->large_at += (size_t)n;
    }
    return 1;
}

/* The number of a head such as $12 or *3; false if it is none. */
static bool read_count(const char *p, const char *end, int64_t *ret)
{
    bool is_minus = p < end && *p == '-';
    int64_t number = 0;
    p += is_minus;
    if (p == end || end - p > 18) {
        return false;
    }
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        number = 10 * number + (*p - '0');
    }
    *ret = is_minus ? -number : number;
    return true;
}

/* Moves on with bytes that are read past the reader. */
static int next_of_large(struct conn *c, struct item *ret)
{
    struct bytes *b = c->large;
    size_t have = c->to - c->from;
    size_t n = b->len - c->large_at < have ? b->len - c->large_at : have;
    memcpy(b->data + c->large_at, c->in + c->from, n);
    c->large_at += n;
    c->from += n;
    if (c->large_at < b->len || c->to - c->from < 2) {
        return 0;
    }
    if (memcmp(c->in + c->from, "\r\n", 2) != 0) {
        return -EPROTO;
    }
    c->from += 2;
    *ret = (struct item){.type = ITEM_BYTES, .bytes = b};
    c->large = NULL;
    c->large_at = 0;
    return 1;
}

static int parse(struct conn *c, size_t len, struct item *ret)
{
    void *reply = NULL;
    *ret = (struct item){0};
    c->reader->privdata = ret;
    int rc = redisReaderFeed(c->reader, c->in + c->from, len);
    if (rc == REDIS_OK) {
        rc = redisReaderGetReply(c->reader, &reply);
    }
    if (rc != REDIS_OK || reply == NULL) {
        return c->reader->err == REDIS_ERR_OOM ? -ENOMEM : -EPROTO;
    }
    c->from += len;
    return 1;
}

int conn_next(struct conn *c, struct item *ret)
{
    if (c->large != NULL) {
        return next_of_large(c, ret);
    }
    size_t have = c->to - c->from;
    const char *p = c->in + c->from;
    if (have == 0) {
        return 0;
    }
    if (strchr("+-:$*", *p) == NULL || *p == 0) {
        return -EPROTO;
    }
    size_t line_max = *p == '+' || *p == '-' ? LINE_MAX_LEN : 32;
    const char *end = memmem(p, have < line_max ? have : line_max, "\r\n", 2);
    if (end == NULL) {
        return have < line_max ? 0 : -EPROTO;
    }
    size_t head = (size_t)(end - p) + 2;
    int64_t count = 0;
    if (*p != '+' && *p != '-' && !read_count(p + 1, end, &count)) {
        return -EPROTO;
    }
    if (*p == '*') {
        if (count < -1 || count > ARRAY_MAX) {
            return -EPROTO;
        }
        c->from += head;
        *ret = (struct item){.type = count < 0 ? ITEM_NIL : ITEM_ARRAY, .number = count};
        return 1;
    }
    if (*p != '$' || count == -1) {
        return parse(c, head, ret);
    }
    if (count < -1) {
        return -EPROTO;
    }
    if ((uint64_t)count > c->value_max) {
        return -EMSGSIZE;
    }
    if (count > CONN_DIRECT_MIN) {
        c->large = bytes_new((size_t)count);
        if (c->large == NULL) {
            return -ENOMEM;
        }
        c->large_at = 0;
        c->from += head;
        return next_of_large(c, ret);
    }
    size_t whole = head + (size_t)count + 2;
    if (have < whole) {
        return 0;
    }
    return memcmp(p + whole - 2, "\r\n", 2) != 0 ? -EPROTO : parse(c, whole, ret);
}

int conn_wait_next(struct conn *c, int64_t deadline_ns, struct item *ret)
{
    for (;;) {
        int rc = conn_next(c, ret);
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
            rc = conn_next(c, ret);
            return rc > 0 ? 0 : rc < 0 ? rc : -ETIMEDOUT;
        }
    }
}
