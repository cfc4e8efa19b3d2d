/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tag_args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The words of a line as a request. */
struct line {
    char *bytes; /* owned */
    struct args args;
};

static const char *read_line(struct line *l, const char *text, struct tag_args *ret)
{
    char *words = strdup(text), *rest = NULL;
    size_t count = 0, len;
    FILE *body = open_memstream(&l->bytes, &len);
    assert_true(words && body);
    for (const char *p = text; *p; p++)
        count += *p != ' ' && (p == text || p[-1] == ' ');
    fprintf(body, "*%zu\r\n", count);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        fprintf(body, "$%zu\r\n%s\r\n", strlen(w), w);
    fclose(body);
    free(words);
    struct iovec iov = {l->bytes, len};
    args_init(&l->args);
    assert_int_equal(args_parse(&l->args, &iov, 1), 0);
    const struct command *command = command_find(&l->args);
    assert_non_null(command);
    assert_true(command_arity_ok(command, l->args.count));
    return tag_args_read(&l->args, command, ret);
}

static void drop(struct line *l)
{
    args_fini(&l->args);
    free(l->bytes);
}

static void what_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *line, *expire;
        uint64_t ms;
        size_t value, first_tag, tag_count, first_generation;
    } CASES[] = {
        {"sumcache.get k", "", 0, 0, 0, 0, 0},
        {"sumcache.tags a b", "", 0, 0, 1, 2, 0},
        {"sumcache.invalidate tags", "", 0, 0, 1, 1, 0},
        {"sumcache.set k v tags a", "", 0, 2, 4, 1, 0},
        {"sumcache.set k v EX 5 TAGS a b", "PEXPIRE", 5000, 2, 6, 2, 0},
        {"sumcache.set k v px 5 tags a", "PEXPIRE", 5, 2, 6, 1, 0},
        {"sumcache.set k v exat 7 tags a", "PEXPIREAT", 7000, 2, 6, 1, 0},
        {"sumcache.set k v pxat 7 tags a", "PEXPIREAT", 7, 2, 6, 1, 0},
        {"sumcache.set tags tags tags tags", "", 0, 2, 4, 1, 0},
        {"sumcache.set k v tags a generations 0123456789abcdef", "", 0, 2, 4, 1, 6},
        {"sumcache.set k v tags a b Generations 0123456789abcdef 0000000000000000", "", 0, 2, 4, 2,
         7},
        {"sumcache.set k v tags generations", "", 0, 2, 4, 1, 0},
        {"sumcache.set k v tags a generations", "", 0, 2, 4, 2, 0},
        {"sumcache.tags a generations b", "", 0, 0, 1, 3, 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct line l;
        struct tag_args a;
        const char *refusal = read_line(&l, CASES[i].line, &a);
        if (refusal || strcmp(a.expiry.command, CASES[i].expire) != 0 ||
            a.expiry.ms != CASES[i].ms || a.value != CASES[i].value ||
            a.first_tag != CASES[i].first_tag || a.tag_count != CASES[i].tag_count ||
            a.first_generation != CASES[i].first_generation)
            fail_msg("%s: %s", CASES[i].line, refusal ? refusal : "read wrongly");
        drop(&l);
    }
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } CASES[] = {
        {"sumcache.set k v ex 5", "ERR syntax error"},
        {"sumcache.set k v nx tags a", "ERR syntax error"},
        {"sumcache.set k v ex 5 px 6 tags a", "ERR syntax error"},
        {"sumcache.set k v ex 5 tags", "ERR syntax error"},
        {"sumcache.set k v ex tags a", "ERR value is not an integer or out of range"},
        {"sumcache.set k v ex 0 tags a", "ERR invalid expire time in 'sumcache.set' command"},
        {"sumcache.set k v px -1 tags a", "ERR invalid expire time in 'sumcache.set' command"},
        {"sumcache.set k v ex 9223372036854775 tags a",
         "ERR invalid expire time in 'sumcache.set' command"},
        {"sumcache.set k v tags a generations 0123456789ABCDEF",
         "ERR sumcache: that is no generation that SUMCACHE.TAGS gives"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct line l;
        struct tag_args a;
        const char *refusal = read_line(&l, CASES[i].line, &a);
        if (!refusal || strcmp(refusal, CASES[i].error) != 0)
            fail_msg("%s: %s", CASES[i].line, refusal ? refusal : "taken");
        drop(&l);
    }
}

static void limits(void **state)
{
    (void)state;
    char line[2000] = "sumcache.tags";
    struct line l;
    struct tag_args a;
    for (int i = 0; i < 64; i++)
        strcat(line, " t");
    assert_null(read_line(&l, line, &a));
    assert_int_equal(a.tag_count, 64);
    drop(&l);
    strcat(line, " t");
    assert_string_equal(read_line(&l, line, &a), "ERR sumcache: there may be at most 64 tags");
    drop(&l);
    snprintf(line, sizeof(line), "sumcache.tags %0512d", 1);
    assert_null(read_line(&l, line, &a));
    drop(&l);
    snprintf(line, sizeof(line), "sumcache.tags %0513d", 1);
    assert_string_equal(read_line(&l, line, &a), "ERR sumcache: a tag has at most 512 bytes");
    drop(&l);
}

static void how_long_a_value_lives(void **state)
{
    (void)state;
    assert_int_equal(tag_expiry_ms(&(struct tag_expiry){"", 0}, 100), 0);
    assert_int_equal(tag_expiry_ms(&(struct tag_expiry){"PEXPIRE", 7}, 100), 7);
    assert_int_equal(tag_expiry_ms(&(struct tag_expiry){"PEXPIREAT", 107}, 100), 7);
    assert_int_equal(tag_expiry_ms(&(struct tag_expiry){"PEXPIREAT", 7}, 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(how_long_a_value_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
