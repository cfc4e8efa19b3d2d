/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_asker.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A proxy that answers when it is told to. */
struct proxy {
    struct thread_lock lock;
    unsigned asked, told;
    bool may_answer;
    int status;
};

static int answer(void *owner, struct top_pages *ret, char why[TOP_WHY_MAX])
{
    struct proxy *p = owner;
    thread_lock_take(&p->lock);
    p->asked++;
    thread_lock_notify(&p->lock);
    while (!p->may_answer)
        thread_lock_wait(&p->lock, NSEC_NEVER);
    ret->summary = json_integer(p->asked); /* some of it has come even if the rest does not */
    int status = p->status;
    if (status)
        snprintf(why, TOP_WHY_MAX, "no");
    thread_lock_give(&p->lock);
    return status;
}

static void tell(void *listener)
{
    struct proxy *p = listener;
    thread_lock_take(&p->lock);
    p->told++;
    thread_lock_notify(&p->lock);
    thread_lock_give(&p->lock);
}

static void wait_for(struct proxy *p, const unsigned *what, unsigned count)
{
    thread_lock_take(&p->lock);
    while (*what < count)
        thread_lock_wait(&p->lock, NSEC_NEVER);
    thread_lock_give(&p->lock);
}

static void let(struct proxy *p, bool may_answer)
{
    thread_lock_take(&p->lock);
    p->may_answer = may_answer;
    thread_lock_notify(&p->lock);
    thread_lock_give(&p->lock);
}

static void test_asking(void **state)
{
    (void)state;
    struct proxy p = {.may_answer = true};
    struct top_asking asking = {answer, &p, tell, &p};
    struct top_asker *a = NULL;
    struct top_answer got;
    thread_lock_init(&p.lock);
    assert_int_equal(top_asker_start(&asking, &a), 0);
    assert_false(top_asker_take(a, &got));
    top_asker_ask(a);
    wait_for(&p, &p.told, 1);
    assert_true(top_asker_take(a, &got));
    assert_int_equal(got.status, 0);
    assert_int_equal(json_integer_value(got.pages.summary), 1);
    top_pages_fini(&got.pages);
    assert_false(top_asker_take(a, &got));
    p.status = 1;
    top_asker_ask(a);
    wait_for(&p, &p.told, 2);
    assert_true(top_asker_take(a, &got));
    assert_int_equal(got.status, 1);
    assert_null(got.pages.summary);
    assert_string_equal(got.why, "no");
    p.status = 0;
    top_asker_ask(a); /* nobody takes these */
    wait_for(&p, &p.told, 3);
    top_asker_ask(a);
    wait_for(&p, &p.told, 4);
    assert_int_equal(top_asker_stop(a, NSEC_NEVER), 0);
    thread_lock_fini(&p.lock);
}

static void test_one_that_does_not_answer(void **state)
{
    (void)state;
    struct proxy p = {0};
    struct top_asking asking = {answer, &p, tell, &p};
    struct top_asker *a = NULL;
    thread_lock_init(&p.lock);
    assert_int_equal(top_asker_start(&asking, &a), 0);
    top_asker_ask(a);
    wait_for(&p, &p.asked, 1);
    top_asker_ask(a); /* it is being asked */
    assert_int_equal(top_asker_stop(a, NSEC_MS), -ETIMEDOUT);
    let(&p, true);
    assert_int_equal(top_asker_stop(a, NSEC_NEVER), 0);
    assert_int_equal(p.asked, 1);
    thread_lock_fini(&p.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asking),
        cmocka_unit_test(test_one_that_does_not_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
