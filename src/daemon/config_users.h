/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The setting auth.users: lines such as "app read write ~app:* password_file=/etc/app". What they
 * hold of passwords is where those are found, never the passwords. Private to config*.c and
 * secrets.c.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/access.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_USER_MAX = 256, /* bytes of a line */
    CONFIG_SOURCE_MAX = 128,
    CONFIG_USERS_WHY_MAX = 200,
};

struct config_user {
    char text[CONFIG_USER_MAX]; /* as given */
    char password_file[CONFIG_SOURCE_MAX];
    char password[CONFIG_SOURCE_MAX]; /* "${NAME}", a variable of the environment */
};

/* Owned by struct config, one allocation. */
struct config_users {
    struct config_user of[ACCESS_USERS_MAX];
    struct access access; /* without the passwords */
};

/* Of nodes.logins: who we are at the nodes of one source. */
struct config_login {
    char source[CONFIG_USER_MAX]; /* as nodes.static, dns or srv have it, with its port */
    char user[CONFIG_SOURCE_MAX]; /* "": their default user */
    char password_file[CONFIG_SOURCE_MAX], password[CONFIG_SOURCE_MAX]; /* as of a config_user */
};

/* Reads "SOURCE [user=NAME] password_file=PATH" or "… password=${NAME}". As config_users_add(). */
int config_login_read(struct str line, struct config_login *ret,
                      char why[CONFIG_USERS_WHY_MAX]) MUST_CHECK;
/* As it stands in a file. Returns `to`. */
char *config_login_print(const struct config_login *l, char *to, size_t size);

/* Is it "${NAME}" with a name that a variable may have? */
bool config_secret_is_reference(struct str text);

/* Adds a user to *users, which is made if it is NULL. 0, -ENOMEM, or -EINVAL with what is wrong,
 * which repeats nothing of the line: somebody may have put a password into it. */
int config_users_add(struct config_users **users, struct str line,
                     char why[CONFIG_USERS_WHY_MAX]) MUST_CHECK;
