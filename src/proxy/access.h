/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may enter, and what they may do: users, their passwords (hashes), commands and keys. Built
 * from the configuration before workers start, only read afterwards, by any thread; all but the
 * meters, which workers count in.
 *
 * Rights are those of Redis's ACLs as far as a cache needs them: a user has commands, by classes
 * (read, write, admin), by categories (+@hash) or one by one, and keys, by prefixes.
 */
#pragma once
#include "base/cleanup.h"
#include "base/secret.h"
#include "base/str.h"
#include "resp/command.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    ACCESS_USERS_MAX = 64,
    ACCESS_NAME_MAX = 63,
    ACCESS_PREFIXES_MAX = 16,
    ACCESS_PREFIX_MAX = 128,
    ACCESS_PASSWORDS_MAX = 4, /* of one user at a time: an old and a new one, while they change */
    ACCESS_RATE_MAX = 100000000,
};

struct access_prefix {
    uint8_t len;
    bool exact; /* this key alone */
    char text[ACCESS_PREFIX_MAX];
};

struct access_user {
    char name[ACCESS_NAME_MAX + 1];
    bool off;    /* nobody enters by it */
    bool nopass; /* by any password; of "default": without AUTH */
    bool all_keys, all_commands;
    bool commands[COMMAND_ID_COUNT + 1]; /* by id; the last: those of modules */
    uint32_t prefix_count;
    struct access_prefix prefixes[ACCESS_PREFIXES_MAX];
    uint32_t hash_count;
    uint8_t hashes[ACCESS_PASSWORDS_MAX][SECRET_HASH_BYTES];
    uint32_t rate; /* requests a second of all its clients together; 0: as many as they like */
};

/* When the next request of a user is due: see rate.h. On a cache line of its own. */
struct access_meter {
    _Alignas(64) atomic_uint_least64_t due;
};

struct access {
    uint32_t count; /* 0: everybody may do everything */
    struct access_user users[ACCESS_USERS_MAX];
    struct access_meter *meters; /* owned; one for each user. NULL: no user has a rate */
};

/* A user's words, behind its name: "read", "write", "admin", "all", "off", "nopass", "rate=N",
 * "~PREFIX*", "~KEY", "~*", "+@CATEGORY", "-@CATEGORY", "+COMMAND", "-COMMAND"; later ones win, as
 * in Redis. 0; -ENOENT: no such command or category; -ENOSPC: too many prefixes; -EINVAL. */
int access_user_apply(struct access_user *u, struct str word) MUST_CHECK;

/* 1 to ACCESS_NAME_MAX printable bytes without blanks. 0 or -EINVAL. */
int access_user_init(struct access_user *u, struct str name) MUST_CHECK;
/* After the last word: notes whether it may do everything. */
void access_user_settle(struct access_user *u);

/* The user of that name; NULL: there is none. */
const struct access_user *access_find(const struct access *a, struct str name);

/* Takes as long for a user that there is not (`u` NULL) as for one that there is. */
bool access_enters(const struct access_user *u, struct str password);

static inline bool access_has_command(const struct access_user *u, const struct command *c)
{
    return u->commands[c->id];
}
bool access_has_key(const struct access_user *u, struct str key);
/* … all keys that a pattern may match? Judged by what is before its first special character. */
bool access_has_pattern(const struct access_user *u, struct str pattern);
