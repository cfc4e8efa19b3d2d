/* SPDX-License-Identifier: Apache-2.0 */
/* Connections for callers: as many as allowed, each given back or dropped; and what a new one says.
 */
#include "client/c/src/pool.h"

#include "client/c/src/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct place {
    int listener;
    struct address_book *book;
    struct greeting greeting;
    struct pool pool;
};

static int64_t in_ms(int ms)
{
    return clock_ns() + (int64_t)ms * NS_PER_MS;
}

static void open_place(struct place *p, unsigned max)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    char text[64];
    memset(p, 0, sizeof(*p));
    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(p->listener, 16), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&in, &len), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
    assert_int_equal(address_book_new(text, &p->book), 0);
    assert_int_equal(greeting_init(&p->greeting, NULL, NULL), 0);
    pool_init(&p->pool, p->book, &p->greeting, max, 1000);
}

static void close_place(struct place *p)
{
    pool_fini(&p->pool);
    assert_int_equal(p->pool.open, 0);
    greeting_fini(&p->greeting);
    address_book_free(p->book);
    close(p->listener);
}

static void connections_are_used_again(void **state)
{
    (void)state;
    struct place p;
    struct conn *a, *b;
    open_place(&p, 4);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &a), 0);
    assert_false(conn_notes(a)->is_reused);
    pool_give(&p.pool, a);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &b), 0);
    assert_ptr_equal(a, b);
    assert_true(conn_notes(b)->is_reused);
    assert_int_equal(p.pool.opened, 1);
    pool_drop(&p.pool, b);
    close_place(&p);
}

static void there_are_no_more_than_allowed(void **state)
{
    (void)state;
    struct place p;
    struct conn *c[3];
    open_place(&p, 2);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &c[0]), 0);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &c[1]), 0);
    int64_t began = clock_ns();
    assert_int_equal(pool_take(&p.pool, in_ms(10), &c[2]), -EBUSY);
    assert_true(clock_ns() - began >= 10LL * NS_PER_MS);
    pool_drop(&p.pool, c[0]);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &c[2]), 0);
    pool_give(&p.pool, c[1]);
    pool_give(&p.pool, c[2]);
    close_place(&p);
}

static void those_of_a_server_that_has_gone_are_not_used(void **state)
{
    (void)state;
    struct place p;
    struct conn *a, *b;
    open_place(&p, 4);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &a), 0);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &b), 0);
    pool_give(&p.pool, a);
    pool_flush(&p.pool);
    assert_int_equal(p.pool.open, 1);
    pool_give(&p.pool, b); /* it was under way meanwhile */
    assert_int_equal(p.pool.open, 0);
    assert_null(p.pool.idle);
    close_place(&p);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct place p;
    struct conn *c;
    open_place(&p, 1);
    close(p.listener);
    for (int i = 0; i < 3; i++) { /* and its place is free again */
        assert_int_equal(pool_take(&p.pool, in_ms(5000), &c), -ECONNREFUSED);
    }
    p.listener = -1;
    close_place(&p);
}

static void the_greeting_is_tried_without(void **state)
{
    (void)state;
    struct place p;
    struct conn *c;
    struct greeting g;
    open_place(&p, 1);
    assert_int_equal(greeting_init(&g, "user", "secret"), 0);
    assert_int_equal(pool_take(&p.pool, in_ms(5000), &c), 0);
    assert_ptr_equal(greeting_begin(&g, c), &g.with);
    assert_int_equal(conn_notes(c)->skip, 2);
    assert_int_equal(conn_notes(c)->auth, 1);
    assert_true(greeting_was_refused(&g, c)); /* closed, and not a word */
    assert_ptr_equal(greeting_begin(&g, c), &g.without);
    assert_int_equal(conn_notes(c)->skip, 1);
    assert_false(greeting_was_refused(&g, c));
    assert_true(g.with.bytes > g.without.bytes);
    static const char auth[] = "*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n";
    assert_int_equal(g.without.bytes, sizeof(auth) - 1);
    assert_memory_equal(g.without.parts[0].iov_base, auth, sizeof(auth) - 1);
    greeting_fini(&g);
    pool_drop(&p.pool, c);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(there_are_no_more_than_allowed),
        cmocka_unit_test(those_of_a_server_that_has_gone_are_not_used),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(the_greeting_is_tried_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
