/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver_sim.h"

#include "base/must.h"
#include "base/nsec.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIME_OUT (2 * NSEC_S)

enum { QUESTIONS = RESOLVER_SRV + 1 };

/* What one question about one name is answered with. */
struct entry {
    enum resolver_result failure;       /* RESOLVER_OK: none */
    struct resolver_address *addresses; /* owned */
    struct resolver_service *services;  /* owned */
    size_t count;
    unsigned asked;
};

struct name {
    char name[RESOLVER_NAME_MAX];
    struct entry entries[QUESTIONS];
};

struct resolver_sim {
    struct io_sim *world;
    uint64_t latency_min, latency_max;
    struct name **names; /* owned */
    size_t name_count;
    unsigned under_way, resolvers;
};

struct host_resolver {
    struct resolver resolver;
    struct resolver_sim *dns;
    struct loop *loop;
    unsigned jobs;
};

struct job {
    struct host_resolver *host;
    struct resolver_query *query;
    struct timer timer;
    struct entry *entry; /* NULL: no such name */
    bool timed_out;
};

struct resolver_sim *resolver_sim_new(struct io_sim *world)
{
    struct resolver_sim *s = calloc(1, sizeof(*s));
    must(s);
    *s = (struct resolver_sim){
        .world = world, .latency_min = 200 * NSEC_US, .latency_max = 5 * NSEC_MS};
    return s;
}

struct resolver_sim *resolver_sim_free(struct resolver_sim *s)
{
    if (!s)
        return NULL;
    must(s->resolvers == 0 && s->under_way == 0);
    for (size_t i = 0; i < s->name_count; i++) {
        for (int what = 0; what < QUESTIONS; what++) {
            free(s->names[i]->entries[what].addresses);
            free(s->names[i]->entries[what].services);
        }
        free(s->names[i]);
    }
    free(s->names);
    free(s);
    return NULL;
}

void resolver_sim_set_latency(struct resolver_sim *s, uint64_t min, uint64_t max)
{
    must(min <= max);
    s->latency_min = min;
    s->latency_max = max;
}

/* A dot at the end only says that nothing is to be added, and nothing ever is. NULL: unknown. */
static struct name *find_name(const struct resolver_sim *s, const char *name)
{
    size_t len = strlen(name);
    len -= len > 0 && name[len - 1] == '.';
    for (size_t i = 0; i < s->name_count; i++) {
        struct name *n = s->names[i];
        if (strlen(n->name) == len && strncasecmp(n->name, name, len) == 0)
            return n;
    }
    return NULL;
}

static struct entry *entry_to_set(struct resolver_sim *s, const char *name,
                                  enum resolver_question what)
{
    struct name *n = find_name(s, name);
    if (!n) {
        s->names = realloc(s->names, (s->name_count + 1) * sizeof(struct name *));
        n = calloc(1, sizeof(*n));
        must(s->names && n && strlen(name) < sizeof(n->name));
        memcpy(n->name, name, strlen(name) + 1);
        s->names[s->name_count++] = n;
    }
    return &n->entries[what];
}

void resolver_sim_set_addresses(struct resolver_sim *s, const char *name,
                                enum resolver_question family, const char *addresses, uint32_t ttl)
{
    struct entry *e = entry_to_set(s, name, family);
    must(family != RESOLVER_SRV);
    free(e->addresses);
    e->addresses = calloc(strlen(addresses) / 2 + 1, sizeof(*e->addresses));
    must(e->addresses);
    e->failure = RESOLVER_OK;
    e->count = 0;
    while (*addresses) {
        size_t len = strcspn(addresses, " ");
        struct resolver_address *a = &e->addresses[e->count++];
        int err = addr_parse((struct str){addresses, len}, 1, &a->addr);
        must(err == 0 && (a->addr.family == ADDR_V4) == (family == RESOLVER_A));
        a->addr.port = 0;
        a->ttl = ttl;
        addresses += len;
        addresses += strspn(addresses, " ");
    }
}

void resolver_sim_set_services(struct resolver_sim *s, const char *name,
                               const struct resolver_service *services, size_t count)
{
    struct entry *e = entry_to_set(s, name, RESOLVER_SRV);
    free(e->services);
    e->services = calloc(count + 1, sizeof(*services));
    must(e->services);
    if (count > 0)
        memcpy(e->services, services, count * sizeof(*services));
    e->failure = RESOLVER_OK;
    e->count = count;
}

void resolver_sim_fail(struct resolver_sim *s, const char *name, enum resolver_question what,
                       enum resolver_result why)
{
    entry_to_set(s, name, what)->failure = why;
}

unsigned resolver_sim_asked(const struct resolver_sim *s, const char *name,
                            enum resolver_question what)
{
    const struct name *n = find_name(s, name);
    return n ? n->entries[what].asked : 0;
}

unsigned resolver_sim_under_way(const struct resolver_sim *s)
{
    return s->under_way;
}

/* ---- questions ---- */

static void job_free(struct job *j)
{
    j->query->job = NULL;
    j->host->jobs--;
    j->host->dns->under_way--;
    timer_unmake(&j->timer);
    free(j);
}

/* A drawn order, as many servers give it. */
static void shuffle(struct resolver_sim *s, struct entry *e)
{
    for (size_t i = e->count; i > 1; i--) {
        size_t k = io_sim_between(s->world, 0, i - 1);
        if (e->services) {
            struct resolver_service t = e->services[i - 1];
            e->services[i - 1] = e->services[k];
            e->services[k] = t;
        } else {
            struct resolver_address t = e->addresses[i - 1];
            e->addresses[i - 1] = e->addresses[k];
            e->addresses[k] = t;
        }
    }
}

static void on_time(struct timer *t)
{
    struct job *j = container_of(t, struct job, timer);
    struct resolver_query *q = j->query;
    struct entry *e = j->entry;
    struct resolver_answer a = {0};
    if (j->timed_out)
        a.result = RESOLVER_TIMED_OUT;
    else if (!e)
        a.result = RESOLVER_NXDOMAIN;
    else if (e->failure != RESOLVER_OK)
        a.result = e->failure;
    else if (e->count == 0)
        a.result = RESOLVER_NO_DATA;
    if (a.result == RESOLVER_OK) {
        shuffle(j->host->dns, e);
        a.count = e->count;
        a.addresses = e->addresses;
        a.services = e->services;
    }
    job_free(j);
    q->on_answer(q, &a);
}

static void ask(void *ctx, struct resolver_query *q, enum resolver_question what, const char *name)
{
    struct host_resolver *h = ctx;
    struct name *n = find_name(h->dns, name);
    struct job *j = calloc(1, sizeof(*j));
    must(j);
    *j = (struct job){.host = h, .query = q, .entry = n ? &n->entries[what] : NULL};
    int err = timer_make(&j->timer, &h->loop->timers, on_time);
    must(err == 0);
    h->jobs++;
    h->dns->under_way++;
    q->job = j;
    uint64_t latency = io_sim_between(h->dns->world, h->dns->latency_min, h->dns->latency_max);
    if (j->entry) {
        j->entry->asked++;
        j->timed_out = j->entry->failure == RESOLVER_TIMED_OUT;
    }
    timer_set(&j->timer, h->loop->now + (j->timed_out ? TIME_OUT : latency));
}

static void cancel(void *ctx, struct resolver_query *q)
{
    (void)ctx;
    must(q->job);
    job_free(q->job);
}

static const struct resolver_ops SIM_OPS = {ask, cancel};

struct resolver *resolver_sim_resolver_new(struct resolver_sim *s, struct loop *loop)
{
    struct host_resolver *h = calloc(1, sizeof(*h));
    must(h);
    *h = (struct host_resolver){.resolver = {&SIM_OPS, h}, .dns = s, .loop = loop};
    s->resolvers++;
    return &h->resolver;
}

struct resolver *resolver_sim_resolver_free(struct resolver *r)
{
    if (!r)
        return NULL;
    struct host_resolver *h = r->ctx;
    must(h->jobs == 0);
    h->dns->resolvers--;
    free(h);
    return NULL;
}
