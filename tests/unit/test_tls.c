/* SPDX-License-Identifier: Apache-2.0 */
/* What we read: pieces of records, many at once, what comes between and behind them. */
#include "tls_pair.h"

enum { MUCH = 1 << 20, SPACE = 256 * 1024 };

static void say(struct pair *p, const uint8_t *bytes, size_t len)
{
    assert_int_equal(SSL_write(p->peer, bytes, (int)len), len);
    pair_carry(p);
}

/* Reads what is there, `size` bytes at a time, and the socket says each time that it has something.
 * → what the last read gave */
static ssize_t hear(struct pair *p, const uint8_t *bytes, size_t len, size_t size)
{
    uint8_t *got = malloc(size);
    size_t at = 0;
    ssize_t n;
    assert_non_null(got);
    do {
        pair_ready(p, IO_IN);
        while ((n = conn_read(&p->conn, got, size)) > 0) {
            assert_true(at + (size_t)n <= len);
            assert_memory_equal(got, bytes + at, n);
            at += (size_t)n;
            if ((size_t)n < size) {
                n = -EAGAIN; /* which is what a short one means */
                break;
            }
        }
    } while (n == -EAGAIN && p->in.begin < p->in.end);
    free(got);
    assert_int_equal(at, len);
    return n;
}

static void test_any_piece(void **state)
{
    struct pair *p = *state;
    static const size_t PIECES[] = {1,     4,     5,     6,     21,    22,    16384,   16405,
                                    16406, 16407, 16411, 20000, 65536, 99999, PAIR_ALL};
    static const size_t SIZES[] = {100, 16384, 16385, 50000, 65536, SPACE, 2 * MUCH};
    uint8_t *bytes = pattern(MUCH);
    for (int ours = 0; ours <= 1; ours++)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            pair_open(p, ours, version);
            for (size_t i = 0; i < sizeof(PIECES) / sizeof(PIECES[0]); i++)
                for (size_t j = 0; j < sizeof(SIZES) / sizeof(SIZES[0]); j++) {
                    size_t len = PIECES[i] < 1000 ? 40000 : MUCH / 2;
                    p->read_max = PIECES[i];
                    say(p, bytes, len);
                    assert_int_equal(hear(p, bytes, len, SIZES[j]), -EAGAIN);
                }
            pair_end(p);
        }
    free(bytes);
}

/* Records of any length, also empty, cut anywhere. */
static void test_records_of_any_length(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH);
    uint32_t x = 7;
    pair_open(p, true, TLS1_3_VERSION);
    for (int round = 0; round < 300; round++) {
        size_t len = 0, limit = round % 3 == 0 ? 40 : round % 3 == 1 ? 3000 : 16384;
        while (len < 200000 && p->in.end - p->in.begin < 400000) {
            x = x * 1664525U + 1013904223U;
            size_t n = 1 + (x >> 8) % limit;
            say(p, bytes + len, n);
            len += n;
        }
        p->read_max = 1 + (x >> 4) % 150000;
        assert_int_equal(hear(p, bytes, len, 1 + (x >> 6) % SPACE), -EAGAIN);
    }
    pair_end(p);
    free(bytes);
}

static void test_much_takes_few_calls(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH);
    pair_open(p, false, TLS1_3_VERSION);
    for (int i = 0; i < 3; i++) {
        say(p, bytes, MUCH);
        p->reads = p->vain = 0;
        assert_int_equal(hear(p, bytes, MUCH, SPACE), -EAGAIN);
        assert_in_range(p->reads, 5, 13);
        assert_in_range(p->vain, 0, 1); /* that of a caller whose space got full at the end */
        assert_int_equal(chunk_pool_bytes(&p->chunks), 0);
    }
    /* Short ones, before and after: one call each, and none to learn that there is no more. */
    for (int i = 0; i < 3; i++) {
        say(p, bytes, 5000);
        p->reads = p->vain = 0;
        assert_int_equal(hear(p, bytes, 5000, SPACE), -EAGAIN);
        assert_int_equal(p->reads, 1);
        assert_int_equal(p->vain, 0);
    }
    pair_end(p);
    free(bytes);
}

/* Keys that change, and tickets, among the records of a long value. */
static void test_messages_between(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH);
    static const size_t PIECES[] = {7, 16406, 100000, PAIR_ALL};
    for (int ours = 0; ours <= 1; ours++) {
        pair_open(p, ours, TLS1_3_VERSION);
        for (size_t i = 0; i < sizeof(PIECES) / sizeof(PIECES[0]); i++) {
            size_t len = PIECES[i] < 1000 ? 60000 : 500000;
            for (size_t at = 0; at < len; at += 20000) {
                int kind = at / 20000 % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
                bool ticket = !ours && at / 20000 % 3 == 2;
                int asked =
                    ticket ? SSL_new_session_ticket(p->peer) : SSL_key_update(p->peer, kind);
                assert_int_equal(asked, 1);
                say(p, bytes + at, 20000);
            }
            p->read_max = PIECES[i];
            assert_int_equal(hear(p, bytes, len, i % 2 ? SPACE : 70000), -EAGAIN);
            /* With the new keys the other way. */
            size_t taken;
            char word[8];
            assert_int_equal(conn_send(&p->conn, "answer", 6, &taken), 6);
            pair_carry(p);
            assert_int_equal(SSL_read(p->peer, word, sizeof(word)), 6);
        }
        pair_end(p);
    }
    free(bytes);
}

/* A peer that has its keys changed and takes none of the answers: then it is not read further, and
 * what was read ahead stays until it takes them. */
static void test_answers_that_nobody_takes(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH), *got = malloc(SPACE);
    size_t taken, len = 0, at = 0;
    ssize_t n;
    assert_non_null(got);
    pair_open(p, true, TLS1_3_VERSION);
    p->takes = 0;
    assert_int_equal(conn_send(&p->conn, bytes, MUCH, &taken), 0);
    assert_true(p->conn.blocked);
    for (; len < 3 * MUCH / 4; len += 200) {
        SSL_key_update(p->peer, SSL_KEY_UPDATE_REQUESTED);
        assert_int_equal(SSL_write(p->peer, bytes + len, 200), 200);
        if (p->out.end == 0)
            pair_carry(p);
    }
    for (int i = 0; i < 30; i++) {
        pair_ready(p, IO_IN);
        while ((n = conn_read(&p->conn, got, SPACE)) > 0) {
            assert_memory_equal(got, bytes + at, n);
            at += (size_t)n;
        }
        assert_int_equal(n, -EAGAIN);
    }
    assert_true(at < len);
    assert_true(chunk_pool_bytes(&p->chunks) < TLS_UNSENT_MAX + SPACE + 4 * CHUNK_BYTES);
    p->takes = PAIR_ALL;
    pair_ready(p, IO_OUT);
    assert_true(p->told & IO_IN);
    while ((n = conn_read(&p->conn, got, SPACE)) > 0) {
        assert_memory_equal(got, bytes + at, n);
        at += (size_t)n;
    }
    assert_int_equal(at, len);
    pair_carry(p);
    size_t heard = 0;
    while ((n = SSL_read(p->peer, got, SPACE)) > 0) {
        assert_memory_equal(got, bytes + heard, n);
        heard += (size_t)n;
    }
    assert_int_equal(heard, taken);
    pair_end(p);
    free(got);
    free(bytes);
}

/* What came before it is read; then there is the error, again and again. */
static void test_a_record_that_is_forged(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH);
    for (size_t bad = 0; bad < 12; bad++) {
        uint8_t none[10];
        pair_open(p, bad % 2, TLS1_3_VERSION);
        size_t begin = p->in.end;
        say(p, bytes, 12 * (size_t)TLS_RECORD_BYTES);
        p->in.bytes[begin + bad * (TLS_RECORD_BYTES + 22) + 1000] ^= 1;
        ssize_t n = hear(p, bytes, bad * (size_t)TLS_RECORD_BYTES, SPACE);
        assert_int_equal(n == -EAGAIN ? conn_read(&p->conn, none, 10) : n, -EPROTO);
        assert_non_null(strstr(tls_why(p->conn.tls), "decryption failed"));
        assert_int_equal(conn_flush(&p->conn), -EPROTO);
        pair_carry(p);
        n = SSL_read(p->peer, none, sizeof(none));
        assert_true(n <= 0);
        assert_int_equal(SSL_get_error(p->peer, (int)n), SSL_ERROR_SSL); /* it was told */
        ERR_clear_error();
        pair_end(p);
    }
    free(bytes);
}

/* The peer's alert, behind some of its own records and while records of ours are on their way. */
static void test_an_alert_in_the_middle(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH), none[10];
    pair_open(p, true, TLS1_3_VERSION);
    say(p, bytes, 100000);
    size_t taken;
    p->takes = 50000;
    assert_true(conn_send(&p->conn, bytes, MUCH, &taken) > 0);
    p->out.bytes[100] ^= 1;
    pair_carry(p);
    assert_int_equal(SSL_read(p->peer, none, sizeof(none)), -1);
    ERR_clear_error();
    pair_carry(p);
    ssize_t n = hear(p, bytes, 100000, SPACE);
    assert_int_equal(n == -EAGAIN ? conn_read(&p->conn, none, 10) : n, -EPROTO);
    assert_non_null(strstr(tls_why(p->conn.tls), "bad record mac"));
    p->takes = PAIR_ALL;
    pair_ready(p, IO_OUT);
    assert_int_equal(conn_flush(&p->conn), -EPROTO);
    pair_end(p);
    free(bytes);
}

static void test_ends(void **state)
{
    struct pair *p = *state;
    uint8_t *bytes = pattern(MUCH);
    for (int farewell = 0; farewell <= 1; farewell++)
        for (int ours = 0; ours <= 1; ours++) {
            pair_open(p, ours, TLS1_3_VERSION);
            say(p, bytes, 300000);
            if (farewell)
                assert_int_equal(SSL_shutdown(p->peer), 0);
            pair_carry(p);
            p->at_end = true;
            pair_ready(p, IO_HUP);
            /* From a node an end without a farewell is none (decision 22). */
            int end = farewell || ours ? 0 : -ECONNRESET;
            uint8_t none[10];
            assert_int_equal(hear(p, bytes, 300000, 2 * MUCH), -EAGAIN);
            assert_int_equal(conn_read(&p->conn, none, sizeof(none)), end);
            assert_int_equal(conn_read(&p->conn, none, sizeof(none)), end);
            pair_end(p);
        }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_piece),
        cmocka_unit_test(test_records_of_any_length),
        cmocka_unit_test(test_much_takes_few_calls),
        cmocka_unit_test(test_messages_between),
        cmocka_unit_test(test_answers_that_nobody_takes),
        cmocka_unit_test(test_a_record_that_is_forged),
        cmocka_unit_test(test_an_alert_in_the_middle),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, pair_make, pair_unmake);
}
