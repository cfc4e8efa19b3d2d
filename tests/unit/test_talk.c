/* SPDX-License-Identifier: Apache-2.0 */
/* Without TLS; with it: tests/integration/test_command_line.py, beside servers that speak it. */
#include "net/talk.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { HEARD_MAX = 64 };

static int listen_somewhere(struct addr *ret_at)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *ret_at = (struct addr){ADDR_V4, ntohs(sa.sin_port), {127, 0, 0, 1}};
    return fd;
}

/* Answers, then waits for the other side to go, unless it closes first. */
struct server {
    int fd;
    const char *answer;
    bool closes;
};

static void serve_one(void *arg)
{
    struct server *s = arg;
    char question[8];
    int client = accept(s->fd, NULL, NULL);
    ssize_t n = read(client, question, 6);
    for (const char *p = s->answer; *p; p++) /* byte by byte, as a network may */
        (void)!send(client, p, 1, MSG_NOSIGNAL);
    while (!s->closes && n > 0)
        n = read(client, question, sizeof(question));
    close(client);
}

struct heard {
    char bytes[HEARD_MAX];
    size_t len, enough;
};

static bool hear(void *owner, const char *bytes, size_t len)
{
    struct heard *h = owner;
    assert_true(h->len + len < HEARD_MAX);
    memcpy(h->bytes + h->len, bytes, len);
    h->len += len;
    return h->len >= h->enough;
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        bool closes;
        size_t enough;
        int result;
        const char *why;
    } cases[] = {{"+PONG\r\n", false, 7, 0, ""},
                 {"+PONG\r\n", false, 3, 0, ""},
                 {"+PONG\r\n", false, 8, -ETIMEDOUT, "Connection timed out"},
                 {"", false, 1, -ETIMEDOUT, "Connection timed out"},
                 {"+PON", true, 7, -ECONNRESET, "Connection reset by peer"}};
    struct addr at;
    char why[TALK_WHY_MAX];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct server s = {listen_somewhere(&at), cases[i].answer, cases[i].closes};
        struct talk_server server = {.addr = at};
        struct heard h = {.enough = cases[i].enough};
        struct thread *t = NULL;
        assert_int_equal(thread_start("server", serve_one, &s, &t), 0);
        uint64_t patience = cases[i].result == -ETIMEDOUT ? 300 * NSEC_MS : 20 * NSEC_S;
        assert_int_equal(talk(&server, STR("PING\r\n"), patience, hear, &h, why), cases[i].result);
        assert_string_equal(why, cases[i].why);
        assert_memory_equal(h.bytes, cases[i].answer, h.len);
        assert_int_equal(thread_join(t, NSEC_NEVER), 0);
        close(s.fd);
    }
    struct heard h = {.enough = 1};
    struct talk_server nobody = {.addr = at}, no_path = {.unix_path = "/nowhere/socket"};
    assert_int_equal(talk(&nobody, STR("PING\r\n"), NSEC_S, hear, &h, why), -ECONNREFUSED);
    assert_string_equal(why, "Connection refused");
    assert_int_equal(talk(&no_path, STR("PING\r\n"), NSEC_S, hear, &h, why), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
