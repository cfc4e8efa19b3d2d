/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/nodes_command.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS_MAX = 8 };

struct run {
    int status;
    char *out, *err; /* owned: drop() */
};

/* The words of `line`, cut at blanks, as the command's arguments. */
static struct run run(const char *line)
{
    struct run r = {0};
    size_t out_len, err_len;
    int argc = 0;
    char *argv[ARGS_MAX + 1], *rest, *words = strdup(line);
    assert_non_null(words);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    FILE *out = open_memstream(&r.out, &out_len), *err = open_memstream(&r.err, &err_len);
    assert_true(out && err);
    r.status = nodes_command(argc, argv, out, err);
    fclose(out);
    fclose(err);
    free(words);
    return r;
}

static void drop(struct run *r)
{
    free(r->out);
    free(r->err);
}

static int listen_somewhere(uint16_t *ret_port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *ret_port = ntohs(sa.sin_port);
    return fd;
}

struct server {
    int fd;
    const char *answer;
    char asked[64];
};

static void serve_one(void *arg)
{
    struct server *s = arg;
    int client = accept(s->fd, NULL, NULL);
    ssize_t n = read(client, s->asked, sizeof(s->asked) - 1);
    (void)n;
    for (const char *p = s->answer; *p; p++) /* byte by byte, as a network may */
        (void)!send(client, p, 1, MSG_NOSIGNAL);
    close(client);
}

/* What the command says of a server that answers like this, then closes. "PORT" in `expected`
 * stands for its port. */
static void check_answer(const char *answer, int status, const char *out, const char *expected)
{
    uint16_t port;
    struct server s = {.fd = listen_somewhere(&port), .answer = answer};
    struct thread *t = NULL;
    char line[64], at[32], error[200];
    snprintf(at, sizeof(at), "127.0.0.1:%u", port);
    snprintf(line, sizeof(line), "nodes --connect %s --json", at);
    assert_int_equal(thread_start("server", serve_one, &s, &t), 0);
    struct run r = run(line);
    assert_int_equal(thread_join(t, NSEC_NEVER), 0);
    close(s.fd);
    assert_string_equal(s.asked, "*2\r\n$4\r\nINFO\r\n$8\r\nsumcache\r\n");
    error[0] = '\0';
    if (expected[0])
        snprintf(error, sizeof(error), "sumcache nodes: %s %s\n", at, expected);
    if (r.status != status || strncmp(r.out, out, strlen(out)) != 0 || strcmp(r.err, error) != 0)
        fail_msg("%s: %d\n%s%s", answer, r.status, r.out, r.err);
    drop(&r);
}

static void test_answers(void **state)
{
    (void)state;
    check_answer("$48\r\n# Sumcache\r\nnodes:1\r\nnode0:name=a:1,state=up\r\n\r\n\r\n", 0,
                 "{\"well\":true,", "");
    check_answer("$49\r\n# Sumcache\r\nnodes:1\r\nnode0:name=a:1,state=out\r\n\r\n\r\n", 1,
                 "{\"well\":false,", "");
    check_answer("$2\r\n\r\n\r\n", 2, "", "is no sumcache: its INFO has no section Sumcache");
    check_answer("$-1\r\n", 2, "", "is no sumcache: its INFO has no section Sumcache");
    check_answer("+OK\r\n", 2, "", "is no sumcache: its INFO has no section Sumcache");
    check_answer("-ERR max number of clients reached\r\n", 2, "",
                 "answers: ERR max number of clients reached");
    check_answer("HTTP/1.1 400 Bad Request\r\n", 2, "",
                 "is no sumcache: it does not answer as Redis does");
    check_answer("$99999999999\r\n", 2, "", "is no sumcache: it does not answer as Redis does");
    check_answer("$49\r\n# Sumcache\r\n", 2, "", "cannot be asked: Connection reset by peer");
}

static void test_nobody_there(void **state)
{
    (void)state;
    uint16_t port;
    char line[64], expected[100];
    close(listen_somewhere(&port));
    snprintf(line, sizeof(line), "nodes --connect=%u", port);
    snprintf(expected, sizeof(expected), "sumcache nodes: %u cannot be asked: Connection refused\n",
             port);
    struct run r = run(line);
    assert_int_equal(r.status, 2);
    assert_string_equal(r.out, "");
    assert_string_equal(r.err, expected);
    drop(&r);
}

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } CASES[] = {
        {"nodes all", "unknown argument: all (see --help)"},
        {"nodes --connect", "--connect needs a value"},
        {"nodes --connects=a", "unknown argument: --connects=a (see --help)"},
        {"nodes --connect=", "--connect needs a value"},
        {"nodes --connect a/b", "--connect: not HOST:PORT: a/b"},
        {"nodes --connect a:0", "--connect: not HOST:PORT: a:0"},
        {"nodes --connect 1:70000", "--connect: not HOST:PORT: 1:70000"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct run r = run(CASES[i].line);
        char expected[200];
        snprintf(expected, sizeof(expected), "sumcache nodes: %s\n", CASES[i].error);
        if (r.status != 2 || r.out[0] != '\0' || strcmp(r.err, expected) != 0)
            fail_msg("%s: %d\n%s%s", CASES[i].line, r.status, r.out, r.err);
        drop(&r);
    }
    struct run r = run("nodes --watch --help");
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "Usage: sumcache nodes "));
    drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
