/* SPDX-License-Identifier: Apache-2.0 */
#include "os/notify.h"

#include "base/nsec.h"
#include "base/str.h"
#include "os/process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The whole address; 0: `name` is too long. A name that begins with '@' is an abstract one. */
static socklen_t fill_address(struct sockaddr_un *a, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof(a->sun_path))
        return 0;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, name, len);
    if (name[0] == '@')
        a->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static bool send_text(const char *name, const char *text)
{
    struct sockaddr_un at;
    socklen_t len = fill_address(&at, name);
    int handle = len == 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return false;
    ssize_t n = sendto(handle, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
                       (const struct sockaddr *)&at, len);
    close(handle);
    return n >= 0;
}

bool notify_manager(const char *lines)
{
    const char *name = process_env("NOTIFY_SOCKET");
    return !name || send_text(name, lines);
}

uint64_t notify_watchdog(void)
{
    const char *usec = process_env("WATCHDOG_USEC"), *pid = process_env("WATCHDOG_PID");
    int64_t every, whose;
    if (!usec || str_to_i64(str_of(usec), &every) != 0 || every <= 0 ||
        (uint64_t)every > UINT64_MAX / NSEC_US)
        return 0;
    /* A parent's, which we have inherited by mistake. */
    if (pid && (str_to_i64(str_of(pid), &whose) != 0 || whose != (int64_t)process_id()))
        return 0;
    return (uint64_t)every * NSEC_US;
}

/* ---- the answer to a signal ---- */

enum { NAME_MAX_BYTES = 48 };

static void name_of(unsigned pid, char to[NAME_MAX_BYTES])
{
    snprintf(to, NAME_MAX_BYTES, "@sumcache-answer-%u", pid);
}

int notify_open(void)
{
    char name[NAME_MAX_BYTES];
    struct sockaddr_un at;
    int on = 1;
    name_of(process_id(), name);
    socklen_t len = fill_address(&at, name);
    int handle = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return -errno;
    if (setsockopt(handle, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
        bind(handle, (const struct sockaddr *)&at, len)) {
        int err = -errno;
        close(handle);
        return err;
    }
    return handle;
}

void notify_close(int handle)
{
    close(handle);
}

/* Its length; -EAGAIN: it is somebody else's, for anybody may send one. */
static ssize_t receive(int handle, unsigned pid, char *to, size_t size)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec iov = {to, size - 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(handle, &m, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct ucred who = {0};
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
        memcpy(&who, CMSG_DATA(c), sizeof(who));
    if ((unsigned)who.pid != pid)
        return -EAGAIN;
    to[n] = '\0';
    return n;
}

int notify_await(int handle, unsigned pid, uint64_t timeout_ns, char *to, size_t size)
{
    uint64_t until = process_now_ns() + timeout_ns;
    for (uint64_t now; (now = process_now_ns()) < until;) {
        struct pollfd fd = {handle, POLLIN, 0};
        if (poll(&fd, 1, (int)((until - now) / NSEC_MS) + 1) <= 0)
            continue;
        ssize_t n = receive(handle, pid, to, size);
        if (n >= 0)
            return 0;
        if (n != -EAGAIN)
            return (int)n;
    }
    return -ETIMEDOUT;
}

void notify_answer(unsigned pid, bool failed, const char *text)
{
    char name[NAME_MAX_BYTES], answer[NOTIFY_ANSWER_MAX];
    name_of(pid, name);
    snprintf(answer, sizeof(answer), "%c%s", failed ? NOTIFY_FAILED : NOTIFY_DONE, text);
    if (pid > 0)
        (void)send_text(name, answer);
}
