/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 16, TABLE_MIN = 64, ENTRY_EXTRA = 32 /* the table's and malloc's own */ };

struct entry {
    struct entry *chain;       /* of its table's row */
    struct entry *next, *prev; /* in the order in which they are looked at */
    struct memory_value v;
    uint64_t hash, store;
    size_t bytes; /* that count */
    unsigned clears;
    bool is_used; /* asked for since it was last looked at */
    size_t key_len;
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    struct entry **rows;
    size_t row_count; /* a power of two */
    struct entry *oldest, *newest;
    uint64_t count, bytes, evicted, hits;
} __attribute__((aligned(64)));

struct memory {
    size_t shard_bytes_max;
    struct shard shards[SHARDS];
};

struct memory *memory_new(size_t bytes_max)
{
    struct memory *m = aligned_alloc(64, sizeof(*m) + (64 - sizeof(*m) % 64) % 64);
    if (m == NULL) {
        return NULL;
    }
    memset(m, 0, sizeof(*m));
    m->shard_bytes_max = bytes_max / SHARDS;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&m->shards[i].lock, NULL);
    }
    return m;
}

struct memory *memory_free(struct memory *m)
{
    for (int i = 0; m != NULL && i < SHARDS; i++) {
        struct shard *s = &m->shards[i];
        for (struct entry *e = s->oldest, *next; e != NULL; e = next) {
            next = e->next;
            bytes_unref(e->v.value);
            free(e);
        }
        free(s->rows);
        pthread_mutex_destroy(&s->lock);
    }
    free(m);
    return NULL;
}

static struct shard *shard_of(struct memory *m, uint64_t hash)
{
    return &m->shards[hash >> 60];
}

static struct entry **row_of(struct shard *s, uint64_t hash)
{
    return &s->rows[(hash >> 10) & (s->row_count - 1)];
}

static struct entry **find(struct shard *s, const struct memory_key *k)
{
    if (s->rows == NULL) {
        return NULL;
    }
    struct entry **at = row_of(s, k->hash);
    for (; *at != NULL; at = &(*at)->chain) {
        struct entry *e = *at;
        if (e->hash == k->hash && e->store == k->store && e->key_len == k->key_len &&
            memcmp(e->key, k->key, k->key_len) == 0) {
            return at;
        }
    }
    return NULL;
}

static void queue_remove(struct shard *s, struct entry *e)
{
    *(e->prev != NULL ? &e->prev->next : &s->oldest) = e->next;
    *(e->next != NULL ? &e->next->prev : &s->newest) = e->prev;
}

static void queue_append(struct shard *s, struct entry *e)
{
    e->next = NULL;
    e->prev = s->newest;
    *(s->newest != NULL ? &s->newest->next : &s->oldest) = e;
    s->newest = e;
}

static void remove_at(struct shard *s, struct entry **at)
{
    struct entry *e = *at;
    *at = e->chain;
    queue_remove(s, e);
    s->bytes -= e->bytes;
    s->count--;
    bytes_unref(e->v.value);
    free(e);
}

static void make_room(struct shard *s, size_t bytes_max)
{
    while (s->bytes > bytes_max && s->oldest != NULL) {
        struct entry *e = s->oldest;
        if (e->is_used) {
            e->is_used = false;
            queue_remove(s, e);
            queue_append(s, e);
            continue;
        }
        struct entry **at = row_of(s, e->hash);
        while (*at != e) {
            at = &(*at)->chain;
        }
        remove_at(s, at);
        s->evicted++;
    }
}

static bool grow(struct shard *s)
{
    if (s->rows != NULL && s->count < s->row_count) {
        return true;
    }
    size_t count = s->rows == NULL ? TABLE_MIN : 2 * s->row_count;
    struct entry **rows = calloc(count, sizeof(struct entry *));
    if (rows == NULL) {
        return s->rows != NULL; /* longer rows are slower, no more */
    }
    free(s->rows);
    s->rows = rows;
    s->row_count = count;
    for (struct entry *e = s->oldest; e != NULL; e = e->next) {
        struct entry **row = row_of(s, e->hash);
        e->chain = *row;
        *row = e;
    }
    return true;
}

bool memory_get(struct memory *m, const struct memory_key *k, unsigned clears, int64_t now_ms,
                bool is_old_wanted, struct memory_value *ret)
{
    struct shard *s = shard_of(m, k->hash);
    bool is_found = false;
    pthread_mutex_lock(&s->lock);
    struct entry **at = find(s, k);
    if (at != NULL) {
        struct entry *e = *at;
        int64_t age = now_ms - e->v.envelope.created_ms;
        if (e->clears != clears || age >= (int64_t)e->v.envelope.hard_ms) {
            remove_at(s, at);
        } else if (is_old_wanted || now_ms < e->v.until_ms) {
            e->is_used = true;
            s->hits++;
            *ret = e->v;
            bytes_ref(ret->value);
            is_found = true;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return is_found;
}

void memory_put(struct memory *m, const struct memory_key *k, const struct memory_value *v,
                const struct fence_mark *mark)
{
    size_t bytes = sizeof(struct entry) + ENTRY_EXTRA + k->key_len + v->value->len;
    if (bytes > m->shard_bytes_max / 4) {
        return; /* it would throw out too many others */
    }
    struct entry *e = malloc(sizeof(*e) + k->key_len);
    if (e == NULL) {
        return;
    }
    *e = (struct entry){.v = *v,
                        .hash = k->hash,
                        .store = k->store,
                        .bytes = bytes,
                        .clears = mark->all_seen,
                        .key_len = k->key_len};
    memcpy(e->key, k->key, k->key_len);
    struct shard *s = shard_of(m, k->hash);
    pthread_mutex_lock(&s->lock);
    /* Under the lock: a delete moves the fence first, and then removes under the lock. */
    if (!fence_holds(mark) || !grow(s)) {
        pthread_mutex_unlock(&s->lock);
        free(e);
        return;
    }
    struct entry **at = find(s, k);
    if (at != NULL) {
        remove_at(s, at);
    }
    bytes_ref(e->v.value);
    struct entry **row = row_of(s, k->hash);
    e->chain = *row;
    *row = e;
    queue_append(s, e);
    s->bytes += bytes;
    s->count++;
    make_room(s, m->shard_bytes_max);
    pthread_mutex_unlock(&s->lock);
}

void memory_del(struct memory *m, const struct memory_key *k)
{
    struct shard *s = shard_of(m, k->hash);
    pthread_mutex_lock(&s->lock);
    struct entry **at = find(s, k);
    if (at != NULL) {
        remove_at(s, at);
    }
    pthread_mutex_unlock(&s->lock);
}

void memory_stats_read(struct memory *m, struct memory_stats *ret)
{
    *ret = (struct memory_stats){0};
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        ret->bytes += s->bytes;
        ret->values += s->count;
        ret->evicted += s->evicted;
        ret->hits += s->hits;
        pthread_mutex_unlock(&s->lock);
    }
}
