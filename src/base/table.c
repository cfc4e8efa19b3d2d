/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include "base/must.h"

#include <errno.h>
#include <stdlib.h>

enum { ROOM_MIN = 16 };

static struct table_link **slot_of(const struct table *t, uint64_t hash)
{
    /* Fibonacci hashing: a table may be given hashes of which only some bits are any good. */
    return &t->slots[(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (t->room - 1)];
}

struct table_link *table_find(const struct table *t, uint64_t hash, table_is is, const void *key)
{
    if (t->count == 0)
        return NULL;
    for (struct table_link *link = *slot_of(t, hash); link; link = link->next)
        if (link->hash == hash && is(link, key))
            return link;
    return NULL;
}

static void put(struct table *t, struct table_link *link)
{
    struct table_link **slot = slot_of(t, link->hash);
    link->next = *slot;
    *slot = link;
}

static int grow(struct table *t)
{
    struct table bigger = {.room = t->room > 0 ? 2 * t->room : ROOM_MIN, .count = t->count};
    bigger.slots = calloc(bigger.room, sizeof(struct table_link *));
    if (!bigger.slots)
        return t->room > 0 ? 0 : -ENOMEM; /* a full one is only slower */
    for (size_t i = 0; i < t->room; i++) {
        for (struct table_link *link = t->slots[i], *next; link; link = next) {
            next = link->next;
            put(&bigger, link);
        }
    }
    free(t->slots);
    *t = bigger;
    return 0;
}

int table_add(struct table *t, struct table_link *link, uint64_t hash)
{
    int err = t->count >= t->room ? grow(t) : 0;
    if (err)
        return err;
    link->hash = hash;
    put(t, link);
    t->count++;
    return 0;
}

void table_remove(struct table *t, struct table_link *link)
{
    struct table_link **at = slot_of(t, link->hash);
    while (*at != link) {
        must(*at);
        at = &(*at)->next;
    }
    *at = link->next;
    if (--t->count > 0)
        return;
    free(t->slots);
    *t = (struct table){0};
}
