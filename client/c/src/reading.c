/* SPDX-License-Identifier: Apache-2.0 */
#include "reading.h"

#include "cache.h"
#include "clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_hash(const struct reading *r)
{
    return r->store->group == SC_HASH;
}

static void add_values(struct reading *r)
{
    struct sc_store *s = r->store;
    char name[NAME_MAX_LEN];
    if (s->group == SC_GENERATION || s->group == SC_LIST) {
        size_t len = name_of_generation(name, s->base, s->base_len);
        commands_add(&r->commands, (struct argument[]){ARGUMENT("GET"), {name, len}}, 2);
        r->replies++;
    }
    if (!is_hash(r)) {
        for (int i = 0; i < r->count; i++) {
            size_t len =
                name_of_value(name, s->base, s->base_len, r->keys[i].key, r->keys[i].key_len);
            commands_add(&r->commands, (struct argument[]){ARGUMENT("GET"), {name, len}}, 2);
            r->replies++;
        }
        return;
    }
    struct argument arguments[READING_KEYS_MAX + 3] = {ARGUMENT("HMGET"), {0}, ARGUMENT("")};
    for (int i = 0; i < r->count; i++) {
        arguments[3 + i] = (struct argument){r->keys[i].key, r->keys[i].key_len};
    }
    for (uint64_t back = 0; back < 2; back++) {
        size_t len = name_of_bucket(name, s->base, s->base_len, r->bucket - back);
        arguments[1] = (struct argument){name, len};
        commands_add(&r->commands, arguments, 3 + r->count);
        r->replies++;
    }
}

void reading_begin(struct reading *r)
{
    r->now_ms = clock_wall_ms();
    r->bucket = is_hash(r) ? (uint64_t)r->now_ms / r->store->bucket_ms : 0;
    r->epoch = 0;
    r->cause = SC_CAUSE_NONE;
    r->error_count = 0;
    r->replies = 0;
    r->phase = READING_VALUES;
    r->at = 0;
    r->row = 0;
    r->elements = -1;
    commands_init(&r->commands);
    for (int i = 0; i < r->count; i++) {
        r->keys[i].answer = SC_MISS;
        r->keys[i].cause = SC_CAUSE_ABSENT;
        r->keys[i].value = NULL;
        r->keys[i].is_bad = false;
    }
    add_values(r);
}

/* 8 bytes, or it is none. */
static uint64_t epoch_of(const struct item *item)
{
    uint64_t epoch = 0;
    if (item->type == ITEM_BYTES && item->bytes->len == 8) {
        for (int i = 8; i-- > 0;) {
            epoch = epoch << 8 | (unsigned char)item->bytes->data[i];
        }
    }
    return epoch;
}

/* Refresh a little early, at random, the earlier the longer a load takes (XFetch): so that of many
 * readers one does it before the value is stale for all. */
static bool is_early(struct reading *r, const struct envelope *e)
{
    if (r->store->early_percent == 0 || e->delta_ms == 0) {
        return false;
    }
    double random = (double)(cache_random(r->store->cache) >> 11) * 0x1p-53;
    double ahead = -(double)e->delta_ms * r->store->early_percent / 100 * log(random + 0x1p-54);
    return (double)(r->now_ms - e->created_ms) + ahead >= e->soft_ms;
}

static void take_value(struct reading *r, struct reading_key *k, struct bytes *stored,
                       uint64_t epoch)
{
    struct sc_store *s = r->store;
    char identity[NAME_MAX_LEN];
    size_t len = name_of_value(identity, s->base, s->base_len, k->key, k->key_len);
    struct envelope_wanted wanted = {.identity = identity,
                                     .identity_len = len,
                                     .now_ms = r->now_ms,
                                     .codec = s->codec,
                                     .epoch = epoch,
                                     .value_max = s->cache->value_max};
    enum envelope_result result =
        envelope_decode(stored, &wanted, &k->envelope, &k->value, &k->offset);
    if (result == ENVELOPE_BAD || result == ENVELOPE_FOREIGN) {
        k->cause = SC_CAUSE_DECODE;
        k->is_bad = result == ENVELOPE_BAD;
        count(s->cache, COUNT_DECODE_ERRORS, 1);
    } else if (result == ENVELOPE_OTHER_EPOCH) {
        k->cause = SC_CAUSE_INVALIDATED;
    } else if (result == ENVELOPE_OK) {
        bool is_stale = r->now_ms >= k->envelope.created_ms + (int64_t)k->envelope.soft_ms ||
                        is_early(r, &k->envelope);
        k->answer = is_stale ? SC_STALE : k->envelope.negative ? SC_NONE : SC_HIT;
        k->cause = is_stale ? SC_CAUSE_ABSENT : SC_CAUSE_NONE;
    }
}

static void note_error(struct reading *r, const struct item *item)
{
    static const char wrongtype[] = "WRONGTYPE";
    const struct bytes *b = item->bytes;
    r->error_count++;
    r->cause = SC_CAUSE_SERVER;
    if (b->len >= sizeof(wrongtype) - 1 && memcmp(b->data, wrongtype, sizeof(wrongtype) - 1) == 0) {
        r->cause = SC_CAUSE_DECODE; /* somebody else's key: no fault of the server */
    }
}

/* One value, or why there is none. */
static int feed_value(struct reading *r, struct reading_key *k, struct item *item, uint64_t epoch)
{
    if (item->type == ITEM_ERROR) {
        note_error(r, item);
        k->cause = r->cause; /* a key of another type is overwritten by the next SET */
    } else if (item->type == ITEM_BYTES) {
        if (k->value == NULL && (r->store->group == SC_KEYS || epoch != 0)) {
            take_value(r, k, item->bytes, epoch);
        } else if (k->value == NULL) {
            k->cause = SC_CAUSE_INVALIDATED;
        }
    } else if (item->type != ITEM_NIL) {
        return -EPROTO;
    }
    return 0;
}

/* An element of HMGET's array: the birth, then the fields. */
static int feed_field(struct reading *r, struct item *item)
{
    int rc = 0;
    if (item->type != ITEM_BYTES && item->type != ITEM_NIL) {
        return -EPROTO;
    }
    if (r->at == 0) {
        r->row_epoch = epoch_of(item);
        if (r->row == 0) {
            r->epoch = r->row_epoch;
        }
    } else {
        rc = feed_value(r, &r->keys[r->at - 1], item, r->row_epoch);
    }
    r->at++;
    if (--r->elements == 0) {
        r->elements = -1;
        r->row++;
        r->replies--;
    }
    return rc;
}

static int feed_bucket(struct reading *r, struct item *item)
{
    if (r->elements >= 0) {
        return feed_field(r, item);
    }
    if (item->type == ITEM_ERROR) {
        note_error(r, item);
        for (int i = 0; i < r->count; i++) {
            if (r->keys[i].value == NULL) {
                r->keys[i].cause = r->cause;
            }
        }
        r->row++;
        r->replies--;
        return 0;
    }
    if (item->type != ITEM_ARRAY || item->number != r->count + 1) {
        return -EPROTO;
    }
    r->elements = item->number;
    r->at = 0;
    return 0;
}

/* Replies to SET NX or HSETNX, and to the GET or HGET after it. */
static int feed_epoch(struct reading *r, struct item *item)
{
    r->replies--;
    if (item->type == ITEM_ERROR) {
        note_error(r, item);
    } else if (item->type == ITEM_ARRAY) {
        return -EPROTO;
    } else if (r->replies == 0) {
        r->epoch = epoch_of(item);
    }
    return 0;
}

int reading_feed(struct reading *r, struct item *item)
{
    int rc;
    if (r->phase == READING_EPOCH) {
        rc = feed_epoch(r, item);
    } else if (is_hash(r)) {
        rc = feed_bucket(r, item);
    } else {
        bool has_generation = r->store->group != SC_KEYS;
        int i = r->at++ - has_generation;
        r->replies--;
        if (i >= 0) {
            rc = feed_value(r, &r->keys[i], item, r->epoch);
        } else {
            rc = item->type == ITEM_ARRAY || item->type == ITEM_INTEGER ? -EPROTO : 0;
            if (item->type == ITEM_ERROR) {
                note_error(r, item);
            }
            r->epoch = epoch_of(item);
        }
    }
    bytes_unref(item->bytes);
    item->bytes = NULL;
    return rc != 0 ? rc : r->replies == 0;
}

bool reading_next(struct reading *r)
{
    struct sc_store *s = r->store;
    bool is_wanted = r->is_load_next && s->group != SC_KEYS && r->epoch == 0 &&
                     r->phase == READING_VALUES && r->error_count == 0;
    commands_fini(&r->commands);
    if (!is_wanted) {
        return false;
    }
    char name[NAME_MAX_LEN], px[24], epoch[8];
    r->random_epoch = cache_random(s->cache);
    for (int i = 0; i < 8; i++) {
        epoch[i] = (char)(r->random_epoch >> (8 * i));
    }
    struct argument value = {epoch, sizeof(epoch)};
    if (is_hash(r)) {
        struct argument to = {name, name_of_bucket(name, s->base, s->base_len, r->bucket)};
        commands_add(&r->commands, (struct argument[]){ARGUMENT("HSETNX"), to, ARGUMENT(""), value},
                     4);
        commands_add(&r->commands, (struct argument[]){ARGUMENT("HGET"), to, ARGUMENT("")}, 3);
    } else {
        struct argument to = {name, name_of_generation(name, s->base, s->base_len)};
        int len = snprintf(px, sizeof(px), "%llu",
                           2 * (unsigned long long)atomic_load(&s->hard_max_ms) + 86400000U);
        struct argument ttl = {px, (size_t)len};
        commands_add(
            &r->commands,
            (struct argument[]){ARGUMENT("SET"), to, value, ARGUMENT("PX"), ttl, ARGUMENT("NX")},
            6);
        commands_add(&r->commands, (struct argument[]){ARGUMENT("GET"), to}, 2);
    }
    r->phase = READING_EPOCH;
    r->replies = 2;
    return true;
}

void reading_fini(struct reading *r)
{
    commands_fini(&r->commands);
    for (int i = 0; i < r->count; i++) {
        r->keys[i].value = bytes_unref(r->keys[i].value);
    }
}
