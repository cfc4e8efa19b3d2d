/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator's command line. See load.h.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ns_per_s = 1000000000;

static const char usage_text[] =
    "Usage: bench_load -a ADDRESS:PORT[,…] [options]\n"
    "A closed loop: each client sends a batch, waits for all its replies, sends the next.\n"
    "With a rate, an open loop. Prints one line of JSON, on SIGTERM too.\n"
    "  -a, --address A:P,…    IPv4 address and port of the server; with several, keys are spread\n"
    "                         over them and each client has a connection to each\n"
    "  -c, --clients N        at the same time (50)\n"
    "  -P, --pipeline N       requests per batch, sent in one write (1)\n"
    "  -r, --rate N           open loop: so many requests a second of all clients together\n"
    "  -R, --read-rate N      slow readers: so many bytes a second per connection\n"
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
    {"clients", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'P'},
    {"rate", required_argument, NULL, 'r'},
    {"read-rate", required_argument, NULL, 'R'},
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

/* A rate per second that a schedule of nanoseconds can hold. */
static int read_rate(const char *text, double *ret_rate)
{
    char *end;
    double rate = strtod(text, &end);

    if (end == text || *end != '\0' || !(rate >= 0.01 && rate <= 1e10))
        return -EINVAL;
    *ret_rate = rate;
    return 0;
}

static int read_address(char *text, struct load_address *ret_address)
{
    struct in_addr unused;
    uint64_t port;
    char *colon = strrchr(text, ':');

    if (!colon || read_number(colon + 1, 1, UINT16_MAX, &port) != 0)
        return -EINVAL;
    *colon = '\0';
    if (inet_pton(AF_INET, text, &unused) != 1)
        return -EINVAL;
    ret_address->host = text;
    ret_address->port = (uint16_t)port;
    return 0;
}

/* Cuts the text at its commas; the options keep the pieces. */
static int read_addresses(char *text, struct load_options *options)
{
    char *rest = text;

    for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
        if (options->address_count == LOAD_ADDRESS_MAX ||
            read_address(one, &options->addresses[options->address_count]) != 0)
            return -EINVAL;
        options->address_count++;
    }
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
        return read_addresses(text, options);
    case 'c':
        rc = read_number(text, 1, LOAD_CONNECTION_MAX, &number);
        options->clients = (unsigned)number;
        return rc;
    case 'P':
        rc = read_number(text, 1, 100000, &number);
        options->pipeline = (unsigned)number;
        return rc;
    case 'r':
        return read_rate(text, &options->rate);
    case 'R':
        return read_rate(text, &options->read_rate);
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
        .clients = 50,
        .pipeline = 1,
        .window_ns = 2 * ns_per_s,
        .pids = pids,
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "a:c:P:r:R:d:s:k:t:w:n:ovp:h", long_options, NULL)) >=
           0) {
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
    if (options.address_count == 0 || optind != argc) {
        fputs(usage_text, stderr);
        return -EINVAL;
    }
    if (options.address_count > 1 && options.command == LOAD_MGET) {
        fputs("bench_load: the keys of an MGET cannot be spread over addresses\n", stderr);
        return -EINVAL;
    }
    if ((uint64_t)options.clients * options.address_count > LOAD_CONNECTION_MAX) {
        fputs("bench_load: too many connections\n", stderr);
        return -EINVAL;
    }
    if (options.in_order && options.mget_count == 1)
        options.request_count = options.key_count;
    if (options.request_count > 0)
        options.warmup_ns = 0;
    *ret_options = options;
    return 0;
}
