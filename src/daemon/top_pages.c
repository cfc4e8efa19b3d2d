/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_pages.h"

#include <stdio.h>
#include <string.h>

void top_pages_fini(struct top_pages *p)
{
    json_decref(p->summary);
    json_decref(p->nodes);
    json_decref(p->events);
    json_decref(p->keys);
    *p = (struct top_pages){0};
}

double top_number(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

double top_percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* One byte of a text as people may see it. */
static size_t escape(unsigned c, char one[8])
{
    if (c == '\\')
        return (size_t)snprintf(one, 8, "\\\\");
    if (c >= 0x20 && c < 0x7f)
        return (size_t)snprintf(one, 8, "%c", (int)c);
    return (size_t)snprintf(one, 8, "\\x%02x", c & 0xff);
}

/* The API writes a byte of a key above 0x7e as U+0080 to U+00FF, which is two bytes of UTF-8 here:
 * it is shown as the one that it was. */
size_t top_text(const json_t *o, const char *name, char *to, size_t size)
{
    const json_t *v = json_object_get(o, name);
    const unsigned char *p = (const unsigned char *)json_string_value(v);
    size_t len = json_string_length(v), at = 0, cut = 0; /* cut: where `...` would still fit */
    for (size_t i = 0; i < len; i++) {
        unsigned c = p[i];
        if ((c == 0xc2 || c == 0xc3) && i + 1 < len)
            c = (c & 3) << 6 | (p[++i] & 0x3f);
        char one[8];
        size_t n = escape(c, one);
        if (at + n >= size) {
            memcpy(to + cut, "...", 4);
            return cut + 3;
        }
        memcpy(to + at, one, n);
        at += n;
        if (at + 4 <= size)
            cut = at;
    }
    to[at] = 0;
    return at;
}

const char *top_print_bytes(double bytes, char to[TOP_BYTES_MAX])
{
    static const char UNITS[][4] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(to, TOP_BYTES_MAX, unit ? "%.1f %s" : "%.0f %s", bytes, UNITS[unit]);
    return to;
}
