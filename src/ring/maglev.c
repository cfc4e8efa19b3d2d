/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the table. Each node has a permutation of the slots, drawn from its identity; in rounds,
 * in the order of the identities, each node takes the first free slot of its permutation. A node
 * with less weight than the heaviest one sits out rounds.
 *
 * Which rounds a node takes part in is decided in doubles, exactly as Envoy does it: weights are
 * divided by their sum; a node with weight w takes a slot in round r (from 1) if r * w has reached
 * its target, which then grows by the largest weight. Any other arithmetic, however more exact,
 * would put some slots elsewhere.
 */
#include "ring/maglev.h"

#include "base/must.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct maglev {
    uint32_t slots;
    /* The same in bytes, behind node_of_slot, if there are few enough nodes; else NULL. A look-up
     * is one random access, so what counts is how much of the table stays in the cache. */
    uint8_t *narrow;
    uint16_t node_of_slot[];
};

enum { NARROW_NODES_MAX = 256 };

static const uint16_t FREE_SLOT = UINT16_MAX; /* no node's index: MAGLEV_NODES_MAX is below */

/* A node while the table is built. */
struct candidate {
    struct str id;
    uint32_t weight;
    uint16_t node; /* index in the caller's array */
    uint32_t slot; /* where its permutation stands */
    uint32_t skip; /* … and its step, 1 … slots-1 */
    double share;  /* weight / sum of the weights */
    double target;
};

/* A node's next turn. Turns come by round, and within a round by identity. */
struct turn {
    uint64_t round;
    struct candidate *who; /* the candidates are sorted: a lower address is a lower identity */
};

static bool is_prime(uint32_t n)
{
    if (n < 4)
        return n >= 2;
    if (n % 2 == 0)
        return false;
    for (uint64_t d = 3; d * d <= n; d += 2)
        if (n % d == 0)
            return false;
    return true;
}

static int by_id(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    size_t common = a->id.len < b->id.len ? a->id.len : b->id.len;
    int order = common > 0 ? memcmp(a->id.p, b->id.p, common) : 0;
    return order != 0 ? order : (a->id.len > b->id.len) - (a->id.len < b->id.len);
}

/* Fills `all` with the nodes that have weight, by id; returns how many, or -EINVAL for equal ids.
 */
static int sort_candidates(const struct maglev_node *nodes, size_t count, struct candidate *all)
{
    for (size_t i = 0; i < count; i++)
        all[i] =
            (struct candidate){.id = nodes[i].id, .weight = nodes[i].weight, .node = (uint16_t)i};
    qsort(all, count, sizeof(*all), by_id);
    for (size_t i = 1; i < count; i++)
        if (str_eq(all[i - 1].id, all[i].id))
            return -EINVAL;
    int kept = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].weight > 0)
            all[kept++] = all[i];
    return kept;
}

static void start_permutation(struct candidate *c, uint32_t slots)
{
    must(slots > 1); /* a prime */
    c->slot = (uint32_t)(XXH64(c->id.p, c->id.len, 0) % slots);
    c->skip = (uint32_t)(XXH64(c->id.p, c->id.len, 1) % (slots - 1)) + 1;
}

static void take_free_slot(struct maglev *m, struct candidate *c)
{
    while (m->node_of_slot[c->slot] != FREE_SLOT) {
        uint64_t next = (uint64_t)c->slot + c->skip;
        c->slot = (uint32_t)(next < m->slots ? next : next - m->slots);
    }
    m->node_of_slot[c->slot] = c->node;
}

/*
 * The first round from `from` on in which the node takes a slot. Trying round after round would
 * cost rounds × nodes, which a single heavy node drives up to slots × nodes. So the search starts
 * at the quotient: cut to a whole number it is never above the answer, for rounds stay far below
 * 2^52 and its error far below one round. The last word has the comparison itself.
 */
static uint64_t next_round(const struct candidate *c, uint64_t from)
{
    uint64_t round = (uint64_t)(c->target / c->share);
    if (round < from)
        round = from;
    while ((double)round * c->share < c->target)
        round++;
    return round;
}

static bool turn_is_before(const struct turn *a, const struct turn *b)
{
    return a->round < b->round || (a->round == b->round && a->who < b->who);
}

/* The first turn of the heap was put off: moves it down to its place. */
static void heap_sink_first(struct turn *heap, size_t count)
{
    struct turn moved = heap[0];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && turn_is_before(&heap[child + 1], &heap[child]))
            child++;
        if (turn_is_before(&moved, &heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* `heap` has room for `count` turns. */
static void fill(struct maglev *m, struct candidate *all, size_t count, struct turn *heap)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += all[i].weight;
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        all[i].share = (double)all[i].weight / (double)sum;
        largest = all[i].share > largest ? all[i].share : largest;
        start_permutation(&all[i], m->slots);
        /* Targets start at 0, so everyone takes part in the first round: a sorted heap. */
        heap[i] = (struct turn){1, &all[i]};
    }
    for (uint32_t taken = 0; taken < m->slots; taken++) {
        struct candidate *c = heap[0].who;
        take_free_slot(m, c);
        c->target += largest;
        heap[0].round = next_round(c, heap[0].round + 1);
        heap_sink_first(heap, count);
    }
}

/* Without its slots filled. NULL: out of memory. */
static struct maglev *allocate(uint32_t slots, size_t node_count)
{
    bool is_narrow = node_count <= NARROW_NODES_MAX;
    struct maglev *m;
    size_t wide_len = (size_t)slots * sizeof(m->node_of_slot[0]);
    m = malloc(sizeof(*m) + wide_len + (is_narrow ? slots : 0));
    if (!m)
        return NULL;
    m->slots = slots;
    m->narrow = is_narrow ? (uint8_t *)m->node_of_slot + wide_len : NULL;
    return m;
}

static void fill_narrow(struct maglev *m)
{
    for (uint32_t i = 0; m->narrow && i < m->slots; i++)
        m->narrow[i] = (uint8_t)m->node_of_slot[i];
}

int maglev_new(const struct maglev_node *nodes, size_t count, uint32_t slots,
               struct maglev **ret_table)
{
    if (count == 0 || count > MAGLEV_NODES_MAX || !is_prime(slots))
        return -EINVAL;
    struct candidate *all CLEANUP(freep) = calloc(count, sizeof(*all));
    struct turn *heap CLEANUP(freep) = calloc(count, sizeof(*heap));
    if (!all || !heap)
        return -ENOMEM;
    int kept = sort_candidates(nodes, count, all);
    if (kept <= 0)
        return -EINVAL;
    struct maglev *m = allocate(slots, count);
    if (!m)
        return -ENOMEM;
    for (uint32_t i = 0; i < slots; i++)
        m->node_of_slot[i] = FREE_SLOT;
    fill(m, all, (size_t)kept, heap);
    fill_narrow(m);
    *ret_table = m;
    return 0;
}

int maglev_of_owners(const uint16_t *owners, size_t count, struct maglev **ret_table)
{
    struct maglev *m = allocate(MAGLEV_SLOTS, count);
    if (!m)
        return -ENOMEM;
    memcpy(m->node_of_slot, owners, MAGLEV_SLOTS * sizeof(m->node_of_slot[0]));
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        must(owners[i] < count);
    fill_narrow(m);
    *ret_table = m;
    return 0;
}

struct maglev *maglev_free(struct maglev *m)
{
    free(m);
    return NULL;
}

/* By a constant the compiler divides with a multiplication, several times as fast. */
static inline uint32_t slot_of(const struct maglev *m, uint64_t key_hash)
{
    return (uint32_t)(m->slots == MAGLEV_SLOTS ? key_hash % MAGLEV_SLOTS : key_hash % m->slots);
}

uint32_t maglev_lookup(const struct maglev *m, uint64_t key_hash)
{
    uint32_t slot = slot_of(m, key_hash);
    return m->narrow ? m->narrow[slot] : m->node_of_slot[slot];
}

void maglev_prefetch(const struct maglev *m, uint64_t key_hash)
{
    uint32_t slot = slot_of(m, key_hash);
    if (m->narrow)
        __builtin_prefetch(&m->narrow[slot]);
    else
        __builtin_prefetch(&m->node_of_slot[slot]);
}

uint32_t maglev_slots(const struct maglev *m)
{
    return m->slots;
}

uint32_t maglev_node_of_slot(const struct maglev *m, uint32_t slot)
{
    must(slot < m->slots);
    return m->node_of_slot[slot];
}
