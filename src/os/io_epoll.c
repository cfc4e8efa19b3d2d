/* SPDX-License-Identifier: Apache-2.0 */
#include "os/io_epoll.h"

#include "base/must.h"
#include "base/nsec.h"
#include "os/linger.h"
#include "os/sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MAX = 256,
    NOTSENT_BYTES = 128 * 1024, /* enough to keep a fast link busy between two turns */
};

struct io_epoll {
    int epoll_fd;
    int wake_fd;  /* eventfd; its tag is the io_epoll itself */
    bool only_ms; /* the kernel has no epoll_pwait2() */
    bool precise; /* rest() was called: the thread that serves this is woken in time */
    struct linger_list linger;
    struct epoll_event events[WAIT_MAX];
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NSEC_S + (uint64_t)ts.tv_nsec;
}

static uint64_t epoll_now_ns(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t epoll_wall_us(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_REALTIME) / NSEC_US;
}

static uint64_t epoll_random(void *ctx)
{
    (void)ctx;
    uint64_t v;
    if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
        v = clock_ns(CLOCK_MONOTONIC); /* only jitter hangs on it */
    return v;
}

static int open_socket(const struct addr *a)
{
    int family = a->family == ADDR_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* Best effort: a kernel that refuses one of these still gives a working connection. */
static void apply_options(int fd, const struct io_socket_options *o)
{
    (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* The socket counts as writable whenever less than this is unsent, not only when a third of a
     * large send buffer has drained: a slow peer that keeps reading is seen to do so. */
    (void)set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_BYTES);
    if (o->keepalive_ns > 0) {
        int seconds = (int)((o->keepalive_ns + NSEC_S - 1) / NSEC_S);
        (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
        /* As redis-server: three probes a third of the idle time apart. */
        (void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds >= 3 ? seconds / 3 : 1);
        (void)set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    }
    if (o->user_timeout_ns > 0)
        (void)set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(o->user_timeout_ns / NSEC_MS));
}

static int epoll_listen(void *ctx, const struct addr *at, int backlog)
{
    (void)ctx;
    int fd = open_socket(at);
    if (fd < 0)
        return fd;
    union sockaddr_any ss;
    socklen_t len = sockaddr_write(at, &ss);
    int err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err)
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err && at->family == ADDR_V6)
        err =
            set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); /* [::] and 0.0.0.0 may both be asked for */
    if (!err && bind(fd, &ss.any, len) != 0)
        err = -errno;
    if (!err && listen(fd, backlog) != 0)
        err = -errno;
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

static int epoll_accept(void *ctx, int listener, const struct io_socket_options *o,
                        struct addr *ret_peer)
{
    (void)ctx;
    union sockaddr_any ss = {0};
    socklen_t len = sizeof(ss);
    int fd = accept4(listener, &ss.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    apply_options(fd, o);
    sockaddr_read(&ss, ret_peer);
    return fd;
}

static int epoll_connect(void *ctx, const struct addr *to, const struct io_socket_options *o)
{
    (void)ctx;
    int fd = open_socket(to);
    if (fd < 0)
        return fd;
    apply_options(fd, o);
    union sockaddr_any ss;
    socklen_t len = sockaddr_write(to, &ss);
    if (connect(fd, &ss.any, len) != 0 && errno != EINPROGRESS) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int epoll_local_addr(void *ctx, int handle, struct addr *ret)
{
    (void)ctx;
    union sockaddr_any ss = {0};
    socklen_t len = sizeof(ss);
    if (getsockname(handle, &ss.any, &len) != 0)
        return -errno;
    sockaddr_read(&ss, ret);
    return 0;
}

static int epoll_connect_result(void *ctx, int handle)
{
    (void)ctx;
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(handle, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return -errno;
    if (err)
        return -err;
    union sockaddr_any ss;
    len = sizeof(ss);
    if (getpeername(handle, &ss.any, &len) != 0)
        return errno == ENOTCONN ? -EAGAIN : -errno;
    return 0;
}

static ssize_t epoll_read(void *ctx, int handle, void *to, size_t size)
{
    (void)ctx;
    ssize_t n = recv(handle, to, size, 0);
    return n < 0 ? -errno : n;
}

static ssize_t epoll_writev(void *ctx, int handle, const struct iovec *iov, int count)
{
    (void)ctx;
    ssize_t n;
    if (count == 1) { /* the common case, and measurably cheaper than sendmsg */
        n = send(handle, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
        n = sendmsg(handle, &m, MSG_NOSIGNAL);
    }
    return n < 0 ? -errno : n;
}

static void epoll_close_handle(void *ctx, int handle)
{
    (void)ctx;
    close(handle);
}

static void epoll_unwatch(void *ctx, int handle)
{
    struct io_epoll *e = ctx;
    (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, handle, NULL); /* it may not be watched */
}

static void epoll_finish(void *ctx, int handle)
{
    struct io_epoll *e = ctx;
    epoll_unwatch(e, handle);
    linger_take(&e->linger, handle, epoll_now_ns(e));
}

static int epoll_watch(void *ctx, int handle, void *tag)
{
    struct io_epoll *e = ctx;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = tag};
    return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, handle, &ev) == 0 ? 0 : -errno;
}

static int wait_kernel(struct io_epoll *e, int max, uint64_t timeout_ns)
{
    if (!e->only_ms) {
        struct timespec ts = {.tv_sec = (time_t)(timeout_ns / NSEC_S),
                              .tv_nsec = (long)(timeout_ns % NSEC_S)};
        struct timespec *limit = timeout_ns == NSEC_NEVER ? NULL : &ts;
        int n = epoll_pwait2(e->epoll_fd, e->events, max, limit, NULL);
        if (n >= 0 || errno != ENOSYS)
            return n;
        e->only_ms = true; /* before Linux 5.11, and in some sandboxes */
    }
    /* Rounded up, so that what is due is due after the wait; but a wait below 1 ms is a gathering
     * of some microseconds, and goes without. */
    uint64_t ms = timeout_ns < NSEC_MS ? 0 : (timeout_ns - 1) / NSEC_MS + 1;
    return epoll_wait(e->epoll_fd, e->events, max, ms > 60000 ? 60000 : (int)ms);
}

/* Looks after those that linger. How long the wait may then be. */
static uint64_t linger_after(struct io_epoll *e, uint64_t timeout_ns)
{
    uint64_t now = epoll_now_ns(e);
    linger_step(&e->linger, now);
    uint64_t due = linger_due(&e->linger, now);
    return due == NSEC_NEVER ? timeout_ns : nsec_min(timeout_ns, due - now);
}

static int epoll_wait_events(void *ctx, struct io_event *events, int max, uint64_t timeout_ns)
{
    struct io_epoll *e = ctx;
    if (max > WAIT_MAX)
        max = WAIT_MAX;
    if (e->linger.count > 0)
        timeout_ns = linger_after(e, timeout_ns);
    int n = wait_kernel(e, max, timeout_ns);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    int count = 0;
    for (int i = 0; i < n; i++) {
        uint32_t ev = e->events[i].events;
        if (e->events[i].data.ptr == e) {
            uint64_t ignored;
            (void)!read(e->wake_fd, &ignored, sizeof(ignored)); /* empties it; nothing to learn */
            continue;
        }
        unsigned ready = 0;
        if (ev & EPOLLIN)
            ready |= IO_IN;
        if (ev & EPOLLOUT)
            ready |= IO_OUT;
        if (ev & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            ready |= IO_HUP;
        events[count++] = (struct io_event){e->events[i].data.ptr, ready};
    }
    return count;
}

static void epoll_wake(void *ctx)
{
    struct io_epoll *e = ctx;
    uint64_t one = 1;
    (void)!write(e->wake_fd, &one, sizeof(one)); /* fails only when it is full of wakes already */
}

static void epoll_rest(void *ctx, uint64_t ns)
{
    struct io_epoll *e = ctx;
    if (!e->precise) { /* or the kernel adds 50 us; it is a property of the thread */
        (void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
        e->precise = true;
    }
    struct timespec t = {.tv_sec = (time_t)(ns / NSEC_S), .tv_nsec = (long)(ns % NSEC_S)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* shorter after a signal: as good */
}

static const struct io_ops EPOLL_OPS = {
    .now_ns = epoll_now_ns,
    .wall_us = epoll_wall_us,
    .random = epoll_random,
    .listen = epoll_listen,
    .accept = epoll_accept,
    .connect = epoll_connect,
    .local_addr = epoll_local_addr,
    .connect_result = epoll_connect_result,
    .read = epoll_read,
    .writev = epoll_writev,
    .close = epoll_close_handle,
    .finish = epoll_finish,
    .watch = epoll_watch,
    .unwatch = epoll_unwatch,
    .wait = epoll_wait_events,
    .wake = epoll_wake,
    .rest = epoll_rest,
};

int io_epoll_new(struct io *ret_io)
{
    struct io_epoll *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    int err = 0;
    e->wake_fd = -1;
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd >= 0)
        e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = e};
    if (e->wake_fd < 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &ev) != 0)
        err = -errno;
    *ret_io = (struct io){&EPOLL_OPS, e};
    if (err)
        io_epoll_free(ret_io);
    return err;
}

void io_epoll_free(struct io *io)
{
    struct io_epoll *e = io->ctx;
    if (!e)
        return;
    while (e->linger.count > 0) {
        epoll_rest(e, NSEC_MS);
        linger_step(&e->linger, epoll_now_ns(e));
    }
    linger_fini(&e->linger);
    if (e->wake_fd >= 0)
        close(e->wake_fd);
    if (e->epoll_fd >= 0)
        close(e->epoll_fd);
    free(e);
    io->ctx = NULL;
}
