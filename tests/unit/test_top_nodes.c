/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static json_t *nodes(void)
{
    json_t *page = json_loads(
        "[{\"name\": \"b:1\", \"state\": \"up\", \"share\": 0.5, \"keys\": 10, \"reason\": \"\"},"
        " {\"name\": \"a:1\", \"state\": \"out\", \"share\": 0, \"keys\": 9, \"reason\": "
        "\"silent\"},"
        " {\"name\": \"c:1\", \"state\": \"joining\", \"share\": 0.5, \"memory_used\": 2048},"
        " {\"name\": \"d:1\", \"state\": \"unheard\", \"first_byte_p99_us\": 900}]",
        0, NULL);
    assert_non_null(page);
    return page;
}

/* First letters of the names, in their order. */
static void assert_order(struct top_sort sort, const char *expected)
{
    json_t *page = nodes();
    const json_t *rows[4];
    char order[5] = "";
    for (size_t i = 0; i < 4; i++)
        rows[i] = json_array_get(page, i);
    assert_int_equal(top_nodes_sort(rows, 4, &sort), 0);
    for (size_t i = 0; i < 4; i++)
        order[i] = json_string_value(json_object_get(rows[i], "name"))[0];
    assert_string_equal(order, expected);
    json_decref(page);
}

static void test_order(void **state)
{
    (void)state;
    assert_order((struct top_sort){TOP_COLUMN_NODE, false}, "abcd");
    assert_order((struct top_sort){TOP_COLUMN_NODE, true}, "dcba");
    assert_order((struct top_sort){TOP_COLUMN_STATE, false}, "dacb"); /* the worst first */
    assert_order((struct top_sort){TOP_COLUMN_STATE, true}, "bcad");
    assert_order((struct top_sort){TOP_COLUMN_SHARE, false}, "bcad"); /* equal ones by name */
    assert_order((struct top_sort){TOP_COLUMN_SHARE, true}, "adbc");
    assert_order((struct top_sort){TOP_COLUMN_MEMORY, false}, "cabd");
    assert_order((struct top_sort){TOP_COLUMN_P99, false}, "dabc");
    assert_order((struct top_sort){TOP_COLUMN_KEYS, false}, "bacd");
    assert_order((struct top_sort){TOP_COLUMN_OPS, false}, "abcd");
    assert_order((struct top_sort){TOP_COLUMN_WHY, true}, "abcd");
    assert_int_equal(top_nodes_sort(NULL, 0, &(struct top_sort){0}), 0);
}

static void test_what_is_no_node(void **state)
{
    (void)state;
    json_t *page =
        json_loads("[7, {\"name\": 5}, {\"name\": \"a\", \"share\": \"x\"}, null]", 0, NULL);
    const json_t *rows[4];
    for (size_t i = 0; i < 4; i++)
        rows[i] = json_array_get(page, i);
    for (unsigned by = 0; by < TOP_COLUMN_COUNT; by++)
        assert_int_equal(top_nodes_sort(rows, 4, &(struct top_sort){(enum top_column)by, true}), 0);
    assert_int_equal(top_nodes_width(rows, 4), 5);
    struct top_canvas c;
    assert_int_equal(top_canvas_init(&c, 60, 1), 0);
    top_nodes_put_row(&c, 5, rows[3]);
    top_canvas_fini(&c);
    json_decref(page);
}

static void assert_row(const struct top_canvas *c, int row, const char *expected)
{
    char text[200];
    snprintf(text, sizeof(text), "%.*s", c->columns, c->cells + row * c->columns);
    for (size_t len = strlen(text); len > 0 && text[len - 1] == ' ';)
        text[--len] = 0;
    assert_string_equal(text, expected);
}

static void test_table(void **state)
{
    (void)state;
    json_t *page =
        json_loads("[{\"name\": \"cache-1:6379\", \"state\": \"out\", \"share\": 0.25, "
                   "\"memory_used\": 1073741824,"
                   " \"first_byte_p99_us\": 1250, \"keys\": 123456789, \"commands_per_second\": 77,"
                   " \"reason\": \"si\\u001blent\"}]",
                   0, NULL);
    const json_t *row = json_array_get(page, 0);
    struct top_canvas c;
    assert_int_equal(top_canvas_init(&c, 90, 4), 0);
    int width = top_nodes_width(&row, 1);
    top_nodes_put_title(&c, TOP_PLAIN, width, &(struct top_sort){TOP_COLUMN_KEYS, false});
    top_canvas_at(&c, 1, 0);
    top_nodes_put_row(&c, width, row);
    top_canvas_at(&c, 2, 0);
    top_nodes_put_title(&c, TOP_PLAIN, width, &(struct top_sort){TOP_COLUMN_STATE, true});
    top_canvas_at(&c, 3, 0);
    top_nodes_put_title(&c, TOP_PLAIN, width, &(struct top_sort){TOP_COLUMN_NODE, false});
    assert_row(&c, 0, "NODE         STATE    SHARE     MEMORY        P99     KEYSv   OPS/S  WHY");
    assert_row(&c, 1,
               "cache-1:6379 out      25.0%    1.0 GiB    1.25 ms 123456789      77  si\\x1blent");
    assert_row(&c, 2, "NODE         STATE^   SHARE     MEMORY        P99      KEYS   OPS/S  WHY");
    assert_row(&c, 3, "NODE^        STATE    SHARE     MEMORY        P99      KEYS   OPS/S  WHY");
    assert_int_equal(c.looks[c.columns + 13], TOP_RED);
    assert_int_equal(c.looks[c.columns], TOP_PLAIN);
    top_canvas_fini(&c);
    json_decref(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_what_is_no_node),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
