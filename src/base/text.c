/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void text_fini(struct text *t)
{
    free(t->bytes);
    *t = (struct text){0};
}

static bool make_room(struct text *t, size_t more)
{
    if (t->failed || more > TEXT_MAX - t->len) {
        t->failed = true;
        return false;
    }
    if (t->room - t->len >= more)
        return true;
    size_t room = t->room > 0 ? 2 * t->room : 4096;
    while (room - t->len < more)
        room *= 2;
    char *bytes = realloc(t->bytes, room);
    if (!bytes) {
        t->failed = true;
        return false;
    }
    t->bytes = bytes;
    t->room = room;
    return true;
}

static void add_bytes(struct text *t, const char *bytes, size_t len)
{
    if (len == 0 || !make_room(t, len))
        return;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void text_add(struct text *t, const char *format, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(line))
        t->failed = true;
    else
        add_bytes(t, line, (size_t)n);
}

void text_add_json(struct text *t, struct str s)
{
    add_bytes(t, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '"' || c == '\\')
            text_add(t, "\\%c", c);
        else if (c >= ' ' && c <= '~' && c != '<' && c != '>' && c != '&')
            add_bytes(t, &c, 1);
        else
            text_add(t, "\\u%04x", (unsigned)(unsigned char)c);
    }
    add_bytes(t, "\"", 1);
}

void text_add_label(struct text *t, struct str s)
{
    add_bytes(t, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '"')
            text_add(t, "\\\"");
        else if (c >= ' ' && c <= '~' && c != '\\')
            add_bytes(t, &c, 1);
        else
            text_add(t, "\\\\x%02x", (unsigned)(unsigned char)c);
    }
    add_bytes(t, "\"", 1);
}
