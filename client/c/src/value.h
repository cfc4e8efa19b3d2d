/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are shared by count: a value, or a stored value with its header. Filled by whoever
 * made them, and never changed once there is a second owner. Any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

struct bytes {
    atomic_uint shares;
    size_t len;
    char *data;              /* behind the struct, or somebody else's */
    void (*free_fn)(void *); /* NULL: behind the struct */
};

/* Room for len bytes, with one share. NULL: no memory. */
struct bytes *bytes_new(size_t len);
/* A copy. NULL: no memory. */
struct bytes *bytes_copy(const void *data, size_t len);
/* Takes data, which free_fn ends. NULL: no memory, and data was ended. */
struct bytes *bytes_take(void *data, size_t len, void (*free_fn)(void *));
struct bytes *bytes_ref(struct bytes *b);
/* NULL is fine. Returns NULL. */
struct bytes *bytes_unref(struct bytes *b);
