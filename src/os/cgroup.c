/* SPDX-License-Identifier: Apache-2.0 */
#include "os/cgroup.h"

#include "base/str.h"
#include "os/file.h"

#include <stdbool.h>
#include <stdio.h>

enum {
    PATH_SIZE = 4096,
    FILE_MAX = 64 * 1024, /* of /proc/self/cgroup; the others hold a line */
};

/* Thousandths of a CPU; 0: no quota ("max", -1), or nothing that makes sense. */
static uint64_t share(struct str quota, struct str period)
{
    int64_t q, p;
    if (str_to_i64(quota, &q) != 0 || str_to_i64(period, &p) != 0 || q <= 0 || p <= 0 ||
        q > INT64_MAX / 1000)
        return 0;
    uint64_t thousandths = (uint64_t)q * 1000 / (uint64_t)p;
    return thousandths > 0 ? thousandths : 1;
}

/* The first line of a file as an owned text; false if there is none. */
static bool read_line(const char *dir, const char *name, char **ret_bytes, struct str *ret_line)
{
    char path[PATH_SIZE];
    size_t len = 0;
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || file_read(path, FILE_MAX, ret_bytes, &len) != 0)
        return false;
    struct str text = {*ret_bytes, len};
    *ret_line = str_cut(&text, '\n');
    return true;
}

static uint64_t quota_of_v2(const char *dir)
{
    char *bytes CLEANUP(freep) = NULL;
    struct str period;
    if (!read_line(dir, "cpu.max", &bytes, &period))
        return 0;
    struct str quota = str_cut(&period, ' ');
    return share(quota, period);
}

static uint64_t quota_of_v1(const char *dir)
{
    char *quota_bytes CLEANUP(freep) = NULL, *period_bytes CLEANUP(freep) = NULL;
    struct str quota, period;
    if (!read_line(dir, "cpu.cfs_quota_us", &quota_bytes, &quota) ||
        !read_line(dir, "cpu.cfs_period_us", &period_bytes, &period))
        return 0;
    return share(quota, period);
}

/* The least quota from root/top/path up to root/top. */
static uint64_t least(const char *root, const char *top, struct str path,
                      uint64_t (*quota_of)(const char *dir))
{
    char dir[PATH_SIZE];
    uint64_t found = 0;
    int top_len = snprintf(dir, sizeof(dir), "%s%s", root, top);
    if (top_len < 0 || (size_t)top_len + path.len >= sizeof(dir))
        return 0;
    memcpy(dir + top_len, path.p, path.len);
    for (size_t len = (size_t)top_len + path.len;;) {
        dir[len] = '\0';
        uint64_t quota = quota_of(dir);
        if (quota > 0 && (found == 0 || quota < found))
            found = quota;
        if (len <= (size_t)top_len)
            return found;
        while (len > (size_t)top_len && dir[len - 1] != '/')
            len--;
        if (len > (size_t)top_len)
            len--; /* the slash */
    }
}

/* Is `word` one of a list with commas? */
static bool lists(struct str list, struct str word)
{
    while (list.len > 0)
        if (str_eq(str_cut(&list, ','), word))
            return true;
    return false;
}

uint64_t cgroup_cpu_quota(const char *self, const char *root)
{
    char *bytes CLEANUP(freep) = NULL;
    size_t len = 0;
    uint64_t found = 0;
    if (file_read(self, FILE_MAX, &bytes, &len) != 0)
        return 0;
    struct str text = {bytes, len};
    while (text.len > 0) { /* "0::/system.slice/x" or "4:cpu,cpuacct:/docker/…" */
        struct str path = str_cut(&text, '\n');
        struct str number = str_cut(&path, ':');
        struct str controllers = str_cut(&path, ':');
        uint64_t quota = 0;
        if (str_eq(number, STR("0")) && controllers.len == 0) {
            quota = least(root, "", path, quota_of_v2);
        } else if (lists(controllers, STR("cpu"))) {
            quota = least(root, "/cpu", path, quota_of_v1);
            if (quota == 0) /* where there is no link of that name */
                quota = least(root, "/cpu,cpuacct", path, quota_of_v1);
        }
        if (quota > 0 && (found == 0 || quota < found))
            found = quota;
    }
    return found;
}
