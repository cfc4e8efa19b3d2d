/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/nodes_report.h"

#include "daemon/print_json.h"
#include "ring/maglev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

/* 0 if it is no number of 64 bits. */
static uint64_t number_of(struct str s)
{
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return 0;
        value = 10 * value + digit;
    }
    return value;
}

struct field {
    struct str name;
    uint64_t *number; /* one of these */
    struct str *text;
};

static void set_field(const struct field *fields, size_t count, struct str name, struct str value)
{
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(fields[i].name, name))
            continue;
        if (fields[i].number)
            *fields[i].number = number_of(value);
        else
            *fields[i].text = value;
    }
}

/* "name=a:6379,state=up,…,reason=…": the reason is the last. False: it has no name. */
static bool read_node(struct str line, struct nodes_report_node *n)
{
    const struct field fields[] = {
        {STR("name"), NULL, &n->name},           {STR("state"), NULL, &n->state},
        {STR("since_ms"), &n->since_ms, NULL},   {STR("slots"), &n->slots, NULL},
        {STR("in_flight"), &n->in_flight, NULL}, {STR("check_us"), &n->check_us, NULL},
        {STR("upstream"), NULL, &n->upstream},   {STR("reason"), NULL, &n->reason},
    };
    memset(n, 0, sizeof(*n));
    while (line.len > 0) {
        struct str value = str_cut(&line, ',');
        struct str name = str_cut(&value, '=');
        set_field(fields, sizeof(fields) / sizeof(fields[0]), name, value);
    }
    return n->name.len > 0;
}

/* "node7", as the lines of nodes begin. */
static bool is_node(struct str name)
{
    if (!str_begins(name, STR("node")) || name.len == 4)
        return false;
    for (size_t i = 4; i < name.len; i++)
        if (name.p[i] < '0' || name.p[i] > '9')
            return false;
    return true;
}

static int add_node(struct nodes_report *r, struct str line)
{
    struct nodes_report_node n;
    if (!read_node(line, &n))
        return 0;
    if ((r->count & (r->count - 1)) == 0) { /* it is full when it holds a power of two */
        size_t room = r->count ? 2 * (size_t)r->count : 1;
        struct nodes_report_node *nodes = realloc(r->nodes, room * sizeof(n));
        if (!nodes)
            return -ENOMEM;
        r->nodes = nodes;
    }
    r->nodes[r->count++] = n;
    return 0;
}

int nodes_report_read(struct str info, struct nodes_report *ret)
{
    struct nodes_report r = {0};
    uint64_t listed = 0;
    const struct field fields[] = {
        {STR("nodes"), &listed, NULL},
        {STR("view_version"), &r.view_version, NULL},
        {STR("ring_hash"), &r.ring_hash, NULL},
        {STR("nodes_out"), &r.nodes_out, NULL},
        {STR("slots_away"), &r.slots_away, NULL},
        {STR("slots_fenced"), &r.slots_fenced, NULL},
        {STR("journal_keys"), &r.journal_keys, NULL},
        {STR("dns_queries"), &r.dns_queries, NULL},
        {STR("dns_failing"), &r.dns_failing, NULL},
    };
    bool inside = false, seen = false;
    while (info.len > 0) {
        struct str line = str_cut_line(&info);
        if (str_begins(line, STR("# "))) {
            inside = str_eq(line, STR("# Sumcache"));
            seen = seen || inside;
            continue;
        }
        struct str name = inside ? str_cut(&line, ':') : (struct str){0};
        int err = is_node(name) ? add_node(&r, line) : 0;
        if (err) {
            free(r.nodes);
            return err;
        }
        set_field(fields, sizeof(fields) / sizeof(fields[0]), name, line);
    }
    if (!seen) {
        free(r.nodes);
        return -EPROTO;
    }
    r.hidden = listed > r.count ? listed - r.count : 0;
    *ret = r;
    return 0;
}

void nodes_report_fini(struct nodes_report *r)
{
    free(r->nodes);
    *r = (struct nodes_report){0};
}

bool nodes_report_is_well(const struct nodes_report *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        struct str state = r->nodes[i].state;
        if (!str_eq(state, STR("up")) && !str_eq(state, STR("leaving")))
            return false;
    }
    return r->count > 0 && (r->hidden == 0 || r->nodes_out == 0);
}

/* ---- a table ---- */

static void print_text(struct str s, int width, FILE *out)
{
    for (size_t i = 0; i < s.len; i++)
        fputc(s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?', out);
    fprintf(out, "%*s", (size_t)width > s.len ? (int)((size_t)width - s.len) : 0, "");
}

enum { FIGURE_MAX = 32 };

/* Two figures or so: who reads it wants to know whether it was just now or long ago. */
static const char *print_since(uint64_t ms, char to[FIGURE_MAX])
{
    static const struct {
        uint64_t ms;
        const char *name;
    } UNITS[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (ms < 2 * UNITS[i].ms && UNITS[i].ms > 1000)
            continue;
        if (ms < UNITS[i].ms)
            break;
        snprintf(to, FIGURE_MAX, "%" PRIu64 " %s", ms / UNITS[i].ms, UNITS[i].name);
        return to;
    }
    snprintf(to, FIGURE_MAX, "%" PRIu64 " ms", ms);
    return to;
}

static const char *print_check(uint64_t us, char to[FIGURE_MAX])
{
    if (us == 0)
        return "-";
    snprintf(to, FIGURE_MAX, "%.*f ms", us < 100000 ? 2 : 0, (double)us / 1000);
    return to;
}

static double share_of(const struct nodes_report_node *n)
{
    return 100.0 * (double)n->slots / MAGLEV_SLOTS;
}

static void print_summary(const struct nodes_report *r, FILE *out)
{
    fprintf(out,
            "ring %" PRIu64 ", view %" PRIu64 "; slots: %" PRIu64 " away from home, %" PRIu64
            " fenced; journal: %" PRIu64 " keys; DNS: ",
            r->ring_hash, r->view_version, r->slots_away, r->slots_fenced, r->journal_keys);
    if (r->dns_queries == 0)
        fputs("not asked\n", out);
    else if (r->dns_failing == 0)
        fputs("well\n", out);
    else
        fprintf(out, "%" PRIu64 " of the sources cannot be looked up\n", r->dns_failing);
    if (r->hidden > 0)
        fprintf(out, "%" PRIu64 " more nodes are not shown: INFO has no room for them\n",
                r->hidden);
}

void nodes_report_print(const struct nodes_report *r, FILE *out)
{
    enum { NAME_MIN = 4, NAME_MAX = 60 };
    size_t width = NAME_MIN;
    char since[FIGURE_MAX], check[FIGURE_MAX];
    for (uint32_t i = 0; i < r->count; i++)
        if (r->nodes[i].name.len > width)
            width = r->nodes[i].name.len;
    if (width > NAME_MAX)
        width = NAME_MAX;
    fprintf(out, "%-*s  STATE      SINCE   SHARE  IN FLIGHT     CHECK  REASON\n", (int)width,
            "NODE");
    for (uint32_t i = 0; i < r->count; i++) {
        const struct nodes_report_node *n = &r->nodes[i];
        print_text(n->name, (int)width, out);
        fputs("  ", out);
        print_text(n->state, 7, out);
        fprintf(out, "  %7s  %5.1f%%  %9" PRIu64 "  %8s  ", print_since(n->since_ms, since),
                share_of(n), n->in_flight, print_check(n->check_us, check));
        print_text(n->reason, 0, out);
        fputc('\n', out);
    }
    print_summary(r, out);
}

/* ---- JSON ---- */

static void print_node_json(const struct nodes_report_node *n, FILE *out)
{
    fputs("{\"name\":", out);
    print_json_string(n->name, out);
    fputs(",\"state\":", out);
    print_json_string(n->state, out);
    fprintf(out,
            ",\"since_ms\":%" PRIu64 ",\"slots\":%" PRIu64 ",\"share_percent\":%.3f,"
            "\"in_flight\":%" PRIu64 ",\"check_us\":%" PRIu64 ",\"upstream\":",
            n->since_ms, n->slots, share_of(n), n->in_flight, n->check_us);
    print_json_string(n->upstream, out);
    fputs(",\"reason\":", out);
    print_json_string(n->reason, out);
    fputc('}', out);
}

void nodes_report_print_json(const struct nodes_report *r, FILE *out)
{
    fprintf(out,
            "{\"well\":%s,\"ring_hash\":\"%" PRIu64 "\",\"view_version\":%" PRIu64
            ",\"slots_away\":%" PRIu64 ",\"slots_fenced\":%" PRIu64 ",\"journal_keys\":%" PRIu64
            ",\"dns_queries\":%" PRIu64 ",\"dns_failing\":%" PRIu64 ",\"nodes_hidden\":%" PRIu64
            ",\"nodes\":[",
            nodes_report_is_well(r) ? "true" : "false", r->ring_hash, r->view_version,
            r->slots_away, r->slots_fenced, r->journal_keys, r->dns_queries, r->dns_failing,
            r->hidden);
    for (uint32_t i = 0; i < r->count; i++) {
        if (i > 0)
            fputc(',', out);
        print_node_json(&r->nodes[i], out);
    }
    fputs("]}\n", out);
}
