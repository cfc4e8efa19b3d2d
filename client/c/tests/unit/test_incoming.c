/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in, cut into items. Any bytes at all: tests/fuzz/fuzz_client_reply.c. */
#include "client/c/src/incoming.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { VALUE_MAX = 100000, TEXT = 4096 };

/* Feeds a stream in pieces, and writes down what comes out. Returns the end of incoming_next(). */
static int feed(const char *stream, size_t len, size_t step, char text[TEXT])
{
    struct incoming *in = malloc(sizeof(*in));
    assert_non_null(in);
    assert_int_equal(incoming_init(in, VALUE_MAX), 0);
    int rc = 0;
    text[0] = 0;
    while (len > 0 && rc == 0) {
        char *to;
        size_t n = incoming_room(in, &to);
        assert_true(n > 0);
        n = n < step ? n : step;
        n = n < len ? n : len;
        memcpy(to, stream, n);
        incoming_add(in, to, n);
        stream += n;
        len -= n;
        struct item item;
        while ((rc = incoming_next(in, &item)) == 1) {
            size_t used = strlen(text), shown = item.bytes != NULL ? item.bytes->len : 0;
            snprintf(text + used, TEXT - used, "%c%d:%zu:%.*s ", "+-:nsa"[item.type],
                     item.type == ITEM_NIL ? 0 : (int)item.number, shown,
                     (int)(shown > 8 ? 8 : shown), item.bytes != NULL ? item.bytes->data : "");
            bytes_unref(item.bytes);
        }
    }
    incoming_fini(in);
    free(in);
    return rc;
}

static void check(const char *stream, size_t len, int rc, const char *items)
{
    static const size_t steps[] = {1, 2, 3, 7, 100, 20000, 1000000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char text[TEXT];
        assert_int_equal(feed(stream, len, steps[i], text), rc);
        assert_string_equal(text, items);
    }
}

static void items_of_each_kind(void **state)
{
    (void)state;
    static const char all[] = "+OK\r\n-ERR no\r\n:12\r\n:-7\r\n$-1\r\n*-1\r\n$0\r\n\r\n"
                              "$5\r\nhe\r\no\r\n*2\r\n";
    check(all, sizeof(all) - 1, 0,
          "+0:2:OK -0:6:ERR no :12:0: :-7:0: n0:0: n0:0: s0:0: s0:5:he\r\no a2:0: ");
}

static void large_bodies_go_past_the_reader(void **state)
{
    (void)state;
    static const size_t lens[] = {INCOMING_DIRECT_MIN - 1, INCOMING_DIRECT_MIN,
                                  INCOMING_DIRECT_MIN + 1, INCOMING_ROOM,
                                  INCOMING_ROOM + 1,       VALUE_MAX};
    char *stream = malloc(VALUE_MAX + 100), expected[100];
    assert_non_null(stream);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        size_t head = (size_t)snprintf(stream, 32, "$%zu\r\n", lens[i]);
        memset(stream + head, 'y', lens[i]);
        static const char end[] = {'\r', '\n', ':', '1', '\r', '\n'};
        memcpy(stream + head + lens[i], end, sizeof(end));
        snprintf(expected, sizeof(expected), "s0:%zu:yyyyyyyy :1:0: ", lens[i]);
        check(stream, head + lens[i] + 6, 0, expected);
        stream[head + lens[i] + 1] = 'x'; /* not its end */
        check(stream, head + lens[i] + 6, -EPROTO, "");
    }
    free(stream);
}

static void lengths_that_are_not_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        int rc;
    } cases[] = {
        {"$100001\r\n", -EMSGSIZE},
        {"$1073741824\r\nxxxx", -EMSGSIZE},
        {"$99999999999999999999999\r\n", -EPROTO},
        {"$-2\r\n", -EPROTO},
        {"$\r\n", -EPROTO},
        {"$-\r\n", -EPROTO},
        {"$1x\r\n", -EPROTO},
        {"*1048577\r\n", -EPROTO},
        {"*1000000000\r\n", -EPROTO},
        {"*-2\r\n", -EPROTO},
        {":\r\n", -EPROTO},
        {":1.5\r\n", -EPROTO},
        {"$3\r\nabcde\r\n", -EPROTO},
        {"hello\r\n", -EPROTO},
        {"%1\r\n", -EPROTO},
        {"$100000000000000000000000000000000000", -EPROTO}, /* a head without end */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check(cases[i].stream, strlen(cases[i].stream), cases[i].rc, "");
    }
    check("\0", 1, -EPROTO, "");
}

static void lines_have_an_end(void **state)
{
    (void)state;
    char *line = malloc(INCOMING_ROOM);
    assert_non_null(line);
    memset(line, 'a', INCOMING_ROOM);
    line[0] = '+';
    check(line, INCOMING_DIRECT_MIN - 1, 0, "");
    check(line, INCOMING_DIRECT_MIN, -EPROTO, "");
    free(line);
}

static void half_a_reply_is_none(void **state)
{
    (void)state;
    check("$10", 3, 0, "");
    check("$10\r\nhalf", 9, 0, "");
    check("$20000\r\nhalf", 12, 0, ""); /* and its bytes are given back */
    check("+OK\r", 4, 0, "");
}

static void nested_arrays_are_heads(void **state)
{
    (void)state;
    check("*1\r\n*1\r\n*1\r\n:1\r\n", 16, 0, "a1:0: a1:0: a1:0: :1:0: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_of_each_kind),
        cmocka_unit_test(large_bodies_go_past_the_reader),
        cmocka_unit_test(lengths_that_are_not_allowed),
        cmocka_unit_test(lines_have_an_end),
        cmocka_unit_test(half_a_reply_is_none),
        cmocka_unit_test(nested_arrays_are_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
