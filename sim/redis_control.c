/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_control.h"

#include "base/nsec.h"
#include "redis_commands.h"
#include "redis_sessions.h"

#include <inttypes.h>

enum {
    CLASSES = 4,
    SLOTS = CLASSES * CHECK_KEYS_MAX + REDIS_NOTES_MAX, /* what a cursor of SCAN goes through */
    SCAN_COUNT = 10,                                    /* without COUNT */
    DIGITS_MAX = 18,
    LIFE_BITS = 32,
};

#define MARK_FOR   (3600 * NSEC_S)
#define MARK_SLACK (2 * NSEC_MS) /* PTTL tells whole ones */
#define SLIP       (2 * NSEC_S)  /* a flush that began on a lock that slipped is over by then */

static const char NOTE_PREFIX[] = "sumcache:";

/* One execution. */
struct order {
    struct redis_model *m;
    struct redis_connection *c;
    uint64_t now;
};

static bool wrong(const struct order *x, const char *why)
{
    const struct redis_model *m = x->m;
    const struct redis_arg *last = &m->args[m->arg_count - 1];
    checker_fail(m->checker, "node %u got %.*s … %.*s: %s", m->number,
                 m->args[0].len > 20 ? 20 : (int)m->args[0].len, m->args[0].p,
                 last->len > 60 ? 60 : (int)last->len, last->p, why);
    return false;
}

static bool take_digits(const struct redis_model *m, uint32_t index, uint64_t *ret)
{
    if (index >= m->arg_count || m->args[index].len == 0 || m->args[index].len > DIGITS_MAX)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < m->args[index].len; i++) {
        char digit = m->args[index].p[i];
        if (digit < '0' || digit > '9')
            return false;
        value = value * 10 + (uint64_t)(digit - '0');
    }
    *ret = value;
    return true;
}

static void out_bulk(struct order *x, const void *p, size_t len)
{
    bytes_print(&x->c->out, "$%zu\r\n", len);
    bytes_add(&x->c->out, p, len);
    bytes_print(&x->c->out, "\r\n");
}

static void out_null(struct order *x)
{
    bytes_print(&x->c->out, "%s", x->c->proto == 3 ? "_\r\n" : "$-1\r\n");
}

/* ---- who and whose ---- */

/* Of 40 digits, another one in each life of each node. */
static bool do_info(struct order *x)
{
    struct rng rng = {(uint64_t)x->m->number << LIFE_BITS | x->m->life};
    char id[48], text[256];
    uint64_t a = rng_next(&rng), b = rng_next(&rng), c = rng_next(&rng);
    snprintf(id, sizeof(id), "%016" PRIx64 "%016" PRIx64 "%08" PRIx64, a, b, c >> LIFE_BITS);
    int n = snprintf(text, sizeof(text),
                     "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
                     "run_id:%s\r\ntcp_port:%u\r\n",
                     id, x->m->addr.port);
    out_bulk(x, text, (size_t)n);
    return true;
}

static bool do_client(struct order *x)
{
    struct redis_model *m = x->m;
    uint64_t id;
    if (redis_arg_is(m, 1, "id") && m->arg_count == 2) {
        bytes_print(&x->c->out, ":%" PRIu64 "\r\n", x->c->id);
        return true;
    }
    if (redis_arg_is(m, 1, "setname") && m->arg_count == 3) {
        x->c->control = redis_arg_is(m, 2, "sumcache-control");
        bytes_print(&x->c->out, "+OK\r\n");
        return true;
    }
    if (redis_arg_is(m, 1, "kill") && redis_arg_is(m, 2, "id") && m->arg_count == 4 &&
        take_digits(m, 3, &id)) {
        bytes_print(&x->c->out, ":%d\r\n", redis_model_kill(m, x->c, id));
        return true;
    }
    if (redis_arg_is(m, 1, "unblock") && m->arg_count == 4 && take_digits(m, 2, &id)) {
        bytes_print(&x->c->out, ":%d\r\n",
                    redis_sessions_unblock(m, id, redis_arg_is(m, 3, "error")));
        return true;
    }
    return wrong(x, "not a form of CLIENT that it knows");
}

/* ---- its own notes ---- */

static bool is_note(const struct redis_arg *arg)
{
    size_t len = sizeof(NOTE_PREFIX) - 1;
    return arg->len > len && arg->len < REDIS_NOTE_NAME_MAX &&
           memcmp(arg->p, NOTE_PREFIX, len) == 0;
}

static bool note_is_there(const struct order *x, const struct redis_note *note)
{
    return note->name[0] != '\0' && x->now < note->expires_at;
}

static struct redis_note *find_note(const struct order *x, const struct redis_arg *name)
{
    for (unsigned i = 0; i < REDIS_NOTES_MAX; i++) {
        struct redis_note *note = &x->m->notes[i];
        if (note_is_there(x, note) && strlen(note->name) == name->len &&
            memcmp(note->name, name->p, name->len) == 0)
            return note;
    }
    return NULL;
}

static struct redis_note *make_note(const struct order *x, const struct redis_arg *name)
{
    for (unsigned i = 0; i < REDIS_NOTES_MAX; i++) {
        struct redis_note *note = &x->m->notes[i];
        if (note_is_there(x, note))
            continue;
        memcpy(note->name, name->p, name->len);
        note->name[name->len] = '\0';
        return note;
    }
    return NULL;
}

static bool do_get(struct order *x)
{
    if (x->m->arg_count != 2 || !is_note(&x->m->args[1]))
        return wrong(x, "no note of the proxy's");
    const struct redis_note *note = find_note(x, &x->m->args[1]);
    if (note)
        out_bulk(x, bytes_at(&note->value), note->value.len);
    else
        out_null(x);
    return true;
}

/* SET name value [NX] [PX ms] */
static bool do_set(struct order *x)
{
    struct redis_model *m = x->m;
    if (m->arg_count < 3 || !is_note(&m->args[1]))
        return wrong(x, "no note of the proxy's");
    bool only_new = false;
    uint64_t expires_at = NSEC_NEVER, ms = 0;
    for (uint32_t i = 3; i < m->arg_count; i++) {
        if (redis_arg_is(m, i, "nx")) {
            only_new = true;
        } else if (redis_arg_is(m, i, "px") && take_digits(m, i + 1, &ms) && ms > 0) {
            expires_at = x->now + ms * NSEC_MS;
            i++;
        } else {
            return wrong(x, "an option that it does not know");
        }
    }
    if (x->now < m->out_of_memory_until) {
        bytes_print(&x->c->out, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        return true;
    }
    struct redis_note *note = find_note(x, &m->args[1]);
    if (note && only_new) {
        out_null(x);
        return true;
    }
    if (only_new && m->flushed_on != 0 && m->flushed_on != x->c->id)
        m->lock_slipped_at = x->now;
    if (!note)
        note = make_note(x, &m->args[1]);
    if (!note)
        return wrong(x, "too many notes");
    note->value.head = note->value.len = 0;
    bytes_add(&note->value, m->args[2].p, m->args[2].len);
    note->expires_at = expires_at;
    bytes_print(&x->c->out, "+OK\r\n");
    return true;
}

static bool do_pttl(struct order *x)
{
    if (x->m->arg_count != 2 || !is_note(&x->m->args[1]))
        return wrong(x, "no note of the proxy's");
    const struct redis_note *note = find_note(x, &x->m->args[1]);
    int64_t ms = !note ? -2
                 : note->expires_at == NSEC_NEVER
                     ? -1
                     : (int64_t)((note->expires_at - x->now) / NSEC_MS);
    bytes_print(&x->c->out, ":%" PRId64 "\r\n", ms);
    return true;
}

/* ---- keys ---- */

static bool do_select(struct order *x)
{
    uint64_t database;
    bool right = x->m->arg_count == 2 && take_digits(x->m, 1, &database) &&
                 database < x->m->options->proxy.databases;
    if (!right)
        return wrong(x, "a database that there is not");
    x->c->database = (uint8_t)database;
    bytes_print(&x->c->out, "+OK\r\n");
    return true;
}

/* In the database that the connection has selected? */
static bool is_here(const struct order *x, const struct check_key *key)
{
    return key->number % x->m->options->proxy.databases == x->c->database;
}

static bool do_unlink(struct order *x)
{
    struct redis_model *m = x->m;
    if (m->arg_count < 2)
        return wrong(x, "no key");
    uint64_t sum = 0;
    for (uint32_t i = 1; i < m->arg_count; i++) {
        struct check_key key;
        struct redis_note *note = find_note(x, &m->args[i]);
        if (note) {
            note->name[0] = '\0';
            sum++;
            continue;
        }
        if (is_note(&m->args[i]))
            continue;
        if (!check_key_parse(m->args[i].p, m->args[i].len, &key))
            return wrong(x, "no key of ours");
        if (!is_here(x, &key))
            continue;
        checker_clears(m->checker, m->number, "unlink by the proxy", &key);
        struct redis_value *v = redis_model_value(m, &key);
        sum += v->exists;
        v->exists = false;
    }
    bytes_print(&x->c->out, ":%" PRIu64 "\r\n", sum);
    return true;
}

/*
 * A flush takes what all proxies have here. So whoever does it has the lock; and if the mark says
 * that it was done a moment ago, it is not done again. Between a flush, which takes the lock away
 * too, and the command behind it, by which its proxy locks anew, another may come: a redis-server
 * that reads both at once lets nobody between them, and nodes here do.
 */
static void check_flush(struct order *x)
{
    static const struct redis_arg LOCK = {"sumcache:flush", 14}, MARK = {"sumcache:flushed", 16};
    struct redis_model *m = x->m;
    const struct redis_note *mark = find_note(x, &MARK);
    if (m->lock_slipped_at != 0 && x->now < m->lock_slipped_at + SLIP)
        return;
    if (!find_note(x, &LOCK))
        wrong(x, "a flush by somebody who has not locked");
    uint64_t left = mark ? mark->expires_at - x->now : 0;
    uint64_t least = nsec_min(m->options->control.flush_interval, MARK_FOR);
    bool asked = m->options->flush_chance > 0; /* by a client: then it may be at once */
    if (mark && !asked && left + least > MARK_FOR + MARK_SLACK)
        wrong(x, "a flush though it was flushed a moment ago");
}

static bool do_flushall(struct order *x)
{
    if (x->m->arg_count == 3 && redis_arg_is(x->m, 1, "sumcache:nothing")) { /* may I? */
        bytes_print(&x->c->out, "-ERR syntax error\r\n");
        return true;
    }
    if (x->m->arg_count > 2 ||
        (x->m->arg_count == 2 && !redis_arg_is(x->m, 1, "async") && !redis_arg_is(x->m, 1, "sync")))
        return wrong(x, "not a form of FLUSHALL that it knows");
    if (x->c->control) {
        check_flush(x);
        x->m->flushes++;
        x->m->flushed_on = x->c->id;
    } else { /* for a client: locks and marks go with the rest */
        x->m->lock_slipped_at = x->now;
    }
    for (unsigned i = 0; i < CHECK_KEYS_MAX; i++) {
        struct check_key key = {.class = KEY_STRING, .number = (uint16_t)i};
        if (redis_model_value(x->m, &key)->exists)
            checker_clears(x->m->checker, x->m->number,
                           x->c->control ? "flush by the proxy" : "flush by a client", &key);
    }
    redis_model_forget(x->m);
    bytes_print(&x->c->out, "+OK\r\n");
    return true;
}

/* The full name of what is at a place of the cursor's way. Returns its length; 0: nothing is. */
static size_t name_at(const struct order *x, uint64_t slot, char *to, size_t size)
{
    static const char LETTERS[CLASSES] = {KEY_STRING, KEY_NUMBER, KEY_LOG, KEY_HASH};
    if (slot >= (uint64_t)CLASSES * CHECK_KEYS_MAX) {
        const struct redis_note *note = &x->m->notes[slot - (uint64_t)CLASSES * CHECK_KEYS_MAX];
        return x->c->database == 0 && note_is_there(x, note)
                   ? (size_t)snprintf(to, size, "%s", note->name)
                   : 0;
    }
    struct check_key plain = {.class = LETTERS[slot / CHECK_KEYS_MAX],
                              .number = (uint16_t)(slot % CHECK_KEYS_MAX)};
    const struct redis_value *v = redis_model_value(x->m, &plain);
    if (!v->exists || !is_here(x, &plain))
        return 0;
    return check_key_print(v->named.class ? &v->named : &plain, to, size);
}

/* What a name must match is "*", or begins with what stands before that. */
static bool matches(const struct redis_model *m, uint32_t pattern, const char *name, size_t len)
{
    if (pattern == 0)
        return true;
    const struct redis_arg *p = &m->args[pattern];
    return p->len > 0 && p->p[p->len - 1] == '*' && len >= p->len - 1 &&
           memcmp(p->p, name, p->len - 1) == 0;
}

/*
 * SCAN cursor [MATCH pattern] [COUNT n]. The cursor is a place in an order that never changes, so
 * what is there from the first call to the last is given, and a call may give nothing though there
 * is more to come, as with a real one.
 */
static bool do_scan(struct order *x)
{
    struct redis_model *m = x->m;
    uint64_t cursor, count = SCAN_COUNT;
    uint32_t pattern = 0, at = 2;
    if (at + 1 < m->arg_count && redis_arg_is(m, at, "match")) {
        pattern = at + 1;
        at += 2;
    }
    if (at + 1 < m->arg_count && redis_arg_is(m, at, "count") && take_digits(m, at + 1, &count))
        at += 2;
    if (!take_digits(m, 1, &cursor) || m->arg_count != at || count == 0)
        return wrong(x, "not a form of SCAN that it knows");
    if (cursor >= SLOTS)
        return wrong(x, "a cursor that it never gave");
    struct bytes names = {0};
    uint64_t end = nsec_min(SLOTS, cursor + nsec_min(count, SLOTS));
    unsigned found = 0;
    for (uint64_t slot = cursor; slot < end; slot++) {
        char name[REDIS_NOTE_NAME_MAX];
        size_t len = name_at(x, slot, name, sizeof(name));
        if (len == 0 || !matches(m, pattern, name, len))
            continue;
        bytes_print(&names, "$%zu\r\n%s\r\n", len, name);
        found++;
    }
    char next[24];
    int n = snprintf(next, sizeof(next), "%" PRIu64, end == SLOTS ? 0 : end);
    bytes_print(&x->c->out, "*2\r\n$%d\r\n%s\r\n*%u\r\n", n, next, found);
    bytes_add(&x->c->out, bytes_at(&names), names.len);
    bytes_free(&names);
    return true;
}

/* All names, the proxy's own among them. → how many */
static unsigned list_names(const struct order *x, struct bytes *to)
{
    unsigned count = 0;
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        char name[REDIS_NOTE_NAME_MAX];
        size_t len = name_at(x, slot, name, sizeof(name));
        if (len > 0)
            bytes_print(to, "$%zu\r\n%s\r\n", len, name);
        count += len > 0;
    }
    return count;
}

static bool do_keys(struct order *x)
{
    struct bytes names = {0};
    if (x->m->arg_count != 2 || !redis_arg_is(x->m, 1, "*"))
        return wrong(x, "not a form of KEYS that it knows");
    unsigned count = list_names(x, &names);
    bytes_print(&x->c->out, "*%u\r\n", count);
    bytes_add(&x->c->out, bytes_at(&names), names.len);
    bytes_free(&names);
    return true;
}

static bool do_dbsize(struct order *x)
{
    struct bytes names = {0};
    bytes_print(&x->c->out, ":%u\r\n", list_names(x, &names));
    bytes_free(&names);
    return true;
}

static bool do_randomkey(struct order *x)
{
    uint64_t first = rng_below(io_sim_rng(x->m->checker->world), SLOTS);
    for (uint64_t i = 0; i < SLOTS; i++) {
        char name[REDIS_NOTE_NAME_MAX];
        size_t len = name_at(x, (first + i) % SLOTS, name, sizeof(name));
        if (len == 0)
            continue;
        out_bulk(x, name, len);
        return true;
    }
    out_null(x);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(struct order *x);
    bool on_any; /* connection; the others only where it has called itself the proxy's */
    bool needs_data;
} ORDERS[] = {
    {"client", do_client, true, false},    {"info", do_info, true, false},
    {"select", do_select, true, false},    {"get", do_get, false, true},
    {"set", do_set, false, true},          {"unlink", do_unlink, false, true},
    {"scan", do_scan, true, true},         {"keys", do_keys, true, true},
    {"dbsize", do_dbsize, true, true},     {"randomkey", do_randomkey, true, true},
    {"flushall", do_flushall, true, true}, {"pttl", do_pttl, false, true},
    {"flushdb", do_flushall, true, true},
};

bool redis_control(struct redis_model *m, struct redis_connection *c, uint64_t now,
                   const char **ret_verb)
{
    struct order x = {m, c, now};
    if (m->flushed_on == c->id)
        m->flushed_on = 0;
    for (size_t i = 0; i < sizeof(ORDERS) / sizeof(ORDERS[0]); i++) {
        if (!redis_arg_is(m, 0, ORDERS[i].name) || !(ORDERS[i].on_any || c->control))
            continue;
        *ret_verb = ORDERS[i].name;
        if (ORDERS[i].needs_data && now < m->loading_until) {
            bytes_print(&c->out, "-LOADING Redis is loading the dataset in memory\r\n");
            return true;
        }
        return ORDERS[i].run(&x);
    }
    if (c->control && !redis_arg_is(m, 0, "ping") && !redis_arg_is(m, 0, "hello"))
        return wrong(&x, "a client's command on the proxy's own connection");
    return false;
}
