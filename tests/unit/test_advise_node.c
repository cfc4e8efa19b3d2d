/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/advise_node.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

enum { TALKS_MAX = 2 };

/* Answers each connection in turn, whatever it is asked, then closes it. */
struct server {
    int fd;
    const char *answers[TALKS_MAX]; /* NULL: no further connection comes */
    char asked[TALKS_MAX][1024];
};

static void serve(void *arg)
{
    struct server *s = arg;
    for (int i = 0; i < TALKS_MAX && s->answers[i]; i++) {
        int client = accept(s->fd, NULL, NULL);
        ssize_t n = read(client, s->asked[i], sizeof(s->asked[i]) - 1);
        (void)n;
        for (const char *p = s->answers[i]; *p; p++) /* byte by byte, as a network may */
            (void)!send(client, p, 1, MSG_NOSIGNAL);
        close(client);
    }
}

static struct member listen_somewhere(struct server *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s->fd, 5), 0);
    struct timeval patience = {.tv_sec = 10}; /* for a connection that does not come */
    assert_int_equal(setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&sa, &len), 0);
    return (struct member){
        .name = "node:1", .addr = {ADDR_V4, ntohs(sa.sin_port), {127, 0, 0, 1}}, .weight = 3};
}

static void ask(struct server *s, const struct node_login *login, uint32_t sample,
                struct member *ret_member, struct advise_node *ret)
{
    struct thread *t = NULL;
    *ret_member = listen_somewhere(s);
    assert_int_equal(thread_start("server", serve, s, &t), 0);
    assert_int_equal(advise_node_ask(&(struct advise_way){.login = login}, ret_member, sample, ret),
                     0);
    assert_int_equal(thread_join(t, NSEC_NEVER), 0);
    close(s->fd);
}

#define INFO_TEXT "$22\r\nredis_version:7.0.15\r\n"

static void test_what_it_reads(void **state)
{
    (void)state;
    static const struct node_login login = {.user = {"me", 2}, .password = {"secret", 6}};
    struct server s = {.answers = {"+OK\r\n$38\r\nredis_version:7.0.15\r\nmaxmemory:1024\r\n\r\n"
                                   "*4\r\n$4\r\nsave\r\n$0\r\n\r\n$7\r\ntimeout\r\n$1\r\n0\r\n"
                                   "$16\r\nhuge pages, Dave\r\n$1\r\na\r\n$-1\r\n$2\r\nbb\r\n",
                                   "+OK\r\n:50\r\n:70\r\n"}};
    struct member m;
    struct advise_node n;
    ask(&s, &login, 3, &m, &n);
    assert_string_equal(n.error, "");
    assert_true(str_eq(n.facts.name, STR("node:1")));
    assert_true(str_eq(n.facts.host, STR("127.0.0.1")));
    assert_int_equal(n.facts.weight, 3);
    assert_int_equal(advice_info_number(&n.facts, STR("maxmemory")), 1024);
    assert_int_equal(n.facts.setting_count, 2);
    assert_true(str_eq(advice_setting(&n.facts, STR("timeout")), STR("0")));
    assert_true(n.facts.huge_pages);
    assert_int_equal(n.facts.sampled, 2);
    assert_int_equal(n.facts.largest, 70);
    assert_true(str_eq(n.facts.largest_key, STR("bb")));
    assert_memory_equal(s.asked[0], "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\nsecret\r\n*1\r\n", 38);
    assert_non_null(strstr(s.asked[1], "$5\r\nUSAGE\r\n$2\r\nbb\r\n"));
    advise_node_fini(&n);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct node_login nobody;
    struct server s = {.answers = {INFO_TEXT "\r\n-NOPERM no CONFIG\r\n-NOPERM\r\n-NOPERM\r\n"}};
    struct member m;
    struct advise_node n;
    ask(&s, &nobody, 1, &m, &n);
    assert_string_equal(n.error, "");
    assert_int_equal(n.facts.setting_count, 0);
    assert_true(str_eq(n.facts.config_error, STR("NOPERM no CONFIG")));
    assert_int_equal(n.facts.sampled, 0);
    assert_false(n.facts.huge_pages);
    advise_node_fini(&n);
}

static void check_error(const char *answer, const char *error)
{
    static const struct node_login nobody;
    struct server s = {.answers = {answer}};
    struct member m;
    struct advise_node n;
    ask(&s, &nobody, 0, &m, &n);
    if (strcmp(n.error, error) != 0)
        fail_msg("%s: %s, not %s", answer, n.error, error);
    advise_node_fini(&n);
}

static void test_errors(void **state)
{
    (void)state;
    check_error("-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required.");
    check_error("-ERR a\tb\x01\r\n", "ERR a?b?");
    check_error("HTTP/1.1 400 Bad Request\r\n\r\n", "it does not answer as Redis does");
    check_error("$99999999999\r\n", "it does not answer as Redis does");
    check_error("$0\r\n\r\n*0\r\n$0\r\n\r\n", "it does not answer as Redis does");
    check_error("", "Connection reset by peer");
    /* Answers that have the wrong types are passed over. */
    check_error(INFO_TEXT "\r\n*3\r\n:1\r\n*0\r\n$1\r\na\r\n*0\r\n", "");
    check_error(INFO_TEXT "\r\n*-1\r\n:5\r\n", "");
}

static void test_one_that_is_denied(void **state)
{
    (void)state;
    static const struct node_login nobody;
    struct server s = {.answers = {"-DENIED Redis is running in protected mode\r\n"}};
    struct member m;
    struct advise_node n;
    ask(&s, &nobody, 0, &m, &n);
    assert_string_equal(n.error, "");
    assert_true(n.facts.is_denied);
    advise_node_fini(&n);
    m = (struct member){.name = "x:1"};
    assert_int_equal(advise_node_ask(&(struct advise_way){.login = &nobody}, &m, 0, &n), 0);
    assert_string_equal(n.error, "its name has no address");
    advise_node_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_reads),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_one_that_is_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
