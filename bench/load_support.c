/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator's histogram and CPU samples. See load.h.
 */
#include "load.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t ns_per_s = 1000000000;

void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t count)
{
    size_t slot;

    if (ns < HISTOGRAM_STEPS) {
        slot = ns;
    } else {
        unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
        /* The top bit of ns >> shift is always set, so each octave fills STEPS slots. */
        slot = (size_t)shift * HISTOGRAM_STEPS + (ns >> shift);
    }
    if (slot >= HISTOGRAM_SLOTS)
        slot = HISTOGRAM_SLOTS - 1;
    histogram->slots[slot] += count;
    histogram->total += count;
}

/* The middle of what falls into a slot. */
static uint64_t slot_middle(size_t slot)
{
    if (slot < 2 * HISTOGRAM_STEPS)
        return slot;
    unsigned shift = (unsigned)(slot / HISTOGRAM_STEPS) - 1;
    uint64_t low = (slot - (size_t)shift * HISTOGRAM_STEPS) << shift;
    return low + ((uint64_t)1 << shift) / 2;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->total;
    uint64_t seen = 0;

    if (histogram->total == 0)
        return 0;
    for (size_t i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += histogram->slots[i];
        if (seen > 0 && (double)seen >= wanted)
            return slot_middle(i);
    }
    return slot_middle(HISTOGRAM_SLOTS - 1);
}

/* Reads the start of a small file as a string. Returns false when it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    size_t len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
    return len > 0;
}

static uint64_t stat_ns(int pid)
{
    char path[64];
    char text[1024];
    unsigned long user;
    unsigned long system;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_text(path, text, sizeof text))
        return 0;
    /* The second field is the program's name in brackets and may hold anything. */
    const char *rest = strrchr(text, ')');
    if (!rest ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (user + system) * (ns_per_s / (uint64_t)sysconf(_SC_CLK_TCK));
}

struct cpu_sample cpu_sample_read(int pid)
{
    struct cpu_sample sample = {.stat_ns = stat_ns(pid)};
    char path[320];
    char text[128];

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return sample;
    for (const struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks)) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        if (read_text(path, text, sizeof text))
            sample.sched_ns += strtoull(text, NULL, 10);
    }
    closedir(tasks);
    return sample;
}

uint64_t cpu_machine_busy_ns(void)
{
    char text[256];
    unsigned long long user, nice, system, irq, softirq, steal;

    if (!read_text("/proc/stat", text, sizeof text) ||
        sscanf(text, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq,
               &softirq, &steal) != 6)
        return 0;
    return (user + nice + system + irq + softirq + steal) *
           (ns_per_s / (uint64_t)sysconf(_SC_CLK_TCK));
}
