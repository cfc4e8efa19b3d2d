/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned entries(const struct journal *j, uint32_t slot)
{
    unsigned count = 0;
    for (const struct journal_entry *e = journal_slot(j, slot); e; e = e->next)
        count++;
    return count;
}

static bool all(void *owner, struct journal_entry *e)
{
    (void)owner;
    (void)e;
    return true;
}

static bool is_anywhere_no_more(void *owner, struct journal_entry *e)
{
    (void)owner;
    return !journal_entry_is_anywhere(e);
}

static void an_empty_journal_has_no_entries(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 1000);
    assert_null(journal_slot(&j, 7));
    journal_drop(&j, 7, all, NULL);
    journal_clear(&j);
    journal_fini(&j);
}

static void a_key_noted_twice_is_one_entry_with_all_its_holders(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    assert_int_equal(journal_note(&j, 7, 0, STR("a"), 1, false), 0);
    assert_int_equal(journal_note(&j, 7, 0, STR("a"), 2, false), 0);
    assert_int_equal(journal_note(&j, 7, 0, STR("a"), 1, false), 0);
    assert_int_equal(journal_note(&j, 7, 0, STR("b"), 1, false), 0);
    assert_int_equal(entries(&j, 7), 2);
    assert_int_equal(entries(&j, 8), 0);
    struct journal_entry *a = journal_slot(&j, 7)->next;
    assert_true(journal_entry_is_at(a, 1));
    assert_true(journal_entry_is_at(a, 2));
    assert_false(journal_entry_is_at(a, 3));
    journal_entry_forget(a, 1);
    assert_false(journal_entry_is_at(a, 1));
    assert_true(journal_entry_is_anywhere(a));
    journal_entry_forget(a, 2);
    assert_false(journal_entry_is_anywhere(a));
    journal_fini(&j);
}

static void what_was_written_at_home_only_is_nowhere_else(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), JOURNAL_NO_NODE, false), 0);
    assert_false(journal_entry_is_anywhere(journal_slot(&j, 1)));
    journal_fini(&j);
}

static void a_dirty_note_takes_back_that_it_is_clean(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 3, false), 0);
    struct journal_entry *e = journal_slot(&j, 1);
    e->clean = 5;
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 3, false), 0);
    assert_int_equal(e->clean, 5);
    assert_false(e->again);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 5, false), 0);
    assert_true(e->again);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 3, true), 0);
    assert_int_equal(e->clean, JOURNAL_NO_NODE);
    journal_fini(&j);
}

static void more_holders_than_fit_are_told(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    for (int i = 0; i < JOURNAL_HOLDERS; i++)
        assert_int_equal(journal_note(&j, 1, 0, STR("k"), (uint16_t)i, false), 0);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 0, false), 0);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), JOURNAL_HOLDERS, false), -ENOSPC);
    journal_fini(&j);
}

static void it_never_holds_more_than_it_may(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 10000);
    int err = 0;
    char key[16];
    unsigned count = 0;
    while (!err) {
        int n = snprintf(key, sizeof(key), "key%u", count);
        err = journal_note(&j, count % 100, 0, (struct str){key, (size_t)n}, 1, false);
        assert_true(j.bytes <= 10000);
        count += !err;
    }
    assert_int_equal(err, -ENOSPC);
    assert_in_range(count, 50, 300);
    assert_int_equal(j.count, count);
    journal_clear(&j);
    assert_int_equal(j.bytes, 0);
    assert_int_equal(journal_note(&j, 3, 0, STR("again"), 1, false), 0);
    journal_fini(&j);
}

static void entries_that_are_done_go_and_others_stay(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    assert_int_equal(journal_note(&j, 9, 0, STR("a"), 1, false), 0);
    assert_int_equal(journal_note(&j, 9, 0, STR("b"), JOURNAL_NO_NODE, false), 0);
    assert_int_equal(journal_note(&j, 9, 0, STR("c"), 2, false), 0);
    journal_drop(&j, 9, is_anywhere_no_more, NULL);
    assert_int_equal(entries(&j, 9), 2);
    assert_int_equal(j.count, 2);
    journal_fini(&j);
}

static void keys_may_be_empty_or_binary(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 100000);
    assert_int_equal(journal_note(&j, 9, 0, (struct str){NULL, 0}, 1, false), 0);
    assert_int_equal(journal_note(&j, 9, 0, (struct str){"\0x", 2}, 1, false), 0);
    assert_int_equal(journal_note(&j, 9, 0, (struct str){"\0y", 2}, 1, false), 0);
    assert_int_equal(entries(&j, 9), 3);
    journal_fini(&j);
}

static void a_key_of_each_database_is_another(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, 4096);
    assert_int_equal(journal_note(&j, 1, 0, STR("k"), 1, false), 0);
    assert_int_equal(journal_note(&j, 1, 3, STR("k"), 2, false), 0);
    assert_int_equal(journal_note(&j, 1, 15, STR("k"), 2, false), 0);
    assert_int_equal(journal_note(&j, 1, 3, STR("k"), 2, false), 0);
    assert_int_equal(j.count, 3);
    for (struct journal_entry *e = journal_slot(&j, 1); e; e = e->next) {
        assert_true(journal_entry_is_at(e, e->database == 0 ? 1 : 2));
        for (struct journal_entry *other = e->next; other; other = other->next) {
            assert_int_not_equal(e->database, other->database);
            assert_int_not_equal(e->hash, other->hash);
        }
    }
    journal_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_journal_has_no_entries),
        cmocka_unit_test(a_key_noted_twice_is_one_entry_with_all_its_holders),
        cmocka_unit_test(what_was_written_at_home_only_is_nowhere_else),
        cmocka_unit_test(a_key_of_each_database_is_another),
        cmocka_unit_test(a_dirty_note_takes_back_that_it_is_clean),
        cmocka_unit_test(more_holders_than_fit_are_told),
        cmocka_unit_test(it_never_holds_more_than_it_may),
        cmocka_unit_test(entries_that_are_done_go_and_others_stay),
        cmocka_unit_test(keys_may_be_empty_or_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
