/* SPDX-License-Identifier: Apache-2.0 */
/*
 * It asks as any client may, by INFO on the Redis port, so what it shows can be had from there with
 * every other tool too. What the answer means: nodes_report.h.
 */
#include "daemon/nodes_command.h"

#include "base/nsec.h"
#include "daemon/arguments.h"
#include "daemon/ask.h"
#include "daemon/nodes_report.h"
#include "os/process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { NODES_WELL = 0, NODES_NOT_WELL = 1, NODES_UNKNOWN = 2 };

#define WATCH_EACH NSEC_S

static const char HELP[] =
    "Usage: sumcache nodes [--connect WHERE] [--json] [--watch] [option]...\n"
    "\n"
    "Asks a running proxy how its nodes are. Exit status: 0 all nodes are up, 1 some are not,\n"
    "2 the proxy cannot be asked.\n"
    "\n" ASK_CONNECT_HELP "  --json               one line of JSON instead of a table\n"
    "  --watch              again every second, until Ctrl-C\n"
    "  --help               this text\n"
    "\n"
    "States: new (not checked yet, in use), up, out (ejected), joining (well again; what it must\n"
    "forget is being removed), leaving (no source names it any more). SHARE is that of the key\n"
    "space, CHECK what the last check took.\n";

struct request {
    const char *connect;
    struct server_options server;
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

static int show(const struct request *r, const struct ask *a)
{
    struct nodes_report report;
    int err = a->type == '$' ? nodes_report_read(a->text, &report) : -EPROTO;
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

static int ask_nodes(const struct request *r)
{
    static const struct str INFO[] = {{"INFO", 4}, {"sumcache", 8}};
    struct ask a;
    int status;
    if (ask_init(&a, r->connect, &r->server) != 0 || ask(&a, INFO, 2) != 0)
        status = fail(r, "%s", a.why);
    else
        status = show(r, &a);
    ask_fini(&a);
    return status;
}

/* ---- the command line ---- */

static int parse(struct request *r, int argc, char **argv)
{
    const struct argument rows[] = {{.name = "--connect", .value = &r->connect},
                                    SERVER_OPTIONS_ARGUMENTS(&r->server),
                                    {.name = "--json", .given = &r->json},
                                    {.name = "--watch", .given = &r->watch},
                                    {.name = "--help", .given = &r->help}};
    char why[ARGUMENTS_WHY_MAX];
    int err = arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why);
    return err ? fail(r, "%s", why) : 0;
}

static bool is_written(const struct request *r)
{
    return fflush(r->out) == 0 && !ferror(r->out);
}

int nodes_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct request r = {.connect = ASK_CONNECT_DEFAULT, .out = out, .err = err};
    int status = parse(&r, argc, argv);
    if (status != 0)
        return status;
    if (r.help) {
        fputs(HELP, out);
        r.watch = false;
    } else {
        status = ask_nodes(&r);
    }
    while (r.watch && is_written(&r)) {
        process_sleep_ns(WATCH_EACH);
        if (!r.json)
            fputc('\n', out);
        status = ask_nodes(&r); /* one that is gone may come back: somebody watches it restart */
    }
    return is_written(&r) ? status : fail(&r, "cannot write: %s", strerror(errno));
}
