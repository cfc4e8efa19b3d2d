/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_pubsub.h"

#include "redis_commands.h"

#include <fnmatch.h>

enum { CHANNEL, PATTERN, SHARD, KINDS };

static const char *const SUBSCRIBE[KINDS] = {"subscribe", "psubscribe", "ssubscribe"};
static const char *const UNSUBSCRIBE[KINDS] = {"unsubscribe", "punsubscribe", "sunsubscribe"};
static const char *const MESSAGE[KINDS] = {"message", "pmessage", "smessage"};

static void add_bulk(struct bytes *to, const char *p, size_t len)
{
    bytes_print(to, "$%zu\r\n", len);
    bytes_add(to, p, len);
    bytes_print(to, "\r\n");
}

static void add_text(struct bytes *to, const char *text)
{
    add_bulk(to, text, strlen(text));
}

static struct redis_topic *find(struct redis_connection *c, int kind, const char *name)
{
    for (uint32_t i = 0; i < c->topic_count; i++)
        if (c->topics[i].kind == kind && strcmp(c->topics[i].name, name) == 0)
            return &c->topics[i];
    return NULL;
}

static uint32_t count_of(const struct redis_connection *c, int kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->topic_count; i++)
        count += (c->topics[i].kind == SHARD) == (kind == SHARD);
    return count;
}

static void confirm(struct redis_connection *c, const char *word, int kind, const char *name)
{
    bytes_print(&c->out, "%c3\r\n", c->proto == 3 ? '>' : '*');
    add_text(&c->out, word);
    add_text(&c->out, name);
    bytes_print(&c->out, ":%u\r\n", count_of(c, kind));
}

static void subscribe(struct redis_model *m, struct redis_connection *c, int kind)
{
    for (uint32_t i = 1; i < m->arg_count; i++) {
        char *name = strndup(m->args[i].p, m->args[i].len);
        must(name);
        if (find(c, kind, name)) {
            checker_fail(m->checker, "node %u: subscribed to %s twice", m->number, name);
            free(name);
            return;
        }
        c->topics = realloc(c->topics, (c->topic_count + 1) * sizeof(*c->topics));
        must(c->topics);
        c->topics[c->topic_count++] = (struct redis_topic){.kind = kind, .name = name};
        confirm(c, SUBSCRIBE[kind], kind, name);
    }
}

static void unsubscribe(struct redis_model *m, struct redis_connection *c, int kind)
{
    for (uint32_t i = 1; i < m->arg_count; i++) {
        char *name = strndup(m->args[i].p, m->args[i].len);
        must(name);
        struct redis_topic *t = find(c, kind, name);
        if (t) {
            free(t->name);
            *t = c->topics[--c->topic_count];
        } else {
            checker_fail(m->checker, "node %u: unsubscribed from %s, which it was not", m->number,
                         name);
        }
        confirm(c, UNSUBSCRIBE[kind], kind, name);
        free(name);
    }
}

static bool hears(const struct redis_topic *t, bool sharded, const char *channel)
{
    if (sharded != (t->kind == SHARD))
        return false;
    return t->kind == PATTERN ? fnmatch(t->name, channel, 0) == 0 : strcmp(t->name, channel) == 0;
}

static void publish(struct redis_model *m, struct redis_connection *by, bool sharded)
{
    char *channel = strndup(m->args[1].p, m->args[1].len);
    uint32_t heard = 0;
    must(channel);
    for (unsigned i = 0; i < m->connection_count; i++) {
        struct redis_connection *c = &m->connections[i];
        size_t before = c->out.len;
        for (uint32_t k = 0; c->handle >= 0 && k < c->topic_count; k++) {
            const struct redis_topic *t = &c->topics[k];
            if (!hears(t, sharded, channel))
                continue;
            bytes_print(&c->out, "%c%d\r\n", c->proto == 3 ? '>' : '*', t->kind == PATTERN ? 4 : 3);
            add_text(&c->out, MESSAGE[t->kind]);
            if (t->kind == PATTERN)
                add_text(&c->out, t->name);
            add_text(&c->out, channel);
            add_bulk(&c->out, m->args[2].p, m->args[2].len);
            heard++;
        }
        c->written += c->out.len - before;
    }
    free(channel);
    bytes_print(&by->out, ":%u\r\n", heard);
}

bool redis_pubsub(struct redis_model *m, struct redis_connection *c, const char **ret_verb)
{
    for (int kind = 0; kind < KINDS; kind++) {
        if (redis_arg_is(m, 0, SUBSCRIBE[kind])) {
            *ret_verb = SUBSCRIBE[kind];
            subscribe(m, c, kind);
            return true;
        }
        if (redis_arg_is(m, 0, UNSUBSCRIBE[kind])) {
            *ret_verb = UNSUBSCRIBE[kind];
            unsubscribe(m, c, kind);
            return true;
        }
    }
    if (redis_arg_is(m, 0, "publish") || redis_arg_is(m, 0, "spublish")) {
        *ret_verb = "publish";
        publish(m, c, redis_arg_is(m, 0, "spublish"));
        return true;
    }
    if (c->topic_count > 0 && c->proto == 2) {
        *ret_verb = "ping";
        if (redis_arg_is(m, 0, "ping"))
            bytes_print(&c->out, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        else
            checker_fail(m->checker, "node %u: a subscriber sends another command", m->number);
        return true;
    }
    return false;
}

void redis_pubsub_free(struct redis_connection *c)
{
    for (uint32_t i = 0; i < c->topic_count; i++)
        free(c->topics[i].name);
    free(c->topics);
}

uint32_t redis_pubsub_count(const struct redis_model *m, const char *name)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < m->connection_count; i++)
        for (uint32_t k = 0; k < m->connections[i].topic_count; k++)
            count += strcmp(m->connections[i].topics[k].name, name) == 0;
    return count;
}
