/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to a running proxy, as any client may ask it, for commands of the command line.
 * These calls may block; no worker runs in such a process.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/config.h"
#include "daemon/server_options.h"
#include "net/talk.h"

#include <stddef.h>
#include <stdint.h>

enum { ASK_WHY_MAX = 700, ASK_NAME_MAX = 300 };

/* The option by which these commands are told where the proxy is, and its default. */
#define ASK_CONNECT_HELP                                                                           \
    "  --connect WHERE      the proxy: HOST:PORT, a PORT of 127.0.0.1, or unix:/PATH\n"            \
    "                       (default 127.0.0.1:6379)\n"                                            \
    "  --user NAME          log in as this user\n"                                                 \
    "  --password-file FILE with the first line of this file as the password; else the variable\n" \
    "                       SUMCACHE_PASSWORD counts\n" SERVER_OPTIONS_HELP_TLS
#define ASK_CONNECT_DEFAULT "127.0.0.1:6379"

struct ask {
    const char *connect; /* loan: as the user wrote it */
    struct talk_server server;
    struct tls_context *tls; /* owned; NULL: no TLS */
    char name[ASK_NAME_MAX];
    const char *user; /* loan; "": the default one */
    char password[CONFIG_PASSWORD_MAX];
    uint8_t type;    /* first byte of the answer … */
    struct str text; /* … its text, of a bulk string or a line; loan, until the next question … */
    struct str whole;      /* … and all of it; the same */
    char *bytes;           /* owned */
    char why[ASK_WHY_MAX]; /* what has gone wrong, for people; without the command's name */
};

/* Where is it, and who are we there? All are loans that outlive `a`. 0, or -EINVAL, -ENOENT or
 * -ENOMEM with a->why. Call ask_fini() in any case. */
int ask_init(struct ask *a, const char *connect, const struct server_options *options) MUST_CHECK;
/* Wipes the password, too. */
void ask_fini(struct ask *a);

/* Asks one command. 0; -EREMOTE: the answer is an error; -E2BIG: it is too long to be asked; or
 * another -errno. Unless it is 0, a->why says why. */
int ask(struct ask *a, const struct str *words, size_t count) MUST_CHECK;
