/* SPDX-License-Identifier: Apache-2.0 */
#include "value.h"

#include "../include/sumcache.h"

#include <stdlib.h>
#include <string.h>

struct bytes *bytes_new(size_t len)
{
    struct bytes *b = malloc(sizeof(*b) + len);
    if (b == NULL) {
        return NULL;
    }
    atomic_init(&b->shares, 1);
    b->len = len;
    b->data = (char *)(b + 1);
    b->free_fn = NULL;
    return b;
}

struct bytes *bytes_copy(const void *data, size_t len)
{
    struct bytes *b = bytes_new(len);
    if (b != NULL && len > 0) {
        memcpy(b->data, data, len);
    }
    return b;
}

struct bytes *bytes_take(void *data, size_t len, void (*free_fn)(void *))
{
    struct bytes *b = bytes_new(0);
    if (b == NULL) {
        if (free_fn != NULL) {
            free_fn(data);
        }
        return NULL;
    }
    b->len = len;
    b->data = data;
    b->free_fn = free_fn;
    return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
    atomic_fetch_add_explicit(&b->shares, 1, memory_order_relaxed);
    return b;
}

struct bytes *bytes_unref(struct bytes *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->shares, 1, memory_order_acq_rel) == 1) {
        if (b->free_fn != NULL) {
            b->free_fn(b->data);
        }
        free(b);
    }
    return NULL;
}

void sc_value_free(struct sc_value *value)
{
    if (value != NULL) {
        bytes_unref(value->owner);
        *value = (struct sc_value){0};
    }
}

void sc_value_share(const struct sc_value *value, struct sc_value *ret_value)
{
    *ret_value = *value;
    if (value->owner != NULL) {
        bytes_ref(value->owner);
    }
}
