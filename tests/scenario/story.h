/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A story: one worker (or more) and three nodes in the virtual world, and clients that say word for
 * word what the story makes them say. Time is virtual; nothing sleeps.
 */
#pragma once
#include "bytes.h"
#include "run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { STORY_CLIENTS_MAX = 32 };

struct story {
    struct sim *s;
    struct io *ios[STORY_CLIENTS_MAX];
    int handles[STORY_CLIENTS_MAX];
    struct bytes got[STORY_CLIENTS_MAX];
    bool closed[STORY_CLIENTS_MAX]; /* by the proxy */
    bool deaf[STORY_CLIENTS_MAX];   /* does not read */
    unsigned count;
    size_t most_bytes; /* that workers have held in buffers, since it was last set */
};

/* The options of a story to change before story_begin(): a quiet network, the defaults. */
struct sim_options story_options(void);
/* The same with a control plane, whose times are quicker than in earnest. */
struct sim_options story_control_options(void);
void story_begin(struct story *t, const struct sim_options *options);
/* Everybody leaves; nothing may be left over, and the workers drain. */
void story_end(struct story *t);
/* A story that is to fail: within `ns` a check says what has `mistake` in it. Ends it too. */
void story_end_failing(struct story *t, const char *mistake, uint64_t ns);

unsigned story_connect(struct story *t); /* → the client's number */
/* Of several proxies: to this one. */
unsigned story_connect_proxy(struct story *t, unsigned proxy);
/* To a node, past the proxy. */
unsigned story_connect_node(struct story *t, unsigned node);
void story_say(struct story *t, unsigned client, const char *text);
void story_say_bytes(struct story *t, unsigned client, const void *bytes, size_t len);
void story_leave(struct story *t, unsigned client);
void story_run(struct story *t, uint64_t ns);
/* Waits for as many bytes as `text` has, at most `ns`, and compares. */
void story_hear(struct story *t, unsigned client, const char *text, uint64_t ns);
/* The same, but more may follow, and stays. */
void story_hear_next(struct story *t, unsigned client, const char *text, uint64_t ns);
/* What it would say and hear at once. */
void story_ask(struct story *t, unsigned client, const char *say, const char *hear);

/* A deaf client reads what there is, and from now on. */
void story_listen(struct story *t, unsigned client);

/* ---- large values: the one of a key and a length is always the same ---- */
/* The whole command SET, to be given back with bytes_free(). */
struct bytes story_set_bytes(const char *key, size_t len);
/* Sets it and waits for the answer. */
void story_set(struct story *t, unsigned client, const char *key, size_t len);
/* Puts it into the node behind the proxy's back. */
void story_put(struct story *t, unsigned node, const char *key, size_t len);
/* Waits, at most `ns`, for the value of that key and length as a bulk string, and takes it off what
 * the client got; more may follow. */
void story_hear_value(struct story *t, unsigned client, const char *key, size_t len, uint64_t ns);

/* A string key ("s7") whose owner is that node; `nth` of them, from 0. */
const char *story_key(struct story *t, unsigned node, unsigned nth);
/* A value that nodes accept for that key: "s7.c0.q0.i0." */
const char *story_value(const char *key, char to[32]);
/* The same, the n-th of them. */
const char *story_nth_value(const char *key, unsigned n, char to[32]);
void story_say_set(struct story *t, unsigned client, const char *key, unsigned n);
void story_store(struct story *t, unsigned client, const char *key, unsigned n); /* says so; +OK */
void story_read(struct story *t, unsigned client, const char *key, unsigned n);  /* GET: the n-th */
void story_miss(struct story *t, unsigned client, const char *key);              /* GET: nil */
/* Does the node hold anything under that key? */
bool story_node_holds(const struct story *t, unsigned node, const char *key);
uint64_t story_metric(const struct story *t, const char *name); /* sum over the workers */

#define story_print(t, client, ...)                                                                \
    do {                                                                                           \
        char line_[512];                                                                           \
        snprintf(line_, sizeof(line_), __VA_ARGS__);                                               \
        story_say(t, client, line_);                                                               \
    } while (0)
