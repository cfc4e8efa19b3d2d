/* SPDX-License-Identifier: Apache-2.0 */
/* What all subcommands that talk to Redis servers are told about how: who we are there, and TLS.
 * The names are those of redis-cli. Blocks; for the command line. */
#pragma once
#include "base/cleanup.h"
#include "daemon/arguments.h"
#include "daemon/config.h"
#include "net/tls_context.h"

#include <stdbool.h>

enum { SERVER_OPTIONS_ERROR_MAX = TLS_ERROR_MAX + 16 };

/* All zero: plain, and nobody. Loans: argv. */
struct server_options {
    const char *user, *password_file; /* NULL: not given */
    bool tls;
    const char *ca_file, *certificate_file, *key_file, *server_name; /* NULL: not given */
};

/* Rows for arguments_read(). */
#define SERVER_OPTIONS_ARGUMENTS(o)                                                                \
    {.name = "--user", .value = &(o)->user},                                                       \
        {.name = "--password-file", .value = &(o)->password_file},                                 \
        {.name = "--tls", .given = &(o)->tls}, {.name = "--cacert", .value = &(o)->ca_file},       \
        {.name = "--cert", .value = &(o)->certificate_file},                                       \
        {.name = "--key", .value = &(o)->key_file},                                                \
    {                                                                                              \
        .name = "--sni", .value = &(o)->server_name                                                \
    }

/* Their lines of --help, but for what `--password-file` falls back to. */
#define SERVER_OPTIONS_HELP_TLS                                                                    \
    "  --tls                speak TLS; the server's certificate must be of its name\n"             \
    "  --cacert FILE        and of a CA of this file (default: one that this system trusts)\n"     \
    "  --cert FILE          our own certificate, if the server asks for one\n"                     \
    "  --key FILE           its key (default: in the same file)\n"                                 \
    "  --sni NAME           the name that the server's certificate must have, if it is another\n"

/* What TLS on the way there begins with; NULL: there is none. The caller owns *ret. 0, or -EINVAL
 * or -ENOMEM with the error's text. */
int server_options_tls(const struct server_options *o, struct tls_context **ret,
                       char error[SERVER_OPTIONS_ERROR_MAX]) MUST_CHECK;

/* The first line of --password-file; without that the variable SUMCACHE_PASSWORD, and "" without
 * both. The caller wipes it. Errors as above. */
int server_options_password(const struct server_options *o, char to[CONFIG_PASSWORD_MAX],
                            char error[SERVER_OPTIONS_ERROR_MAX]) MUST_CHECK;
