/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_commands.h"

#include "base/nsec.h"
#include "redis_control.h"
#include "redis_pubsub.h"
#include "redis_sessions.h"

#include <inttypes.h>
#include <strings.h>

/* One execution: the request in m->args and whose it is. */
struct call {
    struct redis_model *m;
    struct redis_connection *c;
    const char *verb;
    uint64_t now;
    bool writes;
    bool owned; /* client and seq are known */
    uint16_t client;
    uint32_t seq;
};

bool redis_arg_is(const struct redis_model *m, uint32_t index, const char *word)
{
    return index < m->arg_count && m->args[index].len == strlen(word) &&
           strncasecmp(m->args[index].p, word, m->args[index].len) == 0;
}

/* The value of the key at an argument, and where to note what came of it (a part to be thrown away
 * if the key does not tell whose it is). NULL: not a key of ours, which is noted as a mistake. */
static struct redis_value *key_at(struct call *x, uint32_t index, struct check_key *ret_key,
                                  struct check_part **ret_part)
{
    struct redis_model *m = x->m;
    const struct redis_arg *arg = &m->args[index];
    struct str text = {arg->p, arg->len};
    if (index >= m->arg_count || !check_key_parse(text.p, text.len, ret_key)) {
        checker_fail(m->checker, "node %u got %s with a key nobody sent: %.*s", m->number, x->verb,
                     arg->len > 60 ? 60 : (int)arg->len, arg->p);
        return NULL;
    }
    if (ret_key->number % m->options->proxy.databases != x->c->database) {
        checker_fail(m->checker, "node %u got %s of %.*s in database %u", m->number, x->verb,
                     (int)arg->len, arg->p, x->c->database);
        return NULL;
    }
    struct check_part *part =
        checker_executes(m->checker, m->number, x->verb, text, ret_key, x->writes, x->c->died_step);
    if (ret_key->tagged) {
        x->owned = true;
        x->client = ret_key->client;
        x->seq = ret_key->seq;
    }
    if (part)
        part->outcome = OUTCOME_NONE;
    *ret_part = part;
    if (x->writes)
        redis_sessions_touch(m, ret_key);
    return redis_model_value(m, ret_key);
}

static void note(struct check_part *p, enum check_outcome outcome, uint64_t value, uint64_t len)
{
    if (!p)
        return;
    p->outcome = (uint8_t)outcome;
    p->value = value;
    p->len = len;
}

static void out_null(struct call *x)
{
    bytes_print(&x->c->out, "%s", x->c->proto == 3 ? "_\r\n" : "$-1\r\n");
}

static void out_bulk(struct call *x, const void *p, size_t len)
{
    bytes_print(&x->c->out, "$%zu\r\n", len);
    bytes_add(&x->c->out, p, len);
    bytes_print(&x->c->out, "\r\n");
}

/* Is the whole command refused just now? Then every key of it gets that outcome. */
static bool refused(struct call *x, uint32_t first, uint32_t step)
{
    struct redis_model *m = x->m;
    const char *error = NULL;
    if (x->now < m->loading_until)
        error = "-LOADING Redis is loading the dataset in memory\r\n";
    else if (x->writes && x->now < m->out_of_memory_until)
        error = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    if (!error)
        return false;
    for (uint32_t i = first; i < m->arg_count; i += step) {
        struct check_key key;
        struct check_part *part;
        if (!key_at(x, i, &key, &part))
            return true;
        note(part, OUTCOME_ERROR, 0, 0);
    }
    bytes_print(&x->c->out, "%s", error);
    return true;
}

static void wrong_type(struct call *x, struct check_part *part)
{
    note(part, OUTCOME_ERROR, 0, 0);
    bytes_print(&x->c->out,
                "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
}

static void give_value(struct call *x, const struct redis_value *v, struct check_part *part)
{
    if (!v->exists) {
        note(part, OUTCOME_NIL, 0, 0);
        out_null(x);
        return;
    }
    note(part, OUTCOME_BULK, check_digest(bytes_at(&v->bytes), v->bytes.len), v->bytes.len);
    out_bulk(x, bytes_at(&v->bytes), v->bytes.len);
}

static void do_get(struct call *x)
{
    struct check_key key;
    struct check_part *part;
    if (refused(x, 1, 1))
        return;
    struct redis_value *v = key_at(x, 1, &key, &part);
    if (!v)
        return;
    if (key.class == KEY_HASH)
        wrong_type(x, part);
    else
        give_value(x, v, part);
}

static void do_mget(struct call *x)
{
    if (refused(x, 1, 1))
        return;
    bytes_print(&x->c->out, "*%u\r\n", x->m->arg_count - 1);
    for (uint32_t i = 1; i < x->m->arg_count; i++) {
        struct check_key key;
        struct check_part *part;
        struct redis_value *v = key_at(x, i, &key, &part);
        if (!v)
            return;
        if (key.class == KEY_HASH) {
            note(part, OUTCOME_NIL, 0, 0);
            out_null(x);
        } else {
            give_value(x, v, part);
        }
    }
}

static bool store(struct call *x, struct redis_value *v, const struct check_key *key,
                  const struct redis_arg *value)
{
    struct check_key writer;
    if (value->len > 0 &&
        (!check_value_parse(value->p, value->len, &writer) || writer.class != key->class ||
         writer.number != key->number ||
         (key->tagged && (writer.client != key->client || writer.seq != key->seq ||
                          writer.index != key->index)))) {
        checker_fail(x->m->checker,
                     "node %u is to store for %c%u a value that is not its own: %.40s",
                     x->m->number, key->class, key->number, value->p);
        return false;
    }
    v->exists = true;
    v->named = *key;
    v->bytes.head = v->bytes.len = 0;
    bytes_add(&v->bytes, value->p, value->len);
    return true;
}

static void do_setex(struct call *x)
{
    struct check_key key;
    struct check_part *part;
    if (refused(x, 1, 3))
        return;
    struct redis_value *v = key_at(x, 1, &key, &part);
    if (!v || !store(x, v, &key, &x->m->args[3]))
        return;
    note(part, OUTCOME_OK, 0, 0);
    bytes_print(&x->c->out, "+OK\r\n");
}

static void do_set(struct call *x)
{
    if (refused(x, 1, 2))
        return;
    if (x->m->arg_count % 2 == 0) {
        checker_fail(x->m->checker, "node %u got %s without a value", x->m->number, x->verb);
        return;
    }
    for (uint32_t i = 1; i + 1 < x->m->arg_count; i += 2) {
        struct check_key key;
        struct check_part *part;
        struct redis_value *v = key_at(x, i, &key, &part);
        if (!v || !store(x, v, &key, &x->m->args[i + 1]))
            return;
        note(part, OUTCOME_OK, 0, 0);
    }
    bytes_print(&x->c->out, "+OK\r\n");
}

/* DEL, UNLINK, EXISTS, TOUCH. */
static void do_count(struct call *x)
{
    if (refused(x, 1, 1))
        return;
    int64_t sum = 0;
    for (uint32_t i = 1; i < x->m->arg_count; i++) {
        struct check_key key;
        struct check_part *part;
        struct redis_value *v = key_at(x, i, &key, &part);
        if (!v)
            return;
        bool there = v->exists || key.class == KEY_HASH;
        note(part, OUTCOME_NUMBER, there, 0);
        sum += there;
        if (x->writes)
            v->exists = false;
    }
    bytes_print(&x->c->out, ":%" PRId64 "\r\n", sum);
}

static void do_number(struct call *x)
{
    struct check_key key;
    struct check_part *part;
    if (refused(x, 1, 2))
        return;
    struct redis_value *v = key_at(x, 1, &key, &part);
    if (!v)
        return;
    int64_t result = 0;
    if (redis_arg_is(x->m, 0, "incr")) {
        char text[24] = "0";
        if (v->exists && v->bytes.len < sizeof(text)) {
            memcpy(text, bytes_at(&v->bytes), v->bytes.len);
            text[v->bytes.len] = '\0';
        }
        result = strtoll(text, NULL, 10) + 1;
        v->exists = true;
        v->named = key;
        v->bytes.head = v->bytes.len = 0;
        bytes_print(&v->bytes, "%" PRId64, result);
    } else if (redis_arg_is(x->m, 0, "append")) {
        if (!v->exists)
            v->bytes.head = v->bytes.len = 0;
        v->exists = true;
        v->named = key;
        bytes_add(&v->bytes, x->m->args[2].p, x->m->args[2].len);
        result = (int64_t)v->bytes.len;
    } else {
        result = v->exists ? (int64_t)v->bytes.len : 0;
    }
    note(part, OUTCOME_NUMBER, (uint64_t)result, 0);
    bytes_print(&x->c->out, ":%" PRId64 "\r\n", result);
}

/* Every hash key has one field, the key's name. */
static void do_hgetall(struct call *x)
{
    struct check_key key;
    struct check_part *part;
    if (refused(x, 1, 1))
        return;
    if (!key_at(x, 1, &key, &part))
        return;
    char name[16];
    int n = snprintf(name, sizeof(name), "%c%u", key.class, key.number);
    note(part, OUTCOME_MAP, 0, 0);
    bytes_print(&x->c->out, "%s\r\n$1\r\nf\r\n$%d\r\n%s\r\n", x->c->proto == 3 ? "%1" : "*2", n,
                name);
}

static void do_sunion(struct call *x)
{
    if (refused(x, 1, 1))
        return;
    for (uint32_t i = 1; i < x->m->arg_count; i++) {
        struct check_key key;
        struct check_part *part;
        if (!key_at(x, i, &key, &part))
            return;
        note(part, OUTCOME_EMPTY, 0, 0);
    }
    bytes_print(&x->c->out, "%c0\r\n", x->c->proto == 3 ? '~' : '*');
}

/* Comes behind a write, by policy.rules, and changes no value. */
static void do_pexpire(struct call *x)
{
    struct check_key key;
    const struct redis_arg *arg = &x->m->args[1];
    if (!check_key_parse(arg->p, arg->len, &key))
        checker_fail(x->m->checker, "node %u got PEXPIRE for a key nobody sent", x->m->number);
    bytes_print(&x->c->out, "%s", x->now < x->m->out_of_memory_until ? ":0\r\n" : ":1\r\n");
}

static void do_ping(struct call *x)
{
    bytes_print(&x->c->out, "%s",
                x->now < x->m->loading_until ? "-LOADING Redis is loading the dataset in memory\r\n"
                                             : "+PONG\r\n");
}

static void do_hello(struct call *x)
{
    if (!redis_arg_is(x->m, 1, "3") && !redis_arg_is(x->m, 1, "2")) {
        bytes_print(&x->c->out, "-NOPROTO unsupported protocol version\r\n");
        return;
    }
    x->c->proto = (uint8_t)(x->m->args[1].p[0] - '0');
    bytes_print(&x->c->out,
                "%s\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
                "$5\r\nproto\r\n:%u\r\n$2\r\nid\r\n:%" PRIu64 "\r\n",
                x->c->proto == 3 ? "%4" : "*8", x->c->proto, x->c->id);
}

static const struct {
    const char *name;
    void (*run)(struct call *x);
    bool writes;
    uint8_t args_min, args_max; /* max 0: no limit */
} VERBS[] = {
    {"get", do_get, false, 2, 2},        {"set", do_set, true, 3, 3},
    {"mget", do_mget, false, 2, 0},      {"mset", do_set, true, 3, 0},
    {"del", do_count, true, 2, 0},       {"unlink", do_count, true, 2, 0},
    {"exists", do_count, false, 2, 0},   {"touch", do_count, false, 2, 0},
    {"incr", do_number, true, 2, 2},     {"append", do_number, true, 3, 3},
    {"strlen", do_number, false, 2, 2},  {"hgetall", do_hgetall, false, 2, 2},
    {"sunion", do_sunion, false, 3, 3},  {"ping", do_ping, false, 1, 1},
    {"hello", do_hello, false, 2, 2},    {"setex", do_setex, true, 4, 4},
    {"pexpire", do_pexpire, true, 4, 4},
};

static void run(struct call *x);

static void execute_queued(struct redis_model *m, struct redis_connection *c, uint64_t now)
{
    struct call x = {.m = m, .c = c, .now = now, .verb = "?"};
    run(&x);
}

static void run(struct call *x)
{
    struct redis_model *m = x->m;
    if (redis_sessions_take(m, x->c, x->now, execute_queued) || m->checker->failed)
        return;
    if (redis_pubsub(m, x->c, &x->verb) || redis_control(m, x->c, x->now, &x->verb) ||
        m->checker->failed)
        return;
    for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++) {
        if (!redis_arg_is(m, 0, VERBS[i].name))
            continue;
        x->verb = VERBS[i].name;
        x->writes = VERBS[i].writes;
        if (m->arg_count < VERBS[i].args_min ||
            (VERBS[i].args_max > 0 && m->arg_count > VERBS[i].args_max)) {
            checker_fail(m->checker, "node %u got %s with %u arguments", m->number, x->verb,
                         m->arg_count);
            return;
        }
        VERBS[i].run(x);
        return;
    }
    checker_fail(m->checker, "node %u got a command that is never to be sent on: %.*s", m->number,
                 m->args[0].len > 40 ? 40 : (int)m->args[0].len, m->args[0].p);
}

/* What the connection is to do wrong with the reply that begins `from` bytes into the output. */
static void apply_sabotage(struct redis_connection *c, size_t from)
{
    static const char PUSH[] = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\ns1\r\n";
    static const char *const GARBAGE[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "$5x\r\n", "\r\n",
                                          "*-7\r\n", "$3\r\nabcd\r\n"};
    struct io_sim *w = c->model->checker->world;
    size_t reply_len = c->out.len - from;
    if (reply_len == 0)
        return;
    switch ((enum redis_sabotage)c->sabotage) {
    case SABOTAGE_GARBAGE:
        c->out.len = from;
        bytes_print(&c->out, "%s", GARBAGE[rng_below(io_sim_rng(w), 5)]);
        break;
    case SABOTAGE_PUSH:
        bytes_room(&c->out, sizeof(PUSH));
        memmove(bytes_at(&c->out) + from + sizeof(PUSH) - 1, bytes_at(&c->out) + from, reply_len);
        memcpy(bytes_at(&c->out) + from, PUSH, sizeof(PUSH) - 1);
        c->out.len += sizeof(PUSH) - 1;
        break;
    case SABOTAGE_HALF_REPLY:
        c->out.len = from + rng_below(io_sim_rng(w), reply_len);
        c->close_when_sent = true;
        break;
    case SABOTAGE_HALT:
        if (reply_len > 1)
            c->halt_after = from + 1 + rng_below(io_sim_rng(w), reply_len - 1);
        break;
    case SABOTAGE_EARLY: /* comes with the next request that is not there whole */
        return;
    case SABOTAGE_NONE:
    case SABOTAGE_STRAY:
        break;
    }
    c->sabotage = SABOTAGE_NONE;
}

void redis_execute(struct redis_model *m, struct redis_connection *c, uint64_t now)
{
    struct call x = {.m = m, .c = c, .now = now, .verb = "?"};
    size_t before = c->out.len;
    uint64_t from = c->written;
    c->owner = (struct check_key){0};
    run(&x);
    if (c->owner.tagged) {
        x.owned = true;
        x.client = c->owner.client;
        x.seq = c->owner.seq;
    }
    io_sim_note(m->checker->world, TRACE_EXEC, m->number, x.owned ? x.client : -1,
                x.owned ? (int64_t)x.seq : -1, x.verb);
    if (m->checker->failed)
        return;
    apply_sabotage(c, before);
    c->written += c->out.len - before;
    if (x.owned && c->written > from)
        redis_mark_reply(c, from, c->written, x.client, x.seq);
}
