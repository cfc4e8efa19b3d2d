/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as parts: what is large is not copied. */
#include "client/c/src/commands.h"

#include "client/c/src/incoming.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct bytes *joined(const struct commands *c)
{
    struct bytes *b = bytes_new(c->bytes);
    size_t at = 0;
    assert_non_null(b);
    for (int i = 0; i < c->part_count; i++) {
        memcpy(b->data + at, c->parts[i].iov_base, c->parts[i].iov_len);
        at += c->parts[i].iov_len;
    }
    assert_int_equal(at, c->bytes);
    return b;
}

static void small_ones(void **state)
{
    (void)state;
    static const char expected[] = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nDEL\r\n$0\r\n\r\n";
    struct commands c;
    commands_init(&c);
    commands_add(&c, (struct argument[]){ARGUMENT("GET"), ARGUMENT("k")}, 2);
    commands_add(&c, (struct argument[]){ARGUMENT("DEL"), ARGUMENT("")}, 2);
    struct bytes *b = joined(&c);
    assert_int_equal(b->len, sizeof(expected) - 1);
    assert_memory_equal(b->data, expected, b->len);
    bytes_unref(b);
    commands_fini(&c);
    assert_int_equal(c.part_count, 0);
}

static void large_values_are_parts_of_their_own(void **state)
{
    (void)state;
    static char large[INCOMING_DIRECT_MIN];
    memset(large, 'y', sizeof(large));
    struct commands c;
    commands_init(&c);
    struct argument value = {large, sizeof(large)};
    commands_add(
        &c, (struct argument[]){ARGUMENT("MSET"), ARGUMENT("a"), value, ARGUMENT("b"), value}, 5);
    int found = 0;
    for (int i = 0; i < c.part_count; i++) {
        found += c.parts[i].iov_base == large && c.parts[i].iov_len == sizeof(large);
    }
    assert_int_equal(found, 2);
    struct bytes *b = joined(&c);
    static const char head[] = "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$16384\r\nyy";
    static const char middle[] = "y\r\n$1\r\nb\r\n$16384\r\ny";
    assert_memory_equal(b->data, head, sizeof(head) - 1);
    assert_non_null(memmem(b->data, b->len, middle, sizeof(middle) - 1));
    assert_memory_equal(b->data + b->len - 3, "y\r\n", 3);
    bytes_unref(b);
    commands_fini(&c);
}

static void many_of_them(void **state)
{
    (void)state;
    struct commands c;
    commands_init(&c);
    for (int i = 0; i < 1000; i++) {
        commands_add(&c, (struct argument[]){ARGUMENT("GET"), ARGUMENT("k")}, 2);
    }
    struct argument arguments[200];
    for (int i = 0; i < 200; i++) {
        arguments[i] = ARGUMENT("k");
    }
    commands_add(&c, arguments, 200);
    assert_false(c.has_failed);
    assert_int_equal(c.text_count, 1001);
    struct bytes *b = joined(&c);
    assert_memory_equal(b->data + 999L * 20, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*200\r\n", 26);
    bytes_unref(b);
    commands_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones),
        cmocka_unit_test(large_values_are_parts_of_their_own),
        cmocka_unit_test(many_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
