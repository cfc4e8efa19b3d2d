/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/local_nodes.h"

#include "base/nsec.h"
#include "os/file.h"
#include "os/host.h"
#include "os/process.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { LOG_MAX = 4000 };

static struct process_events *events;
static char log_text[LOG_MAX];

static void keep(void *owner, const char *line, size_t len)
{
    (void)owner;
    size_t used = strlen(log_text);
    if (used + len < sizeof(log_text))
        memcpy(log_text + used, line, len);
}

static struct log test_log = {.level = LOG_DEBUG, .sink = keep};

static unsigned count_in_log(const char *what)
{
    unsigned count = 0;
    for (const char *at = log_text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static int empty_log(void **state)
{
    (void)state;
    memset(log_text, 0, sizeof(log_text));
    return 0;
}

static void test_real_nodes(void **state)
{
    (void)state;
    char path[500], error[LOCAL_NODES_ERROR_MAX];
    struct local_nodes *l = NULL;
    if (process_find_program("redis-server", path, sizeof(path)) != 0)
        skip();
    assert_int_equal(local_nodes_start(2, 5 << 20, &test_log, &l, error), 0);
    assert_int_equal(local_nodes_count(l), 2);
    while (!local_nodes_are_ready(l)) {
        local_nodes_step(l);
        process_events_wait(events, 10 * NSEC_MS);
    }
    local_nodes_settle(l);
    struct addr a = *local_nodes_addr(l, 0), b = *local_nodes_addr(l, 1);
    assert_false(addr_eq(&a, &b));
    static const struct {
        struct str ask, answer;
    } settings[] = {
        {STR("CONFIG GET maxmemory\r\n"), STR("*2\r\n$9\r\nmaxmemory\r\n$7\r\n5242880\r\n")},
        {STR("CONFIG GET maxmemory-policy\r\n"),
         STR("*2\r\n$16\r\nmaxmemory-policy\r\n$11\r\nallkeys-lru\r\n")},
        {STR("CONFIG GET save\r\n"), STR("*2\r\n$4\r\nsave\r\n$0\r\n\r\n")},
        {STR("CONFIG GET appendonly\r\n"), STR("*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n")},
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        assert_true(host_answers(&b, settings[i].ask, settings[i].answer, 20 * NSEC_S));

    /* One that ends comes back on its port. */
    (void)host_answers(&a, STR("SHUTDOWN NOSAVE\r\n"), STR("x"), 20 * NSEC_S);
    while (count_in_log("local-node-started") == 0 || !local_nodes_are_ready(l)) {
        local_nodes_step(l);
        process_events_wait(events, 10 * NSEC_MS);
    }
    assert_int_equal(count_in_log("local-node-died"), 1);
    assert_true(addr_eq(local_nodes_addr(l, 0), &a));
    assert_true(host_answers(&a, STR("PING\r\n"), STR("+PONG\r\n"), 20 * NSEC_S));

    local_nodes_stop(l, false);
    assert_int_equal(host_can_listen(&a), 0);
    assert_int_equal(host_can_listen(&b), 0);
}

/* Runs a test with $PATH leading to a directory of its own; with a program, to that. */
static char *enter_path(const char *program, char dir[200])
{
    char path[300];
    char *was = strdup(getenv("PATH"));
    assert_int_equal(file_temp_dir("sumcache-test-", dir, 200), 0);
    setenv("PATH", dir, 1);
    if (program) {
        snprintf(path, sizeof(path), "%.200s/redis-server", dir);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(program, f) >= 0);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(chmod(path, 0755), 0);
    }
    return was;
}

static void leave_path(char *was, const char *dir)
{
    setenv("PATH", was, 1);
    free(was);
    file_remove_tree(dir);
}

static void test_no_redis_server(void **state)
{
    (void)state;
    char dir[200], error[LOCAL_NODES_ERROR_MAX];
    struct local_nodes *l = NULL;
    char *was = enter_path(NULL, dir);
    assert_int_equal(local_nodes_start(1, 1 << 20, &test_log, &l, error), -ENOENT);
    assert_non_null(strstr(error, "no redis-server in $PATH"));
    leave_path(was, dir);
    was = enter_path("neither a script nor a binary", dir);
    assert_int_equal(local_nodes_start(1, 1 << 20, &test_log, &l, error), -ENOEXEC);
    assert_non_null(strstr(error, "cannot start redis-server"));
    assert_null(l);
    leave_path(was, dir);
}

/* One that cannot live: some other ports are tried at once, then there are pauses between. */
static void test_dies_at_once(void **state)
{
    (void)state;
    char dir[200], error[LOCAL_NODES_ERROR_MAX];
    struct local_nodes *l = NULL;
    char *was = enter_path("#!/bin/sh\nexit 3\n", dir);
    assert_int_equal(local_nodes_start(1, 1 << 20, &test_log, &l, error), 0);
    uint64_t before = process_now_ns(), next = local_nodes_step(l);
    while (count_in_log("status=3") < 6) {
        process_events_wait(events, 10 * NSEC_MS);
        before = process_now_ns();
        next = local_nodes_step(l);
    }
    assert_true(next >= before + NSEC_S);
    assert_int_equal(count_in_log("local-node-started"), 5);
    assert_false(local_nodes_are_ready(l));
    local_nodes_stop(l, false);
    leave_path(was, dir);
}

/* One that does not heed SIGTERM is killed. */
static void test_deaf(void **state)
{
    (void)state;
    char dir[200], error[LOCAL_NODES_ERROR_MAX];
    struct local_nodes *l = NULL;
    char *was = enter_path("#!/bin/sh\ntrap '' TERM\nwhile :; do /bin/sleep 1; done\n", dir);
    assert_int_equal(local_nodes_start(1, 1 << 20, &test_log, &l, error), 0);
    local_nodes_step(l);
    assert_int_equal(count_in_log("died"), 0);
    uint64_t start = process_now_ns();
    local_nodes_stop(l, false); /* ends only when the child has */
    assert_true(process_now_ns() - start < 20 * NSEC_S);
    leave_path(was, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_real_nodes, empty_log),
        cmocka_unit_test_setup(test_no_redis_server, empty_log),
        cmocka_unit_test_setup(test_dies_at_once, empty_log),
        cmocka_unit_test_setup(test_deaf, empty_log),
    };
    if (process_events_new(&events) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    process_events_free(events);
    return failed;
}
