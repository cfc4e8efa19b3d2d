/* SPDX-License-Identifier: Apache-2.0 */
/* `sumcache reload` and `sumcache upgrade`: they send a signal and wait for the answer (reload.c,
 * upgrade.c), which the proxy gives to whoever has sent that. */
#include "daemon/reload_command.h"

#include "base/nsec.h"
#include "base/str.h"
#include "daemon/arguments.h"
#include "daemon/upgrade.h"
#include "os/file.h"
#include "os/notify.h"
#include "os/process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { RELOAD_DONE = 0, RELOAD_FAILED = 1, RELOAD_UNKNOWN = 2 };

enum { PID_FILE_MAX = 64 };

/* What may be asked of a process. */
struct errand {
    const char *name, *help;
    const char *option; /* one more, without a value; NULL: there is none */
    int (*send)(int pid, bool with_option);
    void (*say_done)(FILE *out, const char *rest);
    uint64_t wait; /* ns, for an answer */
};

static const char RELOAD_HELP[] =
    "Usage: sumcache reload --pid PID | --pid-file FILE\n"
    "\n"
    "Makes a running sumcache read its settings anew, with all clients and requests as they are,\n"
    "and says what came of it: settings that need a restart keep their values, and are named; a\n"
    "file that is wrong changes nothing. Exit status: 0 done, 1 the settings are wrong, 2 the\n"
    "process cannot be asked.\n"
    "\n"
    "  --pid PID        the process\n"
    "  --pid-file FILE  a file with its number\n"
    "  --help           this text\n";

static const char UPGRADE_HELP[] =
    "Usage: sumcache upgrade --pid PID | --pid-file FILE\n"
    "\n"
    "Has a running sumcache start the program that is there now in its place, with its listening\n"
    "sockets, so that no connection is refused; when that serves, the old process goes on with "
    "the\n"
    "clients it has until they leave, at most twice timeouts.drain. Says the new process's "
    "number.\n"
    "Exit status: 0 done, 1 nothing has changed, 2 the process cannot be asked.\n"
    "\n"
    "  --pid PID        the process\n"
    "  --pid-file FILE  a file with its number\n"
    "  --flush-out      also while nodes are out, or not clean yet: those that are out are "
    "emptied\n"
    "                   when they are back, for what they missed only the old process knows\n"
    "  --help           this text\n";

__attribute__((format(printf, 3, 4))) static int fail(const struct errand *e, FILE *err,
                                                      const char *what, ...)
{
    va_list ap;
    fprintf(err, "sumcache %s: ", e->name);
    va_start(ap, what);
    vfprintf(err, what, ap);
    va_end(ap);
    fputc('\n', err);
    return RELOAD_UNKNOWN;
}

/* 0: it is no process. */
static unsigned read_pid(struct str text)
{
    int64_t pid;
    while (text.len > 0 && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == ' '))
        text.len--;
    return str_to_i64(text, &pid) == 0 && pid > 1 && pid <= INT32_MAX ? (unsigned)pid : 0;
}

static int read_file(const struct errand *e, const char *path, unsigned *ret_pid, FILE *err)
{
    char *bytes CLEANUP(freep) = NULL;
    size_t len = 0;
    int failed = file_read(path, PID_FILE_MAX, &bytes, &len);
    if (failed)
        return fail(e, err, "cannot read %s: %s", path, strerror(-failed));
    *ret_pid = read_pid((struct str){bytes, len});
    return *ret_pid > 0 ? 0 : fail(e, err, "%s: expected the number of a process", path);
}

static int tell(const struct errand *e, const char *answer, FILE *out, FILE *err)
{
    struct str a = str_of(answer), rest = {a.p + 1, a.len > 0 ? a.len - 1 : 0};
    if (a.len > 0 && a.p[0] == NOTIFY_FAILED) {
        fail(e, err, "nothing has changed: %s", rest.p);
        return RELOAD_FAILED;
    }
    if (a.len == 0 || a.p[0] != NOTIFY_DONE)
        return fail(e, err, "the process is no sumcache that this one understands");
    e->say_done(out, rest.p);
    return RELOAD_DONE;
}

static void say_reloaded(FILE *out, const char *rest)
{
    fputs("sumcache: the settings are in force\n", out);
    if (rest[0])
        fprintf(out, "sumcache: but for these, which need a restart: %s\n", rest);
}

static void say_upgraded(FILE *out, const char *rest)
{
    fprintf(out, "sumcache: process %s serves; the old one ends when its clients have left\n",
            rest);
}

static int send_reload(int pid, bool with_option)
{
    (void)with_option; /* it has none */
    return process_hang_up(pid);
}

static int send_upgrade(int pid, bool with_option)
{
    return process_upgrade(pid, with_option ? UPGRADE_FLUSH_OUT : 0);
}

static int run_errand(const struct errand *e, unsigned pid, bool with_option, FILE *out, FILE *err)
{
    char answer[NOTIFY_ANSWER_MAX];
    int handle = notify_open();
    if (handle < 0)
        return fail(e, err, "cannot wait for an answer: %s", strerror(-handle));
    int failed = e->send((int)pid, with_option);
    if (failed) {
        notify_close(handle);
        return fail(e, err, "cannot signal process %u: %s", pid, strerror(-failed));
    }
    failed = notify_await(handle, pid, e->wait, answer, sizeof(answer));
    notify_close(handle);
    if (failed)
        return fail(e, err, "process %u has the signal, but gives no answer: %s; see its log", pid,
                    strerror(-failed));
    return tell(e, answer, out, err);
}

static int command(const struct errand *e, int argc, char **argv, FILE *out, FILE *err)
{
    const char *pid_text = NULL, *pid_file = NULL;
    bool help = false, with_option = false;
    unsigned pid = 0;
    const struct argument rows[] = {{.name = "--pid", .value = &pid_text},
                                    {.name = "--pid-file", .value = &pid_file},
                                    {.name = "--help", .given = &help},
                                    {.name = e->option, .given = &with_option}};
    size_t count = sizeof(rows) / sizeof(rows[0]) - (e->option ? 0 : 1);
    char why[ARGUMENTS_WHY_MAX];
    if (arguments_read(rows, count, argc, argv, why) != 0)
        return fail(e, err, "%s", why);
    if (help) {
        fputs(e->help, out);
        return RELOAD_DONE;
    }
    if (!pid_text && !pid_file)
        return fail(e, err, "which process? (--pid PID or --pid-file FILE)");
    if (pid_file && read_file(e, pid_file, &pid, err) != 0)
        return RELOAD_UNKNOWN;
    if (pid_text)
        pid = read_pid(str_of(pid_text));
    if (pid == 0)
        return fail(e, err, "--pid: expected the number of a process");
    return run_errand(e, pid, with_option, out, err);
}

int reload_command(int argc, char **argv, FILE *out, FILE *err)
{
    static const struct errand RELOAD = {"reload",    RELOAD_HELP,  NULL,
                                         send_reload, say_reloaded, 30 * NSEC_S};
    return command(&RELOAD, argc, argv, out, err);
}

int upgrade_command(int argc, char **argv, FILE *out, FILE *err)
{
    static const struct errand UPGRADE = {"upgrade",    UPGRADE_HELP, "--flush-out",
                                          send_upgrade, say_upgraded, 60 * NSEC_S};
    return command(&UPGRADE, argc, argv, out, err);
}
