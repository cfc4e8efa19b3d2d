/* SPDX-License-Identifier: Apache-2.0 */
/* It asks as any client may, by SUMCACHE.UNLINK and SUMCACHE.JOBS on the Redis port. */
#include "daemon/unlink_command.h"

#include "base/nsec.h"
#include "daemon/arguments.h"
#include "daemon/ask.h"
#include "os/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { UNLINK_DONE = 0, UNLINK_NOT_DONE = 1, UNLINK_UNKNOWN = 2 };

enum { BAR_WIDTH = 30, STATE_MAX = 16, REASON_MAX = 160, WORDS_MAX = 7 };

#define LOOK_EACH (200 * NSEC_MS)

static const char HELP[] =
    "Usage: sumcache unlink PATTERN [--rate KEYS] [--count N] [--connect WHERE] [--detach]\n"
    "                               [option]...\n"
    "\n"
    "Removes all keys whose names match the pattern (as KEYS and SCAN match: * ? [a-c] \\) at all\n"
    "nodes, in the background, and shows how far it is. Exit status: 0 done, 1 failed or "
    "cancelled,\n"
    "2 the proxy cannot be asked.\n"
    "\n"
    "  --rate KEYS          look at so many keys a second at most, at each node (default: as fast "
    "as\n"
    "                       leaves the nodes four fifths of their time)\n"
    "  --count N            keys that a node looks at in one go (default 1000)\n" ASK_CONNECT_HELP
    "                       (it must be the proxy itself, no balancer in front of several)\n"
    "  --detach             print the job's number and leave it alone\n"
    "  --help               this text\n"
    "\n"
    "Ctrl-C leaves the job running; SUMCACHE.JOBS CANCEL ends it, and so does the end of the "
    "proxy.\n";

struct request {
    const char *pattern, *connect, *rate, *count;
    struct server_options server;
    bool detach, help;
    FILE *out, *err;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct request *r, const char *what,
                                                      ...)
{
    va_list ap;
    fputs("sumcache unlink: ", r->err);
    va_start(ap, what);
    vfprintf(r->err, what, ap);
    va_end(ap);
    fputc('\n', r->err);
    return UNLINK_UNKNOWN;
}

/* ---- asking ---- */

/* 0, or an exit status; it is said then. */
static int ask_words(const struct request *r, struct ask *a, const struct str *words, size_t count)
{
    int err = ask(a, words, count);
    return err == -E2BIG ? fail(r, "the pattern is too long") : err ? fail(r, "%s", a->why) : 0;
}

static int start(const struct request *r, struct ask *a, int64_t *ret_id)
{
    struct str words[WORDS_MAX] = {STR("SUMCACHE.UNLINK"), STR("MATCH"), str_of(r->pattern)};
    size_t count = 3;
    if (r->count) {
        words[count++] = STR("COUNT");
        words[count++] = str_of(r->count);
    }
    if (r->rate) {
        words[count++] = STR("RATE");
        words[count++] = str_of(r->rate);
    }
    int status = ask_words(r, a, words, count);
    if (status != 0)
        return status;
    if (a->type != ':' || str_to_i64(a->text, ret_id) != 0)
        return fail(r, "%s is no sumcache: it answers no number of a job", r->connect);
    return 0;
}

/* ---- what a job's map says ---- */

struct job {
    char state[STATE_MAX], reason[REASON_MAX];
    int64_t nodes, nodes_done, nodes_out, keys, scanned, unlinked, took_ms, eta_ms;
};

/* The next number or text of a RESP2 reply that is a frame; headers of arrays are passed over.
 * False: there is none. */
static bool next_item(struct str *s, struct str *ret)
{
    while (s->len > 0) {
        const char *eol = memchr(s->p, '\r', s->len);
        if (!eol || (size_t)(eol - s->p) + 2 > s->len)
            return false;
        char type = s->p[0];
        struct str rest = {s->p + 1, (size_t)(eol - s->p) - 1};
        int64_t len;
        *s = (struct str){eol + 2, s->len - (size_t)(eol - s->p) - 2};
        if (type == '*')
            continue;
        *ret = rest;
        if (type != '$')
            return true;
        if (str_to_i64(rest, &len) != 0 || len < 0 || (uint64_t)len + 2 > s->len)
            return false;
        *ret = (struct str){s->p, (size_t)len};
        *s = (struct str){s->p + len + 2, s->len - (size_t)len - 2};
        return true;
    }
    return false;
}

/* False: it is no job. */
static bool read_job(struct str reply, struct job *ret_job)
{
    struct job j = {.eta_ms = -1};
    const struct {
        const char *name;
        int64_t *figure;
    } figures[] = {{"nodes", &j.nodes},         {"nodes_done", &j.nodes_done},
                   {"nodes_out", &j.nodes_out}, {"keys", &j.keys},
                   {"scanned", &j.scanned},     {"unlinked", &j.unlinked},
                   {"took_ms", &j.took_ms},     {"eta_ms", &j.eta_ms}};
    struct str name, value;
    while (next_item(&reply, &name) && next_item(&reply, &value)) {
        if (str_eq(name, STR("state")))
            str_fill(j.state, sizeof(j.state), value);
        else if (str_eq(name, STR("reason")))
            str_fill(j.reason, sizeof(j.reason), value);
        for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
            if (str_eq(name, str_of(figures[i].name)) && str_to_i64(value, figures[i].figure) != 0)
                return false;
    }
    *ret_job = j;
    return j.state[0] != '\0';
}

static bool is_active(const struct job *j)
{
    return strcmp(j->state, "running") == 0 || strcmp(j->state, "queued") == 0;
}

/* ---- showing ---- */

static void print_time(FILE *out, int64_t ms)
{
    if (ms < 0)
        fputs("some time", out);
    else if (ms < 60000)
        fprintf(out, "%.1f s", (double)ms / 1000);
    else
        fprintf(out, "%" PRId64 " min %" PRId64 " s", ms / 60000, ms / 1000 % 60);
}

/* In place of the one before. */
static void show_bar(FILE *out, const struct job *j)
{
    char bar[BAR_WIDTH + 1];
    int64_t done = j->keys > 0 ? j->scanned * BAR_WIDTH / j->keys : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < done ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(out, "\r[%s] %" PRId64 "%%  %" PRId64 " of %" PRId64 " keys, %" PRId64 " removed, ",
            bar, j->keys > 0 ? j->scanned * 100 / j->keys : 0, j->scanned, j->keys, j->unlinked);
    print_time(out, j->eta_ms);
    fputs(" left\033[K", out);
    fflush(out);
}

static int show_end(const struct request *r, const struct job *j, int64_t id, bool bar)
{
    if (bar)
        fputs("\r\033[K", r->out);
    fprintf(r->out,
            "job %" PRId64 " %s: %" PRId64 " keys removed of %" PRId64 " at %" PRId64 " nodes, in ",
            id, j->state, j->unlinked, j->scanned, j->nodes_done);
    print_time(r->out, j->took_ms);
    fputc('\n', r->out);
    if (j->reason[0])
        fprintf(r->err, "sumcache unlink: %s\n", j->reason);
    if (j->nodes_out > 0)
        fprintf(r->out,
                "%" PRId64 " nodes are out; the proxy will go through them before they are "
                "back, if it still runs by then\n",
                j->nodes_out);
    return strcmp(j->state, "done") == 0 ? UNLINK_DONE : UNLINK_NOT_DONE;
}

static int watch(const struct request *r, struct ask *a, int64_t id)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRId64, id);
    struct str words[] = {STR("SUMCACHE.JOBS"), {text, (size_t)len}};
    bool bar = process_is_terminal(r->out);
    for (;;) {
        struct job j;
        int status = ask_words(r, a, words, 2);
        if (status != 0)
            return status;
        if (!read_job(a->whole, &j))
            return fail(r, "%s is no sumcache: it answers no job", r->connect);
        if (!is_active(&j))
            return show_end(r, &j, id, bar);
        if (bar)
            show_bar(r->out, &j);
        process_sleep_ns(LOOK_EACH);
    }
}

static int run(const struct request *r)
{
    struct ask a;
    int64_t id = 0;
    int status =
        ask_init(&a, r->connect, &r->server) == 0 ? start(r, &a, &id) : fail(r, "%s", a.why);
    if (status == 0 && r->detach)
        fprintf(r->out, "%" PRId64 "\n", id);
    else if (status == 0)
        status = watch(r, &a, id);
    ask_fini(&a);
    return status;
}

/* ---- the command line ---- */

static int parse(struct request *r, int argc, char **argv)
{
    const struct argument rows[] = {{.value = &r->pattern},
                                    {.name = "--connect", .value = &r->connect},
                                    SERVER_OPTIONS_ARGUMENTS(&r->server),
                                    {.name = "--rate", .value = &r->rate},
                                    {.name = "--count", .value = &r->count},
                                    {.name = "--detach", .given = &r->detach},
                                    {.name = "--help", .given = &r->help}};
    char why[ARGUMENTS_WHY_MAX];
    int err = arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why);
    return err ? fail(r, "%s", why) : 0;
}

int unlink_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct request r = {.connect = ASK_CONNECT_DEFAULT, .out = out, .err = err};
    int status = parse(&r, argc, argv);
    if (status != 0)
        return status;
    if (r.help)
        fputs(HELP, out);
    else if (r.pattern)
        status = run(&r);
    else
        status = fail(&r, "which keys? (see --help)");
    if (fflush(out) != 0 || ferror(out))
        return fail(&r, "cannot write: %s", strerror(errno));
    return status;
}
