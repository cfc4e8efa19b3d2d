/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's life: it comes, asks a drawn number of times at a drawn pace, and leaves, more or less
 * politely. Then its place is taken by the next one.
 */
#include "soak_load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    REQUESTS_MEAN = 40,
    AWAY_MS = 500,             /* at most, between two clients in one place */
    SMALL_BUFFER = 32 * 1024,  /* of a slow reader's socket: else the kernel would read for it */
    SLOW_RATE_MIN = 20 * 1024, /* bytes/s, … */
    SLOW_RATE_DOUBLINGS = 8,   /* … up to 5 MB/s */
    DEAF_MS_MAX = 10000,
    LIFE_MS_MIN = 5000,        /* of a client that is slow in one way or another, … */
    LIFE_MS_DRAWN = 15000,     /* … and so much more at most */
    DAWDLE_MS_MAX = 400,       /* pause between two pieces of a body, … */
    DAWDLE_LONG_MS_MAX = 8000, /* … and now and then one that no proxy has to wait for */
    DAWDLE_PIECE_MAX = 256 * 1024,
    DAWDLE_SMALL_PIECE_MAX = 40,
};

/* A well-behaved client that gets and gives no byte for so long, while it waits for an answer, has
 * been forgotten: what the proxy may take is a fraction of a second. */
static const uint64_t hung_ns = 15000000000;
static const uint64_t leave_ns = 10000000000; /* for the proxy to close after a QUIT or a FIN */

static void watch(struct soak *s, struct soak_client *c)
{
    bool wants_write =
        c->state == SOAK_CONNECTING ||
        (c->state == SOAK_BUSY && c->out_at < c->out_count && c->pace != SOAK_DAWDLER);
    uint32_t events =
        (c->read_by_tick ? 0 : (uint32_t)EPOLLIN) | (wants_write ? (uint32_t)EPOLLOUT : 0);

    if (events == c->events)
        return;
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    c->events = events;
}

/* Uniform from nothing to twice the mean: the shape does not matter, only that it is no beat. */
static uint64_t pause_draw(struct soak *s, uint64_t mean_ns)
{
    return soak_below(&s->random, 2 * mean_ns + 1);
}

void soak_client_close(struct soak *s, struct soak_client *c, bool with_reset)
{
    if (c->fd < 0)
        return;
    if (with_reset) {
        struct linger now = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(c->fd);
    s->connected -= c->state != SOAK_CONNECTING;
    *c = (struct soak_client){.fd = -1, .state = SOAK_DOWN};
    c->wake_ns = s->now_ns + soak_below(&s->random, AWAY_MS * SOAK_MS);
}

static void pace_draw(struct soak *s, struct soak_client *c)
{
    uint64_t draw = soak_below(&s->random, 1000);

    /* With the length of their lives about a hundred of 2,000 clients at a time. */
    c->pace = draw < 50   ? SOAK_SLOW
              : draw < 67 ? SOAK_DEAF
              : draw < 92 ? SOAK_DAWDLER
                          : SOAK_NORMAL;
    c->read_by_tick = c->pace == SOAK_SLOW || c->pace == SOAK_DEAF;
    c->read_rate = (uint64_t)SLOW_RATE_MIN << soak_below(&s->random, SLOW_RATE_DOUBLINGS + 1);
}

/* A slow reader's requests alone would take it an hour, and there would be more of them all the
 * time: then what the proxy holds for them grows, and its memory tells nothing. So they have a life
 * of bounded length, and soon there are as many as there will be. */
static void life_draw(struct soak *s, struct soak_client *c)
{
    c->life_end_ns = UINT64_MAX;
    if (c->pace != SOAK_NORMAL)
        c->life_end_ns =
            s->now_ns + LIFE_MS_MIN * SOAK_MS + soak_below(&s->random, LIFE_MS_DRAWN * SOAK_MS);
}

static void client_connect(struct soak *s, struct soak_client *c)
{
    uint64_t leave = soak_below(&s->random, 100);
    int one = 1;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->wake_ns = s->now_ns + AWAY_MS * SOAK_MS;
    if (fd < 0) {
        s->counters.connect_failures++;
        return;
    }
    pace_draw(s, c);
    c->is_resp3 = soak_chance(&s->random, 25);
    c->requests_left = 1 + (unsigned)soak_below(&s->random, 2 * REQUESTS_MEAN);
    c->leave = leave < 30   ? SOAK_LEAVE_QUIT
               : leave < 60 ? SOAK_LEAVE_CLOSE
               : leave < 75 ? SOAK_LEAVE_ABRUPTLY
               : leave < 87 ? SOAK_LEAVE_IN_REQUEST
                            : SOAK_LEAVE_IN_REPLY;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (c->read_by_tick) {
        int bytes = SMALL_BUFFER;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    if (connect(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) != 0 &&
        errno != EINPROGRESS) {
        s->counters.connect_failures++;
        close(fd);
        return;
    }
    c->fd = fd;
    c->state = SOAK_CONNECTING;
    c->wake_ns = s->now_ns + hung_ns;
    c->events = EPOLLOUT;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void client_connected(struct soak *s, struct soak_client *c)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        s->counters.connect_failures++;
        soak_client_close(s, c, false);
        return;
    }
    s->counters.connects++;
    s->connected++;
    c->state = SOAK_THINKING;
    c->wake_ns = s->now_ns + pause_draw(s, s->mean_pause_ns);
    life_draw(s, c);
    watch(s, c);
}

static bool waits_for_large(const struct soak_client *c)
{
    for (unsigned i = c->answered; i < c->request_count; i++) {
        if (c->requests[i].is_large)
            return true;
    }
    return false;
}

/* The proxy has closed the connection: for what the client did, or for a reply that broke off in
 * the middle, or without a reason. */
static void client_lost(struct soak *s, struct soak_client *c)
{
    bool is_in_reply = c->reply.in_body || c->reply.line_len > 0 || c->reply.elements_left > 0;

    if (c->state == SOAK_LEAVING) {
        s->counters.left_politely += c->leave == SOAK_LEAVE_QUIT;
    } else if (c->pace != SOAK_NORMAL) {
        s->counters.closed_own++;
    } else if (c->state == SOAK_BUSY && (is_in_reply || waits_for_large(c))) {
        /* What the proxy had sent of it may be lost with the connection, so that the first byte of
         * a large reply need not have been seen. */
        s->counters.closed_cut++;
    } else {
        s->counters.closed_other++;
        soak_tell(s, c, "closed by the proxy, without a reason");
    }
    soak_client_close(s, c, false);
}

/* All that was to be written of the last batch is written. */
static void leave_in_request(struct soak *s, struct soak_client *c)
{
    if (c->leave == SOAK_LEAVE_ABRUPTLY) {
        s->counters.left_abruptly++;
        soak_client_close(s, c, true);
        return;
    }
    s->counters.left_in_request++;
    if (soak_chance(&s->random, 66)) {
        soak_client_close(s, c, soak_chance(&s->random, 50));
        return;
    }
    /* Half of a close: what was asked before is still to be answered, then the proxy closes. */
    shutdown(c->fd, SHUT_WR);
    c->out_at = c->out_count;
    c->state = SOAK_LEAVING;
    c->wake_ns = s->now_ns + leave_ns;
    c->read_by_tick = false;
    watch(s, c);
}

static size_t piece_draw(struct soak *s, const struct soak_client *c)
{
    if (c->pace != SOAK_DAWDLER)
        return SIZE_MAX;
    return 1 + soak_below(&s->random,
                          soak_chance(&s->random, 20) ? DAWDLE_SMALL_PIECE_MAX : DAWDLE_PIECE_MAX);
}

static int out_iov(const struct soak_client *c, size_t most, struct iovec *iov)
{
    int count = 0;
    size_t done = c->out_done;

    for (unsigned i = c->out_at; i < c->out_count && most > 0; i++) {
        size_t len = c->out[i].len - done;
        if (len > most)
            len = most;
        iov[count++] = (struct iovec){(void *)(uintptr_t)(c->out[i].bytes + done), len};
        most -= len;
        done = 0;
    }
    return count;
}

static void out_advance(struct soak_client *c, size_t n)
{
    c->written += n;
    while (n > 0) {
        size_t left = c->out[c->out_at].len - c->out_done;
        if (n < left) {
            c->out_done += n;
            return;
        }
        n -= left;
        c->out_at++;
        c->out_done = 0;
    }
}

static void client_write(struct soak *s, struct soak_client *c)
{
    size_t piece = piece_draw(s, c);

    while (c->out_at < c->out_count && piece > 0) {
        struct iovec iov[SOAK_SEGMENTS_MAX];
        size_t most = c->out_limit - c->written < piece ? c->out_limit - c->written : piece;
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)out_iov(c, most, iov)};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0) {
            client_lost(s, c);
            return;
        }
        out_advance(c, (size_t)n);
        c->progress_ns = s->now_ns;
        piece -= (size_t)n;
        if (c->written >= c->out_limit) {
            leave_in_request(s, c);
            return;
        }
    }
    if (c->pace == SOAK_DAWDLER && c->out_at < c->out_count) {
        uint64_t most = soak_chance(&s->random, 5) ? DAWDLE_LONG_MS_MAX : DAWDLE_MS_MAX;
        c->pause_until_ns = s->now_ns + soak_below(&s->random, most * SOAK_MS);
    }
    watch(s, c);
}

static void batch_begin(struct soak *s, struct soak_client *c)
{
    c->is_last_batch = c->requests_left == 0;
    soak_batch_make(s, c);
    c->requests_left -= c->requests_left < c->request_count ? c->requests_left : c->request_count;
    c->state = SOAK_BUSY;
    c->asked_ns = c->progress_ns = s->now_ns;
    if (c->pace == SOAK_DEAF)
        c->deaf_until_ns = s->now_ns + soak_below(&s->random, DEAF_MS_MAX * SOAK_MS);
    client_write(s, c);
}

/* Every request of the batch is answered. */
static void batch_end(struct soak *s, struct soak_client *c)
{
    c->state = SOAK_THINKING;
    if (c->is_last_batch && c->leave == SOAK_LEAVE_QUIT) {
        c->state = SOAK_LEAVING;
        c->wake_ns = s->now_ns + leave_ns;
    } else if (c->is_last_batch) {
        /* It wanted to leave in the middle, and there was no middle. */
        s->counters.left_politely++;
        soak_client_close(s, c, false);
        return;
    } else {
        c->wake_ns = s->now_ns + pause_draw(s, s->mean_pause_ns);
        if (c->requests_left == 0 && c->leave == SOAK_LEAVE_CLOSE)
            c->is_last_batch = true;
    }
    watch(s, c);
}

static void client_read(struct soak *s, struct soak_client *c, size_t most)
{
    ssize_t n = recv(c->fd, s->scratch, most < SOAK_READ_BYTES ? most : SOAK_READ_BYTES, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_lost(s, c);
        return;
    }
    c->progress_ns = s->now_ns;
    if (c->timed) {
        soak_latency_add(&s->counters, s->now_ns - c->asked_ns);
        c->timed = false;
    }
    c->received += (size_t)n;
    if (soak_reply_take(s, c, s->scratch, (size_t)n) != 0) {
        soak_client_close(s, c, true);
        return;
    }
    if (c->received >= c->in_limit && c->answered < c->request_count) {
        s->counters.left_in_reply++;
        soak_client_close(s, c, soak_chance(&s->random, 50));
        return;
    }
    if (c->state == SOAK_BUSY && c->answered == c->request_count && c->out_at == c->out_count)
        batch_end(s, c);
}

void soak_client_event(struct soak *s, struct soak_client *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == SOAK_CONNECTING) {
        client_connected(s, c);
        return;
    }
    /* A reset is told to a client that reads by the clock too: else epoll tells it for ever. */
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        client_read(s, c, SOAK_READ_BYTES);
    if (c->fd >= 0 && (events & EPOLLOUT) && c->state == SOAK_BUSY)
        client_write(s, c);
}

static void hung(struct soak *s, struct soak_client *c, const char *what)
{
    s->counters.hung++;
    soak_tell(s, c, what);
    soak_client_close(s, c, true);
}

/* A slow or deaf one takes what it may take by now. */
static void tick_read(struct soak *s, struct soak_client *c, uint64_t passed_ns)
{
    if (c->pace == SOAK_DEAF && s->now_ns < c->deaf_until_ns)
        return;
    uint64_t most = c->pace == SOAK_DEAF ? SOAK_READ_BYTES
                                         : c->read_rate * (passed_ns / 1000) / (SOAK_S / 1000);
    client_read(s, c, most > 0 ? most : 1);
}

static void tick_busy(struct soak *s, struct soak_client *c, uint64_t passed_ns)
{
    /* At the end of all nobody waits for them: how they fare was seen often enough. */
    if (s->now_ns >= c->life_end_ns || (s->is_ending && c->pace != SOAK_NORMAL)) {
        if (c->reply.in_body)
            s->counters.left_in_reply++;
        else
            s->counters.left_abruptly++;
        soak_client_close(s, c, soak_chance(&s->random, 50));
        return;
    }
    if (c->read_by_tick)
        tick_read(s, c, passed_ns);
    if (c->fd >= 0 && c->pace == SOAK_DAWDLER && c->out_at < c->out_count &&
        s->now_ns >= c->pause_until_ns)
        client_write(s, c);
    /* Whoever writes in pieces or reads slowly makes its own progress, or is closed for it. */
    if (c->fd >= 0 && c->state == SOAK_BUSY && c->pace == SOAK_NORMAL &&
        s->now_ns - c->progress_ns > hung_ns)
        hung(s, c, "no byte for 15 s while it waits");
}

static void tick_thinking(struct soak *s, struct soak_client *c)
{
    if (s->is_ending || s->now_ns >= c->life_end_ns ||
        (c->is_last_batch && s->now_ns >= c->wake_ns)) {
        s->counters.left_politely++;
        soak_client_close(s, c, false);
    } else if (s->now_ns >= c->wake_ns) {
        batch_begin(s, c);
    }
}

void soak_client_tick(struct soak *s, struct soak_client *c, uint64_t passed_ns)
{
    switch (c->state) {
    case SOAK_DOWN:
        if (s->now_ns >= c->wake_ns && !s->is_ending)
            client_connect(s, c);
        break;
    case SOAK_CONNECTING:
        if (s->now_ns >= c->wake_ns)
            hung(s, c, "not connected after 15 s");
        break;
    case SOAK_THINKING:
        tick_thinking(s, c);
        break;
    case SOAK_BUSY:
        tick_busy(s, c, passed_ns);
        break;
    case SOAK_LEAVING:
        if (c->read_by_tick)
            tick_read(s, c, passed_ns);
        if (c->fd >= 0 && c->state == SOAK_LEAVING && s->now_ns >= c->wake_ns)
            hung(s, c, "not closed 10 s after its end of file or its QUIT");
        break;
    }
}
