/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include "clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Short: it may have been a server that was just about to end. */
#define WITHOUT_NS (INT64_C(10) * 1000 * NS_PER_MS)

int greeting_init(struct greeting *g, const char *user, const char *password)
{
    commands_init(&g->with);
    commands_init(&g->without);
    g->auth_count = password != NULL;
    atomic_init(&g->without_until_ns, 0);
    if (password != NULL) {
        struct argument auth[3] = {ARGUMENT("AUTH")};
        int count = 1;
        if (user != NULL) {
            auth[count++] = (struct argument){user, strlen(user)};
        }
        auth[count++] = (struct argument){password, strlen(password)};
        commands_add(&g->with, auth, count);
        commands_add(&g->without, auth, count);
    }
    struct argument failures[2] = {ARGUMENT("SUMCACHE.FAILURES"), ARGUMENT("error")};
    commands_add(&g->with, failures, 2);
    return g->with.has_failed || g->without.has_failed ? -ENOMEM : 0;
}

void greeting_fini(struct greeting *g)
{
    commands_fini(&g->with);
    commands_fini(&g->without);
}

const struct commands *greeting_begin(struct greeting *g, struct conn *c)
{
    bool is_with = atomic_load(&g->without_until_ns) < clock_ns();
    conn_notes(c)->skip = g->auth_count + is_with;
    conn_notes(c)->auth = g->auth_count;
    return is_with ? &g->with : &g->without;
}

bool greeting_was_refused(struct greeting *g, struct conn *c)
{
    if (conn_has_received(c) || conn_notes(c)->skip <= g->auth_count) {
        return false;
    }
    atomic_store(&g->without_until_ns, clock_ns() + WITHOUT_NS);
    return true;
}

void pool_init(struct pool *p, struct address_book *book, struct greeting *greeting, unsigned max,
               size_t value_max)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->given, &monotonic);
    pthread_condattr_destroy(&monotonic);
    p->idle = NULL;
    p->open = 0;
    p->max = max;
    p->generation = 0;
    p->book = book;
    p->greeting = greeting;
    p->value_max = value_max;
}

void pool_flush(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct conn *idle = p->idle;
    p->idle = NULL;
    p->generation++;
    pthread_mutex_unlock(&p->lock);
    while (idle != NULL) {
        struct conn *next = conn_notes(idle)->next;
        pool_drop(p, idle);
        idle = next;
    }
}

void pool_fini(struct pool *p)
{
    pool_flush(p);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->given);
}

void pool_reopen(struct pool *p)
{
    struct conn *idle = p->idle;
    uint64_t generation = p->generation;
    pool_init(p, p->book, p->greeting, p->max, p->value_max);
    p->generation = generation + 1; /* not that of connections that a call of the parent had */
    while (idle != NULL) {
        struct conn *next = conn_notes(idle)->next;
        conn_free(idle);
        idle = next;
    }
}

static void let_go(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->open--;
    pthread_cond_signal(&p->given);
    pthread_mutex_unlock(&p->lock);
}

void pool_drop(struct pool *p, struct conn *c)
{
    conn_free(c);
    let_go(p);
}

void pool_give(struct pool *p, struct conn *c)
{
    conn_notes(c)->is_reused = true;
    pthread_mutex_lock(&p->lock);
    if (conn_notes(c)->generation == p->generation) {
        conn_notes(c)->next = p->idle;
        p->idle = c;
        c = NULL;
        pthread_cond_signal(&p->given);
    }
    pthread_mutex_unlock(&p->lock);
    if (c != NULL) {
        pool_drop(p, c);
    }
}

/* The first address that can be connected to. */
static int dial(struct pool *p, int64_t deadline_ns, struct conn **ret_conn)
{
    struct address addresses[ADDRESS_MAX];
    int count = address_book_read(p->book, addresses);
    int rc = -ECONNREFUSED;
    for (int i = 0; i < count; i++) {
        struct conn *c = conn_new(&addresses[i], p->value_max);
        if (c == NULL) {
            continue;
        }
        /* Of the time that is left, each address gets its share. */
        int64_t now = clock_ns();
        rc = conn_wait_connected(c, now + (deadline_ns - now) / (count - i));
        if (rc == 0) {
            atomic_fetch_add_explicit(&p->opened, 1, memory_order_relaxed);
            *ret_conn = c;
            return 0;
        }
        conn_free(c);
    }
    return rc;
}

int pool_take(struct pool *p, int64_t deadline_ns, struct conn **ret_conn)
{
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    pthread_mutex_lock(&p->lock);
    while (p->idle == NULL && p->open >= p->max) {
        if (pthread_cond_timedwait(&p->given, &p->lock, &until) == ETIMEDOUT) {
            pthread_mutex_unlock(&p->lock);
            return -EBUSY;
        }
    }
    struct conn *c = p->idle;
    uint64_t generation = p->generation;
    if (c != NULL) {
        p->idle = conn_notes(c)->next;
    } else {
        p->open++;
    }
    pthread_mutex_unlock(&p->lock);
    if (c == NULL) {
        int rc = dial(p, deadline_ns, &c);
        if (rc != 0) {
            let_go(p);
            return rc;
        }
        conn_notes(c)->generation = generation;
    }
    *ret_conn = c;
    return 0;
}
