/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_view.h"

#include "base/nsec.h"
#include "daemon/top_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct top_view view(size_t count, size_t room)
{
    struct top_view v;
    top_view_init(&v);
    for (unsigned i = 0; i < TOP_SECTION_COUNT; i++)
        top_list_fit(&v.lists[i], count, room);
    return v;
}

static void press_all(struct top_view *v, const char *keys)
{
    for (; *keys; keys++)
        assert_int_equal(top_view_press(v, *keys), TOP_ACT_DRAW);
}

static void test_a_list_scrolls(void **state)
{
    (void)state;
    struct top_view v = view(100, 10);
    struct top_list *l = &v.lists[TOP_NODES];
    press_all(&v, "jjjjk");
    assert_int_equal(l->selected, 3);
    top_view_press(&v, TOP_KEY_PAGE_DOWN);
    top_list_fit(l, 100, 10);
    assert_int_equal(l->selected, 12);
    assert_int_equal(l->first, 3);
    press_all(&v, "G");
    top_list_fit(l, 100, 10);
    assert_int_equal(l->selected, 99);
    assert_int_equal(l->first, 90);
    top_view_press(&v, TOP_KEY_DOWN);
    assert_int_equal(l->selected, 99);
    top_view_press(&v, TOP_KEY_PAGE_UP);
    top_list_fit(l, 100, 10);
    assert_int_equal(l->selected, 90);
    top_list_fit(l, 100, 40); /* the window has grown: no room is left empty */
    assert_int_equal(l->first, 60);
    top_list_fit(l, 5, 40); /* and nodes have gone */
    assert_int_equal(l->selected, 4);
    assert_int_equal(l->first, 0);
    top_list_fit(l, 100, 0); /* as small as can be */
    top_view_press(&v, TOP_KEY_UP);
    top_view_press(&v, TOP_KEY_PAGE_DOWN);
    assert_int_equal(l->selected, 4);
    press_all(&v, "g");
    assert_int_equal(l->selected, 0);
    assert_int_equal(v.lists[TOP_EVENTS].selected, 0);
}

static void test_an_empty_list(void **state)
{
    (void)state;
    static const int KEYS[] = {
        TOP_KEY_UP, TOP_KEY_DOWN, TOP_KEY_PAGE_UP, TOP_KEY_PAGE_DOWN, TOP_KEY_HOME, TOP_KEY_END,
        'j',        'G'};
    struct top_view v = view(0, 0);
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(*KEYS); i++) {
        assert_int_equal(top_view_press(&v, KEYS[i]), TOP_ACT_DRAW);
        assert_int_equal(v.lists[TOP_NODES].selected, 0);
    }
}

static void test_sections(void **state)
{
    (void)state;
    struct top_view v = view(20, 5);
    assert_int_equal(v.focus, TOP_NODES);
    top_view_press(&v, TOP_KEY_TAB);
    assert_int_equal(v.focus, TOP_EVENTS);
    press_all(&v, "jj");
    assert_int_equal(v.lists[TOP_EVENTS].selected, 2);
    assert_int_equal(v.lists[TOP_NODES].selected, 0);
    top_view_press(&v, TOP_KEY_BACK_TAB);
    top_view_press(&v, TOP_KEY_BACK_TAB);
    assert_int_equal(v.focus, TOP_PREFIXES);
    top_view_press(&v, TOP_KEY_TAB);
    assert_int_equal(v.focus, TOP_NODES);
    press_all(&v, "3");
    assert_int_equal(v.focus, TOP_HOT_KEYS);
    assert_int_equal(top_view_press(&v, '5'), TOP_ACT_NONE);
    assert_int_equal(v.focus, TOP_HOT_KEYS);
}

static void test_sorting(void **state)
{
    (void)state;
    struct top_view v = view(20, 5);
    press_all(&v, "sr");
    assert_int_equal(v.sort.by, TOP_COLUMN_STATE);
    assert_true(v.sort.is_reversed);
    press_all(&v, ">");
    assert_int_equal(v.sort.by, TOP_COLUMN_SHARE);
    assert_false(v.sort.is_reversed);
    press_all(&v, "<<<");
    assert_int_equal(v.sort.by, TOP_COLUMN_WHY);
    press_all(&v, "s");
    assert_int_equal(v.sort.by, TOP_COLUMN_NODE);
}

static void test_pause_help_and_end(void **state)
{
    (void)state;
    struct top_view v = view(20, 5);
    press_all(&v, "p");
    assert_true(v.is_paused);
    assert_int_equal(top_view_press(&v, ' '), TOP_ACT_ASK);
    assert_false(v.is_paused);
    press_all(&v, "?");
    assert_true(v.shows_help);
    assert_int_equal(top_view_press(&v, TOP_KEY_NONE), TOP_ACT_NONE);
    assert_true(v.shows_help);
    press_all(&v, "q"); /* any key, and it does nothing else */
    assert_false(v.shows_help);
    press_all(&v, "h");
    assert_int_equal(top_view_press(&v, TOP_KEY_INTERRUPT), TOP_ACT_END);
    v.shows_help = false;
    assert_int_equal(top_view_press(&v, TOP_KEY_OTHER), TOP_ACT_NONE);
    assert_int_equal(top_view_press(&v, 'q'), TOP_ACT_END);
}

static void test_the_interval(void **state)
{
    (void)state;
    struct top_view v = view(20, 5);
    assert_int_equal(v.interval_ns, NSEC_S);
    press_all(&v, "+");
    assert_int_equal(v.interval_ns, 2 * NSEC_S);
    press_all(&v, "---");
    assert_int_equal(v.interval_ns, NSEC_S / 2);
    press_all(&v, "++++++++++++");
    assert_int_equal(v.interval_ns, 60 * NSEC_S);
    static const struct {
        const char *typed;
        int end;
        uint64_t ms;
    } cases[] = {
        {"2.5", TOP_KEY_ENTER, 2500},      {"0.1", TOP_KEY_ENTER, 500},
        {"9999999", TOP_KEY_ENTER, 60000}, {"", TOP_KEY_ENTER, 7000},
        {".", TOP_KEY_ENTER, 7000},        {"1.2.3", TOP_KEY_ENTER, 7000},
        {"3", TOP_KEY_ESCAPE, 7000},       {"3", 'q', 7000},
        {"x4y", TOP_KEY_ENTER, 4000},      {"1234567890", TOP_KEY_ENTER, 60000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        v.interval_ns = 7 * NSEC_S;
        press_all(&v, "d");
        assert_true(v.is_typing);
        press_all(&v, cases[i].typed);
        assert_int_equal(top_view_press(&v, cases[i].end), TOP_ACT_DRAW);
        assert_false(v.is_typing);
        assert_int_equal(v.interval_ns, cases[i].ms * NSEC_MS);
    }
    press_all(&v, "d1");
    top_view_press(&v, TOP_KEY_BACKSPACE);
    top_view_press(&v, TOP_KEY_BACKSPACE);
    press_all(&v, "8");
    assert_string_equal(v.typed, "8");
    top_view_press(&v, TOP_KEY_ENTER);
    press_all(&v, "+"); /* from between two steps */
    assert_int_equal(v.interval_ns, 10 * NSEC_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_scrolls),     cmocka_unit_test(test_an_empty_list),
        cmocka_unit_test(test_sections),           cmocka_unit_test(test_sorting),
        cmocka_unit_test(test_pause_help_and_end), cmocka_unit_test(test_the_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
