/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *const KIND_NAMES[] = {
#define TRACE_NAME(name) #name,
    TRACE_KINDS(TRACE_NAME)
#undef TRACE_NAME
};

void trace_init(struct trace *t, FILE *print, bool keep)
{
    *t = (struct trace){.hash = UINT64_C(0xcbf29ce484222325), .print = print, .keep = keep};
}

void trace_fini(struct trace *t)
{
    free(t->lines);
    t->lines = NULL;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}

void trace_event(struct trace *t, uint64_t now_ns, enum trace_kind kind, int64_t a, int64_t b,
                 int64_t c, const char *note)
{
    uint64_t hash = mix(t->hash, now_ns ^ (uint64_t)kind << 56);
    hash = mix(hash, (uint64_t)a);
    hash = mix(hash, (uint64_t)b);
    t->hash = mix(hash, (uint64_t)c);
    uint64_t at = t->count++;
    if (!t->print && !t->keep)
        return;
    char line[TRACE_LINE_MAX];
    snprintf(line, sizeof(line), "%12.6f ms %-9s %6" PRId64 " %8" PRId64 " %8" PRId64 " %.60s",
             (double)now_ns / 1e6, KIND_NAMES[kind], a, b, c, note ? note : "");
    if (t->print)
        fprintf(t->print, "%s\n", line);
    if (!t->keep)
        return;
    if (!t->lines)
        t->lines = calloc(TRACE_LINES, TRACE_LINE_MAX);
    if (t->lines)
        snprintf(t->lines[at % TRACE_LINES], TRACE_LINE_MAX, "%s", line);
}

void trace_show(const struct trace *t, FILE *to)
{
    if (!t->lines)
        return;
    uint64_t from = t->count > TRACE_LINES ? t->count - TRACE_LINES : 0;
    for (uint64_t i = from; i < t->count; i++)
        fprintf(to, "%s\n", t->lines[i % TRACE_LINES]);
}
