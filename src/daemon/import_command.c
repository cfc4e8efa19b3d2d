/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written has been read by our own reader of settings before, so nobody starts a proxy with
 * a file that it does not take.
 */
#include "daemon/import_command.h"

#include "daemon/arguments.h"
#include "daemon/config.h"
#include "import/import.h"
#include "os/file.h"

#include <errno.h>
#include <string.h>

enum exit_status { IMPORT_OK = 0, IMPORT_FAILED = 1, IMPORT_USAGE = 2 };

static const char HELP[] =
    "Usage: sumcache import FILE [--pool NAME]\n"
    "\n"
    "Turns the configuration of another proxy into one of sumcache, on standard output: an Envoy\n"
    "bootstrap (YAML or JSON) with a redis_proxy filter, or a nutcracker.yml of twemproxy. What "
    "it\n"
    "cannot keep, and why, it says on standard error, with line and column; a key that it does "
    "not\n"
    "know too. Keys stay on their nodes with Envoy's MAGLEV, and with twemproxy's ketama and "
    "modula.\n"
    "\n"
    "  --pool NAME  which pool (twemproxy), or which filter's stat_prefix or which cluster "
    "(Envoy), if\n"
    "               the file has several\n"
    "  --help       this text\n"
    "\n"
    "Exit status: 0 written, 1 the file cannot be turned into one of sumcache, 2 wrong usage.\n";

struct request {
    const char *path, *pool;
    bool help;
};

/* False: said. */
static bool read_arguments(struct request *r, int argc, char **argv, FILE *err)
{
    const struct argument rows[] = {{.value = &r->path},
                                    {.name = "--pool", .value = &r->pool},
                                    {.name = "--help", .given = &r->help}};
    char why[ARGUMENTS_WHY_MAX];
    if (arguments_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, why) != 0)
        fprintf(err, "sumcache import: %s\n", why);
    else if (!r->path && !r->help)
        fprintf(err, "sumcache import: which file? (see --help)\n");
    else
        return true;
    return false;
}

static void print_notes(const struct request *r, const struct import_result *result, FILE *err)
{
    for (size_t i = 0; i < result->note_count; i++) {
        const struct import_note *n = &result->notes[i];
        if (n->line > 0)
            fprintf(err, "%s:%u:%u: %s\n", r->path, n->line, n->column, n->text);
        else
            fprintf(err, "%s: %s\n", r->path, n->text);
    }
}

/* Would we start with it? */
static int check(const char *yaml, FILE *err)
{
    struct config c;
    struct config_error error;
    config_init(&c);
    int bad = config_read(&c, str_of(yaml), &error);
    if (!bad)
        bad = config_check(&c, &error);
    config_fini(&c);
    if (bad)
        fprintf(err, "sumcache import: what it comes to is no right configuration: %s\n",
                error.text);
    return bad;
}

int import_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct request r = {0};
    struct import_result result;
    char *bytes CLEANUP(freep) = NULL;
    size_t len = 0;
    if (!read_arguments(&r, argc, argv, err))
        return IMPORT_USAGE;
    if (r.help) {
        fputs(HELP, out);
        return IMPORT_OK;
    }
    int failed = file_read(r.path, IMPORT_FILE_MAX, &bytes, &len);
    if (failed) {
        fprintf(err, "sumcache import: cannot read %s: %s\n", r.path, strerror(-failed));
        return IMPORT_USAGE;
    }
    if (import_config((struct str){bytes, len}, r.pool, &result) != 0) {
        fprintf(err, "sumcache import: out of memory\n");
        return IMPORT_FAILED;
    }
    print_notes(&r, &result, err);
    int status = result.yaml && check(result.yaml, err) == 0 ? IMPORT_OK : IMPORT_FAILED;
    if (status == IMPORT_OK) {
        fprintf(out, "# from %s, by sumcache import\n", r.path);
        fputs(result.yaml, out);
        if (fflush(out) != 0 || ferror(out)) {
            fprintf(err, "sumcache import: cannot write: %s\n", strerror(errno));
            status = IMPORT_FAILED;
        }
    }
    import_result_fini(&result);
    return status;
}
