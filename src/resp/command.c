/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table, its look-up and the finding of keys.
 *
 * The invariant: whatever command_find_keys() calls malformed (-EINVAL) redis-server refuses too,
 * without touching a key. So its parsing follows the commands' own, down to the NUL byte that ends
 * an option word there. Pure functions over constant tables: any thread.
 */
#include "resp/command.h"

#include "base/must.h"
#include "base/nsec.h"
#include "resp/command_slots.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX_LEN = 31, /* the longest name, with room: see struct padded */
    WORD_MAX = 15,     /* the longest option word (STOREDIST), with room */
    NUMBER_MAX = 20,   /* characters of INT64_MIN */
    SECONDS_MAX = 64,  /* characters of a time-out that makes sense */

    KEYS_ROOM_LEAST = 16,
    KEYS_ROOM_KEPT = 1024, /* 8 KiB: more keys than a usual MGET has */
};

/* Kept out of the short path, which then has no frame and no stack protector to pay for. */
#define SLOW_PATH __attribute__((noinline))

/* Why a command is refused; reads on from "-ERR sumcache: 'name' ". That of a container is for
 * callers who do not give the server's own answer to an unknown subcommand. */
#define REASON_NONE      NULL
#define REASON_CONTAINER "has no such subcommand"
#define REASON_HELP      "is not offered by a proxy"
#define REASON_BLOCKS    "blocks, and is not about keys of one node"
#define REASON_STATE     "changes a connection's state, and the connections to the nodes are shared"
#define REASON_PUSHES    "needs messages pushed by the nodes, which are not offered"
#define REASON_CLIENTS   "concerns other clients, which one client may not touch"
#define REASON_ALL_NODES "concerns all nodes, and a request goes to one"
#define REASON_DATABASES                                                                           \
    "would swap databases under other clients, and a node that is out would not do it"
#define REASON_OPERATOR "is for the operator of a single node; connect to that node"
#define REASON_CLUSTER  "is for Redis Cluster, and clients see a single Redis here"

#define SORT_REFUSAL(option)                                                                       \
    option " option of SORT denied in Cluster mode when keys formed by the pattern may be in "     \
           "different slots."

enum {
    FLAGS_NONE = 0,
    FLAGS_READ = COMMAND_READ,
    FLAGS_WRITE = COMMAND_WRITE,
    FLAGS_BLOCKS = COMMAND_BLOCKS,
    FLAGS_READ_BLOCKS = COMMAND_READ | COMMAND_BLOCKS,
    FLAGS_WRITE_BLOCKS = COMMAND_WRITE | COMMAND_BLOCKS,
    FLAGS_OPTIONAL = COMMAND_KEYS_OPTIONAL,
    FLAGS_READ_OPTIONAL = COMMAND_READ | COMMAND_KEYS_OPTIONAL,
    FLAGS_CONTAINER = COMMAND_CONTAINER,
    FLAGS_SUB = COMMAND_SUBCOMMAND,
    FLAGS_READ_SUB = COMMAND_READ | COMMAND_SUBCOMMAND,
    FLAGS_WRITE_SUB = COMMAND_WRITE | COMMAND_SUBCOMMAND,
};

static const struct command COMMANDS[] = {
#define COMMAND_ROW(ID, NAME, ARITY, WAY, KEYS, FIRST, LAST, STEP, MISS, FLAGS, REQUEST, RESPONSE, \
                    REASON)                                                                        \
    {                                                                                              \
        .name = (NAME),                                                                            \
        .id = COMMAND_ID_##ID,                                                                     \
        .arity = (ARITY),                                                                          \
        .way = COMMAND_##WAY,                                                                      \
        .keys = KEYS_##KEYS,                                                                       \
        .first = (FIRST),                                                                          \
        .last = (LAST),                                                                            \
        .step = (STEP),                                                                            \
        .miss = MISS_##MISS,                                                                       \
        .flags = FLAGS_##FLAGS,                                                                    \
        .request_policy = REQUEST_##REQUEST,                                                       \
        .response_policy = RESPONSE_##RESPONSE,                                                    \
        .refusal = REASON_##REASON,                                                                \
    },
#include "resp/command_table.h"
#undef COMMAND_ROW
};

/* Names once more in a form that is compared eight bytes at a time. */
union padded {
    char bytes[NAME_MAX_LEN + 1];
    uint64_t words[(NAME_MAX_LEN + 1) / 8];
};

static const union padded NAMES[] = {
#define COMMAND_ROW(ID, NAME, ...) {.bytes = NAME},
#include "resp/command_table.h"
#undef COMMAND_ROW
};

static const uint8_t GATES[COMMAND_ID_COUNT] = {
#define COMMAND_GATE(ID, GATE) [COMMAND_ID_##ID] = GATE_##GATE,
#include "resp/command_gate_table.h"
#undef COMMAND_GATE
};

size_t command_count(void)
{
    return COMMAND_ID_COUNT;
}

const struct command *command_at(size_t index)
{
    must(index < COMMAND_ID_COUNT);
    return &COMMANDS[index];
}

enum command_gate command_gate(const struct command *c)
{
    return c->id < COMMAND_ID_COUNT ? GATES[c->id] : GATE_OPEN;
}

/* Up to eight bytes as one number, lowest address lowest, without reading past them. */
static inline uint64_t load_tail(const char *p, size_t len)
{
    uint64_t whole;
    uint32_t low, high;
    uint16_t low16, high16;
    if (len >= 8) {
        memcpy(&whole, p, 8);
        return le64toh(whole);
    }
    if (len >= 4) {
        /* The two halves overlap in bytes that are equal in both. */
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        return le32toh(low) | (uint64_t)le32toh(high) << (len - 4) * 8;
    }
    if (len >= 2) {
        memcpy(&low16, p, 2);
        memcpy(&high16, p + len - 2, 2);
        return le16toh(low16) | (uint64_t)le16toh(high16) << (len - 2) * 8;
    }
    return len > 0 ? (uint8_t)p[0] : 0;
}

/* Eight ASCII characters to lower case at once; bytes above 127 stay as they are. */
static inline uint64_t lower8(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low7 = w & ones * 0x7f;
    uint64_t from_a = low7 + ones * (0x80 - 'A');
    uint64_t past_z = low7 + ones * (0x7f - 'Z');
    uint64_t upper = (from_a ^ past_z) & ~w & ones * 0x80;
    return w | upper >> 2;
}

static inline size_t next_slot(size_t slot)
{
    return (slot + 1) & ((1 << SLOT_BITS) - 1);
}

/* Names of 1 to 8 bytes: nearly all that is asked, so one word and nothing on the stack. */
static inline const struct command *find_short(struct str name)
{
    uint64_t word = lower8(load_tail(name.p, name.len));
    size_t slot = word * SLOT_FACTORS[0] >> (64 - SLOT_BITS);
    for (size_t found; (found = SLOTS[slot]) != 0; slot = next_slot(slot)) {
        const union padded *row = &NAMES[found - 1];
        /* No name has a NUL inside, so a NUL in place of the last byte means another length. */
        if (le64toh(row->words[0]) == word && row->words[1] == 0)
            return row->bytes[name.len - 1] != '\0' ? &COMMANDS[found - 1] : NULL;
    }
    return NULL;
}

static SLOW_PATH const struct command *find_long(struct str name)
{
    uint64_t words[4] = {0};
    uint64_t sum = 0;
    for (size_t i = 0; i * 8 < name.len; i++) {
        words[i] = lower8(load_tail(name.p + i * 8, name.len - i * 8));
        sum += words[i] * (i > 0 ? SLOT_FACTORS[i] : 1);
    }
    size_t slot = sum * SLOT_FACTORS[0] >> (64 - SLOT_BITS);
    for (size_t found; (found = SLOTS[slot]) != 0; slot = next_slot(slot)) {
        const union padded *row = &NAMES[found - 1];
        uint64_t difference = 0;
        for (size_t i = 0; i < 4; i++)
            difference |= le64toh(row->words[i]) ^ words[i];
        if (difference == 0)
            return row->bytes[name.len - 1] != '\0' ? &COMMANDS[found - 1] : NULL;
    }
    return NULL;
}

const struct command *command_find_name(struct str name)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return NULL;
    return name.len <= 8 ? find_short(name) : find_long(name);
}

static inline bool is_in_one_piece(const struct args *a, size_t index)
{
    return a->v[index].at + a->v[index].len <= a->iov[a->v[index].piece].iov_len;
}

static inline struct str in_one_piece(const struct args *a, size_t index)
{
    const struct arg *v = &a->v[index];
    return (struct str){(const char *)a->iov[v->piece].iov_base + v->at, v->len};
}

/* For a name that lies in several pieces. Asks for no memory, so that this cannot fail. */
static SLOW_PATH const struct command *find_scattered(const struct args *a)
{
    /* One byte more than a name may have: what is longer is cut off, and still too long. */
    char room[NAME_MAX_LEN + 1];
    size_t len = args_copy_head(a, 0, room, sizeof(room));
    return command_find_name((struct str){room, len});
}

SLOW_PATH const struct command *command_find_sub(const struct command *container,
                                                 const struct args *a)
{
    if ((container->flags & COMMAND_CONTAINER) == 0 || a->count < 2)
        return container;
    char name[NAME_MAX_LEN + 1];
    size_t len = strlen(container->name);
    memcpy(name, container->name, len);
    name[len++] = '|';
    len += args_copy_head(a, 1, name + len, sizeof(name) - len);
    const struct command *c = command_find_name((struct str){name, len});
    return c != NULL ? c : container;
}

const struct command *command_find(struct args *a)
{
    const struct command *c;
    if (is_in_one_piece(a, 0))
        c = command_find_name(in_one_piece(a, 0));
    else
        c = find_scattered(a);
    if (c == NULL || (c->flags & (COMMAND_CONTAINER | COMMAND_SUBCOMMAND)) == 0)
        return c;
    if (c->flags & COMMAND_SUBCOMMAND)
        return NULL; /* "config|get" in one argument is no command */
    return command_find_sub(c, a);
}

bool command_is_blind(const struct command *c, struct args *a)
{
    static const char *const LOOKS[] = {"nx",   "xx",   "get",   "keepttl",
                                        "ifeq", "ifne", "ifdeq", "ifdne"};
    switch (c->id) {
    case COMMAND_ID_SETEX:
    case COMMAND_ID_PSETEX:
    case COMMAND_ID_MSET:
    case COMMAND_ID_DEL:
    case COMMAND_ID_UNLINK:
        return true;
    case COMMAND_ID_SET:
        for (size_t i = 3; i < a->count; i++)
            for (size_t k = 0; k < sizeof(LOOKS) / sizeof(LOOKS[0]); k++)
                if (str_eq_nocase(args_str(a, i), str_of(LOOKS[k])))
                    return false;
        return true;
    default:
        return false;
    }
}

void command_keys_fini(struct command_keys_found *k)
{
    free(k->index);
    *k = (struct command_keys_found){0};
}

/* Room for `count`; what a request with very many keys took before is given back. */
static int make_room(struct command_keys_found *k, size_t count)
{
    if (count <= k->room && (k->room <= KEYS_ROOM_KEPT || count > KEYS_ROOM_KEPT))
        return 0;
    size_t room = KEYS_ROOM_LEAST;
    while (room < count)
        room *= 2;
    size_t *index = reallocarray(k->index, room, sizeof(*index));
    if (index == NULL)
        return count <= k->room ? 0 : -ENOMEM;
    k->index = index;
    k->room = room;
    return 0;
}

/* Takes the arguments first, first + step, … up to and with `last` as keys. */
static int take_run(struct command_keys_found *k, size_t first, size_t last, size_t step)
{
    k->count = 0;
    if (first > last)
        return 0;
    int err = make_room(k, (last - first) / step + 1);
    if (err != 0)
        return err;
    for (size_t i = first; i <= last; i += step)
        k->index[k->count++] = i;
    return 0;
}

static int take_pair(struct command_keys_found *k, size_t a, size_t b)
{
    int err = make_room(k, 2);
    if (err != 0)
        return err;
    k->index[0] = a;
    k->index[1] = b;
    k->count = b != 0 ? 2 : 1; /* 0 is the command's name: there is no second key */
    return 0;
}

/* Whether an argument is this word (lower case) to redis-server, which compares C strings: in any
 * case, and only up to a NUL byte. */
static bool word_is(const struct args *a, size_t index, const char *word)
{
    char room[WORD_MAX + 1];
    size_t len = args_copy_head(a, index, room, sizeof(room));
    struct str is = {room, strnlen(room, len)};
    return str_eq_nocase(is, str_of(word));
}

static int number(const struct args *a, size_t index, int64_t *ret)
{
    char room[NUMBER_MAX + 1];
    size_t len = args_copy_head(a, index, room, sizeof(room));
    return str_to_i64((struct str){room, len}, ret);
}

/* The count at argument `at`: 1 (0 if the command may have no keys) up to what follows it. */
static int key_number(const struct command *c, const struct args *a, size_t at, size_t *ret)
{
    int64_t n;
    int64_t min = c->flags & COMMAND_KEYS_OPTIONAL ? 0 : 1;
    if (number(a, at, &n) != 0 || n < min || (uint64_t)n > a->count - at - 1)
        return -EINVAL;
    *ret = (size_t)n;
    return 0;
}

static int keys_range(const struct command *c, const struct args *a, struct command_keys_found *k)
{
    size_t first = (size_t)c->first, step = (size_t)c->step;
    if (c->last >= 0)
        return take_run(k, first, (size_t)c->last, step);
    size_t cut = (size_t)-c->last - 1; /* arguments behind the keys */
    if (a->count <= first + cut)
        return take_run(k, 1, 0, 1);
    if ((a->count - cut - first) % step != 0)
        return -EINVAL; /* MSET with a key but no value for it */
    return take_run(k, first, a->count - cut - 1, step);
}

static int keys_num(const struct command *c, const struct args *a, size_t at,
                    struct command_keys_found *k)
{
    size_t n;
    int err = key_number(c, a, at, &n);
    return err != 0 ? err : take_run(k, at + 1, at + n, 1);
}

/* The count is of pairs. */
static int keys_num_pairs(const struct args *a, struct command_keys_found *k)
{
    int64_t n;
    if (number(a, 1, &n) != 0 || n < 1 || (uint64_t)n > (a->count - 2) / 2)
        return -EINVAL;
    return take_run(k, 2, 2 * (size_t)n, 2);
}

static int keys_num_store(const struct command *c, const struct args *a,
                          struct command_keys_found *k)
{
    size_t n;
    int err = key_number(c, a, 2, &n);
    if (err == 0)
        err = make_room(k, n + 1);
    if (err != 0)
        return err;
    k->index[0] = 1;
    for (size_t i = 1; i <= n; i++)
        k->index[i] = 2 + i;
    k->count = n + 1;
    return 0;
}

enum pattern { PATTERN_NAMES_NONE, PATTERN_PINNED, PATTERN_ANYWHERE };

/* What keys a BY or GET pattern names: its first '*' becomes an element of the list. Without one
 * there are none (GET then gives nil, and BY does not sort); with a hash tag before it all are in
 * one place; else they are anywhere. -ENOMEM. */
static int sort_pattern(struct args *a, size_t index, enum pattern *ret)
{
    struct str pattern = args_str(a, index);
    if (pattern.p == NULL && pattern.len > 0)
        return -ENOMEM;
    size_t len = pattern.len > 0 ? strnlen(pattern.p, pattern.len) : 0;
    const char *star = len > 0 ? memchr(pattern.p, '*', len) : NULL;
    *ret = PATTERN_NAMES_NONE;
    if (star == NULL)
        return 0;
    size_t before = (size_t)(star - pattern.p);
    const char *open = memchr(pattern.p, '{', before);
    const char *close = open != NULL ? memchr(open, '}', (size_t)(star - open)) : NULL;
    /* The tag must not be empty. A NUL would end the pattern there, but not its hash. */
    bool pinned = close != NULL && close > open + 1 && len == pattern.len;
    *ret = pinned ? PATTERN_PINNED : PATTERN_ANYWHERE;
    return 0;
}

static int pin(struct command_keys_found *k, size_t index)
{
    /* Two places are left for the keys, which are known last. */
    int err = make_room(k, k->pinned + 3);
    if (err == 0)
        k->index[2 + k->pinned++] = index;
    return err;
}

/* One option of SORT at *at, which is left at its last word. -EINVAL: it is none. */
static int sort_option(const struct command *c, struct args *a, size_t *at, size_t *ret_store,
                       struct command_keys_found *k, const char **ret_refusal)
{
    size_t i = *at, left = a->count - i - 1;
    bool is_by = word_is(a, i, "by");
    if (word_is(a, i, "asc") || word_is(a, i, "desc") || word_is(a, i, "alpha"))
        return 0;
    if (word_is(a, i, "limit") && left >= 2) {
        *at += 2;
        return 0;
    }
    if (c->id == COMMAND_ID_SORT && word_is(a, i, "store") && left >= 1) {
        *ret_store = ++*at; /* of several the last one counts */
        return 0;
    }
    if ((!is_by && !word_is(a, i, "get")) || left < 1)
        return -EINVAL;
    enum pattern pattern;
    int err = sort_pattern(a, ++*at, &pattern);
    if (err != 0)
        return err;
    if (pattern == PATTERN_PINNED)
        return pin(k, *at);
    if (pattern == PATTERN_ANYWHERE && *ret_refusal == NULL)
        *ret_refusal = is_by ? SORT_REFUSAL("BY") : SORT_REFUSAL("GET");
    return 0;
}

static int keys_sort(const struct command *c, struct args *a, struct command_keys_found *k,
                     const char **ret_refusal)
{
    size_t store = 0;
    const char *refusal = NULL;
    k->count = 0;
    for (size_t i = 2; i < a->count; i++) {
        int err = sort_option(c, a, &i, &store, k, &refusal);
        if (err == -ENOMEM || (err != 0 && refusal == NULL))
            return err;
    }
    int err = make_room(k, k->pinned + 2);
    if (err != 0)
        return err;
    k->count = store != 0 ? 2 : 1;
    k->index[0] = 1;
    if (store != 0)
        k->index[1] = store;
    else
        memmove(k->index + 1, k->index + 2, k->pinned * sizeof(*k->index));
    if (refusal == NULL)
        return 0;
    *ret_refusal = refusal;
    return -ENOTSUP;
}

static int keys_georadius(const struct args *a, struct command_keys_found *k)
{
    size_t store = 0;
    /* Of GEORADIUS 5 is the unit, which is none of these words if it is a unit. */
    for (size_t i = 5; i + 1 < a->count; i++)
        if (word_is(a, i, "store") || word_is(a, i, "storedist"))
            store = ++i; /* of several the last one counts */
    return take_pair(k, 1, store);
}

/* Where the keys of XREAD and XREADGROUP begin, and the argument of BLOCK: left alone if there is
 * none; of several the last one counts. */
static int find_streams(const struct command *c, const struct args *a, size_t *ret_first,
                        size_t *ret_block)
{
    bool is_group = c->id == COMMAND_ID_XREADGROUP;
    for (size_t i = 1; i < a->count; i++) {
        size_t left = a->count - i - 1;
        if (word_is(a, i, "block") && left >= 1) {
            *ret_block = ++i;
        } else if (word_is(a, i, "count") && left >= 1) {
            i++;
        } else if (is_group && word_is(a, i, "claim") && left >= 1) {
            i++; /* since Redis 8.4 */
        } else if (is_group && word_is(a, i, "group") && left >= 2) {
            i += 2;
        } else if (word_is(a, i, "streams") && left >= 1) {
            *ret_first = i + 1;
            return left % 2 == 0 ? 0 : -EINVAL;
        } else if (!is_group || !word_is(a, i, "noack")) {
            return -EINVAL;
        }
    }
    return -EINVAL;
}

static int keys_streams(const struct command *c, const struct args *a, struct command_keys_found *k)
{
    size_t first = 0, block = 0;
    int err = find_streams(c, a, &first, &block);
    return err != 0 ? err : take_run(k, first, first + (a->count - first) / 2 - 1, 1);
}

/* As redis-server reads the time-outs of lists and sorted sets: a decimal number of seconds. */
static uint64_t seconds(const struct args *a, size_t index)
{
    char text[SECONDS_MAX + 1];
    size_t len = args_copy_head(a, index, text, SECONDS_MAX);
    text[len] = '\0';
    char *end;
    double value = strtod(text, &end);
    if (len == 0 || len == SECONDS_MAX || end != text + len || !(value >= 0) || value >= 0x1p63)
        return 0;
    return value == 0 || value > (double)INT64_MAX / NSEC_S ? NSEC_NEVER
                                                            : (uint64_t)(value * NSEC_S);
}

static uint64_t milliseconds(const struct args *a, size_t index)
{
    int64_t value;
    if (number(a, index, &value) != 0 || value < 0)
        return 0;
    return value == 0 || (uint64_t)value > INT64_MAX / NSEC_MS ? NSEC_NEVER
                                                               : (uint64_t)value * NSEC_MS;
}

bool command_may_block(const struct command *c, struct args *a, uint64_t *ret_ns)
{
    size_t first = 0, block = 0;
    if ((c->flags & COMMAND_BLOCKS) == 0)
        return false;
    switch ((enum command_keys)c->keys) {
    case KEYS_RANGE: /* BLPOP key [key …] timeout, BLMOVE … timeout */
        *ret_ns = seconds(a, a->count - 1);
        return true;
    case KEYS_NUM_AT_2: /* BLMPOP timeout numkeys … */
        *ret_ns = seconds(a, 1);
        return true;
    case KEYS_STREAMS:
        /* Even if malformed: a node must not let others wait whatever it makes of this. */
        (void)find_streams(c, a, &first, &block);
        if (block == 0)
            return false;
        *ret_ns = milliseconds(a, block);
        return true;
    default:
        return false;
    }
}

static int keys_migrate(const struct args *a, struct command_keys_found *k)
{
    for (size_t i = 6; i < a->count; i++) {
        if (word_is(a, i, "keys"))
            return args_len(a, 3) == 0 ? take_run(k, i + 1, a->count - 1, 1) : -EINVAL;
        i += word_is(a, i, "auth") ? 1 : word_is(a, i, "auth2") ? 2 : 0;
    }
    return take_pair(k, 3, 0);
}

static int keys_copy(const struct args *a, struct command_keys_found *k)
{
    for (size_t i = 3; i < a->count; i++) {
        if (word_is(a, i, "replace"))
            continue;
        int64_t db;
        if (!word_is(a, i, "db") || ++i == a->count || number(a, i, &db) != 0)
            return -EINVAL;
    }
    return take_pair(k, 1, 2);
}

int command_find_keys(const struct command *c, struct args *a, struct command_keys_found *k,
                      const char **ret_refusal)
{
    /* Nearly every request: one key, and room that make_room() would leave as it is. */
    if (c->keys == KEYS_RANGE && c->first == c->last && k->room - 1 < KEYS_ROOM_KEPT) {
        k->index[0] = (size_t)c->first;
        k->count = 1;
        k->pinned = 0;
        return 0;
    }
    k->pinned = 0;
    switch ((enum command_keys)c->keys) {
    case KEYS_NONE:
        k->count = 0;
        return 0;
    case KEYS_RANGE:
        return keys_range(c, a, k);
    case KEYS_NUM:
        return keys_num(c, a, 1, k);
    case KEYS_NUM_PAIRS:
        return keys_num_pairs(a, k);
    case KEYS_NUM_AT_2:
        return keys_num(c, a, 2, k);
    case KEYS_NUM_STORE:
        return keys_num_store(c, a, k);
    case KEYS_SORT:
        return keys_sort(c, a, k, ret_refusal);
    case KEYS_GEORADIUS:
        return keys_georadius(a, k);
    case KEYS_STREAMS:
        return keys_streams(c, a, k);
    case KEYS_MIGRATE:
        return keys_migrate(a, k);
    case KEYS_COPY:
        return keys_copy(a, k);
    case KEYS_MOVE:
        return take_pair(k, 1, 0);
    }
    unreachable();
}
