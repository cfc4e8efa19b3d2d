/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include "base/nsec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct process_events *events; /* of the whole program: signals have one owner */

/* Runs a shell command as a child and waits for its end by events alone. */
static struct process_end run(const char *command)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    struct process_end end = {0};
    int pid = 0;
    assert_int_equal(process_spawn("/bin/sh", "/", argv, &pid), 0);
    while (!process_has_ended(pid, &end))
        process_events_wait(events, NSEC_S);
    return end;
}

static void test_events(void **state)
{
    (void)state;
    assert_int_equal(process_events_wait(events, 0), 0);
    process_events_poke(events);
    process_events_poke(events);
    assert_int_equal(process_events_wait(events, NSEC_NEVER), PROCESS_POKE);
    assert_int_equal(process_events_wait(events, 0), 0);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT);
    process_events_poke(events);
    assert_int_equal(process_events_wait(events, NSEC_NEVER), PROCESS_STOP | PROCESS_POKE);
    assert_int_equal(process_events_reloader(events), 0);
    assert_int_equal(process_hang_up(getpid()), 0);
    assert_int_equal(process_events_wait(events, NSEC_NEVER), PROCESS_RELOAD);
    assert_int_equal(process_events_reloader(events), (unsigned)getpid());
    kill(getpid(), SIGPIPE); /* ignored */
    assert_int_equal(process_events_wait(events, NSEC_MS), 0);
}

static void test_ends_of_children(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        bool by_signal;
        int code;
    } cases[] = {
        {"exit 0", false, 0},
        {"exit 7", false, 7},
        {"kill -KILL $$", true, SIGKILL},
        {"kill -TERM $$", true, SIGTERM},           /* not blocked in it, as it is in us */
        {"kill -PIPE $$", true, SIGPIPE},           /* nor ignored */
        {"read line && exit 1; exit 0", false, 0},  /* standard input is at its end */
        {"echo output; echo output >&2", false, 0}, /* goes nowhere */
        {"test ! -e /proc/$$/fd/50", false, 0},     /* see below */
        {"test \"$PWD\" = /", false, 0},
        {"test $(cut -d' ' -f5 /proc/$$/stat) = $$", false, 0}, /* its process group */
    };
    /* A descriptor that some library forgot to mark close-on-exec. */
    assert_int_equal(dup2(STDERR_FILENO, 50), 50);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct process_end end = run(cases[i].command);
        if (end.by_signal != cases[i].by_signal || end.code != cases[i].code)
            fail_msg("%s: %s %d", cases[i].command, end.by_signal ? "signal" : "status", end.code);
    }
    close(50);
}

static void test_signals_to_children(void **state)
{
    (void)state;
    static void (*const sends[])(int) = {process_terminate, process_kill};
    static const int codes[] = {SIGTERM, SIGKILL};
    const char *const argv[] = {"sleep", "1000", NULL};
    for (int i = 0; i < 2; i++) {
        struct process_end end;
        int pid = 0;
        assert_int_equal(process_spawn("/bin/sleep", "/", argv, &pid), 0);
        assert_false(process_has_ended(pid, &end));
        sends[i](pid);
        while (!process_has_ended(pid, &end))
            process_events_wait(events, NSEC_S);
        assert_true(end.by_signal);
        assert_int_equal(end.code, codes[i]);
    }
}

static void test_spawn_fails(void **state)
{
    (void)state;
    const char *const argv[] = {"x", NULL};
    int pid = -5;
    assert_int_equal(process_spawn("/nonexistent/x", "/", argv, &pid), -ENOENT);
    assert_int_equal(process_spawn("/", "/", argv, &pid), -EACCES);
    assert_int_equal(process_spawn("/bin/sh", "/nonexistent", argv, &pid), -ENOENT);
    assert_int_equal(pid, -5);
}

/* A parent that is killed takes its children with it: here a process in between. */
static void test_children_die_with_parent(void **state)
{
    (void)state;
    int tell[2], grandchild = 0;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* so that we can wait for it */
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        const char *const argv[] = {"sleep", "1000", NULL};
        int pid = 0;
        int err = process_spawn("/bin/sleep", "/", argv, &pid);
        pid = err ? -1 : pid;
        (void)!write(tell[1], &pid, sizeof(pid));
        for (;;)
            pause();
    }
    assert_true(parent > 0);
    assert_int_equal(read(tell[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    assert_true(grandchild > 0);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    int status = 0;
    assert_int_equal(waitpid(grandchild, &status, 0), grandchild);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(tell[0]);
    close(tell[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void test_find_program(void **state)
{
    (void)state;
    char path[100], tiny[4];
    assert_int_equal(process_find_program("sh", path, sizeof(path)), 0);
    assert_int_equal(access(path, X_OK), 0);
    assert_int_equal(process_find_program("no-such-program-anywhere", path, sizeof(path)), -ENOENT);
    assert_int_equal(process_find_program("sh", tiny, sizeof(tiny)), -ENAMETOOLONG);
}

static void test_cpu_count(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(process_cpu_count(), CPU_COUNT(&all));
    int first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(process_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void test_file_limit(void **state)
{
    (void)state;
    struct rlimit was, is;
    uint64_t limit = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    struct rlimit low = {60, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(process_raise_file_limit(61, &limit), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &is), 0);
    assert_int_equal(is.rlim_cur, 61);
    assert_int_equal(is.rlim_max, was.rlim_max);
    assert_int_equal(process_raise_file_limit(10, &limit), 0); /* never lowered */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &is), 0);
    assert_int_equal(is.rlim_cur, 61);
    /* More than fs.nr_open is not allowed to root either. */
    assert_int_equal(process_raise_file_limit(UINT64_C(1) << 40, &limit), -EPERM);
    assert_int_equal(limit, was.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

/* A pipe that nobody reads takes what it has room for, and then the line is lost, not the time. */
static void test_stderr_never_blocks(void **state)
{
    (void)state;
    int p[2], was = dup(STDERR_FILENO);
    char line[1000], back[1000];
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(dup2(p[1], STDERR_FILENO), STDERR_FILENO);
    int written = 0;
    while (written < 100000 && process_write_stderr(line, sizeof(line)))
        written++;
    dup2(was, STDERR_FILENO);
    assert_in_range(written, 1, 99999);
    assert_int_equal(read(p[0], back, sizeof(back)), sizeof(back));
    assert_memory_equal(back, line, sizeof(back));
    close(p[0]);
    close(p[1]);
    close(was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_ends_of_children),
        cmocka_unit_test(test_signals_to_children),
        cmocka_unit_test(test_spawn_fails),
        cmocka_unit_test(test_children_die_with_parent),
        cmocka_unit_test(test_find_program),
        cmocka_unit_test(test_cpu_count),
        cmocka_unit_test(test_file_limit),
        cmocka_unit_test(test_stderr_never_blocks),
    };
    if (process_events_new(&events) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    process_events_free(events);
    return failed;
}
