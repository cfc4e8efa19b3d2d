/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_screen.h"

#include "base/nsec.h"
#include "daemon/top_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Rows as texts without the blanks at their ends. */
struct shown {
    int rows;
    char row[100][301];
    int reversed; /* how many rows are marked in whole */
};

static void read_canvas(const struct top_canvas *c, struct shown *s)
{
    s->rows = c->rows;
    s->reversed = 0;
    for (int i = 0; i < c->rows; i++) {
        memcpy(s->row[i], c->cells + i * c->columns, (size_t)c->columns);
        int len = c->columns;
        while (len > 0 && s->row[i][len - 1] == ' ')
            len--;
        s->row[i][len] = 0;
        s->reversed += (c->looks[i * c->columns + c->columns - 1] & TOP_REVERSED) != 0;
        for (int j = 0; j < len; j++)
            assert_true(s->row[i][j] >= 0x20 && s->row[i][j] < 0x7f);
    }
}

static struct shown draw(struct top_view *v, const struct top_state *state, int columns, int rows)
{
    struct top_canvas c;
    struct shown s;
    assert_int_equal(top_canvas_init(&c, columns, rows), 0);
    top_screen_draw(v, state, &c);
    read_canvas(&c, &s);
    top_canvas_fini(&c);
    return s;
}

/* The first row that holds the text; -1: none. */
static int row_with(const struct shown *s, const char *text)
{
    for (int i = 0; i < s->rows; i++)
        if (strstr(s->row[i], text))
            return i;
    return -1;
}

/* In `item` ### is the number of each. */
static json_t *list(const char *member, size_t count, const char *item)
{
    json_t *page = json_object(), *array = json_array();
    for (size_t i = 0; i < count; i++) {
        char text[300], number[16];
        snprintf(text, sizeof(text), "%s", item);
        snprintf(number, sizeof(number), "%03u", (unsigned)i);
        memcpy(strstr(text, "###"), number, 3);
        json_array_append_new(array, json_loads(text, 0, NULL));
    }
    json_object_set_new(page, member, array);
    return page;
}

static struct top_pages pages(size_t nodes, size_t events, size_t keys)
{
    struct top_pages p = {
        .summary =
            json_loads("{\"version\": \"1.2.3\", \"uptime_ms\": 93784000, \"memory_used\": 1536,"
                       " \"memory_max\": 3145728, \"hits\": 3, \"misses\": 1, \"at_ms\": 900000,"
                       " \"nodes_in_ring\": 2, \"nodes_out\": 1,"
                       " \"last_second\": {\"requests\": 77, \"p99_us\": 1250}}",
                       0, NULL),
        .nodes = list("nodes", nodes, "{\"name\": \"node-###\", \"state\": \"up\"}"),
        .events = list("events", events,
                       "{\"node\": \"event-###\", \"from\": \"up\", \"to\": \"out\","
                       " \"at_ms\": 890000, \"reason\": \"silent\"}"),
        .keys = list("hot", keys, "{\"key\": \"hot-###\\u001b\", \"count\": 5, \"hits\": 1}"),
    };
    json_t *prefixes = list("prefixes", keys, "{\"key\": \"prefix-###\"}");
    json_object_update(p.keys, prefixes);
    json_decref(prefixes);
    return p;
}

static void test_all_of_it(void **state)
{
    (void)state;
    struct top_pages p = pages(3, 2, 3);
    struct top_state now = {.address = "10.0.0.5:9379", .pages = &p};
    struct top_view v;
    top_view_init(&v);
    struct shown s = draw(&v, &now, 100, 40);
    assert_non_null(strstr(s.row[0], "sumcache top  10.0.0.5:9379  1.2.3, up 1 d 02:03:04"));
    assert_string_equal(s.row[0] + 91, "every 1 s");
    assert_non_null(strstr(s.row[1], "memory 1.5 KiB of 3.0 MiB"));
    assert_non_null(strstr(s.row[1], "hit ratio 75.0%"));
    assert_non_null(strstr(s.row[2], "requests/s 77   p99 1.25 ms"));
    assert_non_null(strstr(s.row[2], "nodes in ring 2, out 1"));
    assert_int_equal(row_with(&s, "NODE^"), 4);
    assert_int_equal(row_with(&s, "node-002"), 7);
    int events = row_with(&s, "LAST EVENTS");
    assert_true(events > 7 && *s.row[events - 1] == 0);
    assert_string_equal(s.row[events + 1],
                        "    10 s ago  event-001                up -> out  silent");
    int hot = row_with(&s, "HOT KEYS"), prefixes = row_with(&s, "PREFIXES");
    assert_true(events < hot && hot < prefixes);
    assert_int_equal(row_with(&s, "hot-000\\x1b "), hot + 1);
    assert_non_null(strstr(s.row[hot + 1], "100.0%"));
    assert_non_null(strstr(s.row[39], "q quit"));
    assert_non_null(strstr(s.row[39], "nodes 1-3 of 3"));
    assert_int_equal(s.reversed, 2); /* the title of what is in focus, and what is selected */
    v.is_paused = true;
    s = draw(&v, &now, 100, 40);
    assert_non_null(strstr(s.row[0], "PAUSED"));
    top_pages_fini(&p);
}

static void test_the_focus_has_the_room(void **state)
{
    (void)state;
    struct top_pages p = pages(100, 100, 100);
    struct top_state now = {.address = "x", .pages = &p};
    struct top_view v;
    top_view_init(&v);
    struct shown s = draw(&v, &now, 80, 24);
    assert_int_equal(v.lists[TOP_NODES].room, 12); /* 13 of 19 rows, one of them the title's */
    assert_int_equal(row_with(&s, "node-011"), 16);
    assert_int_equal(row_with(&s, "LAST EVENTS"), 18);
    assert_int_equal(row_with(&s, "HOT KEYS"), -1);
    assert_int_equal(row_with(&s, "event-096"), 22);
    top_view_press(&v, 'G');
    s = draw(&v, &now, 80, 24);
    assert_int_equal(row_with(&s, "node-099"), 16);
    assert_non_null(strstr(s.row[23], "nodes 89-100 of 100"));
    for (int i = 0; i < 50; i++) { /* a redraw changes nothing */
        struct shown again = draw(&v, &now, 80, 24);
        assert_string_equal(again.row[16], s.row[16]);
    }
    top_view_press(&v, '4');
    top_view_press(&v, 'j');
    s = draw(&v, &now, 80, 24);
    assert_non_null(strstr(s.row[23], "prefixes 1-11 of 100"));
    assert_true(row_with(&s, "PREFIXES") > row_with(&s, "NODE"));
    assert_int_equal(s.reversed, 2);
    top_view_press(&v, TOP_KEY_TAB);
    s = draw(&v, &now, 80, 24);
    assert_int_equal(row_with(&s, "node-099"), 16); /* where it was */
    top_pages_fini(&p);
}

static void test_no_answer(void **state)
{
    (void)state;
    struct top_pages none = {0}, p = pages(3, 0, 0);
    struct top_state now = {.address = "x", .pages = &none};
    struct top_view v;
    top_view_init(&v);
    struct shown s = draw(&v, &now, 80, 24);
    assert_int_equal(row_with(&s, "no answer"), -1);
    now.why = "x: it refuses";
    s = draw(&v, &now, 80, 24);
    assert_string_equal(s.row[23], "no answer yet: x: it refuses");
    now.pages = &p;
    now.silent_ns = 42 * NSEC_S;
    s = draw(&v, &now, 80, 24);
    assert_string_equal(s.row[23], "no answer for 42 s: x: it refuses");
    assert_int_equal(row_with(&s, "node-002"), 7); /* what there was stays */
    now.silent_ns = 600 * NSEC_S;
    s = draw(&v, &now, 80, 24);
    assert_string_equal(s.row[23], "no answer for 10 min: x: it refuses");
    now.silent_ns = 3 * 3600 * NSEC_S;
    now.why = "127.0.0.1:12345: unauthorised: it wants its token (see --token-file)";
    s = draw(&v, &now, 80, 24);
    assert_non_null(strstr(s.row[22], "no answer for 3 h: 127.0.0.1:12345: unauthorised: "));
    assert_string_equal(s.row[23], "n-file)");
    s = draw(&v, &now, 20, 5);
    assert_string_equal(s.row[4], "no answer for 3 h: 1");
    top_pages_fini(&p);
}

static void test_help_and_typing(void **state)
{
    (void)state;
    struct top_pages p = pages(3, 0, 0);
    struct top_state now = {.address = "x", .pages = &p};
    struct top_view v;
    top_view_init(&v);
    top_view_press(&v, 'd');
    top_view_press(&v, '7');
    struct shown s = draw(&v, &now, 80, 24);
    assert_non_null(strstr(s.row[23], "(0.5 to 60): 7_"));
    top_view_press(&v, TOP_KEY_ENTER);
    s = draw(&v, &now, 80, 24);
    assert_non_null(strstr(s.row[0], "every 7 s"));
    top_view_press(&v, 'h');
    s = draw(&v, &now, 80, 24);
    assert_string_equal(s.row[0], "sumcache top: keys");
    assert_true(row_with(&s, "Any key leaves") > 0);
    assert_int_equal(row_with(&s, "node-"), -1);
    top_pages_fini(&p);
}

/* Whatever there is to be shown, at whatever size: the sanitizers look on. */
static void test_every_size(void **state)
{
    (void)state;
    struct top_pages all[] = {pages(50, 50, 50), pages(0, 0, 0), pages(1, 9, 0), {0}};
    json_decref(all[1].summary);
    all[1].summary = json_loads("{\"memory_used\": 1e300, \"uptime_ms\": -1e300}", 0, NULL);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        for (int columns = 1; columns <= 300; columns += columns < 90 ? 1 : 70) {
            for (int rows = 1; rows <= 60; rows++) {
                struct top_state now = {.address = "10.0.0.5:9379", .pages = &all[i]};
                struct top_view v;
                top_view_init(&v);
                v.focus = (enum top_section)((unsigned)(columns + rows) % TOP_SECTION_COUNT);
                v.lists[v.focus].selected = (size_t)(rows % 7) * 9;
                v.is_typing = rows % 3 == 0;
                v.shows_help = rows % 11 == 0;
                now.why = rows % 2 == 0 ? "a reason that is longer than a narrow screen" : NULL;
                struct top_canvas c;
                assert_int_equal(top_canvas_init(&c, columns, rows), 0);
                top_screen_draw(&v, &now, &c);
                top_canvas_fini(&c);
            }
        }
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        top_pages_fini(&all[i]);
}

static void test_small_screens(void **state)
{
    (void)state;
    struct top_pages p = pages(50, 50, 50);
    struct top_state now = {.address = "x", .pages = &p};
    struct top_view v;
    top_view_init(&v);
    struct shown s = draw(&v, &now, 20, 5);
    assert_string_equal(s.row[0], "sumcache top  x  1.2");
    assert_non_null(strstr(s.row[1], "NODE^"));
    assert_non_null(strstr(s.row[4], "node-002"));
    s = draw(&v, &now, 1, 1);
    assert_string_equal(s.row[0], "s");
    top_pages_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it),  cmocka_unit_test(test_the_focus_has_the_room),
        cmocka_unit_test(test_no_answer),  cmocka_unit_test(test_help_and_typing),
        cmocka_unit_test(test_every_size), cmocka_unit_test(test_small_screens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
