/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/advise_sources.h"

#include "base/nsec.h"
#include "daemon/config_sources.h"
#include "net/resolver_ares.h"
#include "os/io_epoll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE (5 * NSEC_S)

struct finder {
    struct io io;
    struct loop loop;
    struct log log;
    struct resolver_ares *ares;
    struct discovery *discovery;
};

/* What is wrong with a name is told by the one error at the end. */
static void drop_line(void *owner, const char *line, size_t len)
{
    (void)owner;
    (void)line;
    (void)len;
}

static void on_change(void *owner)
{
    (void)owner;
}

static int begin(struct finder *f, const struct config *c, struct node_login *const *logins)
{
    static const struct discovery_events EVENTS = {.changed = on_change};
    const struct config_dns *dns = &c->dns;
    struct resolver_ares_config ares = {
        .servers = dns->servers, .server_count = dns->server_count, .timeout = dns->timeout};
    struct discovery_source *sources CLEANUP(freep) =
        calloc(config_sources_count(c) + 1, sizeof(*sources));
    if (!sources)
        return -ENOMEM;
    struct discovery_config config = {
        .sources = sources,
        .source_count = config_sources(c, logins, NULL, 0, sources),
        .lookup = config_lookup(c),
    };
    int err = resolver_ares_new(&ares, &f->loop, &f->ares);
    if (err)
        return err;
    return discovery_new(&config, resolver_ares_resolver(f->ares), &f->loop, &f->log, &EVENTS, f,
                         &f->discovery);
}

/* Has each source given an answer, or none, and each member an address? */
static bool is_known(const struct finder *f)
{
    uint32_t count;
    bool failing = false;
    for (uint32_t i = 0; i < discovery_source_count(f->discovery); i++) {
        struct discovery_stats s;
        discovery_source_stats(f->discovery, i, &s);
        if (s.state == DISCOVERY_WAITING)
            return false;
        failing = failing || s.state == DISCOVERY_FAILING;
    }
    const struct member *m = discovery_members(f->discovery, &count);
    for (uint32_t i = 0; i < count; i++)
        if (m[i].addr.family == ADDR_NONE)
            return failing; /* its own question may be the one that failed */
    return true;
}

static void look_up(struct finder *f)
{
    loop_poll(&f->loop, 0); /* sets the clock */
    uint64_t until = f->loop.now + PATIENCE;
    while (!is_known(f) && f->loop.now < until) {
        loop_end_turn(&f->loop);
        loop_poll(&f->loop, until);
    }
}

/* What could not be looked up, as a list of names. */
static int name_failures(const struct finder *f, char *error)
{
    size_t len = 0;
    error[0] = '\0';
    for (uint32_t i = 0; i < discovery_source_count(f->discovery); i++) {
        struct discovery_stats s;
        discovery_source_stats(f->discovery, i, &s);
        if (s.state == DISCOVERY_FIXED || s.members > 0 || s.kind == DISCOVERY_STATIC ||
            len >= ADVISE_SOURCE_ERROR_MAX)
            continue;
        int n =
            snprintf(error + len, ADVISE_SOURCE_ERROR_MAX - len, "%s%s: %s",
                     len > 0 ? ", " : "cannot be looked up: ", s.name,
                     s.state == DISCOVERY_WAITING ? "no answer"
                                                  : resolver_result_name(s.lookups.last_failure));
        len += n > 0 ? (size_t)n : 0;
    }
    return len > 0 ? -ENOENT : 0;
}

static int take_members(const struct finder *f, struct member **ret_members, uint32_t *ret_count,
                        char *error)
{
    uint32_t count;
    const struct member *members = discovery_members(f->discovery, &count);
    int err = name_failures(f, error);
    if (err)
        return err;
    if (count == 0) {
        snprintf(error, ADVISE_SOURCE_ERROR_MAX, "no nodes are given");
        return -ENOENT;
    }
    struct member *copy = calloc(count, sizeof(*copy));
    if (!copy) {
        snprintf(error, ADVISE_SOURCE_ERROR_MAX, "out of memory");
        return -ENOMEM;
    }
    memcpy(copy, members, count * sizeof(*copy));
    *ret_members = copy;
    *ret_count = count;
    return 0;
}

int advise_sources(const struct config *c, struct node_login *const *logins,
                   struct member **ret_members, uint32_t *ret_count,
                   char error[ADVISE_SOURCE_ERROR_MAX])
{
    struct finder f = {.log = {.level = LOG_ERROR, .sink = drop_line}};
    int err = io_epoll_new(&f.io);
    if (err) {
        snprintf(error, ADVISE_SOURCE_ERROR_MAX, "cannot look up: %s", strerror(-err));
        return err;
    }
    loop_init(&f.loop, &f.io);
    err = begin(&f, c, logins);
    if (err) {
        snprintf(error, ADVISE_SOURCE_ERROR_MAX, "cannot look up: %s", strerror(-err));
    } else {
        look_up(&f);
        err = take_members(&f, ret_members, ret_count, error);
    }
    discovery_free(f.discovery);
    resolver_ares_free(f.ares);
    loop_end_turn(&f.loop);
    loop_fini(&f.loop);
    io_epoll_free(&f.io);
    return err;
}
