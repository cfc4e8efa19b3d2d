/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ketama's circle (as libmemcached and twemproxy have it): a node has points, by the MD5 of "ID-0",
 * "ID-1" and so on, four to a digest. A key belongs to the first point that is not below its hash.
 *
 * Here the points cut the range of hashes into slots, together with cuts at even distances, as many
 * as there are slots left. Those change nobody's owner; by them slots are about equally wide, so
 * that a node's count of slots says how large its share is, and few keys move at a time. When a
 * node is out, its slots go to the next point of another.
 *
 * Modula: a key's slot is its hash modulo a multiple of the sum of the weights. When a node is out,
 * its slots go where Maglev over the others puts them.
 */
#include "ring/layout.h"

#include "base/must.h"
#include "ring/md5.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    INDEX_BITS = 16,
    INDEX_COUNT = 1 << INDEX_BITS,
    PER_DIGEST = 4,
};

struct layout_member {
    char *name, *id; /* owned */
    uint32_t weight;
};

struct point {
    uint32_t at;
    uint16_t member;
};

struct layout {
    enum layout_kind kind;
    enum hash32_kind hash;
    struct layout_member *members; /* owned; in twemproxy's order: short ids first */
    uint16_t *by_name;             /* owned; indexes of members, ascending by their names */
    size_t count;
    /* ketama */
    struct point *points; /* owned; ascending */
    size_t point_count;
    uint32_t *ends; /* owned; MAGLEV_SLOTS last hashes of slots, ascending; the last one is the last
                       hash there is */
    uint32_t *index; /* owned; by a hash's first INDEX_BITS: the first slot that may hold it */
    /* modula */
    uint32_t modulus; /* the sum of the weights times as much as slots allow */
    uint16_t *turns;  /* owned; the member of each slot below the sum of the weights */
    uint32_t turn_count;
};

static int compare_ids(const void *left, const void *right)
{
    const struct layout_member *a = left, *b = right;
    size_t a_len = strlen(a->id), b_len = strlen(b->id);
    return a_len != b_len ? (a_len > b_len) - (a_len < b_len) : memcmp(a->id, b->id, a_len);
}

static char *copy(struct str s)
{
    char *to = malloc(s.len + 1);
    return to ? str_fill(to, s.len + 1, s) : NULL;
}

static int take_members(struct layout *l, const struct layout_node *nodes, size_t count)
{
    l->members = calloc(count, sizeof(*l->members));
    if (!l->members)
        return -ENOMEM;
    for (l->count = 0; l->count < count;) {
        const struct layout_node *n = &nodes[l->count];
        struct layout_member *m = &l->members[l->count++];
        *m = (struct layout_member){copy(n->name), copy(n->id), n->weight};
        if (!m->name || !m->id)
            return -ENOMEM;
        if (m->weight == 0 || (l->kind == LAYOUT_KETAMA && n->id.len > LAYOUT_KETAMA_ID_MAX))
            return -EINVAL;
    }
    qsort(l->members, count, sizeof(*l->members), compare_ids);
    for (size_t i = 1; i < count; i++)
        if (strcmp(l->members[i - 1].id, l->members[i].id) == 0)
            return -EINVAL;
    return 0;
}

static int compare_names(const void *left, const void *right, void *members)
{
    const uint16_t *a = left, *b = right;
    const struct layout_member *all = members;
    return strcmp(all[*a].name, all[*b].name);
}

static int sort_names(struct layout *l)
{
    l->by_name = calloc(l->count, sizeof(*l->by_name));
    if (!l->by_name)
        return -ENOMEM;
    for (size_t i = 0; i < l->count; i++)
        l->by_name[i] = (uint16_t)i;
    qsort_r(l->by_name, l->count, sizeof(*l->by_name), compare_names, l->members);
    return 0;
}

static int compare_points(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return (a->member > b->member) - (a->member < b->member);
}

static int compare_ends(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* How many digests of a member make points, cut to a whole number. In floats, as twemproxy has it:
 * anything more exact would give another number now and then. */
static uint32_t digests_of(const struct layout *l, const struct layout_member *m, uint64_t sum)
{
    float share = (float)m->weight / (float)sum;
    float digests = share * LAYOUT_POINTS / PER_DIGEST * (float)l->count;
    return (uint32_t)(float)((double)digests + 0.0000000001);
}

static void put_points(struct layout *l, uint16_t member, uint32_t digests)
{
    for (uint32_t i = 0; i < digests; i++) {
        char text[LAYOUT_KETAMA_ID_MAX + 16];
        uint8_t digest[16];
        int len = snprintf(text, sizeof(text), "%s-%u", l->members[member].id, i);
        md5((struct str){text, (size_t)len}, digest);
        for (size_t k = 0; k < PER_DIGEST; k++) {
            uint32_t at;
            memcpy(&at, digest + k * sizeof(at), sizeof(at));
            l->points[l->point_count++] = (struct point){le32toh(at), member};
        }
    }
}

static int place_points(struct layout *l)
{
    uint64_t sum = 0, total = 0;
    for (size_t i = 0; i < l->count; i++)
        sum += l->members[i].weight;
    for (size_t i = 0; i < l->count; i++)
        total += (uint64_t)digests_of(l, &l->members[i], sum) * PER_DIGEST;
    if (total >= MAGLEV_SLOTS)
        return -E2BIG;
    l->points = calloc((size_t)total + 1, sizeof(*l->points));
    if (!l->points)
        return -ENOMEM;
    for (size_t i = 0; i < l->count; i++)
        put_points(l, (uint16_t)i, digests_of(l, &l->members[i], sum));
    must(l->point_count == total);
    qsort(l->points, l->point_count, sizeof(*l->points), compare_points);
    return 0;
}

static int cut_slots(struct layout *l)
{
    uint32_t even = MAGLEV_SLOTS - (uint32_t)l->point_count, count = 0;
    l->ends = malloc(MAGLEV_SLOTS * sizeof(*l->ends));
    l->index = malloc(INDEX_COUNT * sizeof(*l->index));
    if (!l->ends || !l->index)
        return -ENOMEM;
    for (size_t i = 0; i < l->point_count; i++)
        l->ends[count++] = l->points[i].at;
    for (uint64_t i = 1; i <= even; i++)
        l->ends[count++] = (uint32_t)((i << 32) / even - 1);
    must(count == MAGLEV_SLOTS);
    qsort(l->ends, count, sizeof(*l->ends), compare_ends);
    uint32_t slot = 0;
    for (uint32_t i = 0; i < INDEX_COUNT; i++) {
        while (l->ends[slot] < i << (32 - INDEX_BITS))
            slot++;
        l->index[i] = slot;
    }
    return 0;
}

static int count_turns(struct layout *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->count; i++)
        sum += l->members[i].weight;
    if (sum > MAGLEV_SLOTS)
        return -E2BIG;
    l->turns = calloc(sum, sizeof(*l->turns));
    if (!l->turns)
        return -ENOMEM;
    for (size_t i = 0; i < l->count; i++)
        for (uint32_t k = 0; k < l->members[i].weight; k++)
            l->turns[l->turn_count++] = (uint16_t)i;
    l->modulus = (uint32_t)(MAGLEV_SLOTS / sum * sum);
    return 0;
}

int layout_new(enum layout_kind kind, enum hash32_kind hash, const struct layout_node *nodes,
               size_t count, struct layout **ret)
{
    if (count == 0)
        return -EINVAL;
    if (count > MAGLEV_NODES_MAX)
        return -E2BIG;
    struct layout *l CLEANUP(layout_freep) = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->kind = kind;
    l->hash = hash;
    int err = take_members(l, nodes, count);
    if (!err)
        err = sort_names(l);
    if (!err && kind == LAYOUT_KETAMA)
        err = place_points(l);
    if (!err && kind == LAYOUT_KETAMA)
        err = cut_slots(l);
    if (!err && kind == LAYOUT_MODULA)
        err = count_turns(l);
    if (!err)
        *ret = take_ptr(l);
    return err;
}

struct layout *layout_free(struct layout *l)
{
    if (!l)
        return NULL;
    for (size_t i = 0; i < l->count; i++) {
        free(l->members[i].name);
        free(l->members[i].id);
    }
    free(l->members);
    free(l->by_name);
    free(l->points);
    free(l->ends);
    free(l->index);
    free(l->turns);
    free(l);
    return NULL;
}

void layout_freep(struct layout **l)
{
    *l = layout_free(*l);
}

uint64_t layout_slot(const struct layout *l, struct str tag)
{
    if (l->kind == LAYOUT_MAGLEV)
        return key_hash(tag, false);
    uint32_t hash = hash32(l->hash, tag);
    if (l->kind == LAYOUT_MODULA)
        return hash % l->modulus;
    uint32_t slot = l->index[hash >> (32 - INDEX_BITS)];
    while (l->ends[slot] < hash) /* the last end is the last hash */
        slot++;
    return slot;
}

/* ---- owners ---- */

static const uint16_t NOBODY = UINT16_MAX; /* no index: MAGLEV_NODES_MAX is below */

/* The member of that name; NOBODY: there is none. */
static uint16_t find_member(const struct layout *l, struct str name)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *other = l->members[l->by_name[middle]].name;
        int order = strncmp(other, name.p, name.len);
        if (order == 0)
            order = other[name.len] != '\0';
        if (order == 0)
            return l->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NOBODY;
}

/* Fills `of` by member with the index of its node, NOBODY: it is not there; and `to` with the same
 * nodes by their ids. → how many are there. */
static size_t find_members(const struct layout *l, const struct maglev_node *nodes, size_t count,
                           uint16_t *of, struct maglev_node *to)
{
    size_t found = 0;
    for (size_t i = 0; i < l->count; i++)
        of[i] = NOBODY;
    for (size_t i = 0; i < count; i++) {
        uint16_t member = find_member(l, nodes[i].id);
        to[i] = nodes[i];
        if (member == NOBODY)
            continue;
        to[i].id = str_of(l->members[member].id);
        if (nodes[i].weight == 0)
            continue;
        of[member] = (uint16_t)i;
        found++;
    }
    return found;
}

static int by_maglev(const struct maglev_node *nodes, size_t count, uint16_t *owners)
{
    struct maglev *m;
    int err = maglev_new(nodes, count, MAGLEV_SLOTS, &m);
    if (err)
        return err;
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        owners[i] = (uint16_t)maglev_node_of_slot(m, i);
    maglev_free(m);
    return 0;
}

/* From the end: whose is what comes behind a slot? Behind the last point the first one follows. */
static void by_points(const struct layout *l, const uint16_t *of, uint16_t *owners)
{
    uint16_t owner = NOBODY;
    for (size_t i = l->point_count; i-- > 0;)
        if (of[l->points[i].member] != NOBODY)
            owner = of[l->points[i].member];
    must(owner != NOBODY); /* somebody is there, and each member has points: see layout_owners() */
    size_t next = l->point_count;
    for (uint32_t slot = MAGLEV_SLOTS; slot-- > 0;) {
        for (; next > 0 && l->points[next - 1].at >= l->ends[slot]; next--)
            if (of[l->points[next - 1].member] != NOBODY)
                owner = of[l->points[next - 1].member];
        owners[slot] = owner;
    }
}

static bool has_points(const struct layout *l, const uint16_t *of)
{
    for (size_t i = 0; i < l->point_count; i++)
        if (of[l->points[i].member] != NOBODY)
            return true;
    return false;
}

static void by_turns(const struct layout *l, const uint16_t *of, uint16_t *owners)
{
    for (uint32_t slot = 0; slot < MAGLEV_SLOTS; slot++) {
        uint16_t owner = of[l->turns[slot % l->turn_count]];
        if (owner != NOBODY)
            owners[slot] = owner;
    }
}

/* Those that have a member keep their weight. */
static void drop_strangers(const struct layout *l, const struct maglev_node *nodes, size_t count,
                           struct maglev_node *to)
{
    for (size_t i = 0; i < count; i++)
        if (find_member(l, nodes[i].id) == NOBODY)
            to[i].weight = 0;
}

int layout_owners(const struct layout *l, const struct maglev_node *nodes, size_t count,
                  uint16_t *owners)
{
    if (!l)
        return by_maglev(nodes, count, owners);
    struct maglev_node *renamed CLEANUP(freep) = calloc(count + 1, sizeof(*renamed));
    uint16_t *of CLEANUP(freep) = calloc(l->count, sizeof(*of));
    if (!renamed || !of)
        return -ENOMEM;
    size_t found = find_members(l, nodes, count, of, renamed);
    if (l->kind == LAYOUT_KETAMA && has_points(l, of)) {
        by_points(l, of, owners);
        return 0;
    }
    if (l->kind != LAYOUT_MAGLEV && found > 0)
        drop_strangers(l, nodes, count, renamed);
    int err = by_maglev(renamed, count, owners);
    if (!err && l->kind == LAYOUT_MODULA)
        by_turns(l, of, owners);
    return err;
}
