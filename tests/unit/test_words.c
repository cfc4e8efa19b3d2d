/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/words.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void words_become_an_array_of_bulk_strings(void **state)
{
    (void)state;
    static const struct str WORDS[] = {{"SET", 3}, {"a\r\nb", 4}, {"", 0}};
    static const char WANTED[] = "before*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n";
    struct chunk_pool chunks;
    struct buf b;
    char bytes[sizeof(WANTED)] = "";
    chunk_pool_init(&chunks, 1 << 20, 0);
    buf_init(&b);
    assert_int_equal(buf_append(&b, &chunks, "before", 6), 0);
    assert_int_equal(words_append(&b, &chunks, WORDS, 3), 0);
    assert_int_equal(b.len, sizeof(WANTED) - 1);
    buf_copy_out(&b, 0, bytes, b.len);
    assert_string_equal(bytes, WANTED);
    buf_clear(&b, &chunks);
    chunk_pool_fini(&chunks);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    static char large[100000];
    const struct str words[] = {STR("SET"), {large, sizeof(large)}};
    struct chunk_pool chunks;
    struct buf b;
    chunk_pool_init(&chunks, CHUNK_BYTES, 0);
    buf_init(&b);
    assert_int_equal(buf_append(&b, &chunks, "before", 6), 0);
    assert_int_equal(words_append(&b, &chunks, words, 2), -ENOMEM);
    assert_int_equal(b.len, 6);
    buf_clear(&b, &chunks);
    chunk_pool_fini(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_an_array_of_bulk_strings),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
