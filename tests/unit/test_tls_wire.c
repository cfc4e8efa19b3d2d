/* SPDX-License-Identifier: Apache-2.0 */
/* What we send: records together, sockets that take any part of them, and the bound of what is
 * kept. */
#include "tls_pair.h"

enum { MORE = 300000 };

/* What waits to be sent; the same is what the peer has to get. */
static void put(struct pair *p, const uint8_t *bytes, size_t len)
{
    assert_int_equal(buf_append(&p->conn.out, &p->chunks, bytes, len), 0);
}

/* The peer gets them, and nothing else. */
static void assert_gets(struct pair *p, const uint8_t *bytes, size_t len)
{
    uint8_t got[20000];
    size_t at = 0;
    pair_carry(p);
    for (;;) {
        int n = SSL_read(p->peer, got, sizeof(got));
        if (n <= 0)
            break;
        assert_true(at + (size_t)n <= len);
        assert_memory_equal(got, bytes + at, n);
        at += (size_t)n;
    }
    assert_int_equal(SSL_get_error(p->peer, -1), SSL_ERROR_WANT_READ);
    assert_int_equal(at, len);
}

/* All of it, as the socket makes room for `step` bytes at a time. */
static void send_in_steps(struct pair *p, size_t len, size_t step)
{
    size_t sent = 0;
    for (size_t i = 0; conn_has_unsent(&p->conn) || i == 0; i++) {
        assert_true(i < 10 * PAIR_LIMIT);
        p->takes = step;
        if (i > 0)
            pair_ready(p, IO_OUT);
        ssize_t n = p->conn.blocked ? 0 : conn_flush(&p->conn);
        assert_true(n >= 0);
        sent += (size_t)n;
    }
    assert_false(p->conn.blocked);
    assert_int_equal(sent, len);
}

static void test_records_go_together(void **state)
{
    struct pair *p = *state;
    static const size_t LENGTHS[] = {1, 16384, 16385, 20000, 100000, MORE};
    static const size_t WRITES[] = {1, 1, 1, 1, 1, 3};
    uint8_t *bytes = pattern(MORE + 10);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        pair_open(p, true, version);
        for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(LENGTHS[0]); i++) {
            put(p, bytes, LENGTHS[i]);
            p->writes = 0;
            assert_int_equal(conn_flush(&p->conn), LENGTHS[i]);
            assert_int_equal(p->writes, WRITES[i]);
            assert_int_equal(chunk_pool_bytes(&p->chunks), 0);
            assert_gets(p, bytes, LENGTHS[i]);
            /* The same of what need not wait, behind something that does. */
            size_t taken;
            put(p, bytes, 10);
            p->writes = 0;
            assert_int_equal(conn_send(&p->conn, bytes + 10, LENGTHS[i], &taken), LENGTHS[i] + 10);
            assert_int_equal(taken, LENGTHS[i]);
            assert_int_equal(p->writes, WRITES[i]);
            assert_gets(p, bytes, LENGTHS[i] + 10);
        }
        assert_int_equal(p->vain, 0);
        pair_end(p);
    }
    free(bytes);
}

/* One record is not copied before it is sent. */
static void test_a_short_one_takes_no_memory(void **state)
{
    struct pair *p = *state;
    size_t taken;
    pair_open(p, true, TLS1_3_VERSION);
    chunk_pool_set_limit(&p->chunks, 0);
    assert_int_equal(conn_send(&p->conn, "short", 5, &taken), 5);
    assert_int_equal(p->chunks.limit_hits, 0);
    assert_gets(p, (const uint8_t *)"short", 5);
    pair_end(p);
}

static void test_any_cut(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MORE);
    pair_open(p, true, TLS1_3_VERSION);
    put(p, bytes, 40000);
    send_in_steps(p, 40000, 1);
    assert_gets(p, bytes, 40000);
    static const size_t STEPS[] = {4,     5,     6,     21,    22,    1000,
                                   16405, 16406, 16407, 16411, 65536, 131071};
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        put(p, bytes, MORE);
        send_in_steps(p, MORE, STEPS[i]);
        assert_gets(p, bytes, MORE);
    }
    /* Once, somewhere: in a head, between two records, in what is sent without a copy. */
    for (size_t cut = 0; cut < 5 * 16411;
         cut += cut % 16406 < 30 || cut % 16406 > 16380 ? 1 : 509) {
        size_t taken;
        p->takes = cut;
        ssize_t n = conn_send(&p->conn, bytes, 70000, &taken);
        assert_true(n >= 0 && (size_t)n <= taken);
        assert_true(cut >= 70110 || p->conn.blocked);
        p->takes = PAIR_ALL;
        pair_ready(p, IO_OUT);
        put(p, bytes + taken, 70000 - taken);
        assert_int_equal(conn_flush(&p->conn) + n, 70000);
        assert_gets(p, bytes, 70000);
    }
    pair_end(p);
    free(bytes);
}

static void test_what_is_kept_is_bounded(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(2 << 20);
    pair_open(p, true, TLS1_3_VERSION);
    p->takes = 0;
    put(p, bytes, 2 << 20);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(conn_flush(&p->conn), 0);
        assert_true(p->conn.blocked);
        size_t encrypted = (2 << 20) - p->conn.out.len;
        assert_in_range(encrypted, 1, TLS_GATHER_MAX + TLS_RECORD_BYTES);
        assert_in_range(chunk_pool_bytes(&p->chunks), 2 << 20,
                        (2 << 20) + TLS_GATHER_MAX / 50 + 4 * CHUNK_BYTES);
        pair_ready(p, IO_OUT);
        assert_int_equal(p->told & IO_OUT, 0); /* it has taken nothing */
    }
    /* And each part that it takes is told of, while most of it is kept. */
    size_t sent = 0;
    for (int i = 1; i <= 10; i++) {
        p->takes = 1000;
        pair_ready(p, IO_OUT);
        assert_true(p->told & IO_OUT);
        ssize_t n = conn_flush(&p->conn);
        assert_true(n >= 0);
        sent += (size_t)n;
        assert_true(p->conn.blocked);
    }
    assert_in_range(sent, 9000, 10000);
    send_in_steps(p, (2 << 20) - sent, 300000);
    assert_int_equal(chunk_pool_bytes(&p->chunks), 0);
    assert_gets(p, bytes, 2 << 20);
    pair_end(p);
    free(bytes);
}

static void test_closed_with_kept_bytes(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MORE);
    pair_open(p, true, TLS1_3_VERSION);
    p->takes = 20000;
    put(p, bytes, MORE);
    assert_true(conn_flush(&p->conn) > 0);
    p->takes = PAIR_ALL;
    p->writes = 0;
    pair_end(p);
    assert_int_equal(p->writes, 0); /* no farewell behind half a record */
    free(bytes);
}

static void test_an_error_drops_what_is_kept(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MORE);
    pair_open(p, true, TLS1_3_VERSION);
    p->takes = 100;
    put(p, bytes, MORE);
    assert_true(conn_flush(&p->conn) >= 0);
    p->write_error = -EPIPE;
    pair_ready(p, IO_OUT);
    assert_true(p->told & IO_OUT);
    assert_int_equal(conn_flush(&p->conn), -EPIPE);
    assert_int_equal(conn_flush(&p->conn), -EPIPE);
    assert_false(tls_has_unsent(p->conn.tls));
    pair_end(p);
    free(bytes);
}

/* Without memory records go one by one; and a record whose rest can be kept nowhere is the end. */
static void test_without_memory(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MORE);
    size_t taken;
    pair_open(p, true, TLS1_3_VERSION);
    chunk_pool_set_limit(&p->chunks, 0);
    assert_int_equal(conn_send(&p->conn, bytes, MORE, &taken), MORE);
    assert_int_equal(taken, MORE);
    assert_int_equal(p->writes, (MORE + 16383) / 16384);
    assert_gets(p, bytes, MORE);
    chunk_pool_set_limit(&p->chunks, 3 * CHUNK_BYTES);
    p->takes = 20000;
    ssize_t n = conn_send(&p->conn, bytes, MORE, &taken);
    assert_in_range(taken, 32768, 65536); /* the reserve serves for the record's rest */
    p->takes = PAIR_ALL;
    pair_ready(p, IO_OUT);
    size_t more;
    n += conn_send(&p->conn, bytes + taken, MORE - taken, &more);
    assert_int_equal(n, MORE);
    assert_gets(p, bytes, MORE);
    chunk_pool_set_limit(&p->chunks, 0);
    p->chunks.ceiling = 0;
    p->takes = 5;
    assert_int_equal(conn_send(&p->conn, bytes, MORE, &taken), -ENOMEM);
    assert_int_equal(conn_flush(&p->conn), -ENOMEM);
    pair_end(p);
    free(bytes);
}

/* A peer may ask for short records: still many in one call. */
static void test_short_records(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MORE);
    p->wants_short_records = true;
    pair_open(p, true, TLS1_3_VERSION);
    p->wants_short_records = false;
    put(p, bytes, MORE);
    assert_int_equal(conn_flush(&p->conn), MORE);
    assert_in_range(p->writes, 2, 4);
    assert_gets(p, bytes, MORE);
    pair_end(p);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_go_together),
        cmocka_unit_test(test_a_short_one_takes_no_memory),
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_what_is_kept_is_bounded),
        cmocka_unit_test(test_closed_with_kept_bytes),
        cmocka_unit_test(test_an_error_drops_what_is_kept),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_short_records),
    };
    return cmocka_run_group_tests(tests, pair_make, pair_unmake);
}
