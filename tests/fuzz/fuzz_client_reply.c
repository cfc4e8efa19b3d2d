/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a server answers to the library for C: client/c/src/incoming.c, and behind it
 * what a read and a delete make of the items. An input is: byte 0 chooses limit, group and count of
 * keys, byte 1 how to cut, the rest is the stream, in which the byte FF stands for 16,000 letters:
 * so that bodies which go past hiredis's reader are within reach.
 *
 * Cut in any way, the stream gives the same items and the same end; no item is larger than allowed;
 * who stops in the middle has nothing left to free.
 */
#include "client/c/src/cache.h"
#include "client/c/src/incoming.h"
#include "client/c/src/job.h"
#include "client/c/src/reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD = 2,
    STREAM_MAX = 100000,
    SLOW = 2000 /* bytes that are not fed one by one */,
    FILL = 16000,
    KEYS_MAX = 4
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

/* What a stream has come to. */
struct outcome {
    uint64_t digest; /* of all items */
    size_t items;
    int end; /* of incoming_next(); or of who was fed, if that is below 0 */
    int answers[KEYS_MAX];
};

struct feed {
    struct reading *reading; /* or: */
    struct job *job;
};

static void note(struct outcome *o, const struct item *item, size_t value_max)
{
    int64_t head[3] = {item->type, item->number, -1};
    if (item->type == ITEM_ARRAY) {
        check(item->number >= 0 && item->bytes == NULL);
    }
    if (item->bytes != NULL) {
        check(item->type == ITEM_BYTES || item->type == ITEM_STATUS || item->type == ITEM_ERROR);
        check(item->bytes->len <= (item->type == ITEM_BYTES ? value_max : INCOMING_DIRECT_MIN));
        head[2] = (int64_t)item->bytes->len;
    }
    o->digest = hash_bytes(head, sizeof(head), o->digest);
    if (item->bytes != NULL) {
        o->digest = hash_bytes(item->bytes->data, item->bytes->len, o->digest);
    }
    o->items++;
}

/* All items that are there. False: it is over. */
static bool take_items(struct incoming *in, struct feed *f, struct outcome *o)
{
    struct item item;
    while ((o->end = incoming_next(in, &item)) == 1) {
        note(o, &item, in->value_max);
        int rc = 0;
        if (f->reading != NULL) {
            rc = reading_feed(f->reading, &item);
            if (rc == 1 && !reading_next(f->reading)) {
                o->end = 1;
                return false;
            }
        } else if (f->job != NULL) {
            rc = job_feed(f->job, &item);
        }
        bytes_unref(item.bytes); /* who was fed has taken it */
        if (rc < 0 || (f->job != NULL && rc > 0)) {
            o->end = rc;
            return false;
        }
    }
    return o->end == 0;
}

/* Feeds the stream in pieces of `step` bytes; 0: as many as there is room for. */
static struct outcome run(struct feed *f, size_t value_max, const char *p, size_t len, size_t step)
{
    struct outcome o = {0};
    static struct incoming place;
    struct incoming *in = &place;
    check(incoming_init(in, value_max) == 0);
    bool goes_on = true;
    while (goes_on && len > 0) {
        char *to;
        size_t n = incoming_room(in, &to);
        check(n > 0); /* or nobody would ever read on */
        n = n < len ? n : len;
        n = step > 0 && step < n ? step : n;
        memcpy(to, p, n);
        incoming_add(in, to, n);
        p += n;
        len -= n;
        goes_on = take_items(in, f, &o);
    }
    check(o.end >= 0 || o.end == -EPROTO || o.end == -EMSGSIZE);
    incoming_fini(in);
    return o;
}

static struct outcome run_items(size_t value_max, const char *p, size_t len, size_t step)
{
    return run(&(struct feed){0}, value_max, p, len, step);
}

/* One world for all runs: what is counted there matters to nobody. */
static struct sc_store *make_store(enum sc_group group)
{
    static struct sc_cache cache;
    static struct sc_store stores[SC_LIST + 1];
    struct sc_store *s = &stores[group];
    cache.value_max = 65536;
    s->cache = &cache;
    s->group = group;
    s->bucket_ms = 60000;
    atomic_store(&s->shares, 2); /* never given up */
    memcpy(s->base, ":", 1);
    s->base_len = 1;
    return s;
}

static struct outcome run_reading(int how, const char *p, size_t len, size_t step)
{
    struct reading_key keys[KEYS_MAX] = {0};
    struct reading r = {.store = make_store((enum sc_group)(how & 3)),
                        .keys = keys,
                        .count = 1 + (how >> 2 & 3),
                        .is_load_next = (how & 16) != 0};
    for (int i = 0; i < KEYS_MAX; i++) {
        keys[i].key = "k";
        keys[i].key_len = 1;
    }
    reading_begin(&r);
    struct outcome o = run(&(struct feed){.reading = &r}, 65536, p, len, step);
    for (int i = 0; i < r.count; i++) {
        check(keys[i].answer >= SC_HIT && keys[i].answer <= SC_NONE);
        check((keys[i].value == NULL) == (keys[i].answer == SC_MISS));
        o.answers[i] = keys[i].answer;
    }
    reading_fini(&r);
    return o;
}

static struct outcome run_job(int how, const char *p, size_t len, size_t step)
{
    static const enum job_kind kinds[] = {JOB_DEL, JOB_SET, JOB_PURGE, JOB_CLEAR};
    struct job *j = job_new(kinds[how & 3], make_store(SC_LIST), "k", 1);
    check(j != NULL);
    j->replies = 1 + (how >> 2 & 3);
    struct outcome o = run(&(struct feed){.job = j}, 65536, p, len, step);
    for (struct job *s; (s = j->spawned) != NULL;) {
        j->spawned = s->next;
        job_unref(s);
    }
    job_unref(j);
    return o;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    check(a->digest == b->digest && a->items == b->items && a->end == b->end);
    check(memcmp(a->answers, b->answers, sizeof(a->answers)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static char stream[STREAM_MAX];
    size_t n = 0;
    for (size_t i = HEAD; i < len && n + FILL < sizeof(stream); i++) {
        size_t count = bytes[i] == 0xFF ? FILL : 1;
        memset(stream + n, bytes[i] == 0xFF ? 'y' : bytes[i], count);
        n += count;
    }
    if (n == 0) {
        return 0;
    }
    size_t value_max = bytes[0] & 1 ? 65536 : 100;
    size_t steps[] = {1, n > SLOW ? 1000 + bytes[1] : 2 + bytes[1] % 64U, 5000 + bytes[1] * 131U};
    struct outcome items = run_items(value_max, stream, n, 0);
    struct outcome reading = run_reading(bytes[0] >> 1, stream, n, 0);
    struct outcome job = run_job(bytes[0] >> 1, stream, n, 0);
    for (size_t i = n > SLOW ? 1 : 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct outcome cut = run_items(value_max, stream, n, steps[i]);
        check_same(&items, &cut);
        cut = run_reading(bytes[0] >> 1, stream, n, steps[i]);
        check_same(&reading, &cut);
        cut = run_job(bytes[0] >> 1, stream, n, steps[i]);
        check_same(&job, &cut);
    }
    return 0;
}
