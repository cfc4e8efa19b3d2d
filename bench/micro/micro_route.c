/* SPDX-License-Identifier: Apache-2.0 */
/* From a key to its node; and, as a sum, from the bytes of a GET to its node. */
#include "micro.h"

#include "base/must.h"
#include "resp/args.h"
#include "resp/command.h"
#include "resp/frame.h"
#include "ring/key_hash.h"
#include "ring/maglev.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES = 3, PREFETCH_AHEAD = 16 };

static const struct frame_limits LIMITS = {
    .bulk_max = 512 * 1024 * 1024,
    .elements_max = 1000000,
    .depth_max = 128,
    .line_max = FRAME_LINE_MAX,
};

struct shape {
    size_t key_len; /* bytes */
    bool has_tag;   /* the first half of the key is a hash tag, with its braces */
};

struct routes {
    struct micro_text keys; /* one behind the other, each `key_len` bytes */
    size_t key_len;
    struct micro_text requests;
    size_t request_len; /* each has the same */
    struct args args;
    struct command_keys_found found;
    struct maglev *ring;
    uint64_t hash[MICRO_VARIANTS];
    uint64_t seen; /* sum of all results, so that none is superfluous */
};

static struct str key_at(const struct routes *s, uint64_t i)
{
    return (struct str){s->keys.bytes + (i % MICRO_VARIANTS) * s->key_len, s->key_len};
}

static void keys_make(struct routes *s, const struct shape *shape)
{
    uint64_t random_state = 2;
    s->key_len = shape->key_len;
    for (unsigned i = 0; i < MICRO_VARIANTS; i++) {
        for (size_t at = 0; at < s->key_len; at++) {
            char letter = (char)('a' + micro_random(&random_state) % 26);
            if (shape->has_tag && at == 0)
                letter = '{';
            if (shape->has_tag && at == s->key_len / 2)
                letter = '}';
            micro_text_add(&s->keys, &letter, 1);
        }
        s->hash[i] = key_hash(key_at(s, i), true);
    }
}

static void *routes_make(const struct micro_case *c)
{
    struct routes *s = micro_alloc(sizeof(*s));
    struct maglev_node nodes[NODES];
    char names[NODES][32];

    keys_make(s, c->shape);
    for (unsigned i = 0; i < MICRO_VARIANTS; i++) {
        struct str key = key_at(s, i);
        micro_text_format(&s->requests, "*2\r\n$3\r\nGET\r\n$%zu\r\n", key.len);
        micro_text_add(&s->requests, key.p, key.len);
        micro_text_add(&s->requests, "\r\n", 2);
    }
    s->request_len = s->requests.len / MICRO_VARIANTS;
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof(names[i]), "10.0.0.%u:6379", i + 1);
        nodes[i] = (struct maglev_node){.id = str_of(names[i]), .weight = 1};
    }
    must(maglev_new(nodes, NODES, MAGLEV_SLOTS, &s->ring) == 0);
    args_init(&s->args);
    return s;
}

static void routes_end(void *state)
{
    struct routes *s = state;
    must(s->seen != UINT64_MAX);
    maglev_free(s->ring);
    args_fini(&s->args);
    command_keys_fini(&s->found);
    free(s->keys.bytes);
    free(s->requests.bytes);
    free(s);
}

static void hash_run(void *state, uint64_t rounds)
{
    struct routes *s = state;
    for (uint64_t r = 0; r < rounds; r++)
        must(key_hash(key_at(s, r), true) == s->hash[r % MICRO_VARIANTS]);
}

static void ring_run(void *state, uint64_t rounds)
{
    struct routes *s = state;
    uint64_t seen = 0;
    for (uint64_t r = 0; r < rounds; r++)
        seen += maglev_lookup(s->ring, s->hash[r % MICRO_VARIANTS]);
    s->seen += seen;
}

/* Each look-up waits for the one before it: so it shows how long one takes, not how many the CPU
 * has under way at a time. */
static void ring_chain_run(void *state, uint64_t rounds)
{
    struct routes *s = state;
    uint64_t last = 0;
    for (uint64_t r = 0; r < rounds; r++)
        last = maglev_lookup(s->ring, s->hash[(r + last) % MICRO_VARIANTS]);
    s->seen += last;
}

static void ring_prefetch_run(void *state, uint64_t rounds)
{
    struct routes *s = state;
    uint64_t last = 0;
    for (uint64_t r = 0; r < rounds; r += PREFETCH_AHEAD) {
        for (uint64_t i = r; i < r + PREFETCH_AHEAD; i++)
            maglev_prefetch(s->ring, s->hash[i % MICRO_VARIANTS]);
        for (uint64_t i = r; i < r + PREFETCH_AHEAD; i++)
            last = maglev_lookup(s->ring, s->hash[(i + last / NODES) % MICRO_VARIANTS]);
    }
    s->seen += last;
}

static void route_run(void *state, uint64_t rounds)
{
    struct routes *s = state;
    uint64_t seen = 0;
    for (uint64_t r = 0; r < rounds; r++) {
        uint64_t i = r % MICRO_VARIANTS;
        const char *refusal = NULL;
        size_t at = i * s->request_len;
        size_t len = args_try(&s->args, s->requests.bytes + at, s->requests.len - at, &LIMITS);
        must(len == s->request_len);
        const struct command *c = command_find(&s->args);
        must(c && command_arity_ok(c, s->args.count));
        must(command_find_keys(c, &s->args, &s->found, &refusal) == 0 && s->found.count == 1);
        uint64_t hash = key_hash(args_str(&s->args, s->found.index[0]), true);
        must(hash == s->hash[i]);
        seen += maglev_lookup(s->ring, hash);
    }
    s->seen += seen;
}

static const struct shape KEY_8 = {.key_len = 8};
static const struct shape KEY_24 = {.key_len = 24};
static const struct shape KEY_100 = {.key_len = 100};
static const struct shape KEY_TAG = {.key_len = 24, .has_tag = true};

#define CASE(name_, run_, shape_, what_)                                                           \
    {                                                                                              \
        .name = (name_), .what = (what_), .shape = &(shape_), .ops = 1, .make = routes_make,       \
        .run = (run_), .end = routes_end                                                           \
    }
#define COLD_CASE(name_, run_, shape_, what_)                                                      \
    {                                                                                              \
        .name = (name_), .what = (what_), .shape = &(shape_), .ops = 1, .is_cold = true,           \
        .make = routes_make, .run = (run_), .end = routes_end                                      \
    }

const struct micro_case MICRO_ROUTE_CASES[] = {
    CASE("hash-8", hash_run, KEY_8, "key_hash: 8 B"),
    CASE("hash-24", hash_run, KEY_24, "key_hash: 24 B"),
    CASE("hash-100", hash_run, KEY_100, "key_hash: 100 B"),
    CASE("hash-tag", hash_run, KEY_TAG, "key_hash: 24 B with a hash tag of 11 B"),
    CASE("ring-warm", ring_run, KEY_24, "maglev_lookup, many under way at a time"),
    CASE("ring-chain", ring_chain_run, KEY_24, "maglev_lookup, each after the one before"),
    COLD_CASE("ring-cold", ring_chain_run, KEY_24, "the same, not in any cache"),
    COLD_CASE("ring-cold-prefetch", ring_prefetch_run, KEY_24,
              "the same, 16 at a time with maglev_prefetch before"),
    CASE("route-get", route_run, KEY_24, "from the bytes of a GET to its node: all of the above"),
    COLD_CASE("route-get-cold", route_run, KEY_24, "the same, code and data not in any cache"),
    {0},
};
