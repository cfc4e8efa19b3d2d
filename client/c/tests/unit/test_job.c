/* SPDX-License-Identifier: Apache-2.0 */
/* What the I/O thread sends, and what becomes of a job when its replies are here. */
#include "client/c/src/job.h"

#include "client/c/src/clock.h"
#include "world.h"

#include <errno.h>
#include <string.h>

static void open_group(struct world *w, enum sc_group group)
{
    struct sc_store_options o = {
        .size = sizeof(o), .namespace_ = "n", .prefix = "p", .group = group};
    world_open(w, NULL, &o);
}

static bool sends(const struct job *j, const char *text)
{
    static char all[65536];
    size_t at = 0;
    for (int i = 0; i < j->commands.part_count; i++) {
        memcpy(all + at, j->commands.parts[i].iov_base, j->commands.parts[i].iov_len);
        at += j->commands.parts[i].iov_len;
    }
    return memmem(all, at, text, strlen(text)) != NULL;
}

static struct job *set_job(struct world *w)
{
    struct job *j = job_new(JOB_SET, w->store, "k", 1);
    assert_non_null(j);
    j->mark = fence_take(&w->store->fences, 5);
    j->envelope = (struct envelope){
        .created_ms = clock_wall_ms(), .soft_ms = 60000, .hard_ms = 60000, .epoch = 9};
    j->payload = bytes_copy("hello", 5);
    j->bucket = 77;
    return j;
}

static int feed(struct job *j, enum item_type type, int64_t number, const char *text)
{
    struct item item = {.type = type, .number = number};
    item.bytes = text != NULL ? bytes_copy(text, strlen(text)) : NULL;
    return job_feed(j, &item);
}

static void a_write(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_KEYS);
    struct job *j = set_job(&w);
    assert_true(job_prepare(j));
    assert_true(sends(j, "*5\r\n$3\r\nSET\r\n$7\r\nn:p:k:k\r\n$45\r\n\xC5\x01"));
    assert_true(sends(j, "$2\r\nPX\r\n"));
    assert_int_equal(feed(j, ITEM_STATUS, 0, "OK"), 1);
    assert_int_equal(job_finish(j, false, clock_ns()), JOB_DONE);
    atomic_fetch_add(&w.store->fences.slots[5], 1); /* deleted since it was queued */
    assert_false(job_prepare(j));
    job_unref(j);
    j = set_job(&w);
    j->envelope.created_ms -= 60000; /* expired in the queue */
    assert_false(job_prepare(j));
    job_unref(j);
    world_close(&w);
}

static void a_write_is_never_sent_with_more_time_than_it_has(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_KEYS);
    struct job *j = set_job(&w);
    j->envelope.created_ms -= 59000;
    assert_true(job_prepare(j));
    assert_true(sends(j, "\r\nPX\r\n$3\r\n") || sends(j, "\r\nPX\r\n$4\r\n1000\r\n"));
    job_unref(j);
    world_close(&w);
}

static void a_field_finds_out_what_the_server_knows(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_HASH);
    struct job *j = set_job(&w);
    assert_true(job_prepare(j));
    assert_true(sends(j, "HSETEX\r\n$9\r\n{n:p}:h77\r\n$2\r\nPX\r\n") && sends(j, "PEXPIRE\r\n"));
    assert_int_equal(feed(j, ITEM_ERROR, 0, "ERR unknown command"), 0);
    assert_int_equal(feed(j, ITEM_INTEGER, 0, NULL), 1);
    assert_int_equal(job_finish(j, false, clock_ns()), JOB_AGAIN);
    assert_true(job_prepare(j));
    assert_false(sends(j, "HSETEX\r\n"));
    assert_true(sends(j, "HSET\r\n") && sends(j, "HPEXPIRE\r\n"));
    assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 0);
    assert_int_equal(feed(j, ITEM_ERROR, 0, "ERR unknown command"), 0);
    assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 1);
    assert_int_equal(job_finish(j, false, clock_ns()), JOB_AGAIN);
    assert_true(job_prepare(j));
    assert_true(sends(j, "HSET\r\n") && !sends(j, "HPEXPIRE\r\n"));
    feed(j, ITEM_ERROR, 0, "OOM"); /* and then it is given up */
    assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 1);
    assert_int_equal(job_finish(j, false, clock_ns()), JOB_DONE);
    job_unref(j);
    world_close(&w);
}

static void a_listed_write(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_LIST);
    struct job *j = set_job(&w);
    assert_true(job_prepare(j));
    assert_int_equal(j->replies, 3);
    assert_true(sends(j, "SADD\r\n$5\r\nn:p:l\r\n$7\r\nn:p:k:k\r\n"));
    job_unref(j);
    world_close(&w);
}

static void a_delete_is_repeated_until_it_is_confirmed(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_KEYS);
    int64_t now = clock_ns();
    struct job *j = job_new(JOB_DEL, w.store, "k", 1);
    j->given_up_ns = now + 1000;
    assert_true(job_prepare(j));
    assert_true(sends(j, "DEL\r\n$7\r\nn:p:k:k\r\n"));
    assert_int_equal(feed(j, ITEM_ERROR, 0, "READONLY"), 1);
    assert_int_equal(job_finish(j, false, now), JOB_DELAYED);
    assert_true(j->not_before_ns > now);
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_ERROR, 0, "READONLY"), 1);
    assert_int_equal(job_finish(j, false, now + 1000), JOB_DONE); /* all has expired by now */
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 1);
    assert_int_equal(job_finish(j, false, now), JOB_DONE);
    job_unref(j);
    j = job_new(JOB_DEL, w.store, "k", 1); /* writes before it were lost: they may come after it */
    j->given_up_ns = now + 1000;
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 1);
    assert_int_equal(job_finish(j, true, now), JOB_DELAYED);
    assert_int_equal(job_finish(j, true, now), JOB_DONE); /* once is enough */
    job_unref(j);
    world_close(&w);
}

static void clears(void **state)
{
    (void)state;
    static const struct {
        enum sc_group group;
        const char *sent;
    } cases[] = {{SC_GENERATION, "DEL\r\n$5\r\nn:p:g\r\n"},
                 {SC_LIST, "DEL\r\n$5\r\nn:p:g\r\n"},
                 {SC_HASH, "*4\r\n$6\r\nUNLINK\r\n"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        open_group(&w, cases[i].group);
        struct job *j = job_new(JOB_CLEAR, w.store, NULL, 0);
        assert_true(job_prepare(j));
        assert_true(sends(j, cases[i].sent));
        assert_int_equal(feed(j, ITEM_INTEGER, 1, NULL), 1);
        assert_int_equal(job_finish(j, false, clock_ns()), JOB_DONE);
        assert_int_equal(j->spawned != NULL, cases[i].group == SC_LIST);
        j->is_plain = true; /* UNLINK is not known there */
        assert_true(job_prepare(j));
        assert_false(sends(j, "UNLINK"));
        job_unref(j);
        world_close(&w);
    }
}

static void a_list_is_foreign_bytes(void **state)
{
    (void)state;
    struct world w;
    open_group(&w, SC_LIST);
    struct job *j = job_new(JOB_PURGE, w.store, NULL, 0);
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_ARRAY, 4, NULL), 0);
    assert_int_equal(feed(j, ITEM_BYTES, 0, "n:p:k:a"), 0);
    assert_int_equal(feed(j, ITEM_BYTES, 0, "n:p:g"), 0);       /* no value */
    assert_int_equal(feed(j, ITEM_BYTES, 0, "other:p:k:a"), 0); /* not of this store */
    assert_int_equal(feed(j, ITEM_NIL, 0, NULL), 1);
    int count = 0;
    for (struct job *s = j->spawned; s != NULL; s = s->next) {
        assert_int_equal(s->kind, JOB_FREE);
        assert_memory_equal(s->key, "n:p:k:a", 7);
        count++;
    }
    assert_int_equal(count, 1);
    assert_int_equal(job_finish(j, false, clock_ns()), JOB_DONE);
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_ARRAY, 501, NULL), -EPROTO); /* more than was asked for */
    assert_true(job_prepare(j));
    assert_int_equal(feed(j, ITEM_ARRAY, 2, NULL), 0);
    assert_int_equal(feed(j, ITEM_ARRAY, 2, NULL), -EPROTO); /* nested */
    job_unref(j);
    world_close(&w);
}

static void probes(void **state)
{
    (void)state;
    static const struct {
        const char *error;
        bool has_error;
    } cases[] = {{NULL, false}, {"LOADING", true}, {"WRONGTYPE Operation", false}, {"WRONG", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct job *j = job_new(JOB_PROBE, NULL, "name", 4);
        assert_true(job_prepare(j));
        assert_true(sends(j, "GET\r\n$4\r\nname\r\n"));
        assert_int_equal(feed(j, cases[i].error != NULL ? ITEM_ERROR : ITEM_NIL, 0, cases[i].error),
                         1);
        assert_int_equal(j->has_error, cases[i].has_error);
        assert_int_equal(job_finish(j, false, 0), JOB_DONE);
        job_unref(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write),
        cmocka_unit_test(a_write_is_never_sent_with_more_time_than_it_has),
        cmocka_unit_test(a_field_finds_out_what_the_server_knows),
        cmocka_unit_test(a_listed_write),
        cmocka_unit_test(a_delete_is_repeated_until_it_is_confirmed),
        cmocka_unit_test(clears),
        cmocka_unit_test(a_list_is_foreign_bytes),
        cmocka_unit_test(probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
