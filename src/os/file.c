/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include "base/nsec.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads until the end or until `size` bytes are there. The count or -errno. */
static ssize_t read_up_to(int fd, char *to, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, to + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

int file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* One byte more than allowed tells "too long" from "just fits"; one more is for the NUL. The
     * size is not asked for beforehand because pipes and /proc do not know theirs. */
    char *bytes CLEANUP(freep) = malloc(max + 2);
    ssize_t len = bytes ? read_up_to(fd, bytes, max + 1) : -ENOMEM;
    close(fd);
    if (len < 0)
        return (int)len;
    if ((size_t)len > max)
        return -EFBIG;
    char *fitting = realloc(bytes, (size_t)len + 1);
    if (fitting)
        bytes = fitting;
    bytes[len] = '\0';
    *ret_len = (size_t)len;
    *ret_bytes = take_ptr(bytes);
    return 0;
}

struct file_stamp file_stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_stamp){0};
    /* The time of the inode's change, not of the content's: the latter can be set back, as rsync
     * and tar do. */
    return (struct file_stamp){
        .device = st.st_dev,
        .inode = st.st_ino,
        .size = (uint64_t)st.st_size,
        .changed_ns = (uint64_t)st.st_ctim.tv_sec * NSEC_S + (uint64_t)st.st_ctim.tv_nsec,
    };
}

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns;
}

int file_temp_dir(const char *prefix, char *to, size_t size)
{
    const char *base = getenv("TMPDIR");
    if (!base || base[0] != '/')
        base = "/tmp";
    int n = snprintf(to, size, "%s/%sXXXXXX", base, prefix);
    if (n < 0 || (size_t)n >= size)
        return -ENAMETOOLONG;
    return mkdtemp(to) ? 0 : -errno;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    remove(path);
    return 0;
}

void file_remove_tree(const char *path)
{
    enum { DESCRIPTORS = 8 };
    nftw(path, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
