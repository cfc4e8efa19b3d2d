/* SPDX-License-Identifier: Apache-2.0 */
/*
 * It asks the JSON API of the admin listener (docs/api.md), a page per connection, so what it shows
 * can be had from there with every other tool too. What a frame looks like: top_frame.h; what
 * somebody at a terminal has instead: top_session.h.
 */
#include "daemon/top_command.h"

#include "base/nsec.h"
#include "base/str.h"
#include "daemon/arguments.h"
#include "daemon/top_frame.h"
#include "daemon/top_session.h"
#include "net/talk.h"
#include "os/file.h"
#include "os/host.h"
#include "os/process.h"
#include "os/terminal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    ANSWER_MAX = 16 * 1024 * 1024, /* far more than a row for each of the most nodes */
    TOKEN_MAX = 1024,
    QUESTION_MAX = TOKEN_MAX + 512,
};

#define DRAW_EACH NSEC_S
#define PATIENCE  (5 * NSEC_S) /* pages are answered from memory */

static const char HELP[] =
    "Usage: sumcache top [--once] [--token-file FILE] [ADDRESS]\n"
    "\n"
    "Shows a running proxy: the sum of its nodes, a row per node, the last events, hot keys and\n"
    "prefixes, drawn again every second. At a terminal keys sort, scroll and end it.\n"
    "\n"
    "  ADDRESS            HOST:PORT of its admin.listen; a bare PORT means 127.0.0.1:PORT\n"
    "                     (default 127.0.0.1:9379, that of sumcache --local)\n"
    "  --token-file FILE  its admin.token_file; else the variable SUMCACHE_ADMIN_TOKEN counts\n"
    "  --once             one frame; exit status 1 if the proxy cannot be asked\n"
    "  --help             this text\n"
    "\n"
    "Keys at a terminal:\n"
    "  q, Ctrl-C            end\n"
    "  h, ?                 all keys\n"
    "  Tab, 1-4             nodes, events, hot keys, prefixes: which has the room\n"
    "  arrows, PgUp, PgDn   scroll\n"
    "  s, <, >, r           sort the nodes by another column, the other way round\n"
    "  p, Space             pause\n"
    "  +, -, d              look less often, more often, type how often\n"
    "\n"
    "No colours where NO_COLOR is set; frames without a screen where TERM is dumb.\n"
    "Bytes of names that are no printable ASCII are shown as \\x1b.\n";

struct top {
    const char *address, *token_file;
    char token[TOKEN_MAX + 1];
    bool once, help;
    struct addr at;
    FILE *out, *err;
    char *why; /* of TOP_WHY_MAX bytes: errors go there; NULL: to err */
};

__attribute__((format(printf, 3, 4))) static int fail(const struct top *t, int status,
                                                      const char *what, ...)
{
    va_list ap;
    va_start(ap, what);
    if (t->why) {
        vsnprintf(t->why, TOP_WHY_MAX, what, ap);
    } else {
        fputs("sumcache top: ", t->err);
        vfprintf(t->err, what, ap);
        fputc('\n', t->err);
    }
    va_end(ap);
    return status;
}

/* ---- one page ---- */

struct answer {
    char *bytes;                    /* owned; a NUL follows when there are any */
    size_t len, head_len, body_len; /* head_len 0: the head is not whole yet */
    int err;
};

/* The admin listener always tells the length. */
static int read_head(struct answer *a)
{
    static const char LENGTH[] = "\r\nContent-Length: ";
    const char *end = memmem(a->bytes, a->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head_len = (size_t)(end - a->bytes) + 4;
    const char *found = memmem(a->bytes, head_len, LENGTH, sizeof(LENGTH) - 1);
    if (!found || strncmp(a->bytes, "HTTP/1.1 ", 9) != 0)
        return -EPROTO;
    unsigned long len = strtoul(found + sizeof(LENGTH) - 1, NULL, 10);
    if (len > ANSWER_MAX)
        return -EMSGSIZE;
    a->head_len = head_len;
    a->body_len = len;
    return 0;
}

static bool take(void *owner, const char *bytes, size_t len)
{
    struct answer *a = owner;
    char *more = len <= ANSWER_MAX - a->len ? realloc(a->bytes, a->len + len + 1) : NULL;
    if (!more) {
        a->err = len <= ANSWER_MAX - a->len ? -ENOMEM : -EMSGSIZE;
        return true;
    }
    memcpy(more + a->len, bytes, len);
    a->bytes = more;
    a->len += len;
    more[a->len] = 0;
    if (a->head_len == 0)
        a->err = read_head(a);
    return a->err || (a->head_len && a->len >= a->head_len + a->body_len);
}

static int read_page(const struct top *t, const char *page, const struct answer *a, json_t **ret)
{
    if (strncmp(a->bytes + 9, "401", 3) == 0)
        return fail(t, STATUS_FAILED, "%s: unauthorised: it wants its token (see --token-file)",
                    t->address);
    json_error_t error;
    json_t *found = strncmp(a->bytes + 9, "200", 3) == 0
                        ? json_loadb(a->bytes + a->head_len, a->body_len, JSON_ALLOW_NUL, &error)
                        : NULL;
    if (!found)
        return fail(t, STATUS_FAILED, "%s has no /api/%s: is it admin.listen of a sumcache?",
                    t->address, page);
    *ret = found;
    return STATUS_OK;
}

static int ask_page(const struct top *t, const char *page, json_t **ret)
{
    char question[QUESTION_MAX], host[ADDR_TEXT_MAX]; /* by number: of names it takes few */
    int len = snprintf(question, sizeof(question),
                       "GET /api/%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s%s\r\n", page,
                       addr_print(&t->at, host), *t->token ? "Authorization: Bearer " : "",
                       t->token, *t->token ? "\r\n" : "");
    struct answer a = {0};
    char why[TALK_WHY_MAX];
    struct talk_server server = {.addr = t->at};
    int err = talk(&server, (struct str){question, (size_t)len}, PATIENCE, take, &a, why);
    const char *said = a.err ? strerror(-a.err) : why;
    int status = err || a.err ? fail(t, STATUS_FAILED, "%s cannot be asked: %s", t->address, said)
                              : read_page(t, page, &a, ret);
    free(a.bytes);
    return status;
}

static int ask_pages(const struct top *t, struct top_pages *ret)
{
    int status = ask_page(t, "summary", &ret->summary);
    status = status ? status : ask_page(t, "nodes", &ret->nodes);
    status = status ? status : ask_page(t, "events", &ret->events);
    return status ? status : ask_page(t, "keys", &ret->keys);
}

/* ---- on a screen ---- */

/* In the thread that asks. */
static int ask_for_screen(void *owner, struct top_pages *ret, char why[TOP_WHY_MAX])
{
    struct top t = *(const struct top *)owner;
    t.why = why;
    return ask_pages(&t, ret);
}

static int show_screen(struct top *t)
{
    struct top_session_config config = {t->address, ask_for_screen, t, t->out};
    int err = top_session_run(&config);
    return err ? fail(t, STATUS_FAILED, "the terminal: %s", strerror(-err)) : STATUS_OK;
}

/* ---- a frame ---- */

static int draw(const struct top *t, bool clear)
{
    struct top_pages p = {0};
    int status = ask_pages(t, &p);
    if (status == STATUS_OK) {
        if (clear)
            fputs("\033[H\033[2J", t->out);
        else if (!t->once)
            fputc('\n', t->out);
        fprintf(t->out, "sumcache top  %s\n", t->address);
        top_frame_print(&p, t->out);
    }
    top_pages_fini(&p);
    return status;
}

/* Can it move a cursor? */
static bool is_screen(FILE *out)
{
    const char *kind = process_env("TERM");
    return process_is_terminal(out) && !(kind && strcmp(kind, "dumb") == 0);
}

/* ---- the command line ---- */

/* A token goes into a header, so nothing in it may end one. */
static int read_token(struct top *t)
{
    char *bytes CLEANUP(freep) = NULL;
    size_t len = 0;
    const char *token = process_env("SUMCACHE_ADMIN_TOKEN");
    if (t->token_file) {
        int err = file_read(t->token_file, TOKEN_MAX, &bytes, &len);
        if (err)
            return fail(t, STATUS_USAGE, "cannot read %s: %s", t->token_file, strerror(-err));
        token = bytes;
    }
    len = token ? strcspn(token, "\r\n") : 0;
    for (size_t i = 0; i < len; i++)
        if (len > TOKEN_MAX || token[i] < 0x20 || token[i] == 0x7f)
            return fail(t, STATUS_USAGE, "the token is too long or not printable");
    if (len)
        memcpy(t->token, token, len);
    t->token[len] = 0;
    return STATUS_OK;
}

static int find(struct top *t)
{
    struct str text = str_of(t->address), host;
    uint16_t port;
    const char *why;
    int64_t bare;
    if (str_to_i64(text, &bare) == 0 && bare >= 1 && bare <= UINT16_MAX) {
        t->at = (struct addr){ADDR_V4, (uint16_t)bare, {127, 0, 0, 1}};
        return STATUS_OK;
    }
    if (addr_split_host_port(text, &host, &port) != 0 || port == 0)
        return fail(t, STATUS_USAGE, "not HOST:PORT: %s", t->address);
    if (host_find(host, port, &t->at, &why) != 0)
        return fail(t, STATUS_FAILED, "%s cannot be found: %s", t->address, why);
    return STATUS_OK;
}

static int parse(struct top *t, int argc, char **argv)
{
    const struct argument rows[] = {{.value = &t->address},
                                    {.name = "--token-file", .value = &t->token_file},
                                    {.name = "--once", .given = &t->once},
                                    {.name = "--help", .given = &t->help}};
    char why[ARGUMENTS_WHY_MAX];
    int err = arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why);
    return err ? fail(t, STATUS_USAGE, "%s", why) : STATUS_OK;
}

static bool is_written(const struct top *t)
{
    return fflush(t->out) == 0 && !ferror(t->out);
}

int top_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct top t = {.address = "127.0.0.1:9379", .out = out, .err = err};
    int status = parse(&t, argc, argv);
    if (status == STATUS_OK && t.help) {
        fputs(HELP, out);
        t.once = true;
    } else {
        status = status ? status : read_token(&t);
        status = status ? status : find(&t);
        if (status != STATUS_OK)
            return status;
        if (!t.once && is_screen(out) && terminal_is_there(out))
            return show_screen(&t);
        status = draw(&t, !t.once && is_screen(out));
    }
    while (!t.once && is_written(&t)) {
        process_sleep_ns(DRAW_EACH);
        status = draw(&t, is_screen(out)); /* one that is gone may come back */
    }
    return is_written(&t) ? status : fail(&t, STATUS_FAILED, "cannot write: %s", strerror(errno));
}
