/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply_read.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct chunk_pool chunks;
    struct buf bytes;
    struct reply_reader reader;
};

static void begin(struct fixture *f, const char *text)
{
    chunk_pool_init(&f->chunks, 4 << 20, 0);
    buf_init(&f->bytes);
    assert_int_equal(buf_append(&f->bytes, &f->chunks, text, strlen(text)), 0);
    reply_reader_init(&f->reader, &f->bytes, &f->chunks);
}

static void end(struct fixture *f)
{
    reply_reader_fini(&f->reader);
    buf_clear(&f->bytes, &f->chunks);
    chunk_pool_fini(&f->chunks);
}

static void elements_come_in_order(void **state)
{
    (void)state;
    struct fixture f;
    struct str s;
    int64_t n = 0;
    begin(&f, "*2\r\n$1\r\n0\r\n*3\r\n$3\r\nabc\r\n$0\r\n\r\n:-12\r\n");
    assert_int_equal(reply_read_number(&f.reader, '*', &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_true(str_eq(s, STR("0")));
    assert_int_equal(reply_read_number(&f.reader, '*', &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_true(str_eq(s, STR("abc")));
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_int_equal(s.len, 0);
    assert_int_equal(reply_read_number(&f.reader, ':', &n), 0);
    assert_int_equal(n, -12);
    assert_int_equal(f.bytes.len, 0);
    end(&f);
}

static void nils_are_told_apart(void **state)
{
    (void)state;
    struct fixture f;
    struct str s;
    begin(&f, "$-1\r\n_\r\n$1\r\nx\r\n");
    assert_int_equal(reply_read_bulk(&f.reader, &s), -ENOENT);
    assert_int_equal(reply_read_bulk(&f.reader, &s), -ENOENT);
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_true(str_eq(s, STR("x")));
    end(&f);
}

static void what_is_something_else_is_refused(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {"",        "+OK\r\n", "*1\r\n", "$x\r\n", "$5\r\nab\r\n",
                                        "$-2\r\n", ":"};
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct fixture f;
        struct str s;
        int64_t n;
        begin(&f, TEXTS[i]);
        assert_int_equal(reply_read_bulk(&f.reader, &s), -EINVAL);
        end(&f);
        begin(&f, TEXTS[i]);
        assert_int_equal(reply_read_number(&f.reader, '%', &n), -EINVAL);
        end(&f);
    }
}

static void a_key_in_many_chunks_comes_in_one_piece(void **state)
{
    (void)state;
    enum { LEN = 3 * CHUNK_BYTES };
    struct fixture f;
    char *text = malloc(LEN + 64);
    assert_non_null(text);
    strcpy(text, "*2\r\n$49056\r\n");
    assert_int_equal(LEN, 49056);
    size_t at = strlen(text);
    memset(text + at, 'k', LEN);
    strcpy(text + at + LEN, "\r\n$1\r\ny\r\n");
    begin(&f, text);
    struct str s;
    int64_t n;
    assert_int_equal(reply_read_number(&f.reader, '*', &n), 0);
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_int_equal(s.len, LEN);
    assert_memory_equal(s.p, text + at, LEN);
    assert_int_equal(reply_read_bulk(&f.reader, &s), 0);
    assert_true(str_eq(s, STR("y")));
    end(&f);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_come_in_order),
        cmocka_unit_test(nils_are_told_apart),
        cmocka_unit_test(what_is_something_else_is_refused),
        cmocka_unit_test(a_key_in_many_chunks_comes_in_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
