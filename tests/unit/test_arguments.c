/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/arguments.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS_MAX = 16 };

struct got {
    bool loud;
    const char *name, *operand;
    const char *nodes[WORDS_MAX];
    struct argument_list list;
    char why[ARGUMENTS_WHY_MAX];
    int err;
    char *words; /* owned: drop() */
};

/* Reads the words of `line`, which are cut at blanks; `_` stands for an empty one. */
static struct got *take(struct got *g, const char *line)
{
    static char none[] = "";
    char *argv[WORDS_MAX + 1] = {none}, *rest;
    int argc = 1;
    *g = (struct got){.words = strdup(line)};
    assert_non_null(g->words);
    g->list.values = g->nodes;
    for (char *w = strtok_r(g->words, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = strcmp(w, "_") == 0 ? none : w;
    }
    const struct argument rows[] = {{.name = "--loud", .given = &g->loud},
                                    {.name = "--name", .value = &g->name},
                                    {.name = "--names", .all = &g->list},
                                    {.value = &g->operand}};
    g->err = arguments_read(rows, 4, argc, argv, g->why);
    return g;
}

static void drop(struct got *g)
{
    free(g->words);
}

static void test_forms(void **state)
{
    (void)state;
    struct got g;
    assert_int_equal(take(&g, "")->err, 0);
    assert_true(!g.loud && !g.name && !g.operand && g.list.count == 0);
    drop(&g);
    assert_int_equal(take(&g, "--name a what --loud --names b,c --names=d= --name=e")->err, 0);
    assert_true(g.loud);
    assert_string_equal(g.name, "e");
    assert_string_equal(g.operand, "what");
    assert_int_equal(g.list.count, 2);
    assert_string_equal(g.nodes[0], "b,c");
    assert_string_equal(g.nodes[1], "d=");
    drop(&g);
    assert_int_equal(take(&g, "--name -- --names=")->err, 0); /* a value is what stands there */
    assert_string_equal(g.name, "--");
    assert_string_equal(g.nodes[0], "");
    drop(&g);
    assert_int_equal(take(&g, "--names _ -")->err, 0);
    assert_int_equal(g.list.count, 1);
    assert_string_equal(g.nodes[0], "");
    assert_string_equal(g.operand, "-");
    drop(&g);
    assert_int_equal(take(&g, "--loud -- --name")->err, 0);
    assert_string_equal(g.operand, "--name");
    drop(&g);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
    } CASES[] = {
        {"--name", "--name needs a value"},
        {"--name=", "--name needs a value"},
        {"--name _", "--name needs a value"},
        {"--loud=yes", "--loud takes no value"},
        {"--lou", "unknown argument: --lou (see --help)"},
        {"--namer x", "unknown argument: --namer (see --help)"},
        {"-h", "unknown argument: --help (see --help)"}, /* it is what is looked for */
        {"-x", "unknown argument: -x (see --help)"},
        {"one two", "unknown argument: two (see --help)"},
        {"one -- two", "unknown argument: two (see --help)"},
        {"-- one --", "unknown argument: -- (see --help)"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct got g;
        assert_int_equal(take(&g, CASES[i].line)->err, -EINVAL);
        assert_string_equal(g.why, CASES[i].why);
        drop(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
