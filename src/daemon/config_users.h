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

/* Is it "${NAME}" with a name that a variable may have? */
bool config_secret_is_reference(struct str text);

/* Adds a user to *users, which is made if it is NULL. 0, -ENOMEM, or -EINVAL with what is wrong,
 * which repeats nothing of the line: somebody may have put a password into it. */
int config_users_add(struct config_users **users, struct str line,
                     char why[CONFIG_USERS_WHY_MAX]) MUST_CHECK;
