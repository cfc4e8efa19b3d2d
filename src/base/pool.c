/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include "base/must.h"

#include <stdlib.h>
#include <string.h>

struct pool_spare {
    struct pool_spare *next;
};

void pool_init(struct pool *p, size_t object_size, size_t ceiling, size_t spare_max)
{
    if (object_size < sizeof(struct pool_spare))
        object_size = sizeof(struct pool_spare);
    if (!POOL_KEEPS_SPARES)
        spare_max = 0;
    *p = (struct pool){.object_size = object_size, .ceiling = ceiling, .spare_max = spare_max};
}

void pool_fini(struct pool *p)
{
    must(p->in_use == 0);
    while (p->spare) {
        struct pool_spare *s = p->spare;
        p->spare = s->next;
        free(s);
    }
    p->spare_count = 0;
}

void *pool_take(struct pool *p)
{
    if (p->in_use >= p->ceiling)
        return NULL;
    void *object;
    if (p->spare) {
        object = p->spare;
        p->spare = p->spare->next;
        p->spare_count--;
        /* The next to be taken, and written: two cache lines cover most objects. */
        __builtin_prefetch(p->spare, 1);
        __builtin_prefetch((const char *)p->spare + 64, 1);
    } else {
        object = malloc(p->object_size);
        if (!object)
            return NULL;
    }
    if (++p->in_use > p->peak)
        p->peak = p->in_use;
    return object;
}

void pool_trim(struct pool *p)
{
    size_t wanted = p->peak - p->in_use;
    while (p->spare_count > wanted) {
        struct pool_spare *s = p->spare;
        p->spare = s->next;
        p->spare_count--;
        free(s);
    }
    p->peak = p->in_use;
}

void pool_give(struct pool *p, void *object)
{
    must(p->in_use > 0);
    p->in_use--;
    if (p->spare_count >= p->spare_max) {
        free(object);
        return;
    }
    struct pool_spare *s = object;
    s->next = p->spare;
    p->spare = s;
    p->spare_count++;
}
