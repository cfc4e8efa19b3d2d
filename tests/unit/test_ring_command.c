/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ring_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARGS_MAX = 24 };

struct run {
    int status;
    char *out, *err; /* owned: drop() */
};

/* The words of `line`, cut at blanks, as the command's arguments; `input` is its standard input. */
static struct run run_with(const char *line, const char *input, size_t input_len)
{
    struct run r = {0};
    size_t out_len, err_len;
    int argc = 0;
    char *argv[ARGS_MAX + 1], *rest, *words = strdup(line);
    assert_non_null(words);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    FILE *out = open_memstream(&r.out, &out_len), *err = open_memstream(&r.err, &err_len);
    FILE *in = NULL, *real_stdin = stdin;
    assert_true(out && err);
    if (input) {
        in = tmpfile();
        assert_non_null(in);
        assert_int_equal(fwrite(input, 1, input_len, in), input_len);
        rewind(in);
        stdin = in;
    }
    r.status = ring_command(argc, argv, out, err);
    stdin = real_stdin;
    if (in)
        fclose(in);
    fclose(out);
    fclose(err);
    free(words);
    return r;
}

static void drop(struct run *r)
{
    free(r->out);
    free(r->err);
}

static void check(const char *line, const char *input, const char *expected)
{
    struct run r = run_with(line, input, input ? strlen(input) : 0);
    if (r.status != 0 || r.err[0] != '\0' || strcmp(r.out, expected) != 0)
        fail_msg("%s: %d\n%s%s", line, r.status, r.out, r.err);
    drop(&r);
}

#define SHARES3                                                                                    \
    "10.0.0.1:6379\t21846\t33.334%\n10.0.0.2:6379\t21846\t33.334%\n10.0.0.3:6379\t21845\t33.332%"  \
    "\n"

/* Envoy's mapping for these three nodes. */
static void test_keys_and_shares(void **state)
{
    (void)state;
    check("ring --nodes 10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379", NULL, SHARES3);
    check("ring --key foo --nodes 10.0.0.1,10.0.0.2,10.0.0.3 --key bar --key lyft", NULL,
          "foo\t10.0.0.2:6379\nbar\t10.0.0.1:6379\nlyft\t10.0.0.3:6379\n" SHARES3);
    check("ring --nodes=10.0.0.1 --nodes=10.0.0.2,10.0.0.3 --key=a=b --key=", NULL,
          "a=b\t10.0.0.1:6379\n\t10.0.0.2:6379\n" SHARES3);
    check("ring --nodes 10.0.0.1,10.0.0.2,10.0.0.3 --key --help", NULL,
          "--help\t10.0.0.1:6379\n" SHARES3); /* where a value is due, it is a value */
    check("ring --nodes one.example.org:7000", NULL, "one.example.org:7000\t65537\t100.000%\n");
    check("ring --nodes ::1", NULL, "[::1]:6379\t65537\t100.000%\n");
    check("ring --nodes [::1]", NULL, "[::1]:6379\t65537\t100.000%\n");
    check("ring --nodes [::1]:6380", NULL, "[::1]:6380\t65537\t100.000%\n");
}

static void test_hash_tags(void **state)
{
    (void)state;
#define FIVE "ring --nodes 10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5"
#define SHARES5                                                                                    \
    "10.0.0.1:6379\t13108\t20.001%\n10.0.0.2:6379\t13108\t20.001%\n"                               \
    "10.0.0.3:6379\t13107\t19.999%\n10.0.0.4:6379\t13107\t19.999%\n10.0.0.5:6379\t13107\t19.999%"  \
    "\n"
    static const char ON[] = "{user1000}.following\t10.0.0.4:6379\n"
                             "{user1000}.followers\t10.0.0.4:6379\n" SHARES5;
    check(FIVE " --key {user1000}.following --key {user1000}.followers", NULL, ON);
    check(FIVE " --key {user1000}.following --key {user1000}.followers --hash-tags on", NULL, ON);
    check(FIVE " --key {user1000}.following --key {user1000}.followers --hash-tags off", NULL,
          "{user1000}.following\t10.0.0.3:6379\n"
          "{user1000}.followers\t10.0.0.5:6379\n" SHARES5);
}

static void test_keys_from_stdin(void **state)
{
    (void)state;
#define THREE "ring --nodes 10.0.0.1,10.0.0.2,10.0.0.3"
    check(THREE " --key -", "foo\nbar\nlyft\n",
          "foo\t10.0.0.2:6379\nbar\t10.0.0.1:6379\nlyft\t10.0.0.3:6379\n" SHARES3);
    check(THREE " --key -", "foo\n\nbar", /* an empty key; no line feed at the end */
          "foo\t10.0.0.2:6379\n\t10.0.0.2:6379\nbar\t10.0.0.1:6379\n" SHARES3);
    check(THREE " --key -", "", SHARES3);
    check(THREE " --key lyft --key - --key foo", "bar\n",
          "lyft\t10.0.0.3:6379\nbar\t10.0.0.1:6379\nfoo\t10.0.0.2:6379\n" SHARES3);

    struct run r = run_with(THREE " --key -", "a\0b\n", 4); /* the whole line is the key */
    static const char EXPECTED[] = "a\0b\t10.0.0.";
    assert_int_equal(r.status, 0);
    assert_memory_equal(r.out, EXPECTED, sizeof(EXPECTED) - 1);
    drop(&r);
}

/* The figures of a line `what<TAB>slots<TAB>percent`. */
static uint32_t slots_of(const char *out, const char *what)
{
    size_t len = strlen(what);
    const char *line = out;
    while (strncmp(line, what, len) != 0 || line[len] != '\t') {
        line = strchr(line, '\n');
        if (!line || !*++line)
            fail_msg("no line for %s in\n%s", what, out);
    }
    char *end;
    uint32_t slots = (uint32_t)strtoul(line + len + 1, &end, 10);
    assert_int_equal(*end, '\t');
    double percent = strtod(end + 1, &end);
    assert_memory_equal(end, "%\n", 2);
    assert_true(percent > slots * 100.0 / 65537 - 0.0006 &&
                percent < slots * 100.0 / 65537 + 0.0006);
    return slots;
}

struct change {
    const char *line;
    uint32_t removed, added, others_max;
    bool both; /* removed and added: what goes from the one to the other counts in both */
};

static void test_changes(void **state)
{
    (void)state;
    static const struct change CASES[] = {
        {THREE " --remove 10.0.0.1", 21846, 0, 100, false},
        {THREE " --remove 10.0.0.2:6379", 21846, 0, 100, false},
        {"ring --remove 10.0.0.3 --nodes 10.0.0.1,10.0.0.2,10.0.0.3", 21845, 0, 100, false},
        {THREE " --remove 10.0.0.1 --remove 10.0.0.2", 43692, 0, 0, false},
        {THREE " --add 10.0.0.4", 0, 16384, 200, false},
        {"ring --add 10.0.0.4,10.0.0.5 --nodes 10.0.0.1,10.0.0.2,10.0.0.3", 0, 26214, 300, false},
        {THREE " --add 10.0.0.4 --add 10.0.0.5", 0, 26214, 300, false},
        {THREE " --remove 10.0.0.3 --add 10.0.0.4", 21845, 21845, 300, true},
        {"ring --nodes a,b --remove a --remove b --add c", 65537, 65537, 0, true},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct run r = run_with(CASES[i].line, NULL, 0);
        assert_int_equal(r.status, 0);
        assert_string_equal(r.err, "");
        uint32_t moved = slots_of(r.out, "moved"), others = slots_of(r.out, "between others");
        assert_int_equal(slots_of(r.out, "from removed"), CASES[i].removed);
        assert_int_equal(slots_of(r.out, "to added"), CASES[i].added);
        assert_in_range(others, 0, CASES[i].others_max);
        if (CASES[i].both)
            assert_in_range(moved, CASES[i].removed, CASES[i].removed + CASES[i].added + others);
        else
            assert_int_equal(moved, CASES[i].removed + CASES[i].added + others);
        drop(&r);
    }
    /* Mean of the three single removals, as known for Envoy: 33.355 % of the slots. */
    uint32_t sum = 0;
    for (unsigned i = 1; i <= 3; i++) {
        char line[100];
        snprintf(line, sizeof(line), THREE " --remove 10.0.0.%u", i);
        struct run r = run_with(line, NULL, 0);
        sum += slots_of(r.out, "moved");
        drop(&r);
    }
    assert_true(sum / 3.0 / 655.37 > 33.354 && sum / 3.0 / 655.37 < 33.356);
    check("ring --nodes a,b --remove b", NULL,
          "a:6379\t32769\t50.001%\nb:6379\t32768\t49.999%\nmoved\t32768\t49.999%\n"
          "from removed\t32768\t49.999%\nto added\t0\t0.000%\nbetween others\t0\t0.000%\n");
}

static const char KETAMA_KEYS[] =
    "user:10\talpha\nimage:71271:large\tbeta\nimage:7919:large\tgamma\nuser:0\tdelta\n";

/* Where twemproxy has them: the pool of named servers of tests/vectors/twemproxy.txt. */
static void test_ketama(void **state)
{
    (void)state;
    struct run r = run_with("ring --kind ketama --nodes alpha,beta,gamma,delta --hash-tags off "
                            "--key user:10 --key image:71271:large --key image:7919:large --key "
                            "user:0 --remove beta --add epsilon",
                            NULL, 0);
    assert_string_equal(r.err, "");
    assert_int_equal(r.status, 0);
    assert_memory_equal(r.out, KETAMA_KEYS, strlen(KETAMA_KEYS));
    assert_non_null(strstr(r.out, "moved\t"));
    assert_non_null(strstr(r.out, "between others\t"));
    drop(&r);
    r = run_with("ring --hash murmur --kind modula --nodes a,b --key k", NULL, 0);
    assert_int_equal(r.status, 0);
    drop(&r);
}

static void test_help(void **state)
{
    (void)state;
    static const char *const LINES[] = {"ring --help", "ring --nodes a --help"};
    for (size_t i = 0; i < 2; i++) {
        struct run r = run_with(LINES[i], NULL, 0);
        assert_int_equal(r.status, 0);
        assert_string_equal(r.err, "");
        assert_non_null(strstr(r.out, "Usage: sumcache ring --nodes"));
        static const char *const OPTIONS[] = {"--key", "--hash-tags", "--remove", "--add"};
        for (size_t k = 0; k < 4; k++)
            assert_non_null(strstr(r.out, OPTIONS[k]));
        drop(&r);
    }
}

static void test_bad_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } CASES[] = {
        {"ring", "--nodes is missing (see --help)"},
        {"ring --key foo", "--nodes is missing (see --help)"},
        {"ring --add a", "--nodes is missing (see --help)"},
        {"ring --nodes", "--nodes needs a value"},
        {"ring --nodes a --key", "--key needs a value"},
        {"ring --nodes=", "--nodes: a node is empty"},
        {"ring --nodes a,", "--nodes: a node is empty"},
        {"ring --nodes a,,b", "--nodes: a node is empty"},
        {"ring --nodes a:0", "--nodes: not a node: a:0"},
        {"ring --nodes a:70000", "--nodes: not a node: a:70000"},
        {"ring --nodes a/b", "--nodes: not a node: a/b"},
        {"ring --nodes a=2", "--nodes: not a node: a=2"},
        {"ring --nodes a,b,a", "--nodes: node given twice: a:6379"},
        {"ring --nodes a,b,a:6379", "--nodes: node given twice: a:6379"},
        {"ring --nodes a --add a:6379", "--add: node given twice: a:6379"},
        {"ring --nodes a,b --add c --add c", "--add: node given twice: c:6379"},
        {"ring --nodes a,b --remove c", "--remove: not among the nodes: c:6379"},
        {"ring --nodes a,b --remove a:", "--remove: not a node: a:"},
        {"ring --nodes a,b --remove=", "--remove: a node is empty"},
        {"ring --nodes a,b --add c --remove c", "--remove: not among the nodes: c:6379"},
        {"ring --nodes a,b --remove a --remove b", "--remove: no node would be left"},
        {"ring --nodes a --hash-tags yes", "--hash-tags: neither on nor off: yes"},
        {"ring --nodes a --kind ring", "--kind: not maglev, ketama or modula: ring"},
        {"ring --nodes a --hash sha1", "--hash: unknown: sha1"},
        {"ring --nodes a,b --kind modula --add c",
         "--add and --remove: with modula nearly all keys move"},
        {"ring --nodes a,b,a --kind ketama", "--nodes: node given twice: a"},
        {"ring --nodes "
         "a,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "
         "--kind ketama",
         "--nodes: too many, or a name is too long, for this kind"},
        {"ring --nodes a --hash-tags=", "--hash-tags needs a value"},
        {"ring --nodes a b", "unknown argument: b (see --help)"},
        {"ring --nodes a --keys b", "unknown argument: --keys (see --help)"},
        {"ring --node a", "unknown argument: --node (see --help)"},
        {"ring -x", "unknown argument: -x (see --help)"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct run r = run_with(CASES[i].line, NULL, 0);
        char expected[200];
        snprintf(expected, sizeof(expected), "sumcache ring: %s\n", CASES[i].error);
        if (r.status != 2 || r.out[0] != '\0' || strcmp(r.err, expected) != 0)
            fail_msg("%s: %d\n%s%s", CASES[i].line, r.status, r.out, r.err);
        drop(&r);
    }
}

static void test_many_nodes(void **state)
{
    (void)state;
    enum { MAX = 4096 };
    char *line = malloc((MAX + 1) * 8 + 100);
    assert_non_null(line);
    size_t len = (size_t)sprintf(line, "ring --nodes n0");
    for (int i = 1; i < MAX; i++)
        len += (size_t)sprintf(line + len, ",n%d", i);
    struct run r = run_with(line, NULL, 0);
    assert_int_equal(r.status, 0);
    assert_in_range(slots_of(r.out, "n4095:6379"), 16, 17);
    drop(&r);
    strcpy(line + len, ",n4096");
    r = run_with(line, NULL, 0);
    assert_int_equal(r.status, 2);
    assert_string_equal(r.err, "sumcache ring: --nodes: more than 4096 nodes\n");
    drop(&r);
    free(line);
}

/* A full disk must not look like success. */
static void test_write_error(void **state)
{
    (void)state;
    char ring[] = "ring", nodes[] = "--nodes", a[] = "a", *argv[] = {ring, nodes, a, NULL};
    FILE *out = fopen("/dev/full", "w");
    if (!out)
        skip();
    char *text;
    size_t len;
    FILE *err = open_memstream(&text, &len);
    assert_int_equal(ring_command(3, argv, out, err), 1);
    fclose(out);
    fclose(err);
    assert_string_equal(text, "sumcache ring: cannot write: No space left on device\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_shares), cmocka_unit_test(test_hash_tags),
        cmocka_unit_test(test_keys_from_stdin), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_ketama),          cmocka_unit_test(test_help),
        cmocka_unit_test(test_bad_usage),       cmocka_unit_test(test_many_nodes),
        cmocka_unit_test(test_write_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
