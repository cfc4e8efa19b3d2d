/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node after the other, over connections of its own: it needs no running proxy, and changes
 * nothing. What is right and wrong is in advice.c.
 */
#include "daemon/advise_command.h"

#include "base/secret.h"
#include "daemon/advice.h"
#include "daemon/advise_node.h"
#include "daemon/advise_sources.h"
#include "daemon/arguments.h"
#include "daemon/certificates.h"
#include "daemon/config.h"
#include "daemon/print_json.h"
#include "daemon/secrets.h"
#include "daemon/server_options.h"
#include "os/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { ADVISE_WELL = 0, ADVISE_ADVICE = 1, ADVISE_UNKNOWN = 2 };

static const char HELP[] =
    "Usage: sumcache advise --config FILE [option]...\n"
    "       sumcache advise --nodes HOST:PORT,... [option]...\n"
    "\n"
    "Asks nodes for their settings, and says which are wrong for a cache. It changes nothing.\n"
    "Exit status: 0 nothing to be done, 1 there is, 2 a node cannot be asked.\n"
    "\n"
    "  --config FILE        the nodes of this configuration, DNS names and SRV records too, with\n"
    "                       its user, its password and its nodes_tls\n"
    "  --nodes HOST:PORT,.. these nodes instead\n"
    "  --user NAME          log in as this user\n"
    "  --password-file FILE with the first line of this file as the password; else that of the\n"
    "                       configuration counts, and without one "
    "SUMCACHE_PASSWORD\n" SERVER_OPTIONS_HELP_TLS
    "  --sample N           look at N keys of each node for large values, 0 to 100 (default 20)\n"
    "  --json               one line of JSON instead of text\n"
    "  --help               this text\n"
    "\n"
    "wrong: sumcache cannot keep its word (old values, failed writes, refused proxies). better: "
    "it\n"
    "works, and costs memory, time or connections. note: to be known.\n";

struct request {
    const char *config, *nodes, *sample;
    struct server_options server;
    bool json, help;
    uint32_t sample_count;
    char password[CONFIG_PASSWORD_MAX];
    struct node_login *logins[CONFIG_LOGINS_MAX]; /* a reference each */
    FILE *out, *err;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct request *r, const char *what,
                                                      ...)
{
    va_list ap;
    fputs("sumcache advise: ", r->err);
    va_start(ap, what);
    vfprintf(r->err, what, ap);
    va_end(ap);
    fputc('\n', r->err);
    return ADVISE_UNKNOWN;
}

/* ---- what is asked for ---- */

static int parse(struct request *r, int argc, char **argv)
{
    const struct argument rows[] = {
        {.name = "--config", .value = &r->config}, {.name = "--nodes", .value = &r->nodes},
        SERVER_OPTIONS_ARGUMENTS(&r->server),      {.name = "--sample", .value = &r->sample},
        {.name = "--json", .given = &r->json},     {.name = "--help", .given = &r->help}};
    char why[ARGUMENTS_WHY_MAX];
    if (arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why) != 0)
        return fail(r, "%s", why);
    int64_t sample = 20;
    if (r->sample &&
        (str_to_i64(str_of(r->sample), &sample) != 0 || sample < 0 || sample > ADVISE_SAMPLE_MAX))
        return fail(r, "--sample: expected 0 to %d", ADVISE_SAMPLE_MAX);
    r->sample_count = (uint32_t)sample;
    if (!r->config && !r->nodes && !r->help)
        return fail(r, "no nodes: give --config or --nodes (see --help)");
    return 0;
}

static int read_config(const struct request *r, struct config *c)
{
    struct config_error error;
    if (r->config) {
        char *bytes CLEANUP(freep) = NULL;
        size_t len = 0;
        int err = file_read(r->config, CONFIG_FILE_MAX, &bytes, &len);
        if (err)
            return fail(r, "cannot read %s: %s", r->config, strerror(-err));
        if (config_read(c, (struct str){bytes, len}, &error) != 0)
            return fail(r, "%s:%u:%u: %s", r->config, error.line, error.column, error.text);
    }
    if (r->nodes) {
        c->node_names.count = c->node_services.count = 0;
        if (config_set(c, "nodes.static", str_of(r->nodes), false, &error) != 0)
            return fail(r, "--nodes: %s", error.text);
    }
    return 0;
}

/* Who we are at the nodes. What the command line says holds for all of them. */
static int read_login(struct request *r, struct config *c, struct node_login **ret)
{
    char error[SERVER_OPTIONS_ERROR_MAX];
    const struct server_options *o = &r->server;
    int err;
    if (o->user || o->password_file)
        c->login_count = 0;
    if (o->password_file || !r->config)
        err = server_options_password(o, r->password, error);
    else
        err = secrets_read("nodes.password", c->node_password_file, c->node_password, r->password,
                           sizeof(r->password), error);
    if (err || secrets_logins(c, r->logins, error) != 0)
        return fail(r, "%s", error);
    *ret = node_login_new(str_of(o->user ? o->user : c->node_user), str_of(r->password));
    return *ret ? 0 : fail(r, "out of memory");
}

/* What TLS to the nodes begins with: what the command line says, else the configuration. */
static int read_tls(const struct request *r, const struct config *c, struct tls_context **ret)
{
    char error[SERVER_OPTIONS_ERROR_MAX];
    int err = server_options_tls(&r->server, ret, error);
    if (!err && !*ret)
        err = certificates_read_nodes(c, ret, error);
    return err ? fail(r, "%s", error) : 0;
}

/* ---- text ---- */

static void print_findings(const struct advice *a, FILE *out)
{
    for (uint32_t i = 0; i < a->count; i++) {
        const struct advice_finding *f = &a->findings[i];
        fprintf(out, "  %-6s  %s: %s\n          -> %s\n", advice_level_name(f->level), f->id,
                f->what, f->todo);
    }
}

static void print_node(const struct advise_node *n, const struct advice *a, FILE *out)
{
    const struct advice_facts *f = &n->facts;
    struct str version = advice_info(f, STR("redis_version"));
    char used[ADVICE_SIZE_MAX], max[ADVICE_SIZE_MAX];
    uint64_t limit = advice_info_number(f, STR("maxmemory"));
    fprintf(out, "%.*s  ", (int)f->name.len, f->name.p);
    if (n->error[0]) {
        fprintf(out, "cannot be asked: %s\n", n->error);
        return;
    }
    if (f->is_denied)
        fputs("refuses\n", out);
    else
        fprintf(out, "%.*s, %s of %s%s\n", (int)(version.len < 30 ? version.len : 30),
                version.len > 0 ? version.p : "",
                advice_print_size(advice_info_number(f, STR("used_memory")), used),
                limit > 0 ? advice_print_size(limit, max) : "any amount",
                a->count == 0 ? ": well" : "");
    print_findings(a, out);
}

/* ---- JSON ---- */

static void print_findings_json(const struct advice *a, FILE *out)
{
    fputs("\"findings\":[", out);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct advice_finding *f = &a->findings[i];
        fprintf(out, "%s{\"level\":\"%s\",\"id\":\"%s\",\"what\":", i > 0 ? "," : "",
                advice_level_name(f->level), f->id);
        print_json_string(str_of(f->what), out);
        fputs(",\"todo\":", out);
        print_json_string(str_of(f->todo), out);
        fputc('}', out);
    }
    fputc(']', out);
}

static void print_node_json(const struct advise_node *n, const struct advice *a, FILE *out)
{
    const struct advice_facts *f = &n->facts;
    fputs("{\"name\":", out);
    print_json_string(f->name, out);
    fprintf(out, ",\"asked\":%s,\"error\":", n->error[0] ? "false" : "true");
    print_json_string(str_of(n->error), out);
    fputs(",\"version\":", out);
    print_json_string(advice_info(f, STR("redis_version")), out);
    fprintf(out,
            ",\"used_memory\":%" PRIu64 ",\"maxmemory\":%" PRIu64 ",\"sampled_keys\":%" PRIu32 ",",
            advice_info_number(f, STR("used_memory")), advice_info_number(f, STR("maxmemory")),
            f->sampled);
    print_findings_json(a, out);
    fputc('}', out);
}

/* ---- all nodes ---- */

struct sums {
    uint32_t failed, counts[ADVICE_LEVEL_COUNT];
};

static void add(struct sums *s, const struct advice *a)
{
    for (unsigned i = 0; i < ADVICE_LEVEL_COUNT; i++)
        s->counts[i] += a->counts[i];
}

static int status_of(const struct sums *s)
{
    if (s->failed > 0)
        return ADVISE_UNKNOWN;
    return s->counts[ADVICE_WRONG] + s->counts[ADVICE_BETTER] > 0 ? ADVISE_ADVICE : ADVISE_WELL;
}

static void print_end(const struct request *r, const struct sums *s, const struct advice *all,
                      uint32_t count)
{
    if (r->json) {
        fputs("],", r->out);
        print_findings_json(all, r->out);
        fprintf(r->out, ",\"well\":%s}\n", status_of(s) == ADVISE_WELL ? "true" : "false");
        return;
    }
    if (all->count > 0)
        fputs("all nodes together\n", r->out);
    print_findings(all, r->out);
    fprintf(r->out, "%" PRIu32 " nodes: %" PRIu32 " wrong, %" PRIu32 " better, %" PRIu32 " notes",
            count, s->counts[ADVICE_WRONG], s->counts[ADVICE_BETTER], s->counts[ADVICE_NOTE]);
    if (s->failed > 0)
        fprintf(r->out, "; %" PRIu32 " cannot be asked", s->failed);
    fputc('\n', r->out);
}

static int ask_nodes(const struct request *r, const struct advise_way *way,
                     const struct member *members, uint32_t count, struct advise_node *nodes,
                     struct advice_facts *facts)
{
    struct sums sums = {0};
    struct advice all = {0};
    if (r->json)
        fputs("{\"nodes\":[", r->out);
    for (uint32_t i = 0; i < count; i++) {
        struct advice a = {0};
        int err = advise_node_ask(way, &members[i], r->sample_count, &nodes[i]);
        if (err)
            return fail(r, "%s", strerror(-err));
        if (!nodes[i].error[0])
            advice_of_node(&nodes[i].facts, &a);
        sums.failed += nodes[i].error[0] != '\0';
        add(&sums, &a);
        facts[i] = nodes[i].facts;
        if (r->json) {
            fputs(i > 0 ? "," : "", r->out);
            print_node_json(&nodes[i], &a, r->out);
        } else {
            print_node(&nodes[i], &a, r->out);
        }
    }
    advice_of_all(facts, count, &all);
    add(&sums, &all);
    print_end(r, &sums, &all, count);
    return status_of(&sums);
}

static int advise(struct request *r, const struct config *c, const struct advise_way *way)
{
    char error[ADVISE_SOURCE_ERROR_MAX];
    struct member *members CLEANUP(freep) = NULL;
    uint32_t count = 0;
    if (advise_sources(c, r->logins, &members, &count, error) != 0)
        return fail(r, "%s", error);
    struct advise_node *nodes CLEANUP(freep) = calloc(count, sizeof(*nodes));
    struct advice_facts *facts CLEANUP(freep) = calloc(count, sizeof(*facts));
    if (!nodes || !facts)
        return fail(r, "out of memory");
    int status = ask_nodes(r, way, members, count, nodes, facts);
    for (uint32_t i = 0; i < count; i++)
        advise_node_fini(&nodes[i]);
    return status;
}

int advise_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct request r = {.out = out, .err = err};
    struct config c;
    int status = parse(&r, argc, argv);
    if (status != 0)
        return status;
    if (r.help) {
        fputs(HELP, out);
    } else {
        config_init(&c);
        status = read_config(&r, &c);
        struct node_login *login = NULL;
        struct tls_context *tls = NULL;
        if (status == 0)
            status = read_login(&r, &c, &login);
        if (status == 0)
            status = read_tls(&r, &c, &tls);
        if (status == 0)
            status = advise(&r, &c, &(struct advise_way){login, tls});
        tls_context_free(tls);
        node_login_unref(login); /* which wipes them */
        for (uint32_t i = 0; i < CONFIG_LOGINS_MAX; i++)
            node_login_unref(r.logins[i]);
        config_fini(&c);
        secret_wipe(r.password, sizeof(r.password));
    }
    if (fflush(out) == 0 && !ferror(out))
        return status;
    return fail(&r, "cannot write: %s", strerror(errno));
}
