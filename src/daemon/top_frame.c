/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_frame.h"

#include <stddef.h>

enum {
    ROWS_MAX = 8,     /* of events and of keys: a frame fits a usual terminal */
    NAME_COLUMNS = 40 /* of a key or a node; longer ones end with `...` */
};

static void print_text(const json_t *o, const char *name, int columns, FILE *out)
{
    char text[NAME_COLUMNS + 1];
    top_text(o, name, text, sizeof(text));
    fprintf(out, "%-*s", columns, text);
}

/* ---- the parts of a frame ---- */

static void print_sum(const json_t *s, FILE *out)
{
    const json_t *last = json_object_get(s, "last_second");
    char used[TOP_BYTES_MAX], max[TOP_BYTES_MAX];
    fprintf(out, "memory %s of %s", top_print_bytes(top_number(s, "memory_used"), used),
            top_print_bytes(top_number(s, "memory_max"), max));
    double hits = top_number(s, "hits");
    fprintf(out, "   keys %.0f   hit ratio %.1f%%   clients %.0f\n", top_number(s, "keys"),
            top_percent(hits, hits + top_number(s, "misses")), top_number(s, "clients"));
    fprintf(out, "requests/s %.0f   p99 %.2f ms   failed/s %.0f   nodes in ring %.0f, out %.0f\n",
            top_number(last, "requests"), top_number(last, "p99_us") / 1000,
            top_number(last, "failed"), top_number(s, "nodes_in_ring"), top_number(s, "nodes_out"));
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
        fprintf(out, " %5.1f%% %7.1f MiB %6.2f ms %10.0f  ", 100 * top_number(n, "share"),
                top_number(n, "memory_used") / 1048576, top_number(n, "first_byte_p99_us") / 1000,
                top_number(n, "keys"));
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
        fprintf(out, "%6.0f s ago  ", (now_ms - top_number(e, "at_ms")) / 1000);
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
        double hits = top_number(k, "hits");
        fprintf(out, " %10.0f %8.1f%% %10.0f\n", top_number(k, "count"),
                top_percent(hits, hits + top_number(k, "misses")), top_number(k, "bytes"));
    }
}

void top_frame_print(const struct top_pages *p, FILE *out)
{
    print_sum(p->summary, out);
    print_nodes(p->nodes, out);
    print_events(p->events, top_number(p->summary, "at_ms"), out);
    print_keys(p->keys, "hot", "HOT KEYS", out);
    print_keys(p->keys, "prefixes", "PREFIXES", out);
}
