/* SPDX-License-Identifier: Apache-2.0 */
/* A growing array of bytes with a head to take from. For models only: it aborts without memory. */
#pragma once
#include "base/must.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *p; /* owned; the bytes are p[head … head + len) */
    size_t head, len, room;
};

static inline void bytes_free(struct bytes *b)
{
    free(b->p);
    *b = (struct bytes){0};
}

static inline uint8_t *bytes_at(const struct bytes *b)
{
    return b->p ? b->p + b->head : NULL;
}

/* Makes room for `len` more and returns where they go; bytes_grown() then counts them in. */
static inline uint8_t *bytes_room(struct bytes *b, size_t len)
{
    if (b->head + b->len + len > b->room) {
        if (b->len > 0 && b->head > 0)
            memmove(b->p, b->p + b->head, b->len);
        b->head = 0;
        if (b->len + len > b->room) {
            size_t room = b->room ? b->room : 256;
            while (room < b->len + len)
                room *= 2;
            b->p = realloc(b->p, room);
            must(b->p);
            b->room = room;
        }
    }
    return b->p + b->head + b->len;
}

static inline void bytes_add(struct bytes *b, const void *from, size_t len)
{
    if (len == 0)
        return;
    memcpy(bytes_room(b, len), from, len);
    b->len += len;
}

static inline void bytes_take(struct bytes *b, size_t len)
{
    must(len <= b->len);
    b->len -= len;
    b->head = b->len ? b->head + len : 0;
}

__attribute__((format(printf, 2, 3))) static inline void bytes_print(struct bytes *b,
                                                                     const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    must(n >= 0 && (size_t)n < sizeof(text));
    bytes_add(b, text, (size_t)n);
}
