/* SPDX-License-Identifier: Apache-2.0 */
#include "os/host.h"

#include "base/nsec.h"
#include "os/process.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

union host_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t to_sockaddr(const struct addr *a, union host_sockaddr *to)
{
    *to = (union host_sockaddr){0};
    if (a->family == ADDR_V4) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(a->port);
        memcpy(&to->v4.sin_addr, a->ip, 4);
        return sizeof(to->v4);
    }
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(a->port);
    memcpy(&to->v6.sin6_addr, a->ip, 16);
    return sizeof(to->v6);
}

/* The addresses of one family, behind the `count` there are. The new count. */
static size_t take_family(const struct addrinfo *list, int family, uint16_t port,
                          struct addr *addrs, size_t max, size_t count)
{
    for (const struct addrinfo *i = list; i && count < max; i = i->ai_next) {
        if (i->ai_family != family)
            continue;
        struct addr a = {.family = family == AF_INET ? ADDR_V4 : ADDR_V6, .port = port};
        if (family == AF_INET)
            memcpy(a.ip, &((const struct sockaddr_in *)(const void *)i->ai_addr)->sin_addr, 4);
        else
            memcpy(a.ip, &((const struct sockaddr_in6 *)(const void *)i->ai_addr)->sin6_addr, 16);
        addrs[count++] = a;
    }
    return count;
}

int host_resolve(const char *host, uint16_t port, struct addr *ret_addrs, size_t max,
                 size_t *ret_count, const char **ret_reason)
{
    /* No AI_ADDRCONFIG: it would hide "localhost" on a machine that has no other address yet. */
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int err = getaddrinfo(host, NULL, &hints, &list);
    if (err) {
        *ret_reason = gai_strerror(err);
        return err == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
    }
    size_t count = take_family(list, AF_INET, port, ret_addrs, max, 0);
    count = take_family(list, AF_INET6, port, ret_addrs, max, count);
    freeaddrinfo(list);
    if (count == 0) {
        *ret_reason = "No IPv4 or IPv6 address";
        return -EHOSTUNREACH;
    }
    *ret_count = count;
    return 0;
}

/* A socket bound to `at`. The descriptor or -errno. */
static int bind_socket(const struct addr *at)
{
    union host_sockaddr sa;
    socklen_t len = to_sockaddr(at, &sa);
    int fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    /* Connections of an earlier run in TIME_WAIT are no reason to refuse the port. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        (at->family == ADDR_V6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
        bind(fd, &sa.any, len)) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int host_can_listen(const struct addr *at)
{
    int fd = bind_socket(at);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int host_free_port(uint16_t first, uint16_t last, uint16_t *ret_port)
{
    struct addr at = {.family = ADDR_V4, .ip = {127, 0, 0, 1}};
    for (unsigned port = first; port <= last; port++) {
        at.port = (uint16_t)port;
        int err = host_can_listen(&at);
        if (!err)
            *ret_port = at.port;
        if (err != -EADDRINUSE)
            return err;
    }
    return -EADDRINUSE;
}

static bool is_ready(int fd, short what, uint64_t until)
{
    uint64_t now = process_now_ns();
    struct pollfd p = {fd, what, 0};
    int ms = now >= until ? 0 : (int)((until - now + NSEC_MS - 1) / NSEC_MS);
    return poll(&p, 1, ms) == 1 && (p.revents & what);
}

static bool ask(int fd, struct str question, struct str answer, uint64_t until)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (!is_ready(fd, POLLOUT, until) || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) || err)
        return false;
    /* A question is a few bytes and the socket is fresh: it fits its buffer in one call. */
    if (send(fd, question.p, question.len, MSG_NOSIGNAL) != (ssize_t)question.len)
        return false;
    for (size_t at = 0; at < answer.len;) {
        char got[64];
        size_t want = answer.len - at < sizeof(got) ? answer.len - at : sizeof(got);
        if (!is_ready(fd, POLLIN, until))
            return false;
        ssize_t n = read(fd, got, want);
        if (n <= 0 || memcmp(got, answer.p + at, (size_t)n) != 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

bool host_answers(const struct addr *at, struct str question, struct str answer,
                  uint64_t timeout_ns)
{
    uint64_t until = process_now_ns() + timeout_ns;
    union host_sockaddr sa;
    socklen_t len = to_sockaddr(at, &sa);
    int fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool same = (connect(fd, &sa.any, len) == 0 || errno == EINPROGRESS) &&
                ask(fd, question, answer, until);
    close(fd);
    return same;
}
