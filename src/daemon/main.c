/* SPDX-License-Identifier: Apache-2.0 */
/* From the command line to what it asks for. */
#include "daemon/advise_command.h"
#include "daemon/config_load.h"
#include "daemon/daemon.h"
#include "daemon/import_command.h"
#include "daemon/nodes_command.h"
#include "daemon/options.h"
#include "daemon/reload_command.h"
#include "daemon/ring_command.h"
#include "daemon/top_command.h"
#include "daemon/unlink_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The exit status; DAEMON_OK: `c` is read. */
static int read_config(const struct options *o, struct config *c)
{
    char error[CONFIG_LOAD_ERROR_MAX];
    if (config_load(o, o->action != OPTIONS_PRINT_CONFIG, c, error) == 0)
        return DAEMON_OK;
    fprintf(stderr, "sumcache: %s\n", error);
    return DAEMON_USAGE;
}

static int act(const struct options *o, struct config *c)
{
    if (o->action == OPTIONS_HELP) {
        options_print_help(stdout);
        return DAEMON_OK;
    }
    if (o->action == OPTIONS_VERSION) {
        puts("sumcache " SUMCACHE_VERSION);
        return DAEMON_OK;
    }
    int status = read_config(o, c);
    if (status != DAEMON_OK)
        return status;
    if (o->action == OPTIONS_PRINT_CONFIG)
        config_print(c, stdout);
    else if (o->action == OPTIONS_CHECK_CONFIG)
        puts("sumcache: the settings are right");
    else
        return daemon_run(c, o, stdout, stderr);
    return DAEMON_OK;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "ring") == 0)
        return ring_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "nodes") == 0)
        return nodes_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "advise") == 0)
        return advise_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "top") == 0)
        return top_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "unlink") == 0)
        return unlink_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "reload") == 0)
        return reload_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "upgrade") == 0)
        return upgrade_command(argc - 1, argv + 1, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "import") == 0)
        return import_command(argc - 1, argv + 1, stdout, stderr);
    struct options options;
    char error[OPTIONS_ERROR_MAX];
    int err = options_read(&options, argc, argv, error);
    if (err) {
        fprintf(stderr, "sumcache: %s (see sumcache --help)\n", error);
        return err == -ENOMEM ? DAEMON_FAILED : DAEMON_USAGE;
    }
    struct config config;
    config_init(&config);
    int status = act(&options, &config);
    config_fini(&config);
    options_fini(&options);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "sumcache: cannot write to standard output: %s\n", strerror(errno));
        status = status ? status : DAEMON_FAILED;
    }
    return status;
}
