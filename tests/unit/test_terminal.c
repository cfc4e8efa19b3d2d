/* SPDX-License-Identifier: Apache-2.0 */
/* With a pseudo terminal as standard input. Stopping and shells: tests/integration/test_top.py. */
#include "os/terminal.h"

#include "base/nsec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

struct desk {
    int master, slave;
    FILE *out; /* the slave */
    struct termios before;
    char seen[4096]; /* what was written to it, a NUL at its end */
    size_t len;
};

static void open_desk(struct desk *d)
{
    *d = (struct desk){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    assert_true(d->master >= 0);
    assert_int_equal(grantpt(d->master), 0);
    assert_int_equal(unlockpt(d->master), 0);
    d->slave = open(ptsname(d->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(d->slave >= 0);
    assert_int_equal(dup2(d->slave, STDIN_FILENO), STDIN_FILENO);
    d->out = fdopen(d->slave, "w");
    assert_non_null(d->out);
    assert_int_equal(tcgetattr(d->slave, &d->before), 0);
}

static void close_desk(struct desk *d)
{
    fclose(d->out);
    close(d->master);
}

/* True: what has been written by now, or comes soon, holds the text. */
static bool shows(struct desk *d, const char *text)
{
    struct pollfd fd = {d->master, POLLIN, 0};
    while (!strstr(d->seen, text) && poll(&fd, 1, 2000) == 1) {
        ssize_t n = read(d->master, d->seen + d->len, sizeof(d->seen) - 1 - d->len);
        if (n <= 0)
            return false;
        d->len += (size_t)n;
        d->seen[d->len] = 0;
    }
    return strstr(d->seen, text);
}

static bool is_as_before(const struct desk *d)
{
    struct termios now;
    assert_int_equal(tcgetattr(d->slave, &now), 0);
    return now.c_lflag == d->before.c_lflag && now.c_iflag == d->before.c_iflag &&
           now.c_oflag == d->before.c_oflag &&
           memcmp(now.c_cc, d->before.c_cc, sizeof(now.c_cc)) == 0;
}

static void test_taken_and_given_back(void **state)
{
    (void)state;
    struct desk d;
    struct terminal *t = NULL;
    char keys[8];
    size_t len;
    open_desk(&d);
    assert_true(terminal_is_there(d.out));
    assert_int_equal(terminal_open(d.out, &t), 0);
    assert_false(is_as_before(&d));
    assert_true(shows(&d, "\033[?1049h\033[?25l"));
    assert_int_equal(terminal_wait(t, 0, keys, sizeof(keys), &len), 0);
    assert_int_equal(write(d.master, "qr", 2), 2); /* without Enter */
    assert_int_equal(terminal_wait(t, NSEC_NEVER, keys, sizeof(keys), &len), TERMINAL_KEYS);
    assert_int_equal(len, 2);
    assert_memory_equal(keys, "qr", 2);
    assert_int_equal(terminal_write(t, "frame", 5), 0);
    assert_true(shows(&d, "frame"));
    assert_null(strstr(d.seen, "qr")); /* no echo */
    terminal_give(t);
    assert_true(is_as_before(&d));
    assert_true(shows(&d, "\033[?25h\033[?1049l"));
    terminal_poke(t);
    assert_null(terminal_close(t));
    assert_null(terminal_close(NULL));
    close_desk(&d);
}

static void test_size(void **state)
{
    (void)state;
    struct desk d;
    struct terminal *t = NULL;
    struct winsize size = {.ws_col = 101, .ws_row = 7};
    int columns, rows;
    open_desk(&d);
    assert_int_equal(terminal_open(d.out, &t), 0);
    terminal_size(t, &columns, &rows);
    assert_int_equal(columns, 80);
    assert_int_equal(rows, 24);
    assert_int_equal(ioctl(d.master, TIOCSWINSZ, &size), 0);
    terminal_size(t, &columns, &rows);
    assert_int_equal(columns, 101);
    assert_int_equal(rows, 7);
    terminal_close(t);
    close_desk(&d);
}

static void test_signals(void **state)
{
    (void)state;
    static const struct {
        int number;
        unsigned event;
    } cases[] = {{SIGWINCH, TERMINAL_DRAW}, {SIGCONT, TERMINAL_DRAW}, {SIGINT, TERMINAL_END},
                 {SIGTERM, TERMINAL_END},   {SIGHUP, TERMINAL_END},   {SIGQUIT, TERMINAL_END}};
    struct desk d;
    struct terminal *t = NULL;
    char keys[8];
    size_t len;
    open_desk(&d);
    assert_int_equal(terminal_open(d.out, &t), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        kill(getpid(), cases[i].number);
        assert_int_equal(terminal_wait(t, NSEC_NEVER, keys, sizeof(keys), &len), cases[i].event);
        assert_int_equal(terminal_wait(t, 0, keys, sizeof(keys), &len), 0);
    }
    terminal_poke(t);
    terminal_poke(t);
    assert_int_equal(terminal_wait(t, NSEC_NEVER, keys, sizeof(keys), &len), TERMINAL_POKED);
    assert_int_equal(terminal_wait(t, NSEC_MS, keys, sizeof(keys), &len), 0);
    terminal_close(t);
    close_desk(&d);
}

static void test_one_that_takes_nothing(void **state)
{
    (void)state;
    struct desk d;
    struct terminal *t = NULL;
    char keys[8], *much = malloc(1 << 20);
    size_t len;
    memset(much, 'x', 1 << 20);
    open_desk(&d);
    assert_int_equal(terminal_open(d.out, &t), 0);
    kill(getpid(), SIGTERM); /* it is seen although nobody reads what we write */
    assert_int_equal(terminal_write(t, much, 1 << 20), -EAGAIN);
    assert_int_equal(terminal_wait(t, NSEC_NEVER, keys, sizeof(keys), &len), TERMINAL_END);
    terminal_close(t); /* it waits for a while */
    assert_true(is_as_before(&d));
    close_desk(&d);
    free(much);
}

static void test_one_that_goes_away(void **state)
{
    (void)state;
    struct desk d;
    struct terminal *t = NULL;
    char keys[8];
    size_t len;
    open_desk(&d);
    assert_int_equal(terminal_open(d.out, &t), 0);
    close(d.master);
    assert_int_equal(terminal_wait(t, NSEC_NEVER, keys, sizeof(keys), &len), TERMINAL_END);
    assert_true(terminal_write(t, "frame", 5) < 0);
    terminal_close(t);
    fclose(d.out);
}

static void test_what_is_no_terminal(void **state)
{
    (void)state;
    struct terminal *t = NULL;
    FILE *null = fopen("/dev/null", "w");
    assert_non_null(null);
    assert_false(terminal_is_there(null));
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(terminal_open(null, &t), -ENOTTY);
    assert_null(t);
    close(fd);
    fclose(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_and_given_back),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_one_that_takes_nothing),
        cmocka_unit_test(test_one_that_goes_away),
        cmocka_unit_test(test_what_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
