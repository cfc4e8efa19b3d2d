/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_SIZE = 300 };

static void write_file(const char *dir, const char *name, const char *text, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%.200s/%.50s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_read(void **state)
{
    (void)state;
    char dir[200], path[PATH_SIZE], *bytes = NULL;
    size_t len = 99;
    assert_int_equal(file_temp_dir("sumcache-test-", dir, sizeof(dir)), 0);
    write_file(dir, "five", "12345", path);
    assert_int_equal(file_read(path, 4, &bytes, &len), -EFBIG);
    assert_null(bytes);
    assert_int_equal(len, 99);
    assert_int_equal(file_read(path, 5, &bytes, &len), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(bytes, "12345", 6); /* its NUL too */
    free(bytes);
    write_file(dir, "empty", "", path);
    assert_int_equal(file_read(path, 0, &bytes, &len), 0);
    assert_int_equal(len, 0);
    assert_string_equal(bytes, "");
    free(bytes);
    assert_int_equal(file_read(dir, 5, &bytes, &len), -EISDIR);
    file_remove_tree(dir);
    assert_int_equal(file_read(path, 5, &bytes, &len), -ENOENT);
}

static void test_stamp(void **state)
{
    (void)state;
    char dir[200], path[PATH_SIZE], other[PATH_SIZE];
    static const struct file_stamp none;
    assert_int_equal(file_temp_dir("sumcache-test-", dir, sizeof(dir)), 0);
    write_file(dir, "a", "1", path);
    struct file_stamp first = file_stamp_of(path), again = file_stamp_of(path);
    assert_true(file_stamp_eq(&first, &again));
    assert_false(file_stamp_eq(&first, &none));
    write_file(dir, "a", "22", path); /* another size, in the same moment */
    struct file_stamp longer = file_stamp_of(path);
    assert_false(file_stamp_eq(&first, &longer));
    write_file(dir, "b", "33", other); /* another file, moved over it, as an editor does */
    assert_int_equal(rename(other, path), 0);
    struct file_stamp moved = file_stamp_of(path);
    assert_false(file_stamp_eq(&longer, &moved));
    file_remove_tree(dir);
    struct file_stamp gone = file_stamp_of(path);
    assert_true(file_stamp_eq(&gone, &none));
}

/* What a link points to is not ours to remove. */
static void test_remove_tree(void **state)
{
    (void)state;
    char keep[200], dir[200], kept[PATH_SIZE], path[PATH_SIZE], deep[PATH_SIZE];
    struct stat st;
    assert_int_equal(file_temp_dir("sumcache-test-", keep, sizeof(keep)), 0);
    assert_int_equal(file_temp_dir("sumcache-test-", dir, sizeof(dir)), 0);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    write_file(keep, "file", "x", kept);
    write_file(dir, "file", "x", path);
    snprintf(path, sizeof(path), "%s/link", dir);
    assert_int_equal(symlink(keep, path), 0);
    snprintf(path, sizeof(path), "%s/sub", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(path, "deep", "x", deep);
    file_remove_tree(dir);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    file_remove_tree(keep);
    file_remove_tree(keep); /* gone already: nothing to do */
}

static void test_temp_dir_errors(void **state)
{
    (void)state;
    char dir[10];
    assert_int_equal(file_temp_dir("a-prefix-that-is-long-", dir, sizeof(dir)), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_remove_tree),
        cmocka_unit_test(test_temp_dir_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
