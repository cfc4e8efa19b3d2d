/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process asks of the kernel about itself: signals, limits, children, the clock, its own
 * standard error. Functions return 0 or -errno unless said otherwise.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the main thread waits for. */
enum {
    PROCESS_STOP = 1,     /* SIGTERM or SIGINT; several that came together count as one, here and
                             below */
    PROCESS_CHILD = 2,    /* a child may have ended: ask process_has_ended() */
    PROCESS_POKE = 4,     /* process_events_poke() was called */
    PROCESS_RELOAD = 8,   /* SIGHUP */
    PROCESS_UPGRADE = 16, /* SIGUSR2 */
};

struct process_events; /* opaque */

/*
 * Turns signals into events: from now on SIGTERM, SIGINT, SIGHUP, SIGUSR2 and SIGCHLD are blocked
 * in this thread and in those it starts, and SIGPIPE is ignored. Call it once, before the first
 * thread. Also makes sure that descriptors 0 to 2 are taken, so that no socket can land on them.
 */
int process_events_new(struct process_events **ret_events) MUST_CHECK;
/* Signals stay blocked. NULL is fine; always returns NULL. */
struct process_events *process_events_free(struct process_events *e);

/* The set of PROCESS_… that happened; 0 when timeout_ns (NSEC_NEVER: for ever) has passed. One
 * thread only. */
unsigned process_events_wait(struct process_events *e, uint64_t timeout_ns);
void process_events_poke(struct process_events *e); /* from any thread */
/* Who sent the last SIGHUP, the last SIGUSR2; 0: nobody whom we could know. */
unsigned process_events_reloader(const struct process_events *e);
unsigned process_events_upgrader(const struct process_events *e);
/* The number that came with that SIGUSR2; 0: none did. */
int process_events_upgrade_value(const struct process_events *e);

unsigned process_id(void);
uint64_t process_now_ns(void); /* monotonic */
void process_sleep_ns(uint64_t ns);

/* CPUs the scheduler may run this process on, at least 1. */
unsigned process_cpu_count(void);
/* Of the kernel, for what others must not guess. */
uint64_t process_random(void);
/* A variable of the environment: a loan; NULL: it is not set. */
const char *process_env(const char *name);

/*
 * Tells malloc that memory of `bytes` or more at a time goes back to the system as soon as it is
 * freed. Left to itself it raises that threshold when such memory is freed, and keeps bursts for
 * good. Before there are threads. Ignored where malloc has no such setting.
 */
void process_give_back_memory_from(uint32_t bytes);
/* Gives back what is free between small objects: takes up to a millisecond per 10 MB, so only when
 * there is nothing else to do. Any thread. */
void process_give_back_memory(void);

/*
 * Makes room for `need` open files, raising the hard limit too where that is allowed. -EPERM: the
 * hard limit is lower and stays; *ret_limit tells it (set in this case only).
 */
int process_raise_file_limit(uint64_t need, uint64_t *ret_limit) MUST_CHECK;

/*
 * Writes one line to standard error if that does not block. False: it would have (a pipe that
 * nobody reads), or failed; the line is lost. `len` should be at most PIPE_BUF. Not to be called
 * by two threads at once: both could be told that there is room for one.
 */
bool process_write_stderr(const char *line, size_t len);

/* Does what is written there go to a terminal? */
bool process_is_terminal(FILE *stream);

/* Finds an executable file in those directories of $PATH that are given in full: where we are
 * started is no place to take programs from. -ENOENT; -ENAMETOOLONG. */
int process_find_program(const char *name, char *to, size_t size) MUST_CHECK;

/*
 * Forks. The child unblocks all signals and calls `child`, which is to exec and returns errno where
 * that fails. It may do only what is safe in a signal handler, for there may be threads, and may
 * use all descriptors below `above`, at least 3, as it likes. Returns when exec has come to pass:
 * 0; -errno of fork; or what `child` returned, as -errno, and the process is gone.
 */
int process_fork_exec(int (*child)(void *owner), void *owner, int above, int *ret_pid) MUST_CHECK;

/*
 * Starts a program: its standard input and outputs are /dev/null, it inherits no other descriptor,
 * has a process group of its own (so that Ctrl-C reaches us first) and gets SIGKILL when the
 * calling *thread* ends, however that happens: start children from the main thread. Its working
 * directory is `dir` and may be removed when this has returned. `argv` ends with NULL. -errno of
 * fork, chdir or exec.
 */
int process_spawn(const char *path, const char *dir, const char *const argv[],
                  int *ret_pid) MUST_CHECK;

struct process_end {
    bool by_signal;
    int code; /* the signal's number, or the exit status */
};
/* Has the child ended? Then its pid must not be used any more. `ret` may be NULL. Never waits. */
bool process_has_ended(int pid, struct process_end *ret);
int process_hang_up(int pid) MUST_CHECK; /* SIGHUP, to whatever process; 0 or -errno */
/* SIGUSR2 with a number, the same. */
int process_upgrade(int pid, int value) MUST_CHECK;
void process_terminate(int pid); /* SIGTERM */
void process_kill(int pid);      /* SIGKILL */

/* Ends the process at once: no exit handlers, no flushing. */
void process_exit_now(int status) __attribute__((noreturn));
