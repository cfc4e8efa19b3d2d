/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_micro: runs the micro benchmarks. README.md in this folder says how to read them.
 *
 *   bench_micro [NAME…]            times the cases (all, or those whose name starts with a NAME)
 *   bench_micro --counted [NAME…]  runs each with fixed numbers of rounds, for run.py and callgrind
 *
 * Prints lines of fields that are separated by tabs; the first line names the fields.
 */
#include "micro.h"

#include "base/must.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PASSES = 21, /* runs of each case; odd, so that there is a middle one */
    CASES_MAX = 128,
    ROUNDS_WARM = 4 * MICRO_VARIANTS,   /* counted: fills the pools, and is not looked at */
    ROUNDS_FEW = 8 * MICRO_VARIANTS,    /* counted: what is subtracted … */
    ROUNDS_MANY = 24 * MICRO_VARIANTS,  /* … from this */
    EVICT_BYTES_MIN = 64 * 1024 * 1024, /* where the system does not tell its cache's size */
};

/* Long enough that the clock's own price is below a thousandth, short enough that most runs are
 * spared by the scheduler. */
static const uint64_t run_ns = 4000000;

struct measurement {
    const struct micro_case *c;
    void *state;
    uint64_t rounds;
    double ns[PASSES]; /* per thing */
};

struct evictor {
    unsigned char *bytes;
    size_t len;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

void *micro_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory) {
        fputs("bench_micro: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

uint64_t micro_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void micro_text_add(struct micro_text *t, const void *bytes, size_t len)
{
    if (t->len + len > t->room) {
        t->room = 2 * (t->len + len);
        t->bytes = realloc(t->bytes, t->room);
        must(t->bytes && "memory for a text");
    }
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void micro_text_format(struct micro_text *t, const char *format, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, format);
    int len = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    must(len >= 0 && (size_t)len < sizeof(line));
    micro_text_add(t, line, (size_t)len);
}

void micro_text_add_bulk(struct micro_text *t, size_t len, uint64_t *random_state)
{
    micro_text_format(t, "$%zu\r\n", len);
    for (size_t i = 0; i < len; i++) {
        char letter = (char)('a' + micro_random(random_state) % 26);
        micro_text_add(t, &letter, 1);
    }
    micro_text_add(t, "\r\n", 2);
}

__attribute__((noinline)) void micro_measured(const struct micro_case *c, void *state,
                                              uint64_t rounds)
{
    c->run(state, rounds);
}

/* Twice the last cache, so that nothing of what was in it is left. */
static struct evictor evictor_make(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t len = cache > 0 ? 2 * (size_t)cache : 0;
    if (len < EVICT_BYTES_MIN)
        len = EVICT_BYTES_MIN;
    return (struct evictor){.bytes = micro_alloc(len), .len = len};
}

static void evict(const struct evictor *e)
{
    /* Written, since reading a page that was never written reads the same zeroes again and again.
     */
    for (size_t at = 0; at < e->len; at += 64)
        e->bytes[at]++;
}

static double run_once(struct measurement *m, const struct evictor *e)
{
    if (m->c->is_cold)
        evict(e);
    uint64_t start = now_ns();
    micro_measured(m->c, m->state, m->rounds);
    return (double)(now_ns() - start) / (double)m->rounds / m->c->ops;
}

/* So many rounds that a run takes about run_ns. */
static void calibrate(struct measurement *m)
{
    m->rounds = m->c->is_cold ? MICRO_COLD_ROUNDS : MICRO_VARIANTS;
    for (;;) {
        uint64_t start = now_ns();
        micro_measured(m->c, m->state, m->rounds);
        uint64_t took = now_ns() - start;
        if (m->c->is_cold || took >= run_ns)
            return;
        m->rounds *= took < run_ns / 8 ? 4 : 2;
    }
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Pass by pass over all cases, not case by case: a bad moment of the machine then costs each case a
 * run, which the median does not see, instead of one case all its runs. */
static void time_all(struct measurement *all, size_t count)
{
    struct evictor e = evictor_make();
    for (size_t i = 0; i < count; i++)
        calibrate(&all[i]);
    for (unsigned pass = 0; pass < PASSES; pass++) {
        for (size_t i = 0; i < count; i++)
            all[i].ns[pass] = run_once(&all[i], &e);
    }
    free(e.bytes);
    puts("case\tmedian_ns\tmin_ns\twhat");
    for (size_t i = 0; i < count; i++) {
        struct measurement *m = &all[i];
        qsort(m->ns, PASSES, sizeof(m->ns[0]), compare_doubles);
        printf("%s\t%.2f\t%.2f\t%s\n", m->c->name, m->ns[PASSES / 2], m->ns[0], m->c->what);
    }
}

/* micro_measured() is called three times for each case that is printed, in the order of the lines:
 * run.py takes callgrind's count of the third call less that of the second. */
static void count_all(struct measurement *all, size_t count)
{
    puts("case\tthings\twhat");
    for (size_t i = 0; i < count; i++) {
        const struct measurement *m = &all[i];
        if (m->c->is_cold)
            continue;
        micro_measured(m->c, m->state, ROUNDS_WARM);
        micro_measured(m->c, m->state, ROUNDS_FEW);
        micro_measured(m->c, m->state, ROUNDS_MANY);
        printf("%s\t%u\t%s\n", m->c->name, (ROUNDS_MANY - ROUNDS_FEW) * m->c->ops, m->c->what);
    }
}

static bool is_wanted(const struct micro_case *c, char **names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(c->name, names[i], strlen(names[i])) == 0)
            return true;
    }
    return count == 0;
}

int main(int argc, char **argv)
{
    static const struct micro_case *const lists[] = {MICRO_RESP_CASES, MICRO_ROUTE_CASES,
                                                     MICRO_BUF_CASES, MICRO_PROXY_CASES};
    struct measurement all[CASES_MAX];
    size_t count = 0;
    bool counted = argc > 1 && strcmp(argv[1], "--counted") == 0;
    int first = counted ? 2 : 1;

    if (argc > first && argv[first][0] == '-') {
        fputs("usage: bench_micro [--counted] [NAME…]\n", stderr);
        return 2;
    }
    for (size_t list = 0; list < sizeof(lists) / sizeof(lists[0]); list++) {
        for (const struct micro_case *c = lists[list]; c->name; c++) {
            if (!is_wanted(c, argv + first, argc - first))
                continue;
            must(count < CASES_MAX);
            all[count++] = (struct measurement){.c = c, .state = c->make(c)};
        }
    }
    if (count == 0) {
        fputs("bench_micro: no case has such a name\n", stderr);
        return 2;
    }
    if (counted)
        count_all(all, count);
    else
        time_all(all, count);
    for (size_t i = 0; i < count; i++)
        all[i].c->end(all[i].state);
    return fflush(stdout) == 0 ? 0 : 1;
}
