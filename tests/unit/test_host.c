/* SPDX-License-Identifier: Apache-2.0 */
#include "os/host.h"

#include "base/nsec.h"
#include "os/file.h"
#include "os/process.h"
#include "os/thread.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A listening socket that shares its port as a worker's does; *ret_at is where it is. */
static int listen_somewhere(struct addr *ret_at)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *ret_at = (struct addr){ADDR_V4, ntohs(sa.sin_port), {127, 0, 0, 1}};
    return fd;
}

static void test_taken_port(void **state)
{
    (void)state;
    struct addr at, foreign = {ADDR_V4, 6379, {192, 0, 2, 1}};
    uint16_t port = 0;
    int fd = listen_somewhere(&at);
    assert_int_equal(host_can_listen(&at), -EADDRINUSE);
    assert_int_equal(host_free_port(at.port, at.port, &port), -EADDRINUSE);
    assert_int_equal(port, 0);
    close(fd);
    assert_int_equal(host_can_listen(&at), 0);
    assert_int_equal(host_free_port(at.port, at.port, &port), 0);
    assert_int_equal(port, at.port);
    assert_int_equal(host_can_listen(&foreign), -EADDRNOTAVAIL); /* TEST-NET-1: nobody's */
}

struct server {
    int fd;
    const char *answer; /* NULL: none */
    struct thread_lock lock;
    bool asked_enough;
};

static void serve_one(void *arg)
{
    struct server *s = arg;
    char question[8];
    int client = accept(s->fd, NULL, NULL);
    if (s->answer) {
        ssize_t n = read(client, question, 6);
        (void)n;
        for (const char *p = s->answer; *p; p++) /* byte by byte, as a network may */
            (void)!send(client, p, 1, MSG_NOSIGNAL);
    }
    thread_lock_take(&s->lock);
    while (!s->asked_enough)
        thread_lock_wait(&s->lock, NSEC_NEVER);
    thread_lock_give(&s->lock);
    close(client);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        uint64_t patience;
        bool same;
    } cases[] = {
        {"+PONG\r\n", 20 * NSEC_S, true},     {"+PONG\r\nmore", 20 * NSEC_S, true},
        {"-LOADING\r\n", 20 * NSEC_S, false}, {"+PONGS\r\n", 20 * NSEC_S, false},
        {"+PO", 5 * NSEC_MS, false},          {NULL, 5 * NSEC_MS, false},
    };
    struct addr at;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct server s = {.fd = listen_somewhere(&at), .answer = cases[i].answer};
        struct thread *t = NULL;
        thread_lock_init(&s.lock);
        assert_int_equal(thread_start("server", serve_one, &s, &t), 0);
        bool same = host_answers(&at, STR("PING\r\n"), STR("+PONG\r\n"), cases[i].patience);
        assert_int_equal(same, cases[i].same);
        thread_lock_take(&s.lock);
        s.asked_enough = true;
        thread_lock_notify(&s.lock);
        thread_lock_give(&s.lock);
        assert_int_equal(thread_join(t, NSEC_NEVER), 0);
        thread_lock_fini(&s.lock);
        close(s.fd);
    }
    assert_false(host_answers(&at, STR("PING\r\n"), STR("+PONG\r\n"), NSEC_S)); /* nobody there */
}

static void test_a_connection(void **state)
{
    (void)state;
    char got[16];
    struct addr at;
    int listener = listen_somewhere(&at);
    uint64_t soon = process_now_ns() + 20 * NSEC_S;
    int fd = host_connect(&at, soon), server = accept(listener, NULL, NULL);
    assert_true(fd >= 0 && server >= 0);
    assert_int_equal(host_send(fd, STR("question"), soon), 0);
    assert_int_equal(read(server, got, sizeof(got)), 8);
    assert_memory_equal(got, "question", 8);
    assert_int_equal(host_receive(fd, got, sizeof(got), process_now_ns() + NSEC_MS), -ETIMEDOUT);
    assert_int_equal(send(server, "answer", 6, MSG_NOSIGNAL), 6);
    assert_int_equal(host_receive(fd, got, sizeof(got), soon), 6);
    assert_memory_equal(got, "answer", 6);
    close(server);
    assert_int_equal(host_receive(fd, got, sizeof(got), soon), 0);
    host_close(fd);
    close(listener);
    assert_int_equal(host_connect(&at, soon), -ECONNREFUSED);
}

/* More than the kernel holds, to one who reads nothing. */
static void test_one_who_takes_nothing(void **state)
{
    (void)state;
    static char bytes[64 * 1024];
    struct addr at;
    int listener = listen_somewhere(&at), err = 0;
    int fd = host_connect(&at, process_now_ns() + 20 * NSEC_S);
    assert_true(fd >= 0);
    for (int i = 0; i < 1000 && !err; i++)
        err = host_send(fd, (struct str){bytes, sizeof(bytes)}, process_now_ns() + 20 * NSEC_MS);
    assert_int_equal(err, -ETIMEDOUT);
    host_close(fd);
    close(listener);
}

static void test_a_unix_socket(void **state)
{
    (void)state;
    char dir[200], path[300], got[16];
    uint64_t soon = process_now_ns() + 20 * NSEC_S;
    assert_int_equal(file_temp_dir("sumcache-test-", dir, sizeof(dir)), 0);
    snprintf(path, sizeof(path), "%s/socket", dir);
    assert_int_equal(host_connect_unix(path, soon), -ENOENT);
    int listener = host_listen_unix(path, 0600);
    assert_true(listener >= 0);
    int fd = host_connect_unix(path, soon), server = accept(listener, NULL, NULL);
    assert_true(fd >= 0 && server >= 0);
    assert_int_equal(host_send(fd, STR("word"), soon), 0);
    assert_int_equal(read(server, got, sizeof(got)), 4);
    close(server);
    host_close(fd);
    close(listener);
    assert_int_equal(host_connect_unix(path, soon), -ECONNREFUSED);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(host_connect_unix(path, soon), -ENAMETOOLONG);
    file_remove_tree(dir);
}

static void test_find(void **state)
{
    (void)state;
    struct addr at;
    const char *why = NULL;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(host_find(STR("127.0.0.2"), 7000, &at, &why), 0);
    assert_string_equal(addr_print(&at, text), "127.0.0.2:7000");
    assert_int_equal(host_find(STR("::1"), 7000, &at, &why), 0);
    assert_string_equal(addr_print(&at, text), "[::1]:7000");
    assert_null(why);
    assert_int_equal(host_find(STR("no host"), 7000, &at, &why), -ENOENT);
    assert_non_null(why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_port),    cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_connection),  cmocka_unit_test(test_one_who_takes_nothing),
        cmocka_unit_test(test_a_unix_socket), cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
