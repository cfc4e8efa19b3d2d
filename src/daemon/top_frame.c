/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_frame.h"

#include <stddef.h>
#include <string.h>

enum {
    ROWS_MAX = 8,     /* of events and of keys: a frame fits a usual terminal */
    NAME_COLUMNS = 40 /* of a key or a node; longer ones end with `...` */
};

void top_pages_fini(struct top_pages *p)
{
    json_decref(p->summary);
    json_decref(p->nodes);
    json_decref(p->events);
    json_decref(p->keys);
    *p = (struct top_pages){0};
}

/* ---- members ---- */

static double number(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

static double ratio(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* Escapes what is no printable ASCII. The API writes a byte of a key above 0x7e as U+0080 to
 * U+00FF, which is two bytes of UTF-8 here: it is shown as the one that it was. */
static void escape(const json_t *o, const char *name, char *to, size_t size)
{
    const json_t *v = json_object_get(o, name);
    const unsigned char *p = (const unsigned char *)json_string_value(v);
    size_t len = json_string_length(v), at = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned c = p[i];
        if ((c == 0xc2 || c == 0xc3) && i + 1 < len)
            c = (c & 3) << 6 | (p[++i] & 0x3f);
        char one[8];
        size_t n;
        if (c == '\\')
            n = (size_t)snprintf(one, sizeof(one), "\\\\");
        else if (c >= 0x20 && c < 0x7f)
            n = (size_t)snprintf(one, sizeof(one), "%c", (int)c);
        else
            n = (size_t)snprintf(one, sizeof(one), "\\x%02x", c);
        if (at + n + 4 > size) {
            memcpy(to + at, "...", 4);
            return;
        }
        memcpy(to + at, one, n);
        at += n;
    }
    to[at] = 0;
}

static void print_text(const json_t *o, const char *name, int columns, FILE *out)
{
    char text[NAME_COLUMNS + 4];
    escape(o, name, text, sizeof(text));
    fprintf(out, "%-*s", columns, text);
}

static void print_bytes(double bytes, FILE *out)
{
    static const char UNITS[][4] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    fprintf(out, unit ? "%.1f %s" : "%.0f %s", bytes, UNITS[unit]);
}

/* ---- the parts of a frame ---- */

static void print_sum(const json_t *s, FILE *out)
{
    const json_t *last = json_object_get(s, "last_second");
    fputs("memory ", out);
    print_bytes(number(s, "memory_used"), out);
    fputs(" of ", out);
    print_bytes(number(s, "memory_max"), out);
    double hits = number(s, "hits");
    fprintf(out, "   keys %.0f   hit ratio %.1f%%   clients %.0f\n", number(s, "keys"),
            ratio(hits, hits + number(s, "misses")), number(s, "clients"));
    fprintf(out, "requests/s %.0f   p99 %.2f ms   failed/s %.0f   nodes in ring %.0f, out %.0f\n",
            number(last, "requests"), number(last, "p99_us") / 1000, number(last, "failed"),
            number(s, "nodes_in_ring"), number(s, "nodes_out"));
}

static void print_nodes(const json_t *nodes, FILE *out)
{
    size_t i;
    json_t *n;
    fprintf(out, "\n%-24s %-8s %6s %11s %9s %10s  %s\n", "NODE", "STATE", "SHARE", "MEMORY", "P99",
            "KEYS", "WHY");
    json_array_foreach(json_object_get(nodes, "nodes"), i, n)
    {
        print_text(n, "name", 24, out);
        fputc(' ', out);
        print_text(n, "state", 8, out);
        fprintf(out, " %5.1f%% %7.1f MiB %6.2f ms %10.0f  ", 100 * number(n, "share"),
                number(n, "memory_used") / 1048576, number(n, "first_byte_p99_us") / 1000,
                number(n, "keys"));
        print_text(n, "reason", 0, out);
        fputc('\n', out);
    }
}

static void print_events(const json_t *page, double now_ms, FILE *out)
{
    const json_t *events = json_object_get(page, "events");
    size_t count = json_array_size(events);
    fputs("\nLAST EVENTS\n", out);
    for (size_t i = 0; i < count && i < ROWS_MAX; i++) {
        const json_t *e = json_array_get(events, count - 1 - i);
        fprintf(out, "%6.0f s ago  ", (now_ms - number(e, "at_ms")) / 1000);
        print_text(e, "node", 24, out);
        fputc(' ', out);
        print_text(e, "from", 0, out);
        fputs(" -> ", out);
        print_text(e, "to", 0, out);
        fputs("  ", out);
        print_text(e, "reason", 0, out);
        fputc('\n', out);
    }
}

static void print_keys(const json_t *keys, const char *member, const char *title, FILE *out)
{
    size_t i;
    json_t *k;
    fprintf(out, "\n%-40s %10s %9s %10s\n", title, "SAMPLES", "HITS", "BYTES");
    json_array_foreach(json_object_get(keys, member), i, k)
    {
        if (i == ROWS_MAX)
            break;
        print_text(k, "key", 40, out);
        double hits = number(k, "hits");
        fprintf(out, " %10.0f %8.1f%% %10.0f\n", number(k, "count"),
                ratio(hits, hits + number(k, "misses")), number(k, "bytes"));
    }
}

void top_frame_print(const struct top_pages *p, FILE *out)
{
    print_sum(p->summary, out);
    print_nodes(p->nodes, out);
    print_events(p->events, number(p->summary, "at_ms"), out);
    print_keys(p->keys, "hot", "HOT KEYS", out);
    print_keys(p->keys, "prefixes", "PREFIXES", out);
}
