/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include "cache.h"
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PURGE_STEP = 500, /* names of a list that are freed at a time */
    AGAIN_MS = 200,   /* until a delete that was refused is sent again */
    SURE_MS = 1000,   /* a delete is repeated after that, when writes before it were lost */
};
#define UNKNOWN_NS (INT64_C(600) * 1000 * NS_PER_MS) /* a command is not tried for ten minutes */

struct job *job_new(enum job_kind kind, struct sc_store *store, const void *key, size_t key_len)
{
    struct job *j = malloc(sizeof(*j) + key_len);
    if (j == NULL) {
        return NULL;
    }
    memset(j, 0, sizeof(*j));
    atomic_init(&j->shares, 1);
    j->kind = kind;
    j->store = store != NULL ? store_ref(store) : NULL;
    j->key_len = key_len;
    j->began_ns = clock_ns();
    j->bytes = sizeof(*j) + key_len;
    if (key_len > 0) {
        memcpy(j->key, key, key_len);
    }
    commands_init(&j->commands);
    commands_init(&j->reading.commands);
    return j;
}

void job_unref(struct job *j)
{
    if (j == NULL || atomic_fetch_sub(&j->shares, 1) != 1) {
        return;
    }
    commands_fini(&j->commands);
    commands_fini(&j->reading.commands);
    bytes_unref(j->read_key.value);
    bytes_unref(j->payload);
    bytes_unref(j->stored);
    bytes_unref(j->value);
    job_unref(j->notice);
    while (j->spawned != NULL) {
        struct job *next = j->spawned->next;
        job_unref(j->spawned);
        j->spawned = next;
    }
    if (j->store != NULL) {
        store_unref(j->store);
    }
    free(j);
}

static void add(struct job *j, const struct argument *arguments, int count)
{
    commands_add(&j->commands, arguments, count);
    j->replies++;
}

#define ADD(j, ...)                                                                                \
    add(j, (struct argument[]){__VA_ARGS__},                                                       \
        sizeof((struct argument[]){__VA_ARGS__}) / sizeof(struct argument))

static struct argument number(char text[24], uint64_t n)
{
    int len = snprintf(text, 24, "%" PRIu64, n);
    return (struct argument){text, (size_t)len};
}

static void prepare_field(struct job *j, struct argument value, uint64_t ttl_ms)
{
    struct sc_store *s = j->store;
    char name[NAME_MAX_LEN], ttl_text[24], bucket_ttl_text[24];
    struct argument bucket = {name, name_of_bucket(name, s->base, s->base_len, j->bucket)};
    struct argument field = {j->key, j->key_len};
    struct argument ttl = number(ttl_text, ttl_ms);
    int64_t now = clock_ns();
    j->field_ttl = atomic_load(&s->cache->no_hsetex_until_ns) < now     ? 2
                   : atomic_load(&s->cache->no_hpexpire_until_ns) < now ? 1
                                                                        : 0;
    if (j->field_ttl == 2) {
        ADD(j, ARGUMENT("HSETEX"), bucket, ARGUMENT("PX"), ttl, ARGUMENT("FIELDS"), ARGUMENT("1"),
            field, value);
    } else {
        ADD(j, ARGUMENT("HSET"), bucket, field, value);
    }
    if (j->field_ttl == 1) {
        ADD(j, ARGUMENT("HPEXPIRE"), bucket, ttl, ARGUMENT("FIELDS"), ARGUMENT("1"), field);
    }
    ADD(j, ARGUMENT("PEXPIRE"), bucket, number(bucket_ttl_text, 3 * s->bucket_ms));
}

static bool prepare_set(struct job *j)
{
    struct sc_store *s = j->store;
    int64_t ttl_ms = j->envelope.created_ms + (int64_t)j->envelope.hard_ms - clock_wall_ms();
    if (ttl_ms < 1 || !fence_holds(&j->mark) || fence_is_pending(&j->mark)) {
        return false; /* expired in the queue, or deleted meanwhile */
    }
    char name[NAME_MAX_LEN], list[NAME_MAX_LEN], ttl_text[24], list_ttl_text[24];
    struct argument to = {name, name_of_value(name, s->base, s->base_len, j->key, j->key_len)};
    if (j->stored == NULL) {
        size_t len = j->payload != NULL ? j->payload->len - j->payload_offset : 0;
        const char *data = j->payload != NULL ? j->payload->data + j->payload_offset : "";
        j->stored = envelope_encode(&j->envelope, name, to.len, data, len, s->pack);
    }
    if (j->stored == NULL) {
        return false;
    }
    struct argument value = {j->stored->data, j->stored->len};
    if (s->group == SC_HASH) {
        prepare_field(j, value, (uint64_t)ttl_ms);
        return true;
    }
    ADD(j, ARGUMENT("SET"), to, value, ARGUMENT("PX"), number(ttl_text, (uint64_t)ttl_ms));
    if (s->group == SC_LIST) {
        struct argument l = {list, name_of_list(list, s->base, s->base_len)};
        ADD(j, ARGUMENT("SADD"), l, to);
        ADD(j, ARGUMENT("PEXPIRE"), l,
            number(list_ttl_text, 2 * (uint64_t)atomic_load(&s->hard_max_ms)));
    }
    return true;
}

/* Of both buckets that are read, and of the next one, for writers whose clock is ahead. */
static void prepare_hash_del(struct job *j)
{
    struct sc_store *s = j->store;
    char names[3][NAME_BASE_MAX + 32];
    uint64_t bucket = (uint64_t)clock_wall_ms() / s->bucket_ms;
    struct argument to[3];
    for (uint64_t i = 0; i < 3; i++) {
        to[i] = (struct argument){names[i],
                                  name_of_bucket(names[i], s->base, s->base_len, bucket + i - 1)};
        if (j->kind != JOB_CLEAR) {
            ADD(j, ARGUMENT("HDEL"), to[i], {j->key, j->key_len});
        }
    }
    if (j->kind == JOB_CLEAR && j->is_plain) {
        ADD(j, ARGUMENT("DEL"), to[0], to[1], to[2]);
    } else if (j->kind == JOB_CLEAR) {
        ADD(j, ARGUMENT("UNLINK"), to[0], to[1], to[2]);
    }
}

static void prepare_del(struct job *j)
{
    struct sc_store *s = j->store;
    char name[NAME_MAX_LEN];
    if (s->group == SC_HASH) {
        prepare_hash_del(j);
    } else if (j->kind == JOB_CLEAR) {
        ADD(j, ARGUMENT("DEL"), {name, name_of_generation(name, s->base, s->base_len)});
    } else {
        ADD(j, ARGUMENT("DEL"),
            {name, name_of_value(name, s->base, s->base_len, j->key, j->key_len)});
    }
}

static void prepare_purge(struct job *j)
{
    struct sc_store *s = j->store;
    char list[NAME_MAX_LEN], step[24];
    ADD(j, ARGUMENT("SPOP"), {list, name_of_list(list, s->base, s->base_len)},
        number(step, PURGE_STEP));
}

bool job_prepare(struct job *j)
{
    commands_fini(&j->commands);
    j->sent_part = 0;
    j->sent_of_part = 0;
    j->replies = 0;
    j->reply_count = 0;
    j->has_error = false;
    j->elements = 0;
    j->number = 0;
    bool is_wanted = true;
    switch (j->kind) {
    case JOB_SET:
        is_wanted = prepare_set(j);
        break;
    case JOB_REMOVE:
    case JOB_DEL:
    case JOB_CLEAR:
        prepare_del(j);
        break;
    case JOB_PURGE:
        prepare_purge(j);
        break;
    case JOB_FREE:
        ADD(j, ARGUMENT("DEL"), {j->key, j->key_len});
        break;
    case JOB_PROBE:
        ADD(j, ARGUMENT("GET"), {j->key, j->key_len});
        break;
    default:
        return false; /* reads make their own; the others send nothing */
    }
    return is_wanted && !j->commands.has_failed;
}

/* Of a value of this store? The list is foreign bytes: it does not say what may be deleted. */
static bool is_value_name(const struct sc_store *s, const struct bytes *name)
{
    return name->len > s->base_len + 3 && name->len <= NAME_MAX_LEN &&
           memcmp(name->data, s->base, s->base_len) == 0 &&
           memcmp(name->data + s->base_len, ":k:", 3) == 0;
}

/* A name that came out of the list: a job of its own. */
static void take_name(struct job *j, const struct item *item)
{
    if (item->type == ITEM_BYTES && is_value_name(j->store, item->bytes)) {
        struct job *free_it = job_new(JOB_FREE, j->store, item->bytes->data, item->bytes->len);
        if (free_it != NULL) {
            free_it->next = j->spawned;
            j->spawned = free_it;
        }
    }
}

int job_feed(struct job *j, struct item *item)
{
    if (j->kind == JOB_READ) {
        return reading_feed(&j->reading, item);
    }
    int rc = 0;
    if (j->elements > 0) {
        if (j->kind == JOB_PURGE) {
            take_name(j, item);
        }
        j->elements--;
        rc = item->type == ITEM_ARRAY ? -EPROTO : 0;
    } else {
        j->reply_count++;
        j->has_error |= item->type == ITEM_ERROR && j->kind != JOB_PROBE;
        if (item->type == ITEM_ERROR && j->kind == JOB_PROBE) {
            j->has_error = item->bytes->len < 9 || memcmp(item->bytes->data, "WRONGTYPE", 9) != 0;
        }
        if (item->type == ITEM_ARRAY) {
            rc = j->kind == JOB_PURGE && j->reply_count == 1 && item->number <= PURGE_STEP
                     ? 0
                     : -EPROTO;
            j->elements = item->number;
            j->number = item->number;
        }
    }
    bytes_unref(item->bytes);
    item->bytes = NULL;
    return rc != 0 ? rc : j->reply_count >= j->replies && j->elements == 0;
}

/* A field was refused: one of the commands may not be known. True: try again without it. */
static bool learns(struct job *j, int64_t now_ns)
{
    if (j->store->group != SC_HASH || j->field_ttl == 0) {
        return false;
    }
    atomic_store(j->field_ttl == 2 ? &j->store->cache->no_hsetex_until_ns
                                   : &j->store->cache->no_hpexpire_until_ns,
                 now_ns + UNKNOWN_NS);
    return true;
}

enum job_end job_finish(struct job *j, bool has_lost_writes, int64_t now_ns)
{
    if (j->store == NULL) {
        return JOB_DONE; /* a probe */
    }
    struct sc_cache *c = j->store->cache;
    switch (j->kind) {
    case JOB_SET:
        if (!j->has_error) {
            cache_note(c, SC_CAUSE_NONE);
            return JOB_DONE;
        }
        if (learns(j, now_ns)) {
            return JOB_AGAIN;
        }
        /* Not told to the breaker: a server that takes no writes (OOM, READONLY) can be read. */
        count(c, COUNT_SERVER_ERRORS, 1);
        return JOB_DONE;
    case JOB_DEL:
    case JOB_CLEAR:
        if (j->has_error && now_ns < j->given_up_ns) {
            count(c, COUNT_SERVER_ERRORS, 1);
            j->is_repeated = true;
            j->is_plain = true;
            j->not_before_ns = now_ns + (int64_t)AGAIN_MS * NS_PER_MS;
            return JOB_DELAYED;
        }
        if (has_lost_writes && !j->is_repeated) {
            j->is_repeated = true;
            j->not_before_ns = now_ns + (int64_t)SURE_MS * NS_PER_MS;
            return JOB_DELAYED;
        }
        if (j->kind == JOB_CLEAR && j->store->group == SC_LIST) {
            j->spawned = job_new(JOB_PURGE, j->store, NULL, 0);
        }
        return JOB_DONE;
    case JOB_PURGE:
        return !j->has_error && j->number == PURGE_STEP ? JOB_AGAIN : JOB_DONE;
    default:
        return JOB_DONE;
    }
}
