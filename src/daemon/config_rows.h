/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, and what can be done with one row of it. Private to config*.c. */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_kind {
    CONFIG_LISTEN,       /* a list of addresses */
    CONFIG_NODES,        /* a list of nodes */
    CONFIG_NAMES,        /* a list of names with a port: struct config_names */
    CONFIG_SERVICES,     /* a list of names: struct config_names */
    CONFIG_COMMAND_LIST, /* a list of names of commands */
    CONFIG_COMMAND_MAP,  /* the same, each with a value */
    CONFIG_SERVERS,      /* a list of addresses of DNS servers */
    CONFIG_RULES,        /* a list of rules for prefixes of keys */
    CONFIG_LOGINS,       /* a list of sources of nodes and who we are there */
    CONFIG_RANGES,       /* a list of ranges of addresses: of balancers */
    CONFIG_USERS,        /* a list of users: config_users.h */
    CONFIG_COUNT,        /* uint32_t */
    CONFIG_AUTO,         /* uint32_t, 0 is written `auto` */
    CONFIG_DURATION,     /* uint64_t, ns */
    CONFIG_SIZE,         /* uint64_t, bytes */
    CONFIG_SWITCH,       /* bool, `off` and `on` */
    CONFIG_CHOICE,       /* uint32_t or an enum: index into `choices` */
    CONFIG_SECRET,       /* char[CONFIG_WORD_MAX]: "${NAME}", a variable; empty: none */
    CONFIG_WORD,         /* char[CONFIG_WORD_MAX]; empty: none */
};

/* When another value comes into force, while the program runs. The first one is always safe. */
enum config_reload {
    CONFIG_RESTART, /* with the next start */
    CONFIG_AT_ONCE, /* with the next SIGHUP */
    CONFIG_FOR_NEW, /* … for connections that are made from then on */
};

struct config_row {
    const char *section; /* NULL: at the top */
    const char *name;
    enum config_kind kind;
    bool zero_ok;               /* 0 is allowed beside min … max: "off", "never" */
    size_t offset;              /* of its member in struct config; unused for most lists; of
                                   commands: enum config_commands_list */
    uint64_t min, max;          /* lists: count of items */
    const char *const *choices; /* ends with NULL */
    const char *meaning;
    enum config_reload reload;
};

extern const struct config_row CONFIG_ROWS[];
extern const unsigned CONFIG_ROW_COUNT;

enum {
    CONFIG_TEXT_MAX = 160,
    CONFIG_ITEM_MAX = 640, /* the longest: a source, a user, the path of a file */
};

/* By section (NULL: the top) and name; NULL: there is none. */
const struct config_row *config_row_find(const char *section, struct str name);

bool config_row_is_list(const struct config_row *row);
/* Of a list: may a file give one item as a single value? */
bool config_row_takes_one(const struct config_row *row);

/* Its full name, "limits.clients". Returns `to`, as the next two do. */
char *config_row_name(const struct config_row *row, char to[CONFIG_TEXT_MAX]);
char *config_row_range(const struct config_row *row, char to[CONFIG_TEXT_MAX]);
/* Its value as it stands in a file; not for lists. */
char *config_row_value(const struct config_row *row, const struct config *c,
                       char to[CONFIG_TEXT_MAX]);

/* An item of a list as it stands in a file; NULL behind the last one. `to` may be used for it. */
const char *config_row_item(const struct config_row *row, const struct config *c, uint32_t index,
                            char to[CONFIG_ITEM_MAX]);

/* What is to be said of its reload; empty: it comes into force at once. A constant. In
 * config_reload.c, as all that has to do with it. */
const char *config_row_reload(const struct config_row *row);

/* Reads one value (of a list: adds one item). 0, -ENOMEM, or -EINVAL with the error's text. */
int config_row_set(const struct config_row *row, struct config *c, struct str value,
                   char error[CONFIG_ERROR_MAX]) MUST_CHECK;
/* Before the first config_row_set(): notes that and where it is given, and empties a list. */
void config_row_begin(const struct config_row *row, struct config *c, struct config_mark mark);
