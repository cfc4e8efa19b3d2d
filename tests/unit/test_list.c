/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct item {
    char name;
    struct list link; /* not first, so that list_item() has an offset to subtract */
};

/* The list must read as `names`, forwards and backwards. */
static void check(struct list *head, const char *names)
{
    size_t len = strlen(names), i = 0;
    list_for_each (link, head) {
        assert_true(i < len);
        assert_int_equal(list_item(link, struct item, link)->name, names[i]);
        i++;
    }
    assert_int_equal(i, len);
    for (struct list *link = head->prev; link != head; link = link->prev)
        assert_int_equal(list_item(link, struct item, link)->name, names[--i]);
    assert_int_equal(i, 0);
    assert_int_equal(list_empty(head), len == 0);
    if (len > 0)
        assert_int_equal(list_first(head, struct item, link)->name, names[0]);
}

static void make_items(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i].name = (char)('a' + i);
        list_init(&items[i].link);
    }
}

static void test_push_and_remove(void **state)
{
    (void)state;
    struct item items[5];
    struct list head;
    make_items(items, 5);
    list_init(&head);
    check(&head, "");
    list_push_tail(&head, &items[0].link);
    check(&head, "a");
    list_push_tail(&head, &items[1].link);
    list_push_head(&head, &items[2].link);
    check(&head, "cab");
    list_insert_before(&items[0].link, &items[3].link);
    check(&head, "cdab");
    list_remove(&items[0].link);
    check(&head, "cdb");
    assert_true(list_empty(&items[0].link));
    list_remove(&items[0].link); /* safe to repeat */
    check(&head, "cdb");
    list_remove(&items[2].link);
    list_remove(&items[1].link);
    check(&head, "d");
    list_remove(&items[3].link);
    check(&head, "");
    list_push_head(&head, &items[0].link); /* a removed link may come back */
    check(&head, "a");
}

static void test_append_all(void **state)
{
    (void)state;
    struct item items[4];
    struct list to, from;
    make_items(items, 4);
    list_init(&to);
    list_init(&from);
    list_append_all(&to, &from);
    check(&to, "");
    list_push_tail(&from, &items[0].link);
    list_push_tail(&from, &items[1].link);
    list_append_all(&to, &from);
    check(&to, "ab");
    check(&from, "");
    list_append_all(&to, &from);
    check(&to, "ab");
    list_push_tail(&from, &items[2].link);
    list_push_tail(&from, &items[3].link);
    list_append_all(&to, &from);
    check(&to, "abcd");
    check(&from, "");
}

static void test_remove_while_walking(void **state)
{
    (void)state;
    struct item items[6];
    struct list head;
    make_items(items, 6);
    list_init(&head);
    for (size_t i = 0; i < 6; i++)
        list_push_tail(&head, &items[i].link);
    size_t visited = 0;
    list_for_each_safe (link, &head) {
        struct item *item = list_item(link, struct item, link);
        if (visited++ % 2 == 0) {
            list_remove(link);
            memset(item, 0xee, sizeof(*item)); /* as if it had been freed */
        }
    }
    assert_int_equal(visited, 6);
    check(&head, "bdf");
}

/* Against a string of names. */
static void test_model(void **state)
{
    (void)state;
    enum { ITEMS = 20 };
    struct item items[ITEMS];
    char model[ITEMS + 1] = "";
    struct list head;
    struct rng rng = {99};
    make_items(items, ITEMS);
    list_init(&head);
    for (int step = 0; step < 5000; step++) {
        struct item *item = &items[rng_below(&rng, ITEMS)];
        char name[2] = {item->name, '\0'};
        char *at = strchr(model, item->name);
        size_t len = strlen(model);
        if (at) {
            list_remove(&item->link);
            memmove(at, at + 1, len - (size_t)(at - model));
        } else if (rng_below(&rng, 2)) {
            list_push_tail(&head, &item->link);
            memcpy(model + len, name, 2);
        } else {
            list_push_head(&head, &item->link);
            memmove(model + 1, model, len + 1);
            model[0] = item->name;
        }
        check(&head, model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_and_remove),
        cmocka_unit_test(test_append_all),
        cmocka_unit_test(test_remove_while_walking),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
