/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct process_events {
    int signal_fd, poke_fd;
    unsigned reloader, upgrader;
    int upgrade_value;
};

static int take_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is handed out, and those below fd are taken. */
        if (open("/dev/null", O_RDWR) != fd)
            return -EBADF;
    }
    return 0;
}

static int catch_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    /* A parent may have left SIGCHLD ignored; then the kernel would not keep children's ends. */
    if (sigaction(SIGPIPE, &ignore, NULL) || sigaction(SIGCHLD, &standard, NULL))
        return -errno;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int process_events_new(struct process_events **ret_events)
{
    int err = take_standard_descriptors();
    if (err)
        return err;
    struct process_events *e = malloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    *e = (struct process_events){.signal_fd = -1, .poke_fd = -1};
    e->signal_fd = catch_signals();
    e->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->signal_fd < 0 || e->poke_fd < 0) {
        err = e->signal_fd < 0 ? e->signal_fd : -errno;
        process_events_free(e);
        return err;
    }
    *ret_events = e;
    return 0;
}

struct process_events *process_events_free(struct process_events *e)
{
    if (!e)
        return NULL;
    if (e->signal_fd >= 0)
        close(e->signal_fd);
    if (e->poke_fd >= 0)
        close(e->poke_fd);
    free(e);
    return NULL;
}

static unsigned event_of(uint32_t signal)
{
    switch (signal) {
    case SIGCHLD:
        return PROCESS_CHILD;
    case SIGHUP:
        return PROCESS_RELOAD;
    case SIGUSR2:
        return PROCESS_UPGRADE;
    default:
        return PROCESS_STOP;
    }
}

static unsigned read_signals(struct process_events *e)
{
    unsigned seen = 0;
    struct signalfd_siginfo info;
    while (read(e->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        seen |= event_of(info.ssi_signo);
        if (info.ssi_signo == SIGHUP)
            e->reloader = info.ssi_pid;
        if (info.ssi_signo == SIGUSR2) {
            e->upgrader = info.ssi_pid;
            e->upgrade_value = info.ssi_int;
        }
    }
    return seen;
}

unsigned process_events_wait(struct process_events *e, uint64_t timeout_ns)
{
    struct pollfd fds[] = {{e->signal_fd, POLLIN, 0}, {e->poke_fd, POLLIN, 0}};
    struct timespec t = {.tv_sec = (time_t)(timeout_ns / NSEC_S),
                         .tv_nsec = (long)(timeout_ns % NSEC_S)};
    if (ppoll(fds, 2, timeout_ns == NSEC_NEVER ? NULL : &t, NULL) <= 0)
        return 0; /* EINTR is as good as a short wait: the caller looks at its clock */
    unsigned seen = read_signals(e);
    uint64_t count;
    if (read(e->poke_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        seen |= PROCESS_POKE;
    return seen;
}

void process_events_poke(struct process_events *e)
{
    uint64_t one = 1;
    ssize_t n = write(e->poke_fd, &one, sizeof(one));
    must(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* full means: poked often enough */
}

unsigned process_events_reloader(const struct process_events *e)
{
    return e->reloader;
}

unsigned process_events_upgrader(const struct process_events *e)
{
    return e->upgrader;
}

int process_events_upgrade_value(const struct process_events *e)
{
    return e->upgrade_value;
}

unsigned process_id(void)
{
    return (unsigned)getpid();
}

uint64_t process_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NSEC_S + (uint64_t)t.tv_nsec;
}

void process_sleep_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NSEC_S), .tv_nsec = (long)(ns % NSEC_S)};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

const char *process_env(const char *name)
{
    return getenv(name);
}

uint64_t process_random(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
        v = process_now_ns(); /* before the kernel has any, which is at boot */
    return v;
}

unsigned process_cpu_count(void)
{
    /* A machine may have more CPUs than a cpu_set_t holds; the call says EINVAL until it fits. */
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set)
            return 1;
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int failed = sched_getaffinity(0, size, set) ? errno : 0;
        int count = failed ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
        if (failed != EINVAL)
            return 1;
    }
    return 1;
}

void process_give_back_memory_from(uint32_t bytes)
{
    (void)mallopt(M_MMAP_THRESHOLD, (int)bytes);
}

void process_give_back_memory(void)
{
    (void)malloc_trim(0);
}

int process_raise_file_limit(uint64_t need, uint64_t *ret_limit)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return -errno;
    if (limit.rlim_cur >= need)
        return 0;
    struct rlimit wanted = {need, limit.rlim_max < need ? need : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return 0;
    *ret_limit = limit.rlim_max;
    return -EPERM;
}

bool process_write_stderr(const char *line, size_t len)
{
    struct pollfd fd = {STDERR_FILENO, POLLOUT, 0};
    if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
        return false;
    return write(STDERR_FILENO, line, len) == (ssize_t)len;
}

bool process_is_terminal(FILE *stream)
{
    int fd = fileno(stream); /* -1: it is in memory */
    return fd >= 0 && isatty(fd) == 1;
}

int process_find_program(const char *name, char *to, size_t size)
{
    const char *path = getenv("PATH");
    if (!path || !*path)
        path = "/usr/local/bin:/usr/bin:/bin";
    int err = -ENOENT;
    while (path) {
        const char *colon = strchr(path, ':');
        int len = colon ? (int)(colon - path) : (int)strlen(path);
        bool absolute = path[0] == '/';
        int n = snprintf(to, size, "%.*s/%s", len, path, name);
        path = colon ? colon + 1 : NULL;
        if (!absolute)
            continue;
        if (n < 0 || (size_t)n >= size) {
            err = -ENAMETOOLONG;
            continue;
        }
        if (access(to, X_OK) == 0)
            return 0;
    }
    return err;
}

static void __attribute__((noreturn))
run_child(int (*child)(void *owner), void *owner, int tell_fd, int above)
{
    int high = fcntl(tell_fd, F_DUPFD_CLOEXEC, above);
    tell_fd = high >= 0 ? high : tell_fd;
    sigset_t none;
    sigemptyset(&none);
    int err = sigprocmask(SIG_SETMASK, &none, NULL) ? errno : child(owner);
    ssize_t n = write(tell_fd, &err, sizeof(err));
    _exit(n > 0 ? 127 : 126);
}

int process_fork_exec(int (*child)(void *owner), void *owner, int above, int *ret_pid)
{
    int tell[2];
    if (pipe2(tell, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    int err = pid < 0 ? errno : 0;
    if (pid == 0)
        run_child(child, owner, tell[1], above);
    close(tell[1]);
    if (pid > 0) {
        int child_err;
        ssize_t n;
        do
            n = read(tell[0], &child_err, sizeof(child_err)); /* ends when exec closes the pipe */
        while (n < 0 && errno == EINTR);
        if (n == (ssize_t)sizeof(child_err)) {
            err = child_err;
            waitpid(pid, NULL, 0);
        }
    }
    close(tell[0]);
    if (!err)
        *ret_pid = pid;
    return -err;
}

struct spawn {
    const char *path, *dir;
    const char *const *argv;
    pid_t parent;
    int null_fd;
};

static int become(void *owner)
{
    const struct spawn *s = owner;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || chdir(s->dir) || setpgid(0, 0) ||
        dup2(s->null_fd, 0) < 0 || dup2(s->null_fd, 1) < 0 || dup2(s->null_fd, 2) < 0 ||
        sigaction(SIGPIPE, &standard, NULL))
        return errno;
    if (getppid() != s->parent)
        _exit(127); /* it died before the prctl: nobody will send us the signal */
    /* Whatever a library opened without O_CLOEXEC. Kernels before 5.11 do not know the flag; there
     * our own descriptors, all opened with it, have to do. */
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    execv(s->path, (char *const *)(uintptr_t)s->argv);
    return errno;
}

int process_spawn(const char *path, const char *dir, const char *const argv[], int *ret_pid)
{
    struct spawn s = {path, dir, argv, getpid(), open("/dev/null", O_RDWR | O_CLOEXEC)};
    if (s.null_fd < 0)
        return -errno;
    int err = process_fork_exec(become, &s, 3, ret_pid);
    close(s.null_fd);
    return err;
}

bool process_has_ended(int pid, struct process_end *ret)
{
    int status = 0;
    pid_t r = waitpid(pid, &status, WNOHANG);
    if (r == 0 || (r < 0 && errno == EINTR))
        return false;
    struct process_end end = {WIFSIGNALED(status),
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)};
    if (ret)
        *ret = end;
    return true;
}

int process_hang_up(int pid)
{
    must(pid > 0);
    return kill(pid, SIGHUP) ? -errno : 0;
}

int process_upgrade(int pid, int value)
{
    must(pid > 0);
    return sigqueue(pid, SIGUSR2, (union sigval){.sival_int = value}) ? -errno : 0;
}

void process_terminate(int pid)
{
    must(pid > 0); /* 0 and negative numbers would mean whole groups */
    kill(pid, SIGTERM);
}

void process_kill(int pid)
{
    must(pid > 0);
    kill(pid, SIGKILL);
}

void process_exit_now(int status)
{
    _exit(status);
}
