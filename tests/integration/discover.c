/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery on the real resolver, by itself: prints its members whenever they change, and its
 * counters. tests/integration/test_resolver.py runs it beside DNS servers.
 *
 *   discover [static=HOST:PORT | dns=NAME:PORT | srv=NAME | server=ADDRESS:PORT |
 *             resolv_conf=FILE | family=auto|v4|v6 | timeout=MS | refresh=MS]…
 *
 * Lines: `members NAME@ADDRESS*WEIGHT …`, with a '-' behind one that is gone;
 * `source NAME STATE queries=N nxdomain=N …`; and the log. Ends on SIGTERM.
 */
#include "base/nsec.h"
#include "cluster/discovery.h"
#include "net/resolver_ares.h"
#include "os/io_epoll.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCES_MAX = 16, SERVERS_MAX = 4 };

struct options {
    struct discovery_source sources[SOURCES_MAX];
    uint32_t source_count;
    struct addr servers[SERVERS_MAX];
    struct lookup_settings lookup;
    struct resolver_ares_config resolver;
};

static void sink(void *owner, const char *line, size_t len)
{
    (void)owner;
    fwrite(line, 1, len, stdout);
}

static void print_members(void *owner)
{
    struct discovery *d = *(struct discovery **)owner;
    uint32_t count;
    const struct member *m = discovery_members(d, &count);
    printf("members");
    for (uint32_t i = 0; i < count; i++, m++) {
        char addr[ADDR_TEXT_MAX];
        printf(" %s@%s*%" PRIu32 "%s", m->name, addr_print(&m->addr, addr), m->weight,
               m->gone_since ? "-" : "");
    }
    printf("\n");
}

static void print_sources(const struct discovery *d)
{
    for (uint32_t i = 0; i < discovery_source_count(d); i++) {
        struct discovery_stats s;
        discovery_source_stats(d, i, &s);
        printf("source %s %s queries=%" PRIu64, s.name, discovery_state_name(s.state),
               s.lookups.queries);
        for (int why = RESOLVER_OK + 1; why < RESOLVER_RESULT_COUNT; why++)
            printf(" %s=%" PRIu64, resolver_result_name((enum resolver_result)why),
                   s.lookups.failures[why]);
        printf("\n");
    }
    fflush(stdout);
}

static uint64_t read_ms(const char *text)
{
    return strtoull(text, NULL, 10) * NSEC_MS;
}

/* False: not an option. */
static bool read_option(struct options *o, const char *word)
{
    const char *value = strchr(word, '=');
    if (!value++)
        return false;
    struct str key = {word, (size_t)(value - word) - 1};
    struct discovery_source *source = &o->sources[o->source_count];
    unsigned *server_count = &o->resolver.server_count;
    *source = (struct discovery_source){DISCOVERY_STATIC, value, 1, NULL};
    if (o->source_count + 1 == SOURCES_MAX || *server_count == SERVERS_MAX)
        return false;
    if (str_eq(key, STR("static"))) {
        o->source_count++;
    } else if (str_eq(key, STR("dns"))) {
        o->sources[o->source_count++].kind = DISCOVERY_DNS;
    } else if (str_eq(key, STR("srv"))) {
        o->sources[o->source_count++].kind = DISCOVERY_SRV;
    } else if (str_eq(key, STR("server"))) {
        return addr_parse(str_of(value), 0, &o->servers[(*server_count)++]) == 0;
    } else if (str_eq(key, STR("resolv_conf"))) {
        o->resolver.resolv_conf = value;
    } else if (str_eq(key, STR("family"))) {
        o->lookup.family = strcmp(value, "v4") == 0   ? LOOKUP_V4
                           : strcmp(value, "v6") == 0 ? LOOKUP_V6
                                                      : LOOKUP_AUTO;
    } else if (str_eq(key, STR("timeout"))) {
        o->resolver.timeout = read_ms(value);
    } else if (str_eq(key, STR("refresh"))) { /* whatever the TTL, so that a test need not wait */
        o->lookup.refresh_min = o->lookup.refresh_max = o->lookup.refresh = read_ms(value);
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {
        .lookup = {.refresh_min = 50 * NSEC_MS,
                   .refresh_max = 100 * NSEC_MS,
                   .refresh = 100 * NSEC_MS,
                   .retry_min = 50 * NSEC_MS,
                   .retry_max = 100 * NSEC_MS},
        .resolver = {.servers = o.servers, .timeout = 2 * NSEC_S},
    };
    struct log log = {.level = LOG_DEBUG, .sink = sink};
    struct process_events *events;
    struct io io;
    struct loop loop;
    struct resolver_ares *resolver;
    struct discovery *d = NULL;
    for (int i = 1; i < argc; i++) {
        if (!read_option(&o, argv[i])) {
            fprintf(stderr, "discover: what is %s?\n", argv[i]);
            return 2;
        }
    }
    if (process_events_new(&events) != 0 || io_epoll_new(&io) != 0)
        return 1;
    loop_init(&loop, &io);
    const struct discovery_config config = {o.sources, o.source_count, o.lookup};
    const struct discovery_events on = {print_members};
    if (resolver_ares_new(&o.resolver, &loop, &resolver) != 0 ||
        discovery_new(&config, resolver_ares_resolver(resolver), &loop, &log, &on, &d, &d) != 0)
        return 1;
    print_members(&d);
    for (uint64_t print_at = 0; !(process_events_wait(events, 0) & PROCESS_STOP);) {
        if (loop.now >= print_at) {
            print_sources(d);
            print_at = loop.now + 20 * NSEC_MS;
        }
        loop_poll(&loop, print_at);
        loop_end_turn(&loop);
    }
    discovery_free(d);
    resolver_ares_free(resolver);
    loop_fini(&loop);
    io_epoll_free(&io);
    process_events_free(events);
    printf("ended\n");
    return 0;
}
