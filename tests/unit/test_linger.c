/* SPDX-License-Identifier: Apache-2.0 */
#include "os/linger.h"

#include "base/nsec.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { OURS, THEIRS };

static const size_t KIB = 1024;

static void tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    fds[THEIRS] = socket(AF_INET, SOCK_STREAM, 0);
    int bytes = 4096; /* so that much stays in the socket of the other side */
    assert_int_equal(setsockopt(fds[THEIRS], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
    assert_int_equal(connect(fds[THEIRS], (struct sockaddr *)&at, len), 0);
    fds[OURS] = accept(listener, NULL, NULL);
    assert_true(fds[OURS] >= 0);
    close(listener);
}

static void unix_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static size_t fill(int fd)
{
    static const char bytes[1024];
    size_t sent = 0;
    for (ssize_t n; (n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
        sent += (size_t)n;
    return sent;
}

/* All that comes until the end, and how it ended. */
static size_t read_all(int fd, struct linger_list *l, uint64_t now, ssize_t *ret_last)
{
    char bytes[1024];
    size_t got = 0;
    while ((*ret_last = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        got += (size_t)*ret_last;
        linger_step(l, now);
    }
    return got;
}

static void all_is_read_by_who_still_sends(void (*pair)(int fds[2]))
{
    struct linger_list l = {0};
    int fds[2];
    pair(fds);
    size_t sent = fill(fds[OURS]);
    assert_true(sent > 16 * KIB);
    assert_int_equal(send(fds[THEIRS], "more", 4, 0), 4);
    linger_take(&l, fds[OURS], NSEC_S);
    assert_int_equal(l.count, 1);
    assert_int_equal(linger_due(&l, NSEC_S), NSEC_S + 5 * NSEC_MS);
    assert_int_equal(send(fds[THEIRS], "and more", 8, MSG_NOSIGNAL), 8);
    linger_step(&l, NSEC_S + NSEC_MS);
    ssize_t last;
    assert_int_equal(read_all(fds[THEIRS], &l, NSEC_S + 2 * NSEC_MS, &last), sent);
    assert_int_equal(last, 0);
    close(fds[THEIRS]);
    struct pollfd gone = {.fd = fds[OURS], .events = POLLIN};
    if (l.count > 0) /* the end has yet to be acknowledged */
        assert_int_equal(poll(&gone, 1, 10000), 1);
    linger_step(&l, NSEC_S + 3 * NSEC_MS);
    assert_int_equal(l.count, 0);
    assert_true(linger_due(&l, NSEC_S) == NSEC_NEVER);
    linger_fini(&l);
}

static void who_still_sends_reads_all_tcp(void **state)
{
    (void)state;
    all_is_read_by_who_still_sends(tcp_pair);
}

static void who_still_sends_reads_all_unix(void **state)
{
    (void)state;
    all_is_read_by_who_still_sends(unix_pair);
}

static void what_has_arrived_is_closed_at_once(void **state)
{
    (void)state;
    struct linger_list l = {0};
    int fds[2];
    unix_pair(fds);
    assert_int_equal(send(fds[THEIRS], "x", 1, 0), 1); /* not a reset for the other side, either */
    linger_take(&l, fds[OURS], NSEC_S);
    assert_int_equal(l.count, 0);
    char byte;
    assert_int_equal(recv(fds[THEIRS], &byte, 1, 0), 0);
    close(fds[THEIRS]);
    linger_fini(&l);
}

static void who_has_gone_is_not_waited_for(void **state)
{
    (void)state;
    struct linger_list l = {0};
    int fds[2];
    unix_pair(fds);
    (void)fill(fds[OURS]);
    close(fds[THEIRS]);
    linger_take(&l, fds[OURS], NSEC_S);
    assert_int_equal(l.count, 0);
    linger_fini(&l);
}

static void who_reads_nothing_is_not_waited_for_long(void **state)
{
    (void)state;
    struct linger_list l = {0};
    int fds[2];
    tcp_pair(fds);
    (void)fill(fds[OURS]);
    linger_take(&l, fds[OURS], NSEC_S);
    linger_step(&l, NSEC_S + 499 * NSEC_MS);
    assert_int_equal(l.count, 1);
    linger_step(&l, NSEC_S + 500 * NSEC_MS);
    assert_int_equal(l.count, 0);
    close(fds[THEIRS]);
    linger_fini(&l);
}

static void who_reads_slowly_has_a_second(void **state)
{
    (void)state;
    struct linger_list l = {0};
    int fds[2];
    unix_pair(fds);
    (void)fill(fds[OURS]);
    linger_take(&l, fds[OURS], NSEC_S);
    for (int i = 1; i < 10; i++) {
        char bytes[1024];
        assert_true(recv(fds[THEIRS], bytes, sizeof(bytes), 0) > 0);
        linger_step(&l, NSEC_S + (uint64_t)i * 100 * NSEC_MS);
        assert_int_equal(l.count, 1);
    }
    linger_step(&l, 2 * NSEC_S);
    assert_int_equal(l.count, 0);
    close(fds[THEIRS]);
    linger_fini(&l);
}

static void all_are_closed_at_the_end(void **state)
{
    (void)state;
    struct linger_list l = {0};
    int theirs[40];
    for (int i = 0; i < 40; i++) {
        int fds[2];
        unix_pair(fds);
        (void)fill(fds[OURS]);
        theirs[i] = fds[THEIRS];
        linger_take(&l, fds[OURS], NSEC_S);
    }
    assert_int_equal(l.count, 40);
    linger_fini(&l);
    for (int i = 0; i < 40; i++) {
        ssize_t last;
        (void)read_all(theirs[i], &l, NSEC_S, &last);
        assert_int_equal(last, 0);
        close(theirs[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_still_sends_reads_all_tcp),
        cmocka_unit_test(who_still_sends_reads_all_unix),
        cmocka_unit_test(what_has_arrived_is_closed_at_once),
        cmocka_unit_test(who_has_gone_is_not_waited_for),
        cmocka_unit_test(who_reads_nothing_is_not_waited_for_long),
        cmocka_unit_test(who_reads_slowly_has_a_second),
        cmocka_unit_test(all_are_closed_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
