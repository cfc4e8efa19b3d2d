/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bench_failover_load. */
#include "failover_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "Usage: bench_failover_load -a ADDRESS:PORT[,…] [options]\n"
    "Requests by the clock, whatever is answered; each value is judged. Prints `filled`, then, at "
    "the\n"
    "end, one line of JSON. failover_window.c says what it takes on standard input.\n"
    "  -a, --address A:P,…      IPv4 address and port of each proxy; connections are spread over "
    "them\n"
    "  -c, --connections N      (50)\n"
    "  -r, --rate N             requests a second, all together (20000)\n"
    "      --sets PERCENT       of the requests (5)\n"
    "      --dels PERCENT       of the requests (0.5)\n"
    "  -k, --keys N             (20000)\n"
    "  -s, --value-size MIN:MAX bytes, 64 to 16384 (100:1000)\n"
    "  -t, --seconds S          at most, of the measured time (60)\n"
    "  -P, --phases NAME:S,…    parts of the run; sets the time to their sum\n"
    "  -g, --give-up S          what is answered later is late (1)\n"
    "  -m, --map FILE           lines KEY<TAB>NODE; read after `go`\n"
    "  -f, --focus NODE         report its keys and those of others apart\n"
    "  -A, --apart              they have connections of their own, as many as their share of "
    "keys\n"
    "  -p, --probe resp2|resp3  a new connection every 100 ms, as of an application that starts\n"
    "  -w, --wait               for `go` on standard input, between filling and measuring\n"
    "      --seed N             of what is drawn (1)\n"
    "  -h, --help\n";

enum { OPTION_SETS = 256, OPTION_DELS, OPTION_SEED };

static const struct option long_options[] = {
    {"address", required_argument, NULL, 'a'},
    {"connections", required_argument, NULL, 'c'},
    {"rate", required_argument, NULL, 'r'},
    {"sets", required_argument, NULL, OPTION_SETS},
    {"dels", required_argument, NULL, OPTION_DELS},
    {"keys", required_argument, NULL, 'k'},
    {"value-size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},
    {"phases", required_argument, NULL, 'P'},
    {"give-up", required_argument, NULL, 'g'},
    {"map", required_argument, NULL, 'm'},
    {"focus", required_argument, NULL, 'f'},
    {"apart", no_argument, NULL, 'A'},
    {"probe", required_argument, NULL, 'p'},
    {"wait", no_argument, NULL, 'w'},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* A number from min to max, with a fraction. 0, or -EINVAL with *ret_value untouched. */
static int read_real(const char *text, double min, double max, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= min && value <= max))
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* The same of whole ones that 32 bits hold; the text ends at `stop`. */
static int read_number(const char *text, char stop, uint32_t min, uint32_t max, uint32_t *ret_value)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != stop || text[0] == '-' || value < min || value > max)
        return -EINVAL;
    *ret_value = (uint32_t)value;
    return 0;
}

static int read_seconds(const char *text, double min, uint64_t *ret_ns)
{
    double seconds;

    if (read_real(text, min, 3600, &seconds) != 0)
        return -EINVAL;
    *ret_ns = (uint64_t)(seconds * 1e9);
    return 0;
}

static int read_share(const char *text, double *ret_share)
{
    double percent;

    if (read_real(text, 0, 100, &percent) != 0)
        return -EINVAL;
    *ret_share = percent / 100;
    return 0;
}

static int read_sizes(const char *text, struct failover_options *o)
{
    const char *colon = strchr(text, ':');

    if (!colon || read_number(text, ':', FAILOVER_VALUE_MIN, FAILOVER_VALUE_MAX, &o->value_min) ||
        read_number(colon + 1, '\0', o->value_min, FAILOVER_VALUE_MAX, &o->value_max))
        return -EINVAL;
    return 0;
}

/* Cuts the text at its commas. */
static int read_addresses(char *text, struct failover_options *o)
{
    char *rest = text;

    for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
        uint32_t port;
        char *colon = strrchr(one, ':');
        if (o->address_count == FAILOVER_ADDRESSES_MAX || !colon ||
            read_number(colon + 1, '\0', 1, UINT16_MAX, &port) != 0)
            return -EINVAL;
        struct sockaddr_in *address = &o->addresses[o->address_count++];
        *colon = '\0';
        address->sin_family = AF_INET;
        address->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, one, &address->sin_addr) != 1)
            return -EINVAL;
    }
    return 0;
}

static int read_probe(const char *text, enum failover_probe_kind *ret_probe)
{
    if (strcmp(text, "resp3") == 0)
        *ret_probe = FAILOVER_PROBE_RESP3;
    else if (strcmp(text, "resp2") == 0)
        *ret_probe = FAILOVER_PROBE_RESP2;
    else
        return -EINVAL;
    return 0;
}

static int read_option(int letter, char *value, struct failover_options *o)
{
    uint32_t number;

    switch (letter) {
    case 'a':
        return read_addresses(value, o);
    case 'c':
        return read_number(value, '\0', 1, FAILOVER_CONNECTIONS_MAX, &o->connection_count);
    case 'r':
        return read_real(value, 1, 1e6, &o->rate);
    case OPTION_SETS:
        return read_share(value, &o->set_share);
    case OPTION_DELS:
        return read_share(value, &o->del_share);
    case 'k':
        return read_number(value, '\0', 1, FAILOVER_KEYS_MAX, &o->key_count);
    case 's':
        return read_sizes(value, o);
    case 't':
        return read_seconds(value, 0.001, &o->length_ns);
    case 'P':
        o->phases = value;
        return 0;
    case 'g':
        return read_seconds(value, 0.001, &o->give_up_ns);
    case 'm':
        o->map_path = value;
        return 0;
    case 'f':
        o->focus_name = value;
        return 0;
    case 'A':
        o->is_apart = true;
        return 0;
    case 'p':
        return read_probe(value, &o->probe);
    case 'w':
        o->waits = true;
        return 0;
    case OPTION_SEED:
        if (read_number(value, '\0', 0, UINT32_MAX, &number) != 0)
            return -EINVAL;
        o->seed = number;
        return 0;
    default:
        return -EINVAL;
    }
}

int failover_options_read(int argc, char **argv, struct failover_options *ret_options)
{
    struct failover_options *o = ret_options;
    int index = -1;
    int letter;

    *o = (struct failover_options){.connection_count = 50,
                                   .key_count = 20000,
                                   .value_min = 100,
                                   .value_max = 1000,
                                   .rate = 20000,
                                   .set_share = 0.05,
                                   .del_share = 0.005,
                                   .length_ns = 60 * FAILOVER_S,
                                   .give_up_ns = FAILOVER_S,
                                   .seed = 1};
    while ((letter = getopt_long(argc, argv, "a:c:r:k:s:t:P:g:m:f:Ap:wh", long_options, &index)) !=
           -1) {
        if (letter == 'h') {
            fputs(usage_text, stdout);
            exit(0);
        }
        if (letter == '?') {
            fputs(usage_text, stderr);
            return -EINVAL;
        }
        if (read_option(letter, optarg, o) != 0) {
            fprintf(stderr, "bench_failover_load: %s: cannot be %s (see --help)\n",
                    index >= 0 ? long_options[index].name : argv[optind - 2], optarg);
            return -EINVAL;
        }
        index = -1;
    }
    if (o->address_count == 0 || optind < argc) {
        fputs(usage_text, stderr);
        return -EINVAL;
    }
    if (o->set_share + o->del_share > 1) {
        fputs("bench_failover_load: --sets and --dels are more than all requests\n", stderr);
        return -EINVAL;
    }
    return 0;
}
