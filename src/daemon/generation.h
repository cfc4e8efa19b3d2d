/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One set of all settings, with what is read from other files beside it. It never changes: a reload
 * makes another, hands it to workers and control plane, and frees the old one when all of them have
 * said that they have gone over.
 */
#pragma once
#include "base/cleanup.h"
#include "daemon/certificates.h"
#include "daemon/config_load.h"
#include "daemon/secrets.h"

/* What belongs to the daemon and outlives all generations, which have it as loans. */
struct lasting {
    struct layout *layout;            /* owned; NULL: Maglev */
    struct certificates certificates; /* owned; a reload renews what is in them */
    bool unwatched; /* no admin listener: nobody would look at what workers collect for it */
};

struct generation {
    struct config config;
    struct proxy_settings proxy;     /* of the configuration, with who we are at the nodes */
    struct control_settings control; /* the same, with what both planes have to agree on */
    char password[CONFIG_PASSWORD_MAX];
    struct node_login *logins[CONFIG_LOGINS_MAX]; /* references; of nodes.logins, by index */
    struct access *access;                        /* owned; NULL: clients need no password */
};

/* Takes what `c` owns, in any case. Reads the passwords that it names. `lasting` outlives it. 0, or
 * -errno and one line of what is wrong. */
int generation_new(struct config *c, const struct lasting *lasting, struct generation **ret,
                   char error[CONFIG_LOAD_ERROR_MAX]) MUST_CHECK;
/* Puts it in again: at the start, `unwatched` is known late. Nobody uses the settings yet. */
void generation_last(struct generation *g, const struct lasting *lasting);
struct generation *generation_free(struct generation *g); /* NULL is fine; always returns NULL */
