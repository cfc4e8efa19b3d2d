/* SPDX-License-Identifier: Apache-2.0 */
#include "os/handover.h"

#include "base/must.h"
#include "base/str.h"
#include "os/file.h"
#include "os/process.h"
#include "os/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST = 3, /* SD_LISTEN_FDS_START */
    ARGUMENTS_MAX = 1024 * 1024,
    PID_DIGITS = 10,
    BEHIND_SOCKETS = 2, /* descriptors: ready, testament */
};

extern char **environ;

/* ---- receiving ---- */

/* A number of the environment; -1: it is not there, or none. */
static int number_of(const char *name)
{
    const char *text = process_env(name);
    int64_t n;
    return text && str_to_i64(str_of(text), &n) == 0 && n >= 0 && n <= INT32_MAX ? (int)n : -1;
}

static int look_at(int fd, struct handover_socket *s)
{
    union sockaddr_any at = {0};
    socklen_t len = sizeof(at), int_len = sizeof(int);
    int listens = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) ||
        getsockname(fd, &at.any, &len))
        return -errno;
    if (!listens)
        return -EINVAL;
    *s = (struct handover_socket){.handle = fd};
    sockaddr_read(&at, &s->at);
    if (s->at.family == ADDR_NONE)
        return -EAFNOSUPPORT;
    if (s->at.family == ADDR_UNIX)
        str_fill(s->path, sizeof(s->path), str_of(at.local.sun_path));
    /* Those of a service manager may block, and go to every program that is started. */
    if (fcntl(fd, F_SETFL, O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
        return -errno;
    return 0;
}

int handover_receive(struct handover *h, int *ret_bad)
{
    *h = (struct handover){.ready = -1, .testament = -1};
    int count = number_of("LISTEN_FDS"), ready = number_of("SUMCACHE_READY");
    int testament = number_of("SUMCACHE_TESTAMENT");
    bool for_us = number_of("LISTEN_PID") == (int)process_id();
    bool activated = number_of("SUMCACHE_ACTIVATED") == 1;
    static const char *const NAMES[] = {"LISTEN_FDS",         "LISTEN_PID",
                                        "LISTEN_FDNAMES",     "SUMCACHE_READY",
                                        "SUMCACHE_ACTIVATED", "SUMCACHE_TESTAMENT"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        (void)unsetenv(NAMES[i]);
    if (!for_us || count < 0 || count > HANDOVER_MAX)
        return 0;
    if (ready == FIRST + count && fcntl(ready, F_SETFD, FD_CLOEXEC) == 0) {
        h->ready = ready;
        h->by_a_process = true;
    }
    if (testament == FIRST + count + 1 && fcntl(testament, F_SETFD, FD_CLOEXEC) == 0)
        h->testament = testament;
    h->activated = count > 0 && (activated || !h->by_a_process);
    h->sockets = calloc((size_t)count + 1, sizeof(*h->sockets));
    if (!h->sockets)
        return -ENOMEM;
    for (; (int)h->count < count; h->count++) {
        *ret_bad = FIRST + (int)h->count;
        int err = look_at(*ret_bad, &h->sockets[h->count]);
        if (err)
            return err;
    }
    return 0;
}

void handover_close_rest(struct handover *h)
{
    for (unsigned i = 0; i < h->count; i++)
        if (h->sockets[i].handle >= 0)
            close(h->sockets[i].handle);
    free(take_ptr(h->sockets));
    h->count = 0;
}

void handover_fini(struct handover *h)
{
    handover_close_rest(h);
    if (h->ready >= 0)
        close(h->ready);
    if (h->testament >= 0)
        close(h->testament);
    *h = (struct handover){.ready = -1, .testament = -1};
}

static bool is_at(const struct handover_socket *s, const struct addr *at, const char *path)
{
    if (s->handle < 0 || s->at.family != at->family)
        return false;
    return at->family == ADDR_UNIX ? strcmp(s->path, path) == 0 : addr_eq(&s->at, at);
}

unsigned handover_left(const struct handover *h, const struct addr *at, const char *path)
{
    unsigned left = 0;
    for (unsigned i = 0; i < h->count; i++)
        left += is_at(&h->sockets[i], at, path);
    return left;
}

int handover_take(struct handover *h, const struct addr *at, const char *path)
{
    for (unsigned i = 0; i < h->count; i++) {
        if (!is_at(&h->sockets[i], at, path))
            continue;
        int handle = h->sockets[i].handle;
        h->sockets[i].handle = -1;
        return handle;
    }
    return -ENOENT;
}

void handover_put(struct handover *h, int handle, const struct addr *at)
{
    unsigned i = 0;
    while (h->sockets[i].handle >= 0)
        i++;
    must(i < h->count);
    h->sockets[i].handle = handle;
    h->sockets[i].at = *at;
}

const char *handover_stray(const struct handover *h, char to[HANDOVER_TEXT_MAX])
{
    for (unsigned i = 0; i < h->count; i++) {
        const struct handover_socket *s = &h->sockets[i];
        char text[ADDR_TEXT_MAX];
        if (s->handle < 0)
            continue;
        if (s->at.family == ADDR_UNIX)
            snprintf(to, HANDOVER_TEXT_MAX, "unix:%s", s->path);
        else
            snprintf(to, HANDOVER_TEXT_MAX, "%s", addr_print(&s->at, text));
        return to;
    }
    return NULL;
}

bool handover_is_shared(int handle)
{
    int on = 0;
    socklen_t len = sizeof(on);
    return getsockopt(handle, SOL_SOCKET, SO_REUSEPORT, &on, &len) == 0 && on;
}

int handover_copy(int handle)
{
    int copy = fcntl(handle, F_DUPFD_CLOEXEC, FIRST);
    return copy < 0 ? -errno : copy;
}

int handover_read_testament(struct handover *h, char **ret, size_t *ret_len)
{
    char path[32];
    *ret = NULL;
    if (h->testament < 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", h->testament);
    int err = file_read(path, HANDOVER_TESTAMENT_MAX, ret, ret_len);
    close(h->testament);
    h->testament = -1;
    return err;
}

void handover_say_ready(struct handover *h)
{
    if (h->ready < 0)
        return;
    (void)!write(h->ready, "+", 1); /* one that has gone meanwhile needs no word */
    close(h->ready);
    h->ready = -1;
}

/* ---- the other side ---- */

int handover_program(char to[HANDOVER_PROGRAM_MAX])
{
    ssize_t n = readlink("/proc/self/exe", to, HANDOVER_PROGRAM_MAX - 1);
    if (n < 0)
        return -errno;
    to[n] = '\0';
    return n < HANDOVER_PROGRAM_MAX - 1 ? 0 : -ENAMETOOLONG;
}

/* What a successor is started with. What its process needs between fork and exec, where nothing may
 * be allocated, is made before. */
struct start {
    const char *program;
    char *arguments; /* owned: of this process, each with its NUL */
    char **argv;     /* owned; into `arguments` */
    char **envp;     /* owned; into the environment and the texts below */
    int *handles;    /* owned: to be 3 and following; the last are `ready` and the testament */
    unsigned count;
    bool activated;
    char listen_fds[32], listen_pid[32], watchdog_pid[32], ready[32], was_activated[32];
    char testament[32];
};

static void start_fini(struct start *s)
{
    free(s->arguments);
    free(s->argv);
    free(s->envp);
    free(s->handles);
}

static int read_arguments(struct start *s)
{
    size_t len, count = 0;
    int err = file_read("/proc/self/cmdline", ARGUMENTS_MAX, &s->arguments, &len);
    if (err)
        return err;
    for (size_t i = 0; i < len; i++)
        count += s->arguments[i] == '\0';
    s->argv = calloc(count + 1, sizeof(*s->argv));
    if (!s->argv)
        return -ENOMEM;
    char *at = s->arguments;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        s->argv[i] = at;
    return count > 0 ? 0 : -EINVAL;
}

static bool is_named(const char *entry, const char *name)
{
    size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static int make_environment(struct start *s)
{
    enum { MORE = 6 };
    size_t count = 0, used = 0;
    while (environ[count])
        count++;
    s->envp = calloc(count + MORE + 1, sizeof(*s->envp));
    if (!s->envp)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!is_named(environ[i], "WATCHDOG_PID"))
            s->envp[used++] = environ[i];
    unsigned sockets = s->count - BEHIND_SOCKETS;
    snprintf(s->listen_fds, sizeof(s->listen_fds), "LISTEN_FDS=%u", sockets);
    snprintf(s->ready, sizeof(s->ready), "SUMCACHE_READY=%u", FIRST + sockets);
    snprintf(s->testament, sizeof(s->testament), "SUMCACHE_TESTAMENT=%u", FIRST + sockets + 1);
    snprintf(s->listen_pid, sizeof(s->listen_pid), "LISTEN_PID=");
    snprintf(s->watchdog_pid, sizeof(s->watchdog_pid), "WATCHDOG_PID=");
    s->envp[used++] = s->listen_fds;
    s->envp[used++] = s->listen_pid;
    s->envp[used++] = s->ready;
    s->envp[used++] = s->testament;
    snprintf(s->was_activated, sizeof(s->was_activated), "SUMCACHE_ACTIVATED=1");
    if (s->activated)
        s->envp[used++] = s->was_activated;
    if (process_env("WATCHDOG_USEC"))
        s->envp[used++] = s->watchdog_pid;
    return 0;
}

/* Gives a variable its number: what fork's child may do. */
static void put_pid(char *variable, pid_t pid)
{
    char digits[PID_DIGITS + 1], *from = digits + PID_DIGITS;
    *from = '\0';
    for (; pid > 0; pid /= 10)
        *--from = (char)('0' + pid % 10);
    memcpy(strchr(variable, '=') + 1, from, (size_t)(digits + sizeof(digits) - from));
}

/* Above all descriptors that the successor gets. */
static int above_of(const struct start *s)
{
    return FIRST + (int)s->count;
}

/* The child, up to exec. */
static int succeed(void *owner)
{
    struct start *s = owner;
    for (unsigned i = 0; i < s->count; i++) { /* out of each other's way first */
        s->handles[i] = fcntl(s->handles[i], F_DUPFD_CLOEXEC, above_of(s));
        if (s->handles[i] < 0)
            return errno;
    }
    for (unsigned i = 0; i < s->count; i++)
        if (dup2(s->handles[i], FIRST + (int)i) < 0)
            return errno;
    put_pid(s->listen_pid, getpid());
    put_pid(s->watchdog_pid, getpid());
    execve(s->program, s->argv, s->envp);
    return errno;
}

/* → a descriptor, or -errno. */
static int new_testament(struct str text)
{
    int fd = memfd_create("sumcache-testament", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < text.len;) { /* the offset is shared, and stays where it is */
        ssize_t n = pwrite(fd, text.p + at, text.len - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int err = n < 0 ? -errno : -ENOSPC;
            close(fd);
            return err;
        }
        at += (size_t)n;
    }
    return fd;
}

int handover_spawn(const char *program, const struct handover_estate *estate,
                   struct handover_successor *ret)
{
    unsigned count = estate->count;
    struct start s = {
        .program = program, .count = count + BEHIND_SOCKETS, .activated = estate->activated};
    int ready[2];
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK))
        return -errno;
    s.handles = calloc(s.count, sizeof(*s.handles));
    int testament = new_testament(estate->testament);
    int err = testament < 0 ? testament : s.handles ? read_arguments(&s) : -ENOMEM;
    if (!err)
        err = make_environment(&s);
    if (!err) {
        memcpy(s.handles, estate->handles, count * sizeof(*s.handles));
        s.handles[count] = ready[1];
        s.handles[count + 1] = testament;
        err = process_fork_exec(succeed, &s, above_of(&s), &ret->pid);
    }
    start_fini(&s);
    if (testament >= 0)
        close(testament);
    close(ready[1]);
    ret->ready = ready[0];
    if (err)
        close(ready[0]);
    return err;
}

int handover_poll(const struct handover_successor *s)
{
    char byte;
    ssize_t n = read(s->ready, &byte, 1);
    if (n == 1)
        return 1;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
}

void handover_let_go(struct handover_successor *s)
{
    close(s->ready);
    *s = (struct handover_successor){.ready = -1};
}
