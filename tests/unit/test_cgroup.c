/* SPDX-License-Identifier: Apache-2.0 */
/* The files of control groups, laid out in a directory of the test's own. */
#include "os/cgroup.h"

#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { FILES_MAX = 6, PATH_SIZE = 400 };

struct entry {
    const char *path, *text;
};

static void put(const char *root, const struct entry *f)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", root, f->path);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(f->text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const struct {
    const char *self; /* NULL: there is no such file */
    struct entry files[FILES_MAX];
    uint64_t quota;
} CASES[] = {
    {NULL, {{"cpu.max", "100000 100000\n"}}, 0},
    {"", {{"cpu.max", "100000 100000\n"}}, 0},
    /* Version 2. */
    {"0::/\n", {{"cpu.max", "200000 100000\n"}}, 2000},
    {"0::/\n", {{"cpu.max", "max 100000\n"}}, 0},
    {"0::/\n", {{"other", "1"}}, 0},
    {"0::/a/b\n", {{"a/b/cpu.max", "max 100000\n"}, {"a/cpu.max", "150000 100000\n"}}, 1500},
    {"0::/a/b\n", {{"a/b/cpu.max", "50000 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 500},
    {"0::/a/b\n", {{"a/b/cpu.max", "500000 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 3000},
    /* The host's path, which is not there in the container. */
    {"0::/kubepods/pod1/x\n", {{"cpu.max", "400000 100000\n"}}, 4000},
    {"0::/../other\n", {{"cpu.max", "400000 100000\n"}}, 4000},
    {"0::/\n", {{"cpu.max", "1 1000000\n"}}, 1},
    /* Nonsense. */
    {"0::/\n", {{"cpu.max", "\n"}}, 0},
    {"0::/\n", {{"cpu.max", "100000\n"}}, 0},
    {"0::/\n", {{"cpu.max", "100000 0\n"}}, 0},
    {"0::/\n", {{"cpu.max", "-5 100000\n"}}, 0},
    {"0::/\n", {{"cpu.max", "9223372036854775807 1\n"}}, 0},
    {"no colons\n0:x:/\n:::\n", {{"cpu.max", "100000 100000\n"}}, 0},
    /* Version 1, with either name of its directory. */
    {"4:memory:/\n3:cpu,cpuacct:/docker/x\n0::/\n",
     {{"cpu/docker/x/cpu.cfs_quota_us", "250000\n"},
      {"cpu/docker/x/cpu.cfs_period_us", "100000\n"}},
     2500},
    {"3:cpuacct,cpu:/\n",
     {{"cpu,cpuacct/cpu.cfs_quota_us", "100000\n"}, {"cpu,cpuacct/cpu.cfs_period_us", "50000\n"}},
     2000},
    {"3:cpu:/\n", {{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}}, 0},
    {"3:cpuacct:/\n", {{"cpu/cpu.cfs_quota_us", "1\n"}, {"cpu/cpu.cfs_period_us", "1\n"}}, 0},
};

static void test_quotas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char root[200], self[300];
        assert_int_equal(file_temp_dir("sumcache-test-", root, sizeof(root)), 0);
        snprintf(self, sizeof(self), "%s/self", root);
        if (CASES[i].self)
            put(root, &(struct entry){"self", CASES[i].self});
        for (int k = 0; k < FILES_MAX && CASES[i].files[k].path; k++)
            put(root, &CASES[i].files[k]);
        uint64_t quota = cgroup_cpu_quota(self, root);
        file_remove_tree(root);
        if (quota != CASES[i].quota)
            fail_msg("case %zu: %llu, not %llu", i, (unsigned long long)quota,
                     (unsigned long long)CASES[i].quota);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quotas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
