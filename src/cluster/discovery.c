/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each source has its records, sorted by name. An answer becomes a list of finds, sorted too, and
 * is merged into them (adopt()); everything that needs memory is done before anything is changed.
 * The members are made anew from all records after each change (collect()).
 *
 * Long: sources, answers and members turn on one list of records.
 */
#include "cluster/discovery.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Answers that come within this of each other are told at once: each change costs its owner a ring.
 */
#define SETTLE_TIME (5 * NSEC_MS)

/* What an answer says of one member. */
struct find {
    char name[VIEW_NODE_NAME_MAX];
    char target[RESOLVER_NAME_MAX]; /* whose address is to be looked up; "": `addr` is known */
    struct addr addr;
    uint32_t weight;
};

/* What a source knows of one member. */
struct record {
    struct member member;
    struct origin *origin;
    struct lookup *lookup; /* owned; of its address. NULL: that is known */
    uint16_t port;
    bool told_twice; /* the log has heard that two sources name it */
    /* While an answer is adopted. */
    const struct find *find; /* NULL: the answer lacks it */
    bool fresh;
};

struct origin {
    struct discovery *d;
    uint32_t index;
    enum discovery_kind kind;
    char *name;               /* owned */
    struct node_login *login; /* a reference; records and members have it as a loan */
    uint32_t weight;
    uint16_t port;
    struct lookup lookup; /* of the source's own name; unless DISCOVERY_STATIC */
    bool has_lookup;
    struct lookup_counters counters;
    struct record **records; /* owned; sorted by name */
    uint32_t count;
    bool over; /* its last answer held more than is taken */
};

struct discovery {
    struct lookups lookups;
    struct log *log;
    struct discovery_events events;
    void *owner;
    struct timer settle;
    struct origin **sources; /* owned, each by itself: records and lookups point to it */
    uint32_t source_count;
    struct record **all; /* owned; room for the records of all sources */
    uint32_t all_room;
    struct member *members; /* owned; room for DISCOVERY_MEMBERS_MAX */
    uint32_t member_count;
    uint64_t refused;
    bool over; /* all sources together offer more than is taken */
};

/* ---- the members of all sources ---- */

static int by_name_and_claim(const void *left, const void *right)
{
    const struct record *a = *(struct record *const *)left, *b = *(struct record *const *)right;
    int order = strcmp(a->member.name, b->member.name);
    if (order != 0)
        return order;
    bool a_gone = a->member.gone_since != 0, b_gone = b->member.gone_since != 0;
    if (a_gone != b_gone)
        return a_gone ? 1 : -1;
    return (a->origin->index > b->origin->index) - (a->origin->index < b->origin->index);
}

/* Who stays when there are too many: the present ones, of the first sources. */
static int by_claim_and_name(const void *left, const void *right)
{
    const struct record *a = *(struct record *const *)left, *b = *(struct record *const *)right;
    bool a_gone = a->member.gone_since != 0, b_gone = b->member.gone_since != 0;
    if (a_gone != b_gone)
        return a_gone ? 1 : -1;
    if (a->origin->index != b->origin->index)
        return a->origin->index < b->origin->index ? -1 : 1;
    return strcmp(a->member.name, b->member.name);
}

static void note_twice(struct discovery *d, struct record *first, struct record *other)
{
    if (other->told_twice)
        return;
    other->told_twice = true;
    log_event(d->log, LOG_DEBUG, "node-twice", "node=%s source=%s counts=%s", other->member.name,
              other->origin->name, first->origin->name);
}

/* Room in all[] for `more` records above those there are. */
static int make_room(struct discovery *d, uint32_t more)
{
    uint32_t need = more;
    for (uint32_t i = 0; i < d->source_count; i++)
        need += d->sources[i]->count;
    if (need <= d->all_room)
        return 0;
    struct record **all = realloc(d->all, need * sizeof(struct record *));
    if (!all)
        return -ENOMEM;
    d->all = all;
    d->all_room = need;
    return 0;
}

/* `over` remembers that it has been logged. The number that is taken. */
static uint32_t limit_members(struct discovery *d, bool *over, size_t count)
{
    size_t refused = count > DISCOVERY_MEMBERS_MAX ? count - DISCOVERY_MEMBERS_MAX : 0;
    d->refused += refused;
    if (refused > 0 && !*over)
        log_event(d->log, LOG_WARN, "members-limit", "refused=%zu limit=%d", refused,
                  DISCOVERY_MEMBERS_MAX);
    *over = refused > 0;
    return (uint32_t)(count - refused);
}

/* Makes members[] from the records of all sources. */
static void collect(struct discovery *d)
{
    uint32_t count = 0, kept = 0;
    for (uint32_t i = 0; i < d->source_count; i++)
        for (uint32_t k = 0; k < d->sources[i]->count; k++)
            d->all[count++] = d->sources[i]->records[k];
    must(count <= d->all_room);
    if (count > 0)
        qsort(d->all, count, sizeof(struct record *), by_name_and_claim);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(d->all[kept - 1]->member.name, d->all[i]->member.name) == 0)
            note_twice(d, d->all[kept - 1], d->all[i]);
        else
            d->all[kept++] = d->all[i];
    }
    uint32_t taken = limit_members(d, &d->over, kept);
    if (taken < kept) {
        qsort(d->all, kept, sizeof(struct record *), by_claim_and_name);
        kept = taken;
        qsort(d->all, kept, sizeof(struct record *), by_name_and_claim);
    }
    for (uint32_t i = 0; i < kept; i++)
        d->members[i] = d->all[i]->member;
    d->member_count = kept;
}

static void changed(struct discovery *d)
{
    collect(d);
    if (!timer_is_set(&d->settle))
        timer_set(&d->settle, d->lookups.loop->now + SETTLE_TIME);
}

static void on_settled(struct timer *t)
{
    struct discovery *d = container_of(t, struct discovery, settle);
    d->events.changed(d->owner);
}

/* ---- records ---- */

static void record_free(struct record *r)
{
    if (r->lookup)
        lookup_fini(r->lookup);
    free(r->lookup);
    free(r);
}

/* A member's address, out of those that its name has: the present one as long as it is among them,
 * else the lowest, for resolvers give them in a new order each time. */
static struct addr choose(const struct record *r, const struct resolver_answer *a)
{
    struct addr best = {0};
    for (size_t i = 0; i < a->count; i++) {
        struct addr one = a->addresses[i].addr;
        one.port = r->port;
        if (addr_eq(&one, &r->member.addr))
            return one;
        if (best.family == ADDR_NONE || memcmp(one.ip, best.ip, sizeof(one.ip)) < 0)
            best = one;
    }
    return best;
}

static enum resolver_result take_address(struct lookup *l, const struct resolver_answer *a)
{
    struct record *r = l->owner;
    struct discovery *d = r->origin->d;
    struct addr chosen = choose(r, a);
    char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
    if (addr_eq(&chosen, &r->member.addr))
        return RESOLVER_OK;
    log_event(d->log, LOG_INFO, "node-address", "node=%s from=%s to=%s", r->member.name,
              addr_print(&r->member.addr, from), addr_print(&chosen, to));
    r->member.addr = chosen;
    changed(d);
    return RESOLVER_OK;
}

static struct record *record_new(struct origin *s, const struct find *f, uint16_t port)
{
    struct record *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    memcpy(r->member.name, f->name, sizeof(r->member.name));
    r->member.addr = f->addr;
    r->member.weight = f->weight;
    r->member.login = s->login;
    r->origin = s;
    r->port = port;
    r->find = f;
    r->fresh = true;
    if (f->target[0] == '\0')
        return r;
    r->lookup = malloc(sizeof(*r->lookup));
    if (!r->lookup || lookup_init(r->lookup, &s->d->lookups, &s->counters, false, f->target)) {
        free(r->lookup);
        free(r);
        return NULL;
    }
    r->lookup->label = r->member.name;
    r->lookup->take = take_address;
    r->lookup->owner = r;
    return r;
}

/* ---- adopting an answer ---- */

static int by_find_name(const void *left, const void *right)
{
    const struct find *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    /* Of one that is named twice the heavier one counts: their order is chance. */
    return order != 0 ? order : (b->weight > a->weight) - (b->weight < a->weight);
}

/* Sorts, takes each name once and at most as many as there may be members. The new count. */
static size_t tidy_finds(struct origin *s, struct find *finds, size_t count)
{
    size_t kept = 0;
    qsort(finds, count, sizeof(*finds), by_find_name);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(finds[kept - 1].name, finds[i].name) != 0)
            finds[kept++] = finds[i];
    return limit_members(s->d, &s->over, kept);
}

static uint16_t port_of(const struct find *f)
{
    struct str host;
    uint16_t port = 0;
    int err = addr_split_host_port(str_of(f->name), &host, &port);
    must(err == 0 && port > 0); /* whoever made the find wrote it */
    return port;
}

static void undo_merge(struct record **merged, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        merged[i]->find = NULL;
        if (merged[i]->fresh)
            record_free(merged[i]);
    }
    free(merged);
}

/* The source's records and those that are new, by name. 0 or -ENOMEM, which leaves all as it was.
 */
static int merge(struct origin *s, const struct find *finds, size_t find_count,
                 struct record ***ret_merged, uint32_t *ret_count)
{
    struct record **merged = malloc((s->count + find_count + 1) * sizeof(struct record *));
    uint32_t old = 0, count = 0, fresh = 0;
    bool failed = merged == NULL;
    for (size_t i = 0; !failed && (old < s->count || i < find_count);) {
        int order = i == find_count   ? -1
                    : old == s->count ? 1
                                      : strcmp(s->records[old]->member.name, finds[i].name);
        struct record *r =
            order <= 0 ? s->records[old++] : record_new(s, &finds[i], port_of(&finds[i]));
        failed = r == NULL;
        if (failed)
            break;
        r->find = order >= 0 ? &finds[i++] : NULL;
        fresh += order > 0;
        merged[count++] = r;
    }
    if (failed || make_room(s->d, fresh) != 0) {
        undo_merge(merged, count);
        return -ENOMEM;
    }
    *ret_merged = merged;
    *ret_count = count;
    return 0;
}

struct news {
    uint32_t found, back, gone, reweighted, present;
};

/* Brings one record up to what the answer says. */
static void update(struct record *r, struct news *news)
{
    struct discovery *d = r->origin->d;
    bool was_gone = r->member.gone_since != 0;
    const struct find *f = r->find;
    r->find = NULL;
    news->present += f != NULL;
    if (!f && !was_gone) {
        news->gone++;
        r->member.gone_since = d->lookups.loop->now;
        if (r->lookup)
            lookup_stop(r->lookup); /* its last address is what it is kept with */
        log_event(d->log, LOG_DEBUG, "node-gone", "node=%s", r->member.name);
    } else if (f) {
        news->found += r->fresh;
        news->back += was_gone;
        news->reweighted += r->member.weight != f->weight;
        if (r->fresh || was_gone)
            log_event(d->log, LOG_DEBUG, r->fresh ? "node-found" : "node-returned", "node=%s",
                      r->member.name);
        r->member.gone_since = 0;
        r->member.weight = f->weight;
        if (r->lookup)
            lookup_start(r->lookup);
    }
    r->fresh = false;
}

/* Above the limit the longest gone are forgotten: an owner who keeps all could be fed for ever. */
static void trim(struct origin *s)
{
    while (s->count > DISCOVERY_MEMBERS_MAX) {
        uint32_t oldest = s->count;
        for (uint32_t i = 0; i < s->count; i++) {
            uint64_t since = s->records[i]->member.gone_since;
            if (since != 0 && (oldest == s->count || since < s->records[oldest]->member.gone_since))
                oldest = i;
        }
        must(oldest < s->count); /* present ones are never more than that */
        record_free(s->records[oldest]);
        memmove(&s->records[oldest], &s->records[oldest + 1],
                (--s->count - oldest) * sizeof(struct record *));
    }
}

static enum resolver_result adopt(struct origin *s, struct find *finds, size_t find_count)
{
    struct record **merged;
    struct news news = {0};
    find_count = tidy_finds(s, finds, find_count);
    if (merge(s, finds, find_count, &merged, &s->count) != 0)
        return RESOLVER_NO_MEMORY;
    free(s->records);
    s->records = merged;
    for (uint32_t i = 0; i < s->count; i++)
        update(s->records[i], &news);
    trim(s);
    if (news.found + news.back + news.gone + news.reweighted == 0)
        return RESOLVER_OK;
    log_event(s->d->log, LOG_INFO, "nodes-changed",
              "source=%s found=%" PRIu32 " back=%" PRIu32 " gone=%" PRIu32 " weights=%" PRIu32
              " present=%" PRIu32,
              s->name, news.found, news.back, news.gone, news.reweighted, news.present);
    changed(s->d);
    return RESOLVER_OK;
}

/* A DNS name: each address is a member. */
static enum resolver_result take_addresses(struct lookup *l, const struct resolver_answer *a)
{
    struct origin *s = l->owner;
    struct find *finds CLEANUP(freep) = calloc(a->count, sizeof(*finds));
    if (!finds)
        return RESOLVER_NO_MEMORY;
    for (size_t i = 0; i < a->count; i++) {
        char text[ADDR_TEXT_MAX];
        finds[i].addr = a->addresses[i].addr;
        finds[i].addr.port = s->port;
        finds[i].weight = 1;
        snprintf(finds[i].name, sizeof(finds[i].name), "%s", addr_print(&finds[i].addr, text));
    }
    return adopt(s, finds, a->count);
}

static bool make_service(const struct resolver_service *from, struct find *to)
{
    struct str host;
    uint16_t port = 0;
    char target[RESOLVER_NAME_MAX];
    size_t len = strlen(from->target);
    for (size_t i = 0; i <= len; i++) {
        char c = from->target[i];
        target[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    snprintf(to->name, sizeof(to->name), "%s:%u", target, (unsigned)from->port);
    if (addr_split_host_port(str_of(to->name), &host, &port) != 0 || port == 0)
        return false; /* port 0, or not a name */
    /* A target is a whole name: no search domain is to be tried behind it. */
    int n = snprintf(to->target, sizeof(to->target), "%s.", target);
    to->weight = from->weight;
    return n > 0 && (size_t)n < sizeof(to->target);
}

static void scale_weights(struct find *finds, size_t count)
{
    uint32_t heaviest = 1;
    for (size_t i = 0; i < count; i++)
        heaviest = finds[i].weight > heaviest ? finds[i].weight : heaviest;
    for (size_t i = 0; i < count; i++) {
        if (heaviest > DISCOVERY_WEIGHT_MAX) /* at most 65535 × 256, which fits */
            finds[i].weight = (finds[i].weight * DISCOVERY_WEIGHT_MAX + heaviest / 2) / heaviest;
        if (finds[i].weight == 0)
            finds[i].weight = 1; /* RFC 2782: "a very small chance" */
    }
}

/* An SRV name: each target of the first priority there is, is a member. */
static enum resolver_result take_services(struct lookup *l, const struct resolver_answer *a)
{
    struct origin *s = l->owner;
    struct find *finds CLEANUP(freep) = calloc(a->count, sizeof(*finds));
    uint16_t priority = UINT16_MAX;
    size_t count = 0, offered = 0;
    if (!finds)
        return RESOLVER_NO_MEMORY;
    /* A target of "." says that the service is not offered (RFC 2782): as an empty answer. */
    for (size_t i = 0; i < a->count; i++) {
        offered += a->services[i].target[0] != '\0';
        if (a->services[i].target[0] != '\0' && a->services[i].priority < priority)
            priority = a->services[i].priority;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct resolver_service *one = &a->services[i];
        if (one->target[0] != '\0' && one->priority == priority && make_service(one, &finds[count]))
            count++;
    }
    if (count == 0)
        return offered > 0 ? RESOLVER_MALFORMED : RESOLVER_NO_DATA;
    scale_weights(finds, count);
    return adopt(s, finds, count);
}

/* ---- sources ---- */

static struct record *find_record(const struct origin *s, const char *name, uint32_t *ret_at)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(s->records[middle]->member.name, name);
        if (order == 0) {
            *ret_at = middle;
            return s->records[middle];
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A source that is one member from the start, given as `s->name`. */
static int init_fixed(struct origin *s, const struct addr *numeric)
{
    struct find f = {.weight = s->kind == DISCOVERY_STATIC ? s->weight : 1, .addr = *numeric};
    struct str host;
    uint16_t port = 0;
    size_t len = strlen(s->name);
    if (addr_split_host_port(str_of(s->name), &host, &port) != 0 || port == 0 ||
        len >= sizeof(f.name) || host.len >= sizeof(f.target) || f.weight == 0 ||
        f.weight > DISCOVERY_WEIGHT_MAX)
        return -EINVAL;
    memcpy(f.name, s->name, len + 1);
    if (numeric->family == ADDR_NONE)
        memcpy(f.target, host.p, host.len);
    s->records = calloc(1, sizeof(struct record *));
    struct record *r = s->records ? record_new(s, &f, port) : NULL;
    if (!r)
        return -ENOMEM;
    r->find = NULL;
    r->fresh = false;
    s->records[0] = r;
    s->count = 1;
    if (r->lookup)
        lookup_start(r->lookup);
    return 0;
}

static int init_name(struct origin *s)
{
    char host[RESOLVER_NAME_MAX];
    struct str name = str_of(s->name);
    uint16_t port = 0;
    bool is_service = s->kind == DISCOVERY_SRV;
    /* Names of services are of the same letters, but have no port. */
    if (addr_split_host_port(str_of(s->name), &name, &port) != 0 || (port == 0) != is_service ||
        name.len >= sizeof(host))
        return -EINVAL;
    s->port = port;
    memcpy(host, name.p, name.len);
    host[name.len] = '\0';
    if (lookup_init(&s->lookup, &s->d->lookups, &s->counters, is_service, host) != 0)
        return -ENOMEM;
    s->has_lookup = true;
    s->lookup.label = s->name;
    s->lookup.take = is_service ? take_services : take_addresses;
    s->lookup.owner = s;
    lookup_start(&s->lookup);
    return 0;
}

static int origin_init(struct origin *s, const struct discovery_source *config)
{
    struct addr numeric = {0};
    s->kind = config->kind;
    s->weight = config->weight;
    s->login = node_login_ref(config->login);
    s->name = strdup(config->name);
    if (!s->name)
        return -ENOMEM;
    if (addr_parse(str_of(s->name), 0, &numeric) != 0)
        numeric = (struct addr){0};
    if (s->kind == DISCOVERY_STATIC || (s->kind == DISCOVERY_DNS && numeric.family != ADDR_NONE))
        return init_fixed(s, &numeric);
    return init_name(s);
}

static void origin_free(struct origin *s)
{
    if (s->has_lookup)
        lookup_fini(&s->lookup);
    for (uint32_t i = 0; i < s->count; i++)
        record_free(s->records[i]);
    node_login_unref(s->login);
    free(s->records);
    free(s->name);
    free(s);
}

static int origin_new(struct discovery *d, uint32_t index, const struct discovery_source *config,
                      struct origin **ret)
{
    struct origin *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->d = d;
    s->index = index;
    int err = origin_init(s, config);
    if (err)
        origin_free(s);
    else
        *ret = s;
    return err;
}

/* ---- the whole ---- */

int discovery_new(const struct discovery_config *config, struct resolver *resolver,
                  struct loop *loop, struct log *log, const struct discovery_events *events,
                  void *owner, struct discovery **ret)
{
    struct discovery *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->log = log;
    d->events = *events;
    d->owner = owner;
    d->lookups = (struct lookups){
        .resolver = resolver,
        .loop = loop,
        .log = log,
        .settings = config->lookup,
        .rng = {loop->io->ops->random(loop->io->ctx)},
    };
    lookups_init(&d->lookups);
    if (timer_make(&d->settle, &loop->timers, on_settled) != 0) {
        free(d);
        return -ENOMEM;
    }
    d->sources = calloc(config->source_count + 1, sizeof(struct origin *));
    d->members = calloc(DISCOVERY_MEMBERS_MAX, sizeof(*d->members));
    int err = d->sources && d->members ? 0 : -ENOMEM;
    for (uint32_t i = 0; !err && i < config->source_count; i++) {
        err = origin_new(d, i, &config->sources[i], &d->sources[i]);
        d->source_count += !err;
    }
    if (!err)
        err = make_room(d, 0);
    if (err) {
        discovery_free(d);
        return err;
    }
    collect(d);
    *ret = d;
    return 0;
}

struct discovery *discovery_free(struct discovery *d)
{
    if (!d)
        return NULL;
    lookups_quit(&d->lookups);
    for (uint32_t i = 0; i < d->source_count; i++)
        origin_free(d->sources[i]);
    must(d->lookups.asking == 0);
    timer_unmake(&d->settle);
    free(d->sources);
    free(d->all);
    free(d->members);
    free(d);
    return NULL;
}

/* The one that goes on under new settings; the first that nobody has taken. */
static struct origin *take_origin(struct discovery *d, bool *taken,
                                  const struct discovery_source *config)
{
    for (uint32_t i = 0; i < d->source_count; i++) {
        struct origin *s = d->sources[i];
        if (taken[i] || s->kind != config->kind || strcmp(s->name, config->name) != 0)
            continue;
        taken[i] = true;
        return s;
    }
    return NULL;
}

/* Its number, which says who counts of two, who we are there, and of a given node the weight. */
static void renew(struct origin *s, uint32_t index, const struct discovery_source *config)
{
    s->index = index;
    node_login_ref(config->login);
    node_login_unref(s->login);
    s->login = config->login;
    for (uint32_t i = 0; i < s->count; i++)
        s->records[i]->member.login = config->login;
    if (s->kind != DISCOVERY_STATIC)
        return;
    s->weight = config->weight;
    for (uint32_t i = 0; i < s->count; i++)
        s->records[i]->member.weight = config->weight;
}

int discovery_set_sources(struct discovery *d, const struct discovery_config *config)
{
    uint32_t count = config->source_count, old_count = d->source_count;
    struct origin **sources = calloc(count + 1, sizeof(struct origin *));
    bool *taken CLEANUP(freep) = calloc(old_count + 1, sizeof(bool));
    bool *fresh CLEANUP(freep) = calloc(count + 1, sizeof(bool));
    int err = sources && taken && fresh ? 0 : -ENOMEM;
    for (uint32_t i = 0; !err && i < count; i++) {
        sources[i] = take_origin(d, taken, &config->sources[i]);
        fresh[i] = !sources[i];
        if (fresh[i])
            err = origin_new(d, i, &config->sources[i], &sources[i]);
    }
    if (!err)
        err = make_room(d, count); /* a fresh one has a record at most */
    if (err) {
        for (uint32_t i = 0; sources && fresh && i < count; i++)
            if (fresh[i] && sources[i])
                origin_free(sources[i]);
        free(sources);
        return err;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!fresh[i])
            renew(sources[i], i, &config->sources[i]);
    for (uint32_t i = 0; i < old_count; i++)
        if (!taken[i])
            origin_free(d->sources[i]);
    free(d->sources);
    d->sources = sources;
    d->source_count = count;
    d->lookups.settings = config->lookup;
    changed(d);
    return 0;
}

const struct member *discovery_members(const struct discovery *d, uint32_t *ret_count)
{
    *ret_count = d->member_count;
    return d->members;
}

bool discovery_drop(struct discovery *d, const char *name)
{
    bool known = false;
    uint32_t at;
    for (uint32_t i = 0; i < d->source_count; i++) {
        const struct record *r = find_record(d->sources[i], name, &at);
        if (r && r->member.gone_since == 0)
            return false;
        known = known || r;
    }
    for (uint32_t i = 0; i < d->source_count; i++) {
        struct origin *s = d->sources[i];
        struct record *r = find_record(s, name, &at);
        if (!r)
            continue;
        log_event(d->log, LOG_DEBUG, "node-dropped", "node=%s source=%s", name, s->name);
        record_free(r);
        memmove(&s->records[at], &s->records[at + 1], (--s->count - at) * sizeof(struct record *));
    }
    if (known)
        collect(d);
    return known;
}

uint64_t discovery_refused(const struct discovery *d)
{
    return d->refused;
}

uint32_t discovery_source_count(const struct discovery *d)
{
    return d->source_count;
}

static enum discovery_state state_of(const struct origin *s)
{
    const struct lookup *l = s->has_lookup                 ? &s->lookup
                             : s->kind == DISCOVERY_STATIC ? s->records[0]->lookup
                                                           : NULL;
    if (!l)
        return DISCOVERY_FIXED;
    if (l->failing)
        return DISCOVERY_FAILING;
    return s->counters.last_success == 0 ? DISCOVERY_WAITING : DISCOVERY_GOOD;
}

void discovery_source_stats(const struct discovery *d, uint32_t source, struct discovery_stats *ret)
{
    must(source < d->source_count);
    const struct origin *s = d->sources[source];
    *ret = (struct discovery_stats){
        .kind = s->kind, .name = s->name, .state = state_of(s), .lookups = s->counters};
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->records[i]->member.gone_since == 0)
            ret->members++;
        else
            ret->gone++;
    }
}

const char *discovery_state_name(enum discovery_state s)
{
    static const char *const NAMES[] = {"fixed", "waiting", "good", "failing"};
    must(s <= DISCOVERY_FAILING);
    return NAMES[s];
}
