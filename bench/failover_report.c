/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has shown, as one line of JSON: sums, phases and windows, seconds, tenths of a second.
 */
#include "failover_load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOWEST = 20,
    BIN_MS = 100,
    FINE_MS = 10, /* so finely it is looked when requests for a node's keys cease to wait */
};

/* Which keys: those of the node that the fault hits, those of the others, or all. */
enum group { GROUP_ALL, GROUP_FOCUS, GROUP_OTHERS };

static const char *const outcome_names[] = {"unanswered", "hit", "miss", "done", "error", "late"};
static const char *const command_names[] = {"GET", "SET", "DEL", "HELLO", "SETINFO", "PING"};

struct report {
    struct failover *f;
    uint64_t *latencies; /* owned; room for all */
};

static void print_text(const char *text, size_t len)
{
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < ' ' || byte > '~' || byte == '"' || byte == '\\')
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static bool is_in_group(const struct report *p, const struct failover_record *r, enum group group)
{
    if (group == GROUP_ALL)
        return true;
    if (r->node == FAILOVER_NO_NODE)
        return false;
    return (r->node == p->f->focus) == (group == GROUP_FOCUS);
}

/* Requests are recorded in the order in which they were due. */
static uint32_t first_at(const struct failover *f, uint64_t due_ns)
{
    uint32_t low = 0, high = f->record_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (f->records[middle].due_ns < due_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare_latency(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The smallest value that at least `share` of the values are not above. */
static double quantile_us(const uint64_t *sorted, uint32_t count, double share)
{
    if (count == 0)
        return 0;
    double wanted = share * (double)count;
    uint32_t rank = (uint32_t)wanted;
    if ((double)rank < wanted)
        rank++;
    return (double)sorted[rank > 0 ? rank - 1 : 0] / 1000;
}

static void print_group(const struct report *p, const char *name, enum group group, uint32_t from,
                        uint32_t to)
{
    uint64_t outcomes[6] = {0};
    uint64_t stale = 0, stale_other = 0, wrong = 0, unsent = 0;
    uint32_t count = 0, asked = 0;

    for (uint32_t i = from; i < to; i++) {
        const struct failover_record *r = &p->f->records[i];
        if (!is_in_group(p, r, group))
            continue;
        asked++;
        outcomes[r->outcome]++;
        stale += (r->flags & FAILOVER_STALE) != 0;
        stale_other += (r->flags & FAILOVER_STALE_OTHER) != 0;
        wrong += (r->flags & FAILOVER_WRONG) != 0;
        unsent += (r->flags & FAILOVER_UNSENT) != 0;
        if (!(r->flags & FAILOVER_UNSENT))
            p->latencies[count++] = r->latency_ns;
    }
    qsort(p->latencies, count, sizeof(*p->latencies), compare_latency);
    printf("\"%s\":{\"asked\":%" PRIu32 ",\"ok\":%" PRIu64, name, asked,
           outcomes[FAILOVER_HIT] + outcomes[FAILOVER_DONE]);
    for (unsigned i = 0; i < 6; i++)
        printf(",\"%s\":%" PRIu64, outcome_names[i], outcomes[i]);
    printf(",\"stale\":%" PRIu64 ",\"stale_other\":%" PRIu64 ",\"wrong\":%" PRIu64
           ",\"unsent\":%" PRIu64,
           stale, stale_other, wrong, unsent);
    printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}",
           quantile_us(p->latencies, count, 0.5), quantile_us(p->latencies, count, 0.99),
           quantile_us(p->latencies, count, 0.999), quantile_us(p->latencies, count, 1));
}

static void print_groups(const struct report *p, uint64_t from_ns, uint64_t to_ns)
{
    uint32_t from = first_at(p->f, from_ns), to = first_at(p->f, to_ns);
    uint32_t lag_us = 0;

    for (uint32_t i = from; i < to; i++)
        lag_us = p->f->records[i].lag_us > lag_us ? p->f->records[i].lag_us : lag_us;
    printf("\"lag_max_us\":%" PRIu32 ",", lag_us);
    print_group(p, "all", GROUP_ALL, from, to);
    if (p->f->focus == FAILOVER_NO_NODE)
        return;
    putchar(',');
    print_group(p, "focus", GROUP_FOCUS, from, to);
    putchar(',');
    print_group(p, "others", GROUP_OTHERS, from, to);
}

static void print_windows(const struct report *p, uint64_t length_ns)
{
    const struct failover *f = p->f;

    fputs(",\"windows\":[", stdout);
    for (unsigned i = 0; i < f->window_count; i++) {
        const struct failover_window *w = &f->windows[i];
        uint64_t to_ns = w->to_ns < length_ns ? w->to_ns : length_ns;
        printf("%s{\"name\":", i > 0 ? "," : "");
        print_text(w->name, strlen(w->name));
        printf(",\"is_phase\":%s,\"from\":%.6f,\"to\":%.6f,", w->is_phase ? "true" : "false",
               (double)w->from_ns / 1e9, (double)to_ns / 1e9);
        print_groups(p, w->from_ns, to_ns);
        putchar('}');
    }
    putchar(']');
}

static void print_bins(const struct report *p, const char *name, uint64_t width_ns,
                       uint64_t length_ns)
{
    printf(",\"%s\":[", name);
    for (uint64_t at = 0; at < length_ns; at += width_ns) {
        printf("%s{\"t\":%.3f,", at > 0 ? "," : "", (double)at / 1e9);
        print_groups(p, at, at + width_ns < length_ns ? at + width_ns : length_ns);
        putchar('}');
    }
    putchar(']');
}

/* Per 10 ms: the slowest answers of both groups, and the focus's writes that were acknowledged. */
static void print_fine(const struct report *p, uint64_t length_ns)
{
    const char *names[] = {"focus_max_us", "others_max_us", "focus_writes"};

    printf(",\"fine\":{\"ms\":%d", FINE_MS);
    for (unsigned what = 0; what < 3; what++) {
        uint32_t i = 0;
        printf(",\"%s\":[", names[what]);
        for (uint64_t at = 0; at < length_ns; at += FINE_MS * FAILOVER_MS) {
            uint64_t most = 0;
            for (; i < p->f->record_count && p->f->records[i].due_ns < at + FINE_MS * FAILOVER_MS;
                 i++) {
                const struct failover_record *r = &p->f->records[i];
                if (!is_in_group(p, r, what == 1 ? GROUP_OTHERS : GROUP_FOCUS))
                    continue;
                if (what == 2)
                    most += r->outcome == FAILOVER_DONE;
                else if (r->latency_ns / 1000 > most && !(r->flags & FAILOVER_UNSENT))
                    most = r->latency_ns / 1000;
            }
            printf("%s%" PRIu64, at > 0 ? "," : "", most);
        }
        putchar(']');
    }
    putchar('}');
}

static void print_slowest(const struct failover *f)
{
    const struct failover_record *slowest[SLOWEST];
    unsigned count = 0;

    for (uint32_t i = 0; i < f->record_count; i++) {
        const struct failover_record *r = &f->records[i];
        if (count == SLOWEST && slowest[count - 1]->latency_ns >= r->latency_ns)
            continue;
        unsigned at = count < SLOWEST ? count++ : count - 1;
        for (; at > 0 && slowest[at - 1]->latency_ns < r->latency_ns; at--)
            slowest[at] = slowest[at - 1];
        slowest[at] = r;
    }
    fputs(",\"slowest\":[", stdout);
    for (unsigned i = 0; i < count; i++) {
        const struct failover_record *r = slowest[i];
        char name[FAILOVER_KEY_NAME_MAX];
        failover_key_name(r->key, name);
        printf("%s{\"t\":%.6f,\"ms\":%.3f,\"lag_ms\":%.3f,\"key\":\"%s\",\"command\":\"%s\","
               "\"outcome\":\"%s\",\"node\":",
               i > 0 ? "," : "", (double)r->due_ns / 1e9, (double)r->latency_ns / 1e6,
               (double)r->lag_us / 1e3, name, command_names[r->command], outcome_names[r->outcome]);
        const char *node = r->node == FAILOVER_NO_NODE ? "" : f->keys.node_names[r->node];
        print_text(node, strlen(node));
        putchar('}');
    }
    putchar(']');
}

static double seconds_of(const struct failover *f, uint64_t ns)
{
    return ((double)ns - (double)f->start_ns) / 1e9;
}

/* What is known of a version: when it was sent, answered, how. */
static void print_version(const struct failover *f, const char *what, uint32_t key,
                          uint32_t version)
{
    static const char *const states[] = {"under way", "acknowledged", "failed"};
    const struct failover_write *w = failover_write_find(&f->keys, key, version);

    printf(",\"%s\":{\"version\":%" PRIu32, what, version);
    if (w)
        printf(",\"command\":\"%s\",\"state\":\"%s\",\"proxy\":%u,\"sent\":%.6f,\"answered\":%.6f",
               command_names[w->command], states[w->state], w->address, seconds_of(f, w->sent_ns),
               seconds_of(f, w->answered_ns));
    else
        fputs(version == 1 ? ",\"state\":\"filled\"" : ",\"state\":\"unknown\"", stdout);
    putchar('}');
}

static void print_details(const struct failover *f)
{
    fputs(",\"details\":[", stdout);
    for (unsigned i = 0; i < f->detail_count; i++) {
        const struct failover_detail *d = &f->details[i];
        uint8_t node = f->keys.list[d->request.key].node;
        char name[FAILOVER_KEY_NAME_MAX];
        failover_key_name(d->request.key, name);
        printf("%s{\"what\":\"%s\",\"key\":\"%s\",\"node\":", i > 0 ? "," : "",
               d->flags & FAILOVER_WRONG   ? "wrong"
               : d->flags & FAILOVER_STALE ? "stale"
                                           : "stale (of another proxy)",
               name);
        const char *node_name = node == FAILOVER_NO_NODE ? "" : f->keys.node_names[node];
        print_text(node_name, strlen(node_name));
        printf(",\"command\":\"%s\",\"connection\":%d,\"sent\":%.6f,\"answered\":%.6f",
               command_names[d->request.command], (int)d->connection,
               seconds_of(f, d->request.sent_ns), seconds_of(f, d->answered_ns));
        print_version(f, "expected", d->request.key, d->request.floor);
        print_version(f, "returned", d->request.key, d->version);
        printf(",\"len\":%zu,\"begin\":", d->len);
        print_text(d->begin, d->begin_len);
        putchar('}');
    }
    putchar(']');
}

static void print_probes(const struct failover *f)
{
    static const char *const results[] = {"under way", "ready", "refused", "closed", "timed out"};

    fputs(",\"probes\":[", stdout);
    for (uint32_t i = 0; i < f->probe_count; i++) {
        const struct failover_probe *p = &f->probes[i];
        printf("%s{\"t\":%.6f,\"result\":\"%s\",\"errors\":%u", i > 0 ? "," : "",
               seconds_of(f, p->begun_ns), results[p->result], p->errors);
        if (p->first_ns > 0)
            printf(",\"first_us\":%.1f", (double)(p->first_ns - p->begun_ns) / 1e3);
        if (p->ready_ns > 0)
            printf(",\"ready_us\":%.1f", (double)(p->ready_ns - p->begun_ns) / 1e3);
        putchar('}');
    }
    putchar(']');
}

static void print_errors(const struct failover *f)
{
    fputs(",\"errors\":{", stdout);
    for (unsigned i = 0; i < FAILOVER_ERROR_KINDS && f->kinds[i].count > 0; i++) {
        if (i > 0)
            putchar(',');
        print_text(f->kinds[i].text, strlen(f->kinds[i].text));
        printf(":%" PRIu64, f->kinds[i].count);
    }
    putchar('}');
}

void failover_report(struct failover *f)
{
    struct report p = {.f = f};
    uint64_t length_ns = f->end_ns - f->start_ns;

    p.latencies = failover_alloc(f->record_count, sizeof(*p.latencies));
    printf("{\"start_ns\":%" PRIu64 ",\"length\":%.6f,\"rate\":%.1f,\"writes\":%" PRIu32
           ",\"lost_connections\":%" PRIu64 ",\"connect_failures\":%" PRIu64 ",\"stray\":%" PRIu64
           ",\"probe_stale\":%" PRIu64 ",\"probe_wrong\":%" PRIu64 ",",
           f->start_ns, (double)length_ns / 1e9, f->options.rate, f->keys.write_count,
           f->lost_count, f->connect_failures, f->stray_count, f->probe_stale, f->probe_wrong);
    print_groups(&p, 0, UINT64_MAX);
    print_errors(f);
    print_windows(&p, length_ns);
    print_bins(&p, "seconds", FAILOVER_S, length_ns);
    print_bins(&p, "bins", BIN_MS * FAILOVER_MS, length_ns);
    if (f->focus != FAILOVER_NO_NODE)
        print_fine(&p, length_ns);
    print_probes(f);
    print_slowest(f);
    print_details(f);
    puts("}");
    free(p.latencies);
}
