/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include "daemon/config_rows.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { WORDS_MAX = 8 };

static int word_count(const char *const *words)
{
    int n = 0;
    while (n < WORDS_MAX && words[n])
        n++;
    return n;
}

static int read_words(struct options *o, const char *const *words, char error[OPTIONS_ERROR_MAX])
{
    char *argv[WORDS_MAX + 1] = {NULL};
    for (int i = 0; i < word_count(words); i++)
        argv[i] = (char *)(uintptr_t)words[i];
    return options_read(o, word_count(words), argv, error);
}

static const struct {
    const char *words[WORDS_MAX];
    enum options_action action;
    const char *path;
    int value_count;
} RIGHT[] = {
    {{"sumcache"}, OPTIONS_RUN, NULL, 0},
    {{"sumcache", "--help"}, OPTIONS_HELP, NULL, 0},
    {{"sumcache", "-h"}, OPTIONS_HELP, NULL, 0},
    {{"sumcache", "--version"}, OPTIONS_VERSION, NULL, 0},
    {{"sumcache", "--help", "--check-config"}, OPTIONS_HELP, NULL, 0},
    {{"sumcache", "--config", "a.yaml"}, OPTIONS_RUN, "a.yaml", 0},
    {{"sumcache", "--config=a=b.yaml", "--check-config"}, OPTIONS_CHECK_CONFIG, "a=b.yaml", 0},
    {{"sumcache", "--print-config", "--workers", "2"}, OPTIONS_PRINT_CONFIG, NULL, 1},
    {{"sumcache", "--listen", "1", "--listen=2", "--nodes", "a"}, OPTIONS_RUN, NULL, 3},
    {{"sumcache", "--local", "--version"}, OPTIONS_RUN, NULL, 1}, /* refused later, as a value */
};

static void test_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(RIGHT); i++) {
        struct options o;
        char error[OPTIONS_ERROR_MAX] = "";
        if (read_words(&o, RIGHT[i].words, error) != 0)
            fail_msg("case %zu: %s", i, error);
        assert_int_equal(o.action, RIGHT[i].action);
        assert_int_equal(o.value_count, RIGHT[i].value_count);
        if (RIGHT[i].path)
            assert_string_equal(o.config_path, RIGHT[i].path);
        else
            assert_null(o.config_path);
        options_fini(&o);
    }
}

static const struct {
    const char *words[WORDS_MAX];
    const char *error;
} WRONG[] = {
    {{"sumcache", "--foo"}, "unknown option '--foo'"},
    {{"sumcache", "--foo=1"}, "unknown option '--foo=1'"},
    {{"sumcache", "--list"}, "unknown option '--list'"}, /* no abbreviations */
    {{"sumcache", "-x"}, "unexpected argument '-x'"},
    {{"sumcache", "redis:6379"}, "unexpected argument 'redis:6379'"},
    {{"sumcache", "--"}, "unexpected argument '--'"},
    {{"sumcache", ""}, "unexpected argument ''"},
    {{"sumcache", "--listen"}, "--listen needs a value: ADDR:PORT"},
    {{"sumcache", "--listen", ""}, "--listen needs a value: ADDR:PORT"},
    {{"sumcache", "--listen="}, "--listen needs a value: ADDR:PORT"},
    {{"sumcache", "--config"}, "--config needs a value: FILE"},
    {{"sumcache", "--help=1"}, "--help takes no value"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(WRONG); i++) {
        struct options o;
        char error[OPTIONS_ERROR_MAX] = "";
        assert_int_equal(read_words(&o, WRONG[i].words, error), -EINVAL);
        assert_string_equal(error, WRONG[i].error);
    }
}

/* A file's text, flags, one setting and what it is then; or the error's text. */
static const struct {
    const char *yaml;
    const char *words[WORDS_MAX];
    const char *setting, *value, *error;
} APPLIED[] = {
    {"workers: 7", {"sumcache"}, "workers", "7", NULL},
    {"workers: 7", {"sumcache", "--workers", "3"}, "workers", "3", NULL},
    {"workers: 7", {"sumcache", "--workers=auto"}, "workers", "auto", NULL},
    {"", {"sumcache", "--workers", "3", "--workers", "4"}, "workers", "4", NULL},
    {"", {"sumcache", "--local", "3", "--local-memory", "5mb"}, "local.memory", "5mb", NULL},
    {"", {"sumcache", "--local", "3"}, "local.nodes", "3", NULL},
    {"", {"sumcache", "--log-level", "warn"}, "log_level", "warn", NULL},
    {"",
     {"sumcache", "--workers", "x"},
     NULL,
     NULL,
     "--workers: expected auto or a number, not 'x'"},
    {"",
     {"sumcache", "--local", "--version"},
     NULL,
     NULL,
     "--local: expected a number, not '--version'"},
    {"",
     {"sumcache", "--nodes", "a,a"},
     NULL,
     NULL,
     "--nodes: expected a node that is not listed twice, not 'a'"},
    {"",
     {"sumcache", "--nodes", "a", "--nodes", "b,A:6379"},
     NULL,
     NULL,
     "--nodes: expected a node that is not listed twice, not 'A:6379'"},
};

static void test_applied(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(APPLIED); i++) {
        struct options o;
        struct config c;
        struct config_error e;
        char error[OPTIONS_ERROR_MAX], value[CONFIG_TEXT_MAX];
        config_init(&c);
        assert_int_equal(config_read(&c, str_of(APPLIED[i].yaml), &e), 0);
        assert_int_equal(read_words(&o, APPLIED[i].words, error), 0);
        int err = options_apply(&o, &c, &e);
        assert_int_equal(err, APPLIED[i].error ? -EINVAL : 0);
        if (err) {
            assert_string_equal(e.text, APPLIED[i].error);
            assert_int_equal(e.line, 0);
        } else {
            for (unsigned k = 0; k < CONFIG_ROW_COUNT; k++) {
                char name[CONFIG_TEXT_MAX];
                if (strcmp(config_row_name(&CONFIG_ROWS[k], name), APPLIED[i].setting) == 0)
                    assert_string_equal(config_row_value(&CONFIG_ROWS[k], &c, value),
                                        APPLIED[i].value);
            }
        }
        options_fini(&o);
        config_fini(&c);
    }
}

static void test_lists(void **state)
{
    (void)state;
    static const char *const words[WORDS_MAX] = {"sumcache", "--listen", "7000",       "--nodes",
                                                 "a,b",      "--listen", "[::1]:7000", "--nodes=c"};
    struct options o;
    struct config c;
    struct config_error e;
    char error[OPTIONS_ERROR_MAX], text[ADDR_TEXT_MAX];
    config_init(&c);
    assert_int_equal(config_read(&c, STR("{listen: [1, 2, 3], nodes: {static: [x]}}"), &e), 0);
    assert_int_equal(read_words(&o, words, error), 0);
    assert_int_equal(options_apply(&o, &c, &e), 0);
    assert_int_equal(c.listen_count, 2);
    assert_string_equal(addr_print(&c.listen[0], text), "127.0.0.1:7000");
    assert_string_equal(addr_print(&c.listen[1], text), "[::1]:7000");
    assert_int_equal(c.node_count, 3);
    assert_string_equal(c.nodes[0].name, "a:6379");
    assert_string_equal(c.nodes[2].name, "c:6379");
    options_fini(&o);
    config_fini(&c);
}

/* Is it there, perhaps with a line broken where it has a blank? */
static bool tells(const char *text, const char *what)
{
    for (; *text; text++) {
        const char *t = text, *w = what;
        while (*w && (*t == *w || (*w == ' ' && *t == '\n'))) {
            t += *t == '\n' ? 1 + strspn(t + 1, " ") : 1;
            w++;
        }
        if (!*w)
            return true;
    }
    return false;
}

static void test_help_is_complete(void **state)
{
    (void)state;
    static const char *const flags[] = {"--config FILE",  "--check-config",  "--print-config",
                                        "--listen ADDR:", "--nodes HOST:",   "--workers N",
                                        "--local N",      "--local-memory ", "--log-level LEVEL",
                                        "--help",         "--version",       "sumcache ring",
                                        "sumcache nodes"};
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    options_print_help(f);
    assert_int_equal(fclose(f), 0);
    for (size_t i = 0; i < COUNT(flags); i++)
        if (!strstr(text, flags[i]))
            fail_msg("--help does not tell of %s", flags[i]);
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        char name[CONFIG_TEXT_MAX], range[CONFIG_TEXT_MAX];
        if (!strstr(text, config_row_name(&CONFIG_ROWS[i], name)) ||
            !tells(text, config_row_range(&CONFIG_ROWS[i], range)) ||
            !strstr(text, CONFIG_ROWS[i].meaning))
            fail_msg("--help does not tell of %s", name);
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 120)
            fail_msg("too wide: %s", line);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_applied),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_help_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
