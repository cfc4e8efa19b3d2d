/* SPDX-License-Identifier: Apache-2.0 */
#include "os/terminal.h"

#include "base/must.h"
#include "base/nsec.h"
#include "base/str.h"
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum { STANDARD_COLUMNS = 80, STANDARD_ROWS = 24 };

#define PATIENCE NSEC_S /* a terminal that takes nothing for so long misses a frame */

/* Alternate screen, no cursor, no wrapping: what is too long for a window that has just become
 * smaller is cut there and shifts nothing. */
#define TAKE  "\033[?1049h\033[?25l\033[?7l\033[m\033[H\033[2J"
#define AGAIN "\033[?25l\033[?7l\033[m"
#define GIVE  "\033[m\033[?7h\033[?25h\033[?1049l"

struct terminal {
    int in, out; /* out: owned, and does not block if we may open it anew */
    int signal_fd, poke_fd;
    struct termios before;
    bool is_taken;
};

bool terminal_is_there(FILE *out)
{
    return isatty(STDIN_FILENO) == 1 && process_is_terminal(out);
}

static void add_signals(sigset_t *set)
{
    static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(*SIGNALS); i++)
        sigaddset(set, SIGNALS[i]);
}

static int catch_signals(void)
{
    sigset_t set;
    add_signals(&set);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL))
        return -EINVAL;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* A description of our own, since others that have the terminal must not find theirs non-blocking.
 * The terminal of another user (after su) cannot be opened anew: then writes may block. */
static int open_output(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (own < 0)
        own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return own < 0 ? -errno : own;
}

/* The whole of it, or -EAGAIN: it has taken nothing for too long, or (if they count) there are
 * signals. */
static int write_all(const struct terminal *t, const char *bytes, size_t len, bool signals_count)
{
    uint64_t until = process_now_ns() + PATIENCE;
    for (;;) {
        ssize_t n = write(t->out, bytes, len);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        if (len == 0)
            return 0;
        uint64_t now = process_now_ns();
        if (now >= until)
            return -EAGAIN;
        struct pollfd fds[] = {{t->out, POLLOUT, 0}, {t->signal_fd, POLLIN, 0}};
        int ms = (int)((until - now + NSEC_MS - 1) / NSEC_MS);
        if (poll(fds, signals_count ? 2 : 1, ms) > 0 && fds[1].revents)
            return -EAGAIN;
    }
}

int terminal_write(struct terminal *t, const char *bytes, size_t len)
{
    return write_all(t, bytes, len, true);
}

static int take_keys(const struct terminal *t)
{
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | INLCR | IGNCR);
    raw.c_cc[VMIN] = 0; /* a read never blocks */
    raw.c_cc[VTIME] = 0;
    return tcsetattr(t->in, TCSANOW, &raw) ? -errno : 0;
}

/* `again`: it is ours, but somebody may have written there meanwhile. */
static int take(struct terminal *t, bool again)
{
    int err = take_keys(t);
    if (err)
        return err;
    t->is_taken = true;
    err = again ? write_all(t, AGAIN, sizeof(AGAIN) - 1, false)
                : write_all(t, TAKE, sizeof(TAKE) - 1, false);
    return err == -EAGAIN ? 0 : err; /* frames come to nothing too, then */
}

/* In the background the modes are the shell's, which has set its own. */
static bool is_in_foreground(const struct terminal *t)
{
    pid_t group = tcgetpgrp(t->in);
    return group < 0 || group == getpgrp(); /* < 0: it is not the one that controls us */
}

void terminal_give(struct terminal *t)
{
    if (!t->is_taken)
        return;
    t->is_taken = false;
    sigset_t output, before;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU); /* in the background too it must not stop us here */
    pthread_sigmask(SIG_BLOCK, &output, &before);
    int err = write_all(t, GIVE, sizeof(GIVE) - 1, false);
    (void)err; /* one that takes nothing, or is gone, cannot be restored either */
    if (is_in_foreground(t))
        tcsetattr(t->in, TCSANOW, &t->before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- signals ---- */

/* As the kernel would have stopped us, had we not blocked the signal; returns when we go on. */
static void stop(void)
{
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &set, &before);
    raise(SIGTSTP);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static unsigned event_of(struct terminal *t, uint32_t signal)
{
    switch (signal) {
    case SIGTSTP:
        if (t->is_taken) {
            terminal_give(t);
            stop();
        }
        return TERMINAL_DRAW;
    case SIGCONT: /* after a SIGSTOP, which nobody is told of, somebody else has had the terminal */
    case SIGWINCH:
        return TERMINAL_DRAW;
    default:
        return TERMINAL_END;
    }
}

/* True: we have been continued. */
static bool read_signals(struct terminal *t, unsigned *seen)
{
    bool is_continued = false;
    struct signalfd_siginfo info;
    while (read(t->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        *seen |= event_of(t, info.ssi_signo);
        is_continued |= info.ssi_signo == SIGCONT;
    }
    return is_continued;
}

/*
 * Sees to signals, and that the terminal is ours afterwards, unless we are to end. A job that is
 * killed while it is stopped is woken up for that, in the background; there the kernel would stop
 * who changes modes, and the signal that is to end us would stay where it is. So we look where we
 * are before we take it, and stop ourselves.
 */
static unsigned settle(struct terminal *t)
{
    unsigned seen = 0;
    bool is_continued = read_signals(t, &seen);
    while (!(seen & TERMINAL_END) && !is_in_foreground(t)) {
        stop();
        if (!read_signals(t, &seen))
            return seen | TERMINAL_END; /* we cannot be stopped: there is no shell any more */
        is_continued = true;
    }
    if (seen & TERMINAL_END)
        return seen;
    int err = t->is_taken && !is_continued ? 0 : take(t, t->is_taken);
    return err ? TERMINAL_END : seen;
}

int terminal_open(FILE *out, struct terminal **ret_terminal)
{
    struct terminal *t = malloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (struct terminal){.in = STDIN_FILENO, .poke_fd = -1, .signal_fd = -1};
    int err = tcgetattr(t->in, &t->before) ? -errno : 0;
    t->out = open_output(fileno(out));
    t->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!err && t->poke_fd < 0)
        err = -errno;
    t->signal_fd = catch_signals();
    err = err ? err : t->out < 0 ? t->out : t->signal_fd < 0 ? t->signal_fd : 0;
    if (!err && settle(t) & TERMINAL_END)
        err = -EINTR;
    if (err) {
        terminal_close(t);
        return err;
    }
    *ret_terminal = t;
    return 0;
}

struct terminal *terminal_close(struct terminal *t)
{
    if (!t)
        return NULL;
    terminal_give(t);
    const int fds[] = {t->out, t->signal_fd, t->poke_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(t);
    return NULL;
}

void terminal_size(const struct terminal *t, int *ret_columns, int *ret_rows)
{
    struct winsize size = {0};
    if (ioctl(t->out, TIOCGWINSZ, &size) || size.ws_col == 0 || size.ws_row == 0)
        size = (struct winsize){.ws_col = STANDARD_COLUMNS, .ws_row = STANDARD_ROWS};
    *ret_columns = size.ws_col;
    *ret_rows = size.ws_row;
}

/* ---- events ---- */

static unsigned read_keys(const struct terminal *t, short events, char *keys, size_t size,
                          size_t *ret_len)
{
    ssize_t n = events & POLLIN ? read(t->in, keys, size) : 0;
    if (n > 0) {
        *ret_len = (size_t)n;
        return TERMINAL_KEYS;
    }
    bool is_gone =
        (events & (POLLHUP | POLLERR | POLLNVAL)) || (n < 0 && errno != EAGAIN && errno != EINTR);
    return is_gone ? TERMINAL_END : 0;
}

unsigned terminal_wait(struct terminal *t, uint64_t timeout_ns, char *keys, size_t size,
                       size_t *ret_len)
{
    struct pollfd fds[] = {{t->in, POLLIN, 0}, {t->signal_fd, POLLIN, 0}, {t->poke_fd, POLLIN, 0}};
    struct timespec time = {.tv_sec = (time_t)(timeout_ns / NSEC_S),
                            .tv_nsec = (long)(timeout_ns % NSEC_S)};
    *ret_len = 0;
    if (ppoll(fds, 3, timeout_ns == NSEC_NEVER ? NULL : &time, NULL) <= 0)
        return 0; /* EINTR is as good as a short wait: the caller looks at its clock */
    unsigned seen = read_keys(t, fds[0].revents, keys, size, ret_len);
    if (fds[1].revents)
        seen |= settle(t);
    uint64_t count;
    if (fds[2].revents && read(t->poke_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        seen |= TERMINAL_POKED;
    return seen;
}

void terminal_poke(struct terminal *t)
{
    uint64_t one = 1;
    ssize_t n = write(t->poke_fd, &one, sizeof(one));
    must(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* full means: poked often enough */
}
