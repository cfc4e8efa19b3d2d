/* SPDX-License-Identifier: Apache-2.0 */
/*
 * It asks as any client may, by INFO on the Redis port, so what it shows can be had from there with
 * every other tool too. What the answer means: nodes_report.h.
 */
#include "daemon/nodes_command.h"

#include "base/addr.h"
#include "base/nsec.h"
#include "daemon/nodes_report.h"
#include "os/host.h"
#include "os/process.h"
#include "resp/frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { NODES_WELL = 0, NODES_NOT_WELL = 1, NODES_UNKNOWN = 2 };

enum {
    DEFAULT_PORT = 6379,
    ANSWER_MAX =
        16 * 1024 * 1024, /* far more than a line for each of the most nodes there may be */
};

#define PATIENCE   (5 * NSEC_S) /* a proxy answers INFO from memory */
#define WATCH_EACH NSEC_S

static const char HELP[] =
    "Usage: sumcache nodes [--connect HOST:PORT] [--json] [--watch]\n"
    "\n"
    "Asks a running proxy how its nodes are. Exit status: 0 all nodes are up, 1 some are not,\n"
    "2 the proxy cannot be asked.\n"
    "\n"
    "  --connect HOST:PORT  the proxy; a bare PORT means 127.0.0.1:PORT (default 127.0.0.1:6379)\n"
    "  --json               one line of JSON instead of a table\n"
    "  --watch              again every second, until Ctrl-C\n"
    "  --help               this text\n"
    "\n"
    "States: new (not checked yet, in use), up, out (ejected), joining (well again; what it must\n"
    "forget is being removed), leaving (no source names it any more). SHARE is that of the key\n"
    "space, CHECK what the last check took.\n";

struct request {
    const char *connect;
    bool json, watch, help;
    FILE *out, *err;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct request *r, const char *what,
                                                      ...)
{
    va_list ap;
    fputs("sumcache nodes: ", r->err);
    va_start(ap, what);
    vfprintf(r->err, what, ap);
    va_end(ap);
    fputc('\n', r->err);
    return NODES_UNKNOWN;
}

/* ---- asking ---- */

struct answer {
    struct frame frame;
    struct frame_limits limits;
    char *bytes; /* owned */
    size_t len;
    int err; /* -ENOMEM, -EMSGSIZE, or -EPROTO: what comes is not RESP */
};

static bool take(void *owner, const char *bytes, size_t len)
{
    struct answer *a = owner;
    size_t used;
    enum frame_result result = frame_feed(&a->frame, bytes, len, &used);
    if (result == FRAME_BAD)
        a->err = -EPROTO;
    else if (a->len + used > ANSWER_MAX)
        a->err = -EMSGSIZE;
    if (a->err)
        return true;
    char *more = realloc(a->bytes, a->len + used);
    if (!more) {
        a->err = -ENOMEM;
        return true;
    }
    memcpy(more + a->len, bytes, used);
    a->bytes = more;
    a->len += used;
    return result == FRAME_READY;
}

/* Its text: of a bulk string that, of a line what comes behind its type. */
static struct str text_of(const struct answer *a)
{
    const char *eol = memchr(a->bytes, '\n', a->len);
    size_t line = (size_t)(eol - a->bytes) + 1; /* a frame has seen one */
    if (a->frame.type == '$' && !a->frame.is_null)
        return (struct str){a->bytes + line, a->len - line - 2};
    return (struct str){a->bytes + 1, line - 3};
}

static int find_proxy(const struct request *r, struct addr *ret_at)
{
    struct str text = str_of(r->connect), host;
    uint16_t port;
    const char *why;
    int64_t bare;
    if (str_to_i64(text, &bare) == 0 && bare >= 1 && bare <= UINT16_MAX) {
        *ret_at = (struct addr){ADDR_V4, (uint16_t)bare, {127, 0, 0, 1}};
        return 0;
    }
    if (addr_split_host_port(text, &host, &port) != 0)
        return fail(r, "--connect: not HOST:PORT: %.300s", r->connect);
    if (host_find(host, port ? port : DEFAULT_PORT, ret_at, &why) != 0)
        return fail(r, "%s cannot be found: %s", r->connect, why);
    return 0;
}

static int show(const struct request *r, const struct answer *a)
{
    struct nodes_report report;
    struct str text = text_of(a);
    if (a->frame.type == '-')
        return fail(r, "%s answers: %.*s", r->connect, (int)(text.len < 300 ? text.len : 300),
                    text.p);
    int err = a->frame.type == '$' ? nodes_report_read(text, &report) : -EPROTO;
    if (err == -ENOMEM)
        return fail(r, "out of memory");
    if (err)
        return fail(r, "%s is no sumcache: its INFO has no section Sumcache", r->connect);
    if (r->json)
        nodes_report_print_json(&report, r->out);
    else
        nodes_report_print(&report, r->out);
    int status = nodes_report_is_well(&report) ? NODES_WELL : NODES_NOT_WELL;
    nodes_report_fini(&report);
    return status;
}

static int ask(const struct request *r)
{
    static const char INFO[] = "*2\r\n$4\r\nINFO\r\n$8\r\nsumcache\r\n";
    struct answer a = {.limits = {.bulk_max = ANSWER_MAX,
                                  .elements_max = 16,
                                  .depth_max = 1,
                                  .line_max = FRAME_LINE_MAX}};
    struct addr at;
    int status = find_proxy(r, &at);
    if (status != 0)
        return status;
    frame_init(&a.frame, FRAME_REPLY, &a.limits);
    int err = host_ask(&at, STR(INFO), PATIENCE, take, &a);
    err = err ? err : a.err;
    if (err == -EPROTO)
        status = fail(r, "%s is no sumcache: it does not answer as Redis does", r->connect);
    else if (err == -ETIMEDOUT)
        status = fail(r, "%s does not answer within %d s", r->connect, (int)(PATIENCE / NSEC_S));
    else if (err)
        status = fail(r, "%s cannot be asked: %s", r->connect, strerror(-err));
    else
        status = show(r, &a);
    free(a.bytes);
    return status;
}

/* ---- the command line ---- */

static int parse(struct request *r, int argc, char **argv)
{
    static const char CONNECT[] = "--connect";
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        size_t len = sizeof(CONNECT) - 1;
        if (strcmp(arg, "--json") == 0) {
            r->json = true;
        } else if (strcmp(arg, "--watch") == 0) {
            r->watch = true;
        } else if (strcmp(arg, "--help") == 0) {
            r->help = true;
        } else if (strcmp(arg, CONNECT) == 0) {
            if (i + 1 == argc)
                return fail(r, "--connect needs a value");
            r->connect = argv[++i];
        } else if (strncmp(arg, CONNECT, len) == 0 && arg[len] == '=') {
            r->connect = arg + len + 1;
        } else {
            return fail(r, "unknown argument: %s (see --help)", arg);
        }
    }
    return 0;
}

static bool is_written(const struct request *r)
{
    return fflush(r->out) == 0 && !ferror(r->out);
}

int nodes_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct request r = {.connect = "127.0.0.1:6379", .out = out, .err = err};
    int status = parse(&r, argc, argv);
    if (status != 0)
        return status;
    if (r.help) {
        fputs(HELP, out);
        r.watch = false;
    } else {
        status = ask(&r);
    }
    while (r.watch && is_written(&r)) {
        process_sleep_ns(WATCH_EACH);
        if (!r.json)
            fputc('\n', out);
        status = ask(&r); /* one that is gone may come back: somebody watches it restart */
    }
    return is_written(&r) ? status : fail(&r, "cannot write: %s", strerror(errno));
}
