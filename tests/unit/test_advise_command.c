/* SPDX-License-Identifier: Apache-2.0 */
/* Its command line; what it finds at real nodes is in tests/integration/test_advise.py. */
#include "daemon/advise_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS_MAX = 8 };

static void check(const char *line, int status, const char *expected_out, const char *expected_err)
{
    char *argv[ARGS_MAX + 1], *rest, *words = strdup(line), *out_text, *err_text;
    size_t out_len, err_len;
    int argc = 0;
    assert_non_null(words);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    FILE *out = open_memstream(&out_text, &out_len), *err = open_memstream(&err_text, &err_len);
    assert_true(out && err);
    int found = advise_command(argc, argv, out, err);
    fclose(out);
    fclose(err);
    if (found != status || strncmp(out_text, expected_out, strlen(expected_out)) != 0 ||
        strcmp(err_text, expected_err) != 0)
        fail_msg("%s: %d\n%s%s", line, found, out_text, err_text);
    free(out_text);
    free(err_text);
    free(words);
}

static void test_usage(void **state)
{
    (void)state;
    check("advise --help", 0, "Usage: sumcache advise --config FILE", "");
    check("advise", 2, "", "sumcache advise: no nodes: give --config or --nodes (see --help)\n");
    check("advise --nodes", 2, "", "sumcache advise: --nodes needs a value\n");
    check("advise --node=a:1", 2, "",
          "sumcache advise: unknown argument: --node=a:1 (see --help)\n");
    check("advise --json all", 2, "", "sumcache advise: unknown argument: all (see --help)\n");
    check("advise --nodes a:1 --sample=101", 2, "",
          "sumcache advise: --sample: expected 0 to 100\n");
    check("advise --nodes a:1 --sample many", 2, "",
          "sumcache advise: --sample: expected 0 to 100\n");
    check("advise --config /nowhere/at/all", 2, "",
          "sumcache advise: cannot read /nowhere/at/all: No such file or directory\n");
    check("advise --nodes a:1 --password-file /nowhere/at/all", 2, "",
          "sumcache advise: cannot read password_file /nowhere/at/all: No such file or "
          "directory\n");
    check("advise --nodes a:1 --cacert /nowhere/at/all", 2, "",
          "sumcache advise: --cacert, --cert, --key and --sni are of no use without --tls\n");
    check("advise --nodes a:1 --tls --cacert /nowhere/at/all", 2, "",
          "sumcache advise: the CA /nowhere/at/all: No such file or directory\n");
    check("advise --config /dev/null", 2, "", "sumcache advise: no nodes are given\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_usage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
