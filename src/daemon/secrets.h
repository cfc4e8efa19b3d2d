/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords, from the files and variables that the settings name. Read when the daemon starts, and
 * whenever its settings are read anew; these calls may block. Errors name the setting and the
 * source, never what was found there.
 */
#pragma once
#include "base/cleanup.h"
#include "cluster/node_login.h"
#include "daemon/config.h"
#include "proxy/access.h"

enum { SECRETS_ERROR_MAX = 300 };

/* The first line of the file, or the variable's value; neither given: "". `to` has `size` bytes.
 * 0, or -EINVAL, -ENOMEM with the error's text. */
int secrets_read(const char *setting, const char *file, const char *reference, char *to,
                 size_t size, char error[SECRETS_ERROR_MAX]) MUST_CHECK;

/* Who we are at the nodes of each source of nodes.logins, by the same index: references of the
 * caller's, also those that were made before an error. `all` was empty. Errors as above. */
int secrets_logins(const struct config *c, struct node_login *all[CONFIG_LOGINS_MAX],
                   char error[SECRETS_ERROR_MAX]) MUST_CHECK;

/* Users with their passwords. *ret: owned by the caller, NULL: the settings know no users. Errors
 * as above. */
int secrets_access(const struct config *c, struct access **ret,
                   char error[SECRETS_ERROR_MAX]) MUST_CHECK;
struct access *secrets_access_free(struct access *a); /* NULL is fine; always returns NULL */
