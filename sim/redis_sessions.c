/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_sessions.h"

#include "redis_commands.h"

#include <inttypes.h>

static bool parse_key(const struct redis_model *m, uint32_t index, struct check_key *ret)
{
    if (index < m->arg_count && check_key_parse(m->args[index].p, m->args[index].len, ret))
        return true;
    checker_fail(m->checker, "node %u got a key nobody sent", m->number);
    return false;
}

static bool is_same(const struct check_key *a, const struct check_key *b)
{
    return a->class == b->class && a->number == b->number;
}

static void end_multi(struct redis_connection *c)
{
    bytes_free(&c->queue);
    c->queued = 0;
    c->multi = c->touched = false;
    c->watch_count = 0;
}

void redis_sessions_touch(struct redis_model *m, const struct check_key *key)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        for (unsigned k = 0; c->handle >= 0 && k < c->watch_count; k++)
            c->touched = c->touched || is_same(&c->watched[k], key);
    }
}

static void out_nil_array(struct redis_connection *c)
{
    bytes_print(&c->out, "%s", c->proto == 3 ? "_\r\n" : "*-1\r\n");
}

static void do_exec(struct redis_model *m, struct redis_connection *c, uint64_t now,
                    void (*execute)(struct redis_model *, struct redis_connection *, uint64_t))
{
    if (!c->multi) {
        bytes_print(&c->out, "-ERR EXEC without MULTI\r\n");
        return;
    }
    struct bytes queue = c->queue;
    unsigned count = c->queued;
    c->owner = c->queue_owner;
    c->queue_owner = (struct check_key){0};
    bool touched = c->touched;
    c->queue = (struct bytes){0};
    end_multi(c);
    if (touched)
        out_nil_array(c);
    else
        bytes_print(&c->out, "*%u\r\n", count);
    c->executes = true;
    while (!touched && queue.len > 0 && !m->checker->failed) {
        size_t len = redis_model_parse(m, bytes_at(&queue), queue.len);
        must(len > 0);
        execute(m, c, now);
        bytes_take(&queue, len);
    }
    c->executes = false;
    bytes_free(&queue);
}

/* The value of the key that it waits for, and the key is gone. */
static void give(struct redis_model *m, struct redis_connection *c, struct redis_value *v)
{
    char name[16];
    int n = snprintf(name, sizeof(name), "%c%u", c->waits_for.class, c->waits_for.number);
    bytes_print(&c->out, "*2\r\n$%d\r\n%s\r\n$%zu\r\n", n, name, v->bytes.len);
    bytes_add(&c->out, bytes_at(&v->bytes), v->bytes.len);
    bytes_print(&c->out, "\r\n");
    v->exists = false;
    redis_sessions_touch(m, &c->waits_for);
}

static void do_watch(struct redis_model *m, struct redis_connection *c)
{
    for (uint32_t i = 1; i < m->arg_count && c->watch_count < REDIS_WATCHED_MAX; i++) {
        struct check_key *key = &c->watched[c->watch_count++];
        struct str text = {m->args[i].p, m->args[i].len};
        if (!parse_key(m, i, key))
            return;
        struct check_part *part =
            checker_executes(m->checker, m->number, "watch", text, key, false, c->died_step);
        if (part)
            part->outcome = OUTCOME_OK;
        c->owner = *key;
    }
    bytes_print(&c->out, "+OK\r\n");
}

/* BLPOP key seconds */
static void do_blpop(struct redis_model *m, struct redis_connection *c, uint64_t now)
{
    if (!parse_key(m, 1, &c->waits_for))
        return;
    char seconds[16] = "";
    if (m->arg_count == 3 && m->args[2].len < sizeof(seconds))
        memcpy(seconds, m->args[2].p, m->args[2].len);
    double wait = strtod(seconds, NULL);
    c->waits = !c->executes; /* and it is served as soon as this is done, if it can be */
    c->waits_until = wait > 0 ? now + (uint64_t)(wait * NSEC_S) : NSEC_NEVER;
    struct redis_value *v = redis_model_value(m, &c->waits_for);
    if (c->executes && v->exists)
        give(m, c, v);
    else if (c->executes)
        out_nil_array(c);
}

bool redis_sessions_take(struct redis_model *m, struct redis_connection *c, uint64_t now,
                         void (*execute)(struct redis_model *m, struct redis_connection *c,
                                         uint64_t now))
{
    if (redis_arg_is(m, 0, "multi")) {
        c->multi = true;
        bytes_print(&c->out, "+OK\r\n");
    } else if (redis_arg_is(m, 0, "exec")) {
        do_exec(m, c, now, execute);
    } else if (redis_arg_is(m, 0, "unwatch")) {
        c->watch_count = 0;
        c->touched = false;
        bytes_print(&c->out, "+OK\r\n");
    } else if (c->multi) {
        struct check_key key;
        if (m->arg_count > 1 && check_key_parse(m->args[1].p, m->args[1].len, &key))
            c->queue_owner = key;
        bytes_add(&c->queue, bytes_at(&c->in), c->frame_len);
        c->queued++;
        bytes_print(&c->out, "+QUEUED\r\n");
    } else if (redis_arg_is(m, 0, "watch")) {
        do_watch(m, c);
    } else if (redis_arg_is(m, 0, "blpop")) {
        do_blpop(m, c, now);
    } else {
        return false;
    }
    return true;
}

void redis_sessions_serve(struct redis_model *m)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        struct redis_value *v =
            c->handle >= 0 && c->waits ? redis_model_value(m, &c->waits_for) : NULL;
        if (!v || !v->exists)
            continue;
        size_t before = c->out.len;
        give(m, c, v);
        c->written += c->out.len - before;
        c->waits = false;
    }
}

void redis_sessions_expire(struct redis_model *m, uint64_t now)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle < 0 || !c->waits || now < c->waits_until)
            continue;
        c->waits = false;
        size_t before = c->out.len;
        out_nil_array(c);
        c->written += c->out.len - before;
    }
}

bool redis_sessions_unblock(struct redis_model *m, uint64_t id, bool kick)
{
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        if (c->handle < 0 || c->id != id || !c->waits)
            continue;
        c->waits = false;
        size_t before = c->out.len;
        if (kick)
            bytes_print(&c->out, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
        else
            out_nil_array(c);
        c->written += c->out.len - before;
        return true;
    }
    return false;
}
