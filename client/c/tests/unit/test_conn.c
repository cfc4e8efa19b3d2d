/* SPDX-License-Identifier: Apache-2.0 */
/* A connection and its deadlines, to a socket of this process. */
#include "client/c/src/conn.h"

#include "client/c/src/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LARGE = 64 << 20 };

struct peer {
    int listener, fd;
    struct address address;
    struct conn *conn;
};

static int64_t in_ms(int ms)
{
    return clock_ns() + (int64_t)ms * NS_PER_MS;
}

static void listen_on(struct peer *p)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&p->address.storage;
    memset(p, 0, sizeof(*p));
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->address.len = sizeof(*in);
    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)in, sizeof(*in)), 0);
    assert_int_equal(listen(p->listener, 1), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)in, &p->address.len), 0);
}

static void meet(struct peer *p)
{
    listen_on(p);
    p->conn = conn_new(&p->address, 1000);
    assert_non_null(p->conn);
    assert_int_equal(conn_wait_connected(p->conn, in_ms(5000)), 0);
    p->fd = accept(p->listener, NULL, NULL);
    assert_true(p->fd >= 0);
}

static void part(struct peer *p)
{
    conn_free(p->conn);
    close(p->fd);
    close(p->listener);
}

static void say(struct peer *p, const char *text)
{
    assert_int_equal(write(p->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void replies_are_waited_for(void **state)
{
    (void)state;
    struct peer p;
    struct item item;
    meet(&p);
    assert_false(conn_has_received(p.conn));
    assert_int_equal(conn_wait_next(p.conn, in_ms(5), &item), -ETIMEDOUT);
    say(&p, "+O");
    assert_int_equal(conn_wait_next(p.conn, in_ms(5), &item), -ETIMEDOUT);
    say(&p, "K\r\n:1\r\n");
    assert_int_equal(conn_wait_next(p.conn, in_ms(5000), &item), 0);
    assert_int_equal(item.type, ITEM_STATUS);
    bytes_unref(item.bytes);
    assert_int_equal(conn_wait_next(p.conn, in_ms(5000), &item), 0);
    assert_int_equal(item.number, 1);
    assert_true(conn_has_received(p.conn));
    assert_int_equal(conn_take_bytes_in(p.conn), 9);
    assert_int_equal(conn_take_bytes_in(p.conn), 0);
    say(&p, "$1001\r\n");
    assert_int_equal(conn_wait_next(p.conn, in_ms(5000), &item), -EMSGSIZE);
    part(&p);
}

static void who_closes(void **state)
{
    (void)state;
    struct peer p;
    struct item item;
    meet(&p);
    say(&p, "$10\r\nhalf");
    assert_int_equal(shutdown(p.fd, SHUT_RDWR), 0);
    assert_int_equal(conn_wait_next(p.conn, in_ms(5000), &item), -ECONNRESET);
    part(&p);
}

static void who_reads_nothing(void **state)
{
    (void)state;
    struct peer p;
    char *large = calloc(1, LARGE);
    assert_non_null(large);
    meet(&p);
    struct iovec parts[2] = {{large, LARGE}, {large, LARGE}};
    int64_t began = clock_ns();
    assert_int_equal(conn_send_all(p.conn, parts, 2, in_ms(20)), -ETIMEDOUT);
    assert_true(clock_ns() - began >= 20LL * NS_PER_MS);
    assert_int_equal(conn_send(p.conn, parts, 1), 0); /* full */
    part(&p);
    free(large);
}

static void what_is_sent_arrives(void **state)
{
    (void)state;
    struct peer p;
    meet(&p);
    char text[] = "abcd";
    struct iovec parts[3] = {{text, 2}, {text, 0}, {text + 2, 2}};
    assert_int_equal(conn_send_all(p.conn, parts, 3, in_ms(5000)), 0);
    char got[5] = "";
    assert_int_equal(recv(p.fd, got, 4, MSG_WAITALL), 4);
    assert_string_equal(got, "abcd");
    part(&p);
}

static void nobody_there(void **state)
{
    (void)state;
    struct peer p;
    listen_on(&p);
    close(p.listener);
    struct conn *c = conn_new(&p.address, 1000);
    if (c != NULL) { /* loopback may refuse at once */
        assert_int_equal(conn_wait_connected(c, in_ms(5000)), -ECONNREFUSED);
    }
    assert_null(conn_free(c));
    struct address nowhere = {.storage = {.ss_family = AF_UNIX}, .len = sizeof(nowhere.storage)};
    nowhere.len = 100;
    memcpy((char *)&nowhere.storage + sizeof(sa_family_t), "/nowhere", 9);
    assert_null(conn_new(&nowhere, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_waited_for), cmocka_unit_test(who_closes),
        cmocka_unit_test(who_reads_nothing),      cmocka_unit_test(what_is_sent_arrives),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
