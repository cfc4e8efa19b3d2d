/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/size_table.h"

#include "base/cleanup.h"

#include <stdlib.h>

/* An entry: tag in the upper 24 bits, in the lower 8 the exponent of the size, which is never 0. */
enum { EXPONENT_BITS = 8, EXPONENT_MAX = 63 };

void size_table_fini(struct size_table *t)
{
    free(take_ptr(t->entries));
}

static uint32_t tag_of(uint64_t id)
{
    return (uint32_t)(id >> 40) << EXPONENT_BITS;
}

/* Bits that the tag does not have. */
static size_t place_of(uint64_t id)
{
    return (size_t)(id >> 24) % SIZE_TABLE_ENTRIES;
}

static uint32_t exponent_of(uint64_t bytes)
{
    uint32_t exponent = 1;
    while (exponent < EXPONENT_MAX && UINT64_C(1) << exponent < bytes)
        exponent++;
    return exponent;
}

void size_table_learn(struct size_table *t, uint64_t id, uint64_t bytes)
{
    if (!t->entries)
        t->entries = calloc(SIZE_TABLE_ENTRIES, sizeof(*t->entries));
    if (t->entries)
        t->entries[place_of(id)] = tag_of(id) | exponent_of(bytes);
}

void size_table_forget(struct size_table *t, uint64_t id)
{
    if (size_table_find(t, id) > 0)
        t->entries[place_of(id)] = 0;
}

uint64_t size_table_find(const struct size_table *t, uint64_t id)
{
    if (!t->entries)
        return 0;
    uint32_t entry = t->entries[place_of(id)];
    uint32_t exponent = entry & ((1U << EXPONENT_BITS) - 1);
    if (exponent == 0 || (entry ^ exponent) != tag_of(id))
        return 0;
    return UINT64_C(1) << exponent;
}
