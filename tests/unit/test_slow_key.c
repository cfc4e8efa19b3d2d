/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/slow_key.h"

#include "proxy/gather.h"
#include "proxy/worker_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a worker is to these functions: settings, and the present request with its keys. */
struct fixture {
    struct worker *w;
    struct proxy_settings settings;
    size_t index[4];
    struct part part;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f)
        return -1;
    f->w = calloc(1, sizeof(*f->w));
    if (!f->w) {
        free(f);
        return -1;
    }
    f->settings.slow_above = 1;
    f->w->settings = &f->settings;
    f->w->keys.index = f->index;
    args_init(&f->w->args);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    args_fini(&f->w->args);
    free(f->w);
    free(f);
    return 0;
}

static void parse(struct fixture *f, const char *line)
{
    assert_int_equal(args_parse_inline(&f->w->args, str_of(line)), 0);
}

static void is_text(const struct slow_key *k, const char *text)
{
    assert_true(str_eq(slow_key_text(k), str_of(text)));
}

static void a_long_key_is_cut(void **state)
{
    (void)state;
    struct slow_key k;
    char key[SLOW_KEY_MAX + 2];
    memset(key, 'k', sizeof(key));
    for (size_t len = 0; len <= sizeof(key); len++) {
        slow_key_set(&k, (struct str){key, len}, 1);
        assert_int_equal(k.count, 1);
        assert_int_equal(k.len, len);
        assert_int_equal(slow_key_text(&k).len, len < SLOW_KEY_MAX ? len : SLOW_KEY_MAX);
        assert_memory_equal(k.text, key, slow_key_text(&k).len);
    }
}

static void the_key_is_found_in_what_was_kept(void **state)
{
    (void)state;
    struct slow_key k;
    slow_key_of_copy(STR("*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"), 1, &k);
    assert_int_equal(k.count, 1);
    is_text(&k, "hello");
    slow_key_of_copy(STR("*3\r\n$6\r\nOBJECT\r\n$8\r\nencoding\r\n$2\r\nk1\r\n"), 2, &k);
    is_text(&k, "k1");
    slow_key_of_copy(STR("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), 1, &k);
    assert_int_equal(k.count, 1);
    is_text(&k, "");
    slow_key_of_copy(STR("*1\r\n$4\r\nPING\r\n"), 1, &k);
    assert_int_equal(k.count, 0);
}

static void of_several_keys_the_first_is_kept(void **state)
{
    struct fixture *f = *state;
    struct slow_key k = {0};
    parse(f, "EVAL script 2 a:1 b:2 argument\r\n");
    f->index[0] = 3;
    f->index[1] = 4;
    slow_key_add(f->w, &k, 2);
    assert_int_equal(k.count, 2);
    is_text(&k, "a:1");
    parse(f, "DEL c\r\n");
    f->index[0] = 1;
    slow_key_add(f->w, &k, 1);
    assert_int_equal(k.count, 3);
    is_text(&k, "a:1");
    slow_key_add(f->w, &k, 0);
    assert_int_equal(k.count, 3);
}

static void nothing_is_kept_where_nobody_reads(void **state)
{
    struct fixture *f = *state;
    struct slow_key k = {0};
    f->settings.slow_above = 0;
    parse(f, "SET key value\r\n");
    f->index[0] = 1;
    slow_key_note(f->w, &f->part, 1);
    assert_false(f->part.noted);
    slow_key_add(f->w, &k, 1);
    assert_int_equal(k.count, 0);
}

static void a_request_tells_what_its_part_has(void **state)
{
    struct fixture *f = *state;
    struct request r = {.command = command_find_name(STR("set"))};
    struct slow_key k;
    parse(f, "SET key a-value-that-is-long-enough-to-be-copied-with-the-key-but-never-told\r\n");
    slow_key_of(&r, &k); /* it has no part */
    assert_int_equal(k.count, 0);
    r.part = &f->part;
    slow_key_of(&r, &k); /* nothing was kept */
    assert_int_equal(k.count, 0);
    slow_key_note(f->w, &f->part, 1);
    memset(&k, 0, sizeof(k));
    slow_key_of(&r, &k);
    assert_int_equal(k.count, 1);
    is_text(&k, "key");
    for (size_t i = sizeof("key") - 1; i < SLOW_KEY_MAX; i++)
        assert_int_equal(k.text[i], 0);
    slow_key_note_found(f->w, &f->part, 0);
    slow_key_of(&r, &k); /* it has no keys */
    assert_int_equal(k.count, 0);

    static const char GET[] = "*2\r\n$3\r\nGET\r\n$4\r\nread\r\n";
    struct part read = {.copy_len = sizeof(GET) - 1};
    memcpy(read.copy, GET, sizeof(GET) - 1);
    r.command = command_find_name(STR("get"));
    r.part = &read;
    slow_key_of(&r, &k);
    is_text(&k, "read");

    struct gather g = {0};
    slow_key_set(&g.key, STR("first"), 20);
    r.part = NULL;
    r.gather = &g;
    slow_key_of(&r, &k);
    assert_int_equal(k.count, 20);
    is_text(&k, "first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_key_is_cut),
        cmocka_unit_test(the_key_is_found_in_what_was_kept),
        cmocka_unit_test_setup_teardown(of_several_keys_the_first_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_kept_where_nobody_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_tells_what_its_part_has, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
