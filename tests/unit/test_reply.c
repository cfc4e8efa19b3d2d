/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum write_kind { SIMPLE, INT, BULK, VERBATIM, NULL_BULK, NULL_ARRAY, ARRAY, SET, MAP, ERROR };

struct row {
    enum write_kind kind;
    const char *text;
    int64_t number;
    const char *resp2, *resp3;
};

static const struct row ROWS[] = {
    {SIMPLE, "OK", 0, "+OK\r\n", "+OK\r\n"},
    {INT, "", 0, ":0\r\n", ":0\r\n"},
    {INT, "", INT64_MIN, ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
    {BULK, "", 0, "$0\r\n\r\n", "$0\r\n\r\n"},
    {BULK, "a\r\nb", 0, "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
    {VERBATIM, "x", 0, "$1\r\nx\r\n", "=5\r\ntxt:x\r\n"},
    {NULL_BULK, "", 0, "$-1\r\n", "_\r\n"},
    {NULL_ARRAY, "", 0, "*-1\r\n", "_\r\n"},
    {ARRAY, "", 3, "*3\r\n", "*3\r\n"},
    {SET, "", 3, "*3\r\n", "~3\r\n"},
    {MAP, "", 3, "*6\r\n", "%3\r\n"},
    {ERROR, "ERR no", 0, "-ERR no\r\n", "-ERR no\r\n"},
    {ERROR, "ERR a\r\nb\n\r\n", 0, "-ERR a  b\r\n", "-ERR a  b\r\n"},
    {ERROR, "ERR 100%", 0, "-ERR 100%\r\n", "-ERR 100%\r\n"},
};

static void write_row(struct reply_out *o, const struct row *row)
{
    struct str text = str_of(row->text);
    switch (row->kind) {
    case SIMPLE:
        reply_simple(o, row->text);
        return;
    case INT:
        reply_int(o, row->number);
        return;
    case BULK:
        reply_bulk(o, text);
        return;
    case VERBATIM:
        reply_verbatim_txt(o, text);
        return;
    case NULL_BULK:
        reply_null(o);
        return;
    case NULL_ARRAY:
        reply_null_array(o);
        return;
    case ARRAY:
        reply_array(o, (size_t)row->number);
        return;
    case SET:
        reply_set(o, (size_t)row->number);
        return;
    case MAP:
        reply_map(o, (size_t)row->number);
        return;
    case ERROR:
        reply_error(o, "%s", row->text);
        return;
    }
}

static void each_kind_in_both_versions(void **state)
{
    (void)state;
    struct chunk_pool chunks;
    chunk_pool_init(&chunks, 1 << 20, 1 << 16);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        for (uint8_t proto = 2; proto <= 3; proto++) {
            const char *wanted = proto == 2 ? ROWS[i].resp2 : ROWS[i].resp3;
            struct buf b;
            buf_init(&b);
            struct reply_out o = {.to = &b, .chunks = &chunks, .proto = proto};
            write_row(&o, &ROWS[i]);
            assert_int_equal(o.err, 0);
            char got[64] = "";
            assert_int_equal(b.len, strlen(wanted));
            buf_copy_out(&b, 0, got, b.len);
            assert_memory_equal(got, wanted, b.len);
            buf_clear(&b, &chunks);
        }
    }
    chunk_pool_fini(&chunks);
}

static void an_error_sticks(void **state)
{
    (void)state;
    struct chunk_pool chunks;
    chunk_pool_init(&chunks, 0, 0);
    struct buf b;
    buf_init(&b);
    struct reply_out o = {.to = &b, .chunks = &chunks, .proto = 2};
    reply_simple(&o, "OK");
    assert_int_equal(o.err, -ENOMEM);
    reply_int(&o, 1);
    assert_int_equal(o.err, -ENOMEM);
    assert_int_equal(b.len, 0);
    chunk_pool_fini(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_in_both_versions),
        cmocka_unit_test(an_error_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
