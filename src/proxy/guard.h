/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client's requests have to pass before they are looked at further: is it known who it is,
 * may its user do this, has it asked too often? A client of whom nothing of that is asked has no
 * guards, and pays one look at a byte.
 */
#pragma once
#include "base/str.h"
#include "proxy/client.h"
#include "resp/reply.h"

#include <stdbool.h>

enum {
    GUARD_LOGIN = 1 << 0,  /* it has not said who it is */
    GUARD_RIGHTS = 1 << 1, /* its user may not do everything */
    GUARD_RATE = 1 << 2,   /* it, or its user, has a limit of requests a second */
};

/* A client that is new, or is as new (RESET). */
void guard_begin(struct client *c);

/* Other settings have come: its user is found anew, by name. Who was in when there were no users is
 * "default". False: there is no such user any more, or nobody enters by it; it has to be closed. */
bool guard_renew(struct client *c) MUST_CHECK;

/* AUTH, HELLO AUTH. True: it is that user from now on. False: it is not, and the error is written.
 */
bool guard_login(struct client *c, struct str user, struct str password, struct reply_out *o);
/* Does AUTH with a password alone make no sense, because none is set? */
bool guard_needs_no_password(const struct client *c);

/* With c->guards only: may it do the present request (w->args), whose arity is right? False: it has
 * been answered. */
bool guard_admits(struct client *c, const struct command *command);
/* The same of a long request of which the key has come: nothing is answered. False: it has to be
 * gathered, so that guard_admits() can say why not. */
bool guard_admits_upload(struct client *c, const struct command *command);

/* As CLIENT LIST and logs show it. */
const char *guard_user_name(const struct client *c);
