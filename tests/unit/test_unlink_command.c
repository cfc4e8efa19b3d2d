/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/unlink_command.h"

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

enum { ARGS_MAX = 12 };

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
    r.status = unlink_command(argc, argv, out, err);
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

enum { ANSWERS_MAX = 6 };

/* Answers one question per connection, the last answer again and again. */
struct server {
    int fd;
    const char *answers[ANSWERS_MAX + 1];
    char asked[ANSWERS_MAX][200];
};

static void serve(void *arg)
{
    struct server *s = arg;
    for (int i = 0; s->answers[i]; i++) {
        int client = accept(s->fd, NULL, NULL);
        ssize_t n = read(client, s->asked[i], sizeof(s->asked[i]) - 1);
        (void)n;
        for (const char *p = s->answers[i]; *p; p++) /* byte by byte, as a network may */
            (void)!send(client, p, 1, MSG_NOSIGNAL);
        close(client);
    }
}

static struct run run_against(struct server *s, const char *arguments)
{
    uint16_t port;
    struct thread *t = NULL;
    char line[200];
    s->fd = listen_somewhere(&port);
    snprintf(line, sizeof(line), "unlink %s --connect 127.0.0.1:%u", arguments, port);
    assert_int_equal(thread_start("server", serve, s, &t), 0);
    struct run r = run(line);
    assert_int_equal(thread_join(t, NSEC_NEVER), 0);
    close(s->fd);
    return r;
}

#define JOB(state, out, reason)                                                                    \
    "*1\r\n*20\r\n$2\r\nid\r\n:7\r\n$7\r\npattern\r\n$4\r\na\r\nb\r\n$5\r\nstate\r\n" state        \
    "\r\n$5\r\nnodes\r\n:3\r\n$10\r\nnodes_done\r\n:2\r\n$9\r\nnodes_out\r\n" out                  \
    "\r\n$7\r\nscanned\r\n:500\r\n$8\r\nunlinked\r\n:40\r\n$7\r\ntook_ms\r\n:61500\r\n$"           \
    "6\r\nreason\r\n" reason "\r\n"

static void test_a_job_from_its_beginning_to_its_end(void **state)
{
    (void)state;
    struct server s = {.answers = {":7\r\n", JOB("$7\r\nrunning", ":0", "$0\r\n"),
                                   JOB("$4\r\ndone", ":0", "$0\r\n")}};
    struct run r = run_against(&s, "a*b --rate 500 --count=10");
    assert_string_equal(s.asked[0], "*7\r\n$15\r\nSUMCACHE.UNLINK\r\n$5\r\nMATCH\r\n$3\r\na*b\r\n"
                                    "$5\r\nCOUNT\r\n$2\r\n10\r\n$4\r\nRATE\r\n$3\r\n500\r\n");
    assert_string_equal(s.asked[1], "*2\r\n$13\r\nSUMCACHE.JOBS\r\n$1\r\n7\r\n");
    assert_string_equal(s.asked[2], s.asked[1]);
    assert_string_equal(r.err, "");
    assert_string_equal(r.out, "job 7 done: 40 keys removed of 500 at 2 nodes, in 1 min 1 s\n");
    assert_int_equal(r.status, 0);
    drop(&r);
}

static void test_how_else_it_may_end(void **state)
{
    (void)state;
    struct server failed = {
        .answers = {":7\r\n", JOB("$6\r\nfailed", ":0", "$17\r\na:1: SCAN: NOPERM")}};
    struct run r = run_against(&failed, "*");
    assert_string_equal(r.err, "sumcache unlink: a:1: SCAN: NOPERM\n");
    assert_int_equal(r.status, 1);
    drop(&r);
    struct server out = {.answers = {":7\r\n", JOB("$4\r\ndone", ":1", "$0\r\n")}};
    r = run_against(&out, "*");
    assert_non_null(strstr(r.out, "\n1 nodes are out; "));
    assert_int_equal(r.status, 0);
    drop(&r);
}

static void test_answers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *answers[2], *error;
    } CASES[] = {
        {{"-ERR unknown command 'SUMCACHE.UNLINK'\r\n"}, " answers: ERR unknown command"},
        {{"+OK\r\n"}, "is no sumcache: it answers no number of a job"},
        {{"HTTP/1.1 400 Bad Request\r\n"}, "is no sumcache: it does not answer as Redis does"},
        {{":7\r\n", "*0\r\n"}, "is no sumcache: it answers no job"},
        {{":7\r\n", "*1\r\n*2\r\n$4\r\nkeys\r\n$1\r\nx\r\n"}, "it answers no job"},
        {{":7\r\n", "-ERR sumcache: no such job\r\n"}, "answers: ERR sumcache: no such job"},
        {{":7\r\n", "*1\r\n*3\r\n:1\r\n"}, "cannot be asked: Connection reset by peer"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct server s = {.answers = {CASES[i].answers[0], CASES[i].answers[1]}};
        struct run r = run_against(&s, "*");
        if (r.status != 2 || r.out[0] != '\0' || !strstr(r.err, CASES[i].error))
            fail_msg("%s: %d\n%s%s", CASES[i].answers[0], r.status, r.out, r.err);
        drop(&r);
    }
}

static void test_left_alone(void **state)
{
    (void)state;
    struct server s = {.answers = {":12\r\n"}};
    struct run r = run_against(&s, "--detach *");
    assert_string_equal(r.out, "12\n");
    assert_int_equal(r.status, 0);
    drop(&r);
}

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } CASES[] = {
        {"unlink", "which keys? (see --help)"},
        {"unlink a b", "unknown argument: b (see --help)"},
        {"unlink a --fast", "unknown argument: --fast (see --help)"},
        {"unlink a --rate", "--rate needs a value"},
        {"unlink a --count=", "--count needs a value"},
        {"unlink -- --detach --rate", "unknown argument: --rate (see --help)"},
        {"unlink a --connect a:0", "--connect: not HOST:PORT: a:0"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct run r = run(CASES[i].line);
        char expected[200];
        snprintf(expected, sizeof(expected), "sumcache unlink: %s\n", CASES[i].error);
        if (r.status != 2 || r.out[0] != '\0' || strcmp(r.err, expected) != 0)
            fail_msg("%s: %d\n%s%s", CASES[i].line, r.status, r.out, r.err);
        drop(&r);
    }
    struct run r = run("unlink --help");
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "Usage: sumcache unlink PATTERN "));
    drop(&r);
}

static void test_a_pattern_that_is_too_long(void **state)
{
    (void)state;
    char line[9000];
    snprintf(line, sizeof(line), "unlink %8500d --connect 1", 7);
    for (char *p = line + 7; *p == ' '; p++)
        *p = 'a';
    struct run r = run(line);
    assert_string_equal(r.err, "sumcache unlink: the pattern is too long\n");
    assert_int_equal(r.status, 2);
    drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_from_its_beginning_to_its_end),
        cmocka_unit_test(test_how_else_it_may_end),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_a_pattern_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
