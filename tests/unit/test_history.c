/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct history));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void a_row_is_what_came_in_its_second(void **state)
{
    struct history *h = *state;
    struct history_totals t = {.requests = 100, .hits = 10};
    struct history_gauges g = {.clients = 3};
    assert_null(history_row(h, 0));
    history_second(h, 1000, &t, &g);
    assert_null(history_row(h, 0));
    t.requests = 150;
    t.hits = 4; /* a node has left */
    t.latency.count[3] = 2;
    history_second(h, 2000, &t, &g);
    const struct history_row *r = history_row(h, 0);
    assert_non_null(r);
    assert_int_equal(r->at_ms, 2000);
    assert_int_equal(r->requests, 50);
    assert_int_equal(r->hits, 0);
    assert_int_equal(r->gauges.clients, 3);
    assert_in_range(r->p99_us, 65, 132);
    assert_null(history_row(h, 1));
}

static void rows_are_bounded(void **state)
{
    struct history *h = *state;
    struct history_gauges g = {0};
    for (uint64_t i = 0; i <= 2 * HISTORY_SECONDS; i++) {
        struct history_totals t = {.requests = i * i};
        history_second(h, 1000 * i, &t, &g);
    }
    assert_null(history_row(h, HISTORY_SECONDS));
    for (uint32_t age = 0; age < HISTORY_SECONDS; age++) {
        uint64_t i = 2 * HISTORY_SECONDS - age;
        assert_int_equal(history_row(h, age)->at_ms, 1000 * i);
        assert_int_equal(history_row(h, age)->requests, 2 * i - 1);
    }
}

static struct view *view_with(uint64_t version, const char *const *names, const uint8_t *states,
                              uint32_t count)
{
    struct view *v;
    struct view_node *nodes = calloc(count, sizeof(*nodes));
    assert_non_null(nodes);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "%s", names[i]);
        snprintf(nodes[i].why, sizeof(nodes[i].why), "why");
        nodes[i].state = states[i];
        nodes[i].weight = 1;
    }
    assert_int_equal(view_new(version, nodes, count, &v), 0);
    free(nodes);
    return v;
}

static void expect(const struct history_event *e, uint64_t id, const char *node, int from, int to)
{
    assert_non_null(e);
    assert_int_equal(e->id, id);
    assert_string_equal(e->node, node);
    assert_int_equal(e->from, from);
    assert_int_equal(e->to, to);
}

static void what_happened_to_nodes(void **state)
{
    struct history *h = *state;
    static const char *const NAMES[] = {"a:1", "b:1"}, *const OTHERS[] = {"b:1", "c:1"};
    struct view *one = view_with(1, NAMES, (uint8_t[]){VIEW_UP, VIEW_UP}, 2);
    struct view *two = view_with(2, NAMES, (uint8_t[]){VIEW_UP, VIEW_OUT}, 2);
    struct view *three = view_with(3, OTHERS, (uint8_t[]){VIEW_OUT, VIEW_NEW}, 2);
    history_views(h, 1, NULL, one);
    history_views(h, 2, one, two);
    history_views(h, 3, two, two);
    history_views(h, 4, two, three);
    expect(history_event(h, 4), 1, "a:1", -1, VIEW_UP);
    expect(history_event(h, 2), 3, "b:1", VIEW_UP, VIEW_OUT);
    assert_string_equal(history_event(h, 2)->why, "why");
    assert_int_equal(history_event(h, 2)->at_ms, 2);
    expect(history_event(h, 1), 4, "c:1", -1, VIEW_NEW);
    expect(history_event(h, 0), 5, "a:1", VIEW_UP, -1);
    assert_null(history_event(h, 5));
    assert_string_equal(history_state_name(-1), "gone");
    for (unsigned i = 0; i < HISTORY_EVENTS; i++)
        history_views(h, 5, i % 2 ? two : one, i % 2 ? one : two);
    expect(history_event(h, HISTORY_EVENTS - 1), 6, "b:1", VIEW_UP, VIEW_OUT);
    assert_null(history_event(h, HISTORY_EVENTS));
    view_unref(one);
    view_unref(two);
    view_unref(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_is_what_came_in_its_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_happened_to_nodes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
