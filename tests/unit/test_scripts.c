/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/scripts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* "L" script, "S" scripts flushed, "F" function, "D" deleted, "X" functions flushed, "R" restored.
 */
static enum script_kind kind_of(char letter)
{
    return letter == 'L'   ? SCRIPT_LOADED
           : letter == 'S' ? SCRIPTS_FLUSHED
           : letter == 'F' ? FUNCTION_LOADED
           : letter == 'D' ? FUNCTION_DELETED
           : letter == 'X' ? FUNCTIONS_FLUSHED
                           : FUNCTIONS_RESTORED;
}

static const char LETTERS[] = "LSFDXR";

/* "La=1 S Fb=2": name and body behind the letter. */
static void add_all(struct scripts *s, const char *line)
{
    while (*line) {
        const char *end = strchr(line, ' ') ? strchr(line, ' ') : line + strlen(line);
        const char *equals = memchr(line, '=', (size_t)(end - line));
        struct str name = {line + 1, (size_t)((equals ? equals : end) - line) - 1};
        struct str body = STR("");
        if (equals)
            body = (struct str){equals + 1, (size_t)(end - equals) - 1};
        (void)scripts_add(s, kind_of(*line), name, body);
        line = *end ? end + 1 : end;
    }
}

static const char *print(const struct scripts *s, uint64_t after, char *to, size_t size)
{
    size_t len = 0;
    to[0] = '\0';
    for (struct script_entry *e; (e = scripts_after(s, after)); after = e->number) {
        int n = snprintf(to + len, size - len, "%s%c%.*s%s%.*s", len ? " " : "", LETTERS[e->kind],
                         (int)e->name_len, script_name(e).p, e->body_len ? "=" : "",
                         (int)e->body_len, script_body(e).p);
        len += (size_t)n;
    }
    return to;
}

static void what_is_overtaken_is_not_kept(void **state)
{
    (void)state;
    static const struct {
        const char *said, *kept;
    } CASES[] = {
        {"", ""},
        {"La=1 Lb=2 La=1", "La=1 Lb=2"},
        {"La=1 Fa=1 S Lb=2", "Fa=1 S Lb=2"},
        {"S S S", "S"},
        {"La=1 S La=1", "S La=1"},
        {"Fa=1 Fb=1 Fa=2", "Fb=1 Fa=2"},
        {"Fa=1 Fa=1", "Fa=1"},
        {"Fa=1 Da", "Da"},
        {"Fa=1 Da Fa=1", "Fa=1"},
        {"La=1 Fa=1 Db R=dump X", "La=1 X"},
        {"Fa=1 R=dump Fa=1", "R=dump Fa=1"},
        {"X R=dump", "X R=dump"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scripts s;
        char text[256];
        scripts_init(&s, 10000);
        add_all(&s, CASES[i].said);
        assert_string_equal(print(&s, 0, text, sizeof(text)), CASES[i].kept);
        scripts_fini(&s);
        assert_int_equal(s.bytes, 0);
        assert_int_equal(s.count, 0);
    }
}

static void who_has_some_gets_the_rest(void **state)
{
    (void)state;
    struct scripts s;
    char text[256];
    scripts_init(&s, 10000);
    add_all(&s, "La=1 Lb=2 Fc=3");
    assert_int_equal(s.last, 3);
    assert_string_equal(print(&s, 1, text, sizeof(text)), "Lb=2 Fc=3");
    assert_string_equal(print(&s, 3, text, sizeof(text)), "");
    add_all(&s, "Fc=4");
    assert_string_equal(print(&s, 3, text, sizeof(text)), "Fc=4");
    assert_string_equal(print(&s, 0, text, sizeof(text)), "La=1 Lb=2 Fc=4");
    scripts_fini(&s);
}

static void scripts_go_before_functions_when_there_is_no_room(void **state)
{
    (void)state;
    struct scripts s;
    char text[256];
    scripts_init(&s, 3 * (sizeof(struct script_entry) + 2));
    add_all(&s, "La=1 Lb=2 Fc=3 Fd=4");
    assert_string_equal(print(&s, 0, text, sizeof(text)), "Lb=2 Fc=3 Fd=4");
    assert_int_equal(s.forgotten, 1);
    add_all(&s, "Fe=5 Ff=6");
    assert_string_equal(print(&s, 0, text, sizeof(text)), "Fc=3 Fd=4 Fe=5");
    assert_int_equal(s.forgotten, 3);
    assert_true(s.bytes <= s.bytes_max);
    scripts_fini(&s);
    scripts_init(&s, 0);
    add_all(&s, "La=1 S Fa=1");
    assert_int_equal(s.count, 0);
    assert_int_equal(s.forgotten, 3);
    scripts_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_overtaken_is_not_kept),
        cmocka_unit_test(who_has_some_gets_the_rest),
        cmocka_unit_test(scripts_go_before_functions_when_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
