/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/membership.h"

#include "os/process.h"
#include "os/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The world as these tests draw it. One test at a time. */
enum { NAMES_MAX = 8, TEXT_MAX = 200 };

struct name {
    char host[40];
    int err;
    size_t count;
    struct addr addrs[4];
    unsigned asked;
};

static struct {
    uint64_t now;
    struct name names[NAMES_MAX];
    struct view *last; /* owned */
    unsigned views;
    int publish_err;
    char log[2000];
    /* For the tests with a thread. */
    struct thread_lock lock;
    bool hang;    /* resolve() waits until this is over */
    bool hanging; /* it does */
    bool left;    /* it has come back from that */
} world;

static struct addr v4(uint8_t last_byte, uint16_t port)
{
    return (struct addr){ADDR_V4, port, {10, 0, 0, last_byte}};
}

static int fake_publish(void *owner, struct view *v)
{
    assert_ptr_equal(owner, &world);
    thread_lock_take(&world.lock);
    int err = world.publish_err;
    if (!err) {
        view_unref(world.last);
        world.last = view_ref(v);
        world.views++;
        thread_lock_notify(&world.lock);
    }
    thread_lock_give(&world.lock);
    return err;
}

static uint64_t fake_now(void)
{
    return world.now;
}

static int fake_resolve(const char *host, uint16_t port, struct addr *ret_addrs, size_t max,
                        size_t *ret_count, const char **ret_reason)
{
    struct name *n = world.names;
    while (n < world.names + NAMES_MAX && strcmp(n->host, host) != 0)
        n++;
    if (n == world.names + NAMES_MAX)
        fail_msg("nobody should ask for %s", host);
    n->asked++;
    if (n->err) {
        *ret_reason = "No such name";
        return n->err;
    }
    assert_true(n->count <= max);
    for (size_t i = 0; i < n->count; i++) {
        ret_addrs[i] = n->addrs[i];
        ret_addrs[i].port = port;
    }
    *ret_count = n->count;
    return 0;
}

static int hanging_resolve(const char *host, uint16_t port, struct addr *ret_addrs, size_t max,
                           size_t *ret_count, const char **ret_reason)
{
    thread_lock_take(&world.lock);
    if (world.hang) {
        world.hanging = true;
        thread_lock_notify(&world.lock);
        while (world.hang)
            thread_lock_wait(&world.lock, NSEC_NEVER);
        world.left = true;
        thread_lock_notify(&world.lock);
    }
    thread_lock_give(&world.lock);
    return fake_resolve(host, port, ret_addrs, max, ret_count, ret_reason);
}

static void fake_sink(void *owner, const char *line, size_t len)
{
    (void)owner;
    size_t used = strlen(world.log);
    if (used + len < sizeof(world.log))
        memcpy(world.log + used, line, len);
}

static struct log test_log = {.level = LOG_DEBUG, .sink = fake_sink};
static const struct membership_ops FAKE = {fake_publish, fake_now, fake_resolve, &world};
static const struct membership_ops HANGING = {fake_publish, process_now_ns, hanging_resolve,
                                              &world};

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.now = 1000 * NSEC_S;
    thread_lock_init(&world.lock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    view_unref(world.last);
    thread_lock_fini(&world.lock);
    return 0;
}

static void set_name(unsigned index, const char *host, int err, uint8_t last_byte)
{
    struct name *n = &world.names[index];
    snprintf(n->host, sizeof(n->host), "%s", host);
    n->err = err;
    n->count = 1;
    n->addrs[0] = v4(last_byte, 0);
}

static struct membership *make(const struct membership_node *nodes, uint32_t count,
                               const struct membership_ops *ops)
{
    struct membership *m = NULL;
    assert_int_equal(membership_new(nodes, count, ops, &test_log, &m), 0);
    return m;
}

/* The view's nodes as text: "NAME=ADDRESS ...". */
static void expect_view(uint64_t version, const char *nodes)
{
    char text[TEXT_MAX] = "", at[ADDR_TEXT_MAX];
    assert_non_null(world.last);
    assert_non_null(world.last->ring);
    for (uint32_t i = 0; i < world.last->node_count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s=%s", i ? " " : "",
                 world.last->nodes[i].name, addr_print(&world.last->nodes[i].addr, at));
    assert_string_equal(text, nodes);
    assert_int_equal(world.last->version, version);
}

static void test_numeric(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"10.0.0.1:6379", v4(1, 6379)},
                                            {"10.0.0.2:7000", v4(2, 7000)}};
    struct membership *m = make(nodes, 2, &FAKE);
    expect_view(1, "10.0.0.1:6379=10.0.0.1:6379 10.0.0.2:7000=10.0.0.2:7000");
    assert_true(membership_step(m) == NSEC_NEVER);
    assert_int_equal(membership_run(m), 0);
    assert_int_equal(world.views, 1);
    membership_stop(m);
}

static void test_refused(void **state)
{
    (void)state;
    const struct membership_node same[] = {{"a:1", v4(1, 1)}, {"a:1", v4(1, 1)}};
    struct membership *m = NULL;
    assert_int_equal(membership_new(same, 2, &FAKE, &test_log, &m), -EINVAL);
    world.publish_err = -ENOMEM;
    assert_int_equal(membership_new(same, 1, &FAKE, &test_log, &m), -ENOMEM);
    assert_null(m);
    assert_null(membership_stop(NULL));
}

/* A view is there before any look-up, the ring does not change with the addresses. */
static void test_names_come_later(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {
        {"a:6379", {0}}, {"10.0.0.9:6379", v4(9, 6379)}, {"b.svc:7000", {0}}};
    set_name(0, "a", -EHOSTUNREACH, 0);
    set_name(1, "b.svc", 0, 2);
    struct membership *m = make(nodes, 3, &FAKE);
    expect_view(1, "a:6379=unresolved 10.0.0.9:6379=10.0.0.9:6379 b.svc:7000=unresolved");
    uint32_t of_slot[50];
    for (uint32_t i = 0; i < 50; i++)
        of_slot[i] = maglev_node_of_slot(world.last->ring, i);

    assert_true(membership_step(m) == world.now + MEMBERSHIP_RETRY_MIN);
    expect_view(2, "a:6379=unresolved 10.0.0.9:6379=10.0.0.9:6379 b.svc:7000=10.0.0.2:7000");

    set_name(0, "a", 0, 1);
    assert_true(membership_step(m) == world.now + MEMBERSHIP_RETRY_MIN); /* not due yet */
    assert_int_equal(world.names[0].asked, 1);
    world.now += MEMBERSHIP_RETRY_MIN;
    membership_step(m);
    expect_view(3, "a:6379=10.0.0.1:6379 10.0.0.9:6379=10.0.0.9:6379 b.svc:7000=10.0.0.2:7000");
    assert_int_equal(world.names[1].asked, 1);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(maglev_node_of_slot(world.last->ring, i), of_slot[i]);
    assert_non_null(strstr(world.log, "warn resolve-failed node=a:6379 keeps=unresolved"));
    assert_non_null(strstr(world.log, "info resolve-recovered node=a:6379"));
    assert_non_null(strstr(world.log, "node-address node=a:6379 from=unresolved to=10.0.0.1:6379"));
    membership_stop(m);
}

static void test_backoff(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"a:1", {0}}};
    const uint64_t pauses_s[] = {1, 2, 4, 8, 16, 30, 30};
    set_name(0, "a", -EHOSTUNREACH, 0);
    struct membership *m = make(nodes, 1, &FAKE);
    for (size_t i = 0; i < sizeof(pauses_s) / sizeof(pauses_s[0]); i++) {
        uint64_t next = membership_step(m);
        assert_int_equal(world.names[0].asked, i + 1);
        assert_true(next == world.now + pauses_s[i] * NSEC_S);
        world.now = next;
    }
    set_name(0, "a", 0, 1);
    assert_true(membership_step(m) == world.now + MEMBERSHIP_REFRESH);
    set_name(0, "a", -EHOSTUNREACH, 0);
    world.now += MEMBERSHIP_REFRESH;
    assert_true(membership_step(m) == world.now + MEMBERSHIP_RETRY_MIN); /* from the start */
    membership_stop(m);
}

/* A failure keeps the last good address; another order of the same answers changes nothing. */
static void test_address_changes(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"a:1", {0}}};
    struct name *n = &world.names[0];
    set_name(0, "a", 0, 1);
    n->addrs[1] = v4(2, 0);
    n->count = 2;
    struct membership *m = make(nodes, 1, &FAKE);
    membership_step(m);
    expect_view(2, "a:1=10.0.0.1:1");

    n->addrs[0] = v4(2, 0);
    n->addrs[1] = v4(1, 0);
    world.now += MEMBERSHIP_REFRESH;
    membership_step(m);
    n->err = -EHOSTUNREACH;
    world.now += MEMBERSHIP_REFRESH;
    membership_step(m);
    expect_view(2, "a:1=10.0.0.1:1");
    assert_int_equal(world.views, 2);
    assert_int_equal(n->asked, 3);

    n->err = 0;
    n->addrs[1] = v4(3, 0);
    world.now += MEMBERSHIP_RETRY_MIN;
    membership_step(m);
    expect_view(3, "a:1=10.0.0.2:1");
    membership_stop(m);
}

/* Workers that could not be told are told later, even if nothing changes any more. */
static void test_publish_fails(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"a:1", {0}}};
    set_name(0, "a", 0, 1);
    struct membership *m = make(nodes, 1, &FAKE);
    world.publish_err = -ENOMEM;
    uint64_t next = membership_step(m);
    assert_true(next <= world.now + MEMBERSHIP_RETRY_MIN);
    expect_view(1, "a:1=unresolved");
    world.publish_err = 0;
    world.now = next;
    membership_step(m);
    expect_view(2, "a:1=10.0.0.1:1");
    membership_stop(m);
}

static void wait_for(const bool *what)
{
    thread_lock_take(&world.lock);
    while (!*what)
        thread_lock_wait(&world.lock, NSEC_NEVER);
    thread_lock_give(&world.lock);
}

static void test_thread_looks_up(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"a:1", {0}}};
    set_name(0, "a", 0, 1);
    struct membership *m = make(nodes, 1, &HANGING);
    assert_int_equal(membership_run(m), 0);
    thread_lock_take(&world.lock);
    while (world.views < 2)
        thread_lock_wait(&world.lock, NSEC_NEVER);
    thread_lock_give(&world.lock);
    membership_stop(m);
    expect_view(2, "a:1=10.0.0.1:1");
}

/* membership_stop() does not wait for a resolver that hangs, and nothing is published after it.
 * The last test: its thread may outlive it by a moment. */
static void test_stop_while_hanging(void **state)
{
    (void)state;
    const struct membership_node nodes[] = {{"a:1", {0}}};
    set_name(0, "a", 0, 1);
    world.hang = true;
    struct membership *m = make(nodes, 1, &HANGING);
    assert_int_equal(membership_run(m), 0);
    wait_for(&world.hanging);
    uint64_t start = process_now_ns();
    membership_stop(m);
    assert_true(process_now_ns() - start < 20 * NSEC_S); /* it hangs for ever */
    thread_lock_take(&world.lock);
    world.hang = false;
    thread_lock_notify(&world.lock);
    thread_lock_give(&world.lock);
    wait_for(&world.left);
    assert_int_equal(world.views, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numeric, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_come_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_backoff, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_address_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_publish_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_thread_looks_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_while_hanging, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
