/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct options_flag {
    const char *name;           /* without its dashes */
    const char *value;          /* what stands for its value in --help; NULL: it takes none */
    const char *setting;        /* full name of the setting it sets; NULL: none */
    enum options_action action; /* of a flag without a setting */
    bool adds;                  /* given again, it adds to the list */
    const char *help;           /* lines */
};

static const struct options_flag FLAGS[] = {
    {"config", "FILE", NULL, OPTIONS_RUN, false, "read settings from this YAML file"},
    {"listen", "ADDR:PORT", "listen", OPTIONS_RUN, true,
     "where clients connect, IPv4 or [IPv6]; a bare PORT means 127.0.0.1:PORT, this\n"
     "machine only; may be repeated (default 127.0.0.1:6379)"},
    {"nodes", "HOST:PORT,...", "nodes.static", OPTIONS_RUN, true,
     "the Redis servers to sum; without :PORT it is 6379; may be repeated"},
    {"protected-mode", "on|off", "protected_mode", OPTIONS_RUN, false,
     "off: listen for other hosts even if no password is asked for"},
    {"workers", "N", "workers", OPTIONS_RUN, false,
     "threads that serve clients (default: the CPUs it may use)"},
    {"local", "N", "local.nodes", OPTIONS_RUN, false,
     "start N redis-server children here and sum them (with --nodes: them too);\n"
     "if port 6379 is taken and no --listen is given, the next free of 6380 to 6399"},
    {"local-memory", "SIZE", "local.memory", OPTIONS_RUN, false,
     "maxmemory of each child (default 64mb)"},
    {"log-level", "LEVEL", "log_level", OPTIONS_RUN, false,
     "debug, info, warn or error (default info)"},
    {"check-config", NULL, NULL, OPTIONS_CHECK_CONFIG, false,
     "say whether file and flags are right, and exit"},
    {"print-config", NULL, NULL, OPTIONS_PRINT_CONFIG, false,
     "write all settings as a config file, and exit"},
    {"version", NULL, NULL, OPTIONS_VERSION, false, "write the version, and exit"},
    {"help", NULL, NULL, OPTIONS_HELP, false, "write this, and exit"},
};

enum { FLAG_COUNT = sizeof(FLAGS) / sizeof(FLAGS[0]) };

static const struct options_flag *find_flag(struct str name)
{
    for (int i = 0; i < FLAG_COUNT; i++)
        if (str_eq(str_of(FLAGS[i].name), name))
            return &FLAGS[i];
    return NULL;
}

/* Reads argv[*at] and, if its value is a word of its own, moves *at on to that. */
static int read_flag(struct options *o, int argc, char *const argv[], int *at,
                     char error[OPTIONS_ERROR_MAX])
{
    const char *word = argv[*at];
    if (strcmp(word, "-h") == 0)
        word = "--help";
    if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
        snprintf(error, OPTIONS_ERROR_MAX, "unexpected argument '%.60s'", word);
        return -EINVAL;
    }
    const char *equals = strchr(word, '=');
    struct str name = {word + 2, equals ? (size_t)(equals - word) - 2 : strlen(word) - 2};
    const struct options_flag *flag = find_flag(name);
    if (!flag) {
        snprintf(error, OPTIONS_ERROR_MAX, "unknown option '%.60s'", word);
        return -EINVAL;
    }
    if (!flag->value) {
        if (equals) {
            snprintf(error, OPTIONS_ERROR_MAX, "--%s takes no value", flag->name);
            return -EINVAL;
        }
        /* --help wins over all: who asks for it does not want a server started. */
        if (o->action != OPTIONS_HELP)
            o->action = flag->action;
        return 0;
    }
    const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    if (!value || !*value) {
        snprintf(error, OPTIONS_ERROR_MAX, "--%s needs a value: %s", flag->name, flag->value);
        return -EINVAL;
    }
    if (flag->setting)
        o->values[o->value_count++] = (struct options_value){flag, value};
    else
        o->config_path = value;
    return 0;
}

int options_read(struct options *o, int argc, char *const argv[], char error[OPTIONS_ERROR_MAX])
{
    struct options fresh = {.values = calloc((size_t)argc + 1, sizeof(*fresh.values))};
    if (!fresh.values) {
        snprintf(error, OPTIONS_ERROR_MAX, "out of memory");
        return -ENOMEM;
    }
    for (int i = 1; i < argc; i++) {
        int err = read_flag(&fresh, argc, argv, &i, error);
        if (err) {
            options_fini(&fresh);
            return err;
        }
    }
    *o = fresh;
    return 0;
}

void options_fini(struct options *o)
{
    free(o->values);
    *o = (struct options){0};
}

static bool was_given_before(const struct options *o, int index)
{
    for (int i = 0; i < index; i++)
        if (o->values[i].flag == o->values[index].flag)
            return true;
    return false;
}

int options_apply(const struct options *o, struct config *c, struct config_error *ret_error)
{
    for (int i = 0; i < o->value_count; i++) {
        const struct options_value *v = &o->values[i];
        /* The first --listen replaces what the file said, those behind it add to it. */
        bool add = v->flag->adds && was_given_before(o, i);
        struct config_error error;
        int err = config_set(c, v->flag->setting, str_of(v->text), add, &error);
        if (err) {
            /* Its text begins with the setting's name; who wrote a flag looks for the flag's. */
            size_t name_len = strlen(v->flag->setting);
            bool named = strncmp(error.text, v->flag->setting, name_len) == 0;
            *ret_error = (struct config_error){0};
            snprintf(ret_error->text, sizeof(ret_error->text), "--%s%s%.300s", v->flag->name,
                     named ? "" : ": ", error.text + (named ? name_len : 0));
            return err;
        }
    }
    return 0;
}

void options_print_help(FILE *out)
{
    fprintf(out, "sumcache " SUMCACHE_VERSION ": many Redis servers as one cache\n\n"
                 "usage: sumcache --nodes HOST:PORT,... [option]...\n"
                 "       sumcache --local N [option]...\n"
                 "       sumcache --config FILE [option]...\n"
                 "       sumcache ring --nodes HOST:PORT,... (see sumcache ring --help)\n"
                 "       sumcache nodes [--connect WHERE] (see sumcache nodes --help)\n"
                 "       sumcache advise --config FILE (see sumcache advise --help)\n"
                 "       sumcache top [ADDRESS] (see sumcache top --help)\n"
                 "       sumcache unlink PATTERN [--connect WHERE] (see sumcache unlink --help)\n"
                 "       sumcache reload --pid PID (see sumcache reload --help)\n"
                 "       sumcache upgrade --pid PID (see sumcache upgrade --help)\n"
                 "       sumcache import FILE (see sumcache import --help)\n\n"
                 "options (they win over the file):\n");
    for (int i = 0; i < FLAG_COUNT; i++) {
        const struct options_flag *f = &FLAGS[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", f->name, f->value ? " " : "",
                 f->value ? f->value : "");
        fprintf(out, "  %-22s ", left);
        for (const char *line = f->help; line;) {
            const char *end = strchr(line, '\n');
            int len = end ? (int)(end - line) : (int)strlen(line);
            fprintf(out, "%*s%.*s\n", line == f->help ? 0 : 25, "", len, line);
            line = end ? end + 1 : NULL;
        }
    }
    fprintf(out, "\nsettings of the file: name, default, range and meaning\n"
                 "(`sumcache --print-config` writes them all as a file):\n");
    config_print_help(out);
    fprintf(out, "\nexit status: 0 fine, 1 failed at run time, 2 wrong usage or settings\n");
}
