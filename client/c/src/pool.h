/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections for calls that do their own I/O. A call takes one, and gives it back if it is as it
 * was; who had trouble closes it, so that a late reply is never taken for the next one's. Any
 * thread.
 */
#pragma once

#include "address.h"
#include "commands.h"
#include "conn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* What a new connection says first: AUTH if there is a password, and that failures of nodes are to
 * be told as errors. Servers that do not know the second say so (and are used as they are) or close
 * the connection: then it is left out for a while. */
struct greeting {
    struct commands with, without; /* without SUMCACHE.FAILURES */
    int auth_count;                /* replies to AUTH: 0 or 1 */
    _Atomic int64_t without_until_ns;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t given;
    struct conn *idle;
    unsigned open, max;
    uint64_t generation;
    struct address_book *book;
    size_t value_max;
    struct greeting *greeting;
    _Atomic uint64_t opened;
};

int greeting_init(struct greeting *g, const char *user, const char *password);
void greeting_fini(struct greeting *g);
/* What to send, and in notes->skip how many replies will come to it. */
const struct commands *greeting_begin(struct greeting *g, struct conn *c);
/* A connection was closed before it said a word: the greeting may be why. True: try without it. */
bool greeting_was_refused(struct greeting *g, struct conn *c);

/* `book` and `greeting` outlive it. */
void pool_init(struct pool *p, struct address_book *book, struct greeting *greeting, unsigned max,
               size_t value_max);
void pool_fini(struct pool *p);
/* In the child of a fork: closes what nobody uses, and forgets the rest. */
void pool_reopen(struct pool *p);
/* A connection. 0, -ETIMEDOUT, -ECONNREFUSED, -EBUSY (none is free within the deadline). */
int pool_take(struct pool *p, int64_t deadline_ns, struct conn **ret_conn);
void pool_give(struct pool *p, struct conn *c);
/* Closes one that is of no more use. */
void pool_drop(struct pool *p, struct conn *c);
/* Closes those that nobody uses: the server has gone. */
void pool_flush(struct pool *p);
