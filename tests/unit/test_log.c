/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct sink {
    struct log log;
    int lines;
    size_t len;
    char text[4 * LOG_LINE_MAX];
};

static void take_line(void *owner, const char *line, size_t len)
{
    struct sink *s = owner;
    assert_in_range(len, 1, LOG_LINE_MAX);
    assert_int_equal(line[len - 1], '\n');
    assert_null(memchr(line, '\n', len - 1));
    assert_null(memchr(line, '\0', len));
    s->lines++;
    s->len = len;
    memcpy(s->text, line, len);
    s->text[len] = '\0';
}

static void sink_init(struct sink *s, enum log_level level)
{
    memset(s, 0, sizeof(*s));
    atomic_init(&s->log.level, level);
    s->log.sink = take_line;
    s->log.owner = s;
}

static void test_lines(void **state)
{
    (void)state;
    struct sink s;
    sink_init(&s, LOG_DEBUG);
    log_event(&s.log, LOG_INFO, "node_up", "node=%s after_ms=%d", "a:1", 7);
    assert_string_equal(s.text, "info node_up node=a:1 after_ms=7\n");
    log_event(&s.log, LOG_DEBUG, "x", "%s", "y=1");
    assert_string_equal(s.text, "debug x y=1\n");
    log_event(&s.log, LOG_WARN, "x", "y=%c", 'z');
    assert_string_equal(s.text, "warn x y=z\n");
    log_event(&s.log, LOG_ERROR, "x", "y=%u", 4294967295u);
    assert_string_equal(s.text, "error x y=4294967295\n");
    log_event(&s.log, LOG_ERROR, "stopped", "%s", "");
    assert_string_equal(s.text, "error stopped\n"); /* no blank at the end */
    assert_int_equal(s.lines, 5);
}

static void test_levels(void **state)
{
    (void)state;
    for (int limit = LOG_DEBUG; limit <= LOG_ERROR; limit++) {
        struct sink s;
        sink_init(&s, (enum log_level)limit);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            int before = s.lines;
            log_event(&s.log, (enum log_level)level, "e", "%s", "f=1");
            assert_int_equal(s.lines, before + (level >= limit));
        }
        atomic_store(&s.log.level, LOG_ERROR);
        int before = s.lines;
        log_event(&s.log, LOG_WARN, "e", "%s", "f=1");
        assert_int_equal(s.lines, before);
    }
}

/* Lines of every length around the limit: whole up to LOG_LINE_MAX with the LF, then cut. */
static void test_long_lines(void **state)
{
    (void)state;
    char value[2 * LOG_LINE_MAX], expected[3 * LOG_LINE_MAX];
    const char head[] = "warn long v=";
    for (size_t len = LOG_LINE_MAX - 40; len < sizeof(value); len += len < LOG_LINE_MAX ? 1 : 97) {
        struct sink s;
        sink_init(&s, LOG_DEBUG);
        memset(value, 'v', len);
        value[len] = '\0';
        log_event(&s.log, LOG_WARN, "long", "v=%s", value);
        assert_int_equal(s.lines, 1);
        memcpy(expected, head, strlen(head));
        memcpy(expected + strlen(head), value, len + 1);
        size_t whole = strlen(head) + len;
        size_t kept = s.len - 1;
        assert_memory_equal(s.text, expected, kept);
        if (whole <= LOG_LINE_MAX - 2)
            assert_int_equal(kept, whole);
        else
            assert_in_range(kept, LOG_LINE_MAX - 2, LOG_LINE_MAX - 1);
    }
}

/* An event that fills the line by itself leaves no room for fields. */
static void test_long_event(void **state)
{
    (void)state;
    char event[2 * LOG_LINE_MAX];
    for (size_t len = LOG_LINE_MAX - 12; len < LOG_LINE_MAX + 12; len++) {
        struct sink s;
        sink_init(&s, LOG_DEBUG);
        memset(event, 'e', len);
        event[len] = '\0';
        log_event(&s.log, LOG_INFO, event, "a=%d", 12345);
        assert_int_equal(s.lines, 1);
        assert_memory_equal(s.text, "info eeee", 9);
    }
}

/* Whatever a peer's bytes put into a field, a call gives one line: nobody can forge a second. */
static void test_one_line_per_call(void **state)
{
    (void)state;
    struct sink s;
    sink_init(&s, LOG_DEBUG);
    log_event(&s.log, LOG_WARN, "bad", "said=%s more=%d", "a\nerror forged x=1\r\n", 1);
    assert_int_equal(s.lines, 1);
    log_event(&s.log, LOG_WARN, "bad", "said=%s", "\n\n\n");
    assert_int_equal(s.lines, 2);
    log_event(&s.log, LOG_WARN, "bad", "said=%s", "\x1b[2Jx\x7fy");
    for (size_t i = 0; i + 1 < s.len; i++)
        assert_true((unsigned char)s.text[i] >= ' ' && s.text[i] != 0x7f);
    log_event(&s.log, LOG_WARN, "ok", "name=%s", "caf\xc3\xa9"); /* UTF-8 stays */
    assert_string_equal(s.text, "warn ok name=caf\xc3\xa9\n");
}

static void test_level_names(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"debug", "info", "warn", "error"};
    static const char *const NO_NAMES[] = {"", "DEBUG", "warning", "debu", "debugs", "inf o"};
    enum log_level level;
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        assert_string_equal(log_level_name((enum log_level)i), NAMES[i]);
        level = LOG_DEBUG;
        assert_true(log_level_from_name(NAMES[i], &level));
        assert_int_equal(level, i);
    }
    for (size_t i = 0; i < sizeof(NO_NAMES) / sizeof(NO_NAMES[0]); i++) {
        level = LOG_WARN;
        assert_false(log_level_from_name(NO_NAMES[i], &level));
        assert_int_equal(level, LOG_WARN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_event),
        cmocka_unit_test(test_one_line_per_call),
        cmocka_unit_test(test_level_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
