/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories, for start-up and shut-down: these calls may block. 0 or -errno. */
#pragma once
#include "base/cleanup.h"

#include <stddef.h>

/* The whole file as one block that the caller owns; a NUL follows it and is not counted. -EFBIG:
 * more than `max` bytes. */
int file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_len) MUST_CHECK;

/* A fresh directory `prefix`XXXXXX in $TMPDIR or /tmp, for this user alone. */
int file_temp_dir(const char *prefix, char *to, size_t size) MUST_CHECK;

/* Removes a directory and all below it, without following links. What cannot be removed stays. */
void file_remove_tree(const char *path);
