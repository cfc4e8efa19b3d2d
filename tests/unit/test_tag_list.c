/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tag_list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_list_comes_back_as_it_was(void **state)
{
    (void)state;
    char list[TAGS_MAX * TAG_ENTRY_MAX], name[TAG_NAME_MAX], generation[TAG_GENERATION + 1];
    size_t len = 0;
    memset(name, ':', sizeof(name));
    for (size_t i = 0; i < TAGS_MAX; i++) {
        tag_generation(UINT64_MAX / (i + 1), generation);
        struct tag t = {{name, i * TAG_NAME_MAX / (TAGS_MAX - 1)}, {generation, TAG_GENERATION}};
        len += tag_entry(&t, list + len);
    }
    struct tag read[TAGS_MAX];
    assert_int_equal(tag_list_read((struct str){list, len}, read), TAGS_MAX);
    for (size_t i = 0; i < TAGS_MAX; i++) {
        tag_generation(UINT64_MAX / (i + 1), generation);
        assert_int_equal(read[i].name.len, i * TAG_NAME_MAX / (TAGS_MAX - 1));
        assert_memory_equal(read[i].name.p, name, read[i].name.len);
        assert_true(str_eq(read[i].generation, str_of(generation)));
    }
    /* Cut anywhere but between two of them, it is none. */
    struct tag two[] = {{STR("a"), STR("0123456789abcdef")}, {STR("bc"), STR("fedcba9876543210")}};
    size_t first = tag_entry(&two[0], list);
    len = first + tag_entry(&two[1], list + first);
    assert_memory_equal(list, "0123456789abcdef1:afedcba98765432102:bc", len);
    for (size_t cut = 0; cut <= len; cut++) {
        int expected = cut == len ? 2 : cut == first ? 1 : -EBADMSG;
        assert_int_equal(tag_list_read((struct str){list, cut}, read), expected);
    }
}

static void what_is_no_list(void **state)
{
    (void)state;
    static const char *const WRONG[] = {
        "",
        "users",
        "0123456789abcdeF5:users",
        "0123456789abcdeg5:users",
        "0123456789abcdef-1:",
        "0123456789abcdef05:users",
        "0123456789abcdef513:users",
        "0123456789abcdef:users",
        "0123456789abcdef5:userss",
        "0123456789abcdef99999999999999999999:users",
    };
    struct tag tags[TAGS_MAX];
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        if (tag_list_read(str_of(WRONG[i]), tags) != -EBADMSG)
            fail_msg("taken: %s", WRONG[i]);
    char many[(TAGS_MAX + 1) * 18];
    for (size_t i = 0; i <= TAGS_MAX; i++)
        memcpy(many + i * 18, "0123456789abcdef0:", 18);
    assert_int_equal(tag_list_read((struct str){many, sizeof(many) - 18}, tags), TAGS_MAX);
    assert_int_equal(tag_list_read((struct str){many, sizeof(many)}, tags), -EBADMSG);
}

static void generations_and_keys(void **state)
{
    (void)state;
    char text[TAG_GENERATION + 1], key[TAG_KEY_MAX];
    tag_generation(10, text);
    assert_string_equal(text, "000000000000000a");
    assert_true(tag_is_generation(str_of(text)));
    assert_false(tag_is_generation(STR("000000000000000")));
    assert_false(tag_is_generation(STR("00000000000000000")));
    assert_int_equal(tag_key(STR("{a}b"), key), 17);
    assert_memory_equal(key, "sumcache:tag:{a}b", 17);
    assert_int_equal(tag_key(STR(""), key), 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_comes_back_as_it_was),
        cmocka_unit_test(what_is_no_list),
        cmocka_unit_test(generations_and_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
