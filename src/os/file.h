/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories, for start-up, shut-down and the control plane: these calls may block. 0 or
 * -errno. */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole file as one block that the caller owns; a NUL follows it and is not counted. -EFBIG:
 * more than `max` bytes. */
int file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_len) MUST_CHECK;

/* What tells a file from the one that was there before, under the same name or in the same place.
 */
struct file_stamp {
    uint64_t device, inode, size;
    uint64_t changed_ns; /* since 1970 */
};

/* The stamp of the file at `path`, links followed; all 0 if there is none, or none that we may look
 * at. */
struct file_stamp file_stamp_of(const char *path);
bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b);

/* A fresh directory `prefix`XXXXXX in $TMPDIR or /tmp, for this user alone. */
int file_temp_dir(const char *prefix, char *to, size_t size) MUST_CHECK;

/* Removes a directory and all below it, without following links. What cannot be removed stays. */
void file_remove_tree(const char *path);
