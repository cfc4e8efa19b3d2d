/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive hash table: finds objects by a hash that their owner computes. It owns nothing but its
 * slots, grows by doubling, and takes no memory while it is empty. Its order means nothing, so
 * there is no way to walk it: who needs that keeps a list beside it.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link **slots; /* owned; NULL: empty */
    size_t room;               /* slots, a power of two */
    size_t count;
};

/* A zeroed struct table is an empty one. */

/* Is this the object that `key` names? */
typedef bool (*table_is)(const struct table_link *link, const void *key);

/* The object with that hash of which is() says so; NULL: there is none. */
struct table_link *table_find(const struct table *t, uint64_t hash, table_is is, const void *key);
/* 0, or -ENOMEM and it is not in the table. An equal one must not be in it. */
int table_add(struct table *t, struct table_link *link, uint64_t hash) MUST_CHECK;
/* It must be in the table. */
void table_remove(struct table *t, struct table_link *link);
