/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command is: one table (command_table.h), one look-up, one way to find its keys.
 * The table's facts (name, arity, key positions, tips) are redis-server 7.0's own.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "resp/args.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What we do with it. */
enum command_way {
    COMMAND_FORWARD,   /* to the node that has its keys; all keys must be there */
    COMMAND_SPLIT,     /* per node: MGET MSET DEL UNLINK EXISTS TOUCH */
    COMMAND_ALL_NODES, /* made of what all nodes answer, or one after the other: all_nodes.h */
    COMMAND_TAGS,      /* of values with tags: proxy/tags.h */
    COMMAND_LOCAL,     /* answered by the proxy from memory */
    COMMAND_SESSION,   /* about what its client is in the middle of: MULTI EXEC WATCH … */
    COMMAND_PUBSUB,    /* publish and subscribe: proxy/subscriber.h */
    COMMAND_REFUSE,    /* never sent on; the row says why */
};

/* Where the keys are. */
enum command_keys {
    KEYS_NONE,
    KEYS_RANGE,     /* first, last (negative: from the end), step */
    KEYS_NUM,       /* a count at argument 1, the keys behind it: ZUNION, LMPOP, … */
    KEYS_NUM_PAIRS, /* the same, a value behind each key: MSETEX */
    KEYS_NUM_AT_2,  /* the same with the count at argument 2: EVAL, FCALL, BLMPOP, … */
    KEYS_NUM_STORE, /* KEYS_NUM_AT_2, and the destination is argument 1: ZUNIONSTORE, … */
    KEYS_SORT,      /* argument 1, and the one after STORE; BY and GET patterns are pinned */
    KEYS_GEORADIUS, /* argument 1, and the one after STORE or STOREDIST */
    KEYS_STREAMS,   /* the first half of what follows STREAMS: XREAD, XREADGROUP */
    KEYS_MIGRATE,   /* argument 3, or what follows KEYS */
    KEYS_COPY,      /* arguments 1 and 2 */
    KEYS_MOVE,      /* argument 1; as of COPY, a database may be named behind it */
};

/* What stands for an answer when the node of a read has failed and on_failure.reads is `miss`. */
enum command_miss {
    MISS_NEVER,     /* the error is told: writes, and whatever decides something */
    MISS_NIL,       /* `$-1`; RESP3 `_`. MGET: this for each of its keys */
    MISS_RANK,      /* the same; `*-1` if WITHSCORE was asked for: ZRANK */
    MISS_ZERO,      /* `:0` */
    MISS_MINUS_TWO, /* `:-2`   (no such key: TTL, PTTL, EXPIRETIME) */
    MISS_EMPTY,     /* `$0`    (GETRANGE, SUBSTR) */
    MISS_ARRAY,     /* `*0` */
    MISS_SET,       /* `*0`; RESP3 `~0` */
    MISS_MAP,       /* `*0`; RESP3 `%0` */
    MISS_NIL_ARRAY, /* `*-1`; RESP3 `_` */
    MISS_NIL_EACH,  /* an array of nils, one per argument from index 2 on: HMGET, ZMSCORE */
    MISS_NILS_EACH, /* the same of nil arrays (`*-1`): GEOPOS */
    MISS_ZERO_EACH, /* the same of `:0`: SMISMEMBER */
    MISS_GONE_EACH, /* an array of `:-2`, one per argument from index 4 on: HTTL */
    MISS_NONE_TYPE, /* `+none`: TYPE */
    MISS_SCAN,      /* cursor "0" and an empty array: HSCAN, SSCAN, ZSCAN */
};

enum {
    COMMAND_WRITE = 1 << 0, /* Redis's flag `write` */
    COMMAND_READ = 1 << 1,  /* Redis's flag `readonly` */
    COMMAND_BLOCKS = 1 << 2,
    COMMAND_CONTAINER = 1 << 3,     /* OBJECT, XGROUP, …: argument 1 names the subcommand */
    COMMAND_SUBCOMMAND = 1 << 4,    /* its name has a '|' in it */
    COMMAND_KEYS_OPTIONAL = 1 << 5, /* Redis's `no_mandatory_keys`: EVAL and FCALL */
};

/* Whether a client may use it at all; see command_gate_table.h. */
enum command_gate { GATE_OPEN, GATE_ALLOW, GATE_NEVER };

/* Redis's command tips (redis.io/docs/reference/command-tips), as in COMMAND INFO. */
enum command_request_policy {
    REQUEST_DEFAULT,
    REQUEST_ALL_NODES,
    REQUEST_ALL_SHARDS,
    REQUEST_MULTI_SHARD,
    REQUEST_SPECIAL,
};
enum command_response_policy {
    RESPONSE_DEFAULT,
    RESPONSE_ONE_SUCCEEDED,
    RESPONSE_ALL_SUCCEEDED,
    RESPONSE_AGG_LOGICAL_AND,
    RESPONSE_AGG_LOGICAL_OR,
    RESPONSE_AGG_MIN,
    RESPONSE_AGG_MAX,
    RESPONSE_AGG_SUM,
    RESPONSE_SPECIAL,
};

struct command {
    const char *name;         /* lower case; a subcommand is "object|encoding" */
    uint16_t id;              /* its place in the table: enum command_id */
    int8_t arity;             /* as in Redis: negative means at least; counts the name */
    uint8_t way;              /* enum command_way */
    uint8_t keys;             /* enum command_keys */
    int8_t first, last, step; /* as in COMMAND INFO; only with KEYS_RANGE they say it all */
    uint8_t miss;             /* enum command_miss */
    uint8_t flags;
    uint8_t request_policy, response_policy;
    const char *refusal; /* COMMAND_REFUSE: what follows "-ERR sumcache: 'name' "; else NULL */
};

/* One name per row that other files speak of: COMMAND_ID_GET, COMMAND_ID_CONFIG_GET, … */
#include "resp/command_id.h"

size_t command_count(void);                     /* rows, subcommands included */
const struct command *command_at(size_t index); /* must be below command_count() */

/* By the name in argument 0, any case; for a container, by argument 1 too. NULL: not in the table.
 * For an unknown subcommand of a known container the container's row. a->count must be > 0. */
const struct command *command_find(struct args *a);

/* The subcommand of `container` that argument 1 names; `container` if it has no such. */
const struct command *command_find_sub(const struct command *container, const struct args *a);

/* The same by name alone ("get", "config|get"). NULL: not in the table. */
const struct command *command_find_name(struct str name);

/* Does it overwrite or remove its keys, whatever is there, and tell nothing of what was? Its
 * arguments are looked at; its arity must be right. */
bool command_is_blind(const struct command *c, struct args *a);

enum command_gate command_gate(const struct command *c);

/* May a node let it wait (BLPOP, XREAD with BLOCK)? *ret_ns: for so long; NSEC_NEVER: for ever; 0:
 * its time makes no sense, so the node will answer at once. The arity of one that has
 * COMMAND_BLOCKS must be right. */
bool command_may_block(const struct command *c, struct args *a, uint64_t *ret_ns);

static inline bool command_arity_ok(const struct command *c, size_t arg_count)
{
    return c->arity >= 0 ? arg_count == (size_t)c->arity : arg_count >= (size_t)-c->arity;
}

struct command_keys_found {
    size_t *index; /* argument indexes, in order; owned, kept for the next call */
    size_t count;
    /* Behind these keys so many arguments that name further ones by a pattern with a hash tag (SORT
     * BY and GET): all those keys are where a key with the text of the pattern would be. */
    size_t pinned;
    size_t room;
};
void command_keys_fini(struct command_keys_found *k);

/*
 * Finds the keys of a request whose arity is right. 0 with k->count keys (0: it has none),
 * -EINVAL: its arguments make no sense, and the node will say why in its own words: send it to any;
 * -ENOTSUP: a form we refuse (SORT BY a pattern without a hash tag):
 * *ret_refusal is the whole error text without "-ERR ", a constant. The keys are in `k` all the
 * same, for COMMAND GETKEYS. -ENOMEM. Nothing is said about k->count after -EINVAL and -ENOMEM.
 */
int command_find_keys(const struct command *c, struct args *a, struct command_keys_found *k,
                      const char **ret_refusal) MUST_CHECK;
