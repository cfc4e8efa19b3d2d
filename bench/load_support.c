/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator's command line, histogram and CPU samples. See load.h.
 */
#include "load.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
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

static const char usage_text[] =
    "Usage: bench_load -a ADDRESS:PORT [options]\n"
    "A closed loop: each connection sends a batch, waits for all its replies, sends the next.\n"
    "Prints one line of JSON.\n"
    "  -a, --address A:P      IPv4 address and port of the server\n"
    "  -c, --connections N    open connections (50)\n"
    "  -P, --pipeline N       requests per batch, sent in one write (1)\n"
    "  -d, --command C        get, set or mget:N (get)\n"
    "  -s, --value-size N     bytes per value (1024)\n"
    "  -k, --keys N           key space, at most 65536 (10000)\n"
    "  -t, --seconds S        length of the measured window, or bound of a counted run (2)\n"
    "  -w, --warmup S         time before the window, not measured (0)\n"
    "  -n, --requests N       stop after N requests; without warm-up\n"
    "  -o, --in-order         every key once, one after the other (sets -n)\n"
    "  -v, --verify           compare every byte of every value\n"
    "  -p, --pid PID          sample this process's CPU time over the window (repeatable)\n"
    "  -h, --help\n";

static const struct option long_options[] = {
    {"address", required_argument, NULL, 'a'},
    {"connections", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'P'},
    {"command", required_argument, NULL, 'd'},
    {"value-size", required_argument, NULL, 's'},
    {"keys", required_argument, NULL, 'k'},
    {"seconds", required_argument, NULL, 't'},
    {"warmup", required_argument, NULL, 'w'},
    {"requests", required_argument, NULL, 'n'},
    {"in-order", no_argument, NULL, 'o'},
    {"verify", no_argument, NULL, 'v'},
    {"pid", required_argument, NULL, 'p'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* A whole number from min to max. Returns 0, or -EINVAL with *ret_value untouched. */
static int read_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    char *end;

    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* Seconds with a fraction, at most an hour, as nanoseconds. */
static int read_seconds(const char *text, uint64_t *ret_ns)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 3600))
        return -EINVAL;
    *ret_ns = (uint64_t)(seconds * (double)ns_per_s);
    return 0;
}

static int read_address(char *text, struct load_options *options)
{
    struct in_addr unused;
    uint64_t port;
    char *colon = strrchr(text, ':');

    if (!colon || read_number(colon + 1, 1, UINT16_MAX, &port) != 0)
        return -EINVAL;
    *colon = '\0';
    if (inet_pton(AF_INET, text, &unused) != 1)
        return -EINVAL;
    options->host = text;
    options->port = (uint16_t)port;
    return 0;
}

static int read_command(const char *text, struct load_options *options)
{
    uint64_t count = 1;

    if (strcmp(text, "get") == 0)
        options->command = LOAD_GET;
    else if (strcmp(text, "set") == 0)
        options->command = LOAD_SET;
    else if (strncmp(text, "mget:", 5) == 0 && read_number(text + 5, 1, 10000, &count) == 0)
        options->command = LOAD_MGET;
    else
        return -EINVAL;
    options->mget_count = (unsigned)count;
    return 0;
}

static int read_option(int letter, char *text, int *pids, struct load_options *options)
{
    uint64_t number = 0;
    int rc = 0;

    switch (letter) {
    case 'a':
        return read_address(text, options);
    case 'c':
        rc = read_number(text, 1, LOAD_CONNECTION_MAX, &number);
        options->connections = (unsigned)number;
        return rc;
    case 'P':
        rc = read_number(text, 1, 100000, &number);
        options->pipeline = (unsigned)number;
        return rc;
    case 'd':
        return read_command(text, options);
    case 's':
        rc = read_number(text, 0, (uint64_t)512 << 20, &number);
        options->value_size = number;
        return rc;
    case 'k':
        rc = read_number(text, 1, LOAD_KEY_MAX, &number);
        options->key_count = (uint32_t)number;
        return rc;
    case 't':
        return read_seconds(text, &options->window_ns);
    case 'w':
        return read_seconds(text, &options->warmup_ns);
    case 'n':
        return read_number(text, 1, UINT64_MAX / 2, &options->request_count);
    case 'o':
        options->in_order = true;
        return 0;
    case 'v':
        options->verify = true;
        return 0;
    case 'p':
        rc = read_number(text, 1, 1 << 30, &number);
        if (rc != 0 || options->pid_count == LOAD_PID_MAX)
            return -EINVAL;
        pids[options->pid_count++] = (int)number;
        return 0;
    default:
        return -EINVAL;
    }
}

int load_options_read(int argc, char **argv, int *pids, struct load_options *ret_options)
{
    struct load_options options = {
        .mget_count = 1,
        .value_size = 1024,
        .key_count = 10000,
        .connections = 50,
        .pipeline = 1,
        .window_ns = 2 * ns_per_s,
        .pids = pids,
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "a:c:P:d:s:k:t:w:n:ovp:h", long_options, NULL)) >= 0) {
        if (letter == 'h') {
            fputs(usage_text, stdout);
            exit(0);
        }
        if (letter == '?' || read_option(letter, optarg, pids, &options) != 0) {
            if (letter != '?')
                fprintf(stderr, "bench_load: bad value for -%c\n", letter);
            fputs(usage_text, stderr);
            return -EINVAL;
        }
    }
    if (!options.host || optind != argc) {
        fputs(usage_text, stderr);
        return -EINVAL;
    }
    if (options.in_order && options.mget_count == 1)
        options.request_count = options.key_count;
    if (options.request_count > 0)
        options.warmup_ns = 0;
    *ret_options = options;
    return 0;
}
