/* SPDX-License-Identifier: Apache-2.0 */
#include "os/thread.h"

#include "base/nsec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct gate {
    struct thread_lock lock;
    bool open, passed;
    char name[THREAD_NAME_MAX];
};

static void pass_gate(void *arg)
{
    struct gate *g = arg;
    thread_lock_take(&g->lock);
    pthread_getname_np(pthread_self(), g->name, sizeof(g->name));
    while (!g->open)
        thread_lock_wait(&g->lock, NSEC_NEVER);
    g->passed = true;
    thread_lock_notify(&g->lock);
    thread_lock_give(&g->lock);
}

static void open_gate(struct gate *g)
{
    thread_lock_take(&g->lock);
    g->open = true;
    thread_lock_notify(&g->lock);
    thread_lock_give(&g->lock);
}

static void test_join(void **state)
{
    (void)state;
    struct gate g = {0};
    struct thread *t = NULL;
    thread_lock_init(&g.lock);
    assert_int_equal(thread_start("a-name-that-is-too-long", pass_gate, &g, &t), 0);
    assert_int_equal(thread_join(t, 0), -ETIMEDOUT);
    assert_int_equal(thread_join(t, 2 * NSEC_MS), -ETIMEDOUT);
    open_gate(&g);
    assert_int_equal(thread_join(t, NSEC_NEVER), 0);
    assert_true(g.passed);
    assert_string_equal(g.name, "a-name-that-is-");
    thread_lock_fini(&g.lock);
}

/* Either end may let go last; the address sanitizer sees whether the thread is freed once. */
static void test_abandon(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct gate g = {0};
        struct thread *t = NULL;
        thread_lock_init(&g.lock);
        assert_int_equal(thread_start("t", pass_gate, &g, &t), 0);
        if (i % 2)
            open_gate(&g);
        thread_abandon(t);
        open_gate(&g);
        thread_lock_take(&g.lock);
        while (!g.passed)
            thread_lock_wait(&g.lock, NSEC_NEVER);
        thread_lock_give(&g.lock);
        thread_lock_fini(&g.lock);
    }
}

static void test_wait_ends_by_itself(void **state)
{
    (void)state;
    struct thread_lock l;
    thread_lock_init(&l);
    thread_lock_take(&l);
    thread_lock_wait(&l, 0);
    thread_lock_wait(&l, NSEC_MS);
    thread_lock_give(&l);
    thread_lock_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_wait_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
