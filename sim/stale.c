/* SPDX-License-Identifier: Apache-2.0 */
#include "stale.h"

#include "base/must.h"
#include "base/nsec.h"
#include "checker.h"
#include "ring/layout.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    MOMENT_BITS = 20, /* of a moment: which one within its nanosecond. The rest holds 4 hours */
    CLIENTS = SIM_CLIENTS_MAX + 1,
    STORY_MAX = 2000,
};

static uint64_t next_moment(struct checker *k)
{
    uint64_t now = io_sim_now(k->world);
    uint64_t first = now << MOMENT_BITS;
    struct stale *s = &k->stale;
    s->last_moment = s->last_moment < first ? first : s->last_moment + 1;
    must(s->last_moment >> MOMENT_BITS == now);
    return s->last_moment;
}

static double ms_of(uint64_t moment)
{
    return (double)(moment >> MOMENT_BITS) / NSEC_MS;
}

static bool is_write(enum check_kind kind)
{
    return kind == CHECK_SET || kind == CHECK_SETEX || kind == CHECK_MSET || kind == CHECK_DEL ||
           kind == CHECK_UNLINK || kind == CHECK_EXEC_SET;
}

void stale_agree(struct checker *k, bool they_do)
{
    k->stale.agreed_since = they_do ? next_moment(k) : 0;
}

static struct stale_floor floor_of(const struct checker *k, const struct stale_key *key,
                                   unsigned process)
{
    struct stale_floor f = {.own = key->newest_begun[process]};
    for (unsigned i = 0; i < k->process_count; i++) {
        if (k->processes[i].alive && key->newest_begun[i] > f.all)
            f.all = key->newest_begun[i];
    }
    return f;
}

void stale_begins(struct checker *k, struct check_command *c, int handle)
{
    c->span.begun = next_moment(k);
    c->span.handle = handle;
    for (uint32_t i = 0; i < c->part_count; i++) {
        struct check_part *p = &c->parts[i];
        if (p->key.class == KEY_STRING)
            p->floor = floor_of(k, &k->stale.keys[p->key.number], c->process);
    }
}

static void cleared(struct checker *k, unsigned process, uint64_t begun)
{
    for (unsigned i = 0; i < CHECK_KEYS_MAX; i++)
        if (begun > k->stale.keys[i].newest_begun[process])
            k->stale.keys[i].newest_begun[process] = begun;
}

void stale_answered(struct checker *k, struct check_command *c, bool positive, bool certain)
{
    c->span.ended = next_moment(k);
    c->span.in_doubt = !certain;
    c->span.acknowledged = positive && certain;
    if (c->span.acknowledged && c->kind == CHECK_FLUSH)
        cleared(k, c->process, c->span.begun);
    if (!c->span.acknowledged || !is_write((enum check_kind)c->kind))
        return;
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct check_key *key = &c->parts[i].key;
        struct stale_key *sk = &k->stale.keys[key->number];
        uint64_t *newest = &sk->newest_begun[c->process];
        if (key->class == KEY_STRING && c->span.begun > *newest)
            *newest = c->span.begun;
    }
}

uint64_t stale_moment(struct checker *k)
{
    return next_moment(k);
}

void stale_all_cleared(struct checker *k, unsigned process, uint64_t begun)
{
    cleared(k, process, begun);
}

/* The moment at which a write ended, or will; UINT64_MAX: nobody knows yet. */
static uint64_t end_of(const struct checker *k, const struct check_command *c)
{
    if (c->span.in_doubt)
        return UINT64_MAX;
    if (c->span.ended != 0)
        return c->span.ended;
    uint64_t closed_at = io_sim_peer_closed_at(k->world, c->span.handle);
    if (closed_at == NSEC_NEVER)
        return UINT64_MAX;
    uint64_t end = closed_at + k->options->proxy.request_timeout + 2 * k->options->pause_max;
    return ((end + 1) << MOMENT_BITS) - 1; /* the last of that nanosecond */
}

/* ---- who wrote it? ---- */

struct writer {
    const struct check_command *c; /* NULL: nobody known */
    unsigned client;
    uint32_t seq;
    uint64_t ended;
};

/* Of the writers of an empty value, one who ended at `floor` or later, or else the last. Goes back
 * from the newest commands: the one it was is mostly among them. */
static struct writer empty_writer(const struct checker *k, uint16_t number, uint64_t floor)
{
    struct writer found = {0};
    for (unsigned client = 0; client < CLIENTS; client++) {
        for (uint32_t seq = k->clients[client].count; seq-- > 0;) {
            const struct check_command *c = &k->clients[client].commands[seq];
            for (uint32_t i = 0; i < c->part_count && c->span.begun != 0; i++) {
                const struct check_part *p = &c->parts[i];
                if (!p->empty || p->key.class != KEY_STRING || p->key.number != number)
                    continue;
                struct writer w = {c, client, seq, end_of(k, c)};
                if (w.ended >= floor)
                    return w;
                if (!found.c || w.ended > found.ended)
                    found = w;
            }
        }
    }
    return found;
}

static struct writer writer_of(const struct checker *k, const struct check_key *key, uint64_t floor,
                               const char *value, size_t len)
{
    if (len == 0 && k->process_count > 1)
        return (struct writer){0}; /* it may have gone through any */
    if (len == 0)
        return empty_writer(k, key->number, floor);
    struct check_key by;
    if (!check_value_parse(value, len, &by) || by.seq >= k->clients[by.client].count)
        return (struct writer){0}; /* a scenario's own client */
    const struct check_command *c = &k->clients[by.client].commands[by.seq];
    bool its_own = is_write((enum check_kind)c->kind) && by.index < c->part_count &&
                   c->parts[by.index].key.class == key->class &&
                   c->parts[by.index].key.number == key->number && c->span.begun != 0;
    return its_own ? (struct writer){c, by.client, by.seq, end_of(k, c)} : (struct writer){0};
}

/* ---- what is said about it ---- */

struct story {
    size_t len;
    char text[STORY_MAX];
};

/* Nobody: something that has cleared all keys. */
static struct writer begun_at(const struct checker *k, uint64_t moment)
{
    for (unsigned client = 0; client < CLIENTS; client++) {
        for (uint32_t seq = 0; seq < k->clients[client].count; seq++) {
            const struct check_command *c = &k->clients[client].commands[seq];
            if (c->span.begun == moment)
                return (struct writer){c, client, seq, c->span.ended};
        }
    }
    return (struct writer){0};
}

/* A line more, as far as there is room. */
__attribute__((format(printf, 2, 3))) static void add_line(struct story *to, const char *format,
                                                           ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(to->text + to->len, sizeof(to->text) - to->len, format, ap);
    va_end(ap);
    size_t room = sizeof(to->text) - 1 - to->len;
    to->len += (size_t)n < room ? (size_t)n : room;
}

static void tell_steps(const struct stale_key *key, struct story *to)
{
    uint32_t at = key->step_count > STALE_STEPS_MAX ? key->step_count - STALE_STEPS_MAX : 0;
    for (; at < key->step_count; at++) {
        const struct stale_step *s = &key->steps[at % STALE_STEPS_MAX];
        char whose[64] = "";
        if (s->tagged)
            snprintf(whose, sizeof(whose), " for client %u command %" PRIu32, s->client, s->seq);
        add_line(to, "\n  step %" PRIu64 ", %.3f ms: node %u: %s%s%s", s->step,
                 (double)s->at_ns / NSEC_MS, s->node, s->verb, whose,
                 s->orphaned ? ", from a closed connection" : "");
    }
}

/* Who owned it since when. */
static void tell_owners(const struct checker *k, const struct check_key *key, struct story *to)
{
    char text[64];
    struct str name = {text, check_key_print(key, text, sizeof(text))};
    uint64_t hash = layout_hash(k->options->proxy.layout, name, k->options->proxy.hash_tags);
    int before[CHECK_PROCESSES_MAX];
    for (unsigned i = 0; i < CHECK_PROCESSES_MAX; i++)
        before[i] = -1;
    for (uint32_t i = 0; i < k->view_count; i++) {
        const struct check_view *cv = &k->views[i];
        int owner = cv->view->ring ? cv->node_of[maglev_lookup(cv->view->ring, hash)] : -1;
        if (owner != before[cv->process])
            add_line(to, "\n  process %u, view %" PRIu64 ", %.3f ms: its owner is node %d",
                     cv->process, cv->view->version, (double)cv->posted_at / NSEC_MS, owner);
        before[cv->process] = owner;
    }
}

static const char *how_it_ended(const struct check_command *c)
{
    if (c->span.ended == 0)
        return "ended with its connection";
    return c->span.acknowledged ? "was acknowledged" : "failed";
}

static void tell(struct checker *k, unsigned client, uint32_t seq, const struct check_part *p,
                 uint64_t floor, const struct writer *old)
{
    const struct check_command *c = &k->clients[client].commands[seq];
    struct writer newer = begun_at(k, floor);
    struct story story = {.len = 0};
    char who[100] = "A job that removes all keys";
    if (newer.c)
        snprintf(who, sizeof(who), "Client %u command %" PRIu32 " (%s), through process %u,",
                 newer.client, newer.seq, check_kind_name((enum check_kind)newer.c->kind),
                 newer.c->process);
    tell_owners(k, &p->key, &story);
    tell_steps(&k->stale.keys[p->key.number], &story);
    checker_fail(k,
                 "stale: client %u command %" PRIu32 " (%s, begun at %.3f ms) read of s%u what "
                 "client %u command %" PRIu32 " (%s) wrote, which began at %.3f ms and %s at "
                 "%.3f ms, through the processes %u and %u. %s began at %.3f ms and was "
                 "acknowledged at %.3f ms.%s",
                 client, seq, check_kind_name((enum check_kind)c->kind), ms_of(c->span.begun),
                 p->key.number, old->client, old->seq,
                 check_kind_name((enum check_kind)old->c->kind), ms_of(old->c->span.begun),
                 how_it_ended(old->c), ms_of(old->ended), c->process, old->c->process, who,
                 ms_of(floor), ms_of(newer.ended), story.text);
}

void stale_judge(struct checker *k, unsigned client, uint32_t seq, uint32_t part, const char *value,
                 size_t len)
{
    const struct check_part *p = &k->clients[client].commands[seq].parts[part];
    const struct check_command *c = &k->clients[client].commands[seq];
    uint64_t newest = p->floor.own > p->floor.all ? p->floor.own : p->floor.all;
    if (!k->options->stale_checked || p->key.class != KEY_STRING || newest == 0)
        return;
    struct writer w = writer_of(k, &p->key, newest, value, len);
    if (!w.c || w.ended >= newest)
        return;
    bool all_agree = k->stale.agreed_since != 0 && k->stale.agreed_since < c->span.begun;
    if (w.c->process == c->process && w.ended < p->floor.own)
        tell(k, client, seq, p, p->floor.own, &w);
    else if (all_agree && k->processes[w.c->process].alive && w.c->span.acknowledged &&
             w.ended < p->floor.all)
        tell(k, client, seq, p, p->floor.all, &w);
    else
        k->stale.apart++;
}

void stale_executes(struct checker *k, unsigned node, const char *verb, const struct check_key *key,
                    bool orphaned)
{
    if (key->class != KEY_STRING)
        return;
    struct stale_key *sk = &k->stale.keys[key->number];
    sk->steps[sk->step_count++ % STALE_STEPS_MAX] =
        (struct stale_step){.step = k->step,
                            .at_ns = io_sim_now(k->world),
                            .verb = verb,
                            .node = node,
                            .orphaned = orphaned,
                            .tagged = key->tagged,
                            .client = key->client,
                            .seq = key->seq};
}
