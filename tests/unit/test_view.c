/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/view.h"

#include "ring/key_hash.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { NODES = 3 };

static void make_nodes(struct view_node *nodes)
{
    memset(nodes, 0, NODES * sizeof(*nodes));
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "10.0.0.%u:6379", i + 1);
        assert_int_equal(addr_parse(str_of(nodes[i].name), 0, &nodes[i].addr), 0);
        nodes[i].weight = 1;
    }
}

static void test_copies_its_nodes(void **state)
{
    (void)state;
    struct view_node nodes[NODES], kept[NODES];
    struct view *v = NULL;
    make_nodes(nodes);
    memcpy(kept, nodes, sizeof(nodes));
    assert_int_equal(view_new(42, nodes, NODES, &v), 0);
    memset(nodes, 0xee, sizeof(nodes));
    assert_int_equal(v->version, 42);
    assert_int_equal(v->node_count, NODES);
    for (unsigned i = 0; i < NODES; i++) {
        assert_string_equal(v->nodes[i].name, kept[i].name);
        assert_true(addr_eq(&v->nodes[i].addr, &kept[i].addr));
        assert_int_equal(v->nodes[i].weight, 1);
    }
    assert_non_null(v->ring);
    assert_int_equal(maglev_slots(v->ring), MAGLEV_SLOTS);
    assert_int_equal(maglev_lookup(v->ring, key_hash(STR("foo"), true)), 1);
    assert_int_equal(maglev_lookup(v->ring, key_hash(STR("bar"), true)), 0);
    assert_int_equal(maglev_lookup(v->ring, key_hash(STR("lyft"), true)), 2);
    assert_null(view_unref(v));
    assert_null(view_unref(NULL));
}

static void test_without_ring(void **state)
{
    (void)state;
    struct view_node nodes[NODES];
    struct view *v = NULL;
    assert_int_equal(view_new(1, NULL, 0, &v), 0);
    assert_int_equal(v->node_count, 0);
    assert_null(v->ring);
    v = view_unref(v);

    make_nodes(nodes);
    for (unsigned i = 0; i < NODES; i++)
        nodes[i].weight = 0;
    assert_int_equal(view_new(2, nodes, NODES, &v), 0);
    assert_int_equal(v->node_count, NODES);
    assert_null(v->ring);
    v = view_unref(v);

    nodes[2].weight = 5; /* the only one with weight gets everything */
    assert_int_equal(view_new(3, nodes, NODES, &v), 0);
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        assert_int_equal(maglev_node_of_slot(v->ring, i), 2);
    view_unref(v);
}

static void test_refused(void **state)
{
    (void)state;
    struct view_node nodes[NODES];
    struct view *v = NULL;
    make_nodes(nodes);
    memcpy(nodes[2].name, nodes[0].name, sizeof(nodes[0].name));
    assert_int_equal(view_new(1, nodes, NODES, &v), -EINVAL);
    assert_null(v);
}

static void *ref_and_unref(void *arg)
{
    struct view *v = arg;
    for (int i = 0; i < 20000; i++) {
        struct view *mine = view_ref(v);
        if (mine->version != 9 || maglev_slots(mine->ring) != MAGLEV_SLOTS)
            return arg;
        view_unref(mine);
    }
    view_unref(v); /* the reference it was started with */
    return NULL;
}

/* The last of several threads to let go frees it, whichever that is; the sanitizers watch. */
static void test_references(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct view_node nodes[NODES];
    struct view *v = NULL;
    pthread_t threads[THREADS];
    make_nodes(nodes);
    assert_int_equal(view_new(9, nodes, NODES, &v), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, view_ref(v)), 0);
    view_unref(v);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_its_nodes),
        cmocka_unit_test(test_without_ring),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
