/* SPDX-License-Identifier: Apache-2.0 */
#include "os/host.h"

#include "base/nsec.h"
#include "os/process.h"
#include "os/sockaddr.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { UNIX_BACKLOG = 1024 /* the kernel cuts it to net.core.somaxconn */ };

/* A socket bound to `at`. The descriptor or -errno. */
static int bind_socket(const struct addr *at)
{
    union sockaddr_any sa;
    socklen_t len = sockaddr_write(at, &sa);
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

static int open_unix(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(ret->sun_path))
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

/* 0: nothing is there (any more). */
static int clear_unix(const char *path)
{
    struct stat st;
    struct sockaddr_un at;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = open_unix(path, &at);
    if (fd < 0)
        return fd;
    bool is_dead = connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!is_dead)
        return -EADDRINUSE;
    return unlink(path) == 0 ? 0 : -errno;
}

int host_listen_unix(const char *path, unsigned mode)
{
    struct sockaddr_un at;
    int err = clear_unix(path);
    int fd = err ? err : open_unix(path, &at);
    if (fd < 0)
        return fd;
    /* Before it has a name, so that at no moment more may connect than should; the umask takes
     * some of it away, which is given back then. */
    if (fchmod(fd, mode) != 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        err = -errno;
        close(fd);
        return err;
    }
    if (chmod(path, mode) != 0 || listen(fd, UNIX_BACKLOG) != 0) {
        err = -errno;
        close(fd);
        unlink(path);
        return err;
    }
    return fd;
}

void host_remove_unix(const char *path)
{
    (void)unlink(path);
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
    for (;;) {
        uint64_t now = process_now_ns();
        struct pollfd p = {fd, what, 0};
        int ms = now >= until ? 0 : (int)((until - now + NSEC_MS - 1) / NSEC_MS);
        int count = poll(&p, 1, ms);
        if (count >= 0 || errno != EINTR)
            return count == 1 && (p.revents & what);
    }
}

/* Waits until `fd` is connected. Takes it: it is closed unless it is returned. */
static int await_connection(int fd, uint64_t until)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (!is_ready(fd, POLLOUT, until))
        err = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        err = errno;
    if (err == 0)
        return fd;
    close(fd);
    return -err;
}

int host_connect(const struct addr *at, uint64_t until)
{
    union sockaddr_any sa;
    socklen_t len = sockaddr_write(at, &sa);
    int fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &sa.any, len) != 0 && errno != EINPROGRESS) {
        int err = -errno;
        close(fd);
        return err;
    }
    return await_connection(fd, until);
}

int host_connect_unix(const char *path, uint64_t until)
{
    struct sockaddr_un at;
    int fd = open_unix(path, &at);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return await_connection(fd, until);
}

int host_send(int fd, struct str bytes, uint64_t until)
{
    while (bytes.len > 0) {
        if (!is_ready(fd, POLLOUT, until))
            return -ETIMEDOUT;
        ssize_t sent = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (sent > 0)
            bytes = (struct str){bytes.p + sent, bytes.len - (size_t)sent};
    }
    return 0;
}

ssize_t host_receive(int fd, char *to, size_t size, uint64_t until)
{
    for (;;) {
        if (!is_ready(fd, POLLIN, until))
            return -ETIMEDOUT;
        ssize_t n = read(fd, to, size);
        if (n >= 0)
            return n;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
}

void host_close(int fd)
{
    close(fd);
}

bool host_answers(const struct addr *at, struct str question, struct str answer,
                  uint64_t timeout_ns)
{
    uint64_t until = process_now_ns() + timeout_ns;
    int fd = host_connect(at, until);
    if (fd < 0)
        return false;
    bool same = host_send(fd, question, until) == 0;
    while (same && answer.len > 0) {
        char got[512];
        ssize_t n =
            host_receive(fd, got, answer.len < sizeof(got) ? answer.len : sizeof(got), until);
        same = n > 0 && memcmp(got, answer.p, (size_t)n) == 0;
        if (same)
            answer = (struct str){answer.p + n, answer.len - (size_t)n};
    }
    close(fd);
    return same;
}

int host_find(struct str name, uint16_t port, struct addr *ret_at, const char **ret_why)
{
    char text[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (name.len >= sizeof(text)) {
        *ret_why = "the name is too long";
        return -ENOENT;
    }
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    int err = getaddrinfo(text, NULL, &hints, &found);
    if (err) {
        *ret_why = gai_strerror(err);
        return -ENOENT;
    }
    const struct addrinfo *a = found;
    while (a && a->ai_family != AF_INET && a->ai_family != AF_INET6)
        a = a->ai_next;
    if (a) {
        union sockaddr_any sa = {0};
        memcpy(&sa, a->ai_addr, a->ai_addrlen < sizeof(sa) ? a->ai_addrlen : sizeof(sa));
        sockaddr_read(&sa, ret_at);
        ret_at->port = port;
    } else {
        *ret_why = "no IP address";
    }
    freeaddrinfo(found);
    return a ? 0 : -ENOENT;
}
