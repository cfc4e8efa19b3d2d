/* SPDX-License-Identifier: Apache-2.0 */
/* What a read asks, and what it makes of the replies: the groups of docs/stored-format.md. */
#include "client/c/src/reading.h"

#include "client/c/src/clock.h"
#include "world.h"

#include <errno.h>
#include <string.h>

static const uint64_t EPOCH = 0x6867666564636261; /* "abcdefgh" */

static void open_group(struct world *w, enum sc_group group)
{
    struct sc_store_options o = {
        .size = sizeof(o), .namespace_ = "n", .prefix = "p", .group = group};
    world_open(w, NULL, &o);
}

static void begin(struct reading *r, struct reading_key *k, struct world *w, bool is_load_next)
{
    *k = (struct reading_key){.key = "k", .key_len = 1};
    *r = (struct reading){.store = w->store, .keys = k, .count = 1, .is_load_next = is_load_next};
    reading_begin(r);
}

static bool sends(const struct reading *r, const char *text)
{
    char all[4096];
    size_t at = 0;
    for (int i = 0; i < r->commands.part_count; i++) {
        memcpy(all + at, r->commands.parts[i].iov_base, r->commands.parts[i].iov_len);
        at += r->commands.parts[i].iov_len;
    }
    return memmem(all, at, text, strlen(text)) != NULL;
}

static int feed(struct reading *r, enum item_type type, const void *data, size_t len)
{
    struct item item = {.type = type, .number = (int64_t)len};
    if (data != NULL) {
        item.bytes = bytes_copy(data, len);
    }
    return reading_feed(r, &item);
}

static int feed_nil(struct reading *r)
{
    return feed(r, ITEM_NIL, NULL, 0);
}

static int feed_value(struct reading *r, uint64_t epoch)
{
    struct envelope e = {.created_ms = r->now_ms, .soft_ms = 1000, .hard_ms = 1000, .epoch = epoch};
    struct bytes *b = envelope_encode(&e, "n:p:k:k", 7, "hello", 5, (struct pack_rule){0});
    struct item item = {.type = ITEM_BYTES, .bytes = b};
    return reading_feed(r, &item);
}

static void check_hit(struct reading *r, struct reading_key *k)
{
    assert_int_equal(k->answer, SC_HIT);
    assert_memory_equal(k->value->data + k->offset, "hello", 5);
    assert_false(reading_next(r));
    reading_fini(r);
}

static void check_miss(struct reading *r, struct reading_key *k, int cause)
{
    assert_int_equal(k->answer, SC_MISS);
    assert_int_equal(k->cause, cause);
    assert_null(k->value);
    reading_fini(r);
}

static void single_keys(void **state)
{
    (void)state;
    struct world w;
    struct reading r;
    struct reading_key k;
    open_group(&w, SC_KEYS);
    begin(&r, &k, &w, true);
    assert_true(sends(&r, "GET\r\n$7\r\nn:p:k:k\r\n"));
    assert_int_equal(feed_value(&r, 0), 1);
    check_hit(&r, &k);
    begin(&r, &k, &w, true);
    assert_int_equal(feed_nil(&r), 1);
    assert_false(reading_next(&r)); /* no generation to be made */
    check_miss(&r, &k, SC_CAUSE_ABSENT);
    begin(&r, &k, &w, true);
    assert_int_equal(feed(&r, ITEM_BYTES, "garbage", 7), 1);
    assert_true(k.is_bad);
    check_miss(&r, &k, SC_CAUSE_DECODE);
    begin(&r, &k, &w, true);
    assert_int_equal(feed(&r, ITEM_ERROR, "WRONGTYPE of it", 15), 1);
    assert_int_equal(r.error_count, 1);
    check_miss(&r, &k, SC_CAUSE_DECODE);
    begin(&r, &k, &w, true);
    assert_int_equal(feed(&r, ITEM_ERROR, "LOADING", 7), 1);
    check_miss(&r, &k, SC_CAUSE_SERVER);
    static const enum item_type wrong[] = {ITEM_ARRAY, ITEM_INTEGER, ITEM_STATUS};
    for (int i = 0; i < 3; i++) {
        begin(&r, &k, &w, true);
        assert_int_equal(feed(&r, wrong[i], wrong[i] == ITEM_STATUS ? "OK" : NULL, 2), -EPROTO);
        reading_fini(&r);
    }
    world_close(&w);
}

static void a_group_by_generation(void **state)
{
    (void)state;
    struct world w;
    struct reading r;
    struct reading_key k;
    open_group(&w, SC_GENERATION);
    begin(&r, &k, &w, true);
    assert_true(sends(&r, "GET\r\n$5\r\nn:p:g\r\n"));
    assert_int_equal(feed(&r, ITEM_BYTES, "abcdefgh", 8), 0);
    assert_int_equal(feed_value(&r, EPOCH), 1);
    assert_int_equal(r.epoch, EPOCH);
    check_hit(&r, &k);
    begin(&r, &k, &w, true); /* a value of before the last clear */
    feed(&r, ITEM_BYTES, "abcdefgh", 8);
    assert_int_equal(feed_value(&r, EPOCH + 1), 1);
    assert_false(k.is_bad);
    assert_false(reading_next(&r));
    check_miss(&r, &k, SC_CAUSE_INVALIDATED);
    begin(&r, &k, &w, true); /* the generation is lost: a miss, and a new one is made */
    feed_nil(&r);
    assert_int_equal(feed_value(&r, EPOCH), 1);
    assert_true(reading_next(&r));
    assert_true(sends(&r, "SET\r\n") && sends(&r, "\r\nNX\r\n") && sends(&r, "GET\r\n"));
    feed_nil(&r); /* somebody else was faster */
    assert_int_equal(feed(&r, ITEM_BYTES, "abcdefgh", 8), 1);
    assert_false(reading_next(&r));
    assert_int_equal(r.epoch, EPOCH);
    check_miss(&r, &k, SC_CAUSE_INVALIDATED);
    begin(&r, &k, &w, false); /* nothing is loaded: none is made */
    feed_nil(&r);
    feed_nil(&r);
    assert_false(reading_next(&r));
    reading_fini(&r);
    begin(&r, &k, &w, true); /* bytes that are no generation */
    feed(&r, ITEM_BYTES, "abc", 3);
    assert_int_equal(feed_value(&r, EPOCH), 1);
    check_miss(&r, &k, SC_CAUSE_INVALIDATED);
    world_close(&w);
}

/* One bucket of a hash: birth and value; 0: neither. */
static int feed_bucket(struct reading *r, uint64_t birth, uint64_t epoch)
{
    assert_int_equal(feed(r, ITEM_ARRAY, NULL, 2), 0);
    assert_int_equal(birth != 0 ? feed(r, ITEM_BYTES, "abcdefgh", 8) : feed_nil(r), 0);
    return epoch != 0 ? feed_value(r, epoch) : feed_nil(r);
}

static void a_group_in_a_hash(void **state)
{
    (void)state;
    struct world w;
    struct reading r;
    struct reading_key k;
    open_group(&w, SC_HASH);
    begin(&r, &k, &w, true);
    assert_true(sends(&r, "HMGET\r\n") && sends(&r, "{n:p}:h"));
    assert_int_equal(feed_bucket(&r, EPOCH, EPOCH), 0);
    assert_int_equal(feed_bucket(&r, 0, 0), 1);
    check_hit(&r, &k);
    begin(&r, &k, &w, true); /* the bucket before; and what is loaded goes into a new one */
    assert_int_equal(feed_bucket(&r, 0, 0), 0);
    assert_int_equal(feed_bucket(&r, EPOCH, EPOCH), 1);
    assert_int_equal(k.answer, SC_HIT);
    assert_int_equal(r.epoch, 0);
    assert_true(reading_next(&r));
    assert_true(sends(&r, "HSETNX\r\n") && sends(&r, "HGET\r\n"));
    reading_fini(&r);
    begin(&r, &k, &w, false); /* written late, into a bucket that was cleared */
    feed_bucket(&r, EPOCH, EPOCH + 1);
    assert_int_equal(feed_bucket(&r, 0, 0), 1);
    check_miss(&r, &k, SC_CAUSE_INVALIDATED);
    begin(&r, &k, &w, false); /* without a birth */
    feed_bucket(&r, 0, EPOCH);
    assert_int_equal(feed_bucket(&r, 0, EPOCH), 1);
    check_miss(&r, &k, SC_CAUSE_INVALIDATED);
    static const size_t counts[] = {0, 1, 3, 1000000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        begin(&r, &k, &w, false);
        assert_int_equal(feed(&r, ITEM_ARRAY, NULL, counts[i]), -EPROTO);
        reading_fini(&r);
    }
    begin(&r, &k, &w, false); /* nested */
    feed(&r, ITEM_ARRAY, NULL, 2);
    assert_int_equal(feed(&r, ITEM_ARRAY, NULL, 2), -EPROTO);
    reading_fini(&r);
    world_close(&w);
}

static void a_batch(void **state)
{
    (void)state;
    struct world w;
    struct reading_key k[3] = {
        {.key = "a", .key_len = 1}, {.key = "k", .key_len = 1}, {.key = "b", .key_len = 1}};
    open_group(&w, SC_KEYS);
    struct reading r = {.store = w.store, .keys = k, .count = 3};
    reading_begin(&r);
    assert_int_equal(feed_nil(&r), 0);
    assert_int_equal(feed_value(&r, 0), 0);
    assert_int_equal(feed_value(&r, 0), 1); /* out of step: of another key, so no value */
    assert_int_equal(k[0].answer, SC_MISS);
    assert_int_equal(k[1].answer, SC_HIT);
    assert_int_equal(k[2].answer, SC_MISS);
    assert_int_equal(k[2].cause, SC_CAUSE_DECODE);
    reading_fini(&r);
    assert_null(k[1].value);
    world_close(&w);
}

static void an_early_refresh_is_rare_at_first(void **state)
{
    (void)state;
    struct world w;
    struct sc_store_options o = {
        .size = sizeof(o), .namespace_ = "n", .prefix = "p", .early_percent = 100};
    world_open(&w, NULL, &o);
    int stale[2] = {0};
    for (int is_late = 0; is_late < 2; is_late++) {
        for (int i = 0; i < 1000; i++) {
            struct reading r;
            struct reading_key k;
            begin(&r, &k, &w, false);
            struct envelope e = {.created_ms = r.now_ms - (is_late ? 990 : 0),
                                 .soft_ms = 1000,
                                 .hard_ms = 2000,
                                 .delta_ms = 20};
            struct item item = {
                .type = ITEM_BYTES,
                .bytes = envelope_encode(&e, "n:p:k:k", 7, "hello", 5, (struct pack_rule){0})};
            assert_int_equal(reading_feed(&r, &item), 1);
            stale[is_late] += k.answer == SC_STALE;
            reading_fini(&r);
        }
    }
    assert_int_equal(stale[0], 0);                 /* e^-50 */
    assert_true(stale[1] > 500 && stale[1] < 700); /* e^-0.5 is 0.61 */
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_keys),
        cmocka_unit_test(a_group_by_generation),
        cmocka_unit_test(a_group_in_a_hash),
        cmocka_unit_test(a_batch),
        cmocka_unit_test(an_early_refresh_is_rare_at_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
