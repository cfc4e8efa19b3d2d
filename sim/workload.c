/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include "base/must.h"

#include <ctype.h>
#include <inttypes.h>

enum {
    INLINE_VALUE_MAX = 200,
    WORDS_MAX = 8,
    TRANSACTION_VALUE_MAX = 300,
};

static struct rng *draw(const struct client_model *m)
{
    return io_sim_rng(m->checker->world);
}

static uint32_t below(const struct client_model *m, uint32_t bound)
{
    return (uint32_t)rng_below(draw(m), bound);
}

static bool chance(const struct client_model *m, uint32_t per_mille)
{
    return io_sim_chance(m->checker->world, per_mille);
}

/* ---- bytes ---- */

/* A command's name in drawn letter case. */
static void add_name(struct client_model *m, const char *name, bool is_inline)
{
    char text[32];
    size_t len = strlen(name);
    must(len < sizeof(text));
    uint64_t bits = below(m, 4) == 0 ? rng_next(draw(m)) : 0;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(bits >> i & 1 ? tolower(name[i]) : name[i]);
    text[len] = '\0';
    if (is_inline)
        bytes_print(&m->s.out, "%s", text);
    else
        bytes_print(&m->s.out, "$%zu\r\n%s\r\n", len, text);
}

static void add_bulk(struct client_model *m, const char *p, size_t len)
{
    bytes_print(&m->s.out, "$%zu\r\n", len);
    bytes_add(&m->s.out, p, len);
    bytes_print(&m->s.out, "\r\n");
}

/* A command without keys: words separated by blanks. */
static void add_words(struct client_model *m, enum check_kind kind, int64_t argument,
                      const char *line)
{
    uint32_t seq;
    struct check_command *c = client_model_add(m, kind, 0, &seq);
    c->argument = argument;
    if (chance(m, m->options->inline_chance)) {
        bytes_print(&m->s.out, "%s%s", line, below(m, 2) ? "\r\n" : "\n");
        client_model_added(m, c);
        return;
    }
    char copy[128];
    snprintf(copy, sizeof(copy), "%s", line);
    char *words[WORDS_MAX] = {NULL}, *rest = NULL;
    uint32_t count = 0;
    for (char *w = strtok_r(copy, " ", &rest); w && count < WORDS_MAX;
         w = strtok_r(NULL, " ", &rest))
        words[count++] = w;
    bytes_print(&m->s.out, "*%u\r\n", count);
    must(count > 0); /* a template has a name at least */
    add_name(m, words[0], false);
    for (uint32_t i = 1; i < count; i++)
        add_bulk(m, words[i], strlen(words[i]));
    client_model_added(m, c);
}

/* ---- commands with keys ---- */

static size_t draw_value_len(const struct client_model *m)
{
    uint32_t above = (uint32_t)m->options->proxy.bulk_above;
    const uint32_t EDGES[] = {above,     above,     above,      2048,
                              16 * 1024, 64 * 1024, 128 * 1024, 256 * 1024};
    uint32_t max = m->options->value_max;
    if (!chance(m, m->options->big_chance))
        return below(m, 10) == 0 ? 0 : below(m, 120);
    if (below(m, 2)) {
        /* Around the sizes of our buffers, headers of message and chunk taken off or not. */
        uint32_t edge = EDGES[below(m, sizeof(EDGES) / sizeof(EDGES[0]))];
        edge = edge + 4 - below(m, 80);
        if (edge > 0 && edge <= max)
            return edge;
    }
    return below(m, max) + 1;
}

static char class_for(const struct client_model *m, enum check_kind kind)
{
    static const char READABLE[] = {KEY_STRING, KEY_STRING, KEY_STRING, KEY_STRING,
                                    KEY_NUMBER, KEY_LOG,    KEY_HASH};
    switch (kind) {
    case CHECK_SET:
    case CHECK_SETEX:
    case CHECK_MSET:
    case CHECK_SUNION:
        return KEY_STRING;
    case CHECK_INCR:
        return KEY_NUMBER;
    case CHECK_APPEND:
    case CHECK_STRLEN:
        return KEY_LOG;
    case CHECK_HGETALL:
        return KEY_HASH;
    default:
        return chance(m, m->options->plain_chance) ? (char)KEY_STRING
                                                   : READABLE[below(m, sizeof(READABLE))];
    }
}

static const char *const NAMES[] = {
    [CHECK_GET] = "GET",       [CHECK_SET] = "SET",       [CHECK_INCR] = "INCR",
    [CHECK_APPEND] = "APPEND", [CHECK_STRLEN] = "STRLEN", [CHECK_HGETALL] = "HGETALL",
    [CHECK_SUNION] = "SUNION", [CHECK_MGET] = "MGET",     [CHECK_MSET] = "MSET",
    [CHECK_DEL] = "DEL",       [CHECK_UNLINK] = "UNLINK", [CHECK_EXISTS] = "EXISTS",
    [CHECK_TOUCH] = "TOUCH",   [CHECK_SETEX] = "SETEX",
};

/* The value that a key's command writes. Returns its length, which may be more than asked for. */
static size_t add_text(struct client_model *m, const struct check_key *key, size_t len)
{
    len = check_value_make(key, len, NULL);
    bytes_print(&m->s.out, "$%zu\r\n", len);
    check_value_make(key, len, (char *)bytes_room(&m->s.out, len + 2));
    m->s.out.len += len;
    bytes_print(&m->s.out, "\r\n");
    return len;
}

static size_t add_value(struct client_model *m, enum check_kind kind, const struct check_key *key)
{
    /* Appended to for the whole of a run, so most of these are short. */
    size_t len = kind == CHECK_APPEND && below(m, 6) > 0 ? 1 : draw_value_len(m);
    return add_text(m, key, len);
}

/* Which key. Where two sorts of clients cross, one goes up through the keys and one down, so that
 * each may come to wait for what the other holds. */
static uint32_t draw_any(struct client_model *m, enum check_kind kind)
{
    uint32_t keys = m->options->keys;
    if (!m->options->crossing || kind != CHECK_GET || below(m, 4) == 0)
        return below(m, keys);
    uint32_t at = m->s.generated % keys;
    return m->number % 2 ? at : keys - 1 - at;
}

/* One of its database: options.h. */
static uint32_t draw_number(struct client_model *m, enum check_kind kind)
{
    uint32_t number = draw_any(m, kind), databases = m->options->proxy.databases;
    return number - number % databases + m->s.database;
}

static void add_keys(struct client_model *m, enum check_kind kind, uint32_t keys)
{
    uint32_t seq;
    struct check_command *c = client_model_add(m, kind, keys, &seq);
    bool values =
        kind == CHECK_SET || kind == CHECK_SETEX || kind == CHECK_MSET || kind == CHECK_APPEND;
    bool is_inline = !values && chance(m, m->options->inline_chance);
    if (!is_inline)
        bytes_print(&m->s.out, "*%u\r\n",
                    1 + keys * (values ? 2 : 1) + (kind == CHECK_SETEX ? 1 : 0));
    add_name(m, NAMES[kind], is_inline);
    for (uint32_t i = 0; i < keys; i++) {
        struct check_key *key = &c->parts[i].key;
        char class = class_for(m, kind); /* draws one after the other: see faults.c */
        uint32_t number = draw_number(m, kind);
        *key = (struct check_key){.class = class,
                                  .number = (uint16_t)number,
                                  .tagged = m->options->proxy.hash_tags,
                                  .client = (uint16_t)m->number,
                                  .index = (uint16_t)i,
                                  .seq = seq};
        if (kind == CHECK_SUNION && i == 1 && below(m, 2))
            key->number = c->parts[0].key.number;
        char text[64];
        size_t len = check_key_print(key, text, sizeof(text));
        if (is_inline)
            bytes_print(&m->s.out, " %s", text);
        else
            add_bulk(m, text, len);
        if (kind == CHECK_SETEX)
            add_bulk(m, "3600", 4);
        if (values)
            c->parts[i].empty = add_value(m, kind, key) == 0;
    }
    if (is_inline)
        bytes_print(&m->s.out, "\r\n");
    c->is_inline = is_inline;
    client_model_added(m, c);
    if (checker_may_stream(m->checker, c))
        client_model_may_stop(m, c);
}

/* ---- commands for the proxy itself ---- */

static void add_select(struct client_model *m)
{
    char line[24];
    uint32_t databases = m->options->proxy.databases;
    m->s.database = databases > 1 ? (uint8_t)below(m, databases) : 0;
    snprintf(line, sizeof(line), "SELECT %u", m->s.database);
    add_words(m, CHECK_SELECT, 0, line);
}

static void add_large_echo(struct client_model *m)
{
    uint32_t seq;
    struct check_command *c = client_model_add(m, CHECK_ECHO_LARGE, 0, &seq);
    struct check_key key = {.class = KEY_STRING, .client = (uint16_t)m->number, .seq = seq};
    bytes_print(&m->s.out, "*2\r\n");
    add_name(m, "ECHO", false);
    c->argument = (int64_t)add_text(m, &key, draw_value_len(m) + 1);
    client_model_added(m, c);
}

static void add_local(struct client_model *m)
{
    static const char *const REFUSED[] = {"SAVE", "MONITOR", "SWAPDB 0 1"};
    static const char *const ARITY[] = {"GET", "SET s1", "MGET", "ECHO"};
    int64_t n = m->checker->clients[m->number].count;
    char line[128];
    uint32_t version = 2 + below(m, 2);
    switch (below(m, 14)) {
    case 0:
        add_words(m, CHECK_PING, 0, "PING");
        return;
    case 1:
        snprintf(line, sizeof(line), "PING echo-%u-%" PRId64, m->number, n);
        add_words(m, CHECK_PING_TEXT, n, line);
        return;
    case 2:
    case 3:
        snprintf(line, sizeof(line), "ECHO echo-%u-%" PRId64, m->number, n);
        add_words(m, CHECK_ECHO, n, line);
        return;
    case 4:
    case 5:
    case 6:
        snprintf(line, sizeof(line), "HELLO %u", version);
        m->s.proto = (uint8_t)version;
        add_words(m, CHECK_HELLO, version, line);
        return;
    case 7:
        m->s.errors = below(m, 2);
        add_words(m, CHECK_FAILURES, 0,
                  m->s.errors ? "SUMCACHE.FAILURES error" : "SUMCACHE.FAILURES miss");
        return;
    case 8:
        add_words(m, CHECK_CLIENT_ID, 0, "CLIENT ID");
        return;
    case 9:
        add_select(m);
        return;
    case 10:
        snprintf(line, sizeof(line), "xyzzy%" PRId64 " s1 2", n);
        add_words(m, CHECK_UNKNOWN, n, line);
        return;
    case 11:
        add_large_echo(m);
        return;
    case 12:
        add_words(m, CHECK_REFUSED, 0, REFUSED[below(m, sizeof(REFUSED) / sizeof(REFUSED[0]))]);
        return;
    default:
        add_words(m, CHECK_ARITY, 0, ARITY[below(m, sizeof(ARITY) / sizeof(ARITY[0]))]);
        return;
    }
}

/* A command for all nodes, if it is to be one. */
static bool add_for_all(struct client_model *m)
{
    static const char *const FLUSHES[] = {"FLUSHALL", "FLUSHALL ASYNC", "FLUSHDB SYNC", "FLUSHDB"};
    static const struct {
        enum check_kind kind;
        const char *line;
    } OTHERS[] = {{CHECK_COUNT_ALL, "DBSIZE"},
                  {CHECK_NAME_ALL, "KEYS *"},
                  {CHECK_NAME_SOME, "SCAN 0 COUNT 1000"},
                  {CHECK_NAME_ONE, "RANDOMKEY"}};
    if (m->options->flush_chance > 0 && chance(m, m->options->flush_chance)) {
        uint32_t count = m->options->proxy.databases > 1
                             ? 2
                             : sizeof(FLUSHES) / sizeof(FLUSHES[0]); /* all of them */
        add_words(m, CHECK_FLUSH, 0, FLUSHES[below(m, count)]);
        return true;
    }
    if (m->options->all_chance > 0 && chance(m, m->options->all_chance)) {
        uint32_t i = below(m, sizeof(OTHERS) / sizeof(OTHERS[0]));
        add_words(m, OTHERS[i].kind, 0, OTHERS[i].line);
        return true;
    }
    return false;
}

/* MULTI, one or more commands for one key, and EXEC, to which the keys say that they belong. */
static void add_transaction(struct client_model *m)
{
    bool writes = below(m, 2), watches = below(m, 3) == 0;
    uint32_t count = 1 + below(m, SIM_TRANSACTION_MAX), first;
    struct check_key key = {.class = KEY_STRING,
                            .number = (uint16_t)draw_number(m, CHECK_EXEC_GET),
                            .tagged = m->options->proxy.hash_tags,
                            .client = (uint16_t)m->number};
    struct check_command *c;
    char text[64];
    if (watches) {
        c = client_model_add(m, CHECK_WATCH, 1, &key.seq);
        c->parts[0].key = key;
        bytes_print(&m->s.out, "*2\r\n");
        add_name(m, "WATCH", false);
        add_bulk(m, text, check_key_print(&key, text, sizeof(text)));
        client_model_added(m, c);
    }
    c = client_model_add(m, CHECK_MULTI, 0, &first);
    bytes_print(&m->s.out, "*1\r\n");
    add_name(m, "MULTI", false);
    client_model_added(m, c);
    key.seq = first + 1 + count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t seq;
        key.index = (uint16_t)i;
        c = client_model_add(m, CHECK_QUEUED, 0, &seq);
        bytes_print(&m->s.out, "*%u\r\n", writes ? 3U : 2U);
        add_name(m, writes ? "SET" : "GET", false);
        add_bulk(m, text, check_key_print(&key, text, sizeof(text)));
        if (writes)
            add_text(m, &key, 1 + below(m, TRANSACTION_VALUE_MAX));
        client_model_added(m, c);
    }
    c = client_model_add(m, writes ? CHECK_EXEC_SET : CHECK_EXEC_GET, count, &first);
    must(first == key.seq);
    c->watched = watches;
    for (uint32_t i = 0; i < count; i++) {
        c->parts[i].key = key;
        c->parts[i].key.index = (uint16_t)i;
    }
    bytes_print(&m->s.out, "*1\r\n");
    add_name(m, "EXEC", false);
    client_model_added(m, c);
}

void workload_command(struct client_model *m)
{
    static const uint8_t SINGLE[] = {
        CHECK_GET,  CHECK_GET,    CHECK_GET,    CHECK_GET,     CHECK_SET,    CHECK_SET, CHECK_SETEX,
        CHECK_INCR, CHECK_APPEND, CHECK_STRLEN, CHECK_HGETALL, CHECK_SUNION, CHECK_DEL};
    static const uint8_t SPLIT[] = {CHECK_MGET,   CHECK_MGET,   CHECK_MSET, CHECK_DEL,
                                    CHECK_UNLINK, CHECK_EXISTS, CHECK_TOUCH};
    static const char *const EMPTY[] = {"\r\n", "*0\r\n", "*-1\r\n", "\n", "   \r\n"};
    if (chance(m, m->options->empty_chance)) {
        const char *text = EMPTY[below(m, sizeof(EMPTY) / sizeof(EMPTY[0]))];
        bytes_print(&m->s.out, "%s", text);
        m->s.queued += strlen(text);
    }
    if (m->options->proxy.databases > 1 && m->s.generated == 0) {
        add_select(m);
        return;
    }
    if (add_for_all(m))
        return;
    if (chance(m, m->options->plain_chance)) {
        add_keys(m, below(m, 3) ? CHECK_GET : CHECK_SET, 1);
    } else if (chance(m, m->options->local_chance)) {
        add_local(m);
    } else if (chance(m, m->options->split_chance)) {
        enum check_kind kind = (enum check_kind)SPLIT[below(m, sizeof(SPLIT))];
        add_keys(m, kind, 1 + below(m, m->options->split_max));
    } else if (below(m, 16) == 0) {
        add_transaction(m);
    } else {
        enum check_kind kind = (enum check_kind)SINGLE[below(m, sizeof(SINGLE))];
        add_keys(m, kind, kind == CHECK_SUNION ? 2 : 1);
    }
}

void workload_quit(struct client_model *m)
{
    add_words(m, CHECK_QUIT, 0, "QUIT");
}

void workload_malformed(struct client_model *m)
{
    static const char *const TEXTS[] = {
        "*3\r\n$3\r\nSET\r\n:1\r\n$1\r\nx\r\n",
        "*abc\r\n",
        "*1\r\n$-5\r\nGET\r\n",
        "SET \"s1 x\r\n",
        "*2147483648\r\n",
        "*2\r\n$3\r\nGET\r\n$99999999999\r\n",
    };
    uint32_t seq;
    struct check_command *c = client_model_add(m, CHECK_MALFORMED, 0, &seq);
    bytes_print(&m->s.out, "%s", TEXTS[below(m, sizeof(TEXTS) / sizeof(TEXTS[0]))]);
    client_model_added(m, c);
}

void workload_half_command(struct client_model *m)
{
    struct check_key nobody = {.class = KEY_STRING, .number = 1};
    struct bytes whole = {0};
    uint32_t large = (uint32_t)m->options->proxy.bulk_above + 1;
    bool streams = large < m->options->value_max && below(m, 2);
    size_t value_len = streams ? large + below(m, m->options->value_max - large)
                               : check_value_make(&nobody, draw_value_len(m) + 1, NULL);
    bytes_print(&whole, "*3\r\n$3\r\nSET\r\n$2\r\ns1\r\n$%zu\r\n", value_len);
    check_value_make(&nobody, value_len, (char *)bytes_room(&whole, value_len));
    whole.len += value_len;
    size_t part = 1 + below(m, (uint32_t)whole.len - 1);
    bytes_add(&m->s.out, bytes_at(&whole), part);
    m->s.queued += part;
    bytes_free(&whole);
}
